"""Purge: destroy days that have reached their limit, and prove that nothing of them is left.

For each day: ledger PurgeStarted, key destroyed -> unlink the hot file -> drop the partition -> expire snapshots -> move
the readers' pointer -> delete objects, every version -> list again -> ledger SegmentPurged with the listing's digest.
Residue is written to the ledger, reported as a failure, and tried again by the next run. The texts of the query log go by a
limit of their own.
"""

import hashlib
from collections.abc import Callable

import rfc8785
import sqlalchemy as sa

from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError
from core.events import Kind
from core.segment import Segment
from jobs.context import Context, Outcome
from jobs.erase import resume
from jobs.recovery import recover
from jobs.roll import take_back_unseen, tidy
from storage import destructions, intake, parts, tombstones
from storage.destructions import Removal
from storage.objects import StoredObject

__all__ = ["check_clock", "confirm_clock", "purge"]

_CLOCK_SEEN = "clock_seen"


def purge(ctx: Context, dry_run: bool = False) -> Outcome:
    """Purge every day that is due.

    :raises AuditlakeError: the clock went forward too far since the last purge, or the archive is out of reach.
    """
    if dry_run:
        return Outcome("purge", "planned", ctx.decisions("purge"))
    check_clock(ctx)
    recover(ctx)
    decisions = ctx.decisions("purge")
    problems: list[str] = []
    rows = held = 0
    ctx.hold_book.note_ends(ctx.log_keep)
    for stream in sorted({decision.segment.stream for decision in decisions} & set(ctx.archive.streams())):
        take_back_unseen(ctx, stream, keep=[])
    for number, decision in enumerate(decisions):
        ctx.progress(f"purging {decision.segment}", number, len(decisions))
        done = _purge_segment(ctx, decision.segment)
        if done is None:
            held += 1
            continue
        gone, residue = done
        rows += gone
        problems += residue
    texts, requests = ctx.query_log.purge(ctx.log_keep), _purge_requests(ctx)
    if (texts or requests) and not ctx.control.forget_deleted():
        problems.append("keys of the query log or of requests (in the control database's files, which a reader holds open)")
    erasures = resume(ctx)
    problems += [f"erasure for request {each.request.id}: {problem}" for each in erasures for problem in each.problems]
    outcome = "failed" if problems else "done" if decisions or texts or erasures else "nothing due"
    figures = {"segments": len(decisions) - held, "rows": rows, "residue": len(problems), **({"query_texts": texts} if texts else {})}
    return Outcome("purge", outcome, decisions, figures, tuple(problems))


def _purge_requests(ctx: Context) -> int:
    """Forget requests of data subjects that were over long ago, and tombstones of rows that are refused for their age by now."""
    forgotten = ctx.requests.purge(ctx.request_keep)
    now = ctx.clock.now()
    with ctx.control.read() as connection:
        old = {each.before for each in tombstones.tombstones(connection) if each.before}
    for before in sorted(old):
        if all(policy.keep.after(parse_instant(before)) <= now for policy in ctx.policies.values()):
            with ctx.control.write() as connection:
                tombstones.forget(connection, before)
    return forgotten


def check_clock(ctx: Context) -> None:
    """Note the time; refuse when it went forward further than a night's schedule explains.

    :raises AuditlakeError: it did.
    """
    if ctx.simulated:
        return
    now = ctx.clock.now()
    with ctx.control.write() as connection:
        seen = ctx.control.get_meta(connection, _CLOCK_SEEN)
        if seen is None or now <= ctx.max_clock_jump.after(parse_instant(seen)):
            ctx.control.set_meta(connection, _CLOCK_SEEN, to_iso(now))
            return
    raise AuditlakeError(
        f"the clock went from {seen} to {to_iso(now)}, further than {ctx.max_clock_jump}, so nothing is destroyed or refused for its age",
        "if that is the right time, run: auditlake clock confirm",
    )


