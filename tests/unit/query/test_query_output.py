"""Results as table, CSV, JSON and Parquet."""

import csv
import datetime as dt
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from core import steps
from core.errors import AuditlakeError, UsageError
from query.lake import LakeView, open_lake
from query.output import FORMATS, Written, write
from query.run import run_on
from query.texts import safe

KINDS = """SELECT 1 AS small, 170141183460469231731687303715884105727::HUGEINT AS huge, sum(3::BIGINT) AS total,
    1.50::DECIMAL(10, 2) AS price, 2.5 AS half, 'nan'::DOUBLE AS nan, '-inf'::FLOAT AS inf, true AS yes, NULL AS nothing,
    'å"x,\n' AS text, '' AS blank, TIMESTAMPTZ '2015-05-17 10:05:03.25+02' AS at, TIMESTAMP '2015-05-17 10:05:03' AS local,
    DATE '2015-05-17' AS day, TIME '10:05:03' AS hour, INTERVAL '1 month 2 days 3 seconds' AS span, '\\x01\\xFF'::BLOB AS bytes,
    {'a': 1, 'b': [1, NULL]} AS nested, map {'k': DATE '2015-05-17'} AS pairs, map {1: 'x'} AS numbers, [1.5, 'nan'::DOUBLE] AS list,
    'a'::ENUM('a', 'b') AS choice, '00000000-0000-0000-0000-000000000001'::UUID AS id, TIMESTAMP_NS '2015-05-17 00:00:00.123456789' AS fine,
    union_value(n := 1) AS one_of, '{"x": 1}'::JSON AS document, [TIMESTAMPTZ '2015-05-17 00:00:00Z'] AS times"""


@pytest.fixture
def connection(view: LakeView) -> Iterator[duckdb.DuckDBPyConnection]:
    opened = open_lake(view)
    yield opened
    opened.close()


def to_file(connection: duckdb.DuckDBPyConnection, sql: str, form: str, out: Path) -> Written:
    with run_on(connection, sql) as result:
        return write(result, form, out)


def as_text(connection: duckdb.DuckDBPyConnection, sql: str, form: str, tmp_path: Path) -> str:
    to_file(connection, sql, form, tmp_path / "out")
    return (tmp_path / "out").read_text()


