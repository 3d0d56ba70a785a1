"""When jobs run: cron times in UTC, what was missed, and when something that failed is tried again. Pure.

Cron fields are those of APScheduler's ``CronTrigger.from_crontab``
(https://apscheduler.readthedocs.io/en/3.x/modules/triggers/cron.html). APScheduler is imported where it is used: every command
reads the settings, and few ask when a job is due.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.clock import UTC
from core.errors import UsageError

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

__all__ = ["NIGHT", "Retry", "check_cron", "missed", "next_due", "trigger"]

NIGHT = ("purge", "checkpoint", "roll", "compact", "upkeep", "verify", "geoip", "scrub")
"""The names of the jobs, in the order in which a night runs them."""


@dataclass(frozen=True)
class Retry:
    """After how many seconds a failed job is tried again: ``first``, then twice as many, up to ``longest``."""

    first: int = 60
    longest: int = 3600

    def due(self, schedule: str, failed: dt.datetime, failures: int) -> dt.datetime | None:
        """When a job is tried again; ``None`` when its next regular time comes first.

        :param failed: when it failed last.
        :param failures: how often in a row, at least once.
        """
        pause = min(self.longest, self.first * 2 ** min(failures - 1, 30))
        at, regular = failed + dt.timedelta(seconds=pause), next_due(schedule, failed)
        return None if regular and regular <= at else at


def check_cron(schedule: str) -> None:
    """Refuse what is no schedule.

    :raises UsageError: it is not five cron fields.
    """
    trigger(schedule)


def next_due(schedule: str, now: dt.datetime) -> dt.datetime | None:
    """The first time after ``now``; ``None`` when there is none."""
    found: dt.datetime | None = trigger(schedule).get_next_fire_time(None, now)
    return found


def missed(schedule: str, since: dt.datetime, now: dt.datetime) -> bool:
    """Whether a time was due after ``since`` and not after ``now``."""
    due = next_due(schedule, since + dt.timedelta(microseconds=1))
    return due is not None and due <= now


def trigger(schedule: str) -> CronTrigger:
    """The schedule, as the scheduler takes it.

    :raises UsageError: it is not five cron fields.
    """
    from apscheduler.triggers.cron import CronTrigger

    try:
        return CronTrigger.from_crontab(schedule, timezone=UTC)
    except ValueError as error:
        hint = "write minute, hour, day, month, weekday, like '5 0 * * *'"
        raise UsageError(f"schedule {schedule!r} is not five cron fields: {error}", hint) from None
