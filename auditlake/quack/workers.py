"""The processes that run what comes over Quack: the same as over HTTP (:mod:`auditlake.worker`), waited for by threads."""

import io
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from auditlake.settings import Settings
from core.errors import AuditlakeError

__all__ = ["Frames", "Worker", "Workers", "environment"]

_ANSWERS = 200
_WAIT_SECONDS = 20.0
_ENDED = {"error": "the query needed more than it may have, and was ended", "hint": "narrow it, for instance by event_day"}
_DIED = {**_ENDED, "refused": False, "rows": 0}


def environment() -> dict[str, str]:
    """Of a process whose memory is bounded: Arrow's usual allocator reserves a gibibyte, which would count."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


class Worker:
    """One process, for one statement at a time; ``turn`` is held as long as it answers."""

    def __init__(self, data_dir: Path, settings: Settings) -> None:
        self.settings, self.answers = settings, 0
        self.turn: threading.Semaphore | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "auditlake.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        self.tell({"data_dir": str(data_dir.absolute()), "settings": settings.model_dump(mode="json", by_alias=True)})

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, value: dict[str, Any]) -> None:
        """Send it a line; that it is gone shows when it is read from."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()

    def frame(self) -> tuple[bytes, bytes]:
        """The next letter and what comes with it; ``X`` when the process has ended."""
        out = self._process.stdout
        assert out is not None
        head = out.read(5)
        payload = out.read(int.from_bytes(head[1:], "big")) if len(head) == 5 else b""
        whole = len(head) == 5 and len(payload) == int.from_bytes(head[1:], "big")
        return (head[:1], payload) if whole else (b"X", json.dumps(_DIED).encode())

    def kill(self) -> None:
        """End it. Who reads from it sees its end."""
        self._process.kill()
        self._process.wait()


class Frames(io.RawIOBase):
    """The data frames of one answer as a stream of bytes; ``told`` is what the last frame says, ``failed`` whether it is an
    error, ``whole`` whether the process said so itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._rest = worker, memoryview(b"")
        self.told: dict[str, Any] = {}
        self.failed = self.whole = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes; none when the answer has ended."""
        while not self._rest and not self.told:
            letter, payload = self._worker.frame()
            if letter == b"D":
                self._rest = memoryview(payload)
            else:
                self.told, self.failed = json.loads(payload), letter == b"X"
                self.whole = not self.failed or "status" in self.told
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


class Workers:
    """As many that answer as the settings allow, and one that waits."""

    def __init__(self, data_dir: Path, settings: Settings) -> None:
        self._data_dir, self._idle = data_dir, list[Worker]()
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Answer under other settings from the next statement on."""
        self._settings, self._turn = settings, threading.BoundedSemaphore(settings.serve.queries)
        self.close()

    def take(self) -> Worker:
        """A process, to be given back.

        :raises AuditlakeError: all are busy, and stay so.
        """
        turn = self._turn
        if not turn.acquire(timeout=_WAIT_SECONDS):
            raise AuditlakeError(f"{self._settings.serve.queries} queries are running, which is as many as may", "ask again in a moment")
        try:
            worker = self._waiting() or Worker(self._data_dir, self._settings)
            worker.turn = turn
            if not self._idle:
                self.warm()
            return worker
        except BaseException:
            turn.release()
            raise

    def give_back(self, worker: Worker, whole: bool) -> None:
        """Done with it.

        :param whole: whether its answer was read to the end, so that it can take another.
        """
        worker.answers += 1
        turn, worker.turn = worker.turn, None
        if whole and worker.alive and worker.answers < _ANSWERS and worker.settings is self._settings:
            self._idle.append(worker)
        else:
            worker.kill()
        if turn:
            turn.release()

    def warm(self) -> None:
        """Have one ready before the next statement comes: to begin one takes longer than most statements."""
        self._idle.append(Worker(self._data_dir, self._settings))

    def _waiting(self) -> Worker | None:
        while self._idle:
            with suppress(IndexError):
                worker = self._idle.pop()
                if worker.alive and worker.settings is self._settings:
                    return worker
                worker.kill()
        return None

    def close(self) -> None:
        """End those that wait."""
        while self._idle:
            self._idle.pop().kill()
