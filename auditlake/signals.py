"""Signals of the one long process, taken where it can heed them: SIGTERM and SIGINT ask it to stop, SIGHUP to read its settings again."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Signals", "signals"]

_STOP = {signal.SIGTERM, signal.SIGINT}
_RELOAD = signal.SIGHUP


class Signals:
    """What has been asked.

    :param pipe: where the interpreter writes the number of each signal, whichever thread the system gave it to.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self.stop = False
        self.reload = False

    def wait(self, seconds: float) -> None:
        """Wait for the next signal, or so long."""
        if not self.stop and select.select([self._pipe], [], [], seconds)[0]:
            numbers = set(os.read(self._pipe, 4096))
            self.stop = bool(numbers & _STOP)
            self.reload = self.reload or _RELOAD in numbers


@contextmanager
def signals() -> Iterator[Signals]:
    """Take the signals as long as the block lasts. In the main thread only."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, _noted) for number in (*_STOP, _RELOAD)}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield Signals(reading)
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _noted(_number: int, _frame: object) -> None:
    """Nothing: the interpreter has written the number into the pipe."""
