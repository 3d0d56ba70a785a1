"""When jobs run again: after a failure, with growing pauses, until their next regular time; one at a time; and how the scheduler stops."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auditlake import lake as lakes
from auditlake.lake import Lake, open_lake
from auditlake.settings import Settings
from core.clock import UTC, WallClock, to_iso
from core.errors import AuditlakeError, UsageError
from jobs import runner
from jobs.context import Context, Outcome, StoppedError
from jobs.nights import Nights
from jobs.schedule import NIGHT, Retry, check_cron, next_due
from jobs.state import JobState, states

NOON = dt.datetime(2015, 5, 20, 12, tzinfo=UTC)
NIGHTLY, YEARLY = "5 0 * * *", "0 0 1 1 *"


def seconds(retry: Retry, failures: int, schedule: str = YEARLY) -> float | None:
    due = retry.due(schedule, NOON, failures)
    return (due - NOON).total_seconds() if due else None


def test_the_pauses_double_up_to_the_longest() -> None:
    assert [seconds(Retry(60, 3600), failures) for failures in range(1, 9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert seconds(Retry(60, 3600), 10_000) == 3600
    assert seconds(Retry(90, 30), 1) == 30


def test_nothing_is_tried_again_once_its_regular_time_comes_first() -> None:
    assert seconds(Retry(60, 3600), 1, "1 12 * * *") is None
    assert seconds(Retry(59, 3600), 1, "1 12 * * *") == 59
    assert seconds(Retry(60, 86_400), 11, NIGHTLY) is None


def test_the_night_is_in_the_order_of_the_default_schedule() -> None:
    jobs = Settings().jobs
    assert list(jobs.schedules()) == list(NIGHT) == list(runner.JOBS)
    first = [next_due(schedule, NOON) for schedule in jobs.schedules().values()]
    assert first == sorted(time for time in first if time)


def test_a_schedule_is_five_fields() -> None:
    with pytest.raises(UsageError, match="five cron fields"):
        check_cron("every night")


# ------------------------------------------------------------------------------------------------------------- states


class Hand:
    """A directory under a clock that the test sets."""

    def __init__(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ctx, self.now, self._patch = lake.context, NOON, monkeypatch
        monkeypatch.setattr(WallClock, "now", lambda _self: self.now)

    def run(self, name: str, outcome: str | Exception, takes: float = 0.0) -> None:
        def job(_ctx: Context, _dry_run: bool) -> Outcome:
            self.now += dt.timedelta(seconds=takes)
            if isinstance(outcome, Exception):
                raise outcome
            return Outcome(name, outcome, problems=("broken",) if outcome == "failed" else ())

        with self._patch.context() as then:
            then.setitem(runner.JOBS, name, job)
            runner.run(self.ctx, name)

    def state(self, schedule: str = NIGHTLY, name: str = "purge") -> JobState:
        (found,) = states(self.ctx, {name: schedule}, Retry(60, 3600))
        return found


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Hand":
    with monkeypatch.context() as then:
        then.setattr(WallClock, "now", lambda _self: NOON)
        lakes.create(tmp_path / "data", Settings(), None)
    with open_lake(tmp_path / "data", Settings()) as lake:
        return Hand(lake, monkeypatch)


def test_a_job_that_never_ran(hand: Hand) -> None:
    state = hand.state()
    assert (state.last_outcome, state.last_success, state.retry_at, state.red) == (None, None, None, "")
    assert state.next_run == "2015-05-21T00:05:00Z"


def test_failures_count_in_a_row_and_a_success_ends_them(hand: Hand) -> None:
    for failures in (1, 2, 3):
        hand.run("purge", "failed", takes=10)
        state = hand.state()
        assert (state.failures, state.red, state.error, state.seconds) == (failures, "failed", "broken", 10)
        assert state.retry_at == to_iso(hand.now + dt.timedelta(seconds=30 * 2**failures))
    hand.run("purge", "done")
    state = hand.state()
    assert (state.failures, state.red, state.retry_at, state.last_success) == (0, "", None, to_iso(hand.now))


@pytest.mark.parametrize("error", [AuditlakeError("the bucket is away"), ZeroDivisionError("oh")])
def test_whatever_a_job_raises_is_a_failure_in_the_history(hand: Hand, error: Exception) -> None:
    with pytest.raises(type(error)):
        hand.run("roll", error)
    state = hand.state(name="roll")
    assert (state.last_outcome, state.failures) == ("failed", 1)
    assert str(error) in state.error


def test_a_job_that_was_stopped_has_not_failed(hand: Hand) -> None:
    with pytest.raises(StoppedError):
        hand.run("roll", StoppedError("stopped"))
    assert (hand.state(name="roll").last_outcome, hand.state(name="roll").red) == ("interrupted", "")


def test_a_job_that_could_not_begin_is_in_the_history(hand: Hand) -> None:
    runner.note_failure(hand.ctx, "roll", "the directory is in use")
    state = hand.state(name="roll")
    assert (state.last_outcome, state.error, state.failures) == ("failed", "the directory is in use", 1)


def test_a_night_is_missed_an_hour_after_it_was_due(hand: Hand) -> None:
    midnight = NOON + dt.timedelta(hours=12)
    hand.now = midnight + dt.timedelta(minutes=64)
    assert hand.state().red == ""
    hand.now = midnight + dt.timedelta(minutes=65)
    assert hand.state().red == "missed"
    hand.run("purge", "nothing due")
    assert hand.state().red == ""
    hand.now += dt.timedelta(days=1)
    assert hand.state().red == "missed"


def test_what_waits_behind_a_long_job_is_not_missed_but_a_job_of_half_a_day_is(hand: Hand) -> None:
    hand.now = NOON + dt.timedelta(hours=13)
    with hand.ctx.control.write() as connection:
        connection.exec_driver_sql("INSERT INTO job_runs (job, started) VALUES ('roll', ?)", (to_iso(hand.now),))
    schedules = {"purge": NIGHTLY, "roll": "20 0 * * *"}
    hand.now += dt.timedelta(hours=11)
    assert [state.red for state in states(hand.ctx, schedules, Retry())] == ["", ""]
    hand.now += dt.timedelta(hours=2)
    assert [state.red for state in states(hand.ctx, schedules, Retry())] == ["missed", "missed"]


def test_what_runs_beside_does_not_call_another_interrupted(hand: Hand) -> None:
    with hand.ctx.control.write() as connection:
        connection.exec_driver_sql("INSERT INTO job_runs (job, started) VALUES ('roll', ?)", (to_iso(hand.now),))
    hand.run("geoip", "done")
    assert hand.state(name="roll").last_outcome == "running"
    hand.run("purge", "done")
    assert hand.state(name="roll").last_outcome == "interrupted"


# ---------------------------------------------------------------------------------------------------------- scheduler


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_run_one_at_a_time_in_order_and_a_failure_stops_no_other() -> None:
    seen: list[str] = []
    nights = Nights(dict.fromkeys(NIGHT, YEARLY), seen.append, lambda: [])
    nights.start(["purge", "roll", "verify"])
    until(lambda: len(seen) == 3)
    nights.stop()
    assert nights.wait(5)
    assert seen == ["purge", "roll", "verify"]


def test_what_failed_is_run_again_only_as_long_as_it_should_be() -> None:
    seen: list[str] = []
    failed = ["roll"]

    def run(name: str) -> None:
        seen.append(name)
        if len(seen) == 2:
            failed.clear()

    nights = Nights({"roll": YEARLY}, run, lambda: list(failed))
    nights.start()
    nights.look()
    until(lambda: len(seen) == 1)
    until(lambda: nights.wait(5))
    nights.look()
    until(lambda: len(seen) == 2)
    nights.look()
    nights.stop()
    assert seen == ["roll", "roll"]


def test_a_stop_ends_a_job_at_its_next_safe_point_and_begins_no_other() -> None:
    begun, ended = threading.Event(), list[str]()

    def run(name: str) -> None:
        begun.set()
        try:
            for number in range(10_000):
                nights.watch("rolling", number, 10_000)
                time.sleep(0.01)
        except StoppedError:
            ended.append(name)

    nights = Nights(dict.fromkeys(NIGHT, YEARLY), run, lambda: [])
    nights.start(["roll", "verify"])
    assert begun.wait(20)
    nights.stop()
    assert nights.wait(20)
    assert ended == ["roll"]


def test_a_job_that_does_not_end_is_not_waited_for() -> None:
    begun, go = threading.Event(), threading.Event()

    def run(_name: str) -> None:
        begun.set()
        go.wait(20)

    nights = Nights({"roll": YEARLY}, run, lambda: [])
    nights.start(["roll"])
    assert begun.wait(20)
    nights.stop()
    assert not nights.wait(0.05)
    go.set()
    assert nights.wait(20)


def test_other_schedules_are_in_force_at_once() -> None:
    nights = Nights({"purge": YEARLY, "roll": YEARLY}, lambda _name: None, lambda: [])
    nights.start()
    before = nights.next_run("roll")
    nights.change({"purge": "30 4 * * *", "roll": YEARLY})
    purge = nights.next_run("purge")
    assert purge is not None
    assert (purge.hour, purge.minute) == (4, 30)
    assert nights.next_run("roll") == before
    nights.stop()
