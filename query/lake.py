"""One DuckDB that holds nothing but the view ``requests``, over the hot days and the archive, with everything else shut.

Promises: the view has exactly the columns of ``core.schema``, in their order and types, whatever days there are, and also when
there are none. Day files are attached read-only. Once open, the connection reaches no file, address or setting beyond the
archive's table and its own temporary folder, whose files DuckDB encrypts under a key that dies with it. Time zone is UTC.

Time is an argument: ``lake_now()`` is the instant the view was given, and ``now()``, ``current_timestamp``, ``current_date``,
``today()``, ``age(t)`` and the like follow it, so that a simulated directory answers by its own clock.

While a day file is attached no other process can write to it: DuckDB's readers hold a shared lock. Close the connection soon.
"""

import datetime as dt
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.clock import UTC
from core.errors import AuditlakeError, LockedError, UsageError
from core.schema import COLUMNS, Column
from core.steps import step
from core.subject import Subject
from query.days import possible_days
from query.errors import ViewMovedError, explain, one_line
from query.masks import Masks
from query.needs import EVERY_COLUMN
from storage import extensions

__all__ = ["HotFile", "LakeView", "S3Access", "open_lake"]

_LOCKED = ("Could not set lock", "Unique file handle conflict")
_METADATA = "/metadata/"
_SIZE = re.compile(r"[1-9]\d*(\.\d+)? ?[KMGT]i?B\Z", re.IGNORECASE)


@dataclass(frozen=True)
class HotFile:
    """One day's encrypted DuckDB file, with a table ``rows``; ``key`` is its encryption key, as DuckDB takes it.

    :param part: which of the day's files it is, from 1.
    """

    path: Path
    key: str
    day: dt.date
    part: int = 1

    def __repr__(self) -> str:
        return f"HotFile({self.day})"

    @property
    def database(self) -> str:
        """The name it is attached by: ``d20150517``, ``d20150517_2``."""
        return f"d{self.day:%Y%m%d}" + (f"_{self.part}" if self.part > 1 else "")


@dataclass(frozen=True)
class S3Access:
    """How to read the archive's bucket; ``endpoint`` is ``host:port`` without a scheme, empty for Amazon's own."""

    access_key: str
    secret_key: str
    session_token: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    path_style: bool = False
    use_ssl: bool = True

    def __repr__(self) -> str:
        return f"S3Access({self.endpoint or 'Amazon'}, {self.region})"


@dataclass(frozen=True)
class LakeView:
    """What a view is built of.

    :param now: what SQL takes for the present, aware.
    :param temp_dir: a folder that may be made and used for spilled data.
    :param hot: the files of the hot days.
    :param archive: location of the Iceberg table's metadata file, ``file:///…`` or ``s3://…``; ``None`` without an archive.
    :param s3: access to the bucket, when the archive is on S3.
    :param memory_limit: memory for DuckDB's own buffers, such as ``1GB``; values under way come on top (``query.limits``).
    :param temp_limit: disk space for spilled data, such as ``10GB``.
    :param threads: 0 for one per core.
    :param unfinished: asked for once all files are attached, and then can change no more: batches that were not whole when the files
        were looked up. They are not seen.
    :param masks: how personal columns are masked; ``None`` for not at all.
    :param tables: what else a statement may read, by name (:mod:`query.books`).
    :param restricted: subjects whose rows are kept and not seen; ``None`` for none.
    :param patience: how long to wait for a writer to let go of a day file, seconds.
    """

    now: dt.datetime
    temp_dir: Path
    hot: tuple[HotFile, ...] = ()
    archive: str | None = None
    s3: S3Access | None = None
    memory_limit: str = "1GB"
    temp_limit: str = "10GB"
    threads: int = 0
    patience: float = 5.0
    unfinished: Callable[[], frozenset[str]] = frozenset
    masks: Masks | None = None
    tables: Mapping[str, Callable[[], pa.RecordBatchReader]] = field(default_factory=dict, hash=False)
    restricted: Subject | None = None

    def __post_init__(self) -> None:
        if len({file.database for file in self.hot}) != len(self.hot):
            raise ValueError("a file appears twice among the hot ones")
        if self.archive is not None and _METADATA not in self.archive:
            raise ValueError(f"{self.archive!r} is not the location of an Iceberg metadata file")


