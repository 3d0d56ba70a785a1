"""What a report says of a span of days, folded from the ledger's events in one pass. Pure; memory grows with days and streams, not with
events.

The fold begins with the ledger's first event, since what is there on the first day of the span came before it. At the end of each day of
the span it notes, for each stream, the oldest day that still had rows. A row is not older than the first instant of its day, so the age of
that day bounds the age of everything the stream held.
"""

import datetime as dt
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.clock import UTC, parse_instant, utc_day
from core.events import Event, Kind, apply, touched
from core.policy import Hold, StreamPolicy, purge_due
from core.segment import Segment, SegmentState

__all__ = ["LATE", "Age", "Arrivals", "Fold", "Held", "Night", "Purge", "Queries", "Residue", "Right", "Span"]

LATE = dt.timedelta(days=1)
"""A purge comes in the night in which a day is due; what is still there a whole day later is beyond its limit."""

_A_DAY = dt.timedelta(days=1)
_STEP_BACK = dt.timedelta(seconds=60)


@dataclass(frozen=True)
class Span:
    """The days from ``first`` to ``last``, both included. ``until``: the instant up to which they are over, at the latest now."""

    first: dt.date
    last: dt.date
    until: dt.datetime

    @property
    def start(self) -> dt.datetime:
        """The first instant of the first day."""
        return dt.datetime.combine(self.first, dt.time.min, UTC)

    @property
    def end(self) -> dt.datetime:
        """The first instant after the last day."""
        return Segment("", self.last).end

    @property
    def days(self) -> list[dt.date]:
        """Each day."""
        return [self.first + number * _A_DAY for number in range((self.last - self.first).days + 1)]


@dataclass(frozen=True)
class Age:
    """What a stream held at the end of a day (or now, when that day is not over).

    :param oldest: the oldest day with rows; ``None`` when there are no rows.
    :param age: days since that day began; :param limit: days after which it was due, ``None`` without a limit.
    :param held: days past their limit that a hold kept; :param beyond: days past their limit that nothing kept.
    """

    day: dt.date
    stream: str
    oldest: dt.date | None
    age: float = 0.0
    limit: int | None = None
    held: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Purge:
    """The destruction of a day: the number of its event, when, how many rows, when it was due, and what was listed afterwards.

    :param due: the limit, or the end of the last hold on it when that came later; ``None`` without a limit.
    """

    seq: int
    at: dt.datetime
    segment: Segment
    rows: int
    due: dt.datetime | None
    found: int
    listed: int
    listing: str

    @property
    def late(self) -> bool:
        """Whether it was due a whole day before."""
        return self.due is not None and self.at - self.due >= LATE


@dataclass
class Residue:
    """What a purge of a day could not destroy: since when, how often it was found, how many things last, when it was gone."""

    since: dt.datetime
    last: dt.datetime
    times: int = 0
    things: int = 0
    gone: dt.datetime | None = None


@dataclass
class Right:
    """A request of a data subject, by number alone: what it asks for, its times, and the rows that were erased for it.

    :param granted: since when it is in force, such as a restriction; :param done: when it was over, which for such a one is much later.
    """

    number: int
    right: str
    received: dt.datetime
    deadline: dt.datetime
    granted: dt.datetime | None = None
    done: dt.datetime | None = None
    rows: Counter[str] = field(default_factory=Counter)
    certificate: int | None = None

    @property
    def met(self) -> dt.datetime | None:
        """When it got what it asks for; ``None``: not yet."""
        return self.granted or self.done


@dataclass
class Held:
    """A hold: its days, when it was added, when and how it ended."""

    hold: Hold
    added: dt.datetime
    ended: dt.datetime | None = None
    how: str = ""

    def stops(self, now: dt.datetime) -> dt.datetime | None:
        """When it ceased to bind; ``None`` while it does."""
        if self.hold.expires and self.hold.expires <= (self.ended or now):
            return self.hold.expires
        return self.ended


