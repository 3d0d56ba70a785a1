"""What the simulations share: log lines with an id each, a data directory under a clock of the test's own, and its state by content."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from auditlake.analyst import build_view
from auditlake.lake import Lake
from core.clock import UTC
from core.events import Kind
from jobs.context import Context
from jobs.verify import check
from query.run import run
from storage import control as db

__all__ = ["AGENTS", "HandClock", "ask", "log_line", "quick_extensions", "snapshot"]

AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:38.0) Gecko/20100101 Firefox/38.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 8_3 like Mac OS X) AppleWebKit/600.1.4 (KHTML, like Gecko) Version/8.0 Mobile/12F70 Safari/600.1.4",
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
)


def log_line(number: int, when: dt.datetime) -> str:
    """A line in the combined format whose path is ``/e/<number>``."""
    time = when.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    agent = AGENTS[number % len(AGENTS)]
    return f'203.0.113.{number % 250} - user{number % 7} [{time}] "GET /e/{number}?page={number} HTTP/1.1" 200 {number} "-" "{agent}"\n'


@dataclass
class HandClock:
    """A clock that the test sets."""

    instant: dt.datetime

    def now(self) -> dt.datetime:
        return self.instant


def ask(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement over the view, as ``auditlake query`` gets them."""
    with run(build_view(lake), sql) as result:
        return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]


def quick_extensions() -> None:
    """Let DuckDB load its extensions without checking their signatures: half a second for each connection, of no matter here."""
    connect = duckdb.connect

    def unsigned(*arguments: Any, **named: Any) -> duckdb.DuckDBPyConnection:
        return connect(*arguments, **{**named, "config": {**named.get("config", {}), "allow_unsigned_extensions": True}})

    if connect.__module__ != __name__:
        duckdb.connect = unsigned


def snapshot(lake: Lake) -> dict[str, Any]:
    """The state of a data directory by content: what must be equal, whatever happened on the way, in any order."""
    ctx = lake.context
    report = check(ctx, full=True)
    rows = ask(lake, "SELECT * FROM requests")
    rejected = [*_quarantined(ctx)]
    return {
        "verify": [report.ok, report.chain.fault, report.faults, report.residue, [a for a in report.accounts if not a.ok]],
        "rows": sorted(map(repr, rows)),
        "content": sorted(repr(row[:-2]) for row in rows),
        "distinct": len({row[-2:] for row in rows}) == len(rows),
        "quarantine": sorted(map(repr, rejected)),
        "rejected": sorted(repr((row["source_offset"], row["reason"], row["raw"])) for row in rejected),
        "states": {str(segment): repr(state) for segment, state in ctx.ledger.states().items()},
        "batches": _batches(ctx),
        "sources": _table(ctx, db.spans, "source", "stream", "start", "end", "digest", "lines", "batch", "last_day"),
        "keys": _table(ctx, db.keys, "stream", "day"),
        "open": _table(ctx, db.open_batches, "batch"),
        "files": _files(ctx),
    }


def _quarantined(ctx: Context) -> Iterator[dict[str, Any]]:
    for segment, state in ctx.ledger.states().items():
        if segment.is_quarantine and state.hot:
            with ctx.hot.read(segment, ctx.key(segment)) as batches:
                for batch in batches:
                    yield from ({"segment": str(segment), **row} for row in batch.to_pylist())


def _batches(ctx: Context) -> list[str]:
    """Every batch that the ledger counts, and that its account balances."""
    found = []
    for event in ctx.ledger.events(Kind.BATCH_INGESTED, Kind.LINES_QUARANTINED, Kind.LINES_RETRIED):
        body = dict(event.body)
        if event.kind == Kind.BATCH_INGESTED:
            body["balanced"] = body["read"] == body["stored"] + body["quarantined"] + body["refused"]
            body["days"] = sorted(body["days"].items())
        found.append(json.dumps([event.kind, body], sort_keys=True))
    return sorted(found)


def _table(ctx: Context, table: sa.Table, *columns: str) -> list[str]:
    with ctx.control.read() as connection:
        return sorted(repr(tuple(row)) for row in connection.execute(sa.select(*(table.c[name] for name in columns))))


def _files(ctx: Context) -> dict[str, int]:
    """An independent look into every folder: what lies there, and how often; names that a chance gave are left out."""
    found: dict[str, int] = {}
    for path in sorted(Path(ctx.data_dir).rglob("*")):
        name = str(path.relative_to(ctx.data_dir))
        if path.is_file() and not name.startswith("control.sqlite"):
            kind = f"{path.parent.relative_to(ctx.data_dir)}/*{path.suffix}" if name.startswith("archive") else name
            found[kind] = found.get(kind, 0) + 1
    return found
