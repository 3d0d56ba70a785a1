"""The exceptions of a report: whatever was not as it should be in the span, or is not now. Pure; nothing here means there was nothing."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from compliance.report_fold import LATE, Age, Fold, Night, Right
from core.clock import to_iso
from core.policy import roll_due
from core.segment import Segment, SegmentState

__all__ = ["Chain", "Finding", "Limits", "findings"]

_GRACE = dt.timedelta(hours=1)
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


@dataclass(frozen=True)
class Chain:
    """The ledger as it was walked: its events, the hash of the newest, what is wrong with it, and where checkpoints disagree.

    :param states: how the states of days that are kept beside it disagree; empty when they do not.
    """

    events: int
    hash: str
    fault: str = ""
    checkpoints: tuple[str, ...] = ()
    states: str = ""


@dataclass(frozen=True)
class Limits:
    """From when on something is told: a share of lines in quarantine (0 to 1), the time before a request's deadline."""

    quarantine: float = 0.05
    warn: dt.timedelta = dt.timedelta(days=7)


@dataclass(frozen=True)
class Finding:
    """One exception: its kind, what, where, since when (ISO 8601; empty when unknown), what to do.

    :param open: whether it still is so at the end of the span.
    """

    kind: str
    what: str
    where: str
    since: str
    remedy: str
    open: bool = True


def findings(fold: Fold, chain: Chain, faulty: Sequence[Segment], limits: Limits) -> tuple[Finding, ...]:
    """Every exception, what is still so first, then by kind as they are written here.

    :param faulty: archived days whose rows did not agree with the ledger when they were read last.
    """
    found = [
        *_chain(chain), *_digests(faulty), *_accounts(fold), *_overdue(fold), *_late_purges(fold), *_residue(fold), *_rolls(fold),
        *_requests(fold, limits.warn), *_unlimited(fold), *_holds(fold), *_nights(fold), *_failures(fold), *_clock(fold),
        *_quarantine(fold, limits.quarantine),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: not each.open))


def _chain(chain: Chain) -> Iterator[Finding]:
    if chain.fault:
        figures = f"{chain.fault}; no figure that rests on it or on what follows it can be relied on"
        yield Finding("chain", figures, "ledger", "", "restore the control database from a backup and run: auditlake verify")
    for fault in chain.checkpoints:
        yield Finding("checkpoint", fault, "ledger", "", "find out who changed it, and run: auditlake verify --full")
    if chain.states:
        yield Finding("account", chain.states, "control database", "", "auditlake verify --full")


def _digests(faulty: Sequence[Segment]) -> Iterator[Finding]:
    for segment in faulty:
        what = "the archived rows did not agree with the ledger's digest when they were read last"
        yield Finding("digest", what, str(segment), "", "restore the day's files and run: auditlake run scrub")


def _accounts(fold: Fold) -> Iterator[Finding]:
    for segment, state in sorted(fold.states.items()):
        if min(state.hot, state.archived) < 0 or state.stored - state.erased - state.purged != state.present:
            yield Finding("account", "stored - erased - purged is not hot + archived", str(segment), "", "auditlake verify --full")


def _newest(fold: Fold) -> list[Age]:
    return [age for age in fold.ages if age.day == fold.ages[-1].day]


def _overdue(fold: Fold) -> Iterator[Finding]:
    now = fold.span.until
    for age in _newest(fold):
        late = [(due, state.segment) for state, due in _due(fold, age.stream, now) if now - due >= LATE] if age.beyond else []
        if late:
            since, oldest = min(late)
            what = f"{_count(len(late), 'day')} beyond the limit, of which the oldest is {oldest.day}"
            yield Finding("overdue purge", what, age.stream, to_iso(since), "auditlake run purge")


def _due(fold: Fold, stream: str, now: dt.datetime) -> Iterator[tuple[SegmentState, dt.datetime]]:
    """Days that nothing holds, and when they were due."""
    for state in fold.live:
        if state.segment.stream == stream and not fold.binds(state.segment, now):
            due = fold.due(state.segment, now)
            if due:
                yield state, due


def _late_purges(fold: Fold) -> Iterator[Finding]:
    late = sorted((purge for purge in fold.purges if purge.late), key=lambda purge: (purge.segment, purge.seq))
    for stream, group in groupby(late, key=lambda purge: purge.segment.stream):
        purges = [*group]
        days = max((purge.at - purge.due).days for purge in purges if purge.due)
        since = min(purge.due for purge in purges if purge.due)
        what = f"{_count(len(purges), 'day')} destroyed late, the latest {_count(days, 'day')} after it was due"
        yield Finding("late purge", what, stream, to_iso(since), "see why purges did not run: auditlake status", open=False)


def _residue(fold: Fold) -> Iterator[Finding]:
    for segment, each in sorted(fold.residue.items()):
        if each.gone is None or each.gone >= fold.span.start:
            ended = f"; gone on {to_iso(each.gone)}" if each.gone else ""
            what = f"{_count(each.things, 'thing')} could not be destroyed, tried {_count(each.times, 'time')}{ended}"
            yield Finding("residue", what, str(segment), to_iso(each.since), "auditlake run purge", each.gone is None)


