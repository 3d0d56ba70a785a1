"""Values of one path of many documents, and what a fill is: the terms in which :mod:`ingest.formats.fills` is written."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from ingest.formats.template import BACKSLASH, Marks, Mask, Span
from ingest.formats.values import spans_of, text
from ingest.lines import Bytes, Numbers

__all__ = ["Fill", "Items", "OneColumn", "Read", "Values"]

Items = Literal["", "first", "all"]
"""What of a list is read: nothing (a list is a wrong value), its first element, or all, joined by ``", "``."""


class _NoEscapes(Marks):
    """Marks of text that is decoded already: a backslash in it is a backslash."""

    def of(self, byte: int) -> Numbers:
        """Places of the byte."""
        return np.arange(0) if byte == BACKSLASH else super().of(byte)


@dataclass(frozen=True, eq=False)
class Values:
    """Values of one path.

    :param data: a buffer; :param span: where the plain text of each value is in it, without quotes, escapes decoded.
    :param kinds: the first byte of each value's JSON text: a quote, a digit, a minus, ``t``, ``f``.
    :param zone: IANA name of the zone of times that name none.
    """

    data: Bytes
    span: Span
    kinds: Bytes
    zone: str = "UTC"

    def __len__(self) -> int:
        return len(self.kinds)

    @classmethod
    def of(cls, strings: pa.StringArray, kinds: Bytes, zone: str) -> "Values":
        """Values of these texts; none is null."""
        values = cls(*spans_of(strings), kinds, zone)
        values.__dict__["strings"] = strings
        return values

    @cached_property
    def strings(self) -> pa.StringArray:
        """The texts."""
        return text(self.data, self.span)

    @cached_property
    def marks(self) -> Marks:
        """Places of bytes in the buffer."""
        return _NoEscapes(self.data)

    def take(self, which: Mask | Numbers) -> "Values":
        """Those of these numbers, ascending, or where the mask is true."""
        return replace(self, span=self.span.take(which), kinds=self.kinds[which])

    def byte(self, place: int) -> Bytes:
        """The byte at that place of each text, 0 beyond its end."""
        inside = self.span.starts + place < self.span.ends
        return np.where(inside, self.data.take(self.span.starts + place, mode="clip"), 0).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Read:
    """What a fill made of values.

    :param columns: each as long as the values; null where a value says nothing of the column.
    :param wrong: which values reject their document, and why.
    :param keep: which values go to ``labels`` too.
    """

    columns: dict[str, pa.Array]
    wrong: tuple[tuple[Mask, str], ...] = ()
    keep: Mask | None = None


class Fill(Protocol):
    """Fills columns from one place."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it may fill; the first gives its name to reasons."""
        ...

    @property
    def blank(self) -> bool:
        """Whether ``""`` and ``-`` are no value."""
        ...

    @property
    def items(self) -> Items:
        """What of a list is read."""
        ...

    def read(self, values: Values) -> Read:
        """Columns of the values."""
        ...


@dataclass(frozen=True)
class OneColumn:
    """A fill of one column, for values that are no list."""

    column: str
    blank: bool = field(default=True, kw_only=True)
    items: ClassVar[Items] = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)
