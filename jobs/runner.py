"""Running a job: its name, its history, and its end in the ledger, whatever the end is."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import to_iso
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from jobs.checkpoint import checkpoint
from jobs.compact import compact
from jobs.context import Context, Outcome, StoppedError
from jobs.geoip import geoip
from jobs.purge import purge
from jobs.roll import roll
from jobs.schedule import NIGHT
from jobs.scrub import scrub
from jobs.upkeep import upkeep
from jobs.verify import run_verify
from storage import control as db

__all__ = ["BESIDE", "JOBS", "JobRun", "history", "last_success", "note_failure", "run"]

JOBS: dict[str, Callable[[Context, bool], Outcome]] = dict(
    zip(NIGHT, (purge, checkpoint, roll, compact, upkeep, run_verify, geoip, scrub), strict=True)
)
"""Every job, in the order in which a night runs them."""
BESIDE = frozenset({"geoip", "scrub"})
"""Those that change no rows and may take long: the server runs them without the data directory's lock."""

_HISTORY = dt.timedelta(days=800)


@dataclass(frozen=True)
class JobRun:
    """One run in the history; ``outcome`` is ``interrupted`` for one that a crash ended."""

    job: str
    started: str
    finished: str | None
    outcome: str
    error: str


def run(ctx: Context, name: str, dry_run: bool = False) -> Outcome:
    """Run a job by its name, and keep its history.

    :raises UsageError: there is no such job.
    :raises AuditlakeError: it failed; the history says so too.
    """
    if name not in JOBS:
        raise UsageError(f"there is no job {name!r}", f"choose one of {', '.join(JOBS)}")
    if dry_run:
        return JOBS[name](ctx, True)
    number = _begin(ctx, name)
    try:
        outcome = JOBS[name](ctx, False)
    except StoppedError:
        _end(ctx, number, name, "interrupted", "")
        raise
    except Exception as error:
        _end(ctx, number, name, "failed", str(error) if isinstance(error, AuditlakeError) else f"{type(error).__name__}: {error}"[:2000])
        raise
    _end(ctx, number, name, outcome.outcome, "; ".join(outcome.problems)[:2000])
    return outcome


def note_failure(ctx: Context, name: str, error: str) -> None:
    """Keep in the history that a job could not even begin."""
    now = to_iso(ctx.clock.now())
    with ctx.control.write() as connection:
        connection.execute(db.job_runs.insert().values(job=name, started=now, finished=now, outcome="failed", error=error[:2000]))


def history(ctx: Context, limit: int = 20, name: str = "") -> list[JobRun]:
    """The last runs, newest first, of one job or of all."""
    query = sa.select(db.job_runs).order_by(db.job_runs.c.id.desc()).limit(limit)
    if name:
        query = query.where(db.job_runs.c.job == name)
    with ctx.control.read() as connection:
        return [JobRun(r.job, r.started, r.finished, r.outcome or "running", r.error or "") for r in connection.execute(query)]


def last_success(ctx: Context, name: str) -> str | None:
    """When the job last began a run that ended well, ISO 8601; ``None`` if never."""
    good = db.job_runs.c.outcome.in_(("done", "nothing due"))
    query = sa.select(sa.func.max(db.job_runs.c.started)).where(db.job_runs.c.job == name, good)
    with ctx.control.read() as connection:
        found: str | None = connection.execute(query).scalar()
        return found


def _begin(ctx: Context, name: str) -> int:
    with ctx.control.write() as connection:
        alone = db.job_runs.c.job == name if name in BESIDE else db.job_runs.c.job.not_in(BESIDE)
        connection.execute(db.job_runs.update().where(db.job_runs.c.outcome.is_(None), alone).values(outcome="interrupted"))
        _trim(ctx, connection)
        result = connection.execute(db.job_runs.insert().values(job=name, started=to_iso(ctx.clock.now())))
        return int(result.inserted_primary_key[0]) if result.inserted_primary_key else 0


def _trim(ctx: Context, connection: sa.Connection) -> None:
    oldest = ctx.clock.now() - _HISTORY
    connection.execute(db.job_runs.delete().where(db.job_runs.c.started < to_iso(oldest)))


def _end(ctx: Context, number: int, name: str, outcome: str, error: str) -> None:
    with ctx.control.write() as connection:
        values = {"finished": to_iso(ctx.clock.now()), "outcome": outcome, "error": error}
        connection.execute(db.job_runs.update().where(db.job_runs.c.id == number).values(**values))
        ctx.ledger.append(connection, Kind.JOB_FINISHED, job=name, outcome=outcome)
