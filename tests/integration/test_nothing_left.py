"""After a purge the bytes of what was destroyed are in no file: planted names are looked for in every byte, packed data unpacked.

The same look finds them in the archive before the purge, so it can fail; and it finds them nowhere else, at no time: hot
files, rejected lines, the control database and the ledger are encrypted or never hold them.
"""

import bz2
import datetime as dt
import gzip
import io
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditlake.lake import open_lake
from auditlake.settings import load
from core.segment import Segment
from storage import extensions
from tests.commandline import CommandLine, combined
from tests.s3server import Bucket

ROWS = {
    "user": "planteduserzq",
    "address": "203.0.113.77",
    "path": "plantedpathzq",
    "query": "plantedqueryzq",
    "agent": "PlantedAgentZq",
    "referrer": "plantedreferrerzq",
    "field": "plantedfieldzq",
}
REJECTED = "plantedrejectedzq"
FILE = "plantedfilezq"
LINES = f"""\
10.0.0.1 - {ROWS["user"]} [17/May/2015:10:00:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "-"
{ROWS["address"]} - - [17/May/2015:10:00:01 +0000] "GET /b HTTP/1.1" 200 1 "-" "-"
10.0.0.1 - - [17/May/2015:10:00:02 +0000] "GET /{ROWS["path"]} HTTP/1.1" 200 1 "-" "-"
10.0.0.1 - - [17/May/2015:10:00:03 +0000] "GET /c?x={ROWS["query"]} HTTP/1.1" 200 1 "-" "-"
10.0.0.1 - - [18/May/2015:10:00:04 +0000] "GET /d HTTP/1.1" 200 1 "-" "{ROWS["agent"]}/1.0"
10.0.0.1 - - [18/May/2015:10:00:05 +0000] "GET /e HTTP/1.1" 200 1 "http://{ROWS["referrer"]}.example/" "-"
this is {REJECTED} and no request
"""
DOCUMENT = f'{{"@timestamp": "2015-05-18T10:00:06Z", "source.address": "10.0.0.1", "unheard_of": "{ROWS["field"]}"}}\n'

Blobs = Callable[[], Iterator[tuple[str, bytes]]]


# ---------------------------------------------------------------------------------------------------------- how to look


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
        yield f"the name of {path.name}", path.name.encode()


