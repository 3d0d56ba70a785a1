"""The archive is a standard table: other engines read it without our code, and its metadata tells of no person."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import StaticTable

from core.schema import COLUMNS, stored_schema
from core.segment import Segment
from storage import extensions
from storage.archive import Archive
from storage.archive_files import LOOKED_UP
from storage.control import Control
from storage.objects import S3Access
from tests.contract.places import Place, open_place
from tests.unit.storage.rows import DAY, SEGMENT, day_rows, varied_rows

NEXT = Segment("requests", DAY.replace(day=31))
MARKER = "marker-7f3a9c1d"
PERSONAL = [column for column in COLUMNS if column.personal]
PUBLIC = [column for column in COLUMNS if not column.personal]
VISIBLE = {"event_time", "event_day", "ingest_batch", "ingest_row"}


def personal_values() -> dict[str, Any]:
    """A value of its own type for every personal column; none of them may be found in metadata."""
    numbers = {pa.int32(): 48_271, pa.int64(): 48_271, pa.float64(): 48.271828182845}
    return {column.name: numbers.get(column.type, f"{MARKER}-{column.name}") for column in PERSONAL}


class Written:
    """An archive of two days, and the address of its newest metadata file."""

    def __init__(self, place: Place, control: Path) -> None:
        self.place = place
        self.rows = pa.concat_tables([varied_rows("b1"), day_rows("b2", 20, **personal_values()), day_rows("b3", 4, NEXT)])
        database = Control.in_file(control)
        archive = Archive(database.url, place.location, place.access, place.objects)
        for roll, segment, rows in (("r1", SEGMENT, self.rows.slice(0, 26)), ("r2", NEXT, self.rows.slice(26))):
            archive.commit(segment, roll, archive.write(segment, roll, rows.to_batches()))
        archive.expire("requests")
        assert archive.sweep("requests") == []
        found = archive.metadata("requests")
        assert found is not None
        self.metadata = found
        archive.close()
        database.close()

    @property
    def iceberg_properties(self) -> dict[str, str]:
        """What a person would tell pyiceberg."""
        access = self.place.access
        if access is None:
            return {}
        return {
            "s3.endpoint": access.endpoint,
            "s3.region": access.region,
            "s3.access-key-id": access.access_key,
            "s3.secret-access-key": access.secret_key,
        }

    def table(self) -> StaticTable:
        return StaticTable.from_metadata(self.metadata, self.iceberg_properties)


@pytest.fixture(params=["local", "s3"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return Written(open_place(request.param, request, tmp_path), tmp_path / "control.sqlite")


@pytest.fixture
def engine(written: Written) -> Iterator[duckdb.DuckDBPyConnection]:
    with extensions.connect(threads=1) as connection:
        extensions.load(connection, "iceberg")
        connection.execute("SET TimeZone = 'UTC'")
        if written.place.access:
            connection.execute(_secret(written.place.access))
        yield connection


def _secret(access: S3Access) -> str:
    return (
        f"CREATE SECRET (TYPE s3, KEY_ID '{access.access_key}', SECRET '{access.secret_key}', REGION '{access.region}', "
        f"ENDPOINT '{access.endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
    )


def in_order(rows: pa.Table) -> list[dict[str, Any]]:
    ordered: list[dict[str, Any]] = (
        rows.select(stored_schema().names).sort_by([("ingest_batch", "ascending"), ("ingest_row", "ascending")]).to_pylist()
    )
    return ordered


def test_plain_duckdb_reads_every_row_and_value(written: Written, engine: duckdb.DuckDBPyConnection) -> None:
    read = engine.execute(f"SELECT * FROM iceberg_scan('{written.metadata}')").to_arrow_table()
    assert in_order(read) == in_order(written.rows)


def test_plain_duckdb_finds_a_day_and_an_address(written: Written, engine: duckdb.DuckDBPyConnection) -> None:
    table = f"iceberg_scan('{written.metadata}')"
    by_day = engine.execute(f"SELECT event_day, count(*) FROM {table} GROUP BY ALL ORDER BY ALL").fetchall()
    assert by_day == [(SEGMENT.day, 26), (NEXT.day, 4)]
    assert engine.execute(f"SELECT count(*) FROM {table} WHERE event_day = DATE '2026-01-31'").fetchall() == [(4,)]
    assert engine.execute(f"SELECT count(*) FROM {table} WHERE source_ip = '{MARKER}-source_ip'").fetchall() == [(20,)]
    assert engine.execute(f"SELECT count(*) FROM {table} WHERE source_port = 48271").fetchall() == [(20,)]


def test_pyiceberg_alone_reads_every_row_and_value(written: Written) -> None:
    read = written.table().scan().to_arrow()
    assert in_order(read.cast(stored_schema())) == in_order(written.rows)


def test_pyiceberg_alone_opens_only_the_day_it_is_asked_for(written: Written) -> None:
    scan = written.table().scan(row_filter=EqualTo("event_day", NEXT.day))  # type: ignore[call-arg,arg-type]
    assert [task.file.record_count for task in scan.plan_files()] == [4]
    assert scan.to_arrow().num_rows == 4


def test_the_table_says_what_it_is(written: Written) -> None:
    table = written.table()
    assert table.metadata.format_version == 2
    assert [(field.field_id, field.name, field.doc, field.required) for field in table.schema().fields] == [
        (column.id, column.name, column.meaning, column.required) for column in COLUMNS
    ]
    assert [field.name for field in table.spec().fields] == ["event_day"]


def data_files(written: Written) -> list[DataFile]:
    return [task.file for task in written.table().scan().plan_files()]


def test_manifests_hold_no_bounds_of_personal_columns(written: Written) -> None:
    personal = {column.id for column in PERSONAL}
    required = {column.id for column in COLUMNS if column.required}
    files = data_files(written)
    assert len(files) == 2
    for file in files:
        for bounds in (file.lower_bounds, file.upper_bounds):
            assert not personal & set(bounds)
            assert required <= set(bounds)


def test_no_metadata_file_holds_a_personal_value_in_any_form(written: Written) -> None:
    table = written.table()
    snapshot = table.current_snapshot()
    assert snapshot is not None
    told = [json.dumps(json.loads(written.place.get(written.metadata)))]
    for manifest in snapshot.manifests(table.io):
        told.append(repr(manifest))
        told += [repr(entry) + repr(vars(entry.data_file)) for entry in manifest.fetch_manifest_entry(table.io)]
    others = [entry.key for entry in written.place.objects.entries(written.place.location) if not entry.key.endswith(".parquet")]
    assert len(others) >= 3
    told += [written.place.get(key).decode("latin-1") for key in others]
    assert "r1-00000.parquet" in "".join(told)
    for value in (MARKER, "48271", "48.2718", "zwölf"):
        assert not any(value in text for text in told)


def test_parquet_footers_hold_bounds_of_no_personal_columns_but_those_people_are_looked_up_by(written: Written) -> None:
    assert set(LOOKED_UP) == {"source_ip", "account_id", "user_name"}
    for file in data_files(written):
        content = written.place.get(file.file_path)
        assert content[-4:] == b"PAR1"
        size = int.from_bytes(content[-8:-4], "little")
        footer = content[-8 - size :]
        found = {name for name in (column.name for column in PERSONAL) if f"{MARKER}-{name}".encode() in footer}
        assert found <= set(LOOKED_UP)
        assert b"event_time" in footer
        metadata = pq.read_metadata(pa.BufferReader(content))
        for group in range(metadata.num_row_groups):
            for number, column in enumerate(COLUMNS):
                chunk = metadata.row_group(group).column(number)
                assert chunk.path_in_schema == column.name
                assert chunk.compression == "ZSTD"
                assert not chunk.has_column_index
                if column.personal and column.name not in LOOKED_UP:
                    assert not chunk.is_stats_set or not chunk.statistics.has_min_max
                elif column.name in VISIBLE:
                    assert chunk.statistics.has_min_max


def test_duckdb_asks_the_bloom_filters_of_the_columns_people_are_looked_up_by(written: Written, engine: duckdb.DuckDBPyConnection) -> None:
    (path,) = [file.file_path for file in data_files(written) if file.record_count == 26]
    for name in LOOKED_UP:  # both lie between the bounds
        for value, excluded in ((f"{MARKER}-{name}", False), (f"{MARKER}-nobody", True)):
            found = engine.execute(f"SELECT bloom_filter_excludes FROM parquet_bloom_probe('{path}', '{name}', '{value}')").fetchall()
            assert found == [(excluded,)], (name, value)


def test_duckdb_finds_a_user(written: Written, engine: duckdb.DuckDBPyConnection) -> None:
    table = f"iceberg_scan('{written.metadata}')"
    for name in LOOKED_UP:
        assert engine.execute(f"SELECT count(*) FROM {table} WHERE {name} = '{MARKER}-{name}'").fetchall() == [(20,)]
        assert engine.execute(f"SELECT count(*) FROM {table} WHERE {name} = '{MARKER}-nobody'").fetchall() == [(0,)]
