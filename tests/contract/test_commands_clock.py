"""Time at the command line: a simulated clock moves only when told to; the real one is never moved, and a jump of it stops the purge."""

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.clock import WallClock, parse_instant, to_iso
from tests.commandline import CommandLine, combined

DAY = dt.timedelta(days=1)


def days_ago(number: int) -> str:
    return f"{WallClock().now() - number * DAY:%d/%b/%Y}"


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A directory with the real clock and rows of two days ago, of which purge has run once; then a limit that they are beyond."""
    lake = CommandLine(tmp_path / "lake")
    lake("init")
    lake("ingest", "-", "--format", "combined", stdin=combined({days_ago(2): 5}))
    assert lake("run", "purge")["outcome"] == "nothing due"
    monkeypatch.setenv("AUDITLAKE_STREAMS__REQUESTS__HOT", "1 day")
    monkeypatch.setenv("AUDITLAKE_STREAMS__REQUESTS__KEEP", "1 day")
    monkeypatch.setenv("AUDITLAKE_STREAMS__REQUESTS__QUARANTINE", "1 day")
    return lake


def last_seen(lake: CommandLine, ago: dt.timedelta) -> None:
    """Let the directory believe that the clock was last seen so long ago."""
    with closing(sqlite3.connect(lake.data_dir / "control.sqlite")) as database:
        changed = database.execute("UPDATE meta SET value = ? WHERE key = 'clock_seen'", [to_iso(WallClock().now() - ago)])
        assert changed.rowcount == 1
        database.commit()


def test_a_simulated_clock_moves_only_when_told_to(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-01-31T12:00:00+02:00")
    assert lake("status")["clock"] == {"kind": "simulated", "now": "2015-01-31T10:00:00Z"}
    for duration, now in (("1 month", "2015-02-28"), ("32d", "2015-04-01"), ("2w", "2015-04-15"), ("1y", "2016-04-15")):
        assert lake.advance(duration) == f"{now}T10:00:00Z"
    assert [event["simulated"] for event in lake.events("DirectoryCreated")] == [True]
    moves = lake.events("ClockAdvanced")
    assert (moves[0]["before"], moves[0]["after"]) == ("2015-01-31T10:00:00Z", "2015-02-28T10:00:00Z")
    assert lake.value("SELECT now()") == "2016-04-15T10:00:00Z", "queries follow it too"
    assert lake("verify")["ok"]


def test_a_simulated_clock_cannot_leave_the_calendar(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("9990-01-01T00:00:00Z")
    assert "cannot go" in lake.try_("clock", "advance", "20y").expect(1).said
    assert lake("status")["clock"]["now"] == "9990-01-01T00:00:00Z"


def test_the_real_clock_is_not_moved(real: CommandLine) -> None:
    before = len(real.events())
    assert "has a real clock" in real.try_("clock", "advance", "1d").expect(2).said
    assert len(real.events()) == before
    assert abs(parse_instant(real("status")["clock"]["now"]) - WallClock().now()) < DAY
    ahead = to_iso(WallClock().now() + 10 * DAY)
    assert {decision["action"] for decision in real("plan", "--at", ahead)["decisions"]} == {"purge"}, "plan alone looks ahead"
    for command in (("run", "purge"), ("verify",), ("status",), ("query", "SELECT 1"), ("ingest", "-")):
        real.try_(*command, "--at", ahead).expect(2)


def test_a_jump_of_the_real_clock_stops_the_purge_until_it_is_confirmed(real: CommandLine) -> None:
    last_seen(real, 10 * DAY)
    for _ in range(2):
        answer = real.try_("run", "purge").expect(1)
        assert "nothing is destroyed" in answer.said
        assert "auditlake clock confirm" in answer.said
    assert real.value("SELECT count(*) FROM requests") == 5
    assert real.events("PurgeStarted") == []
    assert real("status")["last_runs"][0]["outcome"] == "failed"
    assert len(real("run", "purge", "--dry-run")["decisions"]) == 1, "the plan says what waits"
    real("clock", "confirm")
    assert len(real.events("ClockConfirmed")) == 1
    assert real("run", "purge")["figures"]["rows"] == 5
    assert real.value("SELECT count(*) FROM requests") == 0
    assert real("verify")["ok"]


def test_a_night_or_two_is_no_jump(real: CommandLine) -> None:
    last_seen(real, 2 * DAY)
    assert real("run", "purge")["figures"]["rows"] == 5


def test_how_far_is_a_setting(real: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    last_seen(real, 10 * DAY)
    monkeypatch.setenv("AUDITLAKE_CLOCK__MAX_JUMP", "2 weeks")
    assert real("run", "purge")["outcome"] == "done"


def test_a_clock_that_went_back_destroys_nothing_early(real: CommandLine) -> None:
    last_seen(real, -100 * DAY)
    assert real("run", "purge")["figures"]["rows"] == 5


def test_after_a_jump_no_line_is_refused_as_too_old(real: CommandLine) -> None:
    """To refuse a line is to destroy it: the wrong clock must not do that either."""
    last_seen(real, 10 * DAY)
    old = combined({days_ago(40): 3})
    assert "nothing is destroyed" in real.try_("ingest", "-", "--format", "combined", stdin=old).expect(1).said
    assert real("ingest", "-", "--format", "combined", stdin=combined({days_ago(0): 2}))["stored"] == 2
    real("clock", "confirm")
    assert real("ingest", "-", "--format", "combined", stdin=old)["refused"] == 3
    assert real("verify")["ok"]
