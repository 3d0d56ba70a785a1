"""When jobs run: cron times in UTC, one job at a time, what was missed caught up at start.

Cron fields are those of APScheduler's ``CronTrigger.from_crontab``
(https://apscheduler.readthedocs.io/en/3.x/modules/triggers/cron.html). APScheduler is imported where it is used: every command
reads the settings, and few ask when a job is due.
"""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.clock import UTC
from core.errors import UsageError

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

__all__ = ["NIGHT", "check_cron", "missed", "next_due", "run_until_stopped"]

NIGHT = ("purge", "roll", "compact", "upkeep", "verify")
"""The names of the jobs, in the order in which a night runs them."""


def check_cron(schedule: str) -> None:
    """Refuse what is no schedule.

    :raises UsageError: it is not five cron fields.
    """
    _trigger(schedule)


def next_due(schedule: str, now: dt.datetime) -> dt.datetime | None:
    """The first time after ``now``; ``None`` when there is none."""
    found: dt.datetime | None = _trigger(schedule).get_next_fire_time(None, now)
    return found


def missed(schedule: str, since: dt.datetime, now: dt.datetime) -> bool:
    """Whether a time was due after ``since`` and not after ``now``."""
    due = next_due(schedule, since + dt.timedelta(microseconds=1))
    return due is not None and due <= now


def run_until_stopped(schedules: Mapping[str, str], first: Sequence[str], run: Callable[[str], None]) -> None:
    """Run the jobs ``first``, then each by its schedule, one at a time, until SIGTERM or SIGINT.

    A job that is under way when the signal comes is finished. Runs that pile up behind a long one are run once.

    :param run: runs a job by its name; it must not raise.
    """
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for name in first:
        scheduler.add_job(run, args=[name], id=f"{name} (missed)")
    for name, schedule in schedules.items():
        scheduler.add_job(run, _trigger(schedule), args=[name], id=name)
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        scheduler.start()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        scheduler.shutdown(wait=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _trigger(schedule: str) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger

    try:
        return CronTrigger.from_crontab(schedule, timezone=UTC)
    except ValueError as error:
        hint = "write minute, hour, day, month, weekday, like '5 0 * * *'"
        raise UsageError(f"schedule {schedule!r} is not five cron fields: {error}", hint) from None
