"""Fills of fields as servers with W3C logs write them; see :mod:`ingest.formats.fills`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.fills import HostPort, Items, Read, Text, Values
from ingest.formats.template import Span
from ingest.formats.values import fixed_point, integers

__all__ = ["Host", "Plus", "PlusHeader", "Status", "TimeTaken"]

_POINT = ord(".")


@dataclass(frozen=True)
class Host:
    """The Host header -> ``url_domain``, and ``url_port`` when it names one."""

    columns: ClassVar[tuple[str, ...]] = ("url_domain", "url_port")
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    def read(self, values: Values) -> Read:
        """Two columns."""
        return HostPort(*self.columns).read(values)


@dataclass(frozen=True)
class Plus(Text):
    """Text with ``+`` for its blanks; one that has a blank of its own is as it is. Each distinct text is looked at once."""

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: _blanks(values.strings)})


@dataclass(frozen=True)
class PlusHeader(Text):
    """The same of a header that a transform reads later; as it was logged it stays a label too."""

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: _blanks(values.strings)}, keep=np.ones(len(values), np.bool_))


def _blanks(strings: pa.StringArray) -> pa.StringArray:
    found = strings.dictionary_encode()
    has = pc.match_substring(found.dictionary, " ")
    return pc.if_else(has, found.dictionary, pc.replace_substring(found.dictionary, "+", " ")).take(found.indices)


@dataclass(frozen=True)
class Status(Text):
    """A status; ``0`` and ``000``, which mean that no answer was sent, are labels."""

    column: str = "http_response_status_code"

    def read(self, values: Values) -> Read:
        """The column."""
        numbers, digits, fits = integers(values.data, values.span)
        none = digits & fits & (numbers == 0)
        wrong = ~none & ~(digits & fits & (numbers >= 100) & (numbers <= 999))
        column = pa.array(np.where(wrong, 0, numbers), mask=none).cast(schema.input_type(self.column))
        return Read({self.column: column}, ((wrong, f"{self.column} is not a whole number from 100 to 999"),), none)


@dataclass(frozen=True)
class TimeTaken(Text):
    """Whole milliseconds, or seconds with a decimal point; a negative one is no value."""

    column: str = "event_duration"

    def read(self, values: Values) -> Read:
        """The column."""
        span = values.span
        negative = values.byte(0) == ord("-")
        starts = span.starts + negative
        milliseconds, whole, fits = integers(values.data, Span(starts, span.ends))
        nanoseconds, good = milliseconds * 1_000_000, whole & fits & (milliseconds < 2**43)
        if not good.all():
            odd = np.flatnonzero(~good & ~whole)
            nanoseconds[odd], good[odd] = fixed_point(values.data, Span(starts[odd], span.ends[odd]), 9)
        return Read({self.column: pa.array(np.where(good, nanoseconds, 0), mask=negative)}, ((~good, f"{self.column} is not a duration"),))
