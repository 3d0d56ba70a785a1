"""Roll: move days that have been hot long enough into the archive. Hot is given up only for a verified archive.

For each day: ledger RollStarted -> write Parquet -> commit the Iceberg snapshot -> read back and compare count and digest
-> in one transaction switch what readers see, destroy the hot file's key and note ArchiveVerified -> unlink the hot file
-> ledger SegmentRolled. A commit that readers do not see yet is found by a retry as a difference between the table and
the readers' pointer: it is used when its content is the hot file's, else taken back.
"""

from core.errors import AuditlakeError
from core.events import Kind
from core.segment import Segment
from jobs.context import Context, Outcome
from jobs.recovery import finish_roll, recover
from storage import pointers
from storage.archive import ArchivedFile
from storage.digest import Digest
from storage.objects import Failure

__all__ = ["roll", "take_back_unseen", "tidy"]

_ORDER = "source_ip, source_address, event_time, ingest_batch, ingest_row"
"""Rows of one client beside each other: the smallest files, and the fewest to open for one address."""


def roll(ctx: Context, dry_run: bool = False) -> Outcome:
    """Roll every day that is due, and tidy every table: a crash may have left one untidy after its last day was done.

    :raises AuditlakeError: a day could not be rolled; the days before it are done, and it stays hot.
    """
    if not dry_run:
        recover(ctx)
    decisions = ctx.decisions("roll")
    if dry_run:
        return Outcome("roll", "planned", decisions)
    segments = [decision.segment for decision in decisions]
    rows = 0
    problems: list[str] = []
    for stream in sorted({*(segment.stream for segment in segments), *ctx.archive.streams()}):
        days = [segment for segment in segments if segment.stream == stream]
        unseen = take_back_unseen(ctx, stream, keep=days)
        for number, segment in enumerate(sorted(days, key=lambda day: day not in unseen)):
            ctx.progress(f"rolling {segment}", number, len(days))
            rows += _roll_segment(ctx, segment, unseen.get(segment, []))
        problems += [f"{failure.object.key}: {failure.reason}" for failure in tidy(ctx, stream)]
    outcome = "failed" if problems else "done" if decisions else "nothing due"
    return Outcome("roll", outcome, decisions, {"segments": len(segments), "rows": rows}, tuple(problems))


def take_back_unseen(ctx: Context, stream: str, keep: list[Segment]) -> dict[Segment, list[ArchivedFile]]:
    """Files that are in the table and that readers do not see: what an unfinished roll left.

    Those of the segments in ``keep`` are returned; the others are taken out of the table.
    """
    visible = pointers.get(ctx.control, stream)
    if visible == ctx.archive.metadata(stream):
        return {}
    seen = {file.path for file in ctx.archive.files(stream, visible)} if visible else set()
    unseen: dict[Segment, list[ArchivedFile]] = {}
    for file in ctx.archive.files(stream):
        if file.path not in seen:
            unseen.setdefault(file.segment, []).append(file)
    ctx.archive.remove(stream, [file for segment, files in unseen.items() if segment not in keep for file in files])
    return {segment: files for segment, files in unseen.items() if segment in keep}


def tidy(ctx: Context, stream: str) -> list[Failure]:
    """Forget old snapshots, let readers see the newest, delete what nothing needs; returns what could not be deleted."""
    ctx.archive.expire(stream)
    pointers.move(ctx.control, stream, ctx.archive.metadata(stream))
    return ctx.archive.sweep(stream)


def _roll_segment(ctx: Context, segment: Segment, unseen: list[ArchivedFile]) -> int:
    with ctx.control.write() as connection:
        event = ctx.ledger.append(connection, Kind.ROLL_STARTED, stream=segment.stream, day=segment.day.isoformat())
    key = ctx.key(segment)
    wanted = ctx.hot.digest(segment, key)
    files = _usable(ctx, segment, unseen, wanted) or _write(ctx, segment, key, f"r{event.seq}")
    found = ctx.archive.digest(file.path for file in files)
    if found != wanted:
        ctx.archive.remove(segment.stream, files)
        raise AuditlakeError(
            f"archive of {segment} holds {found.rows} rows, digest {found.sum}, and hot {wanted.rows} rows, digest {wanted.sum}",
            "the day stays hot; run the roll again",
        )
    _switch(ctx, segment, files, wanted)
    finish_roll(ctx, segment)
    return wanted.rows


def _usable(ctx: Context, segment: Segment, unseen: list[ArchivedFile], wanted: Digest) -> list[ArchivedFile]:
    if unseen and ctx.archive.digest(file.path for file in unseen) == wanted:
        return unseen
    ctx.archive.remove(segment.stream, unseen)
    return []


def _write(ctx: Context, segment: Segment, key: str, name: str) -> list[ArchivedFile]:
    with ctx.hot.read(segment, key, _ORDER) as rows:
        paths = ctx.archive.write(segment, name, rows)
    if paths:
        ctx.archive.commit(segment, name, paths)
    return [file for file in ctx.archive.files(segment.stream) if file.segment == segment and file.is_of(name)]


def _switch(ctx: Context, segment: Segment, files: list[ArchivedFile], digest: Digest) -> None:
    newest = ctx.archive.metadata(segment.stream)
    with ctx.control.write() as connection:
        pointers.put(connection, segment.stream, newest)
        ctx.keys.destroy(connection, segment)
        ctx.ledger.append(
            connection,
            Kind.ARCHIVE_VERIFIED,
            stream=segment.stream,
            day=segment.day.isoformat(),
            rows=digest.rows,
            digest=digest.sum,
            files=len(files),
            bytes=sum(file.bytes for file in files),
        )
