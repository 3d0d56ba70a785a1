"""The state of each job, from its history: how it ended last, when it runs next, whether it is late."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.clock import parse_instant, to_iso
from core.events import Kind
from jobs import runner
from jobs.context import Context
from jobs.runner import JobRun
from jobs.schedule import Retry, next_due

__all__ = ["JobState", "states"]

_RUNS = 12
"""Runs that are looked at: by then a retry waits as long as it ever does."""
_GRACE = dt.timedelta(hours=1)
_LONGEST = dt.timedelta(hours=12)


@dataclass(frozen=True)
class JobState:
    """One job; times are ISO 8601, ``None`` where there was or will be none.

    :param last_outcome: of the newest run: ``done``, ``nothing due``, ``failed``, ``interrupted`` or ``running``.
    :param last_success: when it last began a run that ended well.
    :param retry_at: when the server tries a failed job again; ``None`` also when its next regular time comes first.
    :param error: why the newest run failed.
    :param failures: failed runs in a row, the newest of them last.
    :param missed: whether it was due for more than an hour and has not begun, or has been under way for more than twelve.
    :param seconds: how long the newest finished run took.
    """

    name: str
    schedule: str
    last_started: str | None
    last_outcome: str | None
    last_success: str | None
    next_run: str | None
    retry_at: str | None
    error: str
    failures: int = 0
    missed: bool = False
    seconds: float | None = None

    @property
    def red(self) -> str:
        """What is wrong, in a word; empty when nothing is."""
        return "failed" if self.last_outcome == "failed" else "missed" if self.missed else ""


def states(ctx: Context, schedules: Mapping[str, str], retry: Retry) -> tuple[JobState, ...]:
    """The state of every job that has a schedule, now."""
    now = ctx.clock.now()
    created = next(ctx.ledger.events(Kind.DIRECTORY_CREATED)).at
    runs = {name: runner.history(ctx, _RUNS, name) for name in schedules}
    busy = any(_under_way(found, now) for found in runs.values())
    return tuple(_state(ctx, name, schedule, runs[name], retry, created, busy) for name, schedule in schedules.items())


def _under_way(runs: Sequence[JobRun], now: dt.datetime) -> bool:
    return bool(runs) and runs[0].outcome == "running" and parse_instant(runs[0].started) > now - _LONGEST


def _state(ctx: Context, name: str, schedule: str, runs: Sequence[JobRun], retry: Retry, created: str, busy: bool) -> JobState:
    now = ctx.clock.now()
    newest = runs[0] if runs else None
    failures = next((number for number, run in enumerate(runs) if run.outcome != "failed"), len(runs))
    again = retry.due(schedule, parse_instant(runs[0].finished or runs[0].started), failures) if failures else None
    success = runner.last_success(ctx, name)
    finished = next((run for run in runs if run.finished), None)
    return JobState(
        name=name,
        schedule=schedule,
        last_started=newest.started if newest else None,
        last_outcome=newest.outcome if newest else None,
        last_success=success,
        next_run=_iso(next_due(schedule, now)),
        retry_at=_iso(again),
        error=newest.error if newest else "",
        failures=failures,
        missed=_missed(schedule, success or created, newest, busy, now),
        seconds=_seconds(finished) if finished else None,
    )


def _missed(schedule: str, since: str, newest: JobRun | None, busy: bool, now: dt.datetime) -> bool:
    due = next_due(schedule, parse_instant(since) + dt.timedelta(microseconds=1))
    if due is None or due + _GRACE > now:
        return False
    if busy:  # it is running, or waits behind one that is
        return False
    return newest is None or newest.outcome in ("interrupted", "running") or parse_instant(newest.started) < due


def _seconds(run: JobRun) -> float:
    return (parse_instant(run.finished or run.started) - parse_instant(run.started)).total_seconds()


def _iso(instant: dt.datetime | None) -> str | None:
    return to_iso(instant) if instant else None
