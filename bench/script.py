"""The script that a capable user writes for the same purpose: a regular expression, geoip2, user_agents, rows by the batch into DuckDB.

It is fair to that user: each distinct time, address and agent is parsed once and remembered, rows go to DuckDB as Arrow tables,
and the databases are those that auditlake uses. It keeps no promise beyond that: nothing is redacted, encrypted or accounted
for, a line that does not match is dropped, and a second run stores every row again.

    python -m bench.script access.log out.duckdb
"""

import datetime as dt
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import geoip2.database
import geoip2.errors
import pyarrow as pa
import user_agents

from transforms.geolocate import DEFAULT_ASN, default_city

__all__ = ["COLUMNS", "Enricher", "main", "rows", "store"]

BATCH_ROWS = 50_000

LINE = re.compile(
    r'(?P<address>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>.*?)" (?P<status>\d{3}) (?P<size>\d+|-) '
    r'"(?P<referrer>.*?)" "(?P<agent>.*)"'
)
COLUMNS = pa.schema(
    [
        ("time", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in ("address", "user", "method", "path", "query", "http_version")),
        *((name, pa.int64()) for name in ("status", "size")),
        *((name, pa.string()) for name in ("referrer", "agent")),
        *((name, pa.string()) for name in ("continent", "country_code", "country", "region_code", "region", "city", "postal", "timezone")),
        *((name, pa.float64()) for name in ("latitude", "longitude")),
        ("as_number", pa.int64()),
        ("as_organization", pa.string()),
        *((name, pa.string()) for name in ("browser", "browser_version", "os", "os_version", "device", "device_type")),
    ]
)
Row = tuple[Any, ...]


class Enricher:
    """What an address and an agent say, each distinct one looked up once."""

    def __init__(self, city: Path | None, asn: Path) -> None:
        self._city = geoip2.database.Reader(city) if city else None
        self._asn = geoip2.database.Reader(asn)
        self.place, self.network, self.agent = cache(self._place), cache(self._network), cache(_agent)

    def _place(self, address: str) -> Row:
        if self._city is None:
            return (None,) * 10
        try:
            found = self._city.city(address)
        except (geoip2.errors.AddressNotFoundError, ValueError):
            return (None,) * 10
        region = found.subdivisions[0] if found.subdivisions else None
        country, where = found.country, found.location
        named = found.continent.code, country.iso_code, country.name, region and region.iso_code, region and region.name
        return *named, found.city.name, found.postal.code, where.time_zone, where.latitude, where.longitude

    def _network(self, address: str) -> Row:
        try:
            found = self._asn.asn(address)
        except (geoip2.errors.AddressNotFoundError, ValueError):
            return None, None
        return found.autonomous_system_number, found.autonomous_system_organization


def _agent(text: str) -> Row:
    found = user_agents.parse(text)
    kinds = (("bot", found.is_bot), ("tablet", found.is_tablet), ("mobile", found.is_mobile), ("desktop", found.is_pc))
    kind = next((name for name, is_that in kinds if is_that), "other")
    browser, system = found.browser, found.os
    return browser.family, browser.version_string, system.family, system.version_string, found.device.family, kind


@cache
def _time(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")


def rows(lines: Iterable[str], enricher: Enricher) -> Iterator[Row]:
    """A row of :data:`COLUMNS` for each line that matches."""
    match = LINE.match
    for line in lines:
        if found := match(line):
            address, user, time, request, status, size, referrer, agent = found.groups()
            method, _, rest = request.partition(" ")
            target, _, version = rest.rpartition(" ")
            path, _, query = target.partition("?")
            plain = _time(time), address, user, method, path, query, version, int(status), None if size == "-" else int(size)
            yield *plain, referrer, agent, *enricher.place(address), *enricher.network(address), *enricher.agent(agent)


def store(log: Path, database: Path, enricher: Enricher) -> int:
    """Store the lines of ``log`` in a new ``database``, checkpointed; the number of rows."""
    stored = 0
    with duckdb.connect(database) as connection, log.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        connection.from_arrow(COLUMNS.empty_table()).create("requests")
        every = rows(lines, enricher)
        while batch := list(islice(every, BATCH_ROWS)):
            columns = [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), COLUMNS, strict=True)]
            connection.from_arrow(pa.table(columns, schema=COLUMNS)).insert_into("requests")
            stored += len(batch)
        connection.execute("CHECKPOINT")
    return stored


def main(log: str, database: str) -> None:
    """The command; prints the number of rows."""
    print(store(Path(log), Path(database), Enricher(default_city(), DEFAULT_ASN)))


if __name__ == "__main__":
    main(*sys.argv[1:])
