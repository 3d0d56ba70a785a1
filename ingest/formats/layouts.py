"""Formats with header lines: which header is in force at each line, and the parse of all lines under one header at once.

Lines of one layout are parsed together wherever they stand, so that a file of many headers costs no more than one of few. How
many different layouts a source may have is bounded (:data:`MOST_LAYOUTS`): what comes under a further one is rejected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.base import Parsed, State
from ingest.formats.template import Mask, Span
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Lines, Numbers

__all__ = ["MOST_LAYOUTS", "MOST_NAMES", "Header", "Layout", "Layouts", "collect", "in_force", "lower_starts_with", "without_mark"]

MOST_LAYOUTS = 100
"""Different headers of one source."""
MOST_NAMES = 256
"""Names in one header."""
MOST_HEADER_BYTES = 16_384
_TOO_LONG = "under a header that is too long"
_TOO_MANY = "under one header too many"
_MARK = (0xEF, 0xBB, 0xBF)
_LOWER = np.uint8(0x20)


@dataclass(frozen=True)
class Layout:
    """What a header says of the lines after it.

    :param names: of their cells, in order, as labels call them.
    :param problem: why no line under it can be read; empty when they can.
    """

    names: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Header:
    """The state of such a format: the layout in force, ``None`` before the first header, and those there have been."""

    layout: Layout | None = None
    seen: frozenset[tuple[str, ...]] = frozenset()
    notes: tuple[str, ...] = field(default=())

    def then(self, layout: Layout) -> "Header":
        """The state after a header that says so."""
        if layout.problem or layout.names in self.seen:
            return replace(self, layout=layout)
        if len(self.seen) >= MOST_LAYOUTS:
            return replace(self, layout=Layout(problem=_TOO_MANY))
        return replace(self, layout=layout, seen=self.seen | {layout.names})


class Layouts:
    """The layouts in force over many lines.

    :param numbers: of the header lines, ascending. :param read: makes a layout of a header line.
    """

    def __init__(self, lines: Lines, numbers: Numbers, state: Header, read: Callable[[bytes], Layout]) -> None:
        self.known: list[Layout | None] = [state.layout]
        codes = np.zeros(len(numbers), np.int64)
        if len(numbers):
            shown = Span(lines.starts[numbers], np.minimum(lines.ends[numbers], lines.starts[numbers] + MOST_HEADER_BYTES + 1))
            distinct = text(lines.data, _whole_signs(lines, shown)).dictionary_encode()
            for header in distinct.dictionary.to_pylist():
                raw = header.encode()
                layout = Layout(problem=_TOO_LONG) if len(raw) > MOST_HEADER_BYTES - 4 else read(raw)
                state = state.then(layout)
                self.known.append(state.layout)
            codes = distinct.indices.to_numpy().astype(np.int64) + 1
        self.of_lines = in_force(len(lines), numbers, codes)
        last = self.known[int(codes[-1])] if len(codes) else state.layout
        self.state = replace(state, layout=last)


def _whole_signs(lines: Lines, span: Span) -> Span:
    """Spans that were cut end before the character they were cut within."""
    ends = span.ends.copy()
    for _ in range(3):
        ends -= (ends < lines.ends[np.searchsorted(lines.starts, span.starts)]) & ((lines.data.take(ends, mode="clip") & 0xC0) == 0x80)
    return Span(span.starts, ends)


def in_force(count: int, numbers: Numbers, codes: Numbers, before: int = 0) -> Numbers:
    """For each line the code of the last of the lines ``numbers`` before or at it; ``before`` where there is none."""
    changes = np.full(count, -1, np.int64)
    changes[numbers] = np.arange(len(numbers))
    last = np.maximum.accumulate(changes) if count else changes
    return np.where(last >= 0, np.append(codes, before)[last], before)


def lower_starts_with(lines: Lines, prefix: bytes) -> Mask:
    """Which lines begin with these letters and signs, in whatever case; the prefix is in lower case."""
    found = lines.ends - lines.starts >= len(prefix)
    for place, byte in enumerate(prefix):
        if found.any():
            sign = lines.data.take(lines.starts + place, mode="clip")
            found &= (sign | _LOWER if chr(byte).isalpha() else sign) == byte
    return found


def without_mark(lines: Lines) -> Lines:
    """The lines without the byte order mark that some programs put before the first."""
    marked = lines.ends - lines.starts > len(_MARK)
    for place, byte in enumerate(_MARK):
        marked &= lines.data.take(lines.starts + place, mode="clip") == byte
        if not marked.any():
            return lines
    return Lines(lines.data, lines.starts + len(_MARK) * marked, lines.ends)


def collect(
    columns: Sequence[str],
    verdicts: Verdicts,
    parts: list[tuple[Numbers, dict[str, pa.Array]]],
    state: State = None,
) -> Parsed:
    """The outcome of parses of parts of the lines.

    :param columns: what the format fills; :param verdicts: of all lines.
    :param parts: for each the numbers of its good lines, ascending, and their columns.
    """
    batches = [pa.RecordBatch.from_arrays([found[name] for name in columns], names=list(columns)) for _, found in parts]
    if not batches:
        empty = [pa.nulls(0, schema.input_type(name)) for name in columns]
        return verdicts.parsed(pa.RecordBatch.from_arrays(empty, names=list(columns)), state)
    if len(batches) == 1:
        return verdicts.parsed(batches[0], state)
    order = np.argsort(np.concatenate([numbers for numbers, _ in parts]), kind="stable")
    return verdicts.parsed(pa.concat_batches(batches).take(pa.array(order)), state)


def good_columns(columns: dict[str, pa.Array], good: Mask) -> dict[str, pa.Array]:
    """The columns of the good lines."""
    return columns if good.all() else {name: pc.filter(column, pa.array(good)) for name, column in columns.items()}
