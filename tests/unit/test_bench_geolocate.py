"""The benchmark of locating: its addresses, and its comparison with geoip2."""

import ipaddress
from pathlib import Path

import pyarrow as pa
import pytest

from bench.geolocate import Peer, Turn, addresses, main, mismatch, turn

GEO = Path(__file__).parents[1] / "data" / "geoip" / "test-data"
CITY, ASN = GEO / "GeoIP2-City-Test.mmdb", GEO / "GeoLite2-ASN-Test.mmdb"
VALUES = pa.array(["2.125.160.216", "1.128.0.0", "2001:218::1", "8.8.8.8"])


def test_addresses_are_distinct_canonical_and_public() -> None:
    found = addresses(500, 3).to_pylist()
    parsed = [ipaddress.ip_address(address) for address in found]
    assert len(set(found)) == 500
    assert [str(address) for address in parsed] == found
    assert sum(address.version == 6 for address in parsed) == 100
    assert all(address.is_global for address in parsed if address.version == 4)
    assert addresses(500, 3).to_pylist() == found
    assert addresses(500, 4).to_pylist() != found


def test_both_ways_give_the_same_columns() -> None:
    measured, columns = turn(VALUES, CITY, ASN)
    peer = Peer(CITY, ASN)
    expected = [peer.locate(address) for address in VALUES.to_pylist()]
    assert expected[0][:6] == ("EU", "GB", "United Kingdom", "GB-ENG", "England", "Boxford")
    assert expected[1][-2] == 1221
    assert expected[3] == (None,) * 12
    assert mismatch(VALUES, columns, expected) is None
    assert mismatch(VALUES, columns, [*expected[:2], expected[0]]) == "2001:218::1"
    assert measured.count == 4
    assert 0 <= measured.opening <= measured.cpu


def test_without_a_city_database_places_stay_empty() -> None:
    assert Peer(None, ASN).locate("1.128.0.0")[:10] == (None,) * 10


def test_a_turn_is_told_beside_the_peer() -> None:
    assert Turn(1_000_000, 0.0025, 0.5).row("name", Turn(2_000, 0.1, 0.1))[1:] == ("1,000,000", "2.5 ms", "0.500 s", "2,000,000", "100.0x")


def test_the_command_says_whether_all_columns_are_equal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--addresses", "300"]) == 0
    assert "all 12 columns of 300 addresses are equal" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--addresses", "0"])
