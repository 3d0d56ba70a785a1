"""Hot files attached to one DuckDB: made, opened for as long as one operation lasts, and let go of.

A file appears whole (made beside its place and renamed) or not at all. One that another process holds is waited for, then the
error says who has it.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb

from core.errors import AuditlakeError, LockedError
from core.segment import Segment
from core.steps import step
from storage import extensions, parts
from storage.day_tables import create

__all__ = ["DayFiles", "draft_of", "first_line", "log_of", "transaction"]

_LOCK_WAIT_SECONDS = 30.0
_LOCKED = ("Could not set lock", "Unique file handle conflict")
_LOGGED = "1MB"
"""Rows of about so many bytes are written into the log first; more go into the file at once, which takes half the time. Either is
whole or not at all, and a full disk leaves the file as it was."""


class DayFiles:
    """The hot files below one folder; parameters as those of :class:`storage.hot.HotStore`."""

    def __init__(self, root: Path, scratch: Path, memory_limit: str, threads: int, spill_limit: str) -> None:
        self.root = root
        self._scratch = scratch
        self._spill_limit = spill_limit
        self._config: dict[str, str | bool | int] = {
            "memory_limit": memory_limit,
            "temp_directory": str(scratch),
            "temp_file_encryption": "true",
            "preserve_insertion_order": "false",
            "threads": threads,
        }
        self._connection: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Let go of DuckDB."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def open(self) -> duckdb.DuckDBPyConnection:
        """The connection, opened when first asked for."""
        if self._connection is None:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = extensions.connect(**self._config)
            extensions.load(self._connection, "httpfs")
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute(f"SET wal_autocheckpoint = '{_LOGGED}'")
            self._connection.execute(f"SET max_temp_directory_size = '{self._spill_limit}'")
        return self._connection

    def create(self, segment: Segment, key: str, path: Path) -> None:
        """Make a file without rows.

        :raises AuditlakeError: it cannot be written.
        """
        draft = draft_of(path)
        connection = self.open()
        step("hot.create")
        self.attach(connection, draft, key, "draft")
        try:
            try:
                create(connection, "draft", segment)
            finally:
                connection.execute("DETACH draft")
        except duckdb.Error as error:
            raise AuditlakeError(f"hot file {draft} cannot be written: {first_line(error)}", "see whether the disk is full") from error
        draft.chmod(0o600)
        step("hot.rename")
        log_of(path).unlink(missing_ok=True)  # a dropped file's log would not fit the new file
        draft.rename(path)
        parts.sync_folder(draft.parent)

    @contextmanager
    def writing(self, segment: Segment, key: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
        """One of the segment's files that nobody reads, attached as ``day``; a new one when all are being read."""
        connection = self.open()
        files = parts.parts(self.root, segment)
        for path in reversed(files):
            with suppress(LockedError):
                self.attach(connection, path, key, "day", patience=0)
                break
        else:
            path = parts.unused(self.root, segment)
            self.create(segment, key, path)
            parts.declare(self.root, segment, [*files, path])
            self.attach(connection, path, key, "day")
        with self._detaching(connection, path, "day"):
            yield connection, path

    @contextmanager
    def attached(self, path: Path, key: str, read_only: bool = False, alias: str = "day") -> Iterator[duckdb.DuckDBPyConnection]:
        """A file, attached as long as the block lasts.

        :raises AuditlakeError: as :meth:`attach`, or the file is cut short, or fails while it is used.
        """
        connection = self.open()
        self.attach(connection, path, key, alias, read_only)
        with self._detaching(connection, path, alias):
            yield connection

    @contextmanager
    def all(self, files: Sequence[Path], key: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[str]]]:
        """All these files, attached to read, and the names they are attached by."""
        with ExitStack() as stack:
            names = []
            for number, path in enumerate(files, start=1):
                names.append(f"day{number}")
                stack.enter_context(self.attached(path, key, read_only=True, alias=names[-1]))
            yield self.open(), names

    @contextmanager
    def _detaching(self, connection: duckdb.DuckDBPyConnection, path: Path, alias: str) -> Iterator[None]:
        try:
            try:
                _check_whole(connection, path, alias)
                yield
            finally:
                connection.execute(f"DETACH {alias}")
        except duckdb.Error as error:
            problem = f"hot file {path} cannot be read or written: {first_line(error)}"
            raise AuditlakeError(problem, "see whether the disk is full, then run: auditlake verify") from error

    def attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path,
        key: str,
        alias: str,
        read_only: bool = False,
        patience: float | None = None,
    ) -> None:
        """Attach a file.

        :param patience: how long to wait for another process to let go of it, seconds; ``None`` for half a minute.
        :raises LockedError: another process holds it.
        :raises AuditlakeError: it cannot be opened.
        """
        mode = "READ_ONLY" if read_only else "STORAGE_VERSION 'latest'"
        quoted = str(path).replace("'", "''")
        deadline = time.monotonic() + (_LOCK_WAIT_SECONDS if patience is None else patience)
        while True:
            try:
                connection.execute(f"ATTACH '{quoted}' AS {alias} ({mode}, ENCRYPTION_KEY '{key}')")
                return
            except duckdb.Error as error:
                if not any(word in str(error) for word in _LOCKED):
                    raise AuditlakeError(f"hot file {path} cannot be opened: {first_line(error)}", "run: auditlake verify") from None
                if time.monotonic() >= deadline:
                    raise LockedError(f"hot file {path} is in use{_holder(error)}", "try again when that has ended") from None
                time.sleep(0.05)


def _check_whole(connection: duckdb.DuckDBPyConnection, path: Path, database: str) -> None:
    """A file cut short opens, and counts its rows, as if nothing were missing."""
    query = f"SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = '{database}'"
    needed, found = int(connection.execute(query).fetchall()[0][0]), path.stat().st_size
    if found < needed:
        raise AuditlakeError(f"hot file {path} is cut short: {found} bytes of at least {needed}", "restore it from a backup")


def log_of(path: Path) -> Path:
    """The write-ahead log that a file has after a crash."""
    return path.with_name(path.name + ".wal")


def draft_of(path: Path) -> Path:
    """The name under which the file is made, and nothing of an earlier one there."""
    draft = path.with_name(path.name + ".new")
    draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for leftover in (draft, log_of(draft)):
        leftover.unlink(missing_ok=True)
    return draft


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All that the block does, or nothing."""
    connection.execute("BEGIN")
    try:
        yield
        step("hot.commit")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a COMMIT that failed has ended it already
            connection.execute("ROLLBACK")
        raise


def first_line(error: Exception) -> str:
    """What DuckDB says, on one line, without the key that a statement may have in it."""
    return str(error).splitlines()[0].strip().replace("ENCRYPTION_KEY", "key")


def _holder(error: Exception) -> str:
    match = re.search(r"PID (\d+)", str(error))
    return f" by process {match[1]}" if match else ""
