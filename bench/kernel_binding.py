"""The compiled kernel (bench/kernel.c) in the place of the product's own code: chunks of lines, and the combined format.

- :class:`KernelChunker` cuts as ``ingest.batches.Chunker`` does; a chunk that begins or ends within a line is left to that.
- :class:`KernelFormat` parses as ``combined`` does; lines that the kernel calls odd are left to that, and counted.

Arrow columns are made of what the kernel wrote, without a copy. ctypes lets go of the interpreter's lock during each call.
"""

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core import schema
from ingest import batches, follow
from ingest.batches import Chunk, Chunker
from ingest.cleaning import clean_lines, is_utf8
from ingest.formats import registry, verdicts
from ingest.formats.access import COMBINED
from ingest.formats.base import Parsed, State, no_numbers
from ingest.formats.shapes import LineFormat
from ingest.formats.verdicts import UNDECIDED
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["Cut", "Kernel", "KernelChunker", "KernelFormat", "chunker", "compile_kernel", "in_place", "kernel_format"]

SOURCE = Path(__file__).with_name("kernel.c")
TEXTS = (
    "source_address",
    "user_name",
    "http_request_method",
    "url_original",
    "http_version",
    "http_request_referrer",
    "user_agent_original",
)
"""The columns of text, in the kernel's order."""

_PLACES = ("time", "status", "size", "status_valid", "size_valid", "numbers", "odd")
_ROOM = 16
"""Bytes beyond a text's end that the kernel may write."""
_BLOCK = 1 << 20
_MANY = 4


class _Cutting(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("scanned", "start", "lines", "nul", "high", "faulty")]


class _Text(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("offsets", "bytes", "valid")] + [(name, ctypes.c_int64) for name in ("used", "nulls")]


class _Columns(ctypes.Structure):
    _fields_ = [
        ("texts", _Text * len(TEXTS)),
        *((name, ctypes.c_void_p) for name in _PLACES),
        *((name, ctypes.c_int64) for name in ("rows", "odd_lines", "status_nulls", "size_nulls")),
    ]


