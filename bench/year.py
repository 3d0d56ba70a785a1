"""An archived year in hand: the start of a query, one address among 100 million rows, a count over all, the purge of a day.

The year is made by bench/year_lake.py, which takes some minutes; ``--folder`` keeps it, and a second run finds it there. Each figure
stands beside what it must reach:

- **start**: wall time of ``auditlake query``, from process to process, best and middle of several; of ``select 1``, which does not
  read the view, and of one row out of the view, which opens it.
- **needle**: bytes that the reading process was given by the kernel (``rchar`` of /proc/self/io) between asking and answer, the
  table's metadata among them, as a share of the archive's bytes. An address of a few days, one of every day, and an account.
- **count** by country and month, from ``event_time`` and from ``event_day``, against plain DuckDB (``read_parquet``) over the same
  files with the same memory and threads, both warm, each the best of several. By default DuckDB takes the day out of the files'
  paths, where it costs nothing; the second figure of a day is without that, from the column, as any engine of Iceberg reads it.
- **purge**: wall time of the job for one day, and of that the part that unlinks files; a directory whose days are not due yet has its
  clock moved on by a day.

    python -m bench.year --rows 2000000
"""

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from auditlake.analyst import build_view
from auditlake.lake import Lake, advance_clock, exclusive, open_lake
from auditlake.settings import Settings
from bench.year_lake import DAYS, STREAM, Shape, build
from core.policy import Period
from jobs.purge import purge
from query import lake as view
from query.gate import examine
from storage.objects import Failure, StoredObject

__all__ = ["main"]

STARTS = 7
ROUNDS = 3
QUERIES = {"select 1": "SELECT 1", "one row of the view": "SELECT 1 FROM requests LIMIT 1"}
COUNT = "SELECT source_geo_country_iso_code, date_trunc('month', {}) AS month, count(*) FROM {} GROUP BY ALL"
NEEDLES = (
    ("an address of a few days", "source_ip", "HAVING count(DISTINCT event_day) BETWEEN 2 AND 3"),
    ("an address of most days", "source_ip", ""),
    ("an account", "account_id", "HAVING count(DISTINCT event_day) BETWEEN 5 AND 50"),
)
MIB = 2**20


