"""The one thread of the server that stores rows: bodies from the spool in the order of arrival, and what its sources bring.

It holds the data directory's lock for a turn at a time, and whoever else wants it is next. Whatever goes wrong is said, and
tried again later: a body that is acknowledged waits until it is stored.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from auditlake.console import say
from auditlake.intake import ingest_options
from auditlake.lake import Lake, exclusive
from auditlake.settings import Settings
from core.errors import AuditlakeError, LockedError
from jobs.context import Context
from jobs.ingest import IngestOptions
from jobs.push import forget_old, store_body
from jobs.recovery import recover
from jobs.tail import Count
from storage.spool import Receipt
from transforms.pipeline import Pipeline, build

__all__ = ["Counts", "Feed", "Writer"]

_TURN_SECONDS = 0.5
_PATIENCE_SECONDS = 86_400.0
_BODIES = 100
_FORGET_SECONDS = 3600.0
_LONGEST_PAUSE = 60.0
_READ_BY = ("sources", "ingest", "formats")


class Feed(Protocol):
    """A source that the server reads by itself."""

    name: str
    problems: dict[str, str]
    """What of it cannot be read now, and is tried again: said once by the source itself."""

    def poll(self, ctx: Context, pipeline: Pipeline) -> bool:
        """Store what is new, within the lock, for half a second or so; whether there is more.

        :raises AuditlakeError: it cannot be read, or storage fails.
        """
        ...

    def pending(self) -> bool:
        """Whether it may be worth taking the lock to poll it."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@dataclass
class Counts:
    """Lines by source, format and what became of them, since the server began."""

    lines: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def add(self, source: str, form: str, figures: dict[str, int]) -> None:
        """Add those of one body or turn."""
        for result in ("stored", "quarantined", "refused", "repeated"):
            if count := figures.get(result, 0):
                self.lines[source, form, result] = self.lines.get((source, form, result), 0) + count


@dataclass
class _Trouble:
    """Something that failed: when it is tried again."""

    again: float = 0.0
    pause: float = 1.0

    def later(self) -> None:
        self.again = time.monotonic() + self.pause
        self.pause = min(_LONGEST_PAUSE, 2 * self.pause)


