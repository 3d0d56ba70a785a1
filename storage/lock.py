"""One process at a time changes a data directory: an advisory lock that dies with its holder, and a queue before it.

Who waits holds a second lock, ``<lock>.next``, until the first is had; who lets go and wants it again stands behind. So one that takes the
lock again and again keeps nobody out for longer than one of its turns.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import LockedError

__all__ = ["hold", "is_held"]

_LOOK_SECONDS = 0.02


@contextmanager
def hold(path: Path, patience: float = 0.0, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file as long as the block lasts; the file names the holder's pid.

    :param patience: seconds to wait for it.
    :param waiting: is told the holder's pid when it has to be waited for.
    :raises LockedError: another process holds it.
    """
    deadline = time.monotonic() + patience
    queue, handle = _open(path.with_name(path.name + ".next")), _open(path)
    try:
        try:
            _take(queue, handle, path, deadline, waiting)
            _take(handle, handle, path, deadline, waiting)
        finally:
            os.close(queue)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at this moment."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(handle)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(wanted: int, named: int, path: Path, deadline: float, waiting: Callable[[str], None] | None) -> None:
    told = False
    while not _try(wanted):
        holder = os.pread(named, 32, 0).decode(errors="replace").strip() or "unknown"
        if time.monotonic() >= deadline:
            raise LockedError(f"data directory {path.parent} is in use by process {holder}", "wait until it has ended, or stop it")
        if waiting and not told:
            waiting(holder)
            told = True
        time.sleep(_LOOK_SECONDS)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
