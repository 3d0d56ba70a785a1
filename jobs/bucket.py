"""New objects below a prefix of a bucket, each line once.

- A thread of its own lists and downloads, so that a slow bucket holds up nothing else; the writer stores what is there.
- An object is remembered as done after its lines are. A crash in between has it downloaded again, and its lines are known by content.
- Listings go on after the last key seen; keys that come late, before it, are found by a whole listing now and then, and after a start.
- With a queue, objects are read as they are notified, and a message is deleted once all that it names is durable; what was never
  notified is found by the whole listing.
- An object that cannot be read is tried again later, and stops no other.
"""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core.clock import Clock, utc_day
from core.errors import AuditlakeError
from ingest.sources import Reader
from jobs.context import Context
from jobs.ingest import IngestOptions, SourceError, Tally, check_options, read_source
from jobs.tail import Count
from storage import incoming
from storage.control import Control
from storage.incoming import Bucket, Incoming, Message, Queue
from transforms.pipeline import Pipeline

__all__ = ["BucketFeed"]

_TURN_SECONDS = 0.5
_WHOLE_SECONDS = 900.0
_AHEAD = 2
_IN_MEMORY = 16 << 20
_SHORTEST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0


@dataclass
class _Fetched:
    """An object that is here, and not stored yet."""

    object: Incoming
    file: IO[bytes]


@dataclass
class _Trouble:
    """An object that could not be read: when it is tried again."""

    object: Incoming
    again: float
    pause: float


@dataclass
class _Named:
    """A message, and digests of the objects that it waits for."""

    message: Message
    waits: set[str]