class Writer:
    """The thread.

    :param lake: open as long as it runs.
    :param make: makes the sources of the settings, again when these change; what they count goes to the function that it is given.
    :raises UsageError: a source cannot be made.
    """

    def __init__(self, lake: Lake, make: Callable[[Settings, Count], list[Feed]] = lambda _settings, _count: []) -> None:
        self._lake = lake
        self.counts = Counts()
        self._make = make
        self._feeds = make(lake.settings, self.counts.add)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._waiting: dict[str, Future[dict[str, int]]] = {}
        self._guard = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}
        self._forgot = 0.0
        self._pipeline: Pipeline | None = None
        self._renewal: Lake | None = None
        self.problems: dict[str, str] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """Finish what is under way, and end; whether it has ended within that time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    @property
    def feeds(self) -> Sequence[Feed]:
        """The sources that it reads."""
        return tuple(self._feeds)

    def stored(self, receipt: str) -> "Future[dict[str, int]]":
        """Will hold the body's figures once it is stored. Ask before :meth:`wake`."""
        with self._guard:
            return self._waiting.setdefault(receipt, Future())

    def forget(self, receipt: str) -> None:
        """Nobody waits for it any more."""
        with self._guard:
            self._waiting.pop(receipt, None)

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def renew(self, lake: Lake) -> None:
        """Work under other settings, from the next turn on.

        :param lake: the same directory under these.
        """
        self._renewal = lake
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if not self._turn():
                self._wake.wait(0.25)
        for feed in self._feeds:
            feed.close()

    def _turn(self) -> bool:
        """Whether there may be more to do."""
        try:
            if renewal := self._renewal:
                self._renewal = None
                self._take(renewal)
            with self._lake.context.control.read() as connection:
                bodies = [receipt for receipt in self._lake.context.spool.waiting(connection, _BODIES) if self._is_due(receipt.id)]
            feeds = [feed for feed in self._feeds if self._is_due(feed.name) and feed.pending()]
            for feed in self._feeds:
                self._note(feed)
            if not bodies and not feeds:
                return False
            with exclusive(self._lake.context.data_dir, _PATIENCE_SECONDS):
                recover(self._lake.context)
                return self._work(bodies, feeds)
        except (AuditlakeError, OSError) as error:
            self._trouble("writer", error)
        except Exception as error:  # the server outlives whatever a turn meets
            self._trouble("writer", error)
        self._stopping.wait(1.0)
        return True

    def _take(self, lake: Lake) -> None:
        """Work under other settings: the sources are made anew when what they read by has changed."""
        before, self._lake, self._pipeline = self._lake.settings, lake, None
        if any(getattr(before, name) != getattr(lake.settings, name) for name in _READ_BY):
            for feed in self._feeds:
                feed.close()
                self._well(feed.name)
            self._feeds = []
            self._feeds = self._make(lake.settings, self.counts.add)

    def _work(self, bodies: Sequence[Receipt], feeds: Sequence[Feed]) -> bool:
        ctx, began = self._lake.context, time.monotonic()
        pipeline = self._made()
        more = False
        for feed in feeds:
            with self._watched(feed.name):
                more = feed.poll(ctx, pipeline) or more
        for number, receipt in enumerate(bodies):
            if number and (self._stopping.is_set() or time.monotonic() - began > _TURN_SECONDS):
                return True
            with self._watched(receipt.id):
                self._store(ctx, receipt, pipeline)
        if began - self._forgot > _FORGET_SECONDS:
            self._forgot = began
            forget_old(ctx)
        return more or len(bodies) == _BODIES

    def _note(self, feed: Feed) -> None:
        """What parts of a source are in trouble while the rest of it is read."""
        if feed.name in self._troubles:
            return
        if problems := list(feed.problems.values()):
            self.problems[feed.name] = problems[0]
        else:
            self.problems.pop(feed.name, None)

    def _store(self, ctx: Context, receipt: Receipt, pipeline: Pipeline) -> None:
        options: IngestOptions = ingest_options(self._lake.settings, receipt.format, receipt.stream, receipt.zone)
        figures = store_body(ctx, receipt, options, pipeline)
        self.counts.add(receipt.source, receipt.format, figures)
        with self._guard:
            future = self._waiting.pop(receipt.id, None)
        if future is not None:
            future.set_result(figures)

    def _made(self) -> Pipeline:
        if self._pipeline is None:
            self._pipeline = build(ingest_options(self._lake.settings, "auto", "requests").transforms)
            for warning in self._pipeline.warnings:
                say(f"auditlake: {warning}")
        return self._pipeline

    def _is_due(self, name: str) -> bool:
        return name not in self._troubles or self._troubles[name].again <= time.monotonic()

    def _watched(self, name: str) -> "_Watch":
        return _Watch(self, name)

    def _trouble(self, name: str, error: BaseException) -> None:
        text = str(error) if isinstance(error, AuditlakeError) else f"{type(error).__name__}: {error}"
        if self.problems.get(name) != text:
            say(f"auditlake: {name}: {text}")
        self.problems[name] = text
        self._troubles.setdefault(name, _Trouble()).later()

    def _well(self, name: str) -> None:
        with suppress(KeyError):
            del self.problems[name]
        self._troubles.pop(name, None)


class _Watch:
    """What fails within is said and put off, and stops nothing else; a lock that is lost stops the turn."""

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer, self._name = writer, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._writer._well(self._name)
            return False
        if not isinstance(error, Exception) or isinstance(error, LockedError):
            return False
        self._writer._trouble(self._name, error)
        return True
