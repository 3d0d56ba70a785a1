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
import pyarrow.compute as pc

from core.schema import COLUMNS

__all__ = ["DIMENSIONS", "FACTS", "Coded", "Codes", "Dictionary", "Star", "encode", "encode_columns", "keys_of"]

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
    :param dictionary: what knows the values from batch to batch, if anything does.
    :param codes: the number of each of the values in it, int32[values].
    """

    numbers: Codes
    values: pa.RecordBatch
    dictionary: "Dictionary | None" = None
    codes: Codes | None = None

    def used(self) -> "Coded":
        """The same with those values alone that a row has."""
        marks = np.zeros(len(self.values), np.bool_)
        marks[self.numbers] = True
        if marks.all():
            return self
        places = (np.cumsum(marks) - 1).astype(np.int32)
        codes = None if self.codes is None else self.codes[marks]
        return Coded(places[self.numbers], self.values.filter(pa.array(marks)), self.dictionary, codes)

    def at(self, numbers: Codes) -> "Coded":
        """The same values for other rows: those of these numbers."""
        return Coded(numbers, self.values, self.dictionary, self.codes)


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
        return Star(facts, {name: coded.at(numbers[name]).used() for name, coded in self.dimensions.items()})

    def filter(self, mask: pa.Array) -> "Star":
        """The rows that are marked."""
        kept = np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)
        coded = {name: coded.at(coded.numbers[kept]).used() for name, coded in self.dimensions.items()}
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
    # An address is mostly the client as the log names it: what is the same once more tells nothing.
    telling = [column for column in columns.values() if column is first_column or not column.equals(first_column)]
    parts = [_bits(column).dictionary_encode(null_encoding="encode") for column in telling]
    if len(parts) == 1 and not pa.types.is_floating(first_column.type):
        values = [parts[0].dictionary] * len(columns)
        return Coded(np.asarray(parts[0].indices), pa.RecordBatch.from_arrays(values, names=list(columns)))
    codes, most = np.zeros(len(first_column), np.int64), 1
    for part in parts:
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


class Dictionary:
    """Values of one dimension, each with a number that stays the same from batch to batch.

    :param name: of the dimension.
    :param keeps_values: whether :meth:`coded` will be asked for them.
    """

    def __init__(self, name: str, keeps_values: bool = True) -> None:
        self._name = name
        self._keeps_values = keeps_values
        self._keys = pa.array([], pa.string())
        self._values: pa.RecordBatch | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def codes(self, values: pa.RecordBatch) -> tuple[Codes, "npt.NDArray[np.bool_]"]:
        """The number of each of some values that differ, and which of them are new. New ones get the next numbers, in their order."""
        keys = keys_of(self._name, dict(zip(values.schema.names, values.columns, strict=True)), len(values))
        places = pc.index_in(keys, value_set=self._keys)
        fresh = np.asarray(places.is_null())
        codes = np.asarray(places.fill_null(0)).astype(np.int32)
        codes[fresh] = np.arange(len(self), len(self) + int(fresh.sum()), dtype=np.int32)
        chosen = pa.array(fresh)
        self._keys = pa.concat_arrays([self._keys, keys.filter(chosen)])
        if self._keeps_values:
            added = values.filter(chosen)
            self._values = pa.concat_batches([self._values, added]) if self._values is not None else added
        return codes, fresh

    def coded(self, codes: Codes) -> Coded:
        """Rows of these numbers of it."""
        marks = np.zeros(len(self), np.bool_)
        marks[codes] = True
        used = np.flatnonzero(marks).astype(np.int32)
        numbers = (np.cumsum(marks) - 1).astype(np.int32)[codes]
        assert self._values is not None
        return Coded(numbers, self._values.take(pa.array(used)), self, used)


def keys_of(name: str, columns: Mapping[str, pa.Array], count: int) -> pa.StringArray:
    """Each row of a dimension's columns as one text; no two that differ share it: every value stands after its length."""
    parts: list[pa.Array | str] = []
    first = columns.get(DIMENSIONS[name][0])
    for column in DIMENSIONS[name]:
        values = columns.get(column)
        if values is None or values.null_count == count:
            parts += ["~"]
        elif first is not None and values is not first and values.equals(first):
            parts += ["="]
        else:
            text = _bits(values).cast(pa.string())
            parts += [pc.binary_length(text).cast(pa.string()), text]
    if all(isinstance(part, str) for part in parts):
        return pa.repeat(pa.scalar(":".join(map(str, parts))), count)
    return pc.binary_join_element_wise(*parts, ":", null_handling="replace", null_replacement="~")
