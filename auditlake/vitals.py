"""The state of a running server as health and metrics tell it: gathered at most every ten seconds, without a name of anybody's.

What is told are counts, times, and names out of the settings: jobs, streams, sources. Texts of errors are not: they may name files,
and whoever asks for health needs no token.
"""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from auditlake.lake import Lake
from core.clock import parse_instant
from core.events import Kind
from core.policy import Period, conflicts, purge_due, roll_due
from core.segment import QUARANTINE_SUFFIX, Segment, SegmentState
from jobs.context import Context
from jobs.schedule import Retry, next_due
from jobs.state import JobState, states
from storage import control as db

__all__ = ["Age", "Cached", "Vitals", "gather"]

_GRACE = dt.timedelta(hours=1)
_LOOKED_AT = 2000
_SECONDS = 10.0


@dataclass(frozen=True)
class Age:
    """The oldest day of a stream in a tier, and after how long it is due to leave that.

    :param tier: ``hot``, ``archive`` or ``quarantine``.
    :param age: seconds since the day began: no row of it is older.
    :param limit: seconds after which it is due, from the same instant.
    """

    stream: str
    tier: str
    age: float
    limit: float


@dataclass(frozen=True)
class Vitals:
    """What is so at one moment.

    :param rows: by stream and tier.
    :param overdue: days by stream whose purge should have been, and was not.
    :param residue: things that a purge could not destroy.
    :param bodies: bodies that wait to be stored; :param waited: by source, seconds for which its oldest has waited.
    :param spooled: their bytes; :param held: days by stream that a hold keeps, which neither ages nor overdue count.
    :param pressing: requests of data subjects whose deadline is over or near.
    """

    jobs: tuple[JobState, ...]
    ages: tuple[Age, ...]
    rows: Mapping[tuple[str, str], int]
    overdue: Mapping[str, int]
    residue: int
    bodies: int
    waited: Mapping[str, float]
    spooled: int
    held: Mapping[str, int] = field(default_factory=dict)
    pressing: int = 0


class Cached:
    """What a function gives, kept for some seconds; whoever asks meanwhile waits for the one that asks it.

    :param ask: whose errors are raised, and not kept.
    """

    def __init__(self, ask: Callable[[], Vitals], seconds: float = _SECONDS) -> None:
        self._ask, self._seconds = ask, seconds
        self._guard = threading.Lock()
        self._found: Vitals | None = None
        self._until = 0.0

    def get(self) -> Vitals:
        """The state, as new as that."""
        with self._guard:
            if self._found is None or time.monotonic() >= self._until:
                self._found = self._ask()
                self._until = time.monotonic() + self._seconds
            return self._found


def gather(lake: Lake) -> Vitals:
    """Look.

    :raises sqlalchemy.exc.SQLAlchemyError: the control database does not answer.
    """
    ctx, jobs, now = lake.context, lake.settings.jobs, lake.context.clock.now()
    live = [state for state in ctx.ledger.states().values() if state.present or state.open_action]
    bodies, waited = _backlog(ctx, now)
    holds = ctx.holds
    held = {state.segment for state in live if conflicts(holds, state.segment.stream, state.segment.day)}
    free = [state for state in live if state.segment not in held]
    return Vitals(
        jobs=states(ctx, jobs.schedules(), Retry(jobs.retry, jobs.retry_longest)),
        ages=tuple(_ages(ctx, free, now)),
        rows=_rows(live),
        overdue=_overdue(ctx, free, jobs.purge.schedule, now),
        residue=_residue(ctx, live),
        bodies=bodies,
        waited=waited,
        spooled=ctx.spool.size(),
        held=_by_stream(ctx, held),
        pressing=len(ctx.requests.pressing(Period.parse(lake.settings.subjects.warn))),
    )


def _tiers(state: SegmentState) -> dict[str, int]:
    """Rows of a segment by tier."""
    if state.segment.is_quarantine:
        return {"quarantine": state.hot}
    return {"hot": state.hot, "archive": state.archived}


def _stream(segment: Segment) -> str:
    return segment.stream.removesuffix(QUARANTINE_SUFFIX)


def _rows(live: list[SegmentState]) -> Mapping[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for state in live:
        for tier, rows in _tiers(state).items():
            found[_stream(state.segment), tier] += rows
    return found


def _ages(ctx: Context, live: list[SegmentState], now: dt.datetime) -> list[Age]:
    oldest: dict[tuple[str, str], Segment] = {}
    for state in live:
        for tier, rows in _tiers(state).items():
            known = oldest.get((_stream(state.segment), tier))
            if rows and state.segment.stream in ctx.policies and (known is None or state.segment.day < known.day):
                oldest[_stream(state.segment), tier] = state.segment
    return [_age(ctx, stream, tier, segment, now) for (stream, tier), segment in sorted(oldest.items())]


def _age(ctx: Context, stream: str, tier: str, segment: Segment, now: dt.datetime) -> Age:
    policy = ctx.policies[segment.stream]
    due = roll_due(segment, policy) if tier == "hot" else purge_due(segment, policy)
    return Age(stream, tier, (now - segment.start).total_seconds(), (due - segment.start).total_seconds())


def _by_stream(ctx: Context, segments: Iterable[Segment]) -> Counter[str]:
    """How many segments each stream has, configured ones at least with none."""
    found = Counter({name: 0 for name in ctx.policies if name == ctx.policies[name].name})
    found.update(map(_stream, segments))
    return found


def _overdue(ctx: Context, live: list[SegmentState], schedule: str, now: dt.datetime) -> Mapping[str, int]:
    """A purge comes some time after a day is due; only what it should have destroyed an hour ago is overdue."""
    found = _by_stream(ctx, ())
    for state in live:
        policy = ctx.policies.get(state.segment.stream)
        due = purge_due(state.segment, policy) if policy else None
        if due and due + _GRACE <= now:
            purge = next_due(schedule, due)
            if purge and purge + _GRACE <= now:
                found[_stream(state.segment)] += 1
    return found


def _residue(ctx: Context, live: list[SegmentState]) -> int:
    begun = {state.segment for state in live if state.open_action == "purge"}
    if not begun:
        return 0
    last = {event.segment: int(event.body["things"]) for event in ctx.ledger.events(Kind.RESIDUE_FOUND) if event.segment in begun}
    return sum(last.values())


def _backlog(ctx: Context, now: dt.datetime) -> tuple[int, Mapping[str, float]]:
    count = sa.select(sa.func.count()).select_from(db.receipts).where(sa.not_(db.receipts.c.done))
    waited: dict[str, float] = {}
    with ctx.control.read() as connection:
        for receipt in ctx.spool.waiting(connection, _LOOKED_AT):  # in the order of arrival
            waited.setdefault(receipt.source, max(0.0, (now - parse_instant(receipt.arrived)).total_seconds()))
        return int(connection.execute(count).scalar_one()), waited
