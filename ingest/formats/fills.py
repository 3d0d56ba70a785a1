"""Fills: what the value of one place of a document becomes.

A fill is handed the values of one path, one per document that has it (neither null nor, unless ``blank`` is false, ``""`` or
``-``), and gives columns of that length. A value that a column cannot hold rejects its document, with a reason that names the
column. Fills are values: frozen, told apart by what they do.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.document_values import Fill, Items, OneColumn, Read, Values
from ingest.formats.readers import Cells
from ingest.formats.readers import HostPort as _HostPort
from ingest.formats.request import split_request
from ingest.formats.template import Mask, Span
from ingest.formats.time_fills import Duration, Time
from ingest.formats.values import decimals, integers
from ingest.formats.verdicts import Verdicts

__all__ = [
    "Address",
    "Both",
    "Cut",
    "Duration",
    "Fill",
    "First",
    "Header",
    "HostPort",
    "Integer",
    "Items",
    "Joined",
    "Lower",
    "Read",
    "Request",
    "Text",
    "Time",
    "Values",
    "Version",
]

_LARGEST = 2**63 - 1
_OCTET, _WORD = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])", r"[0-9A-Fa-f]{1,4}"
_SHORTENED = "|".join(rf"(?:{_WORD}:){{1,{8 - after}}}(?::{_WORD}){{1,{after - 1}}}" for after in range(2, 8))
_ADDRESS = rf"^(?:{_OCTET}(?:\.{_OCTET}){{3}}|(?:{_WORD}:){{7}}{_WORD}|{_SHORTENED}|(?:{_WORD}:){{1,7}}:|:(?:(?::{_WORD}){{1,7}}|:))$"
"""IPv4, and IPv6 in hexadecimal words (https://www.rfc-editor.org/rfc/rfc4291#section-2.2)."""


@dataclass(frozen=True)
class Text(OneColumn):
    """The text of strings; of numbers and truths their JSON."""

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: values.strings})


@dataclass(frozen=True)
class Lower(OneColumn):
    """Text in lower case, for what has no case by its nature: schemes, for one."""

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: pc.utf8_lower(values.strings)})


@dataclass(frozen=True)
class Header(OneColumn):
    """The text of a header that a transform reads later; the value stays in ``labels`` too."""

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: values.strings}, keep=np.ones(len(values), np.bool_))


@dataclass(frozen=True)
class Integer(OneColumn):
    """A whole number, or one in a string, from ``least`` to ``most``."""

    least: int = 0
    most: int = _LARGEST

    def read(self, values: Values) -> Read:
        """The column."""
        numbers, digits, fits = integers(values.data, values.span)
        good = digits & fits
        if not good.all():
            odd = np.flatnonzero(~good)
            fractions, numeric = decimals(values.take(odd).strings)
            whole = numeric & (fractions == np.floor(fractions)) & (np.abs(fractions) < 2**53)
            numbers[odd], good[odd] = np.where(whole, fractions, -1).astype(np.int64), whole
        good &= (numbers >= self.least) & (numbers <= self.most)
        column = pa.array(np.where(good, numbers, 0), pa.int64()).cast(schema.input_type(self.column))
        return Read({self.column: column}, ((~good, f"{self.column} is not a whole number from {self.least} to {self.most}"),))


@dataclass(frozen=True)
class Address(OneColumn):
    """An IP address. Of the rarer forms (with a zone, with an IPv4 address at the end) each distinct one is looked at once."""

    def read(self, values: Values) -> Read:
        """The column."""
        wrong = ~np.array(pc.match_substring_regex(values.strings, _ADDRESS), np.bool_)
        if wrong.any():
            odd = values.strings.filter(pa.array(wrong)).dictionary_encode()
            good = np.array([_is_address(value) for value in odd.dictionary.to_pylist()], np.bool_)
            wrong[wrong] = ~good[odd.indices.to_numpy()]
        return Read({self.column: values.strings}, ((wrong, f"{self.column} is not an IP address"),))


