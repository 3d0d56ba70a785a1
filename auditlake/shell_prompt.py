"""The prompt of ``auditlake sql``: editing of several lines, completion and history, by prompt_toolkit."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from auditlake.shell import COMMANDS, FORMATS, split
from core.errors import AuditlakeError, UsageError
from core.schema import COLUMNS
from query.functions import SCALARS, TABLE_FUNCTIONS
from query.needs import VIEW
from query.saved import SavedQuery

__all__ = ["SqlCompleter", "is_complete", "prompts"]

_PROMPT, _MORE = "auditlake> ", "      ...> "
_WORD = re.compile(r"\w*\Z")
_WORDS = """
ALL AND ANY AS ASC BETWEEN BY CASE CAST CROSS DATE DESC DESCRIBE DISTINCT ELSE END EXCEPT EXCLUDE EXISTS FALSE FILTER FROM FULL GROUP
HAVING ILIKE IN INNER INTERSECT INTERVAL IS JOIN LATERAL LEFT LIKE LIMIT NOT NULL NULLS OFFSET ON OR ORDER OVER PARTITION PIVOT QUALIFY
RANGE RECURSIVE RIGHT ROWS SAMPLE SELECT SUMMARIZE THEN TIMESTAMP TIMESTAMPTZ TRUE UNION UNPIVOT USING VALUES WHEN WHERE WINDOW WITH
"""
_KEYWORDS = _WORDS.split()
_FUNCTIONS = sorted(name for name in SCALARS | TABLE_FUNCTIONS if name.isidentifier())


def prompts(saved: Callable[[], dict[str, SavedQuery]], history: Path | None) -> Iterator[str]:
    """What a person types: each time one command, or statements up to a semicolon at the end. Ends with Ctrl-D.

    :param saved: gives the saved queries.
    :param history: the file that keeps what was typed; ``None`` for memory.
    :raises UsageError: the history is no file of one's own.
    """
    session: PromptSession[str] = PromptSession(
        _PROMPT,
        multiline=True,
        prompt_continuation=_MORE,
        history=_history(history),
        completer=SqlCompleter(saved),
        complete_while_typing=False,
        key_bindings=_keys(),
        output=create_output(always_prefer_tty=True),
    )
    while True:
        try:
            text = session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.strip():
            yield text


def is_complete(text: str) -> bool:
    """Whether Enter ends the input: a command, nothing at all, or statements with a semicolon behind the last."""
    return not text.strip() or text.lstrip().startswith("\\") or not split(text)[1].strip()


class SqlCompleter(Completer):
    """Columns, functions and key words; behind a backslash the shell's commands, and what each takes."""

    def __init__(self, saved: Callable[[], dict[str, SavedQuery]]) -> None:
        self._saved = saved
        self._names = [VIEW, *(column.name for column in COLUMNS), *_KEYWORDS, *_FUNCTIONS]
        self._kinds = {VIEW: "view", **dict.fromkeys(_FUNCTIONS, "function"), **dict.fromkeys(_KEYWORDS, "")}
        self._kinds |= {column.name: "column" for column in COLUMNS}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may follow; nothing within a text."""
        before = document.text_before_cursor
        if before.lstrip().startswith("\\"):
            yield from self._of_command(before.lstrip(), complete_event)
        elif not _in_text(before):
            word = _WORD.search(before)
            begun = word[0] if word else ""
            for name in dict.fromkeys(self._names) if begun else ():
                if name.lower().startswith(begun.lower()):
                    yield Completion(name, -len(begun), display_meta=self._kinds[name])

    def _of_command(self, before: str, event: CompleteEvent) -> Iterable[Completion]:
        command, blank, rest = before.partition(" ")
        if not blank:
            yield from _matching({line.split()[0]: meaning for line, meaning in COMMANDS.items()}, command)
        elif command == "\\run":
            yield from self._of_run(rest)
        elif command == "\\format":
            yield from _matching(dict.fromkeys(FORMATS, ""), rest)
        elif command == "\\d":
            yield from _matching({column.name: "" for column in COLUMNS}, rest)
        elif command == "\\o":
            yield from PathCompleter(expanduser=False).get_completions(Document(rest), event)

    def _of_run(self, rest: str) -> Iterable[Completion]:
        try:
            known = self._saved()
        except AuditlakeError:  # running one will say what is wrong
            return
        name, blank, values = rest.partition(" ")
        if not blank:
            yield from _matching({query.name: query.summary for query in known.values()}, name)
        elif name in known:
            yield from _matching({f"{each.name}=": each.meaning for each in known[name].parameters}, values.rpartition(" ")[2])


def _matching(names: dict[str, str], begun: str) -> Iterable[Completion]:
    return (Completion(name, -len(begun), display_meta=meaning) for name, meaning in names.items() if name.startswith(begun))


def _in_text(before: str) -> bool:
    """Whether the cursor stands within a text or comment."""
    rest = split(before)[1]
    return split(f"{rest};")[1] != ""


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def _history(path: Path | None) -> History:
    """History in memory; or in a file that its owner alone can read, since what is typed can name people."""
    if path is None:
        return InMemoryHistory()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"history {path} is not an ordinary file", "name a file")
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"history {path} cannot be written: {error.strerror}", "name a file of your own") from None
    return FileHistory(str(path))
