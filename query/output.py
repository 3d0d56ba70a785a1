"""Write a result: as a table for people, as CSV, JSON or Parquet for programs; to standard output or to a file.

Promises: CSV, JSON and Parquet are streamed and hold every row; a table shows the first rows and says when there are more.
A terminal receives no control character out of a log. A file appears whole or not at all, readable by its owner alone,
because results are personal data.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa

from core.errors import AuditlakeError, UsageError
from core.steps import step
from query.cells import plain_column, text_column
from query.run import Result
from query.texts import as_json, safe

if TYPE_CHECKING:
    import pyarrow.csv as pa_csv

__all__ = ["FORMATS", "TABLE_ROWS", "Rows", "Written", "whole_file", "write", "write_to"]

TABLE_ROWS = 1_000
"""Rows that a table shows, unless told otherwise."""


class Rows(Protocol):
    """What can be written: a :class:`query.run.Result`, or what passes one on."""

    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, once."""
        ...


@dataclass(frozen=True)
class _Target:
    """Where to write, whether a person looks at it, and how many rows a table may have."""

    stream: BinaryIO
    terminal: bool
    table_rows: int


@dataclass(frozen=True)
class Written:
    """How many rows were written, and whether a table left rows out."""

    rows: int
    cut: bool = False


def write(result: Result, form: str, out: Path | None = None, table_rows: int = TABLE_ROWS) -> Written:
    """Write all of the result (of a table, the first ``table_rows`` rows).

    :param form: a name of ``FORMATS``.
    :param out: the file to write; ``None`` for standard output.
    :raises UsageError: no such format; ``out`` is no ordinary file; Parquet would go to a terminal; a column has no such form.
    :raises AuditlakeError: the statement failed on the way, or the file cannot be written.
    """
    writer = FORMATS.get(form)
    if writer is None:
        raise UsageError(f"{form!r} is not a format", f"use one of {', '.join(FORMATS)}")
    if out is None:
        if form == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal", "write it to a file with -o")
        sys.stdout.flush()
        written = writer(result, _Target(sys.stdout.buffer, sys.stdout.isatty(), table_rows))
        sys.stdout.buffer.flush()
        return written
    with whole_file(out) as stream:
        return writer(result, _Target(stream, False, table_rows))


def write_to(result: Rows, form: str, stream: BinaryIO) -> Written:
    """The same to a stream that is no terminal; also as ``arrow``, an Arrow IPC stream.

    https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
    """
    writer = _write_arrow if form == "arrow" else FORMATS.get(form)
    if writer is None:
        raise UsageError(f"{form!r} is not a format", f"use one of {', '.join([*FORMATS, 'arrow'])}")
    return writer(result, _Target(stream, False, TABLE_ROWS))


@contextmanager
def whole_file(out: Path) -> Iterator[BinaryIO]:
    """A file beside ``out`` that takes its name when all is written, and vanishes when something fails."""
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} is not an ordinary file", "name a file")
    step("query.write_output")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{out.name[:100]}.", suffix=".part", dir=out.parent)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "choose another place") from None
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        step("query.rename_output")
        temporary.replace(out)
    except BaseException as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise AuditlakeError(f"{out} cannot be written: {error.strerror or error}", "make room or choose another place") from None
        raise


def _write_csv(result: Rows, to: _Target) -> Written:
    import pyarrow.csv as pa_csv

    rows, names = 0, [safe(name) if to.terminal else name for name in result.schema.names]
    writer: pa_csv.CSVWriter | None = None
    for batch in result.batches():
        columns = [text_column(name, column) for name, column in zip(result.schema.names, batch.columns, strict=True)]
        plain = pa.record_batch([_safe_column(each) if to.terminal else each for each in columns], names=names)
        writer = writer or pa_csv.CSVWriter(to.stream, plain.schema)
        writer.write_batch(plain)
        rows += batch.num_rows
    (writer or pa_csv.CSVWriter(to.stream, pa.schema([(name, pa.string()) for name in names]))).close()
    return Written(rows)


def _safe_column(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type):
        return column
    return pa.array([None if text is None else safe(text) for text in column.to_pylist()], pa.string())


def _write_json(result: Rows, to: _Target) -> Written:
    rows = 0
    for batch in result.batches():
        lines = [as_json(row) for row in _rows(result.schema.names, batch)]
        if lines:
            to.stream.write(((",\n" if rows else "[\n") + ",\n".join(lines)).encode())
        rows += len(lines)
    to.stream.write(b"\n]\n" if rows else b"[]\n")
    return Written(rows)


def _rows(names: list[str], batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = [plain_column(name, column) for name, column in zip(names, batch.columns, strict=True)]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _write_arrow(result: Rows, to: _Target) -> Written:
    import pyarrow.ipc

    rows, schema = 0, _parquet_schema(result.schema)
    with pyarrow.ipc.new_stream(pa.PythonFile(to.stream, mode="w"), schema) as writer:
        for batch in result.batches():
            writer.write_batch(_as(schema, batch))
            rows += batch.num_rows
    return Written(rows)


def _as(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with text where its own type is foreign."""
    columns = [
        column if column.type == field.type else text_column(field.name, column)
        for field, column in zip(schema, batch.columns, strict=True)
    ]
    return pa.record_batch(columns, schema=schema)


def _write_parquet(result: Rows, to: _Target) -> Written:
    import pyarrow.parquet as pq

    rows, schema = 0, _parquet_schema(result.schema)
    with pq.ParquetWriter(pa.PythonFile(to.stream, mode="w"), schema, compression="zstd") as writer:
        for batch in result.batches():
            writer.write_batch(_as(schema, batch))
            rows += batch.num_rows
    return Written(rows)


def _parquet_schema(schema: pa.Schema) -> pa.Schema:
    """The same, with what Parquet lacks (intervals, unions, DuckDB's own types) as text."""
    kept = [pa.field(f.name, pa.string() if _is_foreign(f.type) else f.type) for f in schema]
    return pa.schema(kept)


def _is_foreign(kind: pa.DataType) -> bool:
    if kind.num_fields and not pa.types.is_union(kind):
        return any(_is_foreign(kind.field(number).type) for number in range(kind.num_fields))
    return kind == pa.month_day_nano_interval() or pa.types.is_union(kind) or isinstance(kind, pa.BaseExtensionType)


def _write_table(result: Rows, to: _Target) -> Written:
    from query.table import write_table  # what draws it takes a while to import

    return Written(*write_table(result, to.stream, to.terminal, to.table_rows))


FORMATS: dict[str, Callable[[Rows, _Target], Written]] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
"""How a result can be written, by name."""
