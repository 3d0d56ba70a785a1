r"""``auditlake sql``: statements one after the other, from a person at a terminal or from standard input.

Each statement runs like that of ``auditlake query``: the data directory is opened, the view built and the gate passed anew, so
a shell that stays open for days sees what is there now and holds no file between two statements. An error is one line, and the
shell goes on; what is read from standard input ends with exit code 1 when something failed. Lines that begin with a backslash
are for the shell itself. Nothing that is typed is kept, unless ``--history`` names a file.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditlake.app import App, common
from auditlake.console import say, show_pairs, show_table
from core.errors import EXIT_FAILED, AuditlakeError, UsageError

if TYPE_CHECKING:
    from query.saved import SavedQuery

__all__ = ["COMMANDS", "FORMATS", "Shell", "split", "sql"]

FORMATS = ("table", "csv", "json", "parquet")
"""Forms of a result, as ``query.output`` has them."""

COMMANDS = {
    "\\?": "these commands",
    "\\d [TEXT]": "columns, those whose name holds the text",
    "\\queries": "saved queries",
    "\\run NAME [KEY=VALUE …]": "answer a saved query",
    "\\format [NAME]": f"form of results: {', '.join(FORMATS)}",
    "\\o [FILE]": "write the next result to a file",
    "\\timing": "say how long each statement took, or no longer",
    "\\q": "leave; so does Ctrl-D. Ctrl-C cancels what runs",
}
"""What may stand behind a backslash, and what it does."""

_LONGEST = 200_000
_PIECE = re.compile(
    r"""(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*\n?|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r"""|(?P<open>(?<!\w)[eE]'|['"]|/\*|\$\w*\$)|(?P<end>;)""",
    re.DOTALL,
)
_NOTHING = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*\Z", re.DOTALL)


@click.command()
@click.option("--history", type=click.Path(path_type=Path), help="Keep what is typed in this file (default: in memory, until you leave).")
@click.option("--stream", default="requests", show_default=True, help="Stream that the view shows.")
@common
def sql(app: App, history: Path | None, stream: str) -> None:
    """Ask one SELECT after the other, each ended by a semicolon; \\? lists what else can be done.

    Where standard input is no terminal, statements are read from it. `--json` begins with `\\format json`.

    \b
    auditlake sql
    cat statements.sql | auditlake sql
    """
    with app.reading() as lake:  # what is wrong with directory or stream is said at once
        if stream not in lake.settings.streams:
            raise UsageError(f"stream {stream!r} is not configured", f"choose one of {', '.join(lake.settings.streams)}")
    shell = Shell(app, stream, "json" if app.as_json else "table")
    if sys.stdin.isatty():
        from auditlake.shell_prompt import prompts

        shell.converse(prompts(shell.saved, history))
    else:
        shell.read_all(_pieces())
        if shell.failures:
            click.get_current_context().exit(EXIT_FAILED)


def split(text: str) -> tuple[list[str], str]:
    """The statements that a semicolon ends, without it, and the rest, empty when it is nothing but comments.

    A semicolon in a text, a quoted name or a comment ends nothing.
    """
    statements, begin = [], 0
    for piece in _PIECE.finditer(text):
        if piece["open"]:
            break
        if piece["end"]:
            statements.append(text[begin : piece.start()])
            begin = piece.end()
    rest = text[begin:]
    return [statement.strip() for statement in statements if not _NOTHING.match(statement)], "" if _NOTHING.match(rest) else rest


