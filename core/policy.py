"""Retention: what is due for which segment, and why. Pure: no clock, no store.

Each promise is kept in its own direction. *Accessible for one month* means at least: a day is rolled when its last
instant has been hot for the whole period. *Destroyed after one year* means at most: a day is purged when its first
instant reaches the limit. Periods are calendar periods; a day that a month lacks becomes its last day (31 January and a
month is 28 or 29 February; 29 February and a year is 28 February).
"""

import calendar
import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from core.errors import UsageError
from core.segment import QUARANTINE_SUFFIX, Segment, SegmentState

__all__ = ["Decision", "Hold", "Period", "StreamPolicy", "conflicts", "plan", "purge_due", "roll_due"]

_PERIOD = re.compile(r"\s*(\d{1,5})\s*(d|days?|w|weeks?|months?|y|years?)\s*\Z")
_LONGEST_DAYS = 366 * 200


@dataclass(frozen=True)
class Period:
    """A calendar period: months and days, one of them zero."""

    months: int = 0
    days: int = 0

    @classmethod
    def parse(cls, text: str) -> "Period":
        """``1 month``, ``2 years``, ``90 days``, ``6 weeks``; short forms ``32d``, ``2w``, ``1y``.

        :raises UsageError: it is something else, zero, or longer than 200 years.
        """
        match = _PERIOD.match(text)
        if not match:
            raise UsageError(f"{text!r} is not a period", "write a number and days, weeks, months or years, like '1 month'")
        count, unit = int(match[1]), match[2][0]
        period = cls(months=count * (12 if unit == "y" else 1)) if unit in "my" else cls(days=count * (7 if unit == "w" else 1))
        if count == 0:
            raise UsageError(f"{text!r} is zero", "write a period of at least one day")
        if period.upper_days > _LONGEST_DAYS:
            raise UsageError(f"{text!r} is longer than 200 years", "write a shorter period")
        return period

    @property
    def lower_days(self) -> int:
        """The fewest days it can span."""
        years, months = divmod(self.months, 12)
        return self.days + years * 365 + months * 28

    @property
    def upper_days(self) -> int:
        """The most days it can span."""
        years, months = divmod(self.months, 12)
        return self.days + years * 366 + months * 31

    def after(self, instant: dt.datetime) -> dt.datetime:
        """The instant one period later, at the same time of day; the calendar's last instant if it would end."""
        try:
            month = instant.year * 12 + instant.month - 1 + self.months
            year, month = month // 12, month % 12 + 1
            day = min(instant.day, calendar.monthrange(year, month)[1])
            return instant.replace(year=year, month=month, day=day) + dt.timedelta(days=self.days)
        except (ValueError, OverflowError, calendar.IllegalMonthError):
            return dt.datetime.max.replace(tzinfo=instant.tzinfo)

    def __str__(self) -> str:
        if self.days:
            return f"{self.days} day{'s' * (self.days > 1)}"
        if self.months % 12 == 0:
            return f"{self.months // 12} year{'s' * (self.months > 12)}"
        return f"{self.months} month{'s' * (self.months > 1)}"


@dataclass(frozen=True)
class StreamPolicy:
    """How long a stream is hot, kept, and how long its rejected lines are kept."""

    name: str
    hot: Period
    keep: Period
    quarantine: Period

    def limit(self, segment: Segment) -> Period:
        """How long the segment may be kept."""
        return self.quarantine if segment.is_quarantine else self.keep

    def __str__(self) -> str:
        return f"{self.name}: hot for {self.hot}, destroyed after {self.keep}; rejected lines destroyed after {self.quarantine}"


