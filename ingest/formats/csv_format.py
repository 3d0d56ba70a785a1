"""Delimited text: ``csv`` and ``tsv`` with a header line, and files without one by columns from the configuration.

What it promises beyond :mod:`ingest.formats.base` and :mod:`ingest.formats.keyed`:

- A cell in quotes may hold delimiters, and two quotes there are one. A record within more than one line is none: a line whose
  quotes do not pair is rejected, and so is one that has not as many cells as the header.
- A header names a time and at least one more column (:mod:`ingest.formats.synonyms`), and none of its cells begins with a digit:
  no line that tells a time can be taken for one. It holds no event. The same header may come again, and another one is followed.
  Lines before the first are rejected.
- Columns that are not known are labels under the header's own names. ``date`` and ``time`` together are one time.
- Files of given columns have no header: one would be rejected like any line that is no event.

Source: https://www.rfc-editor.org/rfc/rfc4180; tab-separated: https://www.iana.org/assignments/media-types/text/tab-separated-values.
"""

import csv
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from core.errors import UsageError
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.keyed import Members, assemble
from ingest.formats.layouts import MOST_HEADER_BYTES, MOST_NAMES, Header, Layout, Layouts, collect, good_columns, without_mark
from ingest.formats.readers import time_column
from ingest.formats.splitting import Cuts, Quotes, Split, split
from ingest.formats.synonyms import SYNONYMS, key_of
from ingest.formats.template import QUOTE, Mask, Span
from ingest.formats.times import date_and_time
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Lines, Numbers

__all__ = ["CSV", "TSV", "DelimitedFormat"]

_UNPAIRED = "quotes do not pair within the line"
_COUNT = "not as many cells as the header has"
_ZERO = np.uint8(ord("0"))
_HASH = "#"
_ROW = (
    "2000-10-10T13:55:36-07:00",
    "127.0.0.1",
    "frank",
    "GET",
    "/apache_pb.gif",
    "HTTP/1.0",
    "200",
    "2326",
    "Mozilla/4.08 [en] (Win98; I ;Nav)",
)
_NAMES = ("timestamp", "client_ip", "user", "method", "url", "protocol", "status", "bytes", "user_agent")


@dataclass(frozen=True)
class DelimitedFormat:
    """Delimited text; see :class:`ingest.formats.base.Format`.

    :param columns: names of the cells of files without a header; none: the header says them.
    :param delimiter: one sign of ASCII between cells, no quote.
    :param zone: IANA name of the zone of times that name none.
    :raises UsageError: the delimiter or the columns cannot be used.
    """

    name: str = "csv"
    description: str = "comma-separated values with a header line"
    source: str = "https://www.rfc-editor.org/rfc/rfc4180"
    sample: str = "\n".join((",".join(_NAMES), ",".join(_ROW)))
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    zone: str = "UTC"
    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\0\r\n':
            raise UsageError(f"format {self.name}: {self.delimiter!r} cannot be a delimiter", "use one sign of ASCII, such as ; or |")
        layout = _layout(self.columns) if self.columns else None
        if layout and (layout.problem or not _times(layout.names)):
            raise UsageError(f"format {self.name}: columns name no time, or one of them twice", "call the time's column time")

    def configured(self, options: FormatOptions) -> "DelimitedFormat":
        """The format with times in the options' zone."""
        return replace(self, zone=options.zone) if options.zone != self.zone else self

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, before: _Parse(self, block, before or self.before).run(), lines, state)

    def skim(self, lines: Lines, state: State = None) -> State:
        """The state after these lines."""
        nothing = Parsed(pa.RecordBatch.from_arrays([], names=[]), *(np.empty(0, np.int64),) * 2)
        return parse_in_blocks(
            lambda block, before: replace(nothing, state=_Parse(self, block, before or self.before).layouts.state), lines, state
        ).state

    @cached_property
    def before(self) -> Header:
        """The state at a source's first line."""
        return Header(_layout(self.columns) if self.columns else None)

    def header(self, line: str) -> Layout | None:
        """What the line says if it is a header."""
        try:
            cells = next(csv.reader([line], delimiter=self.delimiter, strict=True))
        except (csv.Error, StopIteration):
            return None
        names = tuple(name.strip() for name in cells)
        known = _known(names)
        if line.startswith(_HASH) or not known & SYNONYMS.times or not known - SYNONYMS.times:
            return None
        return _layout(names)


def _known(names: tuple[str, ...]) -> set[str]:
    return {key_of(name) for name in names} & SYNONYMS.fills.keys()


def _times(names: tuple[str, ...]) -> bool:
    """Whether one of the names is a time."""
    return bool(SYNONYMS.times & _known(names))


