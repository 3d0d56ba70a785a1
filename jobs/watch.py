"""Files that are looked at again and again: which are there, which have changed, and which are gone from their names but still held.

A look costs a ``stat`` for each file; patterns are expanded at most once a second. Nothing is read here. A file is told from
others by device and inode, so that one that was renamed stays the one it was; its descriptor is kept, so that what is still
written to it is read, wherever its name went.
"""

import glob
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.clock import Clock
from core.errors import AuditlakeError
from ingest.sources import open_regular, source_name
from jobs.ingest import Standing

__all__ = ["LINGER_SECONDS", "MOST_OPEN", "QUIET_SECONDS", "Watch", "Watched"]

QUIET_SECONDS = 10.0
"""A file that has not changed for so long is read to its last byte, be it a newline or not."""
LINGER_SECONDS = 900.0
"""So long after its last change a file is held that no name leads to any more."""
MOST_OPEN = 256
"""So many files are held open at most, those that changed last."""

_EXPAND_SECONDS = 1.0
_SHARE = 20
_MUCH = 4 << 20
_SHORTEST_PAUSE, _LONGEST_PAUSE, _CHANGED_PAUSE = 1.0, 3600.0, 60.0

Report = Callable[[str, str], None]
"""Is told the name of a file and what is wrong with it; an empty text when nothing is any more."""