@dataclass(frozen=True)
class Hold:
    """A duty to keep the days from ``first`` to ``last`` (both included) of a stream, until ``expires`` (``None``: until released).

    It covers the stream's rejected lines too, by the day they arrived. ``number`` is the name it was given, 0 for none.
    """

    stream: str
    first: dt.date
    last: dt.date
    reason: str
    number: int = 0
    expires: dt.datetime | None = None

    def covers(self, segment: Segment) -> bool:
        """Whether the segment must stay."""
        return segment.stream.removesuffix(QUARANTINE_SUFFIX) == self.stream and self.first <= segment.day <= self.last

    def binds(self, now: dt.datetime) -> bool:
        """Whether it has not expired."""
        return self.expires is None or now < self.expires

    def __str__(self) -> str:
        return f"held (hold {self.number}): {self.reason}" if self.number else f"held: {self.reason}"


@dataclass(frozen=True)
class Decision:
    """What to do with a segment: ``roll``, ``purge`` or ``keep``; ``due`` is when that (or, for keep, the next action) falls due."""

    segment: Segment
    action: str
    reason: str
    due: dt.datetime

    def __str__(self) -> str:
        return f"{self.action} {self.segment}: {self.reason}"


def roll_due(segment: Segment, policy: StreamPolicy) -> dt.datetime:
    """When the whole day has been hot for its period."""
    return policy.hot.after(segment.end)


def purge_due(segment: Segment, policy: StreamPolicy) -> dt.datetime:
    """When the day's first instant reaches its limit."""
    return policy.limit(segment).after(segment.start)


def conflicts(holds: Iterable[Hold], stream: str, day: dt.date) -> tuple[Hold, ...]:
    """Those of the holds that forbid to destroy or change rows of that day of the stream, or of its rejected lines."""
    return tuple(hold for hold in holds if hold.covers(Segment(stream, day)))


def plan(
    states: Iterable[SegmentState], policies: Mapping[str, StreamPolicy], holds: Collection[Hold], now: dt.datetime
) -> tuple[Decision, ...]:
    """One decision for every segment that still has rows or an action under way, in the order of the segments.

    ``policies`` is by stream name, quarantine companions included. A segment of a stream that has no policy is kept, and
    says so: what nobody has set a limit for must not vanish, nor be forgotten. What a hold covers is kept from the moment that
    it would be rolled or destroyed; a purge that has begun is finished, since its key is gone.
    """
    live = (state for state in states if state.present or state.open_action)
    return tuple(_decide(state, policies, holds, now) for state in sorted(live, key=lambda s: s.segment))


def _decide(state: SegmentState, policies: Mapping[str, StreamPolicy], holds: Collection[Hold], now: dt.datetime) -> Decision:
    decision = _due(state, policies, now)
    held = next((hold for hold in holds if hold.binds(now) and hold.covers(state.segment)), None)
    if held and decision.action != "keep" and state.open_action != "purge":
        return Decision(state.segment, "keep", str(held), decision.due)
    return decision


def _due(state: SegmentState, policies: Mapping[str, StreamPolicy], now: dt.datetime) -> Decision:
    segment = state.segment
    policy = policies.get(segment.stream)
    if policy is None:
        never = dt.datetime.max.replace(tzinfo=now.tzinfo)
        return Decision(segment, "keep", f"no stream {segment.stream} is configured: give it limits, or nothing ends it", never)
    rolls, ends = roll_due(segment, policy), purge_due(segment, policy)
    if state.open_action == "purge":
        return Decision(segment, "purge", "a purge has begun and must be finished", ends)
    if now >= ends:
        return Decision(segment, "purge", f"its first rows reached the limit of {policy.limit(segment)} on {ends.date()}", ends)
    if segment.is_quarantine or not (state.hot or state.open_action == "roll"):
        return Decision(segment, "keep", f"destroyed when {policy.limit(segment)} is over", ends)
    if now >= rolls:
        late = " (late rows)" if state.archived else ""
        return Decision(segment, "roll", f"its last rows{late} were hot for {policy.hot} on {rolls.date()}", rolls)
    return Decision(segment, "keep", f"hot for {policy.hot}", min(rolls, ends))
