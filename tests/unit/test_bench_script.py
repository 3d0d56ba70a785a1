"""The script that ingest is measured against does the work it is said to do, as the transforms would."""

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from bench.generate import generate
from bench.script import Enricher, main, rows, store
from transforms.geolocate import DEFAULT_ASN, Geolocate, default_city

DAY = dt.date(2015, 5, 17)
LINE = (
    '62.155.214.2 - ann [17/May/2015:10:05:03 +0200] "GET /a/b?c=d HTTP/1.1" 200 203023 "http://example.net/" '
    '"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 '
    'Safari/604.1"\n'
)
PLACE = ("continent", "country_code", "country", "city", "postal", "timezone", "latitude", "longitude", "as_number", "as_organization")
OURS = (
    *("source_geo_continent_code", "source_geo_country_iso_code", "source_geo_country_name", "source_geo_city_name"),
    *("source_geo_postal_code", "source_geo_timezone", "source_geo_location_lat", "source_geo_location_lon"),
    *("source_as_number", "source_as_organization_name"),
)


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher(default_city(), DEFAULT_ASN)


def test_a_line_becomes_a_row(enricher: Enricher) -> None:
    (row,) = rows([LINE, "nonsense\n"], enricher)
    assert row[:9] == (
        dt.datetime(2015, 5, 17, 8, 5, 3, tzinfo=dt.UTC),
        *("62.155.214.2", "ann", "GET", "/a/b", "c=d", "HTTP/1.1", 200, 203_023),
    )
    assert row[9] == "http://example.net/"
    assert row[12] == "DE"
    assert row[21:23] == (3320, "Deutsche Telekom AG")
    assert row[23:] == ("Mobile Safari", "17.2", "iOS", "17.2", "iPhone", "mobile")


def test_it_places_addresses_as_the_transform_does(tmp_path: Path, enricher: Enricher) -> None:
    log, database = tmp_path / "access.log", tmp_path / "out.duckdb"
    log.write_bytes(b"".join(generate(300, 1, DAY)))
    assert store(log, database, enricher) == 300
    with duckdb.connect(database, read_only=True) as connection:
        table = connection.sql(f"SELECT address, {', '.join(PLACE)} FROM requests ORDER BY rowid").to_arrow_table()
    located = Geolocate(default_city(), DEFAULT_ASN).apply(_addresses(table))
    assert table["country"].null_count < 5
    for theirs, ours in zip(PLACE, OURS, strict=True):
        assert table[theirs].to_pylist() == located[ours].to_pylist(), ours


def _addresses(table: pa.Table) -> pa.RecordBatch:
    return pa.record_batch({"source_ip": table["address"].combine_chunks()})


def test_the_command_says_how_many_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "access.log").write_text(LINE * 3 + "nonsense\n")
    main(str(tmp_path / "access.log"), str(tmp_path / "out.duckdb"))
    assert capsys.readouterr().out == "3\n"
