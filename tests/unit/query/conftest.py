"""A small lake of real parts: encrypted DuckDB day files, and an Iceberg table that PyIceberg made."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DateType, DoubleType, IntegerType, LongType, NestedField, StringType, TimestamptzType

from core.clock import UTC
from core.schema import COLUMNS, EVENT_TIME, stored_schema
from query.lake import HotFile, LakeView, open_lake
from storage import extensions

KEY = "0123456789abcdef0123456789abcdef"
NOW = dt.datetime(2015, 5, 20, 12, 30, tzinfo=UTC)
ROWS = 40
HOT_DAYS = (dt.date(2015, 5, 17), dt.date(2015, 5, 18))
ARCHIVED_DAYS = (dt.date(2015, 4, 1), dt.date(2015, 4, 2), dt.date(2015, 4, 3))
_ICEBERG = {
    pa.string(): StringType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.float64(): DoubleType(),
    pa.date32(): DateType(),
    EVENT_TIME: TimestamptzType(),
}


def day_rows(day: dt.date, count: int = ROWS) -> pa.Table:
    start = dt.datetime.combine(day, dt.time(1), UTC)
    values = {
        "event_time": [start + dt.timedelta(minutes=n) for n in range(count)],
        "event_day": [day] * count,
        "source_address": [f"198.51.100.{n % 7}" for n in range(count)],
        "source_ip": [f"198.51.100.{n % 7}" for n in range(count)],
        "source_geo_country_iso_code": [("SE", "US", None)[n % 3] for n in range(count)],
        "user_name": ["marker-of-a-person" if n == 0 else None for n in range(count)],
        "http_request_method": ["GET" if n % 4 else "POST" for n in range(count)],
        "http_response_status_code": [(200, 404, 500)[n % 3] for n in range(count)],
        "http_response_body_bytes": [n * 100 for n in range(count)],
        "url_path": [f"/page/{n}" for n in range(count)],
        "user_agent_name": ["Firefox" if n % 2 else "\x1b[31mred\x07" for n in range(count)],
        "labels": [json.dumps({"tier": n % 2, "tags": ["a", "b"]}) for n in range(count)],
        "ingest_batch": [f"batch-{day}"] * count,
        "ingest_row": list(range(count)),
    }
    return pa.table({c.name: pa.array(values.get(c.name, [None] * count), c.type) for c in COLUMNS}, schema=stored_schema())


def write_hot(path: Path, rows: pa.Table, key: str = KEY) -> None:
    connection = extensions.connect()
    extensions.load(connection, "httpfs")
    quoted = str(path).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS day (ENCRYPTION_KEY '{key}', STORAGE_VERSION 'latest')")
    connection.register("given", rows)
    connection.execute("CREATE TABLE day.rows AS SELECT * FROM given")
    connection.close()


def write_archive(folder: Path, days: tuple[dt.date, ...]) -> str:
    """Location of the table's newest metadata."""
    folder.mkdir(parents=True)
    catalog = SqlCatalog("test", uri=f"sqlite:///{folder / 'catalog.db'}", warehouse=f"file://{folder}")
    catalog.create_namespace("lake")
    schema = Schema(*[NestedField(c.id, c.name, _ICEBERG[c.type], required=c.required) for c in COLUMNS])
    day_field = next(c.id for c in COLUMNS if c.name == "event_day")
    partition = PartitionSpec(PartitionField(day_field, 1000, IdentityTransform(), "event_day"))
    table = catalog.create_table("lake.requests", schema, partition_spec=partition)
    for day in days:
        file = folder / "lake" / "requests" / "data" / f"event_day={day}" / "rows.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(day_rows(day), file)
        table.add_files([f"file://{file}"])
    catalog.close()
    return str(table.metadata_location)


@pytest.fixture(scope="session")
def lake_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("it's a lake")
    for day in HOT_DAYS:
        write_hot(folder / f"{day}.duckdb", day_rows(day))
    (folder / "outside.csv").write_text("secret\nmarker-outside\n")
    (folder / "location").write_text(write_archive(folder / "warehouse", ARCHIVED_DAYS))
    return folder


@pytest.fixture
def view(lake_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LakeView:
    hot = tuple(HotFile(lake_folder / f"{day}.duckdb", KEY, day) for day in HOT_DAYS)
    location = (lake_folder / "location").read_text()
    temp = tmp_path_factory.mktemp("spill") / "temp"
    return LakeView(now=NOW, temp_dir=temp, hot=hot, archive=location, memory_limit="300MB", threads=2, patience=0.3)


@pytest.fixture
def locked(view: LakeView) -> Iterator[duckdb.DuckDBPyConnection]:
    """The locked connection itself, with no gate before it."""
    connection = open_lake(view)
    yield connection
    connection.close()
