"""Hot storage: one encrypted DuckDB file for each segment, ``<root>/<stream>/<day>.duckdb``.

Promises: one transaction writes a batch's rows of that day together with the batch's id, so a batch repeated after a
crash is skipped. A file appears whole (made beside its place and renamed) or not at all. A file is attached only as long
as one operation lasts, so other processes can read between two; one that meets a reader's lock waits, then says who has
it. Encryption is DuckDB's own (AES-256-GCM), under a key of the segment's own.
"""

import datetime as dt
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from core.errors import AuditlakeError, LockedError
from core.schema import stored_schema
from core.segment import Segment
from core.star import Star, encode
from core.steps import step
from storage import extensions
from storage.day_order import digest_of_day, in_order
from storage.day_tables import (
    Numbering,
    columns_of,
    copy_without,
    create,
    delete_batch,
    insert,
    insert_flat,
    state_of,
    tables_of,
    wide,
)
from storage.digest import Digest, digest_of

__all__ = ["HotStore", "columns_of"]

_LOCK_WAIT_SECONDS = 30.0
_FILES_REMEMBERED = 4
_LOGGED = "1MB"
"""Rows of about so many bytes are written into the log first; more go into the file at once, which takes half the time. Either is
whole or not at all, and a full disk leaves the file as it was."""
_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.duckdb")


