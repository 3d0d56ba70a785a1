"""``auditlake hold``: what it keeps, what it lets go, what it says."""

from pathlib import Path

import pytest

from auditlake.lake import exclusive, open_lake
from auditlake.settings import Settings
from core.events import Kind
from core.steps import observe
from storage import control as db
from tests.commandline import CommandLine, combined, invoke

WORDS = ("--reason", "case 12", "--owner", "legal")
DAYS = {"15/May/2015": 3, "16/May/2015": 4, "17/May/2015": 5}


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    found = CommandLine(tmp_path / "data").begin("2015-05-17T12:00:00Z")
    found("ingest", "-", "--format", "combined", stdin=combined(DAYS) + b"torn\n")
    return found


def add(lake: CommandLine, first: str, last: str, expires: str = "never") -> dict[str, object]:
    found: dict[str, object] = lake("hold", "add", "--from", first, "--to", last, "--expires", expires, *WORDS)
    return found


def test_a_hold_stops_roll_and_purge_of_what_it_covers_and_of_nothing_else(lake: CommandLine) -> None:
    added = add(lake, "2015-05-16", "2015-05-17")
    assert added == {
        "hold": 1, "stream": "requests", "from": "2015-05-16", "to": "2015-05-17", "reason": "case 12", "owner": "legal",
        "expires": None, "added": "2015-05-17T12:00:00Z", "state": "standing", "ended": None, "pending_erasures": [],
        "covers": {"segments": 3, "rows": 10, "destroyed": 0},
    }  # fmt: skip
    lake.advance("40d")
    assert lake("run", "roll")["figures"]["rows"] == 3
    states = {row["day"]: (row["state"], row["held"]) for row in lake("status")["segments"]}
    held = ("hot", "held (hold 1): case 12")
    assert states == {"2015-05-15": ("archived", None), "2015-05-16": held, "2015-05-17": held}
    lake.advance("1y")
    assert lake("run", "purge")["figures"]["rows"] == 3
    assert lake.days() == {"2015-05-16": 4, "2015-05-17": 5}
    assert len(lake("quarantine", "list")["lines"]) == 1, "rejected lines of the days stay too"
    plan = {(row["stream"], row["day"]): (row["action"], row["reason"]) for row in lake("plan")["decisions"]}
    assert plan["requests", "2015-05-16"] == ("keep", "held (hold 1): case 12")
    assert plan["requests.quarantine", "2015-05-17"] == ("keep", "held (hold 1): case 12")
    assert lake("verify")["ok"] is True


def test_its_release_lets_the_overdue_purge_run_that_night(lake: CommandLine) -> None:
    add(lake, "2015-05-16", "2015-05-17")
    lake.advance("2y")
    lake("run", "purge")
    preview = lake("hold", "release", "1", "--dry-run")
    assert (preview["state"], preview["overdue"], preview["covers"]) == ("standing", 3, {"segments": 3, "rows": 10, "destroyed": 0})
    assert lake("run", "purge")["outcome"] == "nothing due"
    released = lake("hold", "release", "1", "--yes")
    assert (released["hold"], released["state"], released["overdue"]) == (1, "released", 3)
    assert lake("run", "purge")["figures"] == {"segments": 3, "rows": 10, "residue": 0}
    assert lake.days() == {}
    assert [event["kind"] for event in lake.events("HoldAdded", "HoldReleased")] == ["HoldAdded", "HoldReleased"]
    assert lake("verify")["ok"] is True


def test_a_hold_that_expires_is_noted_at_night_and_its_days_go(lake: CommandLine) -> None:
    add(lake, "2015-05-16", "2015-05-17", "18 months")
    lake.advance("1y")
    lake.advance("2d")
    assert lake("run", "purge")["figures"]["rows"] == 3
    assert {row["reason"] for row in lake("plan", "--at", "2016-11-18")["decisions"] if row["action"] != "keep"} != set()
    assert {row["action"] for row in lake("plan", "--at", "2016-11-17")["decisions"]} == {"keep"}
    lake.advance("6 months")
    assert lake("hold", "list")["hold"] == []
    assert lake("run", "purge")["figures"]["rows"] == 10
    (event,) = lake.events("HoldExpired")
    assert (event["hold"], event["first"], event["last"]) == (1, "2015-05-16", "2015-05-17")
    assert [row["state"] for row in lake("hold", "list", "--all")["holds"]] == ["expired"]


def test_holds_are_listed_with_what_they_cover(lake: CommandLine) -> None:
    add(lake, "2015-05-15", "2015-05-16")
    add(lake, "2015-05-16", "2015-05-17")
    add(lake, "2015-05-17", "2015-05-30")
    lake("hold", "release", "3")
    found = lake("hold", "list")
    assert found["hold"] == [1, 2]
    assert found["covers"] == {"segments": 4, "rows": 13}, "a day that two cover counts once"
    assert [row["covers"]["rows"] for row in found["holds"]] == [7, 10]
    assert [(row["hold"], row["state"]) for row in lake("hold", "list", "--all")["holds"]][2] == (3, "released")
    shown = invoke("--data-dir", lake.data_dir, "hold", "list").expect(0)
    assert b"case 12" in shown.out


def test_a_hold_is_added_while_another_process_holds_the_directory(lake: CommandLine) -> None:
    with exclusive(lake.data_dir):
        assert add(lake, "2015-05-16", "2015-05-16")["hold"] == 1


def test_a_dry_run_holds_nothing(lake: CommandLine) -> None:
    said = lake("hold", "add", "--from", "2015-05-15", "--to", "2015-05-15", "--expires", "never", "--dry-run", *WORDS)
    assert (said["hold"], said["covers"]) == (None, {"segments": 1, "rows": 3, "destroyed": 0})
    assert lake("hold", "list")["holds"] == []


