"""Objects of a stream that follow each other, each a line: all those of a stretch at once."""

import re

import numpy as np

from ingest.lines import Numbers
from ingest.unfold_blocks import Block, Flags

__all__ = ["ENVELOPES", "ENVELOPE_MARKS", "at_or_after", "objects_from"]

ENVELOPES = ("Records", "records", "resourceLogs")
"""Names of the lists that hold events."""
ENVELOPE_MARKS = tuple(b'{"%s":[' % name.encode() for name in ENVELOPES)
"""How objects that hold events begin, without white space."""

_ENVELOPE_AT = re.compile(b"|".join(map(re.escape, ENVELOPE_MARKS)))
_INITIAL, _TO_LOWER = ord("r"), 0x20  # of all those names
_CURLY, _CURLY_END, _QUOTE, _COMMA, _NEWLINE, _SPACE = b'{}",\n '


def at_or_after(places: Numbers, at: int) -> Numbers:
    """Those at a position or after it; of ascending ones."""
    return places[places.searchsorted(at) :]


def objects_from(block: Block, at: int) -> tuple[bytes, int]:
    """The lines of all objects from a position on that follow each other, are no envelopes and end in the stretch; and where they end.

    No bytes, when there is none.
    """
    starts = at_or_after(block.openings(0), at)
    ends = at_or_after(block.closings(0), at)
    starts, ends = starts[: len(ends)], ends[: len(starts)]
    good = _is_object(block, starts) & ~_is_envelope(block, starts)
    good[1:] &= _close_together(block, ends[:-1], starts[1:])
    count = len(good) if good.all() else int(np.argmin(good))
    if count == 0:
        return b"", at
    return _each_on_its_line(block, starts[:count], ends[:count]), int(ends[count - 1]) + 1


def _is_object(block: Block, starts: Numbers) -> Flags:
    """Which of these brackets, each closed in the stretch, begin an object."""
    second = block.data[starts + 1]
    objects: Flags = (block.data[starts] == _CURLY) & ((second == _QUOTE) | (second == _CURLY_END))
    return objects


def _is_envelope(block: Block, starts: Numbers) -> Flags:
    """Which of these brackets begin an envelope."""
    if not (block.data.take(starts + 2, mode="clip") | _TO_LOWER == _INITIAL).any():
        return np.zeros(len(starts), np.bool_)
    return np.isin(starts, [found.start() for found in _ENVELOPE_AT.finditer(block.text)])


def _close_together(block: Block, ends: Numbers, starts: Numbers) -> Flags:
    """Where nothing but one comma or white space, at most, is between the end of one and the start of the next."""
    gap = starts - ends - 1
    between = block.data[ends + 1]
    together: Flags = (gap == 0) | ((gap == 1) & ((between == _COMMA) | (between == _NEWLINE) | (between == _SPACE)))
    return together


def _each_on_its_line(block: Block, starts: Numbers, ends: Numbers) -> bytes:
    """Objects that are close together, a newline after each."""
    after = ends[:-1] + 1
    apart = starts[1:] != after
    return block.body(int(starts[0]), int(ends[-1]) + 1, after[apart], after[~apart]) + b"\n"
