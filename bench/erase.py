"""One data subject erased out of an archived year: how long it takes, and how much is written anew for it.

The year is made by bench/year_lake.py, which takes some minutes; the subject is an account that was there on 5 to 50 days. Printed:

- **find**: wall time of a preview, which reads the columns that can hold the subject, of every file.
- **erase**: wall time of the whole, the look through all that is left and the deletion of old objects among it; objects that were
  written anew; bytes that were moved for them, read and written, and their ratio to those of rewriting everything, and of the
  partitions that hold the subject. It should be under 60 s, and at most twice the bytes of those partitions.
- **look**: wall time of the look through all that is left, once more, and the bytes that it saw, decompressed.

    python -m bench.erase --rows 2000000
    python -m bench.erase --rows 2000000 --s3     # on a versioned bucket of a server of its own
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from auditlake.analyst import begin
from auditlake.lake import Lake, exclusive, open_lake
from auditlake.settings import ArchiveSettings, Settings
from bench.year_lake import STREAM, Shape, build
from core.policy import Period
from core.subject import Subject, selector
from jobs.erase import RIGHT, erase
from jobs.subjects import find, look
from query.gate import examine

__all__ = ["main"]

MIB = 2**20
SUBJECT = """SELECT account_id FROM requests WHERE account_id IS NOT NULL GROUP BY ALL
HAVING count(DISTINCT event_day) BETWEEN 5 AND 50 ORDER BY count(*) DESC, account_id LIMIT 1"""


@contextmanager
def place(s3: bool, folder: Path) -> Iterator[Settings]:
    """The settings of a directory whose archive is within, or in a bucket of a server that runs as long as the block."""
    if not s3:
        yield Settings()
        return
    from tests.s3server import running

    with running(folder / "server") as server:
        bucket = server.new_bucket()
        os.environ.update(bucket.environment)
        yield Settings(
            archive=ArchiveSettings(url=f"s3://{bucket.name}/lake", endpoint=bucket.endpoint, region=bucket.region, path_style=True)
        )


def chosen(lake: Lake) -> Subject:
    """The subject."""
    with begin(lake, examine(SUBJECT)) as result:
        ((account,),) = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
    return Subject.of([selector("account_id", account)])


def measure(folder: Path, settings: Settings) -> None:
    """Every figure of a directory."""
    with exclusive(folder), open_lake(folder, settings) as lake:
        ctx = lake.context
        archived = ctx.archive.files(STREAM)
        size = sum(file.bytes for file in archived)
        print(f"{sum(file.rows for file in archived):,} rows, {size / MIB:,.1f} MiB in {len(archived)} objects", flush=True)
        subject = chosen(lake)
        started = time.perf_counter()
        found = find(ctx, subject)
        took = time.perf_counter() - started
        days = set(found.archived)
        held = sum(file.bytes for file in archived if file.segment in days)
        print(f"find   {took:7.2f} s   {found.rows} on {len(days)} archived days", flush=True)
        request = ctx.requests.receive(RIGHT, subject, Period(days=30))
        started = time.perf_counter()
        done = erase(ctx, request, subject)
        took = time.perf_counter() - started
        before = {file.path: file.bytes for file in archived}
        after = {file.path: file.bytes for file in ctx.archive.files(STREAM)}
        read = sum(before[path] for path in before.keys() - after.keys())
        written = sum(after[path] for path in after.keys() - before.keys())
        moved = read + written
        print(f"erase  {took:7.2f} s   {done.state}, found again {done.rescan.found}, certificate {done.certificate}", flush=True)
        print(f"       {len(after.keys() - before.keys())} of {len(before)} objects written anew, {moved / MIB:,.1f} MiB moved")
        print(f"       {moved / (2 * size):.2%} of what rewriting everything moves, {moved / held:.2f} times the partitions of the subject")
        started = time.perf_counter()
        seen = look(ctx, subject, request.received, {})
        print(f"look   {time.perf_counter() - started:7.2f} s   {seen.bytes / MIB:,.0f} MiB decompressed", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.erase", description="Measure the erasure of one data subject.")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--s3", action="store_true", help="on a versioned bucket of an S3 server that is started for it")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-erase-")))
        settings = stack.enter_context(place(options.s3, folder))
        started = time.perf_counter()
        build(folder / "lake", Shape(options.rows, options.seed, hot_days=2), settings=settings)
        print(f"made a year in {time.perf_counter() - started:,.0f} s", flush=True)
        measure(folder / "lake", settings)


if __name__ == "__main__":
    main()
