"""Hot storage: an encrypted DuckDB file for each segment, ``<root>/<stream>/<day>.duckdb``, or several (:mod:`storage.parts`).

Promises: one transaction writes a batch's rows of that day together with the batch's id, so a batch repeated after a
crash is skipped. A file appears whole (made beside its place and renamed) or not at all. A file is attached only as long
as one operation lasts, so other processes can read between two; rows that meet a reader's lock go into another file of
their day. What has to change a file itself waits for its readers, then says who has it. Encryption is DuckDB's own
(AES-256-GCM), under a key of the segment's own.
"""

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.errors import AuditlakeError
from core.schema import stored_schema
from core.segment import Segment
from core.star import Star, encode
from core.steps import step
from storage import parts
from storage.day_files import DayFiles, draft_of, first_line, log_of, transaction
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
from storage.digest import EMPTY, Digest, digest_of

__all__ = ["HotStore", "columns_of"]

_FILES_REMEMBERED = 4
_MOST_PARTS = 8
"""Files of a day that are left when small ones are put together."""
_MERGED_FROM = 4 * _MOST_PARTS
"""Files beside the one written to, from which on that is done: seldom, and many at a time."""
_COPIED_ROWS = 245_760


class HotStore:
    """The hot files below one folder.

    :param root: the folder, made when absent.
    :param scratch: where DuckDB may spill, encrypted.
    :param memory_limit: DuckDB's limit, such as ``512MB``.
    :param threads: threads DuckDB may use; 0 for one a core.
    :param spill_limit: disk space for spilled pages, such as ``20GB``; DuckDB heeds it only when set after connecting.
    """

    def __init__(self, root: Path, scratch: Path, memory_limit: str = "512MB", threads: int = 0, spill_limit: str = "20GB") -> None:
        self._scratch = scratch
        self._threads = threads or os.cpu_count() or 1
        self._files = DayFiles(root, scratch, memory_limit, self._threads, spill_limit)
        self._numbers: dict[Path, Numbering] = {}
        self._batches: dict[Path, tuple[tuple[int, ...], frozenset[str]]] = {}

    def path(self, segment: Segment) -> Path:
        """Where the segment's first file is or would be."""
        return parts.first(self._files.root, segment)

    def parts(self, segment: Segment) -> tuple[Path, ...]:
        """The files that hold its rows."""
        return parts.parts(self._files.root, segment)

    def exists(self, segment: Segment) -> bool:
        """Whether the segment has a hot file, or what is left of one."""
        return any(True for _ in parts.all_files(self._files.root, segment))

    def bytes(self, segment: Segment) -> int:
        """Size of the segment's files and their write-ahead logs, 0 when absent."""
        return sum(path.stat().st_size for path in parts.all_files(self._files.root, segment))

    def segments(self) -> Iterator[tuple[Segment, Path]]:
        """Every segment with a file, and every file below the root; a file that is no segment's has the day 0001-01-01."""
        for path in sorted(self._files.root.rglob("*")):
            if path.is_file():
                yield Segment(path.parent.name, parts.day_of(path.name)), path

    def append(self, segment: Segment, key: str, rows: pa.Table | Star, batch: str) -> bool:
        """Write a batch's rows durably; returns False, and writes nothing, when the batch is there already.

        One thread writes: the next batch is parsed beside it, and two writers need twice the memory and a third more time.

        :param rows: at least the required columns, in any order; absent ones become null.
        """
        if not self.parts(segment):
            self.drop(segment)  # a list may be left of files that are gone
            self._files.create(segment, key, self.path(segment))
        with self._files.writing(segment, key) as (connection, path):
            others = [other for other in self.parts(segment) if other != path]
            if _has_batch(connection, batch) or any(batch in self._batches_of(other, key) for other in others):
                return False
            connection.execute("SET threads = 1")
            step("hot.insert")
            self._batches.pop(path, None)
            known = self._numbers.pop(path, None)
            try:
                with transaction(connection):
                    known = self._insert(connection, segment, rows, known)
                    connection.execute("INSERT INTO day.batches VALUES (?, ?)", [batch, rows.num_rows])
                self._remember(connection, path, known)
            finally:
                connection.execute(f"SET threads = {self._threads}")
            step("hot.checkpoint")
        if len(others) >= _MERGED_FROM:
            self.merge(segment, key, _MOST_PARTS)
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

    def _remember(self, connection: duckdb.DuckDBPyConnection, path: Path, known: Numbering | None) -> None:
        """Keep what is known of the files last written to."""
        if known is not None:
            known.state = state_of(connection, "day")
            self._numbers[path] = known
            while len(self._numbers) > _FILES_REMEMBERED:
                del self._numbers[next(iter(self._numbers))]

    def remove_batch(self, segment: Segment, key: str, batch: str) -> None:
        """Take back what :meth:`append` wrote of a batch that was never finished."""
        for path in self.parts(segment):
            if self._is_in(path, key, batch):
                self._remove_batch(segment, path, key, batch)

    def _remove_batch(self, segment: Segment, path: Path, key: str, batch: str) -> None:
        with self._files.attached(path, key) as connection:
            step("hot.undo")
            with transaction(connection):
                if segment.is_quarantine:
                    connection.execute("DELETE FROM day.rows WHERE ingest_batch = ?", [batch])
                else:
                    delete_batch(connection, "day", batch)
                connection.execute("DELETE FROM day.batches WHERE batch = ?", [batch])

    def _batches_of(self, path: Path, key: str) -> frozenset[str]:
        """The batches in a file; asked of the file again only when it has changed."""
        found, state = self._batches.get(path), parts.state(path)
        if found is None or found[0] != state:
            with self._files.attached(path, key, read_only=True, alias="other") as connection:
                names = frozenset(name for (name,) in connection.execute("SELECT batch FROM other.batches").fetchall())
            self._batches = {known: value for known, value in self._batches.items() if known.exists()}
            found = self._batches[path] = (state, names)
        return found[1]

    def _is_in(self, path: Path, key: str, batch: str) -> bool:
        with self._files.attached(path, key, read_only=True, alias="other") as connection:
            return _has_batch(connection, batch, "other")

    def rewrite_without(self, segment: Segment, key: str, lines: Sequence[tuple[str, int]]) -> int:
        """Leave out rows named by (``ingest_batch``, ``ingest_row``) by writing the files anew; returns how many went.

        DuckDB's DELETE leaves a row's bytes in the file, so each file is copied without them and replaced.
        """
        return sum(self._rewrite_without(segment, path, key, lines) for path in self.parts(segment))

    def _rewrite_without(self, segment: Segment, path: Path, key: str, lines: Sequence[tuple[str, int]]) -> int:
        draft = draft_of(path)
        with self._files.attached(path, key) as connection:  # to write: a log that a crash left would not fit the new file
            gone = {"ingest_batch": [name for name, _ in lines], "ingest_row": pa.array([row for _, row in lines], pa.int64())}
            connection.register("gone", pa.table(gone))
            self._files.attach(connection, draft, key, "draft")
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
        draft.rename(path)
        parts.sync_folder(draft.parent)
        return removed

    def copy_without(self, segment: Segment, key: str, new_key: str, gone: pa.Table) -> tuple[Path, int]:
        """Copy the segment's rows but some into one new file under another key; no list names it until :meth:`put_in_place`.

        :param gone: the rows to leave out, by ``ingest_batch`` and ``ingest_row``.
        :returns: the file, and how many rows it has.
        """
        self.merge(segment, key)
        (path,) = self._expected(segment)
        parts.declare(self._files.root, segment, [path])  # what no list names beside one is removed after a crash
        copy = parts.unused(self._files.root, segment)
        draft = draft_of(copy)
        with self._files.attached(path, key, read_only=True) as connection:
            connection.register("gone", gone)
            self._files.attach(connection, draft, new_key, "draft")
            try:
                step("hot.copy_without")
                copy_without(connection, "day", "draft", segment, "gone")
                rows = int(connection.execute("SELECT count(*) FROM draft.rows").fetchall()[0][0])
            finally:
                connection.unregister("gone")
                connection.execute("DETACH draft")
        draft.chmod(0o600)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        step("hot.rename_copy")
        draft.rename(copy)
        parts.sync_folder(copy.parent)
        return copy, rows

    def file(self, segment: Segment, name: str) -> Path:
        """Where a file of the segment of that name is or would be."""
        return self.path(segment).with_name(name)

    def put_in_place(self, segment: Segment, name: str) -> None:
        """Make the file of that name the segment's only one; the others go. Who reads them may read on."""
        copy = self.file(segment, name)
        parts.declare(self._files.root, segment, [copy])
        for path in parts.all_files(self._files.root, segment):
            if path not in (copy, log_of(copy)) and path.suffix != ".parts":
                step("hot.unlink_replaced")
                path.unlink(missing_ok=True)
                self._numbers.pop(path, None)
        parts.sync_folder(copy.parent)

    def where(self, segment: Segment, key: str, condition: str, values: Sequence[Any], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of requests that fulfil a condition, in these columns of the schema.

        :param condition: trusted SQL with ``values`` for its parameters.
        """
        wanted = ", ".join(f'"{name}"' for name in columns)
        for path in self.parts(segment):
            with self._files.attached(path, key, read_only=True) as connection:
                sql = f"SELECT {wanted} FROM ({_wide(connection, segment, 'day')}) WHERE {condition}"
                yield from connection.execute(sql, list(values)).to_arrow_reader(_COPIED_ROWS)

    def tables(self, segment: Segment, key: str) -> Iterator[pa.RecordBatch]:
        """Everything in the segment's files, table by table, as it is stored: also what no row needs."""
        for path in self.parts(segment):
            with self._files.attached(path, key, read_only=True) as connection:
                for table in tables_of(connection, "day")["day"]:
                    yield from connection.execute(f'SELECT * FROM day."{table}"').to_arrow_reader(_COPIED_ROWS)

    def merge(self, segment: Segment, key: str, most: int = 1) -> None:
        """Put the smallest of the segment's files together, until there are at most so many. Who reads them may read on.

        The largest of those is copied as it is; the rows of the others are written to the copy.
        """
        files = self.parts(segment)
        if len(files) <= most:
            return
        by_size = sorted(files, key=lambda path: path.stat().st_size)
        group = by_size[: len(files) - most + 1]
        while len(group) < len(files) and (next_one := by_size[len(group)]).stat().st_size <= sum(path.stat().st_size for path in group):
            group.append(next_one)
        merged = self._merged(segment, key, group[::-1])
        parts.declare(self._files.root, segment, [*(path for path in files if path not in group), merged])
        for path in group:
            self._numbers.pop(path, None)
            for each in (path, log_of(path)):
                step("hot.unlink_merged")
                each.unlink(missing_ok=True)

    def _merged(self, segment: Segment, key: str, files: Sequence[Path]) -> Path:
        """A new file, which no list names yet, with the rows of these."""
        path = parts.unused(self._files.root, segment)
        draft = draft_of(path)
        copied = [] if log_of(files[0]).exists() else [files[0]]
        step("hot.merge")
        if copied:
            shutil.copyfile(files[0], draft)
        self._files.attach(self._files.open(), draft, key, "draft")
        connection = self._files.open()
        try:
            if not copied:
                create(connection, "draft", segment)
            for file in files:
                if file not in copied:
                    self._copy_into(connection, segment, file, key)
        except duckdb.Error as error:
            raise AuditlakeError(f"hot file {draft} cannot be written: {first_line(error)}", "see whether the disk is full") from error
        finally:
            connection.execute("DETACH draft")
        draft.chmod(0o600)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.rename(path)
        return path

    def _copy_into(self, connection: duckdb.DuckDBPyConnection, segment: Segment, file: Path, key: str) -> None:
        with self._files.attached(file, key, read_only=True), transaction(connection):
            connection.execute("INSERT INTO draft.batches FROM day.batches")
            if segment.is_quarantine:
                connection.execute("INSERT INTO draft.rows BY NAME FROM day.rows")
                return
            known = Numbering.read(connection, "draft")
            with connection.cursor() as reading:
                for batch in reading.execute(_wide(reading, segment, "day")).to_arrow_reader(_COPIED_ROWS):
                    insert(connection, "draft", encode(pa.Table.from_batches([batch])), known)

    def digest(self, segment: Segment, key: str) -> Digest:
        """Row count and content digest of the segment's rows."""
        return sum((self._digest(segment, path, key) for path in self._expected(segment)), EMPTY)

    def _expected(self, segment: Segment) -> tuple[Path, ...]:
        """The files that hold its rows; where there is none, the one that should be there."""
        return self.parts(segment) or (self.path(segment),)

    def _digest(self, segment: Segment, path: Path, key: str) -> Digest:
        with self._files.attached(path, key, read_only=True) as connection:
            if segment.is_quarantine:
                return digest_of(connection, "day.rows", columns_of(segment))
            return digest_of_day(connection, "day", tables_of(connection, "day")["day"])

    def count(self, segment: Segment, key: str) -> int:
        """Rows of the segment; 0 when it has no file."""
        with self._files.all(self.parts(segment), key) as (connection, names):
            return sum(int(connection.execute(f"SELECT count(*) FROM {name}.rows").fetchall()[0][0]) for name in names)

    def oldest(self, segment: Segment, key: str) -> dt.datetime | None:
        """Earliest ``event_time`` of the segment's rows."""
        with self._files.all(self._expected(segment), key) as (connection, names):
            every = " UNION ALL ".join(f"SELECT min(event_time) AS t FROM {name}.rows" for name in names)
            value = connection.execute(f"SELECT min(t) AS t FROM ({every})").to_arrow_table()["t"][0].as_py()
            return value if isinstance(value, dt.datetime) else None

    @contextmanager
    def read(self, segment: Segment, key: str, order: str = "", batch_rows: int = 122_880) -> Iterator[pa.RecordBatchReader]:
        """All rows, streamed, in the schema's columns and types.

        :param order: trusted SQL after ORDER BY; empty for any order.
        """
        with self._files.all(self._expected(segment), key) as (connection, names):
            sql = " UNION ALL ".join(_wide(connection, segment, name) for name in names)
            yield connection.execute(f"FROM ({sql}) ORDER BY {order}" if order else sql).to_arrow_reader(batch_rows)

    @contextmanager
    def in_order(self, segment: Segment, key: str, batch_rows: int) -> Iterator[Iterator[pa.RecordBatch]]:
        """All rows of a segment of requests, streamed, in the order and columns of the archive; shared columns as dictionaries.

        The segment's files are put together first.
        """
        self.merge(segment, key)
        (path,) = self._expected(segment)
        with self._files.attached(path, key, read_only=True) as connection:
            yield in_order(connection, "day", tables_of(connection, "day")["day"], batch_rows)

    @contextmanager
    def sort(self, rows: Iterator[pa.RecordBatch], order: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Rows of requests from elsewhere, sorted within the store's limits; what does not fit in memory is spilled encrypted.

        :param order: trusted SQL after ORDER BY.
        """
        connection = self._files.open()
        connection.register("unsorted", pa.RecordBatchReader.from_batches(stored_schema(), rows))
        try:
            yield connection.execute(f"SELECT * FROM unsorted ORDER BY {order}").to_arrow_reader(batch_rows)
        except duckdb.Error as error:
            raise AuditlakeError(f"rows cannot be sorted: {first_line(error)}", "see whether the disk is full") from error
        finally:
            connection.unregister("unsorted")

    def drop(self, segment: Segment) -> None:
        """Remove the segment's files; nothing happens when there is none."""
        for path in parts.all_files(self._files.root, segment):
            step("hot.unlink")
            path.unlink()
            self._numbers.pop(path, None)
        folder = self.path(segment).parent
        if folder.exists():
            parts.sync_folder(folder)
            if not any(folder.iterdir()):
                folder.rmdir()

    def remove_drafts(self) -> None:
        """Remove half-made files and spilled pages that a crash left."""
        drafts = [*self._files.root.rglob("*.new"), *self._files.root.rglob("*.new.wal"), *self._scratch.glob("duckdb_temp*")]
        for path in [*drafts, *parts.orphans(self._files.root)]:
            step("hot.unlink_draft")
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of DuckDB."""
        self._files.close()


def _wide(connection: duckdb.DuckDBPyConnection, segment: Segment, database: str) -> str:
    """A SELECT of all rows of an attached file, as the schema has them."""
    return wide(tables_of(connection, database)[database], database, columns_of(segment))


def _has_batch(connection: duckdb.DuckDBPyConnection, batch: str, database: str = "day") -> bool:
    return connection.execute(f"SELECT 1 FROM {database}.batches WHERE batch = ?", [batch]).fetchone() is not None
