"""A server of auditlake on a free port, as it really runs, and a client for it."""

import contextlib
import gzip
import http.client
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Served", "free_port", "serve"]

COMMAND = [sys.executable, "-m", "auditlake"]
_START_SECONDS = 60.0
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, that this process has not had before, and that the system gives to nobody who does not ask for it.

    Those it gives away (32768 and on, on Linux) may be the near end of somebody's connection before they are listened on, and those below
    30500 are the S3 server's.
    """
    for port in random.sample(sorted(set(range(30_500, 32_700)) - _given), 50):
        with contextlib.suppress(OSError), socket.socket() as taken:  # no SO_REUSEADDR: DuckDB's server sets none either
            taken.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError("no free port between 30500 and 32700")


@dataclass(frozen=True)
class Answer:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Its body, a JSON object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass
class Served:
    """A server and its data directory."""

    data_dir: Path
    port: int
    quack: int
    environment: Mapping[str, str]
    process: "subprocess.Popen[str]"
    ready: str
    messages: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"", token: str = "", **headers: str) -> Answer:
        """One request. Underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, named)
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def send(self, token: str, body: bytes | str, stream: str = "requests", packed: bool = False, **query: str) -> Answer:
        """Lines, sent."""
        data = body.encode() if isinstance(body, str) else body
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        headers = {"Content_Encoding": "gzip"} if packed else {}
        return self.ask("POST", f"/v1/ingest/{stream}?{asked}", gzip.compress(data) if packed else data, token, **headers)

    def call(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """A command on the same data directory, in a process of its own; its JSON."""
        done = subprocess.run(
            [*COMMAND, "--data-dir", str(self.data_dir), *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == code, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a statement, asked on the command line."""
        done = subprocess.run(
            [*COMMAND, "--data-dir", str(self.data_dir), "query", sql, "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def user(self, name: str, role: str) -> str:
        """A new user; the token."""
        token = self.call("user", "add", name, "--role", role)["token"]
        assert isinstance(token, str)
        return token

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def serve(data_dir: Path, config: str = "", **environment: str) -> Iterator[Served]:
    """A server, ready, as long as the block lasts.

    :param config: text of its config.toml; empty for none.
    """
    port, quack = free_port(), free_port()
    given = {"AUDITLAKE_SERVE__HTTP": f"127.0.0.1:{port}", "AUDITLAKE_SERVE__QUACK": f"127.0.0.1:{quack}", **environment}
    if config:
        path = data_dir.parent / f"{data_dir.name}.toml"
        path.write_text(config)
        given["AUDITLAKE_CONFIG"] = str(path)
    process = subprocess.Popen(
        [*COMMAND, "--data-dir", str(data_dir), "serve"], stderr=subprocess.PIPE, text=True, env={**os.environ, **given}
    )
    served = Served(data_dir, port, quack, given, process, "")
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_follow, args=(process, lines, served.messages))
    reader.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not served.ready:
            line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
            if not line:
                raise AssertionError(f"the server ended: {served.messages}")
            served.ready = line if line.startswith("ready") else ""
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()


def _follow(process: "subprocess.Popen[str]", lines: "queue.Queue[str]", kept: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        for line in stream:
            kept.append(line.rstrip("\n"))
            lines.put(line)
    lines.put("")
