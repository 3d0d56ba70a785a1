"""A server that follows files while they are rotated in every way, and is killed on the way: each line is there once."""

import datetime as dt
import gzip
import itertools
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import WallClock
from tests.server import Served, serve
from tests.simulation.support import log_line

WHEN = WallClock().now() - dt.timedelta(minutes=10)
PATIENCE_SECONDS = 60.0
CONFIG = """
[[sources]]
name = "web"
kind = "follow"
format = "combined"
every = 0
paths = ["{logs}/*/access*", "{logs}/*/dated-*.log"]
"""

SECOND = """
[[sources]]
name = "other"
kind = "follow"
format = "combined"
paths = ["{logs}/*/other.log"]
"""


class Rotating:
    """Writes lines to files until told to stop, and rotates them, each in its own way.

    What is written is given time to be read where the way of rotating leaves a gap: before a file is truncated that was copied.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.written = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Rotating":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        ways: tuple[Callable[[int], None], ...] = (self._renamed, self._copied, self._dated, self._packed)
        for number in itertools.count():
            for way in ways:
                way(number)
            if self._stopping.wait(0.4):
                return

    def _lines(self, count: int) -> str:
        first, self.written = self.written, self.written + count
        return "".join(log_line(number, WHEN) for number in range(first, first + count))

    def _write(self, path: Path, count: int) -> None:
        path.parent.mkdir(exist_ok=True)
        text = self._lines(count)
        half = len(text) // 2  # somewhere within a line
        with path.open("a") as file:
            for part in (text[:half], text[half:]):
                file.write(part)
                file.flush()
                time.sleep(0.005)

    def _renamed(self, number: int) -> None:
        path = self.logs / "renamed" / "access.log"
        self._write(path, 17)
        with path.open("a") as late:
            path.rename(path.with_name(f"access.log.{number}"))
            late.write(self._lines(3))
        self._write(path, 5)

    def _copied(self, number: int) -> None:
        path = self.logs / "copied" / "access.log"
        self._write(path, 23)
        shutil.copy(path, path.with_name(f"access.log.{number}"))
        os.truncate(path, 0)
        self._write(path, 2)

    def _dated(self, number: int) -> None:
        self._write(self.logs / f"folder{number % 3}" / f"dated-{number}.log", 11)

    def _packed(self, number: int) -> None:
        path = self.logs / "packed" / "access.log"
        self._write(path, 29)
        packed = path.with_name(f"access.log.{number}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        old = (WallClock().now() - dt.timedelta(minutes=1)).timestamp()
        os.utime(packed, (old, old))
        path.unlink()


def stored(served: Served) -> Counter[str]:
    return Counter(row["url_path"] for row in served.rows("SELECT url_path FROM requests"))


def arrived(served: Served, count: int) -> Counter[str]:
    """The lines, once there are so many, or after a long time."""
    for _ in range(int(PATIENCE_SECONDS / 0.5)):
        if (found := stored(served)).total() >= count:
            return found
        time.sleep(0.5)
    return stored(served)


def numbered(count: int) -> Counter[str]:
    return Counter(f"/e/{number}" for number in range(count))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def test_every_line_is_there_once_after_rotations_and_kills(tmp_path: Path, logs: Path) -> None:
    config = CONFIG.format(logs=logs)
    with Rotating(logs) as writer:
        for seconds in (0.4, 1.1):
            with serve(tmp_path / "data", config) as served:
                time.sleep(seconds)
                served.process.send_signal(signal.SIGKILL)
                served.process.wait()
    with serve(tmp_path / "data", config) as served:
        assert arrived(served, writer.written) == numbered(writer.written)
        assert not [message for message in served.messages if "follow" in message or "web:" in message]
        assert served.stop() == 0
        assert served.call("verify")["ok"]


def test_lines_wait_for_a_moment_and_are_told_by_metrics(tmp_path: Path, logs: Path) -> None:
    with serve(tmp_path / "data", CONFIG.format(logs=logs).replace("every = 0", "every = 1")) as served:
        (logs / "a").mkdir()
        path = logs / "a" / "access.log"
        for number in range(20):
            with path.open("a") as file:
                file.write(log_line(number, WHEN))
            time.sleep(0.02)
        assert arrived(served, 20) == numbered(20)
        batches = [event for event in served.call("ledger")["events"] if event["kind"] == "BatchIngested"]
        assert len(batches) <= 2
        figures = served.ask("GET", "/metrics").body.decode()
        assert 'auditlake_lines_total{format="combined",result="stored",source="web"} 20.0' in figures
        assert 'auditlake_source_lag_seconds{source="web"} 0.0' in figures
        assert 'auditlake_source_behind_bytes{source="web"} 0.0' in figures
        (logs / "a" / "other.log").write_text(log_line(20, WHEN))
        config = Path(served.environment["AUDITLAKE_CONFIG"])
        config.write_text(config.read_text() + SECOND.format(logs=logs))
        served.process.send_signal(signal.SIGHUP)
        assert arrived(served, 21) == numbered(21)
