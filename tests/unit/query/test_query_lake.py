"""The view, and the wall behind the gate."""

import dataclasses
import datetime as dt
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from core.errors import AuditlakeError, LockedError, UsageError
from core.schema import stored_schema
from query.errors import ViewMovedError
from query.lake import HotFile, LakeView, S3Access, open_lake
from storage import extensions

KEY = "0123456789abcdef0123456789abcdef"
COUNT = "SELECT count(*) AS n, count(DISTINCT event_day) AS days FROM requests"


def ask(view: LakeView, sql: str) -> pa.Table:
    connection = open_lake(view)
    try:
        return connection.execute(sql).to_arrow_table()
    finally:
        connection.close()


def counts(view: LakeView) -> tuple[int, int]:
    table = ask(view, COUNT)
    return table["n"][0].as_py(), table["days"][0].as_py()


def test_the_view_spans_hot_and_archive(view: LakeView) -> None:
    assert counts(view) == (200, 5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"archive": None}, (80, 2)),
        ({"hot": ()}, (120, 3)),
        ({"hot": (), "archive": None}, (0, 0)),
    ],
)
def test_any_part_may_be_missing(view: LakeView, change: dict[str, Any], expected: tuple[int, int]) -> None:
    changed = dataclasses.replace(view, **change)
    assert counts(changed) == expected
    assert ask(changed, "FROM requests LIMIT 1").schema.types == stored_schema().types


def test_a_batch_that_is_being_written_is_not_seen(view: LakeView) -> None:
    assert counts(dataclasses.replace(view, unfinished=lambda: frozenset({"batch-2015-05-17", "it's another"}))) == (160, 4)


def test_an_archive_without_a_snapshot_is_empty(view: LakeView, lake_folder: Path) -> None:
    first = next((lake_folder / "warehouse/lake/requests/metadata").glob("00000-*.metadata.json"))
    assert counts(dataclasses.replace(view, archive=f"file://{first}")) == (80, 2)


def test_columns_are_those_of_the_schema_in_order(view: LakeView) -> None:
    assert ask(view, "FROM requests LIMIT 1").schema.names == stored_schema().names
    assert ask(view, "FROM requests LIMIT 1").schema.types == stored_schema().types


def test_a_day_made_before_a_column_was_added_gives_nulls(view: LakeView, tmp_path: Path) -> None:
    writer = extensions.connect()
    extensions.load(writer, "httpfs")
    writer.execute(f"ATTACH '{tmp_path}/old.duckdb' AS old (ENCRYPTION_KEY '{KEY}')")
    writer.execute("CREATE TABLE old.rows AS SELECT 7::BIGINT AS ingest_row, DATE '2015-05-19' AS event_day, 'x' AS of_no_use")
    writer.close()
    old = HotFile(tmp_path / "old.duckdb", KEY, dt.date(2015, 5, 19))
    table = ask(dataclasses.replace(view, hot=(*view.hot, old)), "FROM requests WHERE event_day = '2015-05-19'")
    assert table.schema.names == stored_schema().names
    assert table["ingest_row"].to_pylist() == [7]
    assert table["url_path"].to_pylist() == [None]


def test_only_the_days_that_are_asked_for_are_opened(locked: duckdb.DuckDBPyConnection) -> None:
    plan = locked.execute("EXPLAIN ANALYZE SELECT count(*) FROM requests WHERE event_day = '2015-04-02' AND ingest_row > 5").fetchall()
    assert "Total Files Read: 1" in plan[0][1]


def test_now_is_the_instant_the_view_was_given(view: LakeView) -> None:
    sql = """SELECT lake_now()::VARCHAR AS a, now()::VARCHAR AS b, current_timestamp::VARCHAR AS c, today()::VARCHAR AS d,
        current_date::VARCHAR AS e, localtimestamp::VARCHAR AS f, current_time::VARCHAR AS g, age(TIMESTAMP '2015-05-19')::VARCHAR AS h,
        ago(INTERVAL 1 DAY)::VARCHAR AS i, transaction_timestamp()::VARCHAR AS j, get_current_timestamp()::VARCHAR AS k,
        age(TIMESTAMP '2015-05-03', TIMESTAMP '2015-05-01')::VARCHAR AS l"""
    instant = "2015-05-20 12:30:00+00"
    assert list(ask(view, sql).to_pylist()[0].values()) == [
        *(instant, instant, instant, "2015-05-20", "2015-05-20", "2015-05-20 12:30:00", "12:30:00", "1 day"),
        *("2015-05-19 12:30:00+00", instant, instant, "2 days"),
    ]


