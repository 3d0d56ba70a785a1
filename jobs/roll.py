"""Roll: move days that have been hot long enough into the archive. Hot is given up only for a verified archive.

For each day: ledger RollStarted -> write Parquet, and read each file back while the next is written -> compare count and
digest -> commit the Iceberg snapshot -> in one transaction switch what readers see, destroy the hot file's key and note
ArchiveVerified -> unlink the hot file -> ledger SegmentRolled. A commit that readers do not see yet is found by a retry as a
difference between the table and the readers' pointer: it is used when its content is the hot file's, else taken back.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from core.errors import AuditlakeError
from core.events import Kind
from core.segment import Segment
from jobs.context import Context, Outcome
from jobs.erased import is_erased, show_erased
from jobs.recovery import finish_roll, recover
from storage import pointers
from storage.archive import ArchivedFile
from storage.archive_files import group_rows
from storage.digest import EMPTY, METHOD, Digest
from storage.objects import Failure, StoredObject

__all__ = ["roll", "show_compacted", "take_back_unseen", "tidy", "write_and_read_back"]


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

    Those of the segments in ``keep`` are returned; the others are taken out of the table. But those that a compaction has put
    in the place of others, after it compared them, stay, and readers see them from now on.
    """
    visible = pointers.get(ctx.control, stream)
    if visible == ctx.archive.metadata(stream):
        return {}
    if is_erased(ctx, stream):  # then nothing else is unseen: an erasure begins by taking that back
        show_erased(ctx, stream)
        return {}
    seen = {file.path for file in ctx.archive.files(stream, visible)} if visible else set()
    unseen: dict[Segment, list[ArchivedFile]] = {}
    for file in ctx.archive.files(stream):
        if file.path not in seen:
            unseen.setdefault(file.segment, []).append(file)
    compacted = [file for files in unseen.values() for file in files if file.is_compacted]
    if compacted:  # then nothing else is unseen: a compaction begins by taking that back
        show_compacted(ctx, stream, compacted)
        return {}
    ctx.archive.remove(stream, [file for segment, files in unseen.items() if segment not in keep for file in files])
    return {segment: files for segment, files in unseen.items() if segment in keep}


def show_compacted(ctx: Context, stream: str, files: list[ArchivedFile]) -> None:
    """Let readers see files in the place of those that they were made of."""
    newest = ctx.archive.metadata(stream)
    with ctx.control.write() as connection:
        pointers.put(connection, stream, newest)
        for segment in sorted({file.segment for file in files}):
            new = [file for file in files if file.segment == segment]
            figures = {"rows": sum(file.rows for file in new), "files": len(new), "bytes": sum(file.bytes for file in new)}
            ctx.ledger.append(connection, Kind.SEGMENT_COMPACTED, stream=stream, day=segment.day.isoformat(), **figures)


def tidy(ctx: Context, stream: str, note: Callable[[list[StoredObject]], None] | None = None) -> list[Failure]:
    """Forget old snapshots, let readers see the newest, delete what nothing needs; returns what could not be deleted.

    :param note: is told what is about to be deleted.
    """
    ctx.archive.expire(stream)
    pointers.move(ctx.control, stream, ctx.archive.metadata(stream))
    if note is None:
        return ctx.archive.sweep(stream)
    doomed = ctx.archive.unreachable(stream)
    note(doomed)
    return ctx.archive.objects.delete(doomed)


def _roll_segment(ctx: Context, segment: Segment, unseen: list[ArchivedFile]) -> int:
    with ctx.control.write() as connection:
        held = ctx.is_held(connection, segment)  # a hold may have been added since the decision
        event = None if held else ctx.ledger.append(connection, Kind.ROLL_STARTED, stream=segment.stream, day=segment.day.isoformat())
    if event is None:
        ctx.archive.remove(segment.stream, unseen)
        return 0
    key = ctx.key(segment)
    wanted = ctx.hot.digest(segment, key)
    files = _usable(ctx, segment, unseen, wanted) or _write(ctx, segment, f"r{event.seq}", key, wanted)
    _switch(ctx, segment, files, wanted)
    finish_roll(ctx, segment)
    return wanted.rows


def _usable(ctx: Context, segment: Segment, unseen: list[ArchivedFile], wanted: Digest) -> list[ArchivedFile]:
    if unseen and ctx.archive.digest(file.path for file in unseen) == wanted:
        return unseen
    ctx.archive.remove(segment.stream, unseen)
    return []


def _write(ctx: Context, segment: Segment, name: str, key: str, wanted: Digest) -> list[ArchivedFile]:
    with ctx.hot.in_order(segment, key, group_rows(wanted.rows)) as rows:
        paths, found = write_and_read_back(ctx, segment, name, rows, wanted.rows)
    if found != wanted:
        raise AuditlakeError(
            f"archive of {segment} holds {found.rows} rows, digest {found.sum}, and hot {wanted.rows} rows, digest {wanted.sum}",
            "the day stays hot; run the roll again",
        )
    if paths:
        ctx.archive.commit(segment, name, paths)
    return [file for file in ctx.archive.files(segment.stream) if file.segment == segment and file.is_of(name)]


def write_and_read_back(ctx: Context, segment: Segment, name: str, rows: Iterable[pa.RecordBatch], count: int) -> tuple[list[str], Digest]:
    """Write sorted rows into files that are not yet part of the table; returns their URLs and what is read back from there."""
    paths, digests = [], []
    with ThreadPoolExecutor(1) as beside:
        for path in ctx.archive.written(segment, name, rows, count):
            paths.append(path)
            digests.append(beside.submit(ctx.archive.digest, [path]))
    return paths, sum((digest.result() for digest in digests), EMPTY)


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
            method=METHOD,
            files=len(files),
            bytes=sum(file.bytes for file in files),
        )
