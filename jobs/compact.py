"""Compact: put the small files of a day together. Late rows and the ends of large days leave some; each is one more to open.

For each day: ledger CompactionStarted -> write the rows of the small files anew, sorted, reading each new file back while the
next is written -> compare count and digest with the old files' -> one Iceberg snapshot that has the new files and not the old
-> in one transaction move what readers see and note SegmentCompacted -> at the end, forget old snapshots and delete old files.

A snapshot is only made of what was compared, so one that readers do not see yet after a crash is as good as the one they see:
whichever job comes next lets them see it (``roll.take_back_unseen``). No row and no state of a day changes.
"""

from collections.abc import Sequence

from core.errors import AuditlakeError
from core.events import Kind
from core.policy import Decision
from core.segment import Segment
from jobs.context import Context, Outcome
from jobs.recovery import recover
from jobs.roll import show_compacted, take_back_unseen, tidy, write_and_read_back
from storage import pointers
from storage.archive import COMPACTED, ArchivedFile
from storage.archive_files import FILE_BYTES, ORDER, SMALL_BYTES, group_rows

__all__ = ["compact", "is_worth_it"]


def compact(ctx: Context, dry_run: bool = False) -> Outcome:
    """Put together the files of every day that has several small ones, and tidy every table.

    :raises AuditlakeError: a day could not be compacted; the days before it are done, and its files stay as they are.
    """
    if dry_run:
        return Outcome(
            "compact", "planned", tuple(_decision(ctx, files) for stream in ctx.archive.streams() for files in _due(ctx, stream))
        )
    recover(ctx)
    decisions, problems = [], []
    for stream in ctx.archive.streams():
        take_back_unseen(ctx, stream, keep=[])
        due = _due(ctx, stream)
        for number, files in enumerate(due):
            ctx.progress(f"compacting {files[0].segment}", number, len(due))
            decisions.append(_decision(ctx, files))
            _compact_segment(ctx, files[0].segment, files)
        problems += [f"{failure.object.key}: {failure.reason}" for failure in tidy(ctx, stream)]
    outcome = "failed" if problems else "done" if decisions else "nothing due"
    return Outcome("compact", outcome, tuple(decisions), {"segments": len(decisions)}, tuple(problems))


def is_worth_it(sizes: Sequence[int]) -> bool:
    """Whether files of so many bytes, put together, would be fewer."""
    return len(sizes) > max(1, -(-sum(sizes) // FILE_BYTES))


def _due(ctx: Context, stream: str) -> list[list[ArchivedFile]]:
    """The small files of each day on which that is worth it; not of a day whose destruction has begun."""
    visible = pointers.get(ctx.control, stream)
    states, days = ctx.ledger.states(), dict[Segment, list[ArchivedFile]]()
    for file in ctx.archive.files(stream, visible) if visible else ():
        if file.bytes < SMALL_BYTES and states[file.segment].open_action != "purge":
            days.setdefault(file.segment, []).append(file)
    return [files for _, files in sorted(days.items()) if is_worth_it([file.bytes for file in files])]


def _decision(ctx: Context, files: list[ArchivedFile]) -> Decision:
    size = sum(file.bytes for file in files) / 1e6
    return Decision(files[0].segment, "compact", f"{len(files)} files of {size:.1f} MB together", ctx.clock.now())


def _compact_segment(ctx: Context, segment: Segment, old: list[ArchivedFile]) -> None:
    named = {"stream": segment.stream, "day": segment.day.isoformat()}
    size = sum(file.bytes for file in old)
    with ctx.control.write() as connection:
        event = ctx.ledger.append(connection, Kind.COMPACTION_STARTED, **named, files=len(old), bytes=size)
    name, rows = f"{COMPACTED}{event.seq}", sum(file.rows for file in old)
    wanted = ctx.archive.digest(file.path for file in old)
    with ctx.hot.sort(ctx.archive.read(file.path for file in old), ", ".join(ORDER), group_rows(rows)) as batches:
        paths, found = write_and_read_back(ctx, segment, name, batches, rows)
    if found != wanted or found.rows != rows:
        raise AuditlakeError(
            f"the compacted files of {segment} hold {found.rows} rows, digest {found.sum}, and the old ones {wanted.rows} rows, "
            f"digest {wanted.sum}, {rows} by the table's metadata",
            "the day stays as it is; run: auditlake verify --full",
        )
    ctx.archive.replace(segment, name, paths, old)
    show_compacted(ctx, segment.stream, [file for file in ctx.archive.files(segment.stream) if file.path in set(paths)])