def test_no_function_of_duckdb_tells_the_real_time(locked: duckdb.DuckDBPyConnection) -> None:
    named = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE len(parameters) = 0 AND function_type IN ('scalar', 'macro')"
    for (name,) in locked.execute(f"{named} AND (function_name ~ 'now|today|current_(date|time|local)|timestamp')").fetchall():
        assert locked.execute(f"SELECT {name}()::VARCHAR").fetchall()[0][0].startswith(("2015-05-20", "12:30")), name


def test_a_file_that_a_writer_holds_is_locked(view: LakeView, tmp_path: Path) -> None:
    path = tmp_path / "day.duckdb"
    script = f"""
from storage import extensions
c = extensions.connect(); extensions.load(c, "httpfs")
c.execute("ATTACH '{path}' AS day (ENCRYPTION_KEY '{KEY}')"); c.execute("CREATE TABLE day.rows AS SELECT 1::BIGINT AS ingest_row")
print("ready", flush=True); input()
"""
    day = dt.date(2015, 5, 19)
    changed = dataclasses.replace(view, hot=(HotFile(path, KEY, day),), archive=None)
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        with pytest.raises(LockedError, match="hot file of 2015-05-19 is being written"):
            open_lake(changed)
        writer.communicate(b"\n")
    assert counts(changed)[0] == 1


def test_a_day_file_that_vanished_means_that_the_view_moved(view: LakeView, tmp_path: Path) -> None:
    gone = HotFile(tmp_path / "gone.duckdb", KEY, dt.date(2015, 5, 19))
    with pytest.raises(ViewMovedError, match="hot file of 2015-05-19 is gone"):
        open_lake(dataclasses.replace(view, hot=(gone,)))


def test_metadata_that_vanished_means_that_the_view_moved(view: LakeView, tmp_path: Path) -> None:
    with pytest.raises(ViewMovedError):
        open_lake(dataclasses.replace(view, archive=f"file://{tmp_path}/lake/metadata/00001.metadata.json"))


def test_a_wrong_key_is_an_error_that_does_not_tell_it(view: LakeView) -> None:
    wrong = dataclasses.replace(view.hot[0], key="wrong-key-of-somebody")
    with pytest.raises(AuditlakeError, match="Wrong encryption key") as caught:
        open_lake(dataclasses.replace(view, hot=(wrong,)))
    assert "somebody" not in str(caught.value) + repr(caught.value.__cause__) + repr(wrong)


def test_a_day_file_that_is_something_else_is_an_error(view: LakeView, tmp_path: Path) -> None:
    (tmp_path / "day.duckdb").write_bytes(b"nonsense" * 10_000)
    with pytest.raises(AuditlakeError, match=r"hot file of 2015-05-19 cannot be opened: .* run auditlake verify"):
        open_lake(dataclasses.replace(view, hot=(HotFile(tmp_path / "day.duckdb", KEY, dt.date(2015, 5, 19)),)))


def test_the_same_day_twice_is_refused(view: LakeView) -> None:
    with pytest.raises(ValueError, match="twice"):
        dataclasses.replace(view, hot=(view.hot[0], view.hot[0]))


@pytest.mark.parametrize("limit", ["many", "-1GB", "1 zebra", "0GB", "80%", "unlimited"])
def test_a_limit_that_is_none_is_a_usage_error(view: LakeView, limit: str) -> None:
    with pytest.raises(UsageError, match="memory_limit"):
        open_lake(dataclasses.replace(view, memory_limit=limit))


def test_hundreds_of_hot_days_open(view: LakeView, tmp_path: Path) -> None:
    """A stream may be kept hot for a year; the nesting of a long UNION must not reach a limit of the parser."""
    source = view.hot[0].path.read_bytes()
    days = [dt.date(2014, 1, 1) + dt.timedelta(days=n) for n in range(400)]
    for day in days:
        (tmp_path / f"{day}.duckdb").write_bytes(source)
    hot = tuple(HotFile(tmp_path / f"{day}.duckdb", KEY, day) for day in days)
    assert ask(dataclasses.replace(view, hot=hot, archive=None), "SELECT count(*) AS n FROM requests")["n"][0].as_py() == 16_000


