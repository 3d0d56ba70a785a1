"""The archive is a standard Iceberg table: plain DuckDB and PyIceberg, in processes that never see our code, read every value of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import COLUMNS
from tests.commandline import CommandLine, combined, invoke
from tests.s3server import Bucket

DUCKDB = """
import importlib.util, sys, duckdb
from pathlib import Path
metadata, out, s3 = sys.argv[1], sys.argv[2], sys.argv[3:]
connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
for name in ("httpfs", "avro", "iceberg"):
    (folder,) = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations
    (file,) = Path(folder).rglob(f"v{duckdb.__version__}/{name}.duckdb_extension")
    connection.execute(f"LOAD '{file}'")
if s3:
    endpoint, key, secret, region = s3
    place = f"ENDPOINT '{endpoint}', REGION '{region}', URL_STYLE 'path', USE_SSL false"
    connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', {place})")
connection.execute("SET TimeZone = 'UTC'")
connection.execute(f"COPY (SELECT * FROM iceberg_scan('{metadata}') ORDER BY ingest_batch, ingest_row) TO '{out}' (FORMAT parquet)")
"""

PYICEBERG = """
import sys, pyarrow.parquet as pq
from pyiceberg.table import StaticTable
metadata, out, s3 = sys.argv[1], sys.argv[2], sys.argv[3:]
properties = {}
if s3:
    endpoint, key, secret, region = s3
    properties = {
        "s3.endpoint": f"http://{endpoint}", "s3.access-key-id": key, "s3.secret-access-key": secret, "s3.region": region,
        "s3.force-virtual-addressing": "false",
    }
table = StaticTable.from_metadata(metadata, properties)
pq.write_table(table.scan().to_arrow().sort_by([("ingest_batch", "ascending"), ("ingest_row", "ascending")]), out)
"""

CATALOG = """
import json, sys
from pyiceberg.catalog.sql import SqlCatalog
table = SqlCatalog("auditlake", uri=f"sqlite:///{sys.argv[1]}").load_table("auditlake.requests")
days = table.inspect.partitions().select(["partition", "record_count"]).to_pylist()
print(json.dumps({
    "days": {str(each["partition"]["event_day"]): each["record_count"] for each in days},
    "columns": [field.name for field in table.schema().fields],
    "version": table.format_version,
    "one_day": table.scan(row_filter="event_day = '2015-05-18'").to_arrow().num_rows,
    "one_hour": table.scan(row_filter="event_time < '2015-05-17T01:00:00+00:00'").to_arrow().num_rows,
    "snapshots": [snapshot.summary.additional_properties.get("auditlake.segment") for snapshot in table.snapshots()],
}))
"""

OURS = """
rooms = {"auditlake", "jobs", "query", "compliance", "ingest", "transforms", "storage", "core"}
assert not rooms & {name.partition(".")[0] for name in sys.modules}
"""
DAYS = {"17/May/2015": 50, "18/May/2015": 70, "19/May/2015": 30}


def archive(lake: CommandLine, folder: Path) -> pa.Table:
    """Roll three days; the rows as our own query gives them."""
    lake.begin("2015-05-20T00:00:00Z")
    (folder / "access.log").write_bytes(combined(DAYS))
    lake("ingest", folder / "access.log", "--format", "combined")
    lake.advance("32d")
    lake("run", "roll")
    sql = "SELECT * FROM requests ORDER BY ingest_batch, ingest_row"
    invoke("--data-dir", lake.data_dir, "query", "--format", "parquet", "-o", folder / "ours.parquet", sql).expect(0)
    return pq.read_table(folder / "ours.parquet")


def read_by(script: str, *arguments: str, folder: Path) -> str:
    command = [sys.executable, "-I", "-c", script + OURS, *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", [DUCKDB, PYICEBERG], ids=["duckdb", "pyiceberg"])
def test_a_folder_is_read_without_us(tmp_path: Path, script: str) -> None:
    rows = archive(lake := CommandLine(tmp_path / "lake"), tmp_path)
    (metadata,) = (lake.data_dir / "archive" / "requests" / "metadata").glob("*.metadata.json")
    read_by(script, str(metadata), str(tmp_path / "theirs.parquet"), folder=tmp_path)
    assert_same(pq.read_table(tmp_path / "theirs.parquet"), rows)


@pytest.mark.parametrize("script", [DUCKDB, PYICEBERG], ids=["duckdb", "pyiceberg"])
def test_a_bucket_is_read_without_us(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    settings = {"URL": f"s3://{s3.name}/lake", "ENDPOINT": s3.endpoint, "REGION": s3.region, "PATH_STYLE": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)
    rows = archive(CommandLine(tmp_path / "lake"), tmp_path)
    (metadata,) = (key for _, key, _ in s3.listing("lake/requests/metadata/") if key.endswith(".metadata.json"))
    access = (s3.endpoint.removeprefix("http://"), "readerkey", "readersecret", s3.region)
    read_by(script, f"s3://{s3.name}/{metadata}", str(tmp_path / "theirs.parquet"), *access, folder=tmp_path)
    assert_same(pq.read_table(tmp_path / "theirs.parquet"), rows)


def test_the_catalog_is_a_standard_one(tmp_path: Path) -> None:
    archive(lake := CommandLine(tmp_path / "lake"), tmp_path)
    found = json.loads(read_by(CATALOG, str(lake.data_dir / "control.sqlite"), folder=tmp_path))
    assert found["days"] == {"2015-05-17": 50, "2015-05-18": 70, "2015-05-19": 30}
    assert found["columns"] == [column.name for column in COLUMNS]
    assert (found["version"], found["one_day"], found["one_hour"]) == (2, 70, 50)
    assert found["snapshots"] == ["requests/2015-05-19"], "one snapshot is left, and it names its segment"


def assert_same(theirs: pa.Table, rows: pa.Table) -> None:
    assert theirs.num_rows == 150
    assert theirs.column_names == rows.column_names
    assert theirs.to_pylist() == rows.to_pylist()
