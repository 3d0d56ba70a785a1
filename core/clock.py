"""The one place that reads the wall clock. Everything else is handed a :class:`Clock` or a time.

All times are aware datetimes in UTC.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from core.errors import UsageError

__all__ = ["UTC", "Clock", "FixedClock", "WallClock", "parse_instant", "to_iso", "utc_day"]

UTC = dt.UTC


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now(self) -> dt.datetime:
        """The present, aware, in UTC."""
        ...


class WallClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """The present, aware, in UTC."""
        return dt.datetime.now(UTC)


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands still: a simulated directory's, between two ``clock advance``."""

    instant: dt.datetime

    def now(self) -> dt.datetime:
        """The instant it was made with."""
        return self.instant


def parse_instant(text: str) -> dt.datetime:
    """An ISO 8601 date or date-time as UTC; without a zone it is taken as UTC.

    :raises UsageError: the text is no such time.
    """
    try:
        value = dt.datetime.fromisoformat(text.strip())
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not an ISO 8601 time", "write it like 2015-05-20T00:00:00Z") from None


def to_iso(instant: dt.datetime) -> str:
    """``2015-05-20T00:00:00Z``; fractions of a second only when there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def utc_day(instant: dt.datetime) -> dt.date:
    """The UTC day that holds the instant."""
    return instant.astimezone(UTC).date()
