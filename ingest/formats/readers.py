r"""Readers: what the text of one field of a line becomes.

A reader is handed where a field is in many lines and gives the columns it fills. Those with ``rejects`` come first, see
every line, and may set lines aside, each with a reason that names the field by its label; the others see only what is left.
Readers are values: frozen, told apart by what they do, and shared by all formats made of fields (``ingest.formats.shapes``).
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.errors import UsageError
from ingest.formats.request import split_request
from ingest.formats.template import Marks, Mask, Span
from ingest.formats.times import clf_times, iso_times
from ingest.formats.times_pattern import has_year, pattern_times, pattern_width
from ingest.formats.values import fixed_point, integers, text, unescaped_text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Numbers

__all__ = [
    "AddressList",
    "Cells",
    "ClfTime",
    "Duration",
    "EpochTime",
    "Header",
    "HostPort",
    "Integer",
    "IsoTime",
    "PatternTime",
    "Quoted",
    "Reader",
    "Request",
    "Text",
    "Version",
    "VirtualHost",
    "time_column",
]

_NANOSECONDS = 9
_LARGEST_PORT = 65535


@dataclass(frozen=True, eq=False)
class Cells:
    """One field of many lines.

    :param marks: over the buffer of the lines.
    :param span: where the field is.
    :param null: where it has no value; bool[lines].
    :param label: what people call it, for reasons.
    """

    marks: Marks
    span: Span
    null: Mask
    label: str

    def text(self) -> pa.StringArray:
        """The field as it is in the line; null where it has no value."""
        return text(self.marks.data, self.span, self.null)

    def part(self, span: Span, null: Mask | None = None) -> "Cells":
        """A part of the field."""
        return Cells(self.marks, span, self.null if null is None else null, self.label)


class Reader(Protocol):
    """Fills columns from one field."""

    @property
    def rejects(self) -> bool:
        """Whether it may set lines aside."""
        ...

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """Columns as long as the cells; ``labels.NAME`` for a label."""
        ...


@dataclass(frozen=True)
class Text:
    """The text as logged."""

    column: str
    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """The column."""
        return {self.column: cells.text()}


@dataclass(frozen=True)
class Quoted:
    r"""Text of a quoted field: ``\"`` and ``\\`` decoded, once."""

    column: str
    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """The column."""
        return {self.column: unescaped_text(cells.marks, cells.span, cells.null)}


@dataclass(frozen=True)
class Integer:
    """A whole number from ``least`` to ``most``."""

    column: str
    least: int = 0
    most: int | None = None
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The column."""
        values, numeric, fits = integers(cells.marks.data, cells.span)
        verdicts.reject(~numeric & ~cells.null, f"{cells.label} is not a number")
        inside = fits & (values >= self.least) & (values <= (self.most or values))
        verdicts.reject(~inside & ~cells.null, f"{cells.label} is out of range")
        column = pa.array(np.where(inside, values, 0), pa.int64(), mask=cells.null)
        return {self.column: column.cast(schema.input_type(self.column))}


@dataclass(frozen=True)
class Duration:
    """A duration, whole or with decimals -> nanoseconds. A negative one (HAProxy's and Amazon's ``-1``) is no value.

    :param unit: nanoseconds of one: a power of ten.
    :param suffix: text that follows the number, such as ``ms``.
    :param point: whether it must have decimals, which tells it from other numbers.
    """

    unit: int
    column: str = "event_duration"
    suffix: str = ""
    point: bool = False
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The column."""
        data, span = cells.marks.data, cells.span
        end = np.maximum(span.ends - len(self.suffix), span.starts)
        formed = np.ones(len(end), np.bool_)
        for place, byte in enumerate(self.suffix.encode()):
            formed &= data.take(end + place, mode="clip") == byte
        negative = (data.take(span.starts, mode="clip") == ord("-")) & (span.ends > span.starts)
        nanoseconds, good = fixed_point(data, Span(np.minimum(span.starts + negative, end), end), len(str(self.unit)) - 1)
        if self.point:
            at = cells.marks.next(ord("."), span.starts)
            formed &= at < end
        verdicts.reject(~(good & formed) & ~cells.null, f"{cells.label} is not a duration")
        return {self.column: pa.array(nanoseconds, pa.int64(), mask=cells.null | negative)}


def time_column(micros: Numbers) -> pa.Array:
    """Microseconds since 1970 in UTC as the column ``event_time``."""
    return pa.array(micros, pa.int64()).view(schema.EVENT_TIME)


@dataclass(frozen=True)
class ClfTime:
    """``22/Jan/2019:03:56:14 +0330``, without brackets."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``event_time``."""
        micros, formed, real = clf_times(cells.marks.data, cells.span)
        verdicts.reject(~formed, f"{cells.label} is not of the form 22/Jan/2019:03:56:14 +0330")
        verdicts.reject(~real, f"no such {cells.label}")
        return {"event_time": time_column(micros)}