def starts(folder: Path, sql: str) -> list[float]:
    """Wall seconds of the whole command, several times, its modules compiled as those of an installed command are."""
    command = [str(Path(sys.executable).parent / "auditlake"), "--data-dir", str(folder), "query", sql]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(STARTS + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        found.append(time.perf_counter() - begin)
    return found[1:]


def best(work: Callable[[], Any]) -> float:
    """Least wall seconds of several rounds."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def bytes_read() -> int:
    """What the kernel has given this process by reading so far."""
    return int(Path("/proc/self/io").read_text().splitlines()[0].removeprefix("rchar: "))


def asked(lake: Lake, sql: str) -> tuple[list[tuple[Any, ...]], int]:
    """The answer, and the bytes that were read for it."""
    statement = examine(sql)
    with view.open_lake(replace(build_view(lake), hot=()), statement.columns, statement.days) as connection:
        before = bytes_read()
        table = connection.execute(sql).to_arrow_table()
        return [tuple(row.values()) for row in table.to_pylist()], bytes_read() - before


def needles(lake: Lake, size: int) -> list[dict[str, Any]]:
    """For each needle the rows there are of it, and the share of the archive that was read to count them and to have them whole."""
    rows = []
    for name, column, which in NEEDLES:
        some = f"SELECT {column} FROM requests WHERE {column} IS NOT NULL AND hash({column}) % 97 = 5 GROUP BY 1 {which}"
        value = asked(lake, f"{some} ORDER BY count(*) DESC, 1 LIMIT 1")[0][0][0]
        (found,), counted = asked(lake, f"SELECT count(*), count(DISTINCT event_day) FROM requests WHERE {column} = '{value}'")
        _, whole = asked(lake, f"SELECT * FROM requests WHERE {column} = '{value}'")
        rows.append({"needle": name, "rows": found[0], "days": found[1], "counted": counted / size, "whole": whole / size})
    return rows


def counts(lake: Lake, files: list[str]) -> list[dict[str, Any]]:
    """Seconds of the count over the view and over plain files, by the column that the month comes from."""
    seen = replace(build_view(lake), hot=())
    plain = duckdb.connect(config={"memory_limit": seen.memory_limit, **({"threads": seen.threads} if seen.threads else {})})
    plain.execute("SET TimeZone = 'UTC'")
    rows = []
    for column, options in (("event_time", ""), ("event_day", ""), ("event_day", ", hive_partitioning = false")):
        ours, theirs = COUNT.format(column, "requests"), COUNT.format(column, f"read_parquet({files!r}{options})")
        with view.open_lake(seen, examine(ours).columns) as connection:
            mine = best(lambda: connection.execute(ours).to_arrow_table())  # noqa: B023 - called at once
        other = best(lambda: plain.execute(theirs).to_arrow_table())  # noqa: B023 - called at once
        rows.append({"month of": column + options, "auditlake": mine, "plain": other, "ratio": mine / other})
    plain.close()
    return rows


class _Timed:
    """An object store that adds up how long its deletes take."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.seconds = inner, 0.0

    def entries(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._inner.entries(prefix)

    def delete(self, objects: Iterable[StoredObject]) -> list[Failure]:
        found = list(objects)
        begin = time.perf_counter()
        try:
            failures: list[Failure] = self._inner.delete(found)
            return failures
        finally:
            self.seconds += time.perf_counter() - begin

    def put(self, key: str, content: bytes, until: dt.datetime | None = None) -> bool:
        return bool(self._inner.put(key, content, until))

    def read(self, key: str) -> bytes | None:
        content: bytes | None = self._inner.read(key)
        return content


def purged(folder: Path) -> dict[str, Any]:
    """Seconds of the purge of one day: of the whole command, and within another purge the job and its deletes."""
    _let_a_day_end(folder)
    command = [str(Path(sys.executable).parent / "auditlake"), "--data-dir", str(folder), "--json", "run", "purge"]
    begin = time.perf_counter()
    outcome = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    whole = time.perf_counter() - begin
    _let_a_day_end(folder)
    with exclusive(folder), open_lake(folder, Settings()) as lake:
        store = _Timed(lake.context.archive.objects)
        lake.context.archive.objects = store
        begin = time.perf_counter()
        purge(lake.context)
        return {"command": whole, "job": outcome.get("seconds"), "again": time.perf_counter() - begin, "deletes": store.seconds}


def _let_a_day_end(folder: Path) -> None:
    with exclusive(folder), open_lake(folder, Settings()) as lake:
        if not lake.context.decisions("purge"):
            advance_clock(lake, Period(days=1))


def measure(folder: Path) -> None:
    """Every figure of a directory."""
    with open_lake(folder, Settings()) as lake:
        archived = lake.context.archive.files(STREAM)
        size = sum(file.bytes for file in archived)
        print(f"{sum(file.rows for file in archived):,} rows, {size / MIB:,.0f} MiB in {len(archived)} files", flush=True)
        for name, sql in QUERIES.items():
            found = starts(folder, sql)
            print(f"start, {name:<24} best {min(found):6.2f} s   middle {statistics.median(found):6.2f} s", flush=True)
        for row in needles(lake, size):
            figures = f"{row['rows']:>7,} rows of {row['days']:>3} days   {row['counted']:7.2%} to count, {row['whole']:7.2%} to have them"
            print(f"needle, {row['needle']:<24}{figures}", flush=True)
        files = [file.path.removeprefix("file://") for file in archived]
        for row in counts(lake, files):
            figures = f"{row['auditlake']:7.2f} s, plain {row['plain']:7.2f} s: {row['ratio']:5.2f} times"
            print(f"count by month of {row['month of']:<38}{figures}", flush=True)
    times = purged(folder)
    print(f"purge of a day: the command {times['command']:.2f} s; another day, the job alone {times['again']:.2f} s", flush=True)
    print(f"  of which deletes {times['deletes']:.3f} s")


def _run(folder: Path, shape: Shape) -> None:
    if not (folder / "control.sqlite").exists():
        begin = time.perf_counter()
        build(folder, shape)
        print(f"made {DAYS} days in {time.perf_counter() - begin:,.0f} s", flush=True)
    measure(folder)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.year", description="Measure an archived year.")
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hot-days", type=int, default=30, help="days with late rows in hot storage (30)")
    parser.add_argument("--digests", action="store_true", help="take digests, for verify --full; about five times the time")
    parser.add_argument("--folder", type=Path, help="data directory to use, made when absent, and kept (a temporary one, removed)")
    options = parser.parse_args(arguments)
    shape = Shape(options.rows, options.seed, options.hot_days, options.digests)
    if options.folder:
        _run(options.folder, shape)
        return
    with tempfile.TemporaryDirectory(prefix="auditlake-year-") as folder:
        _run(Path(folder) / "data", shape)


if __name__ == "__main__":
    main()
