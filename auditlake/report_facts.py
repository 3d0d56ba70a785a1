"""What a report is made from, gathered from an open data directory: the ledger, the settings, the schedule, and the place it is kept in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import sqlalchemy as sa

from auditlake.doctor_cli import examine
from auditlake.lake import Lake
from compliance import evidence
from compliance.posture import Check
from compliance.report import Facts, Origin
from compliance.report_findings import Chain, Limits
from compliance.report_fold import Span
from core.clock import UTC, parse_instant
from core.errors import AuditlakeError
from core.events import Kind
from core.policy import Period
from jobs.context import Context
from jobs.schedule import next_due
from jobs.scrub import faulty
from storage import control as db
from storage.ledger import ChainReport

__all__ = ["begun", "gather"]

_INSTANT = dt.timedelta(microseconds=1)
_A_DAY = dt.timedelta(days=1)


def begun(ctx: Context) -> dt.datetime:
    """When the ledger began."""
    first = next(ctx.ledger.events(Kind.DIRECTORY_CREATED), None)
    return parse_instant(first.at) if first else ctx.clock.now()


def gather(lake: Lake, span: Span, share: float, problem: str = "") -> Facts:
    """The facts; the ledger is walked once here, and its events are read once more when the report is made.

    :param share: of a day's lines, above which rejected ones are an exception. :param problem: why nothing could be signed; empty if not.
    """
    ctx, settings = lake.context, lake.settings
    since = max(span.start, begun(ctx))
    return Facts(
        span=span,
        events=ctx.ledger.events(),
        policies=ctx.policies,
        dues={job: [*_dues(schedule, since, span.end)] for job, schedule in settings.jobs.schedules().items()},
        chain=_chain(ctx, problem),
        origin=Origin(version("auditlake"), ctx.clock.now(), ctx.simulated, _checkpoint(ctx)),
        faulty=faulty(ctx),
        limits=Limits(share, dt.timedelta(days=Period.parse(settings.subjects.warn).upper_days)),
        others={
            "texts of queries, who asked and what for": str(ctx.log_keep),
            "requests of data subjects that are over, and whom they were about": str(ctx.request_keep),
        },
        posture=_posture(lake),
    )


def _chain(ctx: Context, problem: str) -> Chain:
    """The ledger as it was walked, and whether the checkpoints agree, wherever they lie."""
    problems = [problem] if problem else []
    try:
        kept = evidence.gather(ctx.checkpoints, ctx.archive.objects, ctx.archive.location)
    except AuditlakeError as error:
        chain = ctx.ledger.check()
        problems.append(f"copies of checkpoints could not be read: {error.problem}")
    else:
        chain = ctx.ledger.check(kept.sizes)
        problems += [fault for fault in kept.faults(chain) if fault not in problems]
    return Chain(chain.events, _hash(ctx, chain.events), chain.fault, tuple(problems), _states_fault(ctx, chain))


def _states_fault(ctx: Context, chain: ChainReport) -> str:
    states = ctx.ledger.states()
    if chain.fault or states == chain.states or _newest(ctx) != chain.events:  # the last: an event came meanwhile
        return ""
    return "the states of days in the control database are not what the ledger's events add up to"


def _newest(ctx: Context) -> int:
    with ctx.control.read() as connection:
        return ctx.ledger.last(connection)


def _hash(ctx: Context, seq: int) -> str:
    with ctx.control.read() as connection:
        found: str | None = connection.execute(sa.select(db.ledger.c.hash).where(db.ledger.c.seq == seq)).scalar()
    return found or ""


def _checkpoint(ctx: Context) -> str:
    newest = next(reversed(ctx.checkpoints.every()), None)
    return f"over {newest.size:,} events, root {newest.root}" if newest else ""


def _dues(schedule: str, since: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    """The first time of each day at which the schedule has one."""
    at = since
    while (due := next_due(schedule, at - _INSTANT)) is not None and due < until:
        yield due
        at = dt.datetime.combine(due.astimezone(UTC).date() + _A_DAY, dt.time.min, UTC)


def _posture(lake: Lake) -> Sequence[Check] | None:
    """The checks of ``auditlake doctor``; paths of the data directory are told without the folders it lies in."""
    here = sorted({str(lake.context.data_dir), str(lake.context.data_dir.absolute())}, key=len, reverse=True)
    return [Check(check.name, check.ok, _without(check.detail, here), _without(check.remedy, here)) for check in examine(lake)]


def _without(text: str, paths: Sequence[str]) -> str:
    for path in paths:
        if len(path) > 1:
            text = text.replace(path, "<data-dir>")
    return text