def _rolls(fold: Fold) -> Iterator[Finding]:
    now, late = fold.span.until, dict[str, list[tuple[dt.datetime, Segment]]]()
    for state in fold.live:
        segment, policy = state.segment, fold.policies.get(state.segment.stream)
        if policy is None or segment.is_quarantine or not state.hot or fold.binds(segment, now):
            continue
        ends = [stop for held in fold.holds.values() if held.hold.covers(segment) and (stop := held.stops(now))]
        due = max([roll_due(segment, policy), fold.hot_since.get(segment, _NEVER), *ends])
        if now - due >= LATE:
            late.setdefault(segment.stream, []).append((due, segment))
    for stream, days in sorted(late.items()):
        what = f"{_count(len(days), 'day')} hot for longer than the policy says, of which the oldest is {min(days)[1].day}"
        yield Finding("overdue roll", what, stream, to_iso(min(days)[0]), "auditlake run roll")


def _requests(fold: Fold, warn: dt.timedelta) -> Iterator[Finding]:
    for number, each in sorted(fold.requests.items()):
        finding = _request(each, fold, warn)
        if finding:
            kind, what, is_open = finding
            yield Finding(kind, what, f"request {number}", to_iso(each.deadline), "auditlake subject requests", is_open)


def _request(each: Right, fold: Fold, warn: dt.timedelta) -> tuple[str, str, bool] | None:
    if each.met is not None:
        late = each.met > each.deadline and each.met >= fold.span.start
        return ("late request", f"{each.right} was done on {to_iso(each.met)}, after its deadline", False) if late else None
    if each.deadline <= fold.span.until:
        return "late request", f"{each.right}, received on {to_iso(each.received)}, is not done and its deadline is over", True
    if each.deadline - warn <= fold.span.until:
        return "request due soon", f"{each.right}, received on {to_iso(each.received)}, must be done by {to_iso(each.deadline)}", True
    return None


def _unlimited(fold: Fold) -> Iterator[Finding]:
    days = Counter(state.segment.stream for state in fold.live if state.segment.stream not in fold.policies)
    for stream, count in sorted(days.items()):
        oldest = min(state.segment for state in fold.live if state.segment.stream == stream)
        what = f"{_count(count, 'day')} of a stream that has no limits, so nothing ends them"
        yield Finding("no limit", what, stream, to_iso(oldest.start), f"give it limits: a section [streams.{_stem(stream)}]")


def _stem(stream: str) -> str:
    return stream.removesuffix(".quarantine")


def _holds(fold: Fold) -> Iterator[Finding]:
    for number, each in sorted(fold.holds.items()):
        expires = each.hold.expires
        if expires and each.ended is None and expires <= fold.span.until:
            what = "has expired, and its end is not noted: it keeps nothing any more, and a purge must come"
            yield Finding("expired hold", what, f"hold {number}", to_iso(expires), "auditlake run purge")


def _nights(fold: Fold) -> Iterator[Finding]:
    """Jobs that missed the same nights are told together."""
    together: dict[tuple[dt.date, dt.date, bool], list[tuple[str, list[Night]]]] = {}
    for job, nights in fold.nights.items():
        judged = [night for night in nights if night.due + _GRACE <= fold.span.until]
        for missed, group in groupby(judged, key=lambda night: not night.runs):
            if missed:
                row = [*group]
                which = (row[0].due.date(), row[-1].due.date(), row[-1] is judged[-1])
                together.setdefault(which, []).append((job, row))
    for (_, last, is_open), jobs in sorted(together.items()):
        names, nights = ", ".join(job for job, _ in jobs), jobs[0][1]
        until = f", the last on {last}" if len(nights) > 1 else ""
        what = f"{names} did not run on {_count(len(nights), 'night')}{until}"
        remedy = f"auditlake run {jobs[0][0]}; auditlake serve, which catches up by itself"
        yield Finding("missed nights", what, names, to_iso(min(row[0].due for _, row in jobs)), remedy, is_open)


def _failures(fold: Fold) -> Iterator[Finding]:
    for job, runs in sorted(fold.runs.items()):
        if runs.first and runs.last:
            mended = runs.good is not None and runs.good >= runs.last
            ended = f"; ended well on {to_iso(runs.good)}" if runs.good and mended else ""
            what = f"{job} failed {_count(runs.failures, 'time')}, last on {to_iso(runs.last)}{ended}"
            yield Finding("failed job", what, job, to_iso(runs.first), f"auditlake status; auditlake run {job}", not mended)


def _clock(fold: Fold) -> Iterator[Finding]:
    for at, before in fold.confirmed:
        what = f"a person said that the clock is right, after it went further than it may; the event before is of {to_iso(before)}"
        yield Finding("clock jump", what, "clock", to_iso(at), "see that the machine keeps its time", open=False)
    if fold.backwards:
        at, by = max(fold.backwards, key=lambda each: each[1])
        what = f"the clock went back {_count(len(fold.backwards), 'time')}, at most by {int(by.total_seconds())} seconds"
        yield Finding("clock jump", what, "clock", to_iso(at), "see that the machine keeps its time", open=False)


def _quarantine(fold: Fold, share: float) -> Iterator[Finding]:
    above = sorted((stream, day, each.share) for (stream, day), each in fold.arrivals.items() if each.share > share)
    for stream, group in groupby(above, key=lambda each: each[0]):
        days = [*group]
        worst = max(days, key=lambda each: each[2])
        what = f"more than {share:.0%} of the lines rejected on {_count(len(days), 'day')}, {worst[2]:.1%} on {worst[1]}"
        remedy = "auditlake quarantine list; mend the format, then: auditlake quarantine retry"
        yield Finding("quarantine", what, stream, days[0][1].isoformat(), remedy, days[-1][1] == fold.span.last)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
