"""Files followed as they are written, each line once.

- What is remembered, and survives whatever happens, is what ingest remembers: the spans of each source, known by content. When a
  file is met for the first time, also after a restart, it is read from its first byte, compared, and only what is new is stored.
- From then on it is read where it was left, as long as it is the same file, has grown, ends before that place in the same bytes,
  and the control database knows the source up to there and no further. Else it is read from its first byte again.
- A last line without its newline is left alone until its file is quiet; then all is as in ``auditlake ingest``. So are files that
  are packed or not lines: they are read when they are quiet.
- A turn is short: it reads at most a slice of a file beyond what was known, and ends after half a second; the next goes on.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from core.clock import Clock
from core.errors import AuditlakeError
from ingest import compression, unfold
from ingest.reading import AUTO
from ingest.sources import Reader
from jobs.context import Context
from jobs.ingest import IngestOptions, SourceError, Standing, Tally, check_options, read_source
from jobs.watch import Watch, Watched
from storage import intake
from transforms.pipeline import Pipeline

__all__ = ["Count", "FollowFeed"]

Count = Callable[[str, str, dict[str, int]], None]
"""Is told the lines of a source and a format by what became of them."""

_TURN_SECONDS = 0.5
_SLICE = 128 << 20
_TAIL = 1024
_FEW = 4 << 20
_DOCUMENT_SECONDS = 60.0
_PACE = 4.0


class _Window:
    """The bytes of a file from a place to another, as they are read at any offset.

    :ivar limit: the offset at which it ends.
    :ivar cut: whether more may come after it.
    :ivar given: bytes read.
    """

    def __init__(self, descriptor: int, start: int, limit: int, cut: bool) -> None:
        self._descriptor, self._at = descriptor, start
        self.limit, self.cut, self.given = limit, cut, 0

    def readinto(self, view: memoryview, /) -> int:
        """As :class:`ingest.sources.RawBytes`; a file that was cut meanwhile may go on in any way."""
        size = min(len(view), max(0, self.limit - self._at))
        got = os.preadv(self._descriptor, [view[:size]], self._at) if size else 0
        self._at, self.given = self._at + got, self.given + got
        self.cut = self.cut or (got == 0 and self._at < self.limit)
        return got

    def end_after(self, most: int, place: int) -> None:
        """End so many bytes after an offset."""
        if place + most < self.limit:
            self.limit, self.cut = place + most, True


@contextmanager
def _of_source(name: str) -> Iterator[None]:
    """What is wrong within is wrong with the file."""
    try:
        yield
    except AuditlakeError as error:
        raise SourceError(error) from error
    except OSError as error:
        raise SourceError(AuditlakeError(f"{name!r} cannot be read: {error.strerror or error}", "it is tried again")) from error


class FollowFeed:
    """The files of one source of the settings; a feed of ``auditlake.writer``.

    :param patterns: files, which need not exist yet, and patterns.
    :param clock: the machine's.
    :param say: is told of what cannot be read, once.
    :param count: is told of lines.
    :param gather: for so many seconds a little that is new in a file waits for more, so that it is stored at once.
    :ivar problems: what cannot be read now, by file.
    :ivar bytes_read: from files so far.
    """

    def __init__(
        self,
        name: str,
        patterns: Sequence[str],
        options: IngestOptions,
        clock: Clock,
        say: Callable[[str], None],
        count: Count,
        gather: float = 0.0,
    ) -> None:
        self.name = name
        self.problems: dict[str, str] = {}
        self.bytes_read = 0
        self._options, self._clock, self._say, self._count = options, clock, say, count
        self._watch = Watch(patterns, clock, self._report, gather)
        self._slice = max(_SLICE, 2 * options.limits.capacity)
        self._oldest: float | None = None
        self._behind = 0
        self._forms: dict[str, str] = {}

    def pending(self) -> bool:
        """Look at the files; whether there may be something to read."""
        self._watch.look()
        self._measure()
        now = time.monotonic()
        return any(file.is_due(now) for file in self._watch.files)

    def poll(self, ctx: Context, pipeline: Pipeline) -> bool:
        """Store what is new, for half a second or so; whether there is more.

        :raises UsageError: the stream or format is unknown.
        :raises AuditlakeError: storage fails.
        """
        check_options(ctx, self._options)
        began = time.monotonic()
        read, due = 0, sorted((file for file in self._watch.files if file.is_due(began)), key=lambda file: file.again)
        for file in due:
            read += 1
            self._read(ctx, pipeline, file)
            file.again = max(file.again, time.monotonic())  # those that waited longest come first
            if time.monotonic() - began > _TURN_SECONDS:
                break
        self._measure()
        return any(file.more for file in due[:read]) or read < len(due)

    def close(self) -> None:
        """Let go of the files."""
        self._watch.close()

    def lag(self) -> float:
        """Seconds since the oldest change that was seen and is not read; 0 when there is none."""
        oldest = self._oldest
        return max(0.0, self._clock.now().timestamp() - oldest) if oldest is not None else 0.0

    def behind(self) -> int:
        """Bytes that were seen and are not read; of packed files, packed."""
        return self._behind

    def _measure(self) -> None:
        waiting = [file for file in self._watch.files if file.unread_since is not None]
        self._behind = sum(max(0, file.size - file.done) for file in waiting)
        self._oldest = min((file.unread_since for file in waiting if file.unread_since is not None), default=None)

    def _report(self, name: str, problem: str) -> None:
        if not problem:
            self.problems.pop(name, None)
        elif self.problems.get(name) != problem:
            self.problems[name] = problem
            self._say(f"auditlake: {self.name}: {problem}")

    def _read(self, ctx: Context, pipeline: Pipeline, file: Watched) -> None:
        """Store what is new in a file; what is wrong with it is reported and stops no other."""
        began, quiet, tally = time.monotonic(), file.is_quiet(time.monotonic()), Tally()
        try:
            self._read_on(ctx, pipeline, file, tally, quiet)
        except SourceError as error:
            if quiet:  # what is being written may look like anything
                self._report(file.name, str(error))
            file.seen = (file.size, file.modified)
            file.fail(began)
        except BaseException:
            file.standing = file.seen = None
            raise
        else:
            file.succeed()
            self._report(file.name, "")
        finally:
            self._tell(file, tally)

    def _tell(self, file: Watched, tally: Tally) -> None:
        if choice := next(iter(tally.chosen.values()), None):
            self._forms[file.name] = choice.name
        form = self._forms.get(file.name, AUTO) if self._options.format == AUTO else self._options.format
        self._count(self.name, form, tally.figures())

    def _read_on(self, ctx: Context, pipeline: Pipeline, file: Watched, tally: Tally, quiet: bool) -> None:
        with _of_source(file.name):
            if not file.hold():
                return
        if file.standing and not self._is_as_left(ctx, file):
            file.standing = None
        if file.standing is None and not quiet and self._must_wait(file):
            file.seen, file.rest = (file.size, file.modified), True
            return
        began, left, size = time.monotonic(), file.standing, file.size
        file.standing = None
        window = _Window(file.descriptor, left.place.end if left else 0, size, cut=not quiet)
        if left:
            window.end_after(self._slice, left.place.end)
        with _of_source(file.name):
            reader = self._reader(file, window, left)
        file.seen = (size, file.modified)
        ahead = window.limit - (left.place.end if left else 0) > _FEW
        found = partial(window.end_after, self._slice)
        standing = read_source(ctx, file.name, lambda: reader, self._options, pipeline, tally, size, left, found, ahead)
        self.bytes_read += window.given
        self._leave(file, reader, window, standing, quiet)
        if left is None and file.standing is None:  # it may be read whole again: not all the time
            file.again = time.monotonic() + _PACE * (time.monotonic() - began)

    def _reader(self, file: Watched, window: _Window, left: Standing | None) -> Reader:
        if left:
            return Reader(file.name, window, start=left.place.end, growing=lambda: window.cut)
        if self._kind(file) == "plain":
            return Reader(file.name, window, lines=False, growing=lambda: window.cut)
        window.cut = False
        raw = os.fdopen(os.dup(file.descriptor), "rb", buffering=0)
        raw.seek(0)
        try:
            return Reader(file.name, raw, raw.close, lines=False, file=raw)
        except BaseException:
            raw.close()
            raise

    def _leave(self, file: Watched, reader: Reader, window: _Window, standing: Standing | None, quiet: bool) -> None:
        """Note how far it was read."""
        plain = not (reader.compressed or reader.unfolded)
        end = standing.place.end if standing and plain else None
        file.more = window.limit < file.size
        file.rest = plain and not quiet and not file.more and end != file.size
        file.done = file.size if end is None or (quiet and not file.more) else end
        if not file.more and not file.rest:
            file.unread_since = None
        if standing and end is not None and standing.reading.settled:
            file.standing = standing
            file.tail = self._bytes(file, end - min(end, _TAIL), end)

    def _bytes(self, file: Watched, start: int, end: int) -> bytes:
        with _of_source(file.name):
            found = os.pread(file.descriptor, end - start, start)
        self.bytes_read += len(found)
        return found

    def _is_as_left(self, ctx: Context, file: Watched) -> bool:
        """Whether it can be gone on with: nothing before has changed, and nobody else has read on."""
        assert file.standing is not None
        place = file.standing.place
        if file.size < place.end or self._bytes(file, place.end - len(file.tail), place.end) != file.tail:
            return False
        with ctx.control.read() as connection:
            return intake.end_of(connection, self._options.stream, place.source) == place.end

    def _kind(self, file: Watched) -> str:
        first = self._bytes(file, 0, unfold.HEAD_BYTES)
        if compression.kind_of(first[: compression.MAGIC_BYTES]):
            return "packed"
        return "plain" if not first or unfold.kind_of(first) == "lines" else "documents"

    def _must_wait(self, file: Watched) -> bool:
        """Whether it is read only when it is quiet: packed files, and documents for a while."""
        kind = self._kind(file)
        waited = self._clock.now().timestamp() - (file.unread_since or 0.0)
        return kind == "packed" or (kind == "documents" and waited < _DOCUMENT_SECONDS)