def objects_in(bucket: Bucket) -> Iterator[tuple[str, bytes]]:
    client = bucket.client()
    for kind, key, version in bucket.listing():
        yield f"the name of {key}", key.encode()
        if kind == "version":
            yield key, client.get_object(Bucket=bucket.name, Key=key, VersionId=version)["Body"].read()


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes themselves, and what every reader that takes them makes of them."""
    yield data
    for unpack in (gzip.decompress, bz2.decompress, zlib.decompress, lambda b: pa.CompressedInputStream(pa.BufferReader(b), "zstd").read()):
        try:
            yield unpack(data)
        except (OSError, ValueError, EOFError, zlib.error):
            continue
    if data[:4] == b"PAR1":
        file = pq.ParquetFile(io.BytesIO(data))
        yield str(file.metadata.to_dict()).encode() + str(file.schema_arrow.metadata).encode()
        yield str(file.read().to_pylist()).encode()


def unpacked_avro(data: bytes, scratch: Path) -> bytes:
    scratch.write_bytes(data)
    with extensions.connect() as connection:
        extensions.load(connection, "avro")
        rows = str(connection.execute("SELECT * FROM read_avro(?)", [str(scratch)]).fetchall()).encode()
    scratch.unlink()
    return rows


def forms(marker: str) -> list[bytes]:
    """A marker as text, as UTF-16, in hexadecimal, and the address in its four bytes as well."""
    plain = marker.lower().encode()
    packed = [bytes(map(int, marker.split(".")))] if marker.replace(".", "").isdigit() else []
    return [plain, marker.lower().encode("utf-16-le"), plain.hex().encode(), *packed]


def look(blobs: Blobs, scratch: Path) -> dict[str, set[str]]:
    """For each marker the files that hold it, in any form, unpacked by any reader."""
    found: dict[str, set[str]] = {}
    for name, data in blobs():
        looks = [*unpacked(data), *([unpacked_avro(data, scratch)] if data[:4] == b"Obj\x01" else [])]
        for marker in (*ROWS.values(), REJECTED, FILE):
            if any(form in each.lower() for form in forms(marker) for each in looks):
                found.setdefault(marker, set()).add(name)
    return found


# ---------------------------------------------------------------------------------------------------------------- tests


def wrapped_keys(lake: CommandLine) -> dict[str, bytes]:
    with closing(sqlite3.connect(lake.data_dir / "control.sqlite")) as database:
        return {f"{stream}/{day}": wrapped for stream, day, wrapped in database.execute("SELECT stream, day, wrapped FROM keys")}


def control_bytes(lake: CommandLine) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(lake.data_dir.glob("control.sqlite*")))


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    """Two days and a rejected line, each marker in a row of its own; and a third day that stays a week longer."""
    lake = CommandLine(tmp_path / "lake").begin("2015-05-26T00:00:00Z")
    files = {f"{FILE}.log": LINES.encode(), f"{FILE}.json": DOCUMENT.encode(), "other.log": combined({"25/May/2015": 20})}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        form = "json" if name.endswith("json") else "combined"
        lake("ingest", tmp_path / name, "--format", form)
    assert lake.days() == {"2015-05-17": 4, "2015-05-18": 3, "2015-05-25": 20}
    return lake


def live(lake: CommandLine, blobs: Blobs, tmp_path: Path) -> None:
    """From hot to nothing, looking everywhere at each station."""

    def scan() -> dict[str, set[str]]:
        assert [path for path in (lake.data_dir / "tmp").rglob("*") if path.is_file()] == [], "nothing spilled is left"
        return look(blobs, tmp_path / "scratch.avro")

    with closing(sqlite3.connect(lake.data_dir / "control.sqlite")) as onlooker:  # keeps the write-ahead log from being removed
        onlooker.execute("SELECT count(*) FROM ledger").fetchall()
        assert scan() == {}, "hot data and rejected lines are encrypted, and control and ledger do not know them"
        keys = wrapped_keys(lake)
        asked = "query.log/2015-05-26"
        assert set(keys) == {"requests/2015-05-17", "requests/2015-05-18", "requests/2015-05-25", "requests.quarantine/2015-05-26", asked}
        assert all(key in control_bytes(lake) for key in keys.values())

        lake.advance("25d")  # 20 June: the two days are rolled, the third is hot
        lake("run", "roll")
        found = scan()
        assert set(found) == set(ROWS.values()), "the archive holds each row's marker, which proves that this look can fail"
        assert all(name.endswith(".parquet") and "event_day=2015-05-1" in name for names in found.values() for name in names)
        kept = {day for day, key in keys.items() if key in control_bytes(lake)}
        assert kept == {"requests/2015-05-25", "requests.quarantine/2015-05-26", asked}

        lake.advance("6d")  # 26 June: the rejected line's month is over
        lake("run", "purge")
        lake("run", "roll")
        assert [day for day, key in keys.items() if key in control_bytes(lake)] == [asked], "what was asked is kept for a year"
        lake.advance("331d")  # 22 May of the next year: the two days are over, the third is not
        lake("run", "purge")
        assert scan() == {}
        assert lake.days() == {"2015-05-25": 20}
        lake.advance("3d")
        lake("run", "purge")
        assert scan() == {}
        assert lake.days() == {}
        assert lake("verify", "--full")["ok"]
        assert (lake.data_dir / "control.sqlite-wal").exists(), "the log was there to be searched"


def test_nothing_is_left_in_a_folder(lake: CommandLine, tmp_path: Path) -> None:
    live(lake, lambda: files_below(lake.data_dir), tmp_path)
    assert {path.name for path in lake.data_dir.rglob("*") if path.is_file()} <= {
        *("control.sqlite", "control.sqlite-wal", "control.sqlite-shm", "lock", "lock.next", "master.key")
    }


def test_nothing_is_left_in_a_bucket(lake: CommandLine, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"URL": f"s3://{s3.name}/lake", "ENDPOINT": s3.endpoint, "REGION": s3.region, "PATH_STYLE": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)

    def blobs() -> Iterator[tuple[str, bytes]]:
        yield from files_below(lake.data_dir)
        yield from objects_in(s3)

    live(lake, blobs, tmp_path)
    assert s3.listing() == []


def test_a_retried_line_leaves_its_quarantine(lake: CommandLine, tmp_path: Path) -> None:
    """The line becomes a row of a day that is over sooner than its quarantine: no copy may stay behind."""
    line = f'10.0.0.9 - - [19/May/2015:10:00:00 +0000] "GET /{REJECTED} HTTP/1.1" 200 1\n'
    (tmp_path / "common").write_bytes(line.encode())
    assert lake("ingest", tmp_path / "common", "--format", "combined")["quarantined"] == 1
    assert lake("quarantine", "retry", "--format", "common")["stored"] == 1
    kept = rejected_lines(lake, "2015-05-26")
    assert f"this is {REJECTED}" in kept, "the line that is no request at all stays"
    assert "10.0.0.9" not in kept


def rejected_lines(lake: CommandLine, day: str) -> str:
    """What the encrypted file of a day's rejected lines holds, opened past the commands."""
    segment = Segment("requests.quarantine", dt.date.fromisoformat(day))
    with open_lake(lake.data_dir, load(None)) as opened:
        path, key = opened.context.hot.path(segment), opened.context.key(segment)
    with extensions.connect() as connection:
        extensions.load(connection, "httpfs")
        connection.execute(f"ATTACH '{path}' AS day (READ_ONLY, ENCRYPTION_KEY '{key}')")
        return str(connection.execute("SELECT raw, source_name FROM day.rows").fetchall())
