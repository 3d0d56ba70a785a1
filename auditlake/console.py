"""What people and machines see: tables and one-line errors for the one, one JSON object for the other.

Standard output holds the result and nothing else; messages and progress go to standard error, progress bars only when
that is a terminal. Text that came from a log is stripped of control characters before a terminal sees it. Rich, which draws
tables and bars, is imported when there is one to draw.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from query.texts import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.context import Progress as Report

__all__ = ["json_was_shown", "progress", "results", "say", "show_json", "show_json_text", "show_pairs", "show_table", "visible"]

_PIPE_WIDTH = 160
_shown: list[bool] = []


def say(text: str) -> None:
    """A message to people, on standard error."""
    print(visible(text), file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """One JSON value on standard output."""
    show_json_text(json.dumps(value, ensure_ascii=False, default=str))


def show_json_text(text: str) -> None:
    """One JSON value on standard output, that is text already; control characters that JSON lets pass as escapes."""
    sys.stdout.write(harmless(text) + "\n")
    sys.stdout.flush()
    _shown.append(True)


def json_was_shown() -> bool:
    """Whether a result has been printed: an error after it must not print a second one."""
    return bool(_shown)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table on standard output; numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    held = [list(row) for row in rows]
    for number, name in enumerate(columns):
        numeric = bool(held) and all(isinstance(row[number], int | float) for row in held)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in held:
        table.add_row(*(Text(_cell(value)) for value in row))
    results().print(table)


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """Names and values, one pair a line, on standard output."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        print(f"{name:<{width}}  {_cell(value)}")


def visible(text: str) -> str:
    """The text with every control character but the newline shown as an escape."""
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def progress() -> Iterator[Report]:
    """A reporter of long work: a bar on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bars:
        task = bars.add_task("", total=None)

        def report(what: str, done: int, whole: int) -> None:
            bars.update(task, description=visible(what), completed=done, total=whole or None)

        yield report


def results() -> Console:
    """Tables fit a terminal, and are wide where there is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else visible(str(value)).replace("\n", "\\n")
