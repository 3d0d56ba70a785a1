"""A day file's rows in the archive's order, and their digest, without writing out what many rows share.

Only the facts of the rows are sorted, by the rank of the client and of the agent; the columns of the dimensions are then
dictionaries with the numbers of the rows. See :mod:`storage.day_tables` for the tables and :mod:`core.star` for what they mean.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.schema import COLUMNS, by_name
from core.star import DIMENSIONS, FACTS
from storage.archive_files import ORDER
from storage.day_tables import Tables, wide
from storage.digest import EMPTY, Digest, Words, digest_of_words, distinct, nulls, words

__all__ = ["digest_of_day", "in_order"]

_BATCH_ROWS = 262_144
_MOST_HELD = 6_000_000
"""Values of all dimensions that are held in memory; a day with more is sorted as it is, by DuckDB alone."""


def in_order(connection: duckdb.DuckDBPyConnection, database: str, tables: Tables, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of requests in the stored columns, sorted by :data:`storage.archive_files.ORDER`, about so many at a time."""
    if not _is_star(tables) or _held(connection, database) > _MOST_HELD:
        order = ", ".join(f'"{name}"' for name in ORDER)
        yield from connection.execute(f"{wide(tables, database)} ORDER BY {order}").to_arrow_reader(batch_rows)
        return
    dimensions = {name: _Dimension(connection, database, name) for name in DIMENSIONS}
    facts = connection.execute(_sorted_facts(database)).to_arrow_reader(batch_rows)
    yield from (_put_together(batch, dimensions) for batch in facts)


def digest_of_day(connection: duckdb.DuckDBPyConnection, database: str, tables: Tables) -> Digest:
    """The digest of the rows of requests: each dimension's values are looked at once."""
    parts = {name: _parts(connection, database, name) for name in DIMENSIONS}
    facts = [by_name(name) for name in FACTS if name in tables["rows"]]
    absent = nulls(by_name(name) for name in FACTS if name not in tables["rows"])
    selected = ", ".join(f'"{name}"' for name in [*(column.name for column in facts), *DIMENSIONS])
    total = EMPTY
    for batch in connection.execute(f"SELECT {selected} FROM {database}.rows").to_arrow_reader(_BATCH_ROWS):
        found = words(pa.Table.from_batches([batch]), facts) + absent
        for name, part in parts.items():
            found += part[np.asarray(batch[name])]
        total += digest_of_words(found)
    return total


def _parts(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> Words:
    """What the dimension's columns contribute to a row, by its number."""
    values = connection.execute(f'SELECT * FROM {database}."{name}"').to_arrow_table()
    ids = np.asarray(values["id"])
    parts = np.zeros(int(ids.max(initial=-1)) + 1, np.uint64)
    parts[ids] = words(values, [by_name(column) for column in DIMENSIONS[name]])
    return parts


def _is_star(tables: Tables) -> bool:
    return all(name in tables and name in tables["rows"] for name in DIMENSIONS)


def _held(connection: duckdb.DuckDBPyConnection, database: str) -> int:
    counts = " + ".join(f'(SELECT count(*) FROM {database}."{name}")' for name in DIMENSIONS)
    return int(connection.execute(f"SELECT {counts}").fetchall()[0][0])


def _sorted_facts(database: str) -> str:
    """A SELECT of ``rows`` in order; numbers stand for the texts that they are sorted by, and are as many."""
    ranks = {"client": "source_ip, source_address", "agent": "user_agent_original", "batch": "ingest_batch"}
    source = f"{database}.rows"
    for name, order in ranks.items():
        ranked = f"SELECT id AS {name}, rank() OVER (ORDER BY {order})::INTEGER AS place FROM {database}.{name}"
        source += f" JOIN ({ranked}) AS {name}_rank USING ({name})"
    return f"SELECT rows.* FROM {source} ORDER BY client_rank.place, agent_rank.place, event_time, batch_rank.place, ingest_row"


class _Dimension:
    """A dimension's columns, each as its distinct values and, by the dimension's number, the number of its value."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, database: str, name: str) -> None:
        values = connection.execute(f'SELECT * FROM {database}."{name}" ORDER BY id').to_arrow_table()
        self._ids = np.asarray(values["id"])
        self._columns = {column: distinct(values[column].combine_chunks()) for column in DIMENSIONS[name]}

    def columns(self, numbers: "npt.NDArray[np.int32]") -> Mapping[str, pa.DictionaryArray]:
        """The columns of rows that have these numbers."""
        marks = np.zeros(int(self._ids[-1]) + 1, np.bool_)
        marks[numbers] = True
        places = (np.cumsum(marks) - 1).astype(np.int32)
        rows, each = pa.array(np.searchsorted(self._ids, np.flatnonzero(marks))), pa.array(places[numbers])
        return {name: _taken(coded, rows, each) for name, coded in self._columns.items()}


def _taken(coded: pa.DictionaryArray, rows: pa.Array, each: pa.Array) -> pa.DictionaryArray:
    """The values at ``rows``, one for each of ``each``, with no more in the dictionary than there are."""
    picked = coded.indices.take(rows).dictionary_encode()
    return pa.DictionaryArray.from_arrays(picked.indices.take(each), coded.dictionary.take(picked.dictionary))


def _put_together(facts: pa.RecordBatch, dimensions: Mapping[str, _Dimension]) -> pa.RecordBatch:
    there: dict[str, Any] = {name: facts[name] for name in FACTS if name in facts.schema.names}
    for name, dimension in dimensions.items():
        there |= dimension.columns(np.asarray(facts[name]))
    columns = [there[c.name] if c.name in there else pa.nulls(len(facts), c.type) for c in COLUMNS]
    return pa.RecordBatch.from_arrays(columns, [column.name for column in COLUMNS])
