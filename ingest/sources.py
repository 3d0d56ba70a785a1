"""Names on a command line -> readers of plain bytes.

- What cannot be read is a value beside what can (``expand``), so that one bad name stops no other.
- A source is a regular file or standard input; opening never waits on a FIFO nor wakes a device.
- A reader gives the uncompressed bytes of plain, gzip, zstd and bzip2 data in order, with memory that does not grow, and
  counts them: every offset is one of uncompressed bytes. Damage ends it early, after all that was readable.
- Content that is not lines (documents of JSON, Parquet) is given as lines (``ingest.unfold``), and these are what is counted.
"""

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol, Self, cast

from core.errors import AuditlakeError, UsageError
from ingest import unfold
from ingest.compression import MAGIC_BYTES, DamageError, kind_of, unpack

__all__ = ["STANDARD_INPUT", "Expanded", "RawBytes", "Reader", "Source", "expand", "open_regular", "open_source", "source_name"]

STANDARD_INPUT: Literal["-"] = "-"
Source = Path | Literal["-"]


class Expanded(NamedTuple):
    """What a command line's names stand for: the sources in order (a repeated name is repeated), and one error for each that is none."""

    sources: list[Source]
    problems: list[AuditlakeError]


def source_name(source: Source) -> str:
    """How a source is written in messages and in quarantine: its path, or ``-``; always valid Unicode, on one line."""
    return str(source).encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def expand(arguments: Sequence[str]) -> Expanded:
    """Files, patterns (``*``, ``?``, ``[...]`` and ``**`` across folders; matches sorted) and ``-`` for standard input.

    A name that exists is that file, whatever signs it holds. Every file has been opened once, so that it can be read.
    """
    sources: list[Source] = []
    problems: list[AuditlakeError] = []
    for argument in arguments:
        if argument == STANDARD_INPUT:
            sources.append(STANDARD_INPUT)
            continue
        try:
            found = _matches(argument)
        except AuditlakeError as problem:
            problems.append(problem)
            continue
        for path in found:
            try:
                os.close(open_regular(path))
                sources.append(path)
            except AuditlakeError as problem:
                problems.append(problem)
    return Expanded(sources, problems)


def _matches(argument: str) -> list[Path]:
    if not argument or "\0" in argument:
        raise UsageError(f"{argument!r} is not a file name", "name a file, a pattern, or - for standard input")
    if os.path.lexists(argument) or not any(sign in argument for sign in "*?["):
        return [Path(argument)]
    found = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern, and matches hidden files
    if not found:
        raise UsageError(f"no file matches {argument!r}", "correct the pattern, or leave it out")
    return [Path(name) for name in found]


def open_regular(path: Path) -> int:
    """A descriptor of the regular file, symbolic links followed.

    :raises UsageError: it is missing, or not a regular file.
    :raises AuditlakeError: the system refuses it.
    """
    try:
        _check_regular(path, path.stat().st_mode)  # first, since even opening some devices acts on them
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise UsageError(f"{source_name(path)!r} does not exist", "name a file that does") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AuditlakeError(f"{source_name(path)!r} cannot be opened: {reason}", "make it readable, or leave it out") from None
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except UsageError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError(f"{source_name(path)!r} is a directory", f"name its files, like '{source_name(path)}/*'")
    if not stat.S_ISREG(mode):
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise UsageError(f"{source_name(path)!r} is {kind}, not a file", "give its bytes on standard input, as -")


class RawBytes(Protocol):
    """What a reader reads: a raw file, or anything that fills a buffer."""

    def readinto(self, view: memoryview, /) -> int | None:
        """As many bytes as there are, at most the view's; 0 at the end.

        :raises OSError: it cannot be read on.
        """
        ...


