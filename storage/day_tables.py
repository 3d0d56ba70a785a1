"""The tables of a day file, and the one statement that puts them together again.

``rows`` holds the facts of each request (:mod:`core.star`) and a number for each dimension. Each dimension is a table of its own
name: ``id`` and its columns. ``batches`` holds the batches that are whole. A fact that no row of the day has is in no table.
A quarantine file has its columns in ``rows`` as they are, and ``batches``.

A row is put together by joins, as many as the wanted columns need (:func:`wide`)::

    SELECT event_time, url_path, source_ip, user_agent_name FROM rows
    JOIN client ON client.id = rows.client JOIN browser ON browser.id = rows.browser

Where a dimension's number is absent from ``rows``, its columns may be there themselves: a flat file reads the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.schema import COLUMNS, QUARANTINE_COLUMNS, Column
from core.segment import Segment
from core.star import DIMENSIONS, FACTS, Coded, Dictionary, Star, keys_of

__all__ = [
    "SQL_TYPES",
    "Numbering",
    "Tables",
    "columns_of",
    "copy_without",
    "create",
    "delete_batch",
    "insert",
    "insert_flat",
    "state_of",
    "tables_of",
    "wide",
]

SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.binary(): "BLOB",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}
_BY_NAME = {column.name: column for column in COLUMNS}
_REMEMBERED = 1_000_000
"""Values of a dimension that are known again without a look; beyond it they are forgotten, and may get a second number."""

Tables = Mapping[str, frozenset[str]]
"""The columns of each table of a file."""

Ids = npt.NDArray[np.int32]


def columns_of(segment: Segment) -> tuple[Column, ...]:
    """The columns of a segment's rows: requests, or rejected lines."""
    return QUARANTINE_COLUMNS if segment.is_quarantine else COLUMNS


def create(connection: duckdb.DuckDBPyConnection, database: str, segment: Segment) -> None:
    """Make the tables of an empty file."""
    facts = QUARANTINE_COLUMNS if segment.is_quarantine else tuple(_BY_NAME[name] for name in FACTS if _BY_NAME[name].required)
    _create(connection, f"{database}.rows", facts, () if segment.is_quarantine else tuple(DIMENSIONS))
    for name, columns in {} if segment.is_quarantine else DIMENSIONS.items():
        _create(connection, f"{database}.{name}", [_BY_NAME[column] for column in columns], ("id",))
    connection.execute(f"CREATE TABLE {database}.batches (batch VARCHAR NOT NULL, rows BIGINT NOT NULL)")


def _create(connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[Column], numbers: Iterable[str]) -> None:
    typed = [f'"{column.name}" {SQL_TYPES[column.type]}{" NOT NULL" * column.required}' for column in columns]
    connection.execute(f"CREATE TABLE {table} ({', '.join([*typed, *(f'{name} INTEGER NOT NULL' for name in numbers)])})")


def tables_of(connection: duckdb.DuckDBPyConnection, *databases: str) -> Mapping[str, Tables]:
    """The tables of each of these attached databases."""
    if not databases:
        return {}
    listed = ", ".join(f"'{name}'" for name in databases)
    query = f"SELECT database_name, table_name, list(column_name) FROM duckdb_columns() WHERE database_name IN ({listed}) GROUP BY ALL"
    found: dict[str, dict[str, frozenset[str]]] = {name: {} for name in databases}
    for database, table, columns in connection.execute(query).fetchall():
        found[database][table] = frozenset(columns)
    return found


def wide(tables: Tables, database: str, columns: Iterable[Column] = COLUMNS) -> str:
    """A SELECT of the rows with these columns; what they need is joined, and nothing else."""
    places = {column.name: _place(tables, column) for column in columns}
    joined = {table for table, _ in places.values() if table} - {"rows"}
    names = ", ".join(f'{place[1]} AS "{name}"' for name, place in places.items()) or "NULL"
    source = f"{database}.rows"
    for name in sorted(joined):
        source += f' JOIN {database}."{name}" ON "{name}".id = rows."{name}"'
    return f"SELECT {names} FROM {source}"