class HotStore:
    """The hot files below one folder.

    :param root: the folder, made when absent.
    :param scratch: where DuckDB may spill, encrypted.
    :param memory_limit: DuckDB's limit, such as ``512MB``.
    :param threads: threads DuckDB may use; 0 for one a core.
    :param spill_limit: disk space for spilled pages, such as ``20GB``; DuckDB heeds it only when set after connecting.
    """

    def __init__(self, root: Path, scratch: Path, memory_limit: str = "512MB", threads: int = 0, spill_limit: str = "20GB") -> None:
        self._root = root
        self._scratch = scratch
        self._spill_limit = spill_limit
        self._config: dict[str, str | bool | int] = {
            "memory_limit": memory_limit,
            "temp_directory": str(scratch),
            "temp_file_encryption": "true",
            "preserve_insertion_order": "false",
        }
        self._threads = threads or os.cpu_count() or 1
        self._config["threads"] = self._threads
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._numbers: dict[Segment, Numbering] = {}

    def path(self, segment: Segment) -> Path:
        """Where the segment's file is or would be."""
        return self._root / segment.stream / f"{segment.day.isoformat()}.duckdb"

    def exists(self, segment: Segment) -> bool:
        """Whether the segment has a hot file."""
        return self.path(segment).exists()

    def bytes(self, segment: Segment) -> int:
        """Size of the segment's file and its write-ahead log, 0 when absent."""
        return sum(path.stat().st_size for path in self._files_of(segment) if path.exists())

    def segments(self) -> Iterator[tuple[Segment, Path]]:
        """Every segment with a file, and every file below the root; a file that is no segment's has the day 0001-01-01."""
        for path in sorted(self._root.rglob("*")):
            if path.is_file():
                yield Segment(path.parent.name, _day_of(path.name)), path

    def append(self, segment: Segment, key: str, rows: pa.Table | Star, batch: str) -> bool:
        """Write a batch's rows durably; returns False, and writes nothing, when the batch is there already.

        One thread writes: the next batch is parsed beside it, and two writers need twice the memory and a third more time.

        :param rows: at least the required columns, in any order; absent ones become null.
        """
        if not self.exists(segment):
            self._create(segment, key)
        with self._attached(segment, key) as connection:
            if connection.execute("SELECT 1 FROM day.batches WHERE batch = ?", [batch]).fetchone():
                return False
            connection.execute("SET threads = 1")
            step("hot.insert")
            known = self._numbers.pop(segment, None)
            try:
                with _transaction(connection):
                    known = self._insert(connection, segment, rows, known)
                    connection.execute("INSERT INTO day.batches VALUES (?, ?)", [batch, rows.num_rows])
                self._remember(connection, segment, known)
            finally:
                connection.execute(f"SET threads = {self._threads}")
            step("hot.checkpoint")
        return True

    def _insert(
        self, connection: duckdb.DuckDBPyConnection, segment: Segment, rows: pa.Table | Star, known: Numbering | None
    ) -> Numbering | None:
        if segment.is_quarantine:
            insert_flat(connection, "day.rows", rows.flat() if isinstance(rows, Star) else rows)
            return None
        if known is None or known.state != state_of(connection, "day"):
            known = Numbering.read(connection, "day")
        insert(connection, "day", rows if isinstance(rows, Star) else encode(rows), known)
        return known

    def _remember(self, connection: duckdb.DuckDBPyConnection, segment: Segment, known: Numbering | None) -> None:
        """Keep what is known of the files last written to."""
        if known is not None:
            known.state = state_of(connection, "day")
            self._numbers[segment] = known
            while len(self._numbers) > _FILES_REMEMBERED:
                del self._numbers[next(iter(self._numbers))]

    def remove_batch(self, segment: Segment, key: str, batch: str) -> None:
        """Take back what :meth:`append` wrote of a batch that was never finished."""
        if not self.exists(segment):
            return
        with self._attached(segment, key) as connection:
            step("hot.undo")
            with _transaction(connection):
                if segment.is_quarantine:
                    connection.execute("DELETE FROM day.rows WHERE ingest_batch = ?", [batch])
                else:
                    delete_batch(connection, "day", batch)
                connection.execute("DELETE FROM day.batches WHERE batch = ?", [batch])

    def rewrite_without(self, segment: Segment, key: str, lines: Sequence[tuple[str, int]]) -> int:
        """Leave out rows named by (``ingest_batch``, ``ingest_row``) by writing the file anew; returns how many went.

        DuckDB's DELETE leaves a row's bytes in the file, so the file is copied without them and replaced.
        """
        draft = self._draft(segment)
        with self._attached(segment, key) as connection:  # to write: a log that a crash left would not fit the new file
            gone = {"ingest_batch": [name for name, _ in lines], "ingest_row": pa.array([row for _, row in lines], pa.int64())}
            connection.register("gone", pa.table(gone))
            self._attach(connection, draft, key, "draft")
            try:
                step("hot.rewrite")
                copy_without(connection, "day", "draft", segment, "gone")
                count = "SELECT (SELECT count(*) FROM day.rows) - (SELECT count(*) FROM draft.rows)"
                removed = int(connection.execute(count).fetchall()[0][0])
            finally:
                connection.unregister("gone")
                connection.execute("DETACH draft")
        draft.chmod(0o600)
        step("hot.replace")
        draft.rename(self.path(segment))
        _sync_folder(draft.parent)
        return removed

    def digest(self, segment: Segment, key: str) -> Digest:
        """Row count and content digest of the file."""
        with self._attached(segment, key, read_only=True) as connection:
            if segment.is_quarantine:
                return digest_of(connection, "day.rows", columns_of(segment))
            return digest_of_day(connection, "day", tables_of(connection, "day")["day"])

    def count(self, segment: Segment, key: str) -> int:
        """Rows in the file; 0 when there is none."""
        if not self.exists(segment):
            return 0
        with self._attached(segment, key, read_only=True) as connection:
            return int(connection.execute("SELECT count(*) FROM day.rows").fetchall()[0][0])

    def oldest(self, segment: Segment, key: str) -> dt.datetime | None:
        """Earliest ``event_time`` in the file."""
        with self._attached(segment, key, read_only=True) as connection:
            value = connection.execute("SELECT min(event_time) AS t FROM day.rows").to_arrow_table()["t"][0].as_py()
            return value if isinstance(value, dt.datetime) else None

    @contextmanager
    def read(self, segment: Segment, key: str, order: str = "", batch_rows: int = 122_880) -> Iterator[pa.RecordBatchReader]:
        """All rows, streamed, in the schema's columns and types.

        :param order: trusted SQL after ORDER BY; empty for any order.
        """
        with self._attached(segment, key, read_only=True) as connection:
            sql = _wide(connection, segment) + (f" ORDER BY {order}" if order else "")
            yield connection.execute(sql).to_arrow_reader(batch_rows)

    @contextmanager
    def in_order(self, segment: Segment, key: str, batch_rows: int) -> Iterator[Iterator[pa.RecordBatch]]:
        """All rows of a segment of requests, streamed, in the order and columns of the archive; shared columns as dictionaries."""
        with self._attached(segment, key, read_only=True) as connection:
            yield in_order(connection, "day", tables_of(connection, "day")["day"], batch_rows)

    @contextmanager
    def sort(self, rows: Iterator[pa.RecordBatch], order: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Rows of requests from elsewhere, sorted within the store's limits; what does not fit in memory is spilled encrypted.

        :param order: trusted SQL after ORDER BY.
        """
        connection = self._open()
        connection.register("unsorted", pa.RecordBatchReader.from_batches(stored_schema(), rows))
        try:
            yield connection.execute(f"SELECT * FROM unsorted ORDER BY {order}").to_arrow_reader(batch_rows)
        except duckdb.Error as error:
            raise AuditlakeError(f"rows cannot be sorted: {_first_line(error)}", "see whether the disk is full") from error
        finally:
            connection.unregister("unsorted")

    def drop(self, segment: Segment) -> None:
        """Remove the segment's file; nothing happens when there is none."""
        for path in self._files_of(segment):
            if path.exists():
                step("hot.unlink")
                path.unlink()
        folder = self.path(segment).parent
        if folder.exists():
            _sync_folder(folder)
            if not any(folder.iterdir()):
                folder.rmdir()

    def remove_drafts(self) -> None:
        """Remove half-made files and spilled pages that a crash left."""
        for path in [*self._root.rglob("*.new"), *self._root.rglob("*.new.wal"), *self._scratch.glob("duckdb_temp*")]:
            step("hot.unlink_draft")
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of DuckDB."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _files_of(self, segment: Segment) -> tuple[Path, Path, Path]:
        return self.path(segment), self._log_of(segment), self._draft_name(segment)

    def _log_of(self, segment: Segment) -> Path:
        path = self.path(segment)
        return path.with_name(path.name + ".wal")

    def _draft_name(self, segment: Segment) -> Path:
        path = self.path(segment)
        return path.with_name(path.name + ".new")

    def _draft(self, segment: Segment) -> Path:
        draft = self._draft_name(segment)
        draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            leftover.unlink(missing_ok=True)
        return draft

    def _create(self, segment: Segment, key: str) -> None:
        draft = self._draft(segment)
        connection = self._open()
        step("hot.create")
        self._attach(connection, draft, key, "draft")
        try:
            try:
                create(connection, "draft", segment)
            finally:
                connection.execute("DETACH draft")
        except duckdb.Error as error:
            raise AuditlakeError(f"hot file {draft} cannot be written: {_first_line(error)}", "see whether the disk is full") from error
        draft.chmod(0o600)
        step("hot.rename")
        self._log_of(segment).unlink(missing_ok=True)  # a dropped file's log would not fit the new file
        draft.rename(self.path(segment))
        _sync_folder(draft.parent)

    @contextmanager
    def _attached(self, segment: Segment, key: str, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._open()
        self._attach(connection, self.path(segment), key, "day", read_only)
        try:
            try:
                self._check_whole(connection, self.path(segment))
                yield connection
            finally:
                connection.execute("DETACH day")
        except duckdb.Error as error:
            problem = f"hot file {self.path(segment)} cannot be read or written: {_first_line(error)}"
            raise AuditlakeError(problem, "see whether the disk is full, then run: auditlake verify") from error

    def _attach(self, connection: duckdb.DuckDBPyConnection, path: Path, key: str, alias: str, read_only: bool = False) -> None:
        mode = "READ_ONLY" if read_only else "STORAGE_VERSION 'latest'"
        quoted = str(path).replace("'", "''")
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        while True:
            try:
                connection.execute(f"ATTACH '{quoted}' AS {alias} ({mode}, ENCRYPTION_KEY '{key}')")
                return
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error):
                    raise AuditlakeError(f"hot file {path} cannot be opened: {_first_line(error)}", "run: auditlake verify") from None
                if time.monotonic() > deadline:
                    raise LockedError(f"hot file {path} is in use{_holder(error)}", "try again when that has ended") from None
                time.sleep(0.05)
            except duckdb.Error as error:
                raise AuditlakeError(f"hot file {path} cannot be opened: {_first_line(error)}", "run: auditlake verify") from None

    def _check_whole(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        """A file cut short opens, and counts its rows, as if nothing were missing."""
        query = "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = 'day'"
        needed, found = int(connection.execute(query).fetchall()[0][0]), path.stat().st_size
        if found < needed:
            raise AuditlakeError(f"hot file {path} is cut short: {found} bytes of at least {needed}", "restore it from a backup")

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = extensions.connect(**self._config)
            extensions.load(self._connection, "httpfs")
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute(f"SET wal_autocheckpoint = '{_LOGGED}'")
            self._connection.execute(f"SET max_temp_directory_size = '{self._spill_limit}'")
        return self._connection


def _day_of(name: str) -> dt.date:
    match = _FILE.match(name)
    try:
        return dt.date.fromisoformat(match[1]) if match else dt.date.min
    except ValueError:
        return dt.date.min


def _wide(connection: duckdb.DuckDBPyConnection, segment: Segment) -> str:
    """A SELECT of all rows of the attached file, as the schema has them."""
    return wide(tables_of(connection, "day")["day"], "day", columns_of(segment))


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
        step("hot.commit")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a COMMIT that failed has ended it already
            connection.execute("ROLLBACK")
        raise


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].strip().replace("ENCRYPTION_KEY", "key")


def _holder(error: Exception) -> str:
    match = re.search(r"PID (\d+)", str(error))
    return f" by process {match[1]}" if match else ""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
