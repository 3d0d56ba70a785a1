"""Rows to store, and a process to be killed: what several tests of the storage need."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.clock import UTC
from core.schema import COLUMNS, stored_schema
from core.segment import Segment

__all__ = ["DAY", "HOLDER", "KEY", "SEGMENT", "VALUES", "attach_plainly", "child", "day_rows", "varied_rows"]

DAY = dt.date(2026, 1, 30)
SEGMENT = Segment("requests", DAY)
KEY = "0123456789abcdef" * 4
ROOT = Path(__file__).resolve().parents[3]

VALUES: dict[pa.DataType, list[Any]] = {
    pa.string(): ["plain", "", None, "zwölf \N{SNOWMAN}", "a\0b", "quote'\" -- ;"],
    pa.int32(): [1, 0, None, -1, 2**31 - 1, -(2**31)],
    pa.int64(): [1, 0, None, -1, 2**63 - 1, -(2**63)],
    pa.float64(): [1.5, 0.0, None, -0.1, 1e300, 5e-324],
}
"""By type: an ordinary value, an empty one, null, and extremes."""


def day_rows(batch: str, count: int, segment: Segment = SEGMENT, **values: Any) -> pa.Table:
    """``count`` rows of a batch, one each minute of the segment's day; ``values`` fills further columns, the same in every row."""
    times = [segment.start + dt.timedelta(minutes=number % 1440) for number in range(count)]
    required = {"event_time": times, "event_day": [segment.day] * count, "ingest_batch": [batch] * count, "ingest_row": list(range(count))}
    columns = required | {name: [value] * count for name, value in values.items()}
    return pa.table([pa.array(columns.get(c.name, [None] * count), c.type) for c in COLUMNS], schema=stored_schema())


def varied_rows(batch: str, segment: Segment = SEGMENT) -> pa.Table:
    """Six rows that hold every value of :data:`VALUES` in every column of its type."""
    rows = day_rows(batch, 6, segment)
    for number, column in enumerate(COLUMNS):
        if not column.required:
            values = VALUES[column.type]
            turned = values[number % 6 :] + values[: number % 6]
            rows = rows.set_column(number, stored_schema().field(column.name), pa.array(turned, column.type))
    last = dt.datetime.combine(segment.day, dt.time.max, UTC)
    times = pa.array([segment.start, last, *rows["event_time"].to_pylist()[2:]], pa.timestamp("us", tz="UTC"))
    return rows.set_column(0, stored_schema().field("event_time"), times)


def child(code: str) -> "subprocess.Popen[str]":
    """Another Python process that runs ``code`` with the project on its path; it prints to ``stdout`` and waits on ``stdin``."""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def attach_plainly(
    _files: object, connection: Any, path: Path, _key: str, alias: str, read_only: bool = False, patience: float | None = None
) -> None:
    """In the place of ``DayFiles.attach``: without encryption, for the bytes to be seen."""
    assert patience in (None, 0)
    connection.execute(f"ATTACH '{path}' AS {alias} ({'READ_ONLY' if read_only else 'READ_WRITE'})")


HOLDER = """
import sys
from storage import extensions
connection = extensions.connect()
extensions.load(connection, "httpfs")
for number, path in enumerate({paths}):
    connection.execute(f"ATTACH '{{path}}' AS day{{number}} ({mode}, ENCRYPTION_KEY '{key}')")
print("held", flush=True)
sys.stdin.read()
print(sum(connection.execute(f"SELECT count(*) FROM day{{number}}.rows").fetchone()[0] for number, _ in enumerate({paths})))
"""
"""A process that holds files until its input ends, and then counts their rows."""