@dataclass
class Queries:
    """The queries of one user in one role: how many, by outcome, the rows they were given, and how long they took."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    ms: int = 0


@dataclass
class Arrivals:
    """What arrived for a stream on a day: lines by what became of them, and the reasons of those that went to quarantine."""

    lines: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Of the lines that were read, those that went to quarantine."""
        return self.lines["quarantined"] / self.lines["read"] if self.lines["read"] else 0.0


@dataclass
class Night:
    """The runs of a job from one time at which it was due to the next, by outcome; none when it was missed."""

    due: dt.datetime
    runs: Counter[str] = field(default_factory=Counter)


@dataclass
class Runs:
    """When a job failed first and last, how often, and when it last ended well."""

    failures: int = 0
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    good: dt.datetime | None = None


_OUTCOMES = {Kind.QUERY_ANSWERED: "answered", Kind.QUERY_REFUSED: "refused", Kind.QUERY_FAILED: "failed"}


class Fold:
    """Takes the events one by one, the ledger's first at first; :meth:`close` ends it.

    :param policies: by stream, quarantine companions included.
    :param dues: for each job the times at which it was due, first of each day, oldest first.
    """

    def __init__(self, span: Span, policies: Mapping[str, StreamPolicy], dues: Mapping[str, Sequence[dt.datetime]]) -> None:
        self.span, self.policies = span, policies
        self.states: dict[Segment, SegmentState] = {}
        self.touched: set[Segment] = set()
        self.hot_since: dict[Segment, dt.datetime] = {}
        self.ages: list[Age] = []
        self.purges: list[Purge] = []
        self.residue: dict[Segment, Residue] = {}
        self.requests: dict[int, Right] = {}
        self.holds: dict[int, Held] = {}
        self.queries: dict[tuple[int, str], Queries] = {}
        self.arrivals: dict[tuple[str, dt.date], Arrivals] = {}
        self.flow: dict[dt.date, Counter[str]] = {}
        self.nights = {job: [Night(due) for due in times] for job, times in dues.items()}
        self.runs: dict[str, Runs] = {}
        self.texts = 0
        self.confirmed: list[tuple[dt.datetime, dt.datetime]] = []
        self.backwards: list[tuple[dt.datetime, dt.timedelta]] = []
        self.events = 0
        self.newest = 0
        self._dues = {job: list(times) for job, times in dues.items()}
        self._present: dict[str, set[dt.date]] = {}
        self._open = iter(span.days)
        self._next = next(self._open, None)
        self._now = dt.datetime.min.replace(tzinfo=UTC)
        self._kinds = {
            Kind.BATCH_INGESTED: self._batch, Kind.LINES_QUARANTINED: self._quarantined, Kind.LINES_RETRIED: self._retried,
            Kind.SEGMENT_PURGED: self._purged, Kind.RESIDUE_FOUND: self._residue, Kind.JOB_FINISHED: self._job,
            Kind.HOLD_ADDED: self._hold, Kind.HOLD_RELEASED: self._hold_ended, Kind.HOLD_EXPIRED: self._hold_ended,
            Kind.SUBJECT_REQUEST_RECEIVED: self._received, Kind.SUBJECT_REQUEST_DONE: self._done,
            Kind.SUBJECT_REQUEST_GRANTED: self._granted,
            Kind.ROWS_ERASED: self._erased, Kind.TEXTS_ERASED: self._erased, Kind.SUBJECT_ERASED: self._certified,
            Kind.QUERY_TEXTS_DESTROYED: self._texts, Kind.CLOCK_CONFIRMED: self._confirmed, **dict.fromkeys(_OUTCOMES, self._query),
        }  # fmt: skip

    def take(self, event: Event) -> bool:
        """Fold an event; ``False`` when it is of after the span, and is left.

        :raises KeyError: with ``ValueError``, ``TypeError`` and ``UsageError``: it is none, as in a ledger that was changed.
        """
        at = parse_instant(event.at)
        if at >= self.span.end:
            return False
        if self._now - at > _STEP_BACK and at >= self.span.start:
            self.backwards.append((at, self._now - at))
        self._close_until(max(at, self._now))
        self._apply(event, at)
        kind = self._kinds.get(event.kind)
        if kind:
            kind(event, at)
        self._now, self.newest = max(at, self._now), event.seq
        self.events += self._within(at)
        return True

    def close(self) -> "Fold":
        """Note what is there at the end of the days that no event came after."""
        self._close_until(self.span.until)
        if self._next is not None and self._next <= utc_day(self.span.until):
            self._note_ages(self._next, self.span.until)
            self._next = None
        return self

    def due(self, segment: Segment, now: dt.datetime) -> dt.datetime | None:
        """When a day was due to be destroyed: at its limit, or at the end of the last hold on it; ``None`` without a limit."""
        policy = self.policies.get(segment.stream)
        if policy is None:
            return None
        ends = [stop for held in self._covering(segment) if (stop := held.stops(now)) and stop <= now]
        return max([purge_due(segment, policy), *ends])

    def binds(self, segment: Segment, now: dt.datetime) -> bool:
        """Whether a hold kept the segment at that instant."""
        return any(held.stops(now) is None for held in self._covering(segment))

    @property
    def live(self) -> Iterator[SegmentState]:
        """Segments that have rows at the end, oldest first within each stream."""
        yield from (state for _, state in sorted(self.states.items()) if state.present)

    def _covering(self, segment: Segment) -> Iterator[Held]:
        return (held for held in self.holds.values() if held.hold.covers(segment))

    def _within(self, at: dt.datetime) -> bool:
        return at >= self.span.start

    # ------------------------------------------------------------------------------------------------- segments and their ages

    def _apply(self, event: Event, at: dt.datetime) -> None:
        segments = {segment: self.states.get(segment) for segment, _ in touched(event)}
        apply(self.states, event)
        for segment, before in segments.items():
            state = self.states[segment]
            if state.hot > 0 and not (before and before.hot > 0):
                self.hot_since[segment] = at
            days = self._present.setdefault(segment.stream, set())
            (days.add if state.present else days.discard)(segment.day)
            if self._within(at):
                self.touched.add(segment)

    def _close_until(self, now: dt.datetime) -> None:
        while self._next is not None and (end := Segment("", self._next).end) <= now:
            self._note_ages(self._next, end)
            self._next = next(self._open, None)

    def _note_ages(self, day: dt.date, end: dt.datetime) -> None:
        for stream in sorted({*self.policies, *self._present}):
            days = sorted(self._present.get(stream, ()))
            self.ages.append(self._age(day, end, stream, days) if days else Age(day, stream, None))

    def _age(self, day: dt.date, end: dt.datetime, stream: str, days: list[dt.date]) -> Age:
        oldest, policy = Segment(stream, days[0]), self.policies.get(stream)
        age = max(0.0, (end - oldest.start) / _A_DAY)
        if policy is None:
            return Age(day, stream, oldest.day, age)
        kept = Counter[bool]()
        for each in (Segment(stream, day) for day in days):
            if purge_due(each, policy) >= end:
                break
            held, due = self.binds(each, end), self.due(each, end)
            if held or (due is not None and end - due >= LATE):
                kept[held] += 1
        return Age(day, stream, oldest.day, age, (purge_due(oldest, policy) - oldest.start).days, kept[True], kept[False])

    # ------------------------------------------------------------------------------------------------------------ one kind each

    def _batch(self, event: Event, at: dt.datetime) -> None:
        body = event.body
        if not self._within(at):
            return
        self._flow(at)["stored"] += sum(body["days"].values())
        if body.get("source") == "quarantine":  # lines that were counted when they arrived
            return
        lines = self._arrived(body["stream"], at).lines
        for name in ("read", "stored", "quarantined", "refused"):
            lines[name] += body.get(name, 0)
        lines["barred"] += sum(body.get("barred", {}).values())

    def _quarantined(self, event: Event, at: dt.datetime) -> None:
        if self._within(at):
            self._arrived(event.body["stream"], at).reasons.update(event.body["reasons"])

    def _retried(self, event: Event, at: dt.datetime) -> None:
        if self._within(at):
            self._arrived(event.body["stream"], at).lines["retried"] += event.body["rows"]

    def _arrived(self, stream: str, at: dt.datetime) -> Arrivals:
        return self.arrivals.setdefault((stream, utc_day(at)), Arrivals())

    def _flow(self, at: dt.datetime) -> Counter[str]:
        return self.flow.setdefault(utc_day(at), Counter())

    def _purged(self, event: Event, at: dt.datetime) -> None:
        body, segment = event.body, event.segment
        if segment in self.residue and self.residue[segment].gone is None:
            self.residue[segment].gone = at
        if self._within(at):
            self._flow(at)["destroyed"] += body["rows"]
            told = (body.get("found", 0), body.get("listed", 0), body.get("listing", ""))
            self.purges.append(Purge(event.seq, at, segment, body["rows"], self.due(segment, at), *told))

    def _residue(self, event: Event, at: dt.datetime) -> None:
        found = self.residue.setdefault(event.segment, Residue(at, at))
        found.last, found.times, found.things, found.gone = at, found.times + 1, event.body["things"], None

    def _job(self, event: Event, at: dt.datetime) -> None:
        job, outcome = event.body["job"], event.body["outcome"]
        number = bisect_right(self._dues.get(job, []), at) - 1
        if number >= 0:
            self.nights[job][number].runs[outcome] += 1
        runs = self.runs.setdefault(job, Runs())
        if outcome == "failed" and self._within(at):
            runs.failures, runs.first, runs.last = runs.failures + 1, runs.first or at, at
        elif outcome in ("done", "nothing due"):
            runs.good = at

    def _hold(self, event: Event, at: dt.datetime) -> None:
        body = event.body
        first, last = (dt.date.fromisoformat(body[name]) for name in ("first", "last"))
        expires = parse_instant(body["expires"]) if body.get("expires") else None
        self.holds[body["hold"]] = Held(Hold(body["stream"], first, last, "", body["hold"], expires), at)

    def _hold_ended(self, event: Event, at: dt.datetime) -> None:
        held = self.holds.get(event.body["hold"])
        if held:
            held.ended, held.how = at, "released" if event.kind == Kind.HOLD_RELEASED else "expired"

    def _received(self, event: Event, at: dt.datetime) -> None:
        body = event.body
        self.requests[body["request"]] = Right(body["request"], body["right"], at, parse_instant(body["deadline"]))

    def _done(self, event: Event, at: dt.datetime) -> None:
        if event.body["request"] in self.requests:
            self.requests[event.body["request"]].done = at

    def _granted(self, event: Event, at: dt.datetime) -> None:
        if event.body["request"] in self.requests:
            self.requests[event.body["request"]].granted = at

    def _erased(self, event: Event, at: dt.datetime) -> None:
        body: Mapping[str, Any] = event.body
        rows = body.get("rows", body.get("texts", 0))
        if body.get("request") in self.requests:
            self.requests[body["request"]].rows[body.get("tier", "other")] += rows
        if self._within(at) and event.kind == Kind.ROWS_ERASED:
            self._flow(at)["erased"] += rows

    def _certified(self, event: Event, _at: dt.datetime) -> None:
        if event.body["request"] in self.requests:
            self.requests[event.body["request"]].certificate = event.seq

    def _query(self, event: Event, at: dt.datetime) -> None:
        if self._within(at):
            found = self.queries.setdefault((event.body["user"], event.body["role"]), Queries())
            found.outcomes[_OUTCOMES[event.kind]] += 1
            found.rows += event.body["rows"]
            found.ms += event.body["ms"]

    def _texts(self, event: Event, at: dt.datetime) -> None:
        self.texts += event.body["texts"] if self._within(at) else 0

    def _confirmed(self, _event: Event, at: dt.datetime) -> None:
        if self._within(at):
            self.confirmed.append((at, self._now))
