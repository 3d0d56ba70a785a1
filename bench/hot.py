"""The last 24 hours of 30 hot days, grouped, beside plain DuckDB with the same rows in one table of one file.

Both hold the same rows, the table filled from the view and so in the same order. A view is opened for each statement, as the
command does, and is asked several times; the least time counts, and the rounds take turns, so that what else the machine does falls
on both. With ``--whole`` the time from process to process of the command is told too: it is mostly the start of a process.

    python -m bench.hot --rows 200000
"""

import argparse
import datetime as dt
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from auditlake.analyst import build_view
from auditlake.lake import create, open_lake
from auditlake.settings import Settings
from bench.year_lake import STREAM, ingested
from bench.year_rows import prepare
from core.clock import UTC
from core.segment import Segment
from jobs.context import Context
from query import lake as view
from query.gate import examine

__all__ = ["main"]

FIRST_DAY, DAYS, HOURS_INTO_THE_LAST = dt.date(2025, 11, 1), 30, 18
ROUNDS = 9
_RECENT = "FROM requests WHERE event_time >= {now} - INTERVAL 24 HOURS GROUP BY ALL"
QUERIES = {
    "24 h by country": f"SELECT source_geo_country_iso_code, count(*) {_RECENT}",
    "24 h by status and hour": f"SELECT http_response_status_code, date_trunc('hour', event_time) AS hour, count(*) {_RECENT}",
    "24 h by agent, bytes": f"SELECT user_agent_name, count(*), sum(http_response_body_bytes) {_RECENT}",
    "24 h by address, top 10": f"SELECT source_ip, count(*) AS n {_RECENT} ORDER BY n DESC LIMIT 10",
    "30 days by country": "SELECT source_geo_country_iso_code, count(*) FROM requests GROUP BY ALL",
}


def build(folder: Path, rows: int, seed: int) -> None:
    """Make a data directory of 30 hot days, the last not over yet."""
    year = prepare(rows * DAYS, seed)
    create(folder, Settings(), dt.datetime.combine(FIRST_DAY + dt.timedelta(DAYS - 1), dt.time(HOURS_INTO_THE_LAST), UTC))
    with open_lake(folder, Settings()) as lake:
        for number in range(DAYS):
            segment = Segment(STREAM, FIRST_DAY + dt.timedelta(number))
            table = year.day(segment.day, rows, f"b{number}").sort_by("event_time")
            if number == DAYS - 1:
                table = table.slice(0, rows * HOURS_INTO_THE_LAST // 24)
            _append(lake.context, segment, table, f"b{number}")


def _append(ctx: Context, segment: Segment, table: Any, batch: str) -> None:
    with ctx.control.write() as connection:
        key = ctx.keys.create(connection, segment)
    ctx.hot.append(segment, key, table, batch)
    with ctx.control.write() as connection:
        ingested(ctx, connection, segment, table.num_rows, batch)


def copy(seen: view.LakeView, database: Path) -> None:
    """Put every row of the view into one table of one file."""
    with view.open_lake(seen) as connection, duckdb.connect(str(database)) as plain:
        rows = connection.execute("SELECT * FROM requests").to_arrow_reader(122_880)
        plain.register("given", rows)
        plain.execute("CREATE TABLE requests AS FROM given")


def measure(seen: view.LakeView, database: Path) -> list[str]:
    """A line for each query."""
    config: dict[str, Any] = {"memory_limit": seen.memory_limit, **({"threads": seen.threads} if seen.threads else {})}
    lines = [f"{'':<26}{'view':>10}{'plain':>10}{'ratio':>8}{'opening':>11}"]
    with duckdb.connect(str(database), read_only=True, config=config) as plain:
        plain.execute("SET TimeZone = 'UTC'")
        for name, sql in QUERIES.items():
            statement = examine(sql.format(now="now()"))
            there = sql.format(now=f"TIMESTAMPTZ '{seen.now.isoformat()}'")
            began = time.perf_counter()
            with view.open_lake(seen, statement.columns, statement.days) as connection:
                opened = time.perf_counter() - began
                ours, theirs = _turns(lambda: connection.execute(statement.text), lambda: plain.execute(there))  # noqa: B023 - called at once
            lines.append(f"{name:<26}{ours * 1e3:>7.1f} ms{theirs * 1e3:>7.1f} ms{ours / theirs:>8.2f}{opened * 1e3:>8.0f} ms")
    return lines


def _turns(*works: Callable[[], Any]) -> list[float]:
    """The least seconds of each."""
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for number, work in enumerate(works):
            begin = time.perf_counter()
            work().to_arrow_table()
            best[number] = min(best[number], time.perf_counter() - begin)
    return best


def _whole(folder: Path) -> None:
    command = [str(Path(sys.executable).parent / "auditlake"), "--data-dir", str(folder), "query"]
    for name, sql in QUERIES.items():
        found = []
        for _ in range(3):
            begin = time.perf_counter()
            subprocess.run([*command, sql.format(now="now()")], check=True, stdout=subprocess.DEVNULL)
            found.append(time.perf_counter() - begin)
        print(f"the whole command, {name:<26}{min(found):6.2f} s", flush=True)


def _run(folder: Path, rows: int, seed: int, whole: bool) -> None:
    database = folder.with_name(f"{folder.name}-plain.duckdb")
    if not (folder / "control.sqlite").exists():
        build(folder, rows, seed)
    with open_lake(folder, Settings()) as lake:
        seen = build_view(lake)
    if not database.exists():
        copy(seen, database)
    print(f"{DAYS} hot days of {rows:,} rows", flush=True)
    for line in measure(seen, database):
        print(line, flush=True)
    if whole:
        _whole(folder)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.hot", description="Measure queries of hot days.")
    parser.add_argument("--rows", type=int, default=500_000, help="rows of a day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="time the command too")
    parser.add_argument("--folder", type=Path, help="data directory to use, made when absent, and kept (a temporary one, removed)")
    options = parser.parse_args(arguments)
    if options.folder:
        _run(options.folder, options.rows, options.seed, options.whole)
        return
    with tempfile.TemporaryDirectory(prefix="auditlake-hot-") as folder:
        _run(Path(folder) / "data", options.rows, options.seed, options.whole)


if __name__ == "__main__":
    main()
