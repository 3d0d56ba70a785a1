"""Running a statement: a stream, one-line errors, bounds on time and memory."""

import dataclasses
import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import AuditlakeError, UsageError
from query.errors import ViewMovedError
from query.lake import HotFile, LakeView, S3Access, open_lake
from query.run import BATCH_ROWS, run, run_on
from tests.s3server import Bucket

ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"


def test_rows_come_in_batches_and_nothing_else_is_held(view: LakeView) -> None:
    """A thousand times more rows than the first batches need: had they been gathered first, the limit would not do."""
    with run(
        dataclasses.replace(view, memory_limit="60MB", temp_limit="1KB"), "SELECT range, md5(range::VARCHAR) FROM range(1000000000)"
    ) as result:
        batches = result.batches()
        sizes = [next(batches).num_rows for _ in range(50)]
    assert set(sizes) == {BATCH_ROWS}


def test_every_row_comes_once(view: LakeView) -> None:
    with run(view, "SELECT ingest_batch, ingest_row FROM requests") as result:
        rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
    assert len(rows) == len(set(rows)) == 200


def test_no_rows_still_have_columns(view: LakeView) -> None:
    with run(view, "SELECT source_ip, ingest_row FROM requests WHERE false") as result:
        assert result.schema.names == ["source_ip", "ingest_row"]
        assert [batch.num_rows for batch in result.batches()] == []


def test_each_column_has_a_name_of_its_own(view: LakeView) -> None:
    with run(view, "SELECT 1 AS x, 2 AS x, 3 AS x_1, 4 AS x, 5 AS X") as result:
        assert result.schema.names == ["x", "x_2", "x_1", "x_3", "X"]
        assert [list(batch.to_pylist()[0].values()) for batch in result.batches()] == [[1, 2, 3, 4, 5]]


def test_a_connection_serves_several_statements(view: LakeView) -> None:
    connection = open_lake(view)
    for _ in range(2):
        with run_on(connection, "SELECT count(*) FROM requests") as result:
            assert next(result.batches())[0].to_pylist() == [200]
    with pytest.raises(UsageError, match="SET is not allowed"):
        run_on(connection, "SET threads = 1")
    connection.close()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT source_ipp FROM requests", 'Referenced column "source_ipp" not found'),
        ("SELECT 'x'::INTEGER FROM requests", "Could not convert string 'x' to INT32"),
        ("SELECT ingest_row, url_path::INTEGER FROM requests ORDER BY ingest_row", "Could not convert string"),
        ("SELECT upper(1, 2)", "No function matches"),
        ("SELECT sum(source_ip) FROM requests", "No function matches"),
        ("SELECT 1::VARIANT", "VARIANT"),
        ("SELECT max(ingest_row) FROM requests GROUP BY max(ingest_row)", "GROUP BY clause cannot contain aggregates"),
    ],
)
def test_duckdb_s_errors_become_one_line(sql: str, message: str, view: LakeView) -> None:
    with pytest.raises(UsageError) as caught:
        run(view, sql)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_an_error_on_the_way_is_a_usage_error_too(view: LakeView) -> None:
    sql = "SELECT CASE WHEN range = 900000 THEN 'x' ELSE '1' END::INTEGER FROM range(1000000)"
    # Where one of DuckDB's threads fails, now and then it is told of another that was stopped for it.
    with run(view, sql) as result, pytest.raises(AuditlakeError, match=r"Could not convert string|was interrupted"):
        for _ in result.batches():
            pass


def test_a_query_that_runs_too_long_is_stopped(view: LakeView) -> None:
    with pytest.raises(AuditlakeError, match=r"ran longer than 0\.3 seconds; narrow it"):
        run(view, ENDLESS, seconds=0.3)


def test_a_stream_that_is_read_too_long_is_stopped(view: LakeView) -> None:
    with run(view, "FROM range(1000000000000)", seconds=0.3) as result, pytest.raises(AuditlakeError, match="ran longer"):
        for _ in result.batches():
            pass


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(DISTINCT (a.range, b.range)) FROM range(100000) a, range(100000) b",
        "SELECT list(range) FROM range(1000000000)",
        "SELECT a.range FROM range(100000) a, range(100000) b ORDER BY hash(a.range + b.range)",
        "SELECT string_agg(md5(range::VARCHAR), '') FROM range(100000000)",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t, range(100)) SELECT count(*) FROM t",
    ],
)
def test_a_query_that_needs_too_much_memory_is_given_up(sql: str, view: LakeView) -> None:
    small = dataclasses.replace(view, memory_limit="100MB", temp_limit="50MB")
    with pytest.raises(AuditlakeError, match="needs more memory or temporary space") as caught:
        run(small, sql, seconds=60)
    assert "\n" not in str(caught.value)