def _layout(names: tuple[str, ...]) -> Layout:
    called = tuple(name or f"column_{number}" for number, name in enumerate(names, start=1))
    return Layout(called, "under a header that names a column twice" if len(set(called)) < len(called) else "")


class _Parse:
    """One parse: all lines are split, then those under each header are read together."""

    def __init__(self, form: DelimitedFormat, lines: Lines, state: Header) -> None:
        self.form, self.lines = form, without_mark(lines)
        delimiter = form.delimiter.encode()
        quotes = np.flatnonzero(self.lines.data == QUOTE)
        cuts = Cuts(np.flatnonzero(self.lines.data == delimiter[0]), False, 4 * MOST_NAMES)
        self.cells: Split = split(self.lines, cuts, Quotes(self.lines, quotes, delimiter, delimiter) if len(quotes) else None)
        headers = self._headers() if not form.columns else np.empty(0, np.int64)
        self.layouts = Layouts(self.lines, headers, state, lambda raw: form.header(raw.decode()) or Layout(problem=_COUNT))
        self.codes = self.layouts.of_lines.copy()
        self.codes[headers] = -1
        self.verdicts = Verdicts(len(lines))
        self.parts: list[tuple[Numbers, dict[str, pa.Array]]] = []

    def run(self) -> Parsed:
        self.verdicts.pass_over(self.codes < 0)
        self.verdicts.reject(self.cells.unpaired, _UNPAIRED)
        for code in np.unique(self.codes[self.codes >= 0]).tolist():
            layout, under = self.layouts.known[code], self.codes == code
            if layout is None or layout.problem:
                self.verdicts.reject(under, layout.problem if layout else "no header line before")
                continue
            fits = under & (self.cells.counts == len(layout.names)) & ~self.cells.unpaired
            self.verdicts.reject(under & ~fits, _COUNT)
            if fits.any():
                self._take(layout, fits)
        return collect(SYNONYMS.columns, self.verdicts, self.parts, self.layouts.state)

    def _headers(self) -> Numbers:
        """Numbers of the header lines."""
        cells, lines = self.cells, self.lines
        digits = cells.data.take(cells.span.starts, mode="clip") - _ZERO < 10 if len(cells.data) else np.zeros(0, np.bool_)
        told = np.bincount(np.repeat(np.arange(len(lines)), cells.counts)[digits], minlength=len(lines)) > 0
        numbers = np.flatnonzero(~told & (cells.counts > 1) & (lines.ends - lines.starts < MOST_HEADER_BYTES - 4))
        if not len(numbers):
            return numbers
        distinct = text(lines.data, Span(lines.starts[numbers], lines.ends[numbers])).dictionary_encode()
        are = np.array([self.form.header(line) is not None for line in distinct.dictionary.to_pylist()], np.bool_)
        return np.compress(are[distinct.indices.to_numpy()], numbers)

    def _take(self, layout: Layout, fits: Mask) -> None:
        """Read lines of the right number of cells."""
        numbers = np.flatnonzero(fits)
        names = pa.array(layout.names, pa.string())
        rows = np.repeat(np.arange(len(numbers)), len(names))
        keys = pa.array([key_of(name) for name in layout.names], pa.string())
        members = Members(self.cells.data, self.cells.of_lines(fits), rows, names, keys)
        verdicts = Verdicts(len(numbers))
        members, event_time = self._timed(members, verdicts)
        columns = assemble(SYNONYMS, members, verdicts, len(numbers), self.form.zone, event_time)
        self.verdicts.adopt(numbers, verdicts)
        good = verdicts.good
        self.parts.append((numbers[good], good_columns(columns, good)))

    def _timed(self, members: Members, verdicts: Verdicts) -> tuple[Members, pa.Array | None]:
        """The time when it is a column of days and one of clock times, and the members without these."""
        keys = members.keys.to_pylist()
        if not {"date", "time"} <= set(keys) or {"event_time", "timestamp"} & set(keys):
            return members, None
        day, clock = keys.index("date"), keys.index("time")
        days, clocks = (members.span.take(np.arange(place, len(members.rows), len(keys))) for place in (day, clock))
        micros, good = date_and_time(members.data, days, clocks, self.form.zone)
        verdicts.reject(~good, "date and time are not a time")
        return members.without([day, clock]), time_column(micros)


CSV = DelimitedFormat()
TSV = DelimitedFormat(
    name="tsv",
    description="tab-separated values with a header line",
    source="https://www.iana.org/assignments/media-types/text/tab-separated-values",
    sample="\n".join(("\t".join(_NAMES), "\t".join(_ROW))),
    delimiter="\t",
)