def confirm_clock(ctx: Context) -> None:
    """A person says that the clock is right."""
    now = to_iso(ctx.clock.now())
    with ctx.control.write() as connection:
        ctx.control.set_meta(connection, _CLOCK_SEEN, now)
        ctx.ledger.append(connection, Kind.CLOCK_CONFIRMED, now=now)


def _purge_segment(ctx: Context, segment: Segment) -> tuple[int, list[str]] | None:
    """Rows that are gone, and residue; ``None`` when a hold was added since the decision."""
    with ctx.control.write() as connection:
        state = ctx.ledger.state(connection, segment)
        if state.open_action != "purge" and ctx.is_held(connection, segment):
            return None
        ctx.keys.destroy(connection, segment)
        if state.open_action != "purge":
            ctx.ledger.append(connection, Kind.PURGE_STARTED, stream=segment.stream, day=segment.day.isoformat())
    hot = ctx.data_dir / "hot"
    files = [(str(path.relative_to(ctx.data_dir)), path.stat().st_size) for path in parts.all_files(hot, segment)]
    destructions.note(ctx.control, segment, [Removal("file", name, bytes=size) for name, size in files])
    ctx.hot.drop(segment)
    refused = _purge_archive(ctx, segment)
    residue = [f"{left} ({refused[left]})" if left in refused else left for left in _left(ctx, segment)]
    if not ctx.control.forget_deleted():
        residue.append(f"key of {segment} (in the control database's files, which a reader holds open)")
    with ctx.control.write() as connection:
        _conclude(ctx, connection, segment, state.present, residue)
    ctx.control.forget_deleted()
    return (0 if residue else state.present), residue


def _conclude(ctx: Context, connection: sa.Connection, segment: Segment, rows: int, residue: list[str]) -> None:
    named = {"stream": segment.stream, "day": segment.day.isoformat()}
    if residue:
        ctx.ledger.append(connection, Kind.RESIDUE_FOUND, **named, things=len(residue), digest=_digest(residue))
        return
    if not segment.is_quarantine:
        intake.forget_until(connection, segment.stream, segment.day)
    listing = (
        [] if segment.is_quarantine else [entry.key for entry in ctx.archive.objects.entries(ctx.archive.table_location(segment.stream))]
    )
    day_prefix = ctx.archive.day_location(segment)
    found = sum(key.startswith(day_prefix) for key in listing)
    record = destructions.conclude(connection, segment, str(ctx.policies.get(segment.stream, "")), _place(ctx, segment))
    listed = {"found": found, "listed": len(listing), "listing": _digest(listing), "detail": destructions.digest(record)}
    event = ctx.ledger.append(connection, Kind.SEGMENT_PURGED, **named, rows=rows, **listed)
    destructions.keep(connection, event.seq, record)


def _place(ctx: Context, segment: Segment) -> str:
    return "" if segment.is_quarantine else ctx.archive.table_location(segment.stream)


def _purge_archive(ctx: Context, segment: Segment) -> dict[str, str]:
    if segment.is_quarantine:
        return {}
    ctx.archive.drop_day(segment)
    return {_name(failure.object): failure.reason for failure in tidy(ctx, segment.stream, _noted(ctx, segment))}


def _noted(ctx: Context, segment: Segment) -> Callable[[list[StoredObject]], None]:
    """Notes what the purge of that day is about to remove from the archive."""

    def note(doomed: list[StoredObject]) -> None:
        removals = [Removal(entry.kind, entry.key, entry.version, entry.size) for entry in doomed]
        destructions.note(ctx.control, segment, removals)

    return note


def _left(ctx: Context, segment: Segment) -> list[str]:
    left = [f"{ctx.hot.path(segment)} (hot file)"] if ctx.hot.exists(segment) else []
    if not segment.is_quarantine:
        left += [_name(entry) for entry in ctx.archive.unreachable(segment.stream)]
        left += [file.path for file in ctx.archive.files(segment.stream) if file.segment == segment]
    return left


def _name(entry: StoredObject) -> str:
    return f"{entry.key} {entry.kind} {entry.version}".rstrip()


def _digest(names: list[str]) -> str:
    return hashlib.sha256(rfc8785.dumps(sorted(names))).hexdigest()