@dataclass(eq=False)
class Watched:
    """One file.

    :ivar identity: its device and inode.
    :ivar path: where it was seen last.
    :ivar named: whether it is there still.
    :ivar descriptor: of it; -1 when it is not held.
    :ivar size: bytes, when it was looked at; ``modified``: its time of change then, nanoseconds since 1970.
    :ivar changed: when its last change was seen, as :func:`time.monotonic` counts.
    :ivar unread_since: time of change of the oldest that was seen and not read, seconds since 1970; ``None`` when all is read.
    :ivar new_since: when that was seen; ``gather``: for so many seconds it waits for more.
    :ivar done: how many of its bytes are read.
    :ivar seen: size and time of change when it was last read; ``None`` when it has not been.
    :ivar rest: whether there may be more of it than was read, which is read once it is quiet.
    :ivar more: whether there is, so that it is read on at once.
    :ivar again: it is not read before.
    :ivar standing: where it was left, and how it is read.
    :ivar tail: its last bytes before that place.
    """

    identity: tuple[int, int]
    path: Path
    named: bool = True
    descriptor: int = -1
    size: int = 0
    modified: int = 0
    changed: float = 0.0
    unread_since: float | None = None
    new_since: float = 0.0
    gather: float = 0.0
    done: int = 0
    seen: tuple[int, int] | None = None
    rest: bool = False
    more: bool = False
    again: float = 0.0
    standing: Standing | None = None
    tail: bytes = b""
    _pause: float = 0.0
    _failed: float = 0.0

    @property
    def name(self) -> str:
        """How messages and quarantine call it."""
        return source_name(self.path)

    def is_quiet(self, now: float) -> bool:
        """Whether its last change is a while ago."""
        return now - self.changed >= QUIET_SECONDS

    def is_due(self, now: float) -> bool:
        """Whether there may be something to read: a little that is new waits, so that more is stored at once."""
        if now < self.again and not (self._pause and self._has_changed() and now - self._failed >= min(self._pause, _CHANGED_PAUSE)):
            return False
        return self.more or self._pause > 0 or self._has_new(now) or (self.rest and self.is_quiet(now))

    def _has_new(self, now: float) -> bool:
        if not self._has_changed():
            return False
        return now - self.new_since >= self.gather or not 0 <= self.size - self.done < _MUCH

    def hold(self) -> bool:
        """Have a descriptor; whether it is the same file still.

        :raises AuditlakeError: it cannot be opened.
        """
        if self.descriptor < 0:
            self.descriptor = open_regular(self.path)
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) != self.identity:
                self.let_go()
        return self.descriptor >= 0

    def _has_changed(self) -> bool:
        return (self.size, self.modified) != self.seen

    def fail(self, now: float) -> None:
        """It could not be read: it is tried again later, and later each time; sooner when it has changed."""
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _SHORTEST_PAUSE)
        self._failed, self.again, self.standing = now, now + self._pause, None

    def succeed(self) -> None:
        """It was read."""
        self._pause = self._failed = 0.0

    def let_go(self) -> None:
        """Do not hold it any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Watch:
    """The files of some names and patterns.

    :param clock: the machine's, by which files are dated.
    :param report: is told of files that cannot be opened.
    :param gather: for so many seconds a little that is new waits for more.
    """

    def __init__(self, patterns: Sequence[str], clock: Clock, report: Report, gather: float = 0.0) -> None:
        self._patterns, self._clock, self._report, self._gather = tuple(patterns), clock, report, gather
        self._files: dict[tuple[int, int], Watched] = {}
        self._names: list[str] = []
        self._expand_at = 0.0
        self._refused: dict[str, float] = {}

    @property
    def files(self) -> list[Watched]:
        """All that are there or held, those seen first at the front."""
        return list(self._files.values())

    def look(self) -> None:
        """See which files are there, and what has changed."""
        now = time.monotonic()
        self._expand(now)
        named: set[tuple[int, int]] = set()
        for name in self._names:
            try:
                status = os.stat(name)  # noqa: PTH116 - called for each file in each look
            except (FileNotFoundError, NotADirectoryError):
                self._absolve(name)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                self._refuse(name, f"{source_name(Path(name))!r} cannot be looked at: {reason}", now)
            else:
                if stat.S_ISREG(status.st_mode):
                    named.add(self._see(name, status, now))
                elif not stat.S_ISDIR(status.st_mode):
                    self._refuse(name, f"{source_name(Path(name))!r} is not a file", now)
        self._lost(named, now)
        self._hold_the_newest()

    def close(self) -> None:
        """Let go of all."""
        for file in self.files:
            file.let_go()
        self._files.clear()

    def _expand(self, now: float) -> None:
        """Names by patterns: no more than a twentieth of the time is spent on it, however many folders there are."""
        if now < self._expand_at:
            return
        found: dict[str, None] = {}
        for pattern in self._patterns:
            if os.path.lexists(pattern) or not any(sign in pattern for sign in "*?["):
                found[pattern] = None
            else:
                found.update(dict.fromkeys(sorted(glob.glob(pattern, recursive=True))))  # noqa: PTH207 - as ingest.sources does
        for name in [name for name in self._refused if name not in found]:
            self._absolve(name)
        self._names = list(found)
        self._expand_at = now + max(_EXPAND_SECONDS, _SHARE * (time.monotonic() - now))

    def _see(self, name: str, status: os.stat_result, now: float) -> tuple[int, int]:
        identity = (status.st_dev, status.st_ino)
        file = self._files.get(identity)
        if file is None:
            return self._meet(name, status, now)
        if file.path != Path(name) and not (file.named and file.path.exists()):
            self._report(file.name, "")
            file.path = Path(name)
        file.named = True
        self._note(file, status, now)
        return identity

    def _meet(self, name: str, status: os.stat_result, now: float) -> tuple[int, int]:
        """A file seen for the first time; its identity, should another have come by its name meanwhile."""
        identity = (status.st_dev, status.st_ino)
        if now < self._refused.get(name, 0.0):
            return identity
        try:
            descriptor = open_regular(Path(name))
        except AuditlakeError as problem:
            self._refuse(name, str(problem), now)
            return identity
        self._absolve(name)
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if identity in self._files:
            os.close(descriptor)
            return identity
        age = max(0.0, self._clock.now().timestamp() - status.st_mtime)
        file = self._files[identity] = Watched(identity, Path(name), descriptor=descriptor, changed=now - age, gather=self._gather)
        self._note(file, status, now)
        return identity

    def _refuse(self, name: str, problem: str, now: float) -> None:
        if now >= self._refused.get(name, 0.0):
            self._refused[name] = now + _CHANGED_PAUSE
            self._report(source_name(Path(name)), problem)

    def _absolve(self, name: str) -> None:
        if self._refused.pop(name, None) is not None:
            self._report(source_name(Path(name)), "")

    def _note(self, file: Watched, status: os.stat_result, now: float) -> None:
        if (status.st_size, status.st_mtime_ns) != (file.size, file.modified):
            if file.modified:  # the first look at it goes by its date
                file.changed = now
            file.size, file.modified = status.st_size, status.st_mtime_ns
            if file.unread_since is None:
                file.unread_since, file.new_since = status.st_mtime, now

    def _lost(self, named: set[tuple[int, int]], now: float) -> None:
        """Files without a name: held for a while, should they still be written to."""
        for identity in [identity for identity in self._files if identity not in named]:
            file = self._files[identity]
            file.named = False
            if file.descriptor >= 0:
                self._note(file, os.fstat(file.descriptor), now)
            if file.descriptor < 0 or (now - file.changed >= LINGER_SECONDS and not file.is_due(now)):
                file.let_go()
                self._report(file.name, "")
                del self._files[identity]

    def _hold_the_newest(self) -> None:
        held = [file for file in self._files.values() if file.descriptor >= 0]
        for file in sorted(held, key=lambda one: one.changed, reverse=True)[MOST_OPEN:]:
            file.let_go()
