"""Raw lines -> lines that keep the promises of :class:`ingest.lines.Lines`.

- A clean buffer is handed on as it is, without a copy; only what breaks a promise is dropped or rewritten.
- Invalid UTF-8 is never a reason to lose a line: each bad byte becomes its escape ``\\xHH`` (Python's ``backslashreplace``).
- Vectorised, but for the lines that hold invalid UTF-8.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.lines import Bytes, Lines, Numbers

__all__ = ["clean_lines", "holds_nul", "is_utf8"]

Flags = npt.NDArray[np.bool_]


def holds_nul(raw: Bytes, starts: Numbers) -> Flags:
    """For each line, whether it holds a NUL byte; bool[lines].

    :param starts: first byte of each line, ascending; a line reaches to the next one's start, the last to the buffer's end.
    """
    if len(starts) == 0 or raw.min() > 0:
        return np.zeros(len(starts), dtype=np.bool_)
    return np.asarray(np.minimum.reduceat(raw, starts) == 0)


def is_utf8(data: Bytes) -> bool:
    """Whether the buffer is valid UTF-8, without a decoded copy of it."""
    if len(data) == 0 or data.max() < 0x80:
        return True
    offsets = np.array([0, len(data)], dtype=np.int64)
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def clean_lines(raw: Bytes, starts: Numbers, ends: Numbers, keep: Flags) -> Lines:
    """The lines to keep, over a buffer that is valid UTF-8 and without NUL.

    :param keep: for each line whether it is wanted; no wanted line holds a NUL.
    :returns: ``keep.sum()`` lines in order: over ``raw`` itself when that is clean, else over a rewritten copy.
    """
    if len(raw) == 0 or (raw.min() > 0 and is_utf8(raw)):
        return Lines(raw, starts[keep], ends[keep])
    lines = _without(raw, starts, ends, keep)
    return lines if is_utf8(lines.data) else _escaped(lines)


def _without(raw: Bytes, starts: Numbers, ends: Numbers, keep: Flags) -> Lines:
    """The kept lines, terminators included, moved together."""
    if not keep.any():
        return Lines(np.empty(0, dtype=np.uint8), starts[:0], ends[:0])
    widths = np.diff(starts, append=len(raw))
    data = raw[starts[0] :][np.repeat(keep, widths)]
    moved = np.cumsum(widths[keep]) - widths[keep]
    return Lines(data, moved, moved + (ends - starts)[keep])


def _escaped(lines: Lines) -> Lines:
    """The lines with their bad bytes escaped; the odd ones are rewritten one by one."""
    data, growth = bytearray(), np.zeros(len(lines), dtype=np.int64)
    copied = 0
    for number in np.flatnonzero(np.maximum.reduceat(lines.data, lines.starts) > 0x7F):
        line = lines.line(int(number))
        text = line.decode("utf-8", "backslashreplace").encode()
        if len(text) != len(line):
            data += lines.data[copied : lines.starts[number]].data
            data += text
            copied, growth[number] = lines.ends[number], len(text) - len(line)
    data += lines.data[copied:].data
    after = np.cumsum(growth)
    return Lines(np.frombuffer(data, dtype=np.uint8), lines.starts + after - growth, lines.ends + after)