class _Pieces:
    """An iterator of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readinto(self, view: memoryview, /) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class Reader:
    """The uncompressed bytes of one source, in order.

    Reading never raises for what the source holds: it ends, and :meth:`check` then says whether it ended early.
    """

    name: str
    """How messages call the source."""
    offset: int
    """Uncompressed bytes given so far, those taken back not counted."""
    compressed: bool
    """Whether the source is packed."""
    unfolded: bool
    """Whether its content is not lines, and what is read are the lines made of it."""
    close: Callable[[], None]
    """Let the file go; standard input stays open."""

    def __init__(
        self,
        name: str,
        raw: RawBytes,
        close: Callable[[], None] = lambda: None,
        *,
        lines: bool = True,
        file: BinaryIO | None = None,
        start: int | None = None,
        growing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read ``raw``, whose first bytes tell whether it is compressed; ``close`` lets it go.

        :param lines: whether the content is known to be lines; else its first bytes tell what it is.
        :param file: ``raw`` once more, when it can be read at any place: Parquet needs that.
        :param start: offset of its first byte in a source of plain lines that is read on from there: it is not looked at.
        :param growing: tells whether the source may go on after the end of ``raw``: a last line that lacks its newline is no line yet.
        :raises UsageError: it is compressed in a way that cannot be read here, or a Parquet file that is no ``file``.
        """
        self.name = name
        self.close = close
        self.offset = 0
        self._given = 0
        self._ahead: list[memoryview] = []
        self._ended = False
        self.compressed = self.unfolded = False
        self._damage: AuditlakeError | None = None
        self._stream = raw
        self._growing = growing
        if start is not None:
            self.offset = self._given = start
            return
        self._unpack(raw)
        if not lines:
            self._unfold(None if self.compressed else file)

    def _unpack(self, raw: RawBytes) -> None:
        first = self.read(MAGIC_BYTES)
        kind = kind_of(first)
        if kind is None:
            self.unread(first)
        elif kind in ("gzip", "zstd", "bzip2"):
            self._stream, self._ended, self.compressed = _Pieces(unpack(kind, first, raw)), False, True
            self.offset = self._given = 0
        else:
            raise UsageError(
                f"{self.name!r} is packed with {kind}, which is not read here", "unpack it, or repack it with gzip, zstd or bzip2"
            )

    def _unfold(self, file: BinaryIO | None) -> None:
        first = b""
        while (kind := unfold.kind_of(first)) is None and (more := self._piece(unfold.HEAD_BYTES)):
            first += more
        if kind == "json":
            self._give(unfold.unfold_json(first, self._stream))
        elif kind == "parquet" and file:
            self._give(unfold.unfold_parquet(file))
        elif kind == "parquet":
            where = "within compressed data" if self.compressed else "on a stream"
            raise UsageError(f"{self.name!r} is Parquet {where}, which is not read here", "give it as a file of its own, not packed")
        elif first:
            self._ahead.append(memoryview(first))

    def _piece(self, size: int) -> bytes:
        """As many bytes as there are without waiting for more, at least one; none at the end. They are not counted."""
        view = memoryview(bytearray(size))
        return bytes(view[: self._some(view)])

    def _give(self, pieces: Iterator[bytes]) -> None:
        """Go on with these bytes, as the source's first."""
        self._stream, self._ended, self._given, self.unfolded = _Pieces(pieces), False, 0, True

    def readinto(self, view: memoryview) -> int:
        """Fill the view from its front; fewer bytes than it holds only at the source's end.

        :returns: number of bytes.
        """
        filled = 0
        while filled < len(view) and (got := self._some(view[filled:])):
            filled += got
        self.offset += filled
        return filled

    def _some(self, view: memoryview) -> int:
        if self._ahead:
            ahead = self._ahead.pop()
            size = min(len(view), len(ahead))
            view[:size] = ahead[:size]
            if size < len(ahead):
                self._ahead.append(ahead[size:])
            return size
        if self._ended:
            return 0
        try:
            got = self._stream.readinto(view) or 0
        except (DamageError, OSError) as error:
            self._damage, got = self._damaged(error), 0
        self._ended = got == 0
        self._given += got
        return got

    def _damaged(self, error: Exception) -> AuditlakeError:
        reason = str(error) if isinstance(error, DamageError) else f"reading failed ({error})"
        where = f"after {self._given} uncompressed bytes"
        return AuditlakeError(
            f"{self.name!r} is damaged: {reason} {where}", "its whole lines up to there were read; give it again once it is mended"
        )

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the source's end."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(memoryview(buffer))])

    def unread(self, data: bytes) -> None:
        """Take bytes back, the last ones given: they will be given again."""
        if data:
            self._ahead.append(memoryview(data))
            self.offset -= len(data)

    def at_end(self) -> bool:
        """Whether no byte is left, be it the true end or damage."""
        if not self._ahead:
            self.unread(self.read(1))
        return not self._ahead

    @property
    def damaged(self) -> bool:
        """Whether the source ended early."""
        return self._damage is not None

    @property
    def ends_whole(self) -> bool:
        """Whether its end is that of its last line: it has not ended early, and is not known to go on."""
        return not (self.damaged or self._growing())

    def check(self) -> None:
        """Nothing, when the source has not ended early.

        :raises AuditlakeError: it is corrupt, cut short or could not be read on; names it and the uncompressed offset.
        """
        if self._damage:
            raise self._damage

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(source: Source, stdin: RawBytes | None = None) -> Reader:
    """A reader of the source's uncompressed bytes, as lines.

    :param stdin: what ``-`` stands for; by default the process's standard input.
    :raises UsageError: it is missing, not a regular file, or compressed in a way that cannot be read here.
    :raises AuditlakeError: the system refuses it.
    """
    if isinstance(source, str):
        return Reader("standard input", stdin or cast("RawBytes", sys.stdin.buffer), lines=False)
    raw = os.fdopen(open_regular(source), "rb", buffering=0)
    try:
        return Reader(source_name(source), raw, raw.close, lines=False, file=raw)
    except BaseException:
        raw.close()
        raise
