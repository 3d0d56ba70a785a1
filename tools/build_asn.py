"""Build the ASN database that is shipped in ``transforms/data`` from the CSV files of the ip-location-db project.

Promises: the same CSV files and the same ``--date`` give the same bytes, and every address of a range is found with the
number and name of that range. Needs the package ``mmdb-writer`` (0.2.7 was used), which the application itself does not:

    python -m venv asn-venv && asn-venv/bin/pip install mmdb-writer==0.2.7
    asn-venv/bin/python tools/build_asn.py --date 2026-06-17 asn-ipv4.csv asn-ipv6.csv -o transforms/data/asn.mmdb

The CSV files (``first,last,number,organisation``, no header) are those of the npm package ``@ip-location-db/asn``. The result
has the keys of GeoLite2-ASN (https://dev.maxmind.com/geoip/docs/databases/asn), so that any geoip2 reader reads it. Takes
half a minute.
"""

import argparse
import csv
import datetime as dt
import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter, SearchTreeLeaf, SearchTreeNode  # type: ignore[import-not-found]
from netaddr import IPNetwork, IPSet  # type: ignore[import-untyped]

DATABASE_TYPE = "RouteViews-DBIP-ASN-Lite (compat=GeoLite2-ASN)"
DESCRIPTION = "ASN by RouteViews, NRO and DB-IP (https://db-ip.com), merged by ip-location-db, CC BY 4.0"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = tuple[Address, Address, int, str]


class DatedWriter(MMDBWriter):  # type: ignore[misc]
    """A writer whose build date is given, not read from the clock."""

    def __init__(self, build: dt.date) -> None:
        super().__init__(6, DATABASE_TYPE, languages=["en"], description={"en": DESCRIPTION}, ipv4_compatible=True, int_type="u32")
        self._epoch = int(dt.datetime.combine(build, dt.time(), dt.UTC).timestamp())

    def _build_meta(self) -> dict[str, Any]:
        return {**super()._build_meta(), "build_epoch": self._epoch}


def ranges(path: Path) -> Iterator[Range]:
    """The ranges of one file, in its order; neighbours of the same system are joined."""
    held: Range | None = None
    with path.open(encoding="utf-8", newline="") as lines:
        for first, last, number, name in csv.reader(lines):
            new = (ipaddress.ip_address(first), ipaddress.ip_address(last), int(number), name)
            if held and held[2:] == new[2:] and int(held[1]) + 1 == int(new[0]):
                held = (held[0], new[1], *held[2:])
                continue
            if held:
                yield held
            held = new
    if held:
        yield held


def networks(first: Address, last: Address) -> Iterator[IPNetwork]:
    """The fewest networks that cover the range."""
    for network in ipaddress.summarize_address_range(first, last):
        yield IPNetwork((int(network.network_address), network.prefixlen), version=network.version)


def shrink(node: Any, seen: dict[Any, Any]) -> Any:
    """The same tree with equal halves joined and equal subtrees stored once: the file becomes a third smaller."""
    if node is None:
        return None
    if isinstance(node, SearchTreeLeaf):
        return seen.setdefault(tuple(node.value.items()), node)
    left, right = shrink(node.left, seen), shrink(node.right, seen)
    if left is right and isinstance(left, SearchTreeLeaf):
        return left
    return seen.setdefault((id(left), id(right)), SearchTreeNode(left, right))


def main(arguments: list[str]) -> int:
    """Build the file; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the ASN database from ip-location-db's CSV files.")
    parser.add_argument("csv", nargs="+", type=Path)
    parser.add_argument("--date", required=True, type=dt.date.fromisoformat, help="date of the data, for the build date")
    parser.add_argument("-o", "--output", required=True, type=Path)
    chosen = parser.parse_args(arguments)
    writer = DatedWriter(chosen.date)
    count = 0
    for path in chosen.csv:
        for first, last, number, name in ranges(path):
            record = {"autonomous_system_number": number, "autonomous_system_organization": name}
            # Not one IPSet of a list: that would sort and join each time.
            for network in networks(first, last):
                writer.insert_network(IPSet([network]), record)
            count += 1
    writer.tree = shrink(writer.tree, {})
    writer.to_db_file(str(chosen.output))
    print(f"{count} ranges, {chosen.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
