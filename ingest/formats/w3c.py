"""W3C extended log files: a ``#Fields:`` line says what the lines after it hold. What IIS, HTTP.sys and many proxies write.

What it promises beyond :mod:`ingest.formats.base` and :mod:`ingest.formats.keyed`:

- Lines that begin with ``#`` hold no event. ``#Fields:`` may come again with other names. Lines before the first are rejected,
  unless the format was made with fields of its own.
- Cells are separated by blanks or tabs, one or several. A cell in quotes may hold blanks, and two quotes there are one; where
  the quotes of a line do not pair, or do not leave as many cells as there are fields, they are text like any other.
- ``date`` and ``time`` (or ``date-local`` and ``time-local``) are the time: UTC as W3C and IIS have it, or the zone of the
  source. Where there is no date field, the date is that of the last ``#Date:`` line: a file that goes on past midnight
  without a new one cannot be dated for certain, and should log the date.
- ``time-taken`` is whole milliseconds, as IIS writes it, or seconds when it has a decimal point, as W3C defines it.
- In the user agent ``+`` is a blank, unless it holds blanks of its own (quoted); elsewhere it stays.
- ``sc-bytes`` is the response's size. ``cs-bytes`` counts headers too, and is a label. A status ``0`` or ``000`` is none.
- All other fields are labels, under their names in lower case with ``_`` for all other signs: ``s_ip``, ``sc_substatus``.

Source: https://www.w3.org/TR/WD-logfile.html; fields of IIS: https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging;
of HTTP.sys: https://learn.microsoft.com/en-us/troubleshoot/developer/webapps/aspnet/site-behavior-performance/error-logging-http-apis.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from core.errors import UsageError
from ingest.formats import fills
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.header_fills import Host, Plus, PlusHeader, Status, TimeTaken
from ingest.formats.keyed import Known, Members, Table, assemble
from ingest.formats.layouts import (
    MOST_NAMES,
    Header,
    Layout,
    Layouts,
    collect,
    good_columns,
    in_force,
    lower_starts_with,
    without_mark,
)
from ingest.formats.readers import time_column
from ingest.formats.splitting import Cuts, Quotes, Split, split
from ingest.formats.template import QUOTE, Marks, Mask, Span
from ingest.formats.times import date_and_time
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["W3C", "Dialect", "W3cFormat"]

_HASH = ord("#")
_FIELDS, _DATE = b"#fields:", b"#date:"
_DAY = re.compile(rb"\s*([0-9]{4}-[0-9]{2}-[0-9]{2})(?![0-9])")
_TIMES = (("date", "time"), ("date_utc", "time_utc"), ("date_local", "time_local"), ("", "time"), ("", "time_local"))
_PORT = (0, 65535)

_TABLE = (
    Known(("timestamp", "x_timestamp"), fills.Time()),
    Known(("c_ip", "c_dns"), fills.Text("source_address")),
    Known(("c_port",), fills.Integer("source_port", *_PORT)),
    Known(("cs_username", "cs_user", "c_auth_id"), fills.Text("user_name")),
    Known(("cs_method",), fills.Text("http_request_method")),
    Known(("cs_uri",), fills.Text("url_original")),
    Known(("cs_uri_stem", "cs_uri_path"), fills.Text("url_path")),
    Known(("cs_uri_query",), fills.Cut(fills.Text("url_query"), prefix="?")),
    Known(("cs_uri_scheme",), fills.Lower("url_scheme")),
    Known(("cs_host", "cs_uri_host"), Host()),
    Known(("s_port", "cs_uri_port"), fills.Integer("url_port", *_PORT)),
    Known(("cs_version", "cs_protocol_version"), fills.Version()),
    Known(("sc_status",), Status()),
    Known(("sc_bytes", "bytes"), fills.Integer("http_response_body_bytes")),
    Known(("cs_user_agent",), Plus("user_agent_original")),
    Known(("cs_referer", "cs_referrer"), fills.Text("http_request_referrer")),
    Known(("cs_x_request_id",), fills.Text("http_request_id")),
    Known(("time_taken",), TimeTaken()),
    Known(("timetakenms",), fills.Duration(1_000_000)),
    Known(("x_forwarded_for", "cs_x_forwarded_for", "originalip", "s_xff"), PlusHeader("forwarded_for")),
    Known(("cs_forwarded",), PlusHeader("forwarded")),
    Known(("cs_cf_connecting_ip", "cs_true_client_ip", "cs_x_real_ip"), fills.Header("client_address")),
)
_SAMPLE = """#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Date: 2000-10-10 20:55:00
#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status \
sc-substatus sc-win32-status sc-bytes cs-bytes time-taken
2000-10-10 20:55:36 10.0.0.1 GET /apache_pb.gif - 80 frank 127.0.0.1 Mozilla/4.08+[en]+(Win98;+I+;Nav) \
http://www.example.com/start.html 200 0 0 2326 310 15"""


