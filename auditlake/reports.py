"""Status, plan, outcome, verification and ledger, as JSON and as tables."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from auditlake.console import show_json, show_pairs, show_table
from auditlake.lake import Lake
from compliance.accounts import Report
from core.clock import to_iso
from core.events import Event
from core.policy import Decision, Hold, Period, conflicts, purge_due, roll_due
from core.segment import Segment, SegmentState
from jobs import runner
from jobs.context import Context, Outcome
from jobs.schedule import Retry
from jobs.state import states
from storage import pointers

__all__ = ["show_decisions", "show_events", "show_outcome", "show_status", "show_verification", "status"]

_JOB = ("name", "schedule", "last_started", "last_outcome", "last_success", "next_run", "retry_at", "error")


def status(lake: Lake, open_days: bool = True) -> dict[str, Any]:
    """Everything ``auditlake status --json`` prints.

    :param open_days: whether to look into the oldest day for its oldest row; else that is when the day began. The server does not: its
        one thread that stores has the day files open.
    """
    ctx = lake.context
    days = ctx.ledger.states()
    archived, holds = _archived_bytes(ctx, days), ctx.holds
    rows = {segment: _segment_row(ctx, state, archived.get(segment, 0), holds) for segment, state in sorted(days.items())}
    now = ctx.clock.now()
    jobs = states(ctx, lake.settings.jobs.schedules(), Retry(lake.settings.jobs.retry, lake.settings.jobs.retry_longest))
    return {
        "data_dir": str(ctx.data_dir),
        "clock": {"kind": "simulated" if ctx.simulated else "real", "now": to_iso(now)},
        "policy": [str(policy) for name, policy in ctx.policies.items() if name == policy.name],
        "segments": [row for segment, row in rows.items() if not segment.is_quarantine],
        "quarantine": [row for segment, row in rows.items() if segment.is_quarantine],
        "quarantined": sum(state.hot for segment, state in days.items() if segment.is_quarantine),
        "oldest_event": _oldest(ctx, days, open_days),
        "requests": _requests(lake),
        "jobs": [{name: getattr(job, name) for name in _JOB} for job in jobs],
        "next_runs": {job.name: job.next_run for job in jobs},
        "last_runs": [vars(entry) for entry in runner.history(ctx, 10)],
    }


def _segment_row(ctx: Context, state: SegmentState, archived: int, holds: tuple[Hold, ...]) -> dict[str, Any]:
    segment = state.segment
    policy = ctx.policies.get(segment.stream)
    live = policy is not None and state.present > 0
    return {
        "stream": segment.stream,
        "day": segment.day.isoformat(),
        "state": state.state,
        "rows": state.present,
        "bytes": ctx.hot.bytes(segment) + archived,
        "roll_due": to_iso(roll_due(segment, policy)) if live and policy and state.hot and not segment.is_quarantine else None,
        "purge_due": to_iso(purge_due(segment, policy)) if live and policy else None,
        "held": _held(holds, state),
    }


def _requests(lake: Lake) -> list[dict[str, Any]]:
    """Requests of data subjects that are under way, and whether the deadline is near."""
    requests = lake.context.requests
    pressing = {each.id for each in requests.pressing(Period.parse(lake.settings.subjects.warn))}
    under_way = [each for each in requests.every() if not each.finished]  # those in force are, too
    return [{"request": r.id, "right": r.right, "state": r.state, "deadline": r.deadline, "pressing": r.id in pressing} for r in under_way]


def _held(holds: tuple[Hold, ...], state: SegmentState) -> str | None:
    """Why a segment must stay; ``None`` when nothing but its limit says so."""
    found = conflicts(holds, state.segment.stream, state.segment.day) if state.present else ()
    return "; ".join(map(str, found)) or None


def _archived_bytes(ctx: Context, states: dict[Segment, SegmentState]) -> dict[Segment, int]:
    found: dict[Segment, int] = {}
    if any(state.archived for state in states.values()):
        with ctx.control.read() as connection:
            seen = pointers.every(connection)
        for stream, metadata in seen.items():
            for file in ctx.archive.files(stream, metadata):
                found[file.segment] = found.get(file.segment, 0) + file.bytes
    return found


def _oldest(ctx: Context, states: dict[Segment, SegmentState], open_days: bool) -> str | None:
    live = [segment for segment, state in states.items() if state.present and not segment.is_quarantine]
    if not live:
        return None
    day = min(segment.day for segment in live)
    if not open_days:
        return day.isoformat()
    times = [time for segment in live if segment.day == day for time in _times(ctx, segment, states[segment])]
    return to_iso(min(times)) if times else None


def _times(ctx: Context, segment: Segment, state: SegmentState) -> Iterator[dt.datetime]:
    if state.hot:
        found = ctx.hot.oldest(segment, ctx.key(segment))
        if found:
            yield found
    if state.archived:
        found = ctx.archive.oldest(segment)
        if found:
            yield found


def show_status(found: dict[str, Any], as_json: bool) -> None:
    """The status, for a machine or for eyes."""
    if as_json:
        show_json(found)
        return
    clock = found["clock"]
    show_pairs(
        {
            "data directory": found["data_dir"],
            "clock": f"{clock['now']} ({clock['kind']})",
            **{f"policy {number}": text for number, text in enumerate(found["policy"], start=1)},
            "oldest event": found["oldest_event"],
            "quarantined lines": found["quarantined"],
        }
    )
    columns = ("stream", "day", "state", "rows", "bytes", "roll_due", "purge_due", "held")
    live = [row for row in [*found["segments"], *found["quarantine"]] if row["state"] != "destroyed"]
    destroyed = len(found["segments"]) + len(found["quarantine"]) - len(live)
    show_table(columns, [[_shown(row[name]) for name in columns] for row in live], "segments")
    if destroyed:
        show_pairs({"destroyed days": destroyed})
    if found["requests"]:
        names = tuple(found["requests"][0])
        show_table(names, [[each[name] for name in names] for each in found["requests"]], "requests of data subjects")
    shown = ("name", "next_run", "last_outcome", "last_success", "retry_at")
    show_table([name.replace("_", " ") for name in shown], [[job[name] for name in shown] for job in found["jobs"]], "jobs (UTC)")
    if found["last_runs"]:
        names = ("job", "started", "finished", "outcome", "error")
        show_table(names, [[run[name] for name in names] for run in found["last_runs"]], "last runs")


def _shown(value: Any) -> Any:
    return value.removesuffix("T00:00:00Z") if isinstance(value, str) else value


def decision_row(decision: Decision) -> dict[str, str]:
    """One decision, as the JSON of ``plan`` and ``run`` shows it."""
    segment = decision.segment
    return {
        "stream": segment.stream,
        "day": segment.day.isoformat(),
        "action": decision.action,
        "reason": decision.reason,
        "due": to_iso(decision.due),
    }


def show_decisions(decisions: Iterable[Decision], as_json: bool) -> None:
    """What is due, for a machine or for eyes."""
    rows = [decision_row(decision) for decision in decisions]
    if as_json:
        show_json({"decisions": rows})
    else:
        show_table(("stream", "day", "action", "reason", "due"), [tuple(map(_shown, row.values())) for row in rows])


def show_outcome(outcome: Outcome, seconds: float, as_json: bool) -> None:
    """What a job did, for a machine or for eyes."""
    rows = [decision_row(decision) for decision in outcome.decisions]
    figures = dict(outcome.figures)
    if as_json:
        named = {"job": outcome.job, "outcome": outcome.outcome, "decisions": rows, "seconds": round(seconds, 3)}
        show_json({**named, "figures": figures, "problems": list(outcome.problems)})
        return
    show_pairs({"job": outcome.job, "outcome": outcome.outcome, **figures, "seconds": round(seconds, 3)})
    if rows:
        show_table(("stream", "day", "action", "reason", "due"), [tuple(map(_shown, row.values())) for row in rows])
    if outcome.problems:
        show_table(("problems",), [(problem,) for problem in outcome.problems])


def show_verification(report: Report, as_json: bool) -> None:
    """A verification, for a machine or for eyes."""
    names = ("stream", "day", "stored", "erased", "purged", "hot", "archived", "ok")
    days = [_account_row(account) for account in report.accounts]
    rows = [row for account, row in zip(report.accounts, days, strict=True) if not account.segment.is_quarantine]
    if as_json:
        quarantine = [row for account, row in zip(report.accounts, days, strict=True) if account.segment.is_quarantine]
        ledger = {"events": report.chain.events, "ok": not report.chain.fault, "fault": report.chain.fault}
        show_json(
            {
                "ok": report.ok,
                "ledger": ledger,
                "days": rows,
                "quarantine": quarantine,
                "residue": list(report.residue),
                "faults": [*report.evidence, *report.faults],
                "checks": [vars(check) for check in report.checks],
            }
        )
        return
    show_table((*names, "fault"), [[row[name] for name in (*names, "fault")] for row in days])
    show_pairs(
        {
            "ledger": f"{report.chain.events} events, {report.chain.fault or 'unbroken'}",
            "checkpoints": f"{report.checkpoints} signed, {len(report.evidence) or 'no'} faults",
            "residue": len(report.residue) or "none",
            "verdict": "everything is accounted for" if report.ok else "NOT in order",
        }
    )
    for line in [*report.evidence, *report.faults, *report.residue]:
        show_pairs({"!": line})


def _account_row(account: Any) -> dict[str, Any]:
    names = ("stored", "erased", "purged", "hot", "archived", "ok", "fault")
    return {"stream": account.segment.stream, "day": account.segment.day.isoformat(), **{name: getattr(account, name) for name in names}}


def show_events(events: Iterable[Event], as_json: bool) -> None:
    """The ledger, for a machine or for eyes."""
    rows = [{"seq": event.seq, "at": event.at, "kind": event.kind, **event.body} for event in events]
    if as_json:
        show_json({"events": rows})
    else:
        body = (" ".join(f"{key}={value}" for key, value in row.items() if key not in ("seq", "at", "kind")) for row in rows)
        show_table(
            ("seq", "at", "kind", "what"), [(row["seq"], row["at"], row["kind"], text) for row, text in zip(rows, body, strict=True)]
        )