def _place(tables: Tables, column: Column) -> tuple[str, str]:
    """Which table has the column, and the expression of it."""
    facts, name = tables.get("rows", frozenset()), column.name
    if name in facts:
        return "rows", f'rows."{name}"'
    for dimension, columns in DIMENSIONS.items():
        if name in columns and dimension in facts:
            return dimension, f'"{dimension}"."{name}"'
    return "", f"NULL::{SQL_TYPES[column.type]}"


@dataclass
class Numbering:
    """The numbers that one day file has given to values, as far as they are remembered.

    :param state: :func:`state_of` the file when this was true; when it is another, another process has written.
    """

    state: tuple[int, str | None]
    keys: dict[str, pa.Array] = field(default_factory=dict)
    ids: dict[str, Ids] = field(default_factory=dict)
    next_id: dict[str, int] = field(default_factory=dict)
    given: dict[str, tuple[Dictionary, Ids]] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, database: str) -> "Numbering":
        """Those of a file."""
        known = cls(state_of(connection, database))
        for name, columns in DIMENSIONS.items():
            known.next_id[name] = int(connection.execute(f"SELECT coalesce(max(id) + 1, 0) FROM {database}.{name}").fetchall()[0][0])
            names = ", ".join(f'"{column}"' for column in columns)
            held = connection.execute(f"SELECT id, {names} FROM {database}.{name} ORDER BY id DESC LIMIT {_REMEMBERED}").to_arrow_table()
            known.ids[name] = held["id"].combine_chunks().to_numpy()
            known.keys[name] = keys_of(name, {column: held[column].combine_chunks() for column in columns}, held.num_rows)
        return known

    def number(self, name: str, coded: Coded) -> tuple[Ids, pa.Table | None]:
        """The file's number of each of a dimension's values, and the values that are new, with their numbers."""
        if coded.dictionary is None or coded.codes is None:
            return self._number(name, coded.values, remember=True)
        given = self._given(name, coded.dictionary, coded.codes)
        ids, fresh = given[coded.codes], None
        missing = ids < 0
        if missing.any():
            ids[missing], fresh = self._number(name, coded.values.filter(pa.array(missing)), remember=False)
            given[coded.codes[missing]] = ids[missing]
        return ids, fresh

    def _given(self, name: str, dictionary: Dictionary, codes: Ids) -> Ids:
        """The file's numbers by those of the dictionary, -1 where there is none yet."""
        owner, given = self.given.get(name, (None, np.empty(0, np.int32)))
        if owner is not dictionary:
            given = np.empty(0, np.int32)
        most = int(codes.max(initial=-1)) + 1
        if most > len(given):
            given = np.concatenate([given, np.full(max(most, 2 * len(given)) - len(given), -1, np.int32)])
        self.given[name] = dictionary, given
        return given

    def _number(self, name: str, values: pa.RecordBatch, remember: bool) -> tuple[Ids, pa.Table | None]:
        """The same by the values themselves, to be known again by them or not."""
        if not remember and not len(self.keys[name]):
            ids = np.arange(self.next_id[name], self.next_id[name] + len(values), dtype=np.int32)
            self.next_id[name] += len(values)
            return ids, _numbered_rows(ids, values)
        keys = keys_of(name, dict(zip(values.schema.names, values.columns, strict=True)), len(values))
        places = pc.index_in(keys, value_set=self.keys[name])
        fresh = np.asarray(places.is_null())
        ids = np.empty(len(keys), np.int32)
        ids[~fresh] = self.ids[name][places.drop_null().to_numpy()]
        if not fresh.any():
            return ids, None
        distinct = keys.filter(pa.array(fresh)).dictionary_encode()
        numbers, first = np.asarray(distinct.indices), np.empty(len(distinct.dictionary), np.int64)
        first[numbers[::-1]] = np.flatnonzero(fresh)[::-1]
        new = np.arange(self.next_id[name], self.next_id[name] + len(first), dtype=np.int32)
        self.next_id[name] += len(first)
        ids[fresh] = new[numbers]
        if remember:
            self._remember(name, distinct.dictionary, new)
        return ids, _numbered_rows(new, values.take(pa.array(first)))

    def _remember(self, name: str, keys: pa.Array, ids: Ids) -> None:
        forget = len(self.keys[name]) + len(keys) > _REMEMBERED
        self.keys[name] = keys if forget else pa.concat_arrays([self.keys[name], keys])
        self.ids[name] = ids if forget else np.concatenate([self.ids[name], ids])