def test_secrets_do_not_show(view: LakeView) -> None:
    s3 = S3Access("an-access-key", "the-secret's-key", "a-token", "localhost:1", path_style=True, use_ssl=False)
    changed = dataclasses.replace(view, s3=s3)
    connection = open_lake(changed)
    shown = str(connection.execute("FROM duckdb_secrets()").fetchall()) + str(connection.execute("FROM duckdb_databases()").fetchall())
    shown += str(connection.execute("FROM duckdb_settings()").fetchall()) + str(connection.execute("FROM duckdb_views()").fetchall())
    connection.close()
    assert "localhost:1" in shown
    for secret in ("the-secret", "a-token", KEY):
        assert secret not in shown + repr(changed)


OUTSIDE = [
    "FROM read_text('{folder}/outside.csv')",
    "FROM '{folder}/outside.csv'",
    "FROM read_blob('{root}/../../outside.csv')",
    "FROM read_text('file://{folder}/outside.csv')",
    "FROM read_text('{root}/../../../../../../../../etc/passwd')",
    "FROM glob('{folder}/*')",
    "FROM read_csv('/etc/passwd')",
    "FROM 'https://localhost:1/x.csv'",
    "FROM 's3://other/x.parquet'",
    "FROM iceberg_scan('{folder}/none/metadata/v1.metadata.json')",
    "COPY (SELECT 1) TO '{folder}/new.csv'",
    "COPY requests TO '/dev/stdout'",
    "EXPORT DATABASE '{folder}/export'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/new.duckdb' AS new",
    "ATTACH 'http://localhost:1/x.duckdb' AS remote",
    "INSTALL spatial",
    "INSTALL spatial FROM community",
    "LOAD '{folder}/x.duckdb_extension'",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET temp_directory = '{folder}'",
    "SET memory_limit = '100GB'",
    "SET TimeZone = 'Europe/Stockholm'",
    "SET GLOBAL allow_unredacted_secrets = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "PRAGMA enable_profiling='json'",
    "CREATE PERSISTENT SECRET x (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "INSERT INTO d20150517.rows SELECT * FROM requests",
    "DELETE FROM d20150517.rows",
    "DROP TABLE d20150517.rows",
    "FROM outer_frame",
]


@pytest.mark.parametrize("statement", OUTSIDE)
def test_the_connection_itself_refuses(statement: str, locked: duckdb.DuckDBPyConnection, view: LakeView, lake_folder: Path) -> None:
    """The gate aside: what the locked connection refuses on its own."""
    outer_frame = pa.table({"x": [1]})
    root = (view.archive or "").removeprefix("file://").partition("/metadata/")[0]
    sql = statement.format(folder=str(lake_folder).replace("'", "''"), root=root.replace("'", "''"))
    before = sorted(lake_folder.rglob("*"))
    with pytest.raises(duckdb.Error):
        locked.execute(sql).fetchall()
    assert sorted(lake_folder.rglob("*")) == before
    assert outer_frame.num_rows == 1


def test_files_of_the_archive_are_not_kept_in_memory(locked: duckdb.DuckDBPyConnection) -> None:
    """What has been destroyed must not be answered from a cache."""
    locked.execute("SELECT max(url_path) FROM requests").fetchall()
    assert locked.execute("FROM duckdb_external_file_cache()").fetchall() == []


def test_spilled_data_is_encrypted_and_goes_with_the_connection(view: LakeView) -> None:
    connection = open_lake(dataclasses.replace(view, memory_limit="60MB"))
    wide = "SELECT r.range, 'marker-of-a-person' || md5(r.range::VARCHAR) AS person FROM range(1500000) r ORDER BY person"
    reader = connection.execute(wide).to_arrow_reader(1000)
    reader.read_next_batch()
    files = [file for file in view.temp_dir.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) > 10_000_000
    assert not any(b"marker-of" in file.read_bytes() for file in files)
    del reader
    connection.close()
    assert list(view.temp_dir.iterdir()) == []


def test_what_a_killed_query_left_is_removed_and_what_others_use_is_not(view: LakeView) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    names = [f"query-{host}-{dead.pid}-1", f"query-{host}-{os.getpid()}-1", f"query-elsewhere-{dead.pid}-1", "something"]
    for name in names:
        (view.temp_dir / name).mkdir(parents=True)
    open_lake(view).close()
    assert sorted(path.name for path in view.temp_dir.iterdir()) == sorted(names[1:])
