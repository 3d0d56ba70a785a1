"""The processes that run queries: a few at once, each with one at a time, ended when whoever asked has gone.

A process (:mod:`auditlake.worker`) is used for many queries; one that was stopped, that failed, or that answered many is replaced.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditlake.settings import Settings

__all__ = ["FailedError", "Pool", "Running"]

_ANSWERS = 200
_LIMIT = 1 << 16
_END_SECONDS = 2.0


class FailedError(Exception):
    """A query that ended with an error.

    :param told: ``error``, ``hint``, ``status``, ``refused`` and ``rows``, as the worker says.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told["error"])
        self.told = told


@dataclass
class _Worker:
    process: asyncio.subprocess.Process
    answers: int = 0


@dataclass
class Running:
    """A query under way."""

    _worker: _Worker
    rows: int = 0
    ended: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer.

        :raises FailedError: it ended with an error.
        """
        out = self._worker.process.stdout
        assert out is not None
        while True:
            try:
                head = await out.readexactly(5)
                payload = await out.readexactly(int.from_bytes(head[1:], "big"))
            except asyncio.IncompleteReadError:
                told = {"error": "the query needed more than it may have, and was ended", "hint": "narrow it, for instance by event_day"}
                raise FailedError({**told, "status": 422, "refused": False, "rows": self.rows}) from None
            if head[:1] == b"D":
                yield payload
                continue
            self.ended = True
            told = json.loads(payload)
            self.rows = int(told["rows"])
            if head[:1] == b"X":
                raise FailedError(told)
            return


@dataclass
class Pool:
    """At most so many processes.

    :param most: queries at once.
    """

    data_dir: Path
    settings: Settings
    most: int
    _idle: list[_Worker] = field(default_factory=list)
    _all: set[asyncio.subprocess.Process] = field(default_factory=set)
    _turn: asyncio.Semaphore | None = None
    _stale: set[asyncio.subprocess.Process] = field(default_factory=set)

    @asynccontextmanager
    async def query(self, asked: Mapping[str, str]) -> AsyncIterator[Running]:
        """Run a query as long as the block lasts; a block left early ends it."""
        self._turn = self._turn or asyncio.Semaphore(self.most)
        async with self._turn:
            worker = self._idle.pop() if self._idle else await self._start()
            running = Running(worker)
            try:
                await _tell(worker, asked)
                yield running
            finally:
                worker.answers += 1
                if running.ended and worker.process.returncode is None and worker.answers < _ANSWERS and worker.process not in self._stale:
                    self._idle.append(worker)
                else:
                    self._end(worker)

    async def warm(self) -> None:
        """Have a process ready before the first query comes."""
        self._idle.append(await self._start())

    @property
    def running(self) -> int:
        """Queries under way."""
        return len(self._all) - len(self._idle)

    def renew(self, settings: Settings) -> None:
        """Answer under other settings from the next query on. In the server's own thread only."""
        self.settings, self.most = settings, settings.serve.queries
        self._turn = None
        for process in list(self._all):
            self._stale.add(process)
        while self._idle:
            self._end(self._idle.pop())

    async def close(self) -> None:
        """End them all, and wait until they have: what still waits for a process when its loop is closed complains of it."""
        for process in list(self._all):
            with suppress(ProcessLookupError):
                process.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(process.wait() for process in self._all)), _END_SECONDS)

    async def _start(self) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "auditlake.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LIMIT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._all.add(process)
        worker = _Worker(process)
        settings = self.settings.model_dump(mode="json", by_alias=True)
        await _tell(worker, {"data_dir": str(self.data_dir.absolute()), "settings": settings})
        return worker

    def _end(self, worker: _Worker) -> None:
        with suppress(ProcessLookupError):
            worker.process.kill()
        self._all.discard(worker.process)
        self._stale.discard(worker.process)


async def _tell(worker: _Worker, value: Mapping[str, Any]) -> None:
    assert worker.process.stdin is not None
    worker.process.stdin.write(json.dumps(value).encode() + b"\n")
    with suppress(ConnectionError):
        await worker.process.stdin.drain()
