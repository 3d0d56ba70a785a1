"""Run one statement through the gate and hand its rows over as a stream of Arrow batches.

Promises: memory stays flat whatever the number of rows; the first batch has been read when :func:`run` returns, so a view
that moved (:class:`query.errors.ViewMovedError`) shows before anything was handed over, and the caller can build it anew; every
error on the way is an ``AuditlakeError`` of one line.
"""

import threading
from collections.abc import Iterator
from types import TracebackType

import duckdb
import pyarrow as pa

from core.errors import AuditlakeError
from query.errors import explain
from query.gate import Statement, examine
from query.lake import LakeView, open_lake

__all__ = ["BATCH_ROWS", "Result", "run", "run_on"]

BATCH_ROWS = 20_480
"""Rows of a batch, at most."""


class Result:
    """The rows of one statement; a context manager. ``schema`` names every column once: a second ``x`` is ``x_1``.

    ``rows`` is how many have been handed over.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str, seconds: float | None, owns: bool) -> None:
        self._connection, self._owns, self._seconds, self._expired = connection, owns, seconds, False
        self.rows = 0
        self._timer = self._start_timer(seconds) if seconds is not None else None
        try:
            self._reader = connection.execute(sql).to_arrow_reader(BATCH_ROWS)
            self.schema = _unique_names(self._reader.schema)
            self._first = self._read()
        except BaseException as error:
            self.close()
            raise self._explain(error) from None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, once.

        :raises AuditlakeError: the statement failed on the way, or ran longer than it may.
        """
        batch, self._first = self._first, None
        while batch is not None:
            self.rows += batch.num_rows
            yield batch.rename_columns(self.schema.names)
            try:
                batch = self._read()
            except Exception as error:
                raise self._explain(error) from None

    def close(self) -> None:
        """End the statement and, unless it was lent, the connection; again is nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._owns:
            self._connection.interrupt()  # closing waits for a statement that is still at work
            self._connection.close()

    def __enter__(self) -> "Result":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> pa.RecordBatch | None:
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def _start_timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def _expire(self) -> None:
        self._expired = True
        self._connection.interrupt()

    def _explain(self, error: BaseException) -> BaseException:
        if self._expired:
            return AuditlakeError(f"the query ran longer than {self._seconds:g} seconds", "narrow it, for instance by event_day")
        if isinstance(error, RuntimeError) and "interrupted" in str(error).lower():  # DuckDB's word for a SIGINT
            return KeyboardInterrupt()
        expected = isinstance(error, duckdb.Error | OSError | MemoryError | pa.ArrowException)
        return explain(error) if expected and isinstance(error, Exception) else error


def run(view: LakeView, sql: str | Statement, seconds: float | None = None) -> Result:
    """Open as much of the view as the statement needs, and run it.

    :param sql: a statement, or one that the gate has examined.
    :param seconds: how long the statement may run; ``None`` for as long as it takes.
    :raises UsageError: the gate or DuckDB refuses the statement.
    :raises ViewMovedError: a file of the view is gone: build the view anew.
    :raises LockedError: a writer holds a day file.
    :raises AuditlakeError: it ran too long, needs too much memory, or a file cannot be read.
    """
    statement = examine(sql) if isinstance(sql, str) else sql
    connection = open_lake(view, statement.columns, statement.days, statement.tables)
    return Result(connection, statement.text, seconds, owns=True)


def run_on(connection: duckdb.DuckDBPyConnection, sql: str, seconds: float | None = None) -> Result:
    """The same over a connection of ``query.lake.open_lake``, which stays open; one statement at a time."""
    return Result(connection, examine(sql).text, seconds, owns=False)


def _unique_names(schema: pa.Schema) -> pa.Schema:
    seen: set[str] = set()
    for number, name in enumerate(schema.names):
        unique, count = name, 0
        while unique in seen or (unique != name and unique in schema.names):
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique)
        schema = schema.set(number, schema.field(number).with_name(unique))
    return schema