@dataclass(frozen=True, eq=False)
class Dialect:
    """How a family of such files is read.

    :param table: of its fields, by the names as labels have them.
    :param blanks: signs that separate cells; :param runs: whether several of them are one; :param quoted: whether quotes hold cells.
    :param assumed: fields of files without ``#Fields:``; none: their lines are rejected.
    :param problem: why lines with these fields are not of it; empty when they are.
    :param utc: whether its times are UTC whatever the zone of the source.
    """

    table: Table
    blanks: bytes
    runs: bool
    quoted: bool
    problem: Callable[[tuple[str, ...]], str]
    assumed: tuple[str, ...] = ()
    utc: bool = False


def _label_name(name: str) -> str:
    """``cs(User-Agent)`` -> ``cs_user_agent``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "field"


def _is_cloudfront(names: tuple[str, ...]) -> str:
    return "it looks like format cloudfront" if any(name.startswith("x_edge_") for name in names) else ""


_W3C = Dialect(Table(*_TABLE), b" \t", True, True, _is_cloudfront)


@dataclass(frozen=True)
class W3cFormat:
    """W3C extended log files; see :class:`ingest.formats.base.Format`.

    :param fields: those of the lines before the first ``#Fields:``; none: such lines are rejected.
    :param zone: IANA name of the zone of their times.
    :raises UsageError: the fields cannot be used.
    """

    name: str = "w3c"
    description: str = "W3C extended log file: IIS, HTTP.sys and others, by their #Fields: line"
    source: str = "https://www.w3.org/TR/WD-logfile.html"
    sample: str = _SAMPLE
    fields: tuple[str, ...] = ()
    zone: str = "UTC"
    dialect: Dialect = _W3C
    announced_by: bytes = b"#Fields:"
    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.fields and self.given and self.given.problem:
            raise UsageError(f"format {self.name}: fields cannot be used: {self.given.problem}", "give them as in a #Fields: line")

    @cached_property
    def given(self) -> Layout | None:
        """The layout before the first header."""
        fields = self.fields or self.dialect.assumed
        return self._layout(fields) if fields else None

    def configured(self, options: FormatOptions) -> "W3cFormat":
        """The format with times in the options' zone."""
        return self if options.zone == self.zone or self.dialect.utc else replace(self, zone=options.zone)

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, before: _Parse(self, block, before or self.before).run(), lines, state)

    def skim(self, lines: Lines, state: State = None) -> State:
        """The state after these lines."""
        directives = Directives(self, without_mark(lines), state or self.before)
        return directives.state

    @cached_property
    def before(self) -> Header:
        """The state at a source's first line."""
        return Header(self.given, notes=("",))

    def layout(self, header: bytes) -> Layout:
        """What a ``#Fields:`` line says."""
        return self._layout(tuple(header[len(_FIELDS) :].decode("utf-8", "replace").split()))

    def _layout(self, fields: tuple[str, ...]) -> Layout:
        names = _distinct([_label_name(name) for name in fields])
        return Layout(names, self._problem(names))

    def _problem(self, names: tuple[str, ...]) -> str:
        if len(names) > MOST_NAMES:
            return "#Fields: names too many fields"
        told = _time_fields(names) or self.dialect.table.times.intersection(names)
        return self.dialect.problem(names) or ("" if told else "#Fields: names no time")