@dataclass(frozen=True)
class HostPort:
    """``1.2.3.4:567``, ``[::1]:567``, ``host:80`` or a host alone; a port that is none stays with the host."""

    host: str
    port: str
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Host and port."""
        return (self.host, self.port)

    def read(self, values: Values) -> Read:
        """Two columns."""
        cells = Cells(values.marks, values.span, np.zeros(len(values), np.bool_), self.host)
        return Read(_HostPort(self.host, self.port).read(cells, Verdicts(len(values))))


@dataclass(frozen=True)
class Version:
    """``HTTP/1.1``, ``http/2``, ``HTTP/2.0``, ``h2``, ``1.1`` -> ``http_version``, without the name; other texts stay."""

    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""
    columns: ClassVar[tuple[str, ...]] = ("http_version",)

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({"http_version": _each(values.strings, r"^(?:(?i:http)/|[hH]([23])c?$)", r"\1")})


def _each(strings: pa.StringArray, pattern: str, replacement: str) -> pa.StringArray:
    """Each distinct text is looked at once."""
    found = strings.dictionary_encode()
    return pc.replace_substring_regex(found.dictionary, pattern, replacement).take(found.indices)


@dataclass(frozen=True)
class Request:
    """A request line -> method, target and version; what is none stays in ``labels``."""

    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""
    columns: ClassVar[tuple[str, ...]] = ("http_request_method", "url_original", "http_version")

    def read(self, values: Values) -> Read:
        """Three columns."""
        request = split_request(values.marks, values.span)
        columns = dict(zip(self.columns, (request.method, request.target, request.version), strict=True))
        return Read(columns, keep=request.unknown)


@dataclass(frozen=True)
class _Around:
    """A fill that changes what another is given."""

    fill: Fill

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the other."""
        return self.fill.columns

    @property
    def blank(self) -> bool:
        """As the other's."""
        return self.fill.blank

    @property
    def items(self) -> Items:
        """As the other's."""
        return self.fill.items

    def read(self, values: Values) -> Read:
        """As the other."""
        return self.fill.read(values)


@dataclass(frozen=True)
class First(_Around):
    """Of a list its first element; an empty list is no value. A value that is no list is taken as it is."""

    @property
    def items(self) -> Items:
        """The first."""
        return "first"


@dataclass(frozen=True)
class Joined(_Around):
    """Of a list all elements, joined by ``", "``, as header lines of one name are; an empty list is no value."""

    @property
    def items(self) -> Items:
        """All."""
        return "all"


@dataclass(frozen=True)
class Cut(_Around):
    """Text without a prefix and a suffix, where it has them."""

    prefix: str = ""
    suffix: str = ""

    def read(self, values: Values) -> Read:
        """As the other, of what is left."""
        lengths = values.span.ends - values.span.starts
        before = len(self.prefix.encode()) * self._has(values, self.prefix, np.zeros(len(lengths), np.int64))
        at_end = lengths - len(self.suffix.encode())
        after = len(self.suffix.encode()) * (self._has(values, self.suffix, at_end) & (at_end >= before))
        return self.fill.read(replace(values, span=Span(values.span.starts + before, values.span.ends - after)))

    @staticmethod
    def _has(values: Values, wanted: str, places: npt.NDArray[np.int64]) -> Mask:
        sought = wanted.encode()
        starts = values.span.starts + places
        good: Mask = (starts >= values.span.starts) & (starts + len(sought) <= values.span.ends)
        for place, byte in enumerate(sought):
            good &= values.data.take(np.maximum(starts + place, 0), mode="clip") == byte
        return good


@dataclass(frozen=True, init=False)
class Both:
    """Several fills of one place; the first says what of a list is read, and whether a blank is no value."""

    fills: tuple[Fill, ...]

    def __init__(self, *fills: Fill) -> None:
        object.__setattr__(self, "fills", fills)

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of all."""
        return tuple(column for fill in self.fills for column in fill.columns)

    @property
    def blank(self) -> bool:
        """As the first's."""
        return self.fills[0].blank

    @property
    def items(self) -> Items:
        """As the first's."""
        return self.fills[0].items

    def read(self, values: Values) -> Read:
        """The columns of all."""
        read = [fill.read(values) for fill in self.fills]
        keeps = [part.keep for part in read if part.keep is not None]
        wrong: Sequence[tuple[Mask, str]] = [pair for part in read for pair in part.wrong]
        columns = {name: column for part in read for name, column in part.columns.items()}
        return Read(columns, tuple(wrong), np.logical_or.reduce(keeps) if keeps else None)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
