"""What every transform is, and the few tools they share.

A transform is a pure, total function of a record batch: the same rows in the same order come out, whatever the strings
hold; it adds or replaces nullable columns with exactly the types of ``core.schema``, and never raises for what a row holds.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core import schema

__all__ = ["LATE", "Lookup", "Numbers", "Transform", "conform", "distinct", "put", "spread", "text_column"]

Numbers = npt.NDArray[np.int64]

LATE = frozenset({"event_day", "ingest_batch", "ingest_row"})
"""Columns that only the caller can fill: where and when the row was read."""


class Transform(Protocol):
    """One enricher."""

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        ...

    @property
    def version(self) -> dict[str, str]:
        """What the result depends on beside the batch: type and build date of its database, version of its rules."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing that is missing or damaged, with the way out; may grow as batches pass."""
        ...

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows, enriched."""
        ...


@runtime_checkable
class Lookup(Transform, Protocol):
    """An enricher whose columns follow from one other column alone, so that each distinct value is looked up once."""

    @property
    def reads(self) -> str:
        """That column, a text."""
        ...

    def columns(self, values: pa.Array) -> dict[str, pa.Array]:
        """The columns for distinct values, of which one may be null."""
        ...


def text_column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The string column of that name; all nulls when the batch lacks it."""
    if name not in batch.schema.names:
        return pa.nulls(len(batch), pa.string())
    return batch.column(name)


def put(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """The batch with these columns set: replaced in place where they exist, appended in their order where not.

    :raises ValueError: a column's type or length is not the schema's or the batch's: a defect of the caller.
    """
    merged = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, array in columns.items():
        if array.type != schema.input_type(name) or len(array) != len(batch):
            raise ValueError(f"column {name} is {array.type}[{len(array)}], not {schema.input_type(name)}[{len(batch)}]")
        merged[name] = array
    if not merged:
        return batch
    return pa.RecordBatch.from_arrays(list(merged.values()), names=list(merged))


def distinct(array: pa.Array) -> tuple[pa.Array, Numbers]:
    """The distinct values without null, and for each row the number of its value, -1 for null."""
    encoded = array.dictionary_encode()
    return encoded.dictionary, encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)


def spread(values: pa.Array, numbers: Numbers) -> pa.Array:
    """The inverse of :func:`distinct`: row i gets value ``numbers[i]``, or null where that is negative."""
    return values.take(pa.array(numbers, mask=numbers < 0))


def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Exactly the stored columns, in the schema's order, null where nothing filled them.

    Those of :data:`LATE`, which are the caller's to fill, stay absent when the batch lacks them.
    """
    present = set(batch.schema.names)
    wanted = [column for column in schema.COLUMNS if column.name in present or column.name not in LATE]
    arrays = [batch.column(c.name) if c.name in present else pa.nulls(len(batch), c.type) for c in wanted]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in wanted])
