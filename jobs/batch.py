"""One batch into storage: announced before its first row, recorded with its ledger events after its last.

A crash in between leaves an announced batch, which the next start takes back (``jobs.recovery``), so that its lines are
read again: no row is lost, none stored twice.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from core.clock import utc_day
from core.events import Kind
from core.policy import purge_due
from core.schema import QUARANTINE_COLUMNS
from core.segment import QUARANTINE_SUFFIX, Segment
from core.star import Coded, Star
from ingest.batches import Chunk
from ingest.formats import Format, Parsed, State, parse
from ingest.formats.following import formats_used
from ingest.lines import Numbers
from jobs.context import Context
from storage import intake
from storage.intake import OpenBatch
from transforms.pipeline import Pipeline

__all__ = ["FUTURE", "Batch", "Road", "Rows", "Sorted", "enrich", "read", "sort", "store"]

FUTURE = "more than a day in the future"
_A_DAY = dt.timedelta(days=1)
_MOST_SLICES = 1000


@dataclass(frozen=True)
class Batch:
    """What becomes of the lines of a chunk.

    :param lines: lines read that hold an event; ``lines == stored + quarantined + refused``.
    :param rows: the rows of each day, complete but for nothing.
    :param rejected: the lines for quarantine.
    :param refused: lines whose day is beyond the stream's limit.
    :param newest: the latest day that any of the lines names; of a line that names none, today.
    :param eventless: lines read that hold no event of their own: headers, comments, first parts of a record.
    :param formats: names of the formats that the lines were of, with commas between them.
    :param barred: lines among the refused that were refused for whom they are of, by reason (:mod:`jobs.barred`).
    """

    id: str
    stream: str
    lines: int
    rows: Mapping[dt.date, Star]
    rejected: pa.Table
    refused: int
    newest: dt.date
    eventless: int = 0
    formats: str = ""
    barred: Mapping[str, int] = field(default_factory=dict)

    @property
    def too_old(self) -> int:
        """Lines that were refused for their age."""
        return self.refused - sum(self.barred.values())

    @property
    def days(self) -> dict[dt.date, int]:
        """Rows of each day."""
        return {day: rows.num_rows for day, rows in self.rows.items()}

    @property
    def stored(self) -> int:
        """Rows of all days."""
        return sum(self.days.values())


@dataclass(frozen=True)
class Road:
    """What a line goes through: its stream, format and transforms."""

    stream: str
    form: Format
    pipeline: Pipeline
    source_name: str


class Rows(NamedTuple):
    """Lines to be stored.

    :param parsed: their rows, as the format made them.
    :param days: the day of each, date32.
    :param numbers: the number of each one's line in the chunk, int64.
    """

    parsed: pa.RecordBatch
    days: pa.Array
    numbers: Numbers


class Sorted(NamedTuple):
    """The lines of a chunk by what becomes of them; nothing of it needs the bytes of the chunk.

    :param batch: the batch, its rows missing.
    :param eventless: numbers of the lines, in the chunk, that hold no event of their own, int64.
    :param begun: whether the last line lacks its newline and holds no event: it may be still being written, and is not counted.
    """

    batch: Batch
    rows: Rows
    eventless: Numbers
    begun: bool


def read(road: Road, chunk: Chunk, state: State = None) -> Parsed:
    """Parse the lines of a chunk.

    :param state: what the format's parse of the chunk before left.
    """
    return parse(road.form, chunk.good, state)


def sort(ctx: Context, road: Road, chunk: Chunk, batch: str, parsed: Parsed) -> Sorted:
    """Tell what becomes of each line of a chunk. Pure but for reading the clock."""
    begun = _ends_begun(chunk, parsed)
    eventless = len(parsed.eventless) - begun
    days = pc.cast(parsed.rows["event_time"], pa.date32())
    refused = _among(days, _days_beyond_limit(ctx, road.stream, days))
    latest = pa.scalar(ctx.clock.now() + _A_DAY, parsed.rows["event_time"].type)
    future = pc.and_not(pc.greater(parsed.rows["event_time"], latest), refused)
    kept = pc.invert(pc.or_(refused, future))
    numbers = chunk.numbers[parsed.numbers][_mask(kept)]
    early = parsed.numbers[_mask(future)]
    aside = [chunk.set_aside, chunk.rejected(parsed.rejected, parsed.reasons), chunk.rejected(early, [FUTURE] * len(early))]
    rejected = _quarantine_rows(ctx, road, batch, pa.Table.from_batches(aside))
    newest = pc.max(days).as_py() or utc_day(ctx.clock.now())
    if len(chunk.set_aside) or len(parsed.rejected):
        newest = max(newest, utc_day(ctx.clock.now()))
    lines, formats = chunk.lines - len(parsed.eventless), formats_used(road.form, parsed.state)
    told = Batch(batch, road.stream, lines, {}, rejected, pc.sum(refused).as_py() or 0, newest, eventless, formats)
    rows = Rows(_only(parsed.rows, kept), _only(days, kept), numbers)
    return Sorted(told, rows, chunk.numbers[parsed.eventless], begun)


def enrich(pipeline: Pipeline, batch: Batch, rows: Rows) -> Batch:
    """The batch with its rows, enriched."""
    whole = _complete(pipeline.star(rows.parsed), rows.days, rows.numbers, batch.id)
    return replace(batch, rows=_by_day(whole))


def _ends_begun(chunk: Chunk, parsed: Parsed) -> bool:
    last = len(chunk.good) - 1
    is_last = chunk.unterminated and last >= 0 and chunk.numbers[last] == chunk.lines - 1
    return bool(is_last and len(parsed.eventless) and parsed.eventless[-1] == last)


def store(
    ctx: Context,
    batch: Batch,
    facts: Mapping[str, Any],
    also: Callable[[sa.Connection], None],
    replaces: tuple[Segment, tuple[tuple[str, int], ...]] | None = None,
) -> OpenBatch:
    """Write a batch durably.

    :param facts: what else its ledger event says: ids, counts and versions.
    :param also: what must be recorded in the same transaction as the batch.
    :param replaces: rejected lines that it makes good; then the batch is left recorded and not settled.
    """
    quarantine = Segment(batch.stream + QUARANTINE_SUFFIX, utc_day(ctx.clock.now()))
    tables: dict[Segment, Star | pa.Table] = {Segment(batch.stream, day): rows for day, rows in batch.rows.items()}
    if batch.rejected.num_rows:
        tables[quarantine] = batch.rejected
    opened = OpenBatch(batch.id, batch.stream, tuple(tables), replaces, recorded=True)
    with ctx.control.write() as connection:
        keys = {segment: ctx.keys.create(connection, segment) for segment in tables}
        intake.announce(connection, opened)
    for segment, table in tables.items():
        ctx.hot.append(segment, keys[segment], table, batch.id)
    with ctx.control.write() as connection:
        also(connection)
        _record(ctx, connection, batch, facts, quarantine)
        if replaces:
            intake.mark_recorded(connection, batch.id)
        else:
            intake.settle(connection, batch.id)
    return opened


def _record(ctx: Context, connection: sa.Connection, batch: Batch, facts: Mapping[str, Any], quarantine: Segment) -> None:
    ctx.ledger.append(
        connection,
        Kind.BATCH_INGESTED,
        stream=batch.stream,
        batch=batch.id,
        read=batch.lines,
        stored=batch.stored,
        quarantined=batch.rejected.num_rows,
        refused=batch.refused,
        **({"eventless": batch.eventless} if batch.eventless else {}),
        **({"barred": dict(batch.barred)} if batch.barred else {}),
        days={day.isoformat(): rows for day, rows in sorted(batch.days.items())},
        **facts,
    )
    if batch.rejected.num_rows:
        reasons = Counter(batch.rejected["reason"].to_pylist())
        named = {"stream": batch.stream, "day": quarantine.day.isoformat(), "batch": batch.id}
        ctx.ledger.append(connection, Kind.LINES_QUARANTINED, **named, rows=batch.rejected.num_rows, reasons=dict(reasons))


def _days_beyond_limit(ctx: Context, stream: str, days: pa.Array) -> list[dt.date]:
    now, policy = ctx.clock.now(), ctx.policies[stream]
    return [day for day in pc.unique(days).to_pylist() if purge_due(Segment(stream, day), policy) <= now]


def _among(days: pa.Array, wanted: list[dt.date]) -> pa.Array:
    return pc.is_in(days, pa.array(wanted, pa.date32()))


def _mask(flags: pa.Array) -> np.ndarray:
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _complete(rows: Star, days: pa.Array, numbers: np.ndarray, batch: str) -> Star:
    facts = {name: rows.facts[name] for name in rows.facts.schema.names} | {"event_day": days, "ingest_row": pa.array(numbers, pa.int64())}
    named = Coded(np.zeros(len(days), np.int32), pa.RecordBatch.from_arrays([pa.array([batch])], names=["ingest_batch"]))
    return Star(pa.table(facts), {**rows.dimensions, "batch": named})


def _only(values: Any, wanted: pa.Array) -> Any:
    """The wanted values; no copy when that is all of them, as it mostly is."""
    return values if pc.all(wanted, min_count=0).as_py() else values.filter(wanted)


def _by_day(rows: Star) -> dict[dt.date, Star]:
    """The rows of each day; a log is nearly in order of time, so a day is a few slices, which cost no copy."""
    days = rows.facts["event_day"].combine_chunks()
    codes = days.cast(pa.int32()).to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    if len(bounds) > _MOST_SLICES:
        return {day: rows.filter(pc.equal(days, pa.scalar(day, pa.date32()))) for day in pc.unique(days).to_pylist()}
    slices: dict[dt.date, list[tuple[int, int]]] = {}
    for start, end in pairwise(bounds):
        if end > start:
            slices.setdefault(days[start].as_py(), []).append((start, end))
    return {day: rows.parts(parts) for day, parts in slices.items()}


def _quarantine_rows(ctx: Context, road: Road, batch: str, lines: pa.Table) -> pa.Table:
    fixed = {"ingest_batch": batch, "source_name": road.source_name, "format": road.form.name, "arrived": ctx.clock.now()}
    types = {column.name: column.type for column in QUARANTINE_COLUMNS}
    columns = {name: pa.repeat(pa.scalar(value, types[name]), lines.num_rows) for name, value in fixed.items()}
    return pa.table({**{name: lines[name] for name in lines.schema.names}, **columns})