def _distinct(names: list[str]) -> tuple[str, ...]:
    """A name that comes again gets a number."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        again = f"{name}_{seen[name]}"
        while seen[name] > 1 and again in seen:
            again += "_"
        result.append(name if seen[name] == 1 else again)
        seen.setdefault(result[-1], 1)
    return tuple(result)


def _time_fields(names: tuple[str, ...]) -> tuple[str, str] | None:
    """The fields that say the time: of the date, or empty, and of the time of day."""
    return next((pair for pair in _TIMES if pair[1] in names and (not pair[0] or pair[0] in names)), None)


class Directives:
    """Which lines are directives, and what the others are under."""

    def __init__(self, form: W3cFormat, lines: Lines, state: Header) -> None:
        self.is_one = lines.data.take(lines.starts, mode="clip") == _HASH if len(lines) else np.zeros(0, np.bool_)
        numbers = np.flatnonzero(self.is_one)
        some = lines.take(numbers)
        self.layouts = Layouts(lines, numbers[lower_starts_with(some, _FIELDS)], state, form.layout)
        dated = numbers[lower_starts_with(some, _DATE)]
        self.days = [state.notes[0], *(_day(lines, number) for number in dated.tolist())]
        self.day_of = in_force(len(lines), dated, np.arange(1, len(dated) + 1))
        self.state = replace(self.layouts.state, notes=(self.days[-1],))


def _day(lines: Lines, number: int) -> str:
    start = int(lines.starts[number]) + len(_DATE)
    found = _DAY.match(lines.data[start : min(start + 64, int(lines.ends[number]))].tobytes())
    return found[1].decode() if found else ""


class _Parse:
    """One parse: the lines of each layout together."""

    def __init__(self, form: W3cFormat, lines: Lines, state: Header) -> None:
        self.form, self.lines = form, without_mark(lines)
        self.directives = Directives(form, self.lines, state)
        self.verdicts = Verdicts(len(lines))
        self.parts: list[tuple[Numbers, dict[str, pa.Array]]] = []
        self.marks = Marks(self.lines.data)

    def run(self) -> Parsed:
        self.verdicts.pass_over(self.directives.is_one)
        layouts = self.directives.layouts
        codes = np.where(self.directives.is_one, -1, layouts.of_lines)
        for code in np.unique(codes[codes >= 0]).tolist():
            numbers = np.flatnonzero(codes == code)
            layout = layouts.known[code]
            if layout is None or layout.problem:
                self.verdicts.reject_numbers(numbers, layout.problem if layout else "no #Fields: line before")
            else:
                self._read(layout, numbers)
        return collect(self.form.dialect.table.columns, self.verdicts, self.parts, self.directives.state)

    def _read(self, layout: Layout, numbers: Numbers) -> None:
        lines = self.lines.take(numbers)
        cells, cut = self._cells(lines, layout)
        fits = cells.counts == len(layout.names)
        self._take(layout, numbers[fits], cells.data, cells.of_lines(fits))
        if cut is not None:
            plain = split(lines, cut)
            others = ~fits & (plain.counts == len(layout.names))
            if others.any():
                self._take(layout, numbers[others], plain.data, plain.of_lines(others))
            fits |= others
        self.verdicts.reject_numbers(numbers[~fits], "not as many fields as #Fields: names")

    def _cells(self, lines: Lines, layout: Layout) -> tuple[Split, Cuts | None]:
        """The lines' cells; and how to cut those that are left without regard to quotes, if there are quotes."""
        dialect = self.form.dialect
        cuts = Cuts(self._blanks(), dialect.runs, (4 if dialect.runs else 1) * len(layout.names) + 64)
        quotes = self.marks_of_quotes if dialect.quoted else np.empty(0, np.int64)
        if not len(quotes):
            return split(lines, cuts), None
        return split(lines, cuts, Quotes(lines, quotes, dialect.blanks, dialect.blanks)), cuts

    @cached_property
    def marks_of_quotes(self) -> Numbers:
        """All quotes: a backslash means nothing here."""
        return np.flatnonzero(self.lines.data == QUOTE)

    def _blanks(self) -> Numbers:
        places = [self.marks.of(blank) for blank in self.form.dialect.blanks]
        held = [found for found in places if len(found)]
        return held[0] if len(held) == 1 else np.sort(np.concatenate([np.empty(0, np.int64), *held]))

    def _take(self, layout: Layout, numbers: Numbers, data: Bytes, span: Span) -> None:
        """Read lines of the right number of cells."""
        if not len(numbers):
            return
        names = pa.array(layout.names, pa.string())
        members = Members(data, span, np.repeat(np.arange(len(numbers)), len(layout.names)), names, names)
        verdicts = Verdicts(len(numbers))
        members, event_time = self._timed(layout, numbers, members, verdicts)
        columns = assemble(self.form.dialect.table, members, verdicts, len(numbers), self.form.zone, event_time)
        self.verdicts.adopt(numbers, verdicts)
        good = verdicts.good
        self.parts.append((numbers[good], good_columns(columns, good)))

    def _timed(self, layout: Layout, numbers: Numbers, members: Members, verdicts: Verdicts) -> tuple[Members, pa.Array | None]:
        """The time of each line, and the members without what said it."""
        pair = _time_fields(layout.names)
        if pair is None:
            return members, None
        width = len(layout.names)
        said = [layout.names.index(name) for name in pair if name]
        day, clock = (members.span.take(np.arange(place, len(members.rows), width)) for place in (said[0], said[-1]))
        data = members.data
        if not pair[0]:
            data, day, dated = self._days(numbers, data)
            verdicts.reject(~dated, "no date: neither a field nor a #Date: line")
        micros, good = date_and_time(data, day, clock, self.form.zone)
        verdicts.reject(~good, "date and time are not a time")
        return members.without(said), time_column(micros)

    def _days(self, numbers: Numbers, data: Bytes) -> tuple[Bytes, Span, Mask]:
        """The buffer with the days of ``#Date:`` lines behind it, the day of each line in it, and whether it has one."""
        days = self.directives.days
        behind = np.frombuffer("".join(day or "0000-00-00" for day in days).encode(), np.uint8)
        which = self.directives.day_of[numbers]
        starts = len(data) + 10 * which
        return np.concatenate((data, behind)), Span(starts, starts + 10), np.array([bool(day) for day in days])[which]


W3C = W3cFormat()
