"""Retry: read rejected lines again, after a format or a setting was mended. What can be read becomes rows.

The rows are recorded first, with a ledger event that takes the lines out of the account of the quarantine; the quarantine
file is then written anew without them. A crash in between is finished by the next start (``jobs.recovery``).
"""

import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.policy import conflicts
from core.segment import QUARANTINE_SUFFIX, Segment
from ingest.batches import CONTINUES, Limits, chunks
from ingest.formats import Format, get
from ingest.sources import Reader
from jobs.barred import without_barred
from jobs.batch import Batch, Road, enrich, read, sort, store
from jobs.context import Context
from jobs.ingest import IngestOptions, Tally
from jobs.recovery import finish_retry, recover
from storage import intake
from transforms.pipeline import build

__all__ = ["retry"]

_AT_ONCE = 1000
_LIMITS = Limits(batch_bytes=1 << 30, batch_lines=1 << 20, line_bytes=1 << 20)
"""Wide enough for any group to be one chunk: no kept line is longer than ``ingest.batches.RAW_BYTES``."""


def retry(ctx: Context, options: IngestOptions) -> Tally:
    """Read every rejected line of which all bytes were kept again, as its own format or as ``options.format``.

    The rest of a line whose first part became a row stays: its request is stored already. So does a line that holds no event
    of its own in the format it is read as, and one whose own format is no longer known.

    :raises UsageError: the format is unknown.
    """
    began = time.perf_counter()
    recover(ctx)
    if options.format:
        get(options.format, options.formats)
    tally = Tally()
    pipeline = build(options.transforms)
    states = ctx.ledger.states().values()
    for segment in sorted(state.segment for state in states if state.segment.is_quarantine and state.hot):
        held = conflicts(ctx.holds, segment.stream, segment.day)
        if held:
            tally.warnings.append(f"rejected lines of {segment.day} stay: {held[0]}")
            continue
        for name, lines in _groups(ctx, segment):
            form = _format(name, options, tally)
            if form is None:
                _leave(lines, tally)
            else:
                road = Road(segment.stream.removesuffix(QUARANTINE_SUFFIX), form, pipeline, "quarantine")
                _retry_group(ctx, segment, road, lines, tally)
    tally.warnings += dict.fromkeys(pipeline.warnings)
    tally.seconds = time.perf_counter() - began
    return tally


def _format(name: str, options: IngestOptions, tally: Tally) -> Format | None:
    """The format to read lines as that were read as the named one; none when there is no such format any more."""
    try:
        return get(options.format or name, options.formats)
    except UsageError as error:
        tally.warnings.append(f"lines read as {name} stay: {error}")
        return None


def _leave(lines: pa.Table, tally: Tally) -> None:
    tally.read += lines.num_rows
    tally.quarantined += lines.num_rows


def _groups(ctx: Context, segment: Segment) -> list[tuple[str, pa.Table]]:
    """Rejected lines of one format each, few enough to be held; read before any is written."""
    with ctx.hot.read(segment, ctx.key(segment), "format, ingest_batch, ingest_row") as batches:
        table = batches.read_all()
    whole = table.filter(pc.equal(pc.binary_length(table["raw"]), table["raw_bytes"]))
    whole = whole.filter(pc.not_equal(whole["reason"], CONTINUES))
    return [group for name in pc.unique(whole["format"]).to_pylist() for group in _slices(name, whole)]


def _slices(name: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    lines = table.filter(pc.equal(table["format"], name))
    for start in range(0, lines.num_rows, _AT_ONCE):
        yield name, lines.slice(start, _AT_ONCE)


def _retry_group(ctx: Context, segment: Segment, road: Road, lines: pa.Table, tally: Tally) -> None:
    """Lines of a group as a file of their own; the empty line before them keeps the first from being taken for gzip."""
    ids = [*zip(lines["ingest_batch"].to_pylist(), lines["ingest_row"].to_pylist(), strict=True)]
    text = b"\n" + b"\n".join(lines["raw"].to_pylist()) + b"\n"
    (chunk,) = chunks(Reader("quarantine", io.BytesIO(text)), _LIMITS)
    name = hashlib.sha256(repr((str(segment), ids)).encode()).hexdigest()[:16]
    told = sort(ctx, road, chunk, name, read(road, chunk))
    batch = without_barred(ctx, enrich(road.pipeline, told.batch, told.rows))
    still = {*batch.rejected["ingest_row"].to_pylist(), *told.eventless.tolist()}
    good = tuple(line for number, line in enumerate(ids, start=1) if number not in still)
    tally.read += len(ids)
    tally.quarantined += len(ids) - len(good)
    tally.stored += batch.stored
    tally.refused += batch.refused
    if good:
        tally.batches += 1
        mended = replace(batch, lines=len(good), rejected=batch.rejected.slice(0, 0), eventless=0)
        _store(ctx, segment, mended, road.form.name, good)


def _store(ctx: Context, segment: Segment, batch: Batch, form: str, good: tuple[tuple[str, int], ...]) -> None:
    named = {"stream": batch.stream, "day": segment.day.isoformat(), "batch": batch.id}

    def record(connection: sa.Connection) -> None:
        if ctx.is_held(connection, segment):
            raise AuditlakeError(f"rejected lines of {segment.day} were put on hold meanwhile", "nothing of them was changed")
        ctx.ledger.append(connection, Kind.LINES_RETRIED, **named, rows=len(good))
        if batch.rows:
            intake.keep_until(connection, batch.stream, {name for name, _ in good}, max(batch.rows))

    finish_retry(ctx, store(ctx, batch, {"source": "quarantine", "format": form}, record, (segment, good)))
