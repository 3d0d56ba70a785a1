"""Which lines a parse has set aside, and why; and the road of many lines in blocks that fit the processor's cache."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ingest.formats.base import Parsed, State
from ingest.formats.template import Mask
from ingest.lines import Lines, Numbers

__all__ = ["BLOCK_BYTES", "BLOCK_LINES", "UNDECIDED", "Parse", "Verdicts", "parse_in_blocks"]

BLOCK_LINES = 16_384
"""Measured on lines of 237 bytes: 8,000 to 32,000 do about as well, half a million at once takes twice the time."""

BLOCK_BYTES = 4 << 20
"""What lines of a block hold together at most, unless one line alone is longer: bounds the memory of a hostile buffer. Measured on
lines of 575 bytes: 8 MiB take a tenth more time, 1 MiB a third more."""

UNDECIDED = "not decided yet"
"""The reason for lines that a parse of a block leaves to a second one, of the few such lines of all blocks together."""

_EVENTLESS = "eventless"
_MOST_SLICES = 4096


class Verdicts:
    """One verdict for each of many lines: good, eventless, or the first reason found against it."""

    def __init__(self, count: int) -> None:
        self._codes = np.zeros(count, np.int64)
        self._reasons = {"": 0, _EVENTLESS: 1}

    @property
    def good(self) -> Mask:
        """Lines that hold an event, without a reason against them."""
        good: Mask = self._codes == 0
        return good

    def reject(self, wrong: Mask, reason: str) -> None:
        """Set aside those of these lines that are still good."""
        if wrong.any():
            self._codes[wrong & self.good] = self._code(reason)

    def reject_numbers(self, numbers: Numbers | list[int], reason: str) -> None:
        """Set aside the lines of these numbers, whatever was said of them before; an empty reason takes them back."""
        self._codes[numbers] = self._code(reason)

    def take_back(self, numbers: Numbers) -> None:
        """These lines are good, whatever was said of them before."""
        self._codes[numbers] = 0

    def adopt(self, numbers: Numbers, others: "Verdicts") -> None:
        """The reasons that others found against lines of these numbers, where there is none yet."""
        phrases = list(others._reasons)
        for code in np.unique(others._codes[others._codes > 1]).tolist():
            wrong = np.zeros(len(self._codes), np.bool_)
            wrong[numbers[others._codes == code]] = True
            self.reject(wrong, phrases[code])

    def pass_over(self, eventless: Mask) -> None:
        """These lines hold no event of their own, whatever was said of them before."""
        self._codes[eventless] = self._reasons[_EVENTLESS]

    def parsed(self, rows: pa.RecordBatch, state: State = None) -> Parsed:
        """The outcome; ``rows`` are those of the good lines."""
        phrases = list(self._reasons)
        rejected = np.flatnonzero(self._codes > 1)
        reasons = [phrases[code] for code in self._codes[rejected].tolist()]
        return Parsed(rows, np.flatnonzero(self.good), rejected, reasons, np.flatnonzero(self._codes == 1), state)

    def _code(self, reason: str) -> int:
        return self._reasons.setdefault(reason, len(self._reasons))


Parse = Callable[[Lines, State], Parsed]


def parse_in_blocks(parse: Parse, lines: Lines, state: State = None, size: int = BLOCK_LINES, *, again: Parse | None = None) -> Parsed:
    """The parse of all lines, done ``size`` lines at a time, each block with the state that the one before it left.

    :param again: a parse without a state, of the lines that the first leaves :data:`UNDECIDED`.
    """
    parts = []
    for first, block in _blocks(lines, size):
        part = parse(block, state)
        state = part.state
        parts.append(_renumbered(part, np.arange(first, first + len(block))) if first else part)
    if again:
        undecided = _undecided(parts)
        if len(undecided):
            parts.append(_renumbered(parse_in_blocks(again, _gathered(lines, undecided), None, size), undecided))
    return parts[0] if len(parts) == 1 else replace(_joined(parts), state=state)


def _renumbered(part: Parsed, numbers: Numbers) -> Parsed:
    """The outcome of lines that have these numbers among all."""
    return replace(part, numbers=numbers[part.numbers], rejected=numbers[part.rejected], eventless=numbers[part.eventless])


def _undecided(parts: Sequence[Parsed]) -> Numbers:
    return np.concatenate([part.rejected[[reason == UNDECIDED for reason in part.reasons]] for part in parts])


def _gathered(lines: Lines, numbers: Numbers) -> Lines:
    """The lines of these numbers in a buffer of their own."""
    data = np.frombuffer(b"\n".join(lines.line(number) for number in numbers.tolist()), np.uint8)
    lengths = lines.ends[numbers] - lines.starts[numbers]
    ends = np.cumsum(lengths + 1) - 1
    return Lines(data, ends - lengths, ends)


def _joined(parts: list[Parsed]) -> Parsed:
    """The outcomes of several parts as one; each line that is undecided in one of them is decided in another. Empties the list."""
    numbers, rejected, eventless = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "rejected", "eventless")
    )
    reasons = [reason for part in parts for reason in part.reasons]
    decided = [place for place in np.argsort(rejected, kind="stable").tolist() if reasons[place] != UNDECIDED]
    batches = [part.rows for part in parts]
    parts.clear()
    rows = _in_order(batches, numbers)
    return Parsed(rows, np.sort(numbers), rejected[decided], [reasons[place] for place in decided], np.sort(eventless))


def _in_order(batches: list[pa.RecordBatch], numbers: Numbers) -> pa.RecordBatch:
    """The rows by their numbers. They mostly ascend but for a few, and are then moved in slices. Empties the list."""
    order = np.argsort(numbers, kind="stable")
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    if len(breaks) > _MOST_SLICES:
        return pa.concat_batches(batches).take(pa.array(order))
    table, bounds = pa.Table.from_batches(batches), [0, *breaks.tolist(), len(order)]
    slices = [table.slice(order[first], last - first) for first, last in pairwise(bounds) if last > first]
    names, columns = table.schema.names, pa.concat_tables(slices or [table]).columns
    batches.clear()
    del table, slices  # each column is let go once it is in one piece: the rows are never held twice
    return pa.RecordBatch.from_arrays([columns.pop(0).combine_chunks() for _ in names], names=names)


def _blocks(lines: Lines, size: int) -> Iterator[tuple[int, Lines]]:
    """The number of the first line and the lines of each block, its buffer no longer than they need; one block at least."""
    first = 0
    while first < len(lines) or first == 0:
        last = min(first + size, len(lines))
        if last > first:
            within = int(np.searchsorted(lines.ends, lines.starts[first] + BLOCK_BYTES, side="right"))
            last = min(last, max(within, first + 1))
        starts, ends = lines.starts[first:last], lines.ends[first:last]
        begin, end = (int(starts[0]), int(ends[-1])) if len(starts) else (0, 0)
        yield first, Lines(lines.data[begin:end], starts - begin, ends - begin)
        first = max(last, 1)