@pytest.mark.parametrize(("job", "later", "step", "left"), [("roll", "40d", "archive.write", 3), ("purge", "2y", "hot.unlink", 1)])
def test_a_hold_added_after_the_decision_binds_all_the_same(lake: CommandLine, job: str, later: str, step: str, left: int) -> None:
    """It comes between the plan of a night and the day's turn in it, as a server's night may take hours."""
    lake.advance(later)

    def at_the_first_day(name: str) -> None:
        if name == step:
            observe(None)
            add(lake, "2015-05-16", "2015-05-16")

    observe(at_the_first_day)
    try:
        lake("run", job)
    finally:
        observe(None)
    assert lake("hold", "list")["hold"] == [1]
    assert [row["day"] for row in lake("status")["segments"] if row["state"] == "hot"] == ["2015-05-16"]
    assert len(lake.days()) == left
    assert lake("verify")["ok"] is True


def test_a_day_that_is_being_destroyed_is_refused(lake: CommandLine) -> None:
    with open_lake(lake.data_dir, Settings()) as opened, opened.context.control.write() as connection:
        opened.context.ledger.append(connection, Kind.PURGE_STARTED, stream="requests", day="2015-05-16")
    answer = lake.try_("hold", "add", "--from", "2015-05-15", "--to", "2015-05-17", "--expires", "never", *WORDS).expect(1)
    assert answer.json == {
        "error": "the destruction of requests/2015-05-16 has begun and its key is gone, so it cannot be held",
        "hint": "hold the days before and after it",
    }
    assert add(lake, "2015-05-17", "2015-05-17")["hold"] == 1


def test_an_erasure_that_is_pending_is_told(lake: CommandLine) -> None:
    asked = lake("subject", "erase", "--source-ip", "83.149.0.1")
    assert add(lake, "2015-05-16", "2015-05-17")["pending_erasures"] == [asked["request"]]
    answer = lake.try_("subject", "erase", "--source-ip", "83.149.0.1", "--yes").expect(1)
    assert "a hold keeps rows of 2 days" in answer.said
    assert lake.days() == {"2015-05-15": 2, "2015-05-16": 4, "2015-05-17": 5}
    assert add(lake, "2015-05-01", "2015-05-01")["pending_erasures"] == [asked["request"]]


def test_held_rejected_lines_are_not_retried(lake: CommandLine) -> None:
    add(lake, "2015-05-17", "2015-05-17")
    answer = lake.try_("quarantine", "retry", "--format", "json").expect(0)
    assert answer.json["read"] == 0
    assert "rejected lines of 2015-05-17 stay: held (hold 1): case 12" in answer.err
    lake("hold", "release", "1")
    assert lake("quarantine", "retry", "--format", "json")["read"] == 1


def test_a_hold_that_comes_while_lines_are_retried_leaves_them(lake: CommandLine) -> None:
    line = b'{"@timestamp": "2015-05-17T10:00:00Z", "url": {"path": "/x"}}\n'
    lake("ingest", "-", "--format", "combined", stdin=line)

    def at_the_first_row(name: str) -> None:
        if name == "hot.insert":
            observe(None)
            add(lake, "2015-05-17", "2015-05-17")

    observe(at_the_first_row)
    try:
        answer = lake.try_("quarantine", "retry", "--format", "json").expect(1)
    finally:
        observe(None)
    assert "rejected lines of 2015-05-17 were put on hold meanwhile" in answer.said
    assert lake("verify")["ok"] is True
    assert len(lake("quarantine", "list")["lines"]) == 2
    assert sum(lake.days().values()) == 12
    lake("hold", "release", "1")
    assert lake("quarantine", "retry", "--format", "json")["stored"] == 1


def test_who_keeps_a_directory_open_sees_holds_come_and_go(lake: CommandLine) -> None:
    with open_lake(lake.data_dir, Settings()) as opened:
        assert list(opened.context.holds) == []
        add(lake, "2015-05-16", "2015-05-17")
        assert [hold.number for hold in opened.context.holds] == [1]
        lake("hold", "release", "1")
        assert list(opened.context.holds) == []


def test_verify_finds_a_hold_that_was_removed_behind_the_ledgers_back(lake: CommandLine) -> None:
    add(lake, "2015-05-16", "2015-05-17")
    assert lake("verify")["ok"] is True
    with open_lake(lake.data_dir, Settings()) as opened, opened.context.control.write() as connection:
        connection.execute(db.holds.delete())
    assert lake.try_("verify").expect(1).json["faults"] == ["hold 1 is in the ledger and not in the control database"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--from", "x", "--to", "2015-05-15", "--expires", "never"), "'x' is not a day"),
        (("--from", "2015-05-16", "--to", "2015-05-15", "--expires", "never"), "is before the first"),
        (("--from", "2015-05-15", "--to", "2015-05-15", "--expires", "soon"), "'soon' is not a period"),
        (("--from", "2015-05-15", "--to", "2015-05-15", "--expires", "2015-05-17"), "would have ended on"),
        (("--from", "2015-05-15", "--to", "2015-05-15", "--expires", "never", "--stream", "mail"), "there is no stream 'mail'"),
        (("--from", "2015-05-15", "--to", "2015-05-15"), "--expires"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(lake: CommandLine, arguments: tuple[str, ...], why: str) -> None:
    assert why in lake.try_("hold", "add", *arguments, *WORDS).expect(2).said
    assert "there is no hold 9" in lake.try_("hold", "release", "9").expect(2).said