@dataclass(frozen=True)
class IsoTime:
    """ISO 8601.

    :param zone: IANA name of the zone of times that name none.
    """

    zone: str = "UTC"
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``event_time``."""
        micros, good = iso_times(cells.marks.data, cells.span, self.zone)
        verdicts.reject(~good, f"{cells.label} is not a time of ISO 8601")
        return {"event_time": time_column(micros)}


@dataclass(frozen=True)
class PatternTime:
    """A time of a strftime pattern (:mod:`ingest.formats.times_pattern`).

    :param zone: IANA name of the zone of times that name none.
    :raises UsageError: the pattern has an unknown directive, or does not make a time.
    """

    pattern: str
    zone: str = "UTC"
    rejects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not has_year(self.pattern):
            raise UsageError(f"time pattern {self.pattern!r} has no year", "add %Y")

    @property
    def width(self) -> int:
        """Bytes of each such time, ``%z`` as C's strftime writes it (``+hhmm``); 0 when they vary."""
        return pattern_width(self.pattern.replace("%z", "+hhmm"))

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``event_time``."""
        micros, good = pattern_times(cells.marks.data, cells.span, self.pattern, self.zone)
        verdicts.reject(~good, f"{cells.label} is not of the form {self.pattern}")
        return {"event_time": time_column(micros)}


@dataclass(frozen=True)
class EpochTime:
    """A number of units since 1970, decimals allowed.

    :param unit: microseconds of one, as a power of ten: 6 for seconds, 3 for milliseconds, 0 for microseconds.
    """

    power: int
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``event_time``."""
        micros, good = fixed_point(cells.marks.data, cells.span, self.power)
        verdicts.reject(~good | (micros >= _LATEST), f"{cells.label} is not a number of the time since 1970")
        return {"event_time": time_column(np.where(micros < _LATEST, micros, 0))}


_LATEST = 253_402_300_800_000_000
"""The first microsecond of the year 10000."""


@dataclass(frozen=True)
class Request:
    """A request line -> method, target and version; what is none goes to the label ``request``."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """Three columns and a label."""
        request = split_request(cells.marks, cells.span)
        columns = {"http_request_method": request.method, "url_original": request.target, "http_version": request.version}
        if request.unknown.any():
            columns["labels.request"] = unescaped_text(cells.marks, cells.span, ~request.unknown | cells.null)
        return columns


@dataclass(frozen=True)
class Header:
    """A header that names the client behind a proxy -> an input column, for who trusts it; what it says stays a label."""

    column: str
    label: str
    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """The column and the label."""
        said = unescaped_text(cells.marks, cells.span, cells.null)
        return {self.column: said, f"labels.{self.label}": said}


@dataclass(frozen=True)
class AddressList:
    """The same where only addresses, ``unknown`` and commas between them tell the header from another quoted field."""

    column: str
    label: str
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The column and the label."""
        said = cells.text().dictionary_encode()
        like = pc.match_substring_regex(said.dictionary, _ADDRESSES).take(said.indices)
        verdicts.reject(np.array(pc.invert(like).fill_null(False), np.bool_), f"{cells.label} is not a list of addresses")
        return {self.column: said.cast(pa.string()), f"labels.{self.label}": said.cast(pa.string())}


_ADDRESSES = r"^(?:[0-9A-Fa-f.:\[\]]*[0-9.:][0-9A-Fa-f.:\[\]]*|unknown)(?:, ?(?:[0-9A-Fa-f.:\[\]]+|unknown))*$"


@dataclass(frozen=True)
class Version:
    """``HTTP/1.1`` -> ``1.1``; a version without its name stays as it is."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """``http_version``."""
        return {"http_version": pc.replace_substring_regex(cells.text(), r"^(?:HTTP|http)/", "")}


@dataclass(frozen=True)
class HostPort:
    """``host:port``, ``[v6]:port`` or a host alone; a port that is none stays with the host.

    :param always: whether a port is always there: then it stands after the last colon of an IPv6 address without brackets too.
    :param brackets: whether an IPv6 address keeps its brackets.
    """

    host: str
    port: str
    always: bool = False
    brackets: bool = False
    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """Two columns."""
        host, port = _split_port(cells, self.always)
        numbers, numeric, _ = integers(cells.marks.data, port)
        none = ~numeric | (numbers > _LARGEST_PORT) | cells.null
        whole = Span(np.where(none, cells.span.starts, host.starts), np.where(none, cells.span.ends, host.ends))
        bracketed = (_byte_at(cells, whole.starts) == ord("[")) & (_byte_at(cells, whole.ends - 1) == ord("]"))
        bracketed &= (whole.ends - whole.starts > 2) & (not self.brackets)
        inner = Span(whole.starts + bracketed, whole.ends - bracketed)
        hosts = text(cells.marks.data, inner, cells.null | (inner.ends <= inner.starts))
        return {self.host: hosts, self.port: pa.array(numbers.astype(np.int32), mask=none)}


def _byte_at(cells: Cells, places: Numbers) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return cells.marks.data.take(np.maximum(places, 0), mode="clip")


def _split_port(cells: Cells, always: bool = False) -> tuple[Span, Span]:
    """At the last colon, unless it stands within brackets or, if not ``always``, is one of several (a bare IPv6 address)."""
    span, colons = cells.span, cells.marks.of(ord(":"))
    first, end = np.searchsorted(colons, span.starts), np.searchsorted(colons, span.ends)
    last = colons.take(end - 1, mode="clip") if len(colons) else span.ends
    bracketed = _byte_at(cells, last - 1) == ord("]")
    found = (end > first) & (bracketed | (end - first == 1) | always)
    at = np.where(found, last, span.ends)
    return Span(span.starts, at), Span(np.minimum(at + 1, span.ends), span.ends)


@dataclass(frozen=True)
class VirtualHost:
    """The site the request was for, with or without its port."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``url_domain`` and ``url_port``."""
        host, port = _split_port(cells)
        columns = Integer("url_port", 0, _LARGEST_PORT).read(
            replace(cells, span=port, null=(host.ends == cells.span.ends) | cells.null, label="port"), verdicts
        )
        return columns | {"url_domain": text(cells.marks.data, host, cells.null)}
