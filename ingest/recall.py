"""What a format must have seen before a source's new lines: its head, to be chosen by, and the lines read before, for its state.

Everything comes from the source's own bytes, so that it is the same for a run that was never disturbed and for one that goes
on after a crash or finds a grown file.
"""

import numpy as np

from ingest.batches import Limits, build_chunk, newlines_of
from ingest.lines import Bytes, Lines, Numbers
from ingest.sources import Reader

__all__ = ["HEAD_BYTES", "RECENT_LINES", "Recall", "head_is_full", "head_lines"]

HEAD_BYTES = 1 << 20
"""How far :func:`head_lines` looks, uncompressed."""
RECENT_LINES = 64
"""How many of the last lines read before :meth:`Recall.brief` gives at least, if there are as many."""

_HASH = ord("#")


def head_lines(reader: Reader, limits: Limits, most: int) -> tuple[Lines, Numbers]:
    """The first good lines of a source, which is left as it was.

    :param reader: at the source's first byte.
    :param most: how many, at most.
    :returns: the lines, and the number of each in the source, from 1.
    """
    first = reader.read(HEAD_BYTES)
    final = reader.at_end() and reader.ends_whole
    raw = np.frombuffer(first, np.uint8)
    reader.unread(first)
    newlines = newlines_of(raw)
    if not final:
        raw = raw[: newlines[-1] + 1] if len(newlines) else raw[:0]
    chunk = build_chunk(0, raw, newlines, None, final, limits)
    return chunk.good.take(np.arange(min(len(chunk.good), most))), chunk.numbers[:most] + 1


def head_is_full(reader: Reader) -> bool:
    """Whether :func:`head_lines` will see nothing else when the source has grown. The source is left as it was."""
    first = reader.read(HEAD_BYTES)
    reader.unread(first)
    return len(first) == HEAD_BYTES


class Recall:
    """The lines of ranges that were read before, fed in order, as a format may see them.

    Lines are whole, wherever the ranges part them; those that no format may see are left out.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tail = np.empty(0, np.uint8)

    def lines(self, raw: Bytes) -> Lines:
        """The lines that end in the next range."""
        whole, newlines = self._next(raw)
        return self._good(whole, newlines)

    def brief(self, raw: Bytes) -> Lines:
        """Of the same, those that begin with ``#`` and the last :data:`RECENT_LINES`; at a small part of the cost."""
        whole, newlines = self._next(raw)
        starts = np.concatenate((np.zeros(1, np.int64), newlines[:-1] + 1)) if len(newlines) else newlines
        wanted, count = RECENT_LINES, len(starts)
        while True:
            keep = whole[starts] == _HASH
            keep[max(count - wanted, 0) :] = True
            recent = self._good(whole, newlines, keep)
            if len(recent) - int(keep[:-wanted].sum()) >= RECENT_LINES or wanted >= count:
                return recent
            wanted *= 16

    def open_line(self) -> Lines:
        """The line that is still open after the last range, as far as it goes: it was read as a line."""
        tail, self._tail = self._tail, self._tail[:0]
        return build_chunk(0, tail, newlines_of(tail), None, True, self._limits).good

    def _next(self, raw: Bytes) -> tuple[Bytes, Numbers]:
        """The bytes up to the range's last newline, with what was open before it, and where the newlines are."""
        whole = np.concatenate((self._tail, raw)) if len(self._tail) else raw
        newlines = newlines_of(whole)
        end = int(newlines[-1]) + 1 if len(newlines) else 0
        # As much of an open line as tells that it is over-long, if it is.
        self._tail = whole[end : end + self._limits.line_bytes + 2].copy()
        return whole[:end], newlines

    def _good(self, whole: Bytes, newlines: Numbers, keep: np.ndarray | None = None) -> Lines:
        if keep is not None and not keep.all():
            widths = np.diff(newlines, prepend=-1)
            whole = whole[np.repeat(keep, widths)]
            newlines = np.cumsum(widths[keep]) - 1
        return build_chunk(0, whole, newlines, None, False, self._limits).good