def test_an_archive_that_goes_between_opening_and_asking_moved(view: LakeView, lake_folder: Path, tmp_path: Path) -> None:
    warehouse = lake_folder / "warehouse"
    kept = tmp_path / "kept"
    data = warehouse / "lake/requests/data/event_day=2015-04-01"
    connection = open_lake(view)
    shutil.move(data, kept)
    try:
        with pytest.raises(ViewMovedError, match="ask again"):
            run_on(connection, "SELECT count(url_path) FROM requests WHERE event_day < '2015-05-01'")
    finally:
        shutil.move(kept, data)
        connection.close()


def test_a_day_file_that_is_dropped_while_it_is_read_stays_readable(view: LakeView, tmp_path: Path) -> None:
    path = tmp_path / "day.duckdb"
    shutil.copy(view.hot[0].path, path)
    connection = open_lake(dataclasses.replace(view, hot=(HotFile(path, view.hot[0].key, dt.date(2015, 5, 17)),), archive=None))
    path.unlink()
    with run_on(connection, "SELECT count(*), sum(ingest_row) FROM requests") as result:
        assert next(result.batches())[0].to_pylist() == [40]
    connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA binds on Linux alone")
def test_memory_that_functions_take_is_bounded_by_the_cap(tmp_path: Path) -> None:
    """What doubles its own text: no function of the gate's list takes a size, yet 2**33 bytes would be asked for."""
    doubled = "SELECT 'xx' AS x"
    for _ in range(32):
        doubled = f"SELECT x || x AS x FROM ({doubled})"
    script = f"""
from pathlib import Path
from core.clock import parse_instant
from core.errors import AuditlakeError
from query.lake import LakeView
from query.limits import cap_memory
from query.run import run
cap_memory(1 << 30)
cap_memory(900 << 20)
view = LakeView(now=parse_instant("2015-05-20"), temp_dir=Path({str(tmp_path)!r}), threads=1, memory_limit="100MB")
try:
    run(view, "SELECT length(max(x)) FROM ({doubled})")
except AuditlakeError as error:
    print(error)
with run(view, "SELECT 1 AS fine") as result:
    print(list(result.batches())[0].to_pylist())
"""
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=env)
    assert "needs more memory" in done.stdout
    assert done.stdout.endswith("[{'fine': 1}]\n")


def test_an_archive_on_s3_is_read_and_nothing_beside_it(view: LakeView, lake_folder: Path, s3: Bucket) -> None:
    """The metadata is rewritten to name the bucket, then served by the real server."""
    client, warehouse = s3.client(), lake_folder / "warehouse"
    location = _copy_to_bucket(warehouse, (view.archive or "").removeprefix("file://"), s3)
    client.put_object(Bucket=s3.name, Key="outside.csv", Body=b"a\n1\n")
    access = S3Access(s3.access_key, s3.secret_key, endpoint=s3.endpoint.partition("://")[2], path_style=True, use_ssl=False)
    connection = open_lake(dataclasses.replace(view, archive=location, s3=access))
    with run_on(connection, "SELECT count(*), count(DISTINCT event_day) FROM requests") as result:
        assert [c.to_pylist() for c in next(result.batches())] == [[200], [5]]
    for outside in (f"s3://{s3.name}/outside.csv", f"{s3.endpoint}/{s3.name}/outside.csv", "/etc/passwd"):
        with pytest.raises(Exception, match="disabled by configuration"):
            connection.execute(f"FROM read_text('{outside}')")
    for gone in s3.listing("warehouse/lake/requests/data"):
        client.delete_object(Bucket=s3.name, Key=gone[1])
    with pytest.raises(ViewMovedError):
        run_on(connection, "SELECT max(url_path) FROM requests")
    connection.close()


def _copy_to_bucket(warehouse: Path, metadata: str, bucket: Bucket) -> str:
    """Copy the data, and make the table anew in the bucket with PyIceberg's own reader of the files."""
    import uuid

    from pyiceberg.catalog.sql import SqlCatalog

    options = {"s3.endpoint": bucket.endpoint, "s3.access-key-id": bucket.access_key, "s3.secret-access-key": bucket.secret_key}
    local = SqlCatalog("local", uri="sqlite:///:memory:", warehouse=f"file://{warehouse}")
    local.create_namespace("lake")
    source = local.register_table("lake.requests", f"file://{metadata}")
    remote = SqlCatalog(
        f"remote-{uuid.uuid4()}",
        uri="sqlite:///:memory:",
        warehouse=f"s3://{bucket.name}/warehouse",
        **{"s3.region": bucket.region},
        **options,
    )
    remote.create_namespace("lake")
    table = remote.create_table(
        "lake.requests", source.schema(), location=f"s3://{bucket.name}/warehouse/lake/requests", partition_spec=source.spec()
    )
    paths = []
    for file in sorted((warehouse / "lake/requests/data").rglob("*.parquet")):
        key = f"warehouse/{file.relative_to(warehouse)}"
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=file.read_bytes())
        paths.append(f"s3://{bucket.name}/{key}")
    table.add_files(paths)
    location = table.metadata_location
    local.close()
    remote.close()
    return location