class BucketFeed:
    """A source of kind ``s3``; a feed of ``auditlake.writer``.

    :param notified: tells of new objects.
    :param clock: the machine's.
    :param say: is told of what cannot be read, once.
    :param count: is told of lines.
    :param every: seconds from one listing to the next.
    :ivar problems: what cannot be read now, by object; of the bucket itself by an empty name.
    """

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        notified: Queue | None,
        options: IngestOptions,
        clock: Clock,
        say: Callable[[str], None],
        count: Count,
        every: float,
    ) -> None:
        self.name = name
        self.problems: dict[str, str] = {}
        self._bucket, self._notified, self._options, self._clock = bucket, notified, options, clock
        self._say, self._count, self._every = say, count, every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"s3 {name}", daemon=True)
        self._control: Control | None = None
        self._folder = Path()
        self._fetched: queue.Queue[_Fetched] = queue.Queue(_AHEAD)
        self._held: _Fetched | None = None
        self._guard = threading.Lock()
        self._unread: dict[str, Incoming] = {}
        self._under_way: set[str] = set()
        self._troubles: dict[str, _Trouble] = {}
        self._messages: list[_Named] = []
        self._after = ""
        self._whole_at = 0.0

    def pending(self) -> bool:
        """Whether an object is here."""
        return self._control is None or self._held is not None or not self._fetched.empty()

    def poll(self, ctx: Context, pipeline: Pipeline) -> bool:
        """Store the objects that are here, for half a second or so; whether there are more.

        :raises UsageError: the stream or format is unknown.
        :raises AuditlakeError: storage fails.
        """
        check_options(ctx, self._options)
        if self._control is None:
            self._folder = ctx.data_dir / "tmp"
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._control = ctx.control
            self._thread.start()
        began = time.monotonic()
        while time.monotonic() - began < _TURN_SECONDS and self._next():
            self._store(ctx, pipeline)
        return not self._fetched.empty()

    def close(self) -> None:
        """Begin no further download."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        while self._next() and self._held:
            self._held.file.close()
            self._held = None

    def lag(self) -> float:
        """Seconds since the oldest object was put there that was found and is not stored; 0 when there is none."""
        with self._guard:
            oldest = min((one.modified for one in self._unread.values()), default=None)
        return max(0.0, (self._clock.now() - oldest).total_seconds()) if oldest else 0.0

    def behind(self) -> int:
        """Bytes of objects that were found and are not stored."""
        with self._guard:
            return sum(one.size for one in self._unread.values())

    def _next(self) -> bool:
        with suppress(queue.Empty):
            self._held = self._held or self._fetched.get_nowait()
        return self._held is not None

    def _store(self, ctx: Context, pipeline: Pipeline) -> None:
        assert self._held is not None
        found, file, tally = self._held.object, self._held.file, Tally()

        def opened() -> Reader:
            file.seek(0)
            raw: Any = file
            return Reader(found.url, raw, lines=False, file=raw)

        try:
            read_source(ctx, found.url, opened, self._options, pipeline, tally, ahead=found.size > _IN_MEMORY)
        except SourceError as error:
            self._put_off(found, str(error))
        else:
            self._done(ctx, found)
        finally:
            choice = next(iter(tally.chosen.values()), None)
            self._count(self.name, choice.name if choice else self._options.format, tally.figures())
        self._held = None
        file.close()

    def _done(self, ctx: Context, found: Incoming) -> None:
        with ctx.control.write() as connection:
            incoming.done(connection, self.name, found.digest, utc_day(ctx.clock.now()))
        self._report(found.url, "")
        self._settled(found.digest)

    def _settled(self, digest: str) -> None:
        """It is done, or gone."""
        with self._guard:
            self._unread.pop(digest, None)
            self._under_way.discard(digest)
            self._troubles.pop(digest, None)
            for named in self._messages:
                named.waits.discard(digest)

    def _put_off(self, found: Incoming, problem: str) -> None:
        with self._guard:
            self._under_way.discard(found.digest)
            known = self._troubles.get(found.digest)
            pause = min(_LONGEST_PAUSE, 2 * known.pause) if known else _SHORTEST_PAUSE
            self._troubles[found.digest] = _Trouble(found, time.monotonic() + pause, pause)
        self._report(found.url, problem)

    def _report(self, name: str, problem: str) -> None:
        if not problem:
            self.problems.pop(name, None)
        elif self.problems.get(name) != problem:
            self.problems[name] = problem
            self._say(f"auditlake: {self.name}: {problem}")

    def _run(self) -> None:
        """The thread that lists and downloads."""
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                self._round()
                self._report("", "")
                pause = 0.0 if self._notified else self._every
            except Exception as error:  # the source outlives whatever a bucket answers
                text = str(error) if isinstance(error, AuditlakeError) else f"{type(error).__name__}: {error}"
                self._report("", text)
                pause = min(_LONGEST_PAUSE / 60, max(_SHORTEST_PAUSE, 2 * pause))
            if self._troubles:
                pause = min(pause, _SHORTEST_PAUSE)

    def _round(self) -> None:
        self._again()
        if time.monotonic() >= self._whole_at:
            self._list(whole=True)
            self._whole_at = time.monotonic() + max(_WHOLE_SECONDS, self._every)
        elif self._notified is None:
            self._list(whole=False)
        if self._notified:
            self._receive(self._notified)

    def _again(self) -> None:
        """Objects that could not be read, when it is time."""
        now = time.monotonic()
        for trouble in [trouble for trouble in self._troubles.values() if trouble.again <= now]:
            current = self._bucket.look(trouble.object.key)
            if current is None or current.digest != trouble.object.digest:
                self._report(trouble.object.url, "")
                self._settled(trouble.object.digest)
            if current is not None:
                self._fetch(current)

    def _list(self, whole: bool) -> None:
        today = utc_day(self._clock.now())
        for page in self._bucket.pages("" if whole else self._after):
            for found in self._new(page, today):
                if not self._fetch(found):
                    return
            if page:
                self._after = max(self._after, page[-1].key, key=lambda key: key.encode())
        if whole:
            assert self._control is not None
            with self._control.write() as connection:
                incoming.forget(connection, self.name, today)

    def _new(self, page: Sequence[Incoming], today: Any) -> list[Incoming]:
        """Those that are not done, not under way and not put off."""
        assert self._control is not None
        digests = [found.digest for found in page]
        with self._control.read() as connection:
            done = incoming.known(connection, self.name, digests)
        if old := [digest for digest, seen in done.items() if seen < today]:
            with self._control.write() as connection:
                incoming.saw(connection, self.name, old, today)
        with self._guard:
            left = {digest: found for digest, found in zip(digests, page, strict=True) if digest not in done}
            self._unread.update(left)
            return [found for digest, found in left.items() if digest not in self._under_way and digest not in self._troubles]

    def _receive(self, notified: Queue) -> None:
        for message in notified.receive(self._bucket.name, self._bucket.prefix):
            found = [one for key in message.keys if (one := self._bucket.look(key))]
            new = self._new(found, utc_day(self._clock.now()))
            with self._guard:
                self._messages.append(_Named(message, {one.digest for one in found if one.digest in self._unread}))
            for one in new:
                if not self._fetch(one):
                    return
        with self._guard:
            dealt_with = [named for named in self._messages if not named.waits]
        for named in dealt_with:
            notified.delete(named.message)
            self._messages.remove(named)

    def _fetch(self, found: Incoming) -> bool:
        """Download an object for the writer; false when asked to stop. One that cannot be had is put off."""
        with self._guard:
            self._unread[found.digest] = found
        file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._folder))  # noqa: SIM115 - closed by who stores it
        try:
            there = self._bucket.fetch(found, file, self._stopping.is_set)
        except AuditlakeError as error:
            self._put_off(found, str(error))
            file.close()
            return True
        if not there:
            file.close()
            self._settled(found.digest)
            return not self._stopping.is_set()
        return self._hand_over(_Fetched(found, file))

    def _hand_over(self, fetched: _Fetched) -> bool:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                with self._guard:
                    self._under_way.add(fetched.object.digest)
                self._fetched.put(fetched, timeout=0.2)
                return True
        fetched.file.close()
        return False