def compile_kernel(folder: Path) -> Path:
    """Compile the kernel to a library in the folder.

    :raises SystemExit: there is no C compiler, or it fails.
    """
    compiler, library = shutil.which("cc"), folder / "kernel.so"
    if compiler is None:
        raise SystemExit("bench.kernel needs a C compiler, and there is no cc on the path")
    done = subprocess.run(
        [compiler, "-O3", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"bench.kernel cannot compile {SOURCE.name}: {done.stderr.strip()}")
    return library


class Cut:
    """Lines as the kernel cuts them, while a buffer is filled; uint8, int64 and uint32 arrays of ``count`` lines.

    :param most: lines at which it stops.
    """

    def __init__(self, most: int) -> None:
        self.newlines, self.starts, self.ends = (np.empty(most, np.int64) for _ in range(3))
        self.digests, self.faults = np.empty(most, np.uint32), np.empty(most, np.uint8)
        self.most, self.state = most, _Cutting(nul=-1)

    @property
    def count(self) -> int:
        """Lines ended so far."""
        return int(self.state.lines)


class Kernel:
    """The library, loaded.

    :ivar lines: how many lines it has parsed; :ivar odd: how many of these it has left to the product.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._library.cut.argtypes = [pointer, number, number, number, ctypes.c_int, *[pointer] * 6]
        self._library.take_lines_apart.argtypes = [pointer, number, pointer, pointer, number, pointer]
        self._library.cut.restype = self._library.take_lines_apart.restype = None
        self.folds = bool(self._library.can_fold())
        """Whether CRC-32 is folded, as the processor can; else it is looked up in tables. May be set to false."""
        self.lines = self.odd = 0

    def cut(self, data: Bytes, filled: int, line_bytes: int, cut: "Cut") -> None:
        """Go on cutting up to so many bytes."""
        arrays = (cut.newlines, cut.starts, cut.ends, cut.digests, cut.faults)
        pointers = (array.ctypes.data for array in arrays)
        self._library.cut(data.ctypes.data, filled, cut.most, line_bytes, self.folds, ctypes.byref(cut.state), *pointers)

    def parse(self, lines: Lines) -> tuple[dict[str, pa.Array], Numbers, Numbers]:
        """Columns of the lines that are rows, the numbers of these, and those of the odd lines."""
        out = _Out(lines)
        starts, ends = np.ascontiguousarray(lines.starts), np.ascontiguousarray(lines.ends)
        pointers = (starts.ctypes.data, ends.ctypes.data)
        self._library.take_lines_apart(lines.data.ctypes.data, len(lines.data), *pointers, len(lines), ctypes.byref(out.columns))
        self.lines += len(lines)
        self.odd += out.columns.odd_lines
        return out.arrays(), out.numbers[: out.columns.rows], out.odd[: out.columns.odd_lines]


class _Out:
    """Room for the columns of lines. Pages that are never written take no memory."""

    def __init__(self, lines: Lines) -> None:
        count, bits = len(lines), len(lines) // 8 + 1
        self.offsets = [np.empty(count + 1, np.int32) for _ in TEXTS]
        self.bytes = [np.empty(len(lines.data) + _ROOM, np.uint8) for _ in TEXTS]
        self.valid = [np.zeros(bits, np.uint8) for _ in TEXTS]
        self.time, self.size, self.numbers, self.odd = (np.empty(count, np.int64) for _ in range(4))
        self.status, self.status_valid, self.size_valid = np.empty(count, np.int32), np.zeros(bits, np.uint8), np.zeros(bits, np.uint8)
        self.columns = _Columns(**{name: getattr(self, name).ctypes.data for name in _PLACES})
        for text, offsets, data, valid in zip(self.columns.texts, self.offsets, self.bytes, self.valid, strict=True):
            offsets[0] = 0
            text.offsets, text.bytes, text.valid = offsets.ctypes.data, data.ctypes.data, valid.ctypes.data

    def arrays(self) -> dict[str, pa.Array]:
        """What was written, as columns."""
        found, rows = self.columns, self.columns.rows
        places = zip(TEXTS, found.texts, self.offsets, self.bytes, self.valid, strict=True)
        columns: dict[str, pa.Array] = {
            name: pa.StringArray.from_buffers(
                rows, pa.py_buffer(offsets[: rows + 1]), pa.py_buffer(data[: text.used]), _bits(valid, text.nulls), text.nulls
            )
            for name, text, offsets, data, valid in places
        }
        columns["event_time"] = _numbers(schema.EVENT_TIME, rows, self.time)
        columns["http_response_status_code"] = _numbers(pa.int32(), rows, self.status, self.status_valid, found.status_nulls)
        columns["http_response_body_bytes"] = _numbers(pa.int64(), rows, self.size, self.size_valid, found.size_nulls)
        columns["labels"] = pa.nulls(rows, pa.string())
        return columns


def _bits(valid: Bytes | None, nulls: int) -> pa.Buffer | None:
    return pa.py_buffer(valid) if nulls else None


def _numbers(kind: pa.DataType, rows: int, values: npt.NDArray[np.signedinteger], valid: Bytes | None = None, nulls: int = 0) -> pa.Array:
    return pa.Array.from_buffers(kind, rows, [_bits(valid, nulls), pa.py_buffer(values[:rows])], nulls)


@dataclass(frozen=True)
class KernelFormat(LineFormat):
    """The format ``combined``, parsed by the kernel."""

    kernel: Kernel | None = None

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """As the product does, odd lines by the product itself."""
        assert self.kernel is not None
        columns, numbers, odd = self.kernel.parse(lines)
        if len(odd) * _MANY > len(lines):
            return super().parse(lines, state)
        part = Parsed(pa.RecordBatch.from_arrays([columns[name] for name in self.columns], names=list(self.columns)), numbers, no_numbers())
        if not len(odd):
            return part
        others = verdicts._renumbered(super().parse(verdicts._gathered(lines, odd)), odd)
        undecided = Parsed(part.rows, numbers, odd, [UNDECIDED] * len(odd))
        return verdicts._joined([undecided, others])


def kernel_format(kernel: Kernel) -> KernelFormat:
    """``combined`` with this kernel."""
    return KernelFormat(**{one.name: getattr(COMBINED, one.name) for one in fields(COMBINED)}, kernel=kernel)


class KernelChunker(Chunker):
    """Cuts with the kernel that its class names; see :func:`in_place` and :func:`chunker`."""

    kernel: Kernel

    def __next__(self) -> Chunk:
        start, limits, reader = self._reader.offset, self._limits, self._reader
        raw, cut = self._cut()
        newlines = cut.newlines[: cut.count]
        final, end = reader.at_end() and not reader.damaged, len(raw)
        if len(newlines) >= limits.batch_lines:
            final = final and int(newlines[-1]) + 1 == len(raw)
        if not final and (len(newlines) or reader.at_end()):
            end = int(newlines[-1]) + 1 if len(newlines) else 0
        reader.unread(raw[end:].tobytes())
        if end == 0:
            raise StopIteration
        whole = self._opened is None and len(newlines) and int(newlines[-1]) + 1 == end
        if whole:
            return self._chunk(start, raw[:end], cut)
        chunk = batches.build_chunk(start, raw[:end], newlines, self._opened, final, limits)
        self._opened = chunk.open_line
        return chunk

    def _cut(self) -> tuple[Bytes, Cut]:
        """As ``Chunker._fill``, each block cut while it is in the processor's cache."""
        limits = self._limits
        buffer, cut, filled = np.empty(limits.capacity, np.uint8), Cut(min(limits.batch_lines, limits.capacity)), 0
        while cut.count < limits.batch_lines and (filled < limits.batch_bytes or (cut.count == 0 and filled < limits.capacity)):
            most = limits.batch_bytes if filled < limits.batch_bytes else limits.capacity
            got = self._reader.readinto(buffer[filled : min(filled + _BLOCK, most)].data)
            if got == 0:
                break
            filled += got
            self.kernel.cut(buffer, filled, limits.line_bytes, cut)
        return (buffer[:filled] if 2 * filled > limits.capacity else buffer[:filled].copy()), cut

    def _chunk(self, start: int, raw: Bytes, cut: Cut) -> Chunk:
        """The chunk of whole lines."""
        count = cut.count
        starts, ends, faults = cut.starts[:count], cut.ends[:count], cut.faults[:count]
        keep = faults == 0
        kept_starts, kept_ends = (starts[keep], ends[keep]) if cut.state.faulty else (starts, ends)
        clean = cut.state.nul < 0 and (not cut.state.high or is_utf8(raw))
        return Chunk(
            start=start,
            end=start + len(raw),
            digest=hashlib.sha256(raw.data).hexdigest(),
            line_digests=cut.digests[:count].astype("<u4", copy=False).tobytes(),
            lines=count,
            good=Lines(raw, kept_starts, kept_ends) if clean else clean_lines(raw, starts, ends, keep),
            numbers=np.flatnonzero(keep).astype(np.int64, copy=False),
            offsets=kept_starts + start,
            set_aside=batches._set_aside(raw, start, starts, ends, faults, None, self._limits),
            unterminated=False,
            ends_open_line=False,
            open_line=None,
            _ends=kept_ends,
            _raw=raw,
            _opened=None,
            _limits=self._limits,
        )


def chunker(kernel: Kernel) -> type[KernelChunker]:
    """A chunker that cuts with this kernel."""
    return type("_Chunker", (KernelChunker,), {"kernel": kernel})


@contextmanager
def in_place(kernel: Kernel) -> Iterator[None]:
    """As long as the block lasts, ingest cuts and parses with the kernel."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(follow, "Chunker", chunker(kernel)))
        stack.enter_context(mock.patch.dict(registry._formats, {"combined": kernel_format(kernel)}))
        yield
