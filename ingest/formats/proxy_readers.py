"""Readers that the logs of several proxies and load balancers share (:mod:`ingest.formats.readers`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from core import schema
from ingest.formats.readers import Cells, Quoted, Reader, Request
from ingest.formats.shapes import Place
from ingest.formats.template import SPACE, Mask, Span
from ingest.formats.values import integers, is_dash
from ingest.formats.verdicts import Verdicts

__all__ = ["ProxyRequest", "Status", "Stripped", "Word", "has_blank", "joined", "label", "quoted_label", "separated", "word"]

_NOTHING = b"- - -"


@dataclass(frozen=True)
class Status:
    """An HTTP status; ``0``, ``000`` and ``-1``, by which proxies say that there was no response, are no value."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``http_response_status_code``."""
        data, span = cells.marks.data, cells.span
        negative = (data.take(span.starts, mode="clip") == ord("-")) & (span.ends > span.starts)
        values, numeric, _ = integers(data, Span(span.starts + negative, span.ends))
        verdicts.reject(~numeric & ~cells.null, f"{cells.label} is not a number")
        none = cells.null | negative | (values == 0)
        verdicts.reject(~none & ((values < 100) | (values > 999)), f"{cells.label} is out of range")
        column = pa.array(values, pa.int64(), mask=none | (values > 999))
        return {"http_response_status_code": column.cast(schema.input_type("http_response_status_code"))}


@dataclass(frozen=True)
class Stripped:
    """What another reader makes of the field without the signs or blanks in front of it.

    :param byte: the sign, one ASCII character.
    :param most: how many of it there may be.
    """

    reader: Reader
    byte: str
    most: int

    @property
    def rejects(self) -> bool:
        """As the other reader does."""
        return self.reader.rejects

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The other reader's columns."""
        starts = cells.span.starts
        for _ in range(self.most):
            starts = starts + ((cells.marks.data.take(starts, mode="clip") == ord(self.byte)) & (starts < cells.span.ends))
        span = Span(starts, cells.span.ends)
        return self.reader.read(replace(cells, span=span, null=cells.null | is_dash(cells.marks.data, span)), verdicts)


@dataclass(frozen=True)
class Word:
    """Text without a blank: for a field that a blank does not end, so that one field more than expected does not become a part of it."""

    column: str
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The column."""
        verdicts.reject(has_blank(cells), f"{cells.label} holds a blank")
        return {self.column: cells.text()}


def has_blank(cells: Cells) -> Mask:
    """Which fields hold one."""
    found: Mask = cells.marks.next(SPACE, cells.span.starts) < cells.span.ends
    return found


@dataclass(frozen=True)
class ProxyRequest:
    """A request line; ``- - -``, with or without a blank behind, is the one of a connection that brought none: no value."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """What :class:`ingest.formats.readers.Request` gives."""
        data, span = cells.marks.data, cells.span
        blank = (span.ends > span.starts) & (data.take(np.maximum(span.ends - 1, 0), mode="clip") == SPACE)
        span = Span(span.starts, span.ends - blank)
        return Request().read(replace(cells, span=span, null=cells.null | _is_nothing(cells, span)), verdicts)


def _is_nothing(cells: Cells, span: Span) -> Mask:
    nothing: Mask = span.ends - span.starts == len(_NOTHING)
    for place, byte in enumerate(_NOTHING):
        nothing &= cells.marks.data.take(span.starts + place, mode="clip") == byte
    return nothing


def label(name: str) -> Place:
    """A field that becomes a label, as logged; people call it by its name with blanks."""
    return Place(name, name.replace("_", " "))


def word(name: str) -> Place:
    """A field that becomes a label, and holds no blank."""
    return replace(label(name), reader=Word(f"labels.{name}"))


def quoted_label(name: str) -> Place:
    """A quoted field that becomes a label, with its escapes decoded."""
    return Place(name, name.replace("_", " "), reader=Quoted(f"labels.{name}"))


def joined(*parts: bytes | Place) -> tuple[bytes | Place, ...]:
    """The parts of a shape with literals that touch made one."""
    whole: list[bytes | Place] = []
    for part in parts:
        if isinstance(part, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += part
        else:
            whole.append(part)
    return tuple(whole)


def separated(names: Sequence[Place], between: bytes) -> tuple[bytes | Place, ...]:
    """The places with the same literal between each two."""
    return (names[0], *(part for _, place in pairwise(names) for part in (between, place)))