def open_lake(
    view: LakeView,
    columns: frozenset[str] | None = EVERY_COLUMN,
    days: Sequence[dict[str, Any]] = (),
    tables: frozenset[str] = frozenset(),
) -> duckdb.DuckDBPyConnection:
    """Open the view; the caller closes the connection.

    :param columns: the columns that it has, for a statement that can see no other (:mod:`query.needs`); ``None`` for no view.
    :param days: conditions on the days that it can meet (:mod:`query.days`); the others are left out of the hot ones.
    :param tables: those of ``view.tables`` that the statement reads.
    :raises LockedError: a writer holds a day file.
    :raises ViewMovedError: a day file or the archive's metadata is gone; build the view anew.
    :raises UsageError: a limit is no size or number.
    :raises AuditlakeError: a day file has another key or is damaged; an extension is missing.
    """
    connection = _connect(view, columns is not None or bool(tables))
    try:
        for statement in _clock_macros(view.now):
            connection.execute(statement)
        if columns is not None:
            possible = possible_days(connection, days, sorted({file.day for file in view.hot}))
            seen = replace(view, hot=tuple(file for file in view.hot if file.day in possible))
            connection.execute(_make_view(connection, seen, columns))
        for name in sorted(tables):
            _make_table(connection, name, view.tables[name]())
        for statement in _lock(view):
            connection.execute(statement)
    except duckdb.Error as error:
        connection.close()
        raise explain(error) from None
    except AuditlakeError:
        connection.close()
        raise
    return connection


def _connect(view: LakeView, reads: bool) -> duckdb.DuckDBPyConnection:
    """A connection without the view. A statement that does not read it needs no extension, and spills nothing: httpfs encrypts."""
    folder = str(_temp_folder(view.temp_dir)) if reads else ""
    for name, size in {"memory_limit": view.memory_limit, "temp_limit": view.temp_limit}.items():
        if not _SIZE.match(size):
            raise UsageError(f"{name} {size!r} is not a size", "write a number and a unit, like 1GB")
    threads = {"threads": view.threads} if view.threads else {}
    connection = extensions.connect(temp_directory=folder, python_enable_replacements=False, **threads)
    try:
        if reads:
            extensions.load(connection, "iceberg" if view.archive else "httpfs")
        for setting in _settings(view):
            connection.execute(setting)
        if reads and view.archive and view.s3:
            connection.execute(_secret(_table_root(view.archive), view.s3))
    except (duckdb.Error, AuditlakeError) as error:
        connection.close()
        raise explain(error) if isinstance(error, duckdb.Error) else error from None
    return connection


def _settings(view: LakeView) -> list[str]:
    """Set after connecting: DuckDB 1.5.5 shows a ``max_temp_directory_size`` given at the start, and does not keep it.

    Files read from the archive are not kept in memory: what has been destroyed must not be answered from a cache.
    """
    return [
        f"SET memory_limit = {_text(view.memory_limit)}",
        f"SET max_temp_directory_size = {_text(view.temp_limit)}",
        "SET temp_file_encryption = true",
        "SET enable_external_file_cache = false",
        "SET TimeZone = 'UTC'",
    ]


def _temp_folder(parent: Path) -> Path:
    """A folder of this connection's own, which DuckDB makes when it first spills and removes when it closes."""
    step("query.make_temp_dir")
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = f"query-{socket.gethostname()}-"
    for left in parent.glob(f"{mine}*"):
        pid = left.name.removeprefix(mine).partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            step("query.remove_leftover")
            shutil.rmtree(left, ignore_errors=True)
    return parent / f"{mine}{os.getpid()}-{time.perf_counter_ns()}"


def _alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _attach_all(connection: duckdb.DuckDBPyConnection, view: LakeView) -> None:
    deadline = time.perf_counter() + view.patience
    for file in view.hot:
        while (error := _attach(connection, file)) is not None:
            if not any(word in str(error) for word in _LOCKED):
                raise _attach_error(file, error)
            if time.perf_counter() >= deadline:
                raise LockedError(f"the hot file of {file.day} is being written by another process", "ask again in a moment")
            time.sleep(0.1)


def _attach(connection: duckdb.DuckDBPyConnection, file: HotFile) -> duckdb.Error | None:
    try:
        connection.execute(f"ATTACH {_text(str(file.path))} AS {file.database} (READ_ONLY, ENCRYPTION_KEY {_text(file.key)})")
    except duckdb.Error as error:
        return error
    return None


def _attach_error(file: HotFile, error: duckdb.Error) -> AuditlakeError:
    """Never DuckDB's whole message: it may quote the statement, and with it the key."""
    if not file.path.exists():
        return ViewMovedError(f"the hot file of {file.day} is gone", "ask again")
    return AuditlakeError(f"the hot file of {file.day} cannot be opened: {one_line(error)}", "run auditlake verify")


