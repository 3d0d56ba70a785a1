"""A data directory with an archived year, made the short way: rows in memory, the archive's own writer, the ledger's own events.

It differs from one that lived through its year in this: nothing was ever hot, days are committed a month at a time, and the
digests in the ledger are empty unless asked for, which ``verify --full`` alone would notice.
"""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlalchemy as sa

from auditlake.lake import create, open_lake
from auditlake.settings import Settings
from bench.year_rows import Year, prepare
from core.clock import UTC
from core.events import Kind
from core.schema import COLUMNS
from core.segment import Segment
from jobs.context import Context
from storage import pointers
from storage.archive import ArchivedFile
from storage.digest import EMPTY, METHOD, Digest, digest_of

__all__ = ["DAYS", "FIRST_DAY", "STREAM", "Shape", "build", "ingested", "opened"]

STREAM = "requests"
FIRST_DAY = dt.date(2025, 1, 1)
DAYS = 365
DAYS_A_COMMIT = 30
HOT_ROWS = 10_000
"""Late rows of each day that is hot as well as archived."""
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Shape:
    """What to make: ``rows`` over the year, drawn by ``seed``; late rows on the last ``hot_days``; digests or none."""

    rows: int
    seed: int = 1
    hot_days: int = 30
    digests: bool = False

    @property
    def a_day(self) -> int:
        """Rows of a day."""
        return max(1, self.rows // DAYS)


@contextmanager
def opened(folder: Path, settings: Settings | None = None) -> Iterator[Context]:
    """The stores of the data directory."""
    with open_lake(folder, settings or Settings()) as lake:
        yield lake.context


def build(folder: Path, shape: Shape, workers: int = 2, settings: Settings | None = None) -> None:
    """Make the data directory; its clock stands where the first day is due to be purged.

    :param settings: where the archive is, for one that is not within.
    """
    year = prepare(shape.rows, shape.seed)
    create(folder, settings or Settings(), dt.datetime.combine(FIRST_DAY + dt.timedelta(DAYS), dt.time(1), UTC))
    segments = [Segment(STREAM, FIRST_DAY + dt.timedelta(number)) for number in range(DAYS)]
    with opened(folder, settings) as ctx, ThreadPoolExecutor(workers) as pool:
        _write(ctx, year, segments[0], shape)  # the first makes the table: two at once would both
        for start in range(0, DAYS, DAYS_A_COMMIT):
            some = segments[start : start + DAYS_A_COMMIT]
            digests = dict(zip(some, pool.map(lambda segment: _write(ctx, year, segment, shape), some), strict=True))
            _commit(ctx, digests, shape)
            print(f"  {some[-1].day} archived", flush=True)
        ctx.archive.expire(STREAM)
        pointers.move(ctx.control, STREAM, ctx.archive.metadata(STREAM))
        ctx.archive.sweep(STREAM)
        for segment in segments[DAYS - shape.hot_days :]:
            _late(ctx, year, segment)


def _name(segment: Segment) -> str:
    return f"r{segment.day.toordinal()}"


def _write(ctx: Context, year: Year, segment: Segment, shape: Shape) -> tuple[list[str], Digest]:
    rows = year.day(segment.day, shape.a_day, f"b{segment.day}")
    paths = ctx.archive.write(segment, _name(segment), rows.to_batches(max_chunksize=_BATCH_ROWS), rows.num_rows)
    if not shape.digests:
        return paths, Digest(rows.num_rows, EMPTY.sum)
    with duckdb.connect(config={"threads": 1, "TimeZone": "UTC"}) as connection:
        connection.register("day", rows)
        return paths, digest_of(connection, "day", COLUMNS)


def _commit(ctx: Context, written: dict[Segment, tuple[list[str], Digest]], shape: Shape) -> None:
    last = max(written)
    ctx.archive.commit(last, _name(last), [path for paths, _ in written.values() for path in paths])
    files: dict[Segment, list[ArchivedFile]] = {}
    for file in ctx.archive.files(STREAM):
        files.setdefault(file.segment, []).append(file)
    with ctx.control.write() as connection:
        for segment, (_, digest) in written.items():
            ingested(ctx, connection, segment, shape.a_day, f"b{segment.day}")
            _rolled(ctx, connection, segment, digest, files[segment])
        pointers.put(connection, STREAM, ctx.archive.metadata(STREAM))


def ingested(ctx: Context, connection: sa.Connection, segment: Segment, rows: int, batch: str) -> None:
    """Tell the ledger that a batch brought so many rows of a day."""
    ctx.ledger.append(
        connection,
        Kind.BATCH_INGESTED,
        stream=STREAM,
        batch=batch,
        read=rows,
        stored=rows,
        quarantined=0,
        refused=0,
        days={segment.day.isoformat(): rows},
        source="bench",
        format="combined",
    )


def _rolled(ctx: Context, connection: sa.Connection, segment: Segment, digest: Digest, files: list[ArchivedFile]) -> None:
    named = {"stream": STREAM, "day": segment.day.isoformat()}
    figures = {"rows": digest.rows, "digest": digest.sum, "method": METHOD, "files": len(files), "bytes": sum(file.bytes for file in files)}
    ctx.ledger.append(connection, Kind.ROLL_STARTED, **named)
    ctx.ledger.append(connection, Kind.ARCHIVE_VERIFIED, **named, **figures)
    ctx.ledger.append(connection, Kind.SEGMENT_ROLLED, **named)


def _late(ctx: Context, year: Year, segment: Segment) -> None:
    batch = f"l{segment.day}"
    rows = year.day(segment.day, HOT_ROWS, batch)
    with ctx.control.write() as connection:
        key = ctx.keys.create(connection, segment)
    ctx.hot.append(segment, key, rows, batch)
    with ctx.control.write() as connection:
        ingested(ctx, connection, segment, HOT_ROWS, batch)
