"""Order-independent digest of rows' content: what must be equal before a copy may replace its original.

Each value becomes a word of 64 bits: of text, bytes and floating-point numbers (as DuckDB writes them) the low half of their
MD5; integers as they are, times as microseconds and dates as days since 1970, negative ones as their two's complement; null
is 0. Each word is multiplied by its column's factor, the low half of the MD5 of the column's name made odd. A further word,
under the factor of the empty name, has the bit ``2**(id - 1)`` of each column that is null. The sum of these products, stirred by the
finaliser of MurmurHash3, is the row's number, and the sum of the rows' numbers the digest. All of it modulo 2^64.

The digest does not depend on the order of the rows, can be taken in parallel, and those of two disjoint sets of rows add up.
A column's part of a row can be taken apart from the others' (:func:`words`), so that what many rows share is looked at once.
It finds damage and loss, not malice: the ledger's SHA-256 chain stands behind it. docs/adr/0008-content-digest.md has it as SQL.

MD5's low half is ``md5_number_lower``: its last eight bytes, the lowest first. The finaliser is ``fmix64`` of
https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp.
"""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.schema import Column
from storage import extensions

__all__ = ["EMPTY", "METHOD", "Digest", "Words", "digest_of", "digest_of_rows", "digest_of_words", "distinct", "nulls", "words"]

METHOD = 2
"""Number of this construction; digests of another one cannot be compared. The first was the MD5 of each row written as text."""

Words = npt.NDArray[np.uint64]
"""One word for each row."""

_BATCH_ROWS = 262_144


@dataclass(frozen=True)
class Digest:
    """How many rows, and the sum of their numbers as 16 hexadecimal digits."""

    rows: int
    sum: str

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(self.rows + other.rows, f"{(int(self.sum, 16) + int(other.sum, 16)) % 2**64:016x}")


EMPTY = Digest(0, "0" * 16)


def digest_of(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Column]) -> Digest:
    """The digest of everything in a relation.

    :param relation: trusted SQL after FROM.
    """
    names = ", ".join(f'"{column.name}"' for column in columns)
    batches = connection.execute(f"SELECT {names} FROM {relation}").to_arrow_reader(_BATCH_ROWS)
    return digest_of_rows((pa.Table.from_batches([batch]) for batch in batches), columns)


def digest_of_rows(tables: Iterable[pa.Table], columns: Sequence[Column]) -> Digest:
    """The digest of Arrow tables that have these columns, plain or as dictionaries."""
    return sum((digest_of_words(words(table, columns)) for table in tables), EMPTY)


def digest_of_words(parts: Words) -> Digest:
    """The digest of rows whose columns' parts are added up."""
    stirred = parts.copy()
    stirred ^= stirred >> np.uint64(33)
    stirred *= np.uint64(0xFF51AFD7ED558CCD)
    stirred ^= stirred >> np.uint64(33)
    stirred *= np.uint64(0xC4CEB9FE1A85EC53)
    stirred ^= stirred >> np.uint64(33)
    return Digest(len(parts), f"{int(stirred.sum(dtype=np.uint64)):016x}")


def words(table: pa.Table, columns: Sequence[Column]) -> Words:
    """What these columns contribute to each row: to be added to what the others do."""
    total = np.zeros(table.num_rows, np.uint64)
    for column in columns if table.num_rows else ():
        values = table[column.name].combine_chunks()
        if values.null_count == len(values):
            total += nulls([column])
            continue
        if values.null_count:
            total += np.asarray(values.is_null()).astype(np.uint64) * nulls([column])
        total += _products(values, column)
    return total


def nulls(columns: Iterable[Column]) -> np.uint64:
    """What these columns contribute to a row in which they are all null."""
    return np.uint64(sum(2 ** (column.id - 1) for column in columns) * int(_factor("")) % 2**64)


@functools.cache
def _factor(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.md5(name.encode(), usedforsecurity=False).digest()[8:], "little") | 1)


def _products(values: pa.Array, column: Column) -> Words:
    """Each value's word times the column's factor; 0 for null."""
    if _is_whole(values.type):
        return _whole(values) * _factor(column.name)
    coded = distinct(values)
    each = _whole(coded.dictionary) if _is_whole(coded.dictionary.type) else _md5(coded.dictionary)
    found = np.append(each * _factor(column.name), np.uint64(0))
    picked: Words = found[np.asarray(coded.indices.fill_null(len(found) - 1))]
    return picked


def _whole(values: pa.Array) -> Words:
    days_or_not = values.cast(pa.int32()) if pa.types.is_date(values.type) else values
    return np.asarray(days_or_not.cast(pa.int64()).fill_null(0)).view(np.uint64)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def distinct(values: pa.Array) -> pa.DictionaryArray:
    """The values as a dictionary, in which floating-point numbers are told apart by their bits: there are two zeros."""
    if pa.types.is_dictionary(values.type):
        return values
    if not pa.types.is_floating(values.type):
        return values.dictionary_encode()
    coded = values.view(pa.int64()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices, coded.dictionary.view(values.type))


def _md5(values: pa.Array) -> Words:
    """The low half of each value's MD5, in their order: one thread, else DuckDB may change it."""
    text = "given" if pa.types.is_binary(values.type) else "given::VARCHAR"
    given = _duckdb().cursor().from_arrow(pa.table({"given": values}))
    return np.asarray(given.project(f"md5_number_lower({text}) AS word").to_arrow_table()["word"].combine_chunks())


@functools.cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    return extensions.connect(threads=1, preserve_insertion_order=True)
