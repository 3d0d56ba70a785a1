"""The columns of place and network: where in a record of a GeoIP database each is, read one by one or for many records at once.

Both ways give the same: a text that is there and not empty, coordinates that are on the globe, a number that may be an autonomous
system's; null for anything else. Keys of the records: https://dev.maxmind.com/geoip/docs/databases.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from transforms.base import Numbers
from transforms.mmdb import Database
from transforms.mmdb_records import Chosen, Path

__all__ = ["COLUMNS", "Field", "Kind", "Values"]

Kind = Literal["city", "asn"]

_MAX_AS_NUMBER = 2**32 - 1


class Values:
    """What the fields need of many records, found at once.

    :param keys: of records of the database. :param chosen: all paths of the fields.
    :ivar odd: records that must be read one by one, whatever the fields say of them; complete once all fields have been read.
    """

    def __init__(self, database: Database, keys: Numbers, chosen: Chosen) -> None:
        self.tokens = database.tokens
        found = database.read(keys, chosen)
        self.odd = found.odd
        self._places: dict[Path, Numbers] = dict(zip(chosen.paths, found.places, strict=True))
        self._texts: dict[Path, pa.Array] = {}

    def places(self, path: Path) -> Numbers:
        """Where in the file the values of that path are; -1 where there is none."""
        return self._places[path]

    def texts(self, path: Path) -> pa.Array:
        """The texts of that path, null where there is none or an empty one."""
        if path not in self._texts:
            self._texts[path] = self.tokens.texts(self._places[path])
        return self._texts[path]


class Field(Protocol):
    """One column, as records have it."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What must be found of the records."""
        ...

    def one(self, record: Any) -> str | int | float | None:
        """The value of a decoded record, whatever that is."""
        ...

    def many(self, values: Values) -> pa.Array:
        """The values of all records; those it cannot judge become odd."""
        ...


@dataclass(frozen=True)
class _Text:
    path: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def one(self, record: Any) -> str | None:
        value = _dig(record, self.path)
        return value if isinstance(value, str) and value else None

    def many(self, values: Values) -> pa.Array:
        return values.texts(self.path)


@dataclass(frozen=True)
class _Region:
    """A subdivision's code with its country's before it."""

    country: _Text = _Text(("country", "iso_code"))
    division: _Text = _Text(("subdivisions", 0, "iso_code"))

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*self.country.paths, *self.division.paths)

    def one(self, record: Any) -> str | None:
        country, division = self.country.one(record), self.division.one(record)
        return f"{country}-{division}" if country and division else None

    def many(self, values: Values) -> pa.Array:
        return pc.binary_join_element_wise(self.country.many(values), self.division.many(values), "-")


@dataclass(frozen=True)
class _Degrees:
    """A coordinate; databases hold doubles, other numbers are read one by one."""

    name: str
    limit: float

    @property
    def paths(self) -> tuple[Path, ...]:
        return (("location", self.name),)

    def one(self, record: Any) -> float | None:
        value = _dig(record, ("location", self.name))
        real = isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= self.limit
        return float(value) if real else None

    def many(self, values: Values) -> pa.Array:
        degrees, known, other = values.tokens.doubles(values.places(self.paths[0]))
        values.odd |= other
        with np.errstate(invalid="ignore"):  # what is no double may look like a signalling one
            return pa.array(degrees, mask=~(known & (np.abs(degrees) <= self.limit)))


@dataclass(frozen=True)
class _SystemNumber:
    """Number of an autonomous system; databases hold up to 32 bits, other integers are read one by one."""

    paths: tuple[Path, ...] = (("autonomous_system_number",),)

    def one(self, record: Any) -> int | None:
        value = _dig(record, self.paths[0])
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_AS_NUMBER else None

    def many(self, values: Values) -> pa.Array:
        numbers, known, other = values.tokens.unsigned(values.places(self.paths[0]))
        values.odd |= other
        return pa.array(numbers, schema.by_name("source_as_number").type, mask=~known)


def _dig(record: Any, path: Path) -> Any:
    """The value at a path of keys and list positions, ``None`` where the path ends early."""
    for key in path:
        if isinstance(record, dict) and isinstance(key, str):
            record = record.get(key)
        elif isinstance(record, list) and isinstance(key, int) and key < len(record):
            record = record[key]
        else:
            return None
    return record


COLUMNS: dict[Kind, dict[str, Field]] = {
    "city": {
        "source_geo_continent_code": _Text(("continent", "code")),
        "source_geo_country_iso_code": _Text(("country", "iso_code")),
        "source_geo_country_name": _Text(("country", "names", "en")),
        "source_geo_region_iso_code": _Region(),
        "source_geo_region_name": _Text(("subdivisions", 0, "names", "en")),
        "source_geo_city_name": _Text(("city", "names", "en")),
        "source_geo_postal_code": _Text(("postal", "code")),
        "source_geo_timezone": _Text(("location", "time_zone")),
        "source_geo_location_lat": _Degrees("latitude", 90.0),
        "source_geo_location_lon": _Degrees("longitude", 180.0),
    },
    "asn": {"source_as_number": _SystemNumber(), "source_as_organization_name": _Text(("autonomous_system_organization",))},
}
"""For each kind of database, the columns it fills."""
