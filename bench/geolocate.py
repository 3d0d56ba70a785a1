"""How fast addresses never seen before are located, with all columns, beside geoip2's reader in the same run.

Distinct random public addresses, a fifth of them IPv6, in one batch; databases are those the program takes by itself. Each repeat
opens them anew, which is part of its time and also shown apart; the first repeat is the first work of the process. geoip2 looks
up a sample of the same addresses one by one, as its documentation shows, and reads the same columns; they must be equal.
Times are of CPU, user and system, of all threads together: addresses per second of one core.

    python -m bench.geolocate --addresses 500000 --seed 1
"""

import argparse
import importlib.util
import ipaddress
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geoip2.database
import geoip2.errors
import numpy as np
import pyarrow as pa

from bench.measure import table
from transforms.geolocate import DEFAULT_ASN, NO_CITY, Geolocate, default_city

__all__ = ["Peer", "Turn", "addresses", "main", "mismatch", "turn"]

REPEATS = 5
SAMPLE = 20_000
HEAD = ("", "addresses", "opening", "CPU", "addresses/s", "of geoip2's")

_IPV4_FIRST, _IPV4_END = 1 << 24, 224 << 24
_IPV6_BLOCKS = (0x2001, 0x2400, 0x2406, 0x2409, 0x2600, 0x2601, 0x2607, 0x2804, 0x2A00, 0x2A01, 0x2A02, 0x2A09)
_IPV6_ONE_IN = 5

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Turn:
    """One way of locating, measured.

    :param count: addresses; :param opening: seconds until the databases were open; :param cpu: seconds in all.
    """

    count: int
    opening: float
    cpu: float

    @property
    def speed(self) -> float:
        """Addresses per second."""
        return self.count / self.cpu

    def row(self, name: str, peer: "Turn") -> Row:
        """The turn as a row of the table."""
        times = f"{1000 * self.opening:,.1f} ms", f"{self.cpu:,.3f} s", f"{self.speed:,.0f}"
        return name, f"{self.count:,}", *times, f"{self.speed / peer.speed:,.1f}x"


def addresses(count: int, seed: int) -> pa.Array:
    """Distinct public addresses as canonical texts, every fifth an IPv6 one, in any order."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count - count // _IPV6_ONE_IN:
        number = ipaddress.IPv4Address(int(random.integers(_IPV4_FIRST, _IPV4_END)))
        if number.is_global:
            found.setdefault(str(number))
    while len(found) < count:
        block = _IPV6_BLOCKS[random.integers(len(_IPV6_BLOCKS))]
        found.setdefault(str(ipaddress.IPv6Address(block << 112 | int.from_bytes(random.bytes(14), "big"))))
    return pa.array(list(found), pa.string()).take(pa.array(random.permutation(count)))


def turn(values: pa.Array, city: Path | None, asn: Path) -> tuple[Turn, dict[str, pa.Array]]:
    """Locate all in one batch, with a fresh transform."""
    start = time.process_time()
    transform = Geolocate(city, asn)
    opened = time.process_time()
    columns = transform.columns(values)
    return Turn(len(values), opened - start, time.process_time() - start), columns


class Peer:
    """geoip2's reader with the same databases."""

    def __init__(self, city: Path | None, asn: Path) -> None:
        self._city = geoip2.database.Reader(city) if city else None
        self._asn = geoip2.database.Reader(asn)

    def locate(self, address: str) -> Row:
        """The columns of place and network of one address."""
        return (*self._place(address), *self._network(address))

    def _place(self, address: str) -> Row:
        if self._city is None:
            return (None,) * 10
        try:
            found = self._city.city(address)
        except geoip2.errors.AddressNotFoundError:
            return (None,) * 10
        country, where = found.country, found.location
        region = found.subdivisions[0] if found.subdivisions else None
        code = f"{country.iso_code}-{region.iso_code}" if region and country.iso_code and region.iso_code else None
        named = found.continent.code, country.iso_code, country.name, code, region and region.name
        return *named, found.city.name, found.postal.code, where.time_zone, where.latitude, where.longitude

    def _network(self, address: str) -> Row:
        try:
            found = self._asn.asn(address)
        except geoip2.errors.AddressNotFoundError:
            return None, None
        return found.autonomous_system_number, found.autonomous_system_organization


def mismatch(values: pa.Array, columns: dict[str, pa.Array], expected: list[Row]) -> str | None:
    """The first of the addresses whose columns are not as expected; ``None`` when all are equal."""
    rows = zip(*(array.slice(0, len(expected)).to_pylist() for array in columns.values()), strict=True)
    return next((values[i].as_py() for i, (row, wanted) in enumerate(zip(rows, expected, strict=True)) if row != wanted), None)


def _peer_turn(values: pa.Array, city: Path | None, asn: Path) -> tuple[Turn, list[Row]]:
    start = time.process_time()
    peer = Peer(city, asn)
    opened = time.process_time()
    rows = [peer.locate(address) for address in values.to_pylist()]
    return Turn(len(values), opened - start, time.process_time() - start), rows


def _measure(count: int, seed: int, city: Path | None, asn: Path) -> int:
    """Print the table; 1 when a column differs."""
    values = addresses(count, seed)
    first, columns = turn(values, city, asn)
    best = min((first, *(turn(values, city, asn)[0] for _ in range(REPEATS - 1))), key=lambda one: one.cpu)
    peer, expected = _peer_turn(values.slice(0, SAMPLE), city, asn)
    mode = "C extension" if importlib.util.find_spec("maxminddb.extension") else "pure Python"
    rows = [
        first.row("auditlake, first in this process", peer),
        best.row(f"auditlake, best of {REPEATS}", peer),
        peer.row(f"geoip2, one by one, {mode}", peer),
    ]
    print("\n".join(table(HEAD, rows)))
    different = mismatch(values, columns, expected)
    print(f"{different} is located differently" if different else f"all {len(columns)} columns of {len(expected):,} addresses are equal")
    return int(different is not None)


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when auditlake and geoip2 do not agree."""
    parser = argparse.ArgumentParser(prog="python -m bench.geolocate", description="Measure how fast addresses are located.")
    parser.add_argument("--addresses", type=int, default=500_000, help="distinct addresses (500,000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.addresses < 1:
        parser.error("addresses must be 1 or more")
    city = default_city()
    print(f"{options.addresses:,} addresses never seen before, one in {_IPV6_ONE_IN} of IPv6, seed {options.seed}", flush=True)
    if city is None:
        print(NO_CITY)
    return _measure(options.addresses, options.seed, city, DEFAULT_ASN)


if __name__ == "__main__":
    sys.exit(main())
