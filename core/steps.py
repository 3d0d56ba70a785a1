"""Named instants between which work must be safe to lose.

Every write to disk, database or object store is announced by :func:`step` just before it happens, so that a test can
stop the process at each of them in turn. In production the observer is absent and a step costs one comparison.
"""

from collections.abc import Callable

__all__ = ["observe", "step"]

_observer: Callable[[str], None] | None = None


def step(name: str) -> None:
    """Announce that the I/O called ``name`` (``roll.commit``, ``purge.delete_object`` ...) is about to happen."""
    if _observer is not None:
        _observer(name)


def observe(observer: Callable[[str], None] | None) -> None:
    """Let ``observer`` see each step from now on; ``None`` ends it."""
    global _observer
    _observer = observer
