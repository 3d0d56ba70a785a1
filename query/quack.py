"""Quack, DuckDB's own client-server protocol (https://duckdb.org/docs/current/quack/security), before a DuckDB that is empty.

Quack calls two functions: one for each connection, with its token, and one for each statement. The second may return a statement that
is run instead, and here always does: what a client wrote never runs in this process. It runs the text of a refusal, a constant
(:mod:`query.quack_client`), or a scan of the Arrow stream that somebody else makes of the answer. So there are no day files, keys,
secrets, paths or other tables behind the port, whatever a statement may hold.

A stream is shown to Quack's connection as a view of one scan. The column :data:`PROBLEM` at its end is null as long as all is well;
a text in it becomes the client's error, since an exception on the way would bring its whole trace.
"""

import itertools
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import duckdb
import pyarrow as pa
from duckdb.func import SPECIAL

from core.errors import AuditlakeError, UsageError
from query.quack_client import constant_answer, scan_by_name
from storage import extensions

__all__ = ["PROBLEM", "Desk", "Gateway", "Stream", "problem_column"]

PROBLEM = "problem"
"""Name of the last column of a stream; it is left out, and may be a name of another column too."""

_MEMORY = "256MB"
_BIND_SECONDS = 5.0


class Stream(Protocol):
    """An answer on its way."""

    @property
    def reader(self) -> pa.RecordBatchReader:
        """Its rows, once, with :data:`PROBLEM` as the last column."""
        ...

    @property
    def done(self) -> bool:
        """Whether nobody will read it any more."""
        ...


class Desk(Protocol):
    """Who decides what a client gets."""

    def enter(self, session: str, token: str) -> bool:
        """Whether the connection may be made; ``session`` is then its name."""
        ...

    def tables(self, session: str) -> frozenset[str]:
        """What its role may read.

        :raises UsageError: it was not let in, or may stay no longer.
        """
        ...

    def ask(self, session: str, sql: str) -> Stream:
        """Begin to answer a statement.

        :raises AuditlakeError: it is refused, or fails before its first row.
        """
        ...

    def look(self, sessions: frozenset[str]) -> None:
        """Called every second with the connections there are."""
        ...


class _Capsule:
    """A stream as DuckDB takes it batch by batch; from a reader of pyarrow itself it would read far ahead."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __arrow_c_schema__(self) -> Any:
        return self._stream.reader.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._stream.reader.__arrow_c_stream__(requested_schema)


@dataclass
class _Shown:
    """A stream with a view of its own, and what keeps its memory."""

    stream: Stream
    held: tuple[Any, ...]


class Gateway:
    """Listens as long as the block lasts.

    :param place: ``host:port``.
    :raises AuditlakeError: it cannot listen there.
    """

    def __init__(self, place: str, desk: Desk) -> None:
        host, _, port = place.rpartition(":")
        self._host, self._port, self._desk = host.strip("[]"), int(port), desk
        self._uri = f"quack:{place}"
        self._numbers, self._shown = itertools.count(1), dict[str, _Shown]()
        self._connection = extensions.connect(threads=1, python_enable_replacements=False)

    def __enter__(self) -> "Gateway":
        try:
            extensions.load(self._connection, "quack")
            self._install()
            _wait_for_port(self._host, self._port)
            other = self._host not in {"localhost", "127.0.0.1", "::1"}
            self._connection.execute(f"CALL quack_serve({_text(self._uri)}, allow_other_hostname := {str(other).lower()})")
        except duckdb.Error as error:
            self._connection.close()
            raise _no_port(str(error).partition("\n")[0]) from None
        except AuditlakeError:
            self._connection.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.execute(f"CALL quack_stop({_text(self._uri)})")
        self._shown.clear()
        self._connection.close()

    def look(self) -> None:
        """To be called every second: tell the desk which connections there are, and forget streams that have been read."""
        with self._connection.cursor() as cursor:
            rows = cursor.execute("SELECT connection_id FROM quack_active_connections()").fetchall()
            self._desk.look(frozenset(name for (name,) in rows))
            for name, shown in list(self._shown.items()):
                if shown.stream.done:
                    cursor.execute(f"DROP VIEW IF EXISTS {name}")
                    del self._shown[name]

    def _install(self) -> None:
        """The two functions; then nothing can be set or opened any more."""
        connection = self._connection
        connection.create_function("may_enter", self._enter, ["varchar"] * 3, "boolean", side_effects=True)
        connection.create_function("run_instead", self._instead, ["varchar"] * 2, "varchar", side_effects=True, null_handling=SPECIAL)
        for setting in (
            "quack_authentication_function = 'may_enter'",
            "quack_authorization_function = 'run_instead'",
            f"memory_limit = '{_MEMORY}'",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET GLOBAL {setting}")

    def _enter(self, session: str, token: str, _: str) -> bool:
        return self._desk.enter(session, token)

    def _instead(self, session: str, sql: str) -> str | None:
        """The statement to run. Quack itself appends to tables; for that it asks with the text of an INSERT, and a text in return
        would be a yes, null is a no."""
        try:
            if own := constant_answer(sql, self._desk.tables(session)):
                return own
            return self._show(self._desk.ask(session, scan_by_name(sql)))
        except AuditlakeError as error:
            told = f"{error.problem}; {error.hint}" if error.hint else error.problem
            return None if sql.lstrip().upper().startswith("INSERT") else f"SELECT error({_text(told)})"

    def _show(self, stream: Stream) -> str:
        name, cursor = f"answer_{next(self._numbers)}", self._connection.cursor()
        capsule = _Capsule(stream)
        relation = cursor.from_arrow(capsule)
        relation.create_view(name)
        self._shown[name] = _Shown(stream, (cursor, relation, capsule))
        problem = _name(stream.reader.schema.names[-1])
        return f"SELECT * EXCLUDE ({problem}) FROM {name} WHERE CASE WHEN {problem} IS NULL THEN true ELSE error({problem}) END"


def problem_column(names: Mapping[str, Any] | list[str]) -> str:
    """:data:`PROBLEM`, longer by as many ``_`` as it needs to be no other column's name."""
    taken, name = {each.casefold() for each in names}, PROBLEM
    while name in taken:
        name += "_"
    return name


def _wait_for_port(host: str, port: int) -> None:
    """Quack shares a port with whoever of the same user has it already; here that is a fault. One that ends may take a moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            with socket.create_server((host, port), family=family):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise _no_port(error.strerror or str(error)) from None
        time.sleep(0.1)


def _no_port(why: str) -> UsageError:
    return UsageError(f"cannot listen for Quack: {why}", "set [serve] quack to another place, or 'off'")


def _text(value: str) -> str:
    """An SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    """An SQL name."""
    return '"' + value.replace('"', '""') + '"'
