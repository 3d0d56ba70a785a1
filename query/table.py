"""A result as a table for people: its first rows, without the control characters that a log may hold."""

import io
from typing import Any, BinaryIO

import pyarrow as pa
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from query.cells import plain_column
from query.output import Rows
from query.texts import as_text, safe

__all__ = ["write_table"]

_CELL = 200
_WIDTH = 10_000


def write_table(result: Rows, stream: BinaryIO, terminal: bool, most: int) -> tuple[int, bool]:
    """Draw the first ``most`` rows; returns how many were drawn, and whether there are more.

    :param terminal: whether a person's terminal receives it: then it is as wide as that is.
    """
    shown, cut = _first_rows(result, most)
    names = [safe(name) for name in result.schema.names]
    numbers = [pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t) for t in result.schema.types]
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", write_through=True)
    console = Console(file=text, width=None if terminal else _WIDTH, force_terminal=terminal, emoji=False, highlight=False)
    table = _grid(names, numbers, shown)
    natural = Measurement.get(console, console.options.update(width=_WIDTH), table).maximum
    if terminal and natural > console.width:
        _print_records(console, names, shown)
    else:
        console.print(table)
    counted = f"{len(shown)} row{'s' * (len(shown) != 1)}"
    console.print(f"the first {counted}; there are more: write all with --format csv, json or parquet" if cut else counted)
    text.detach()
    return len(shown), cut


def _first_rows(result: Rows, most: int) -> tuple[list[list[Text]], bool]:
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
