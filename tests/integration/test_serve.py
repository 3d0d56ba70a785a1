"""The one long process, as it really runs: what was missed is caught up at once, SIGTERM ends it, and nobody else is shut out."""

import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditlake import lake as lakes
from auditlake.lake import open_lake
from auditlake.nightly import missed_jobs, run_when_free
from auditlake.settings import JobSettings, JobsSettings, Settings
from core.clock import UTC, WallClock
from core.errors import UsageError
from jobs import runner
from jobs.context import Context, Outcome
from jobs.schedule import check_cron, missed, next_due
from tests.simulation.support import log_line

COMMAND = [sys.executable, "-m", "auditlake"]
YEARLY = dict.fromkeys(runner.JOBS, "0 0 1 1 *")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a real clock, made three days ago, with one request of forty days ago."""
    today = WallClock().now()
    with monkeypatch.context() as then:
        then.setattr(WallClock, "now", lambda _self: today - dt.timedelta(days=3))
        lakes.create(tmp_path / "data", Settings(), None)
    log = tmp_path / "access.log"
    log.write_text(log_line(1, today - dt.timedelta(days=40)))
    assert call(tmp_path / "data", "ingest", str(log))["stored"] == 1
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[subprocess.Popen[str]]:
    """``auditlake serve`` on it."""
    process = subprocess.Popen([*COMMAND, "--data-dir", str(data), "serve"], stderr=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def call(data: Path, *arguments: str) -> dict[str, Any]:
    """A command in a process of its own; its JSON."""
    done = subprocess.run([*COMMAND, "--data-dir", str(data), *arguments, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wait_for_jobs(data: Path, count: int) -> list[dict[str, Any]]:
    """The history, when so many jobs have ended."""
    for _ in range(600):
        runs: list[dict[str, Any]] = call(data, "status")["last_runs"]
        if sum(run["finished"] is not None for run in runs) >= count:
            return runs
        time.sleep(0.1)
    raise AssertionError(f"after a minute only {runs}")


def test_what_was_missed_is_caught_up_and_sigterm_ends_it(data: Path, server: subprocess.Popen[str]) -> None:
    runs = wait_for_jobs(data, len(runner.JOBS))
    idle, busy = ("purge", "compact", "geoip"), ("checkpoint", "roll", "upkeep", "verify", "scrub")
    due = {**dict.fromkeys(idle, "nothing due"), **dict.fromkeys(busy, "done")}
    assert {run["job"]: run["outcome"] for run in runs} == due
    assert [row["state"] for row in call(data, "status")["segments"]] == ["archived"]
    assert call(data, "verify")["ok"]
    server.send_signal(signal.SIGTERM)
    _, messages = server.communicate(timeout=30)
    assert server.returncode == 0
    assert messages.startswith("ready")
    assert messages.rstrip().endswith("stopped")


def test_a_second_start_has_nothing_to_catch_up(data: Path) -> None:
    with open_lake(data, Settings()) as lake:
        schedules = dict.fromkeys(runner.JOBS, "0 0 * * *")
        assert missed_jobs(lake.context, schedules) == list(runner.JOBS)
    for name in runner.JOBS:
        run_when_free(data, Settings(), name)
    with open_lake(data, Settings()) as lake:
        assert missed_jobs(lake.context, YEARLY) == []


def test_a_failing_job_is_kept_in_the_history_and_raises_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_lake(data, Settings()) as lake, lake.context.control.write() as connection:
        lake.context.control.set_meta(connection, "clock_seen", "2001-01-01T00:00:00Z")
    run_when_free(data, Settings(), "purge")
    assert "clock confirm" in capsys.readouterr().err
    with open_lake(data, Settings()) as lake:
        last = runner.history(lake.context, 1)[0]
    assert (last.job, last.outcome) == ("purge", "failed")
    assert "2001-01-01" in last.error


def test_a_simulated_directory_is_not_served(tmp_path: Path) -> None:
    lakes.create(tmp_path, Settings(), dt.datetime(2015, 5, 20, tzinfo=UTC))
    done = subprocess.run([*COMMAND, "--data-dir", str(tmp_path), "serve"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "simulated clock" in done.stderr


def test_an_interrupted_run_is_shown_as_such(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_lake(data, Settings()) as lake:
        ctx = lake.context
        with pytest.raises(KeyboardInterrupt):
            _interrupted(ctx, monkeypatch)
        runner.run(ctx, "upkeep")
        assert [run.outcome for run in runner.history(ctx, 2)] == ["done", "interrupted"]


def _interrupted(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_control_c(_ctx: Context, _dry_run: bool) -> Outcome:
        raise KeyboardInterrupt

    with monkeypatch.context() as then:
        then.setitem(runner.JOBS, "roll", press_control_c)
        runner.run(ctx, "roll")


def test_times_that_are_due() -> None:
    noon = dt.datetime(2015, 5, 20, 12, tzinfo=UTC)
    midnight = dt.datetime(2015, 5, 21, tzinfo=UTC)
    assert next_due("0 0 * * *", noon) == midnight
    assert missed("0 0 * * *", noon, midnight)
    assert not missed("0 0 * * *", midnight, noon + dt.timedelta(days=1))
    assert not missed("0 0 30 2 *", noon, midnight)
    for nonsense in ("", "* * * *", "61 * * * *", "every night"):
        with pytest.raises(UsageError, match="five cron fields"):
            check_cron(nonsense)
    assert JobsSettings().purge == JobSettings(schedule="5 0 * * *")