def _make_view(connection: duckdb.DuckDBPyConnection, view: LakeView, columns: frozenset[str]) -> str:
    """Attach the days; the statement that makes the view over them.

    Rows of all places come by column name: where a day or the archive was made before a column was added, it gives nulls. The
    day comes first, since DuckDB reads the first column where it needs none, and this one takes next to no space.
    """
    from storage.day_tables import SQL_TYPES

    _attach_all(connection, view)
    wanted = [column for column in COLUMNS if column.name in columns]
    looked_at = columns | (view.restricted.columns if view.restricted else frozenset())
    inner = [column for column in COLUMNS if column.name == "event_day"]
    inner += [column for column in COLUMNS if column.name in looked_at and column.name != "event_day"]
    empty = ", ".join(f"NULL::{SQL_TYPES[column.type]} AS {column.name}" for column in inner)
    places = [f"SELECT {empty} WHERE false", *_hot_places(connection, view, inner)]
    if view.archive:
        listed = ", ".join(_text(column.name) for column in inner)
        places.append(f"SELECT COLUMNS(name -> name IN ({listed})) FROM iceberg_scan({_text(view.archive)})")
    shown = wanted or inner[:1]
    values = [view.masks.expression(column) if view.masks else column.name for column in shown]
    keys = view.masks.install(connection, shown) if view.masks else ""
    cast = ", ".join(f"({value})::{SQL_TYPES[column.type]} AS {column.name}" for value, column in zip(values, shown, strict=True))
    rows = _unrestricted(connection, view.restricted, " UNION ALL BY NAME ".join(places))
    return f"CREATE VIEW requests AS SELECT {cast} FROM ({rows}){keys}"


def _unrestricted(connection: duckdb.DuckDBPyConnection, subject: Subject | None, rows: str) -> str:
    """The rows but those of a subject. Its selectors come in as the keys of masks do: no text of SQL holds them."""
    if subject is None:
        return rows
    condition, values = subject.condition()
    connection.execute("CREATE SCHEMA restricting")
    named = ", ".join(f"? AS value{number}" for number in range(len(values)))
    connection.execute(f"CREATE TABLE restricting.given AS SELECT {named}", values)
    first, *others = condition.split("?")
    told = first + "".join(f"given.value{number}{part}" for number, part in enumerate(others))
    return f"SELECT found.* FROM ({rows}) AS found, restricting.given AS given WHERE NOT {told}"


def _make_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.RecordBatchReader) -> None:
    connection.register("given_rows", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given_rows")
    connection.unregister("given_rows")


def _hot_places(connection: duckdb.DuckDBPyConnection, view: LakeView, columns: list[Column]) -> list[str]:
    from storage.day_tables import tables_of, wide

    if not view.hot:
        return []
    tables = tables_of(connection, *(file.database for file in view.hot))
    unfinished = view.unfinished()
    if not unfinished:
        return [wide(tables[file.database], file.database, columns) for file in view.hot]
    hidden = f"WHERE ingest_batch NOT IN ({', '.join(map(_text, sorted(unfinished)))})"
    named = [*columns, *(column for column in COLUMNS if column.name == "ingest_batch" and column not in columns)]
    rows = {file.database: wide(tables[file.database], file.database, named) for file in view.hot}
    return [f"SELECT {', '.join(column.name for column in columns)} FROM ({whole}) {hidden}" for whole in rows.values()]


def _clock_macros(now: dt.datetime) -> list[str]:
    """Macros are found before DuckDB's functions of the same name, and ``current_date`` and its like are calls of these."""
    instant = f"TIMESTAMPTZ '{now.astimezone(UTC).isoformat(sep=' ')}'"
    local = f"TIMESTAMP '{now.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"
    names = {instant: "lake_now now current_timestamp get_current_timestamp transaction_timestamp", local: "current_localtimestamp"}
    names[f"({local})::DATE"] = "current_date today"
    names[f"({local})::TIME"] = "current_time get_current_time current_localtime"
    macros = [f"CREATE MACRO {name}() AS {value}" for value, each in names.items() for name in each.split()]
    midnight = f"({local})::DATE::TIMESTAMPTZ"
    macros.append(f"CREATE MACRO age(t) AS system.main.age({midnight}, t::TIMESTAMPTZ), (t, s) AS system.main.age(t, s)")
    macros.append(f"CREATE MACRO ago(i) AS {instant} - i::INTERVAL")
    return macros


def _lock(view: LakeView) -> list[str]:
    """Shut the doors. What stays open behind them is for the gate to refuse: COPY below the archive, DROP VIEW, CREATE SECRET,
    and the attached files themselves, which DuckDB adds to ``allowed_paths`` when external access ends.
    """
    allowed = _text(_table_root(view.archive)) if view.archive else ""
    return [
        f"SET allowed_directories = [{allowed}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ]


def _table_root(metadata: str) -> str:
    return metadata.rpartition(_METADATA)[0] + "/"


def _secret(root: str, s3: S3Access) -> str:
    values = {"KEY_ID": s3.access_key, "SECRET": s3.secret_key, "SESSION_TOKEN": s3.session_token}
    values |= {"ENDPOINT": s3.endpoint, "REGION": s3.region, "URL_STYLE": "path" if s3.path_style else "vhost", "SCOPE": root}
    given = ", ".join(f"{name} {_text(value)}" for name, value in values.items() if value)
    return f"CREATE SECRET archive (TYPE s3, USE_SSL {str(s3.use_ssl).lower()}, {given})"


def _text(value: str) -> str:
    """An SQL text literal."""
    return "'" + value.replace("'", "''") + "'"