def _numbered_rows(ids: Ids, values: pa.RecordBatch) -> pa.Table:
    return pa.table({"id": ids, **dict(zip(values.schema.names, values.columns, strict=True))})


def state_of(connection: duckdb.DuckDBPyConnection, database: str) -> tuple[int, str | None]:
    """How many batches the file has, and the last one."""
    count, last = connection.execute(f"SELECT count(*), arg_max(batch, rowid) FROM {database}.batches").fetchall()[0]
    return int(count), last


def insert(connection: duckdb.DuckDBPyConnection, database: str, rows: Star, known: Numbering) -> None:
    """Write rows of requests, within the caller's transaction; should that fail, what is ``known`` is no longer true."""
    facts = {
        name: rows.facts[name] for name in rows.facts.schema.names if rows.facts[name].null_count < rows.num_rows or _is_required(name)
    }
    for name in DIMENSIONS:
        facts[name] = pa.array(_numbered(connection, database, name, rows, known))
    _add_columns(connection, database, facts)
    insert_flat(connection, f"{database}.rows", pa.table(facts))


def _is_required(name: str) -> bool:
    return _BY_NAME[name].required


def _numbered(connection: duckdb.DuckDBPyConnection, database: str, name: str, rows: Star, known: Numbering) -> Ids:
    coded = rows.dimensions.get(name)
    if coded is None:
        nothing = pa.RecordBatch.from_arrays(
            [pa.nulls(1, _BY_NAME[column].type) for column in DIMENSIONS[name]], names=list(DIMENSIONS[name])
        )
        coded = Coded(np.zeros(rows.num_rows, np.int32), nothing)
    ids, fresh = known.number(name, coded)
    if fresh is not None:
        insert_flat(connection, f"{database}.{name}", fresh)
    return ids[coded.numbers]


def _add_columns(connection: duckdb.DuckDBPyConnection, database: str, facts: Iterable[str]) -> None:
    """A column is there from the first batch that fills it; the rows before have null in it."""
    there = tables_of(connection, database)[database]["rows"]
    for name in sorted(set(facts) - there):
        connection.execute(f'ALTER TABLE {database}.rows ADD COLUMN "{name}" {SQL_TYPES[_BY_NAME[name].type]}')


def insert_flat(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Write rows as they are, by the names of their columns."""
    connection.register("incoming", rows)
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
    finally:
        connection.unregister("incoming")


def delete_batch(connection: duckdb.DuckDBPyConnection, database: str, batch: str) -> None:
    """Remove a batch's rows of requests, and the values that no other row has, within the caller's transaction."""
    number = f"SELECT id FROM {database}.batch WHERE ingest_batch = ?"
    connection.execute(f"DELETE FROM {database}.rows WHERE batch IN ({number})", [batch])
    for name in DIMENSIONS:
        connection.execute(f"DELETE FROM {database}.{name} WHERE id NOT IN (SELECT {name} FROM {database}.rows)")


def copy_without(connection: duckdb.DuckDBPyConnection, database: str, copy: str, segment: Segment, gone: str) -> None:
    """Make the tables of an empty file, and fill them with another file's rows but those of ``gone``.

    :param gone: a relation of ``ingest_batch`` and ``ingest_row``.
    """
    create(connection, copy, segment)
    connection.execute(f"INSERT INTO {copy}.batches FROM {database}.batches")
    if segment.is_quarantine:
        connection.execute(f"INSERT INTO {copy}.rows FROM {database}.rows ANTI JOIN {gone} USING (ingest_batch, ingest_row)")
        return
    _add_columns(connection, copy, tables_of(connection, database)[database]["rows"])
    numbered = f"(SELECT id AS batch, ingest_row FROM {gone} JOIN {database}.batch USING (ingest_batch))"
    connection.execute(f"INSERT INTO {copy}.rows BY NAME FROM {database}.rows ANTI JOIN {numbered} USING (batch, ingest_row)")
    for name in DIMENSIONS:
        used = f"SELECT {name} FROM {copy}.rows"
        connection.execute(f"INSERT INTO {copy}.{name} BY NAME FROM {database}.{name} WHERE id IN ({used})")
