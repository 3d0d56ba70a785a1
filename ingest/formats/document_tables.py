"""What tables of JSON formats share: several names of one meaning, fills that only tables need, and columns that a line must fill.

:class:`DemandingFormat` is for formats whose fields come under one of several names: no single path can be required of a line,
but a column that all these names fill can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.base import Parsed, State
from ingest.formats.document_values import OneColumn
from ingest.formats.documents import DocumentFormat, Place
from ingest.formats.fills import Fill, HostPort, Integer, Items, Read, Text, Values
from ingest.formats.template import Mask
from ingest.lines import Lines

__all__ = ["CLIENT_HEADERS", "PORT", "DemandingFormat", "HostOf", "Says", "Status", "named", "texts"]

PORT = 65535
"""The largest port."""
CLIENT_HEADERS = ("Cf-Connecting-Ip", "True-Client-Ip", "X-Real-Ip")
"""Headers that name one client, spelled as Go spells them (https://pkg.go.dev/net/http#CanonicalHeaderKey), the surest first."""


def named(fill: Fill, *paths: str) -> tuple[Place, ...]:
    """A place for each path; of those that a document has the first counts, the others are labels."""
    return tuple(Place(path, fill) for path in paths)


def texts(columns: Mapping[str, str]) -> tuple[Place, ...]:
    """Places of plain text: path -> column."""
    return tuple(Place(path, Text(column)) for path, column in columns.items())


_STATUS = Integer("http_response_status_code", 0, 999)
_LEAST_STATUS = 100


@dataclass(frozen=True)
class Status:
    """A status; 0, by which servers say that nothing was answered, is a label."""

    columns: ClassVar[tuple[str, ...]] = (_STATUS.column,)
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    def read(self, values: Values) -> Read:
        """The column."""
        read = _STATUS.read(values)
        numbers = read.columns[_STATUS.column].to_numpy()
        low = (numbers > 0) & (numbers < _LEAST_STATUS)
        column = pa.array(numbers, mask=numbers == 0)
        return Read({_STATUS.column: column}, (*read.wrong, (low, f"{_STATUS.column} is less than {_LEAST_STATUS}")), numbers == 0)


@dataclass(frozen=True)
class HostOf(OneColumn):
    """The host of ``host:port``, for a place that stands in for another: its port must not become the other's. One that names a
    port stays in ``labels`` too."""

    def read(self, values: Values) -> Read:
        """The column."""
        read = HostPort(self.column, "url_port").read(values)
        return Read({self.column: read.columns[self.column]}, keep=np.array(pc.is_valid(read.columns["url_port"]), np.bool_))


@dataclass(frozen=True)
class Says(OneColumn):
    """A value that says, by being there, what a column holds; it stays in ``labels``.

    :param says: the column's value.
    """

    says: str

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: pa.repeat(self.says, len(values))}, keep=np.ones(len(values), np.bool_))


@dataclass(frozen=True)
class DemandingFormat(DocumentFormat):
    """A format of JSON documents that must fill some columns.

    :param demands: columns; a line that leaves one empty is rejected, with the reason ``no COLUMN``.
    """

    demands: tuple[str, ...] = ()

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        parsed = super().parse(lines, state)
        empty = [np.array(pc.is_null(parsed.rows.column(name)), np.bool_) for name in self.demands]
        bad = np.logical_or.reduce(empty)
        return _without(parsed, bad, self._reasons(empty, bad)) if bad.any() else parsed

    def _reasons(self, empty: list[Mask], bad: Mask) -> list[str]:
        first = np.argmax(np.stack(empty)[:, bad], axis=0)
        return [f"no {self.demands[number]}" for number in first.tolist()]


def _without(parsed: Parsed, bad: Mask, reasons: list[str]) -> Parsed:
    """The outcome with some rows rejected."""
    rejected = np.concatenate((parsed.rejected, parsed.numbers[bad]))
    order = np.argsort(rejected, kind="stable")
    told = [*parsed.reasons, *reasons]
    return Parsed(
        parsed.rows.filter(pa.array(~bad)), parsed.numbers[~bad], rejected[order], [told[i] for i in order.tolist()], state=parsed.state
    )