@dataclass
class Shell:
    """What holds from one statement to the next.

    :param form: a name of ``FORMATS``.
    :param output: file for the next result.
    :param failures: how many statements and commands failed.
    """

    app: App
    stream: str
    form: str = "table"
    output: Path | None = None
    timing: bool = False
    failures: int = 0

    def converse(self, prompts: Iterator[str]) -> None:
        """Take what a person types, a whole statement or command at a time, until there is no more or ``\\q``."""
        for text in prompts:
            try:
                if not self._take(text):
                    return
            except KeyboardInterrupt:
                say("interrupted")

    def read_all(self, pieces: Iterator[str]) -> None:
        """Take what is in a script, line by line; the last statement needs no semicolon."""
        rest = ""
        for piece in pieces:
            if not rest and piece.lstrip().startswith("\\"):
                if not self._take(piece):
                    return
                continue
            statements, rest = split(rest + piece)
            for statement in statements:
                self._attempt(partial(self._answer, statement))
            if len(rest) > _LONGEST:
                self._attempt(_too_long)
                rest = ""
        if rest:
            self._attempt(partial(self._answer, rest.strip()))

    def saved(self) -> dict[str, SavedQuery]:
        """The saved queries, as they are now."""
        from query.saved import every

        return every(self.app.settings.query.saved)

    def _take(self, text: str) -> bool:
        """Do what a command or some statements say; false to leave."""
        if not text.lstrip().startswith("\\"):
            statements, rest = split(text)
            for statement in [*statements, *filter(None, [rest.strip()])]:
                if not self._attempt(partial(self._answer, statement)):
                    break
            return True
        name, _, rest = text.strip().partition(" ")
        if name in ("\\q", "\\quit", "\\exit"):
            return False
        self._attempt(lambda: self._command(name, rest.strip()))
        return True

    def _attempt(self, act: Callable[[], None]) -> bool:
        """Whether it went well; if not, what is wrong has been said.

        :raises KeyboardInterrupt: it was interrupted.
        """
        try:
            act()
        except AuditlakeError as error:
            return self._failed(str(error))
        except BrokenPipeError:
            raise
        except RuntimeError as error:  # DuckDB's Python client raises it when Ctrl-C meets it at work
            if "interrupted" not in str(error):
                raise
            self.failures += 1
            raise KeyboardInterrupt from None
        except _failures() as error:
            return self._failed(str(getattr(error, "orig", None) or error).splitlines()[0])
        return True

    def _failed(self, why: str) -> bool:
        self.failures += 1
        say(f"auditlake: {why}")
        return False

    def _answer(self, statement: str) -> None:
        from auditlake.analyst import answer

        output, self.output = self.output, None
        began = time.perf_counter()
        with self.app.reading() as lake:
            answer(lake, statement, self.form, output, self.stream)
        if output:
            say(f"wrote {output}")
        if self.timing:
            say(f"{time.perf_counter() - began:.3f} s")

    def _command(self, name: str, rest: str) -> None:
        commands: dict[str, Callable[[str], None]] = {
            "\\?": lambda _: show_pairs(COMMANDS),
            "\\d": _show_columns,
            "\\queries": lambda _: self._show_queries(),
            "\\run": self._run_saved,
            "\\format": self._set_format,
            "\\o": self._set_output,
            "\\timing": lambda _: self._switch_timing(),
        }
        if name not in commands:
            raise UsageError(f"there is no command {name}", "write \\? for all")
        commands[name](rest)

    def _show_queries(self) -> None:
        from auditlake.queries_cli import show_queries

        show_queries(self.saved().values())

    def _run_saved(self, rest: str) -> None:
        from auditlake.queries_cli import given_values
        from query.saved import find

        name, *words = _words(rest.rstrip("; ")) or [""]
        if not name:
            raise UsageError("\\run needs the name of a saved query", "write \\queries for all")
        self._answer(find(name, self.app.settings.query.saved).statement(given_values(words)))

    def _set_format(self, rest: str) -> None:
        if rest and rest not in FORMATS:
            raise UsageError(f"{rest!r} is not a format", f"use one of {', '.join(FORMATS)}")
        self.form = rest or self.form
        say(f"results are written as {self.form}")

    def _set_output(self, rest: str) -> None:
        words = _words(rest)
        if len(words) > 1:
            raise UsageError("\\o takes one file", "put quotes around a name with blanks")
        self.output = Path(words[0]) if words else None
        say(f"the next result goes to {self.output}" if self.output else "results are shown")

    def _switch_timing(self) -> None:
        self.timing = not self.timing
        say(f"timing is {'on' if self.timing else 'off'}")


def _show_columns(rest: str) -> None:
    from core.schema import COLUMNS
    from storage.day_tables import SQL_TYPES

    found = [column for column in COLUMNS if rest.lower() in column.name]
    if not found:
        raise UsageError(f"no column's name holds {rest!r}", "write \\d for all")
    show_table(
        ("column", "type", "personal", "meaning"),
        [(column.name, SQL_TYPES[column.type], "yes" if column.personal else "", column.meaning) for column in found],
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r} cannot be read: {error}", "close the quote") from None


def _pieces() -> Iterator[str]:
    """Standard input, line by line; very long lines in pieces."""
    read = sys.stdin.buffer.readline
    while raw := read(_LONGEST):
        yield raw.decode("utf-8", errors="surrogateescape")


def _too_long() -> None:
    raise UsageError(f"a statement of more than {_LONGEST} characters is too long", "end statements with a semicolon")


def _failures() -> tuple[type[Exception], ...]:
    """What disk and database raise; asked for only once something has gone wrong, since it takes a tenth of a second to import."""
    from sqlalchemy.exc import SQLAlchemyError

    return OSError, SQLAlchemyError
