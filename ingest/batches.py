"""A reader's bytes -> chunks of whole lines, each accounted for to the byte.

- The ranges of a source's chunks follow each other without a gap, and ``lines == len(good) + set_aside.num_rows`` in each.
- A chunk is cut after a newline, at about ``batch_bytes`` or ``batch_lines``, whichever comes first; memory follows these
  limits and not the source. A line longer than a whole chunk passes in several chunks: those before its end count no line.
- Lines that no format may see are set aside with a constant reason: empty, with a NUL byte, over-long, or the rest of a
  line of which a first part was already read as a line.
- A source's last line may lack its newline: it counts as a line, and ``without_last_line`` leaves it for later. In a source
  that ended by damage it is not a line: it is left out, for the mended source brings the whole of it.
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.errors import UsageError
from core.schema import QUARANTINE_COLUMNS
from ingest.cleaning import Flags, clean_lines, holds_nul
from ingest.lines import Bytes, Lines, Numbers
from ingest.sources import Reader

__all__ = ["CONTINUES", "RAW_BYTES", "SET_ASIDE", "Chunk", "Chunker", "Limits", "OpenLine", "chunks", "line_digests", "newlines_of"]

RAW_BYTES = 64 << 10
"""How much of a line is kept when it is set aside."""

CONTINUES = "continues a line already read"
EMPTY = "empty line"
NUL = "holds a NUL byte"

SET_ASIDE = pa.schema(
    [
        pa.field(column.name, column.type, nullable=False)
        for column in QUARANTINE_COLUMNS
        if column.name in ("ingest_row", "source_offset", "reason", "raw", "raw_bytes")
    ]
)
"""Lines set aside: the columns of ``core.schema.QUARANTINE_COLUMNS`` that a chunk can fill."""

_BLOCK = 1 << 20
_GOOD, _EMPTY, _LONG, _NUL, _CONTINUES = range(5)


@dataclass(frozen=True)
class Limits:
    """How chunks are cut.

    :param batch_bytes: uncompressed bytes of a chunk, about; 1 to 2**30.
    :param batch_lines: lines of a chunk, at most: two of DuckDB's row groups, so that none is written half full and again.
    :param line_bytes: the longest line that is not set aside, without its terminator; up to 2**29.
    """

    batch_bytes: int = 64 << 20
    batch_lines: int = 2 * 122_880
    line_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        for name, most in (("batch_bytes", 1 << 30), ("batch_lines", 1 << 30), ("line_bytes", 1 << 29)):
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} = {getattr(self, name)} is out of range", f"choose 1 to {most}")

    @property
    def capacity(self) -> int:
        """The most bytes of a chunk: one that holds no newline after so many cannot be a good line."""
        return max(self.batch_bytes, self.line_bytes + 2)


@dataclass(frozen=True)
class OpenLine:
    """A line whose first part has been read and whose end has not.

    :param start: offset of its first byte in the source.
    :param length: bytes of it read so far.
    :param head: the first of these, at most :data:`RAW_BYTES`.
    :param counted: whether that part has been taken for a line already, as the source ended there.
    """

    start: int
    length: int
    head: bytes
    counted: bool


@dataclass(frozen=True, eq=False)
class Chunk:
    """A range of a source, and all its lines.

    :param start: offset of its first byte in the uncompressed source.
    :param end: offset of the byte after its last.
    :param digest: SHA-256 of its bytes, hexadecimal.
    :param line_digests: CRC-32 of each of the pieces that its newlines part it into (terminating ``\\n`` left out, ``\\r``
        not), little-endian uint32 each. As many as ``lines``, or one more, when the first or only piece is no line of its own.
    :param lines: lines that end here, and a last one whose newline is missing at the source's end.
    :param good: the lines a format may see.
    :param numbers: for each good line its number in the chunk, from 0; ascending, int64.
    :param offsets: for each good line the offset of its first byte in the source; int64.
    :param set_aside: the other lines, as :data:`SET_ASIDE`, ascending by ``ingest_row``, their number in the chunk.
    :param unterminated: whether the last line counted lacks its newline.
    :param ends_open_line: whether its first bytes only end a line counted before, so that they are no line here.
    :param open_line: the line that goes on after the chunk's end, unless that is a newline.
    """

    start: int
    end: int
    digest: str
    line_digests: bytes = field(repr=False)
    lines: int
    good: Lines = field(repr=False)
    numbers: Numbers = field(repr=False)
    offsets: Numbers = field(repr=False)
    set_aside: pa.RecordBatch = field(repr=False)
    unterminated: bool
    ends_open_line: bool
    open_line: OpenLine | None = field(repr=False)
    _ends: Numbers = field(repr=False)
    _raw: Bytes = field(repr=False)
    _opened: OpenLine | None = field(repr=False)
    _limits: Limits = field(repr=False)

    @property
    def terminated(self) -> bool:
        """Whether its last byte is a newline."""
        return self.open_line is None

    def without_last_line(self) -> "Chunk | None":
        """The chunk without its last line, if that lacks its newline; ``None`` when nothing else is in it."""
        if not self.unterminated:
            return self
        newlines = newlines_of(self._raw)
        if len(newlines) == 0:
            return None
        return build_chunk(self.start, self._raw[: newlines[-1] + 1], newlines, self._opened, False, self._limits)

    def bare(self) -> "Chunk":
        """The same without its bytes and its lines: what is still told of it when they are done with."""
        bytes_, numbers = np.empty(0, np.uint8), np.empty(0, np.int64)
        return replace(self, good=Lines(bytes_, numbers, numbers), numbers=numbers, offsets=numbers, _ends=numbers, _raw=bytes_)

    def rejected(self, numbers: Numbers, reasons: Sequence[str]) -> pa.RecordBatch:
        """Good lines that a format rejected, as :data:`SET_ASIDE`, with the bytes they have in the source.

        :param numbers: numbers among the good lines, as in ``ingest.formats.base.Parsed.rejected``.
        """
        starts = self.offsets[numbers] - self.start
        return _aside(self._raw, self.start, self.numbers[numbers], starts, self._ends[numbers], pa.array(reasons, pa.string()))


def newlines_of(data: Bytes) -> Numbers:
    """Positions of the newlines; int64, ascending."""
    blocks = [np.flatnonzero(data[at : at + _BLOCK] == 0x0A) + at for at in range(0, len(data), _BLOCK)]
    return np.concatenate(blocks).astype(np.int64, copy=False) if blocks else np.empty(0, dtype=np.int64)


def line_digests(data: Bytes, starts: Numbers, ends: Numbers) -> npt.NDArray[np.uint32]:
    """CRC-32 (zlib's) of each piece between newlines; uint32[pieces].

    :param starts: first byte of each piece.
    :param ends: its newline, or the end of the data.
    """
    digests = np.empty(len(starts), dtype=np.uint32)
    step = 1024  # pieces at once, to stay in the processor's cache
    for at in range(0, len(starts), step):
        pieces = data[starts[at] : ends[at : at + step][-1]].tobytes().split(b"\n")
        digests[at : at + step] = np.fromiter(map(zlib.crc32, pieces), np.uint32, len(pieces))
    return digests


def pieces_of(data: Bytes, newlines: Numbers) -> tuple[Numbers, Numbers]:
    """Starts and ends of the pieces that newlines part the data into; an empty one after a last newline is none."""
    starts = np.concatenate(([0], newlines + 1)).astype(np.int64, copy=False)
    ends = np.append(newlines, len(data)).astype(np.int64, copy=False)
    whole = starts[-1] == len(data)
    return (starts[:-1], ends[:-1]) if whole else (starts, ends)


def chunks(reader: Reader, limits: Limits | None = None, opened: OpenLine | None = None) -> Iterator[Chunk]:
    """The rest of a source, chunk by chunk.

    :param opened: the line in which the reader stands, unless it is at a line's start.
    :raises AuditlakeError: the source ended early; after the last whole line.
    """
    yield from Chunker(reader, limits or Limits(), opened)
    reader.check()


class Chunker:
    """Iterates over the chunks of what a reader has left; does not tell the end from damage (``Reader.check`` does)."""

    def __init__(self, reader: Reader, limits: Limits, opened: OpenLine | None = None) -> None:
        self._reader = reader
        self._limits = limits
        self._opened = opened

    def __iter__(self) -> "Chunker":
        return self

    def __next__(self) -> Chunk:
        start = self._reader.offset
        raw, newlines = self._fill()
        final = self._reader.at_end() and self._reader.ends_whole
        cut = len(raw)
        if len(newlines) >= self._limits.batch_lines:
            newlines = newlines[: self._limits.batch_lines]
            final = final and int(newlines[-1]) + 1 == len(raw)
        if not final and (len(newlines) or self._reader.at_end()):
            cut = int(newlines[-1]) + 1 if len(newlines) else 0
        self._reader.unread(raw[cut:].tobytes())
        if cut == 0:
            raise StopIteration
        chunk = build_chunk(start, raw[:cut], newlines, self._opened, final, self._limits)
        self._opened = chunk.open_line
        return chunk

    def _fill(self) -> tuple[Bytes, Numbers]:
        """The next bytes, as many as make a chunk or are left, and where their newlines are."""
        limits = self._limits
        buffer = np.empty(limits.capacity, dtype=np.uint8)
        found: list[Numbers] = []
        filled = lines = 0
        while lines < limits.batch_lines and (filled < limits.batch_bytes or (lines == 0 and filled < limits.capacity)):
            most = limits.batch_bytes if filled < limits.batch_bytes else limits.capacity
            got = self._reader.readinto(buffer[filled : min(filled + _BLOCK, most)].data)
            if got == 0:
                break
            found.append(np.flatnonzero(buffer[filled : filled + got] == 0x0A) + filled)
            lines += len(found[-1])
            filled += got
        raw = buffer[:filled] if 2 * filled > limits.capacity else buffer[:filled].copy()  # keep no buffer for a few bytes
        return raw, np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def build_chunk(start: int, raw: Bytes, newlines: Numbers, opened: OpenLine | None, final: bool, limits: Limits) -> Chunk:
    """The chunk of these bytes.

    :param start: offset of the first byte in the source.
    :param newlines: where the newlines are, in ``raw``.
    :param opened: the line in which it begins, unless that is at a line's start.
    :param final: whether a last piece without a newline is a line.
    """
    piece_starts, piece_ends = pieces_of(raw, newlines)
    digests = line_digests(raw, piece_starts, piece_ends).astype("<u4", copy=False).tobytes()
    tail = len(piece_starts) - len(newlines)
    count = len(piece_starts) - (tail and not final)
    starts, ends = piece_starts[:count], _without_cr(raw, piece_starts[:count], piece_ends[:count])
    closes = bool(count and opened and opened.counted and starts[0] == ends[0])
    if closes:
        starts, ends = starts[1:], ends[1:]
    begun = opened if count and not closes else None
    faults = _faults(raw, starts, ends, begun, limits)
    keep = np.asarray(faults == _GOOD)
    return Chunk(
        start=start,
        end=start + len(raw),
        digest=hashlib.sha256(raw.data).hexdigest(),
        line_digests=digests,
        lines=len(starts),
        good=clean_lines(raw, starts, ends, keep),
        numbers=np.flatnonzero(keep).astype(np.int64, copy=False),
        offsets=starts[keep] + start,
        set_aside=_set_aside(raw, start, starts, ends, faults, begun, limits),
        unterminated=bool(tail and final and not (closes and len(starts) == 0)),
        ends_open_line=closes,
        open_line=_left_open(raw, start, int(piece_starts[-1]), opened, final) if tail else None,
        _ends=ends[keep],
        _raw=raw,
        _opened=opened,
        _limits=limits,
    )


def _left_open(raw: Bytes, start: int, at: int, opened: OpenLine | None, final: bool) -> OpenLine:
    tail = raw[at:]
    if at or opened is None:
        return OpenLine(start + at, len(tail), tail[:RAW_BYTES].tobytes(), final)
    head = (opened.head + tail[:RAW_BYTES].tobytes())[:RAW_BYTES]
    return OpenLine(opened.start, opened.length + len(tail), head, final)


def _without_cr(raw: Bytes, starts: Numbers, ends: Numbers) -> Numbers:
    """The ends, each one byte sooner where a carriage return stands before it."""
    return np.asarray(ends - ((ends > starts) & (raw[ends - 1] == 0x0D)))


def _faults(raw: Bytes, starts: Numbers, ends: Numbers, begun: OpenLine | None, limits: Limits) -> npt.NDArray[np.uint8]:
    """What is wrong with each line; uint8[lines]."""
    lengths = ends - starts
    faults = np.full(len(starts), _GOOD, dtype=np.uint8)
    nul: Flags = holds_nul(raw, starts)
    faults[nul] = _NUL
    faults[lengths > limits.line_bytes] = _LONG
    faults[lengths == 0] = _EMPTY
    if begun:
        faults[0] = _CONTINUES if begun.counted else _LONG
    return faults


def _set_aside(
    raw: Bytes, start: int, starts: Numbers, ends: Numbers, faults: npt.NDArray[np.uint8], begun: OpenLine | None, limits: Limits
) -> pa.RecordBatch:
    reasons = pa.array(["", EMPTY, f"longer than {limits.line_bytes} bytes", NUL, CONTINUES], pa.string())
    numbers = np.flatnonzero(faults).astype(np.int64, copy=False)
    aside = _aside(raw, start, numbers, starts[numbers], ends[numbers], reasons.take(pa.array(faults[numbers])))
    if begun is None:
        return aside
    end = int(ends[0])
    kept = (begun.head + raw[: min(end, RAW_BYTES)].tobytes())[:RAW_BYTES]
    values = (0, begun.start, reasons[int(faults[0])].as_py(), kept, begun.length + end)
    first = pa.record_batch([pa.array([value], kind.type) for value, kind in zip(values, SET_ASIDE, strict=True)], schema=SET_ASIDE)
    return pa.concat_batches([first, aside[1:]])


def _aside(raw: Bytes, start: int, numbers: Numbers, starts: Numbers, ends: Numbers, reasons: pa.Array) -> pa.RecordBatch:
    columns = [pa.array(numbers), pa.array(starts + start), reasons, _binary(raw, starts, ends), pa.array(ends - starts)]
    return pa.record_batch(columns, schema=SET_ASIDE)


def _binary(raw: Bytes, starts: Numbers, ends: Numbers) -> pa.Array:
    """The lines' bytes, each cut at :data:`RAW_BYTES`: every second of the values that starts and ends, interleaved, bound."""
    if len(starts) == 0:
        return pa.array([], pa.binary())
    bounds = np.column_stack([starts, np.minimum(ends, starts + RAW_BYTES)]).astype(np.int32).ravel()
    values = pa.Array.from_buffers(pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(raw)])
    return values.take(pa.array(np.arange(0, len(bounds), 2)))
