"""A ledger told by hand, and the report on it: what happened on which day, and nothing else."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from compliance.posture import Check
from compliance.report import Facts, Origin, Report, make, span
from compliance.report_findings import Chain, Limits
from core.clock import UTC, parse_instant, to_iso
from core.events import Event, Kind
from core.policy import Period, StreamPolicy, purge_due
from core.segment import QUARANTINE_SUFFIX, Segment

__all__ = ["BEGIN", "Story", "policies"]

BEGIN = dt.date(2026, 1, 1)
_A_DAY = dt.timedelta(days=1)


def policies(keep: str = "30 days", name: str = "requests") -> dict[str, StreamPolicy]:
    policy = StreamPolicy(name, Period.parse("10 days"), Period.parse(keep), Period.parse("5 days"))
    return {name: policy, name + QUARANTINE_SUFFIX: policy}


@dataclass
class Story:
    """Events, oldest first."""

    keep: str = "30 days"
    events: list[Event] = field(default_factory=list)
    live: set[Segment] = field(default_factory=set)
    hot: set[Segment] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.policies = policies(self.keep)
        self.tell(f"{BEGIN}T00:00:00Z", Kind.DIRECTORY_CREATED, simulated=False)

    def tell(self, at: str, kind: str, **body: Any) -> "Story":
        self.events.append(Event(len(self.events) + 1, at, kind, body))
        return self

    def rows(self, day: dt.date, rows: int = 10, at: str = "", stream: str = "requests", **more: Any) -> "Story":
        """Rows of a day arrive at its noon."""
        self.live.add(Segment(stream, day))
        self.hot.add(Segment(stream, day))
        body = {"stream": stream, "read": rows, "stored": rows, "quarantined": 0, "refused": 0, "days": {str(day): rows}}
        return self.tell(at or f"{day}T12:00:00Z", Kind.BATCH_INGESTED, batch=f"b{len(self.events)}", **{**body, **more})

    def purge(self, segment: Segment, at: str, rows: int = 10) -> "Story":
        named = {"stream": segment.stream, "day": str(segment.day)}
        self.live.discard(segment)
        self.tell(at, Kind.PURGE_STARTED, **named)
        return self.tell(at, Kind.SEGMENT_PURGED, **named, rows=rows, found=0, listed=3, listing="ab" * 32)

    def roll(self, day: dt.date, at: str, rows: int = 10) -> "Story":
        named = {"stream": "requests", "day": str(day)}
        self.hot.discard(Segment("requests", day))
        for kind, more in ((Kind.ROLL_STARTED, {}), (Kind.ARCHIVE_VERIFIED, {"rows": rows}), (Kind.SEGMENT_ROLLED, {})):
            self.tell(at, kind, **named, **more)
        return self

    def night(self, day: dt.date, spare: Sequence[Segment] = ()) -> "Story":
        """The purge at five past midnight destroys what is due, the roll moves what has been hot for ten days."""
        now = dt.datetime.combine(day, dt.time(0, 5), UTC)
        for segment in sorted(self.live - set(spare)):
            if purge_due(segment, self.policies[segment.stream]) <= now:
                self.purge(segment, to_iso(now))
        for segment in sorted(self.hot & self.live - set(spare)):
            if segment.day <= day - 11 * _A_DAY:
                self.roll(segment.day, to_iso(now + dt.timedelta(minutes=15)))
        return self.tell(to_iso(now + dt.timedelta(minutes=20)), Kind.JOB_FINISHED, job="purge", outcome="done")

    def live_through(self, days: int, missed: Sequence[int] = ()) -> "Story":
        """So many days, each with its night before and rows at noon; nights of these numbers are missed."""
        for number in range(days):
            day = BEGIN + number * _A_DAY
            if number not in missed:
                self.night(day)
            self.rows(day)
        return self

    def report(self, now: str, first: str | None = None, last: str | None = None, **more: Any) -> Report:
        at = parse_instant(now)
        asked = span(first or str(BEGIN), last, parse_instant(f"{BEGIN}T00:00:00Z"), at)
        dues = {"purge": [dt.datetime.combine(day, dt.time(0, 5), UTC) for day in asked.days]}
        given: dict[str, Any] = {
            "policies": self.policies,
            "dues": dues,
            "chain": Chain(len(self.events), "cd" * 32),
            "origin": Origin("1.2.3", at, False),
            "limits": Limits(),
            "posture": [Check("versioning", True, "on")],
        }
        return make(Facts(asked, self.events, **{**given, **more}))
