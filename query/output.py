"""Write a result: as a table for people, as CSV, JSON or Parquet for programs; to standard output or to a file.

Promises: CSV, JSON and Parquet are streamed and hold every row; a table shows the first rows and says when there are more.
A terminal receives no control character out of a log. A file appears whole or not at all, readable by its owner alone,
because results are personal data.
"""

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from core.errors import AuditlakeError, UsageError
from core.steps import step
from query.cells import as_json, as_text, plain_column, safe, text_column
from query.run import Result

__all__ = ["FORMATS", "TABLE_ROWS", "Written", "write"]

TABLE_ROWS = 1_000
"""Rows that a table shows, unless told otherwise."""

_CELL = 200
_WIDTH = 10_000


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
    with _whole_file(out) as stream:
        return writer(result, _Target(stream, False, table_rows))


@contextmanager
def _whole_file(out: Path) -> Iterator[BinaryIO]:
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


def _write_csv(result: Result, to: _Target) -> Written:
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


def _write_json(result: Result, to: _Target) -> Written:
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


def _write_parquet(result: Result, to: _Target) -> Written:
    rows, schema = 0, _parquet_schema(result.schema)
    with pq.ParquetWriter(pa.PythonFile(to.stream, mode="w"), schema, compression="zstd") as writer:
        for batch in result.batches():
            columns = [
                column if column.type == field.type else text_column(field.name, column)
                for field, column in zip(schema, batch.columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
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


def _write_table(result: Result, to: _Target) -> Written:
    shown, cut = _first_rows(result, to.table_rows)
    names = [safe(name) for name in result.schema.names]
    numbers = [pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t) for t in result.schema.types]
    text = io.TextIOWrapper(to.stream, encoding="utf-8", errors="backslashreplace", write_through=True)
    console = Console(file=text, width=None if to.terminal else _WIDTH, force_terminal=to.terminal, emoji=False, highlight=False)
    table = _grid(names, numbers, shown)
    natural = Measurement.get(console, console.options.update(width=_WIDTH), table).maximum
    if to.terminal and natural > console.width:
        _print_records(console, names, shown)
    else:
        console.print(table)
    counted = f"{len(shown)} row{'s' * (len(shown) != 1)}"
    console.print(f"the first {counted}; there are more: write all with --format csv, json or parquet" if cut else counted)
    text.detach()
    return Written(len(shown), cut)


def _first_rows(result: Result, most: int) -> tuple[list[list[Text]], bool]:
    shown: list[list[Text]] = []
    for batch in result.batches():
        part = batch.slice(0, most + 1 - len(shown))
        columns = [plain_column(name, column) for name, column in zip(result.schema.names, part.columns, strict=True)]
        shown += [[_cell(value) for value in row] for row in zip(*columns, strict=True)]
        if len(shown) > most:
            return shown[:most], True
    return shown, False


def _cell(value: Any) -> Text:
    if value is None:
        return Text("null", style="dim")
    text = safe(as_text(value))
    return Text(text if len(text) <= _CELL else text[: _CELL - 1] + "…")


def _grid(names: list[str], numbers: list[bool], rows: list[list[Text]]) -> Table:
    table = Table(header_style="bold")
    for name, number in zip(names, numbers, strict=True):
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _print_records(console: Console, names: list[str], rows: list[list[Text]]) -> None:
    """One line for each value, for rows too wide for the terminal."""
    width = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        console.rule(f"row {number}", align="left")
        for name, cell in zip(names, row, strict=True):
            console.print(Text(f"{name:<{width}}  ").append_text(cell))


FORMATS: dict[str, Callable[[Result, _Target], Written]] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
"""How a result can be written, by name."""
