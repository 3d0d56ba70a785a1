"""Rows as facts and dimensions: what many rows share is held once, and each row has its number.

A request names its client, browser and place, and few of these are new: held once, they cost a tenth of the memory and of the
time to write. A :class:`Star` says the same as a flat table of ``core.schema``; :func:`encode` and :meth:`Star.flat` turn one
into the other without loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.schema import COLUMNS

__all__ = ["DIMENSIONS", "FACTS", "Coded", "Star", "encode", "encode_columns"]

Codes = npt.NDArray[np.int32]

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "client": ("source_address", "source_ip"),
    "country": ("source_geo_continent_code", "source_geo_country_iso_code", "source_geo_country_name"),
    "place": (
        "source_geo_region_iso_code",
        "source_geo_region_name",
        "source_geo_city_name",
        "source_geo_postal_code",
        "source_geo_timezone",
        "source_geo_location_lat",
        "source_geo_location_lon",
    ),
    "network": ("source_as_number", "source_as_organization_name"),
    "agent": ("user_agent_original",),
    "browser": (
        "user_agent_name",
        "user_agent_version",
        "user_agent_os_name",
        "user_agent_os_version",
        "user_agent_device_name",
        "user_agent_device_type",
    ),
    "protocol": ("http_request_method", "http_version", "url_scheme", "url_domain", "url_port"),
    "batch": ("ingest_batch",),
}
"""The columns of each dimension: those that say little more together than one of them alone, so that their values are few."""

_OF_DIMENSIONS = frozenset(name for names in DIMENSIONS.values() for name in names)

FACTS = tuple(column.name for column in COLUMNS if column.name not in _OF_DIMENSIONS)
"""The columns that are each row's own."""

_MOST_PRODUCT = 1 << 62


@dataclass(frozen=True, eq=False)
class Coded:
    """One dimension of many rows.

    :param numbers: for each row the number of its values, int32[rows], 0 to ``len(values) - 1``.
    :param values: the dimension's columns that are there; no two rows need differ.
    """

    numbers: Codes
    values: pa.RecordBatch

    def used(self) -> "Coded":
        """The same with those values alone that a row has."""
        marks = np.zeros(len(self.values), np.bool_)
        marks[self.numbers] = True
        if marks.all():
            return self
        places = (np.cumsum(marks) - 1).astype(np.int32)
        return Coded(places[self.numbers], self.values.filter(pa.array(marks)))


@dataclass(frozen=True, eq=False)
class Star:
    """Rows.

    :param facts: the columns that are each row's own; those that no row fills may be absent.
    :param dimensions: the others, by names of :data:`DIMENSIONS`; an absent one is all null.
    """

    facts: pa.Table
    dimensions: Mapping[str, Coded]

    @property
    def num_rows(self) -> int:
        """How many rows."""
        return int(self.facts.num_rows)

    def parts(self, slices: Sequence[tuple[int, int]]) -> "Star":
        """The rows of these ranges ``[start, end)``, one after the other."""
        if list(slices) == [(0, self.num_rows)]:
            return self
        facts = pa.concat_tables([self.facts.slice(start, end - start) for start, end in slices])
        numbers = {name: np.concatenate([coded.numbers[start:end] for start, end in slices]) for name, coded in self.dimensions.items()}
        return Star(facts, {name: Coded(numbers[name], coded.values).used() for name, coded in self.dimensions.items()})

    def filter(self, mask: pa.Array) -> "Star":
        """The rows that are marked."""
        kept = np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)
        coded = {name: Coded(coded.numbers[kept], coded.values).used() for name, coded in self.dimensions.items()}
        return Star(self.facts.filter(mask), coded)

    def flat(self) -> pa.RecordBatch:
        """The rows with every column that is there in the order of the schema, each value written out."""
        columns = {name: self.facts[name].combine_chunks() for name in self.facts.schema.names}
        for coded in self.dimensions.values():
            numbers = pa.array(coded.numbers)
            columns |= {name: coded.values.column(name).take(numbers) for name in coded.values.schema.names}
        present = [column.name for column in COLUMNS if column.name in columns]
        return pa.RecordBatch.from_arrays([columns[name] for name in present], names=present)


def encode(rows: pa.Table, known: Mapping[str, Coded] | None = None) -> Star:
    """Flat rows, some columns of ``core.schema`` or all, as facts and dimensions.

    :param known: dimensions that are there already; their columns in ``rows`` do not count.
    """
    present, dimensions = set(rows.schema.names), dict(known or {})
    for name, columns in DIMENSIONS.items():
        if name not in dimensions and (wanted := [column for column in columns if column in present]):
            dimensions[name] = encode_columns({column: rows[column].combine_chunks() for column in wanted})
    return Star(rows.select([name for name in FACTS if name in present]), dimensions)


def encode_columns(columns: Mapping[str, pa.Array]) -> Coded:
    """Columns of one dimension, each a value for each row, as their distinct values and the number of each row's."""
    first_column = next(iter(columns.values()))
    codes, most = np.zeros(len(first_column), np.int64), 1
    for column in columns.values():
        if column is not first_column and column.equals(first_column):
            continue  # an address is mostly the client as the log names it
        part = _bits(column).dictionary_encode(null_encoding="encode")
        if most * len(part.dictionary) >= _MOST_PRODUCT:
            codes, most = _renumbered(codes)
        codes = codes * len(part.dictionary) + np.asarray(part.indices)
        most *= max(1, len(part.dictionary))
    numbers, count = _renumbered(codes)
    first = np.empty(count, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    values = [column.take(pa.array(first)) for column in columns.values()]
    return Coded(numbers.astype(np.int32), pa.RecordBatch.from_arrays(values, names=list(columns)))


def _bits(column: pa.Array) -> pa.Array:
    """Floats as the bits that they are: two zeros may differ."""
    return column.view(pa.int64()) if pa.types.is_floating(column.type) else column


def _renumbered(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    encoded = pa.array(codes).dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int64), len(encoded.dictionary)
