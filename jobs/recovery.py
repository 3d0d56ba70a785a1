"""What a crash left: batches half written are taken back, verified rolls are finished, drafts are removed.

Everything here is local and needs no archive, so that ingest goes on while a bucket is out of reach. Each step may be the
last before another crash.
"""

from collections.abc import Sequence

from core.events import Kind
from core.segment import Segment
from jobs.context import Context
from jobs.erased import finish_swaps
from storage import intake
from storage.intake import OpenBatch

__all__ = ["finish_roll", "recover"]


def recover(ctx: Context) -> None:
    """Bring the data directory to a state in which every recorded fact is whole."""
    finish_swaps(ctx)
    ctx.hot.remove_drafts()
    with ctx.control.read() as connection:
        batches = intake.open_batches(connection)
    for batch in batches:
        if batch.recorded:
            finish_retry(ctx, batch)
        else:
            _undo(ctx, batch)
    for segment, state in sorted(ctx.ledger.states().items()):
        if state.open_action == "roll" and not _has_key(ctx, segment):
            finish_roll(ctx, segment)


def finish_roll(ctx: Context, segment: Segment) -> None:
    """Give up the hot file of a segment whose archive is verified and whose key is gone."""
    ctx.control.forget_deleted()
    ctx.hot.drop(segment)
    with ctx.control.write() as connection:
        ctx.ledger.append(connection, Kind.SEGMENT_ROLLED, stream=segment.stream, day=segment.day.isoformat())


def finish_retry(ctx: Context, batch: OpenBatch) -> None:
    """Take the lines that have become rows out of quarantine, and settle their batch; a file that is left empty goes, with its key."""
    emptied = _take_out(ctx, *batch.replaces) if batch.replaces else None
    with ctx.control.write() as connection:
        if emptied:
            ctx.keys.destroy(connection, emptied)
        intake.settle(connection, batch.batch)
    if emptied:
        ctx.control.forget_deleted()


def _take_out(ctx: Context, segment: Segment, lines: Sequence[tuple[str, int]]) -> Segment | None:
    """Write the quarantine file anew without the lines; the segment, when none is left and the file was dropped instead."""
    if not ctx.ledger.states()[segment].hot:
        ctx.hot.drop(segment)
        return segment
    if ctx.hot.exists(segment) and _has_key(ctx, segment):
        ctx.hot.rewrite_without(segment, ctx.key(segment), lines)
    return None


def _undo(ctx: Context, batch: OpenBatch) -> None:
    states = ctx.ledger.states()
    for segment in batch.segments:
        if segment not in states or not states[segment].hot:
            ctx.hot.drop(segment)
        elif _has_key(ctx, segment):
            ctx.hot.remove_batch(segment, ctx.key(segment), batch.batch)
    with ctx.control.write() as connection:
        for segment in batch.segments:
            if segment not in states or not states[segment].hot:
                ctx.keys.destroy(connection, segment)
        ctx.ledger.append(connection, Kind.BATCH_UNDONE, stream=batch.stream, batch=batch.batch)
        intake.settle(connection, batch.batch)


def _has_key(ctx: Context, segment: Segment) -> bool:
    with ctx.control.read() as connection:
        return ctx.keys.get(connection, segment) is not None
