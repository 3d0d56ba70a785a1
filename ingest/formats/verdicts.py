"""Which lines a parse has set aside, and why; and the road of many lines in blocks that fit the processor's cache."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from ingest.formats.base import Parsed, State
from ingest.formats.template import Mask
from ingest.lines import Lines, Numbers

__all__ = ["BLOCK_BYTES", "BLOCK_LINES", "Verdicts", "parse_in_blocks"]

BLOCK_LINES = 16_384
"""Measured on lines of 237 bytes: 8,000 to 32,000 do about as well, half a million at once takes twice the time."""

BLOCK_BYTES = 4 << 20
"""What lines of a block hold together at most, unless one line alone is longer: bounds the memory of a hostile buffer. Measured on
lines of 575 bytes: 8 MiB take a tenth more time, 1 MiB a third more."""

_EVENTLESS = "eventless"


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


def parse_in_blocks(parse: Callable[[Lines, State], Parsed], lines: Lines, state: State = None, size: int = BLOCK_LINES) -> Parsed:
    """The parse of all lines, done ``size`` lines at a time, each block with the state that the one before it left."""
    parts = []
    for first, block in _blocks(lines, size):
        part = parse(block, state)
        state = part.state
        parts.append((first, part))
    if len(parts) == 1:
        return parts[0][1]
    return Parsed(
        pa.concat_batches([part.rows for _, part in parts]),
        np.concatenate([part.numbers + first for first, part in parts]),
        np.concatenate([part.rejected + first for first, part in parts]),
        [reason for _, part in parts for reason in part.reasons],
        np.concatenate([part.eventless + first for first, part in parts]),
        state,
    )


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