def test_json_holds_every_kind_of_value(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (row,) = json.loads(as_text(connection, KINDS, "json", tmp_path))
    assert row == {
        "small": 1, "huge": 170141183460469231731687303715884105727, "total": 3, "price": 1.5, "half": 2.5, "nan": None, "inf": None,
        "yes": True, "nothing": None, "text": 'å"x,\n', "blank": "", "at": "2015-05-17T08:05:03.250000Z",
        "local": "2015-05-17T10:05:03", "day": "2015-05-17", "hour": "10:05:03", "span": "P1M2DT3S", "bytes": "01ff",
        "nested": {"a": 1, "b": [1, None]}, "pairs": {"k": "2015-05-17"}, "numbers": {"1": "x"}, "list": [1.5, None], "choice": "a",
        "id": "00000000-0000-0000-0000-000000000001", "fine": "2015-05-17T00:00:00.123456", "one_of": 1, "document": '{"x": 1}',
        "times": ["2015-05-17T00:00:00Z"],
    }  # fmt: skip


def test_csv_holds_every_kind_of_value(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    text = as_text(connection, KINDS, "csv", tmp_path)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["huge"] == "170141183460469231731687303715884105727"
    assert row["price"] == "1.50"
    assert row["text"] == 'å"x,\n'
    assert row["at"] == "2015-05-17T08:05:03.250000Z"
    assert row["nested"] == '{"a":1,"b":[1,null]}'
    assert [row[name] for name in ("nan", "inf", "nothing", "blank")] == ["", "", "", ""]
    assert ',"",' in text.splitlines()[-1], "an empty text is not the same as no value"


def test_parquet_holds_every_kind_of_value(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    to_file(connection, KINDS, "parquet", tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out").drop_columns(["fine"]).to_pylist()
    assert row["at"] == dt.datetime(2015, 5, 17, 8, 5, 3, 250000, dt.UTC)
    assert row["price"] == Decimal("1.50")
    assert row["nested"] == {"a": 1, "b": [1, None]}
    assert row["span"] == "P1M2DT3S"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("sql", ["SELECT * FROM requests WHERE false", "SELECT source_ip AS x, url_path AS x FROM requests LIMIT 3"])
def test_every_format_takes_no_rows_and_names_twice(sql: str, form: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    written = to_file(connection, sql, form, tmp_path / "out")
    assert written == Written(3 if "LIMIT" in sql else 0)
    assert (tmp_path / "out").stat().st_size > 0


def test_no_rows_are_an_empty_array_a_header_and_a_schema(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sql = "SELECT source_ip, ingest_row FROM requests WHERE false"
    assert json.loads(as_text(connection, sql, "json", tmp_path)) == []
    assert as_text(connection, sql, "csv", tmp_path).strip() == '"source_ip","ingest_row"'
    to_file(connection, sql, "parquet", tmp_path / "out")
    assert pq.read_table(tmp_path / "out").schema.names == ["source_ip", "ingest_row"]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_many_batches_are_all_written(form: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert to_file(connection, "SELECT range AS n, 'x' AS x FROM range(70000)", form, out).rows == 70_000
    if form == "csv":
        read = [int(row["n"]) for row in csv.DictReader(out.read_text().splitlines())]
    else:
        read = [row["n"] for row in json.loads(out.read_text())] if form == "json" else pq.read_table(out)["n"].to_pylist()
    assert read == list(range(70_000))


def test_a_table_shows_the_first_rows_and_says_so(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with run_on(connection, "SELECT range AS n FROM range(100000)") as result:
        assert write(result, "table", tmp_path / "out", table_rows=3) == Written(3, cut=True)
    text = (tmp_path / "out").read_text()
    assert "the first 3 rows; there are more: write all with --format csv, json or parquet" in text
    assert "│ 2 │" in text
    assert "│ 3 │" not in text


def test_a_table_with_just_as_many_rows_is_whole(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with run_on(connection, "SELECT range AS n FROM range(3)") as result:
        assert write(result, "table", tmp_path / "out", table_rows=3) == Written(3)
    assert (tmp_path / "out").read_text().endswith("3 rows\n")


HOSTILE = (
    "SELECT user_agent_name AS \"a\x1b]0;x\x07\", chr(155) || chr(8238) || '[bold]b[/]' AS b FROM requests WHERE ingest_row = 0 LIMIT 1"
)


def test_a_table_passes_no_control_character_on(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    text = as_text(connection, HOSTILE, "table", tmp_path)
    assert safe(text.replace("\n", "")) == text.replace("\n", "")
    assert "\\x1b[31mred\\x07" in text
    assert "a\\x1b]0;x\\x07" in text
    assert "\\x9b\\u202e[bold]b[/]" in text


def test_json_passes_no_control_character_on(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    text = as_text(connection, HOSTILE.replace("chr(8238)", "'\u2028\u202e'"), "json", tmp_path)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u202e" for c in text.replace("\n", ""))
    assert list(json.loads(text)[0].values()) == ["\x1b[31mred\x07", "\x9b\u2028\u202e[bold]b[/]"]


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def on_terminal(connection: duckdb.DuckDBPyConnection, sql: str, form: str, monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.BytesIO()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal(stream))
    with run_on(connection, sql) as result:
        write(result, form)
    return stream.getvalue().decode()


def test_csv_on_a_terminal_is_escaped_too(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(connection, HOSTILE, "csv", monkeypatch)
    assert "\x1b" not in text
    assert '"\\x1b[31mred\\x07"' in text


def test_rows_too_wide_for_the_terminal_stand_one_value_a_line(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = on_terminal(connection, "SELECT * FROM requests WHERE ingest_row = 1 LIMIT 1", "table", monkeypatch)
    assert any(line.startswith("url_path") and line.endswith("/page/1") for line in text.splitlines())


def test_parquet_is_not_for_a_terminal(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="-o"):
        on_terminal(connection, "SELECT 1", "parquet", monkeypatch)


@pytest.mark.parametrize("form", FORMATS)
def test_standard_output_stays_open(form: str, connection: duckdb.DuckDBPyConnection, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with run_on(connection, "SELECT 42 AS n") as result:
        write(result, form)
    print("more", flush=True)
    out = capfdbinary.readouterr().out
    assert b"42" in out or form == "parquet"
    assert out.endswith(b"more\n")


def test_a_file_is_private_and_replaces_another_whole(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("before")
    out.chmod(0o644)
    to_file(connection, "SELECT 1 AS n", "json", out)
    assert json.loads(out.read_text()) == [{"n": 1}]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_query_that_fails_on_the_way_leaves_the_old_file(form: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("before")
    sql = "SELECT CASE WHEN range = 900000 THEN 'x' ELSE '1' END::INTEGER AS n FROM range(1000000)"
    # Where one of DuckDB's threads fails, now and then it is told of another that was stopped for it.
    with pytest.raises(AuditlakeError, match=r"Could not convert|was interrupted"):
        to_file(connection, sql, form, out)
    assert out.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("out", ["/dev/null", "missing/out", "."])
def test_what_cannot_be_written_is_said(out: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not an ordinary file|cannot be written"):
        to_file(connection, "SELECT 1", "csv", tmp_path / out)


def test_a_full_disk_is_said(connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AuditlakeError, match="No space left on device; make room"):
        to_file(connection, "SELECT 1", "csv", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["TIMESTAMPTZ 'infinity'", "DATE '20000-01-01'", "row(1, 2)", "'1'::BIGNUM"])
def test_values_without_a_form_are_said(value: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="column 'v' holds values that cannot be written in this form; cast it to VARCHAR"):
        to_file(connection, f"SELECT {value} AS v", "json", tmp_path / "out")
    assert to_file(connection, f"SELECT ({value})::VARCHAR AS v", "json", tmp_path / "out").rows == 1


def test_an_unknown_format_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    with (
        run_on(connection, "SELECT 1") as result,
        pytest.raises(UsageError, match="'xml' is not a format; use one of table, csv, json, parquet"),
    ):
        write(result, "xml")


def test_writes_are_announced(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    seen: list[str] = []
    steps.observe(seen.append)
    try:
        to_file(connection, "SELECT 1", "csv", tmp_path / "out")
    finally:
        steps.observe(None)
    assert seen == ["query.write_output", "query.rename_output"]
