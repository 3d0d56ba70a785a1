"""The server's part: begin the process that listens for DuckDB clients, begin another when it dies, end it."""

import json
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from auditlake.console import say
from auditlake.lake import Lake
from auditlake.quack.workers import environment
from core.errors import AuditlakeError, UsageError

__all__ = ["QuackServer"]

_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_AGAIN_SECONDS = 1.0


class QuackServer:
    """The process, kept alive."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="quack", daemon=True)

    def start(self) -> None:
        """Begin, and return when it listens.

        :raises AuditlakeError: it cannot.
        """
        self._process = self._begin()
        self._keeper.start()

    def renew(self, lake: Lake) -> None:
        """Answer under other settings from the next statement on.

        :param lake: the same directory under these.
        """
        self._lake = lake
        if process := self._process:
            _tell(process, {"settings": _dumped(lake)})

    def stop(self) -> None:
        """End what it answers, and the process."""
        self._stopping.set()
        if self._process:
            _end(self._process)

    def _begin(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "auditlake.quack"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the server, which ends this one in order
            env=environment(),
        )
        _tell(process, {"data_dir": str(self._lake.context.data_dir.absolute()), "settings": _dumped(self._lake)})
        told = _first_line(process)
        if told == {}:
            return process
        _end(process)
        told = told or {"error": "the process for Quack does not start", "hint": "see its messages above"}
        raise UsageError(told["error"], told["hint"])

    def _keep(self) -> None:
        while not self._stopping.is_set():
            if self._process:
                self._process.wait()
                if self._stopping.is_set():
                    return
                say(f"auditlake: the process for Quack ended ({self._process.returncode}) and is begun again")
                _end(self._process)
            time.sleep(_AGAIN_SECONDS)
            try:
                self._process = None
                self._process = self._begin()
            except AuditlakeError as error:
                say(f"auditlake: {error}")
        if self._process:
            _end(self._process)


def _dumped(lake: Lake) -> dict[str, Any]:
    return lake.settings.model_dump(mode="json", by_alias=True)


def _tell(process: "subprocess.Popen[bytes]", value: dict[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(OSError, ValueError):
        process.stdin.write(json.dumps(value).encode() + b"\n")
        process.stdin.flush()


def _first_line(process: "subprocess.Popen[bytes]") -> dict[str, str] | None:
    """What it says when it listens, or why it cannot; ``None`` when it says nothing."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _START_SECONDS)[0]:
        return None
    with suppress(ValueError):
        told: dict[str, str] = json.loads(process.stdout.readline())
        return told
    return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
