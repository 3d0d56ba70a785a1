"""The archive: one Apache Iceberg v2 table for each stream, partitioned by ``event_day``, Parquet with zstd.

Promises: any engine that reads Iceberg reads it without us. Column bounds, which would copy personal data into manifests
and footers, are kept only for columns that are not personal. Writing, committing and removing are separate calls, so that
each can be the last thing before a crash; a file's name begins with the id of the roll that wrote it, which is how a
retry finds what an earlier attempt left. Nothing here decides what readers see: that is the control database's pointer.

Format: https://iceberg.apache.org/spec/ (version 2). PyIceberg takes a third of a second to import, so it is imported where
it is used: ingest and hot queries never need it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.exc import SQLAlchemyError

from core.errors import AuditlakeError, UsageError
from core.schema import COLUMNS, by_name, stored_schema
from core.segment import Segment
from core.steps import step
from storage.archive_files import group_rows, in_groups, write_files
from storage.control import check_path, prepare_sqlite
from storage.digest import EMPTY, Digest, digest_of_words, words
from storage.objects import Access, Failure, ObjectStore, S3Access, StoredObject, given, url_to_path

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

__all__ = ["COMPACTED", "ERASED", "Archive", "ArchivedFile"]

COMPACTED = "c"
"""What the names of files begin with that stand in the place of others; a roll's begin with r."""
ERASED = "e"
"""The same, when they hold fewer rows than those did."""

_NAMESPACE = "auditlake"
_COLUMNS_AT_ONCE = 14
_TEXTS = [column.name for column in COLUMNS if pa.types.is_string(column.type)]


@dataclass(frozen=True, order=True)
class ArchivedFile:
    """A data file of the table: its URL, the segment it belongs to, its rows and bytes."""

    path: str
    segment: Segment
    rows: int
    bytes: int

    def is_of(self, roll: str) -> bool:
        """Whether that roll wrote it."""
        return self.path.rsplit("/", 1)[-1].startswith(f"{roll}-")

    @property
    def is_compacted(self) -> bool:
        """Whether it was put in the place of others that held the same rows."""
        return self.path.rsplit("/", 1)[-1].startswith(COMPACTED)


class Archive:
    """The Iceberg tables below one location.

    :param control_url: SQLAlchemy URL of the control database, which holds the catalog.
    :param location: ``file:///folder`` or ``s3://bucket/prefix``.
    :param access: how to reach the bucket, when it is one.
    :param objects: lists and deletes below the location.
    :raises UsageError: the folder's name cannot be said in a URL.
    """

    def __init__(self, control_url: str, location: str, access: Access | None, objects: ObjectStore) -> None:
        if location.startswith("file://"):
            check_path(url_to_path(location))
        self.location = location.rstrip("/")
        self.objects = objects
        self._control_url = control_url
        self._access = access
        self._opened: SqlCatalog | None = None

    @cached_property
    def _properties(self) -> dict[str, str]:
        return _io_properties(given(self._access)) if self._access else {}

    def table_location(self, stream: str) -> str:
        """Prefix of everything the stream's table owns, with its final slash."""
        return f"{self.location}/{stream}/"

    def day_location(self, segment: Segment) -> str:
        """Prefix of the segment's data files, with its final slash."""
        return f"{self.table_location(segment.stream)}data/event_day={segment.day.isoformat()}/"

    def write(self, segment: Segment, roll: str, rows: Iterable[pa.RecordBatch], count: int | None = None) -> list[str]:
        """Write sorted rows into Parquet files of the segment's partition, not yet part of the table; returns their URLs.

        :param count: how many rows there are; they are held in memory to be counted when it is not said.
        :raises AuditlakeError: they cannot be written.
        """
        return [*self.written(segment, roll, rows, count)]

    def written(self, segment: Segment, roll: str, rows: Iterable[pa.RecordBatch], count: int | None = None) -> Iterator[str]:
        """As :meth:`write`, one URL at a time, each as soon as its file is whole."""
        with _reported(f"archive of {segment} cannot be written"):
            io = self._table(segment.stream).io
            if count is None:
                rows = [*rows]
                count = sum(batch.num_rows for batch in rows)
            yield from write_files(io, f"{self.day_location(segment)}{roll}", in_groups(rows, group_rows(count)))

    def commit(self, segment: Segment, roll: str, paths: list[str]) -> None:
        """Make the files part of the table, in one snapshot that names the segment and the roll."""
        with _reported(f"archive of {segment} cannot be committed"):
            step("archive.commit")
            self._table(segment.stream).add_files(
                paths, {"auditlake.segment": str(segment), "auditlake.roll": roll}, check_duplicate_files=False
            )

    def replace(self, segment: Segment, name: str, paths: list[str], old: Collection[ArchivedFile]) -> None:
        """Put files in the place of others, in one snapshot that names the segments and what made them."""
        from pyiceberg.table import _parquet_files_to_data_files

        gone = {file.path for file in old}
        with _reported(f"archive of {segment} cannot be committed"):
            table = self._table(segment.stream)
            tasks = [task.file for task in table.scan().plan_files() if task.file.file_path in gone]
            added = [*_parquet_files_to_data_files(table.metadata, paths, table.io)]
            segments = sorted({file.segment for file in old} | {segment})
            properties = {"auditlake.segment": " ".join(map(str, segments)), "auditlake.compaction": name}
            step("archive.replace")
            with table.transaction() as transaction, transaction.update_snapshot(properties).overwrite() as snapshot:
                for file in added:
                    snapshot.append_data_file(file)
                for file in tasks:
                    snapshot.delete_data_file(file)

    def files(self, stream: str, metadata: str | None = None) -> list[ArchivedFile]:
        """The data files of the stream's table: as committed, or as that metadata file tells."""
        with _reported(f"archive of {stream} cannot be read"):
            table = self._read(metadata) if metadata else self._existing(stream)
            if table is None or table.current_snapshot() is None:
                return []
            return sorted(_archived(stream, task.file) for task in table.scan().plan_files())

    def metadata(self, stream: str) -> str | None:
        """The table's newest metadata file, or ``None`` when there is no table."""
        table = self._existing(stream)
        return table.metadata_location if table else None

    def digest(self, paths: Iterable[str]) -> Digest:
        """Row count and content digest of data files, read back from where they are."""
        total = EMPTY
        for path in paths:
            with _reported(f"archive file {path} cannot be read back"), self._io().new_input(path).open() as stream:
                file = pq.ParquetFile(stream, read_dictionary=_TEXTS)
                for group in range(file.num_row_groups):
                    total += _digest_of_group(file, group)
        return total

    @contextmanager
    def parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """A data file, open; its texts come as dictionaries.

        :raises AuditlakeError: it cannot be read.
        """
        with _reported(f"archive file {path} cannot be read"), self._io().new_input(path).open() as stream:
            yield pq.ParquetFile(stream, read_dictionary=_TEXTS)

    def read(self, paths: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """The rows of data files, in the stored columns."""
        for path in paths:
            with _reported(f"archive file {path} cannot be read"), self._io().new_input(path).open() as stream:
                for batch in pq.ParquetFile(stream).iter_batches(65_536):
                    yield batch.select(stored_schema().names).cast(stored_schema())

    def count(self, paths: Iterable[str]) -> int:
        """Rows in data files, as their own footers tell."""
        total = 0
        for path in paths:
            with _reported(f"archive file {path} cannot be read back"), self._io().new_input(path).open() as stream:
                total += pq.ParquetFile(stream).metadata.num_rows
        return total

    def oldest(self, segment: Segment) -> dt.datetime | None:
        """Earliest ``event_time`` of the segment, from the files' footers."""
        times = []
        for file in self.files(segment.stream):
            if file.segment == segment:
                with _reported(f"archive file {file.path} cannot be read back"), self._io().new_input(file.path).open() as stream:
                    meta = pq.ParquetFile(stream).metadata
                    times += [meta.row_group(group).column(0).statistics.min for group in range(meta.num_row_groups)]
        return min(times, default=None)

    def remove(self, stream: str, files: Iterable[ArchivedFile]) -> None:
        """Take data files out of the table; their bytes stay until :meth:`sweep`."""
        wanted = {file.path for file in files}
        table = self._existing(stream)
        if not wanted or table is None:
            return
        with _reported(f"archive of {stream} cannot be changed"):
            tasks = [task.file for task in table.scan().plan_files() if task.file.file_path in wanted]
            step("archive.remove")
            with table.transaction() as transaction, transaction.update_snapshot().overwrite() as snapshot:
                for file in tasks:
                    snapshot.delete_data_file(file)

    def drop_day(self, segment: Segment) -> None:
        """Take the segment's partition out of the table; nothing happens when it is not there."""
        if any(file.segment == segment for file in self.files(segment.stream)):
            with _reported(f"archive of {segment} cannot be dropped"):
                step("archive.drop_day")
                self._table(segment.stream).delete(f"event_day = '{segment.day.isoformat()}'")

    def expire(self, stream: str) -> None:
        """Forget every snapshot but the newest, so that nothing but it is reachable; a table without data goes whole."""
        table = self._existing(stream)
        if table is None:
            return
        with _reported(f"old snapshots of {stream} cannot be expired"):
            current = table.current_snapshot()
            if current is None or _is_empty(table, current):
                step("archive.drop_table")
                self._catalog().drop_table((_NAMESPACE, stream))
                return
            old = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != current.snapshot_id]
            if old:
                step("archive.expire")
                table.maintenance.expire_snapshots().by_ids(old).commit()

    def unreachable(self, stream: str, *pointers: str | None) -> list[StoredObject]:
        """Everything below the table's location that its newest state, and these metadata files, do not need.

        A needed file that somebody has deleted is still there below its delete marker: then the marker goes, not the file.
        """
        with _reported(f"archive of {stream} cannot be listed"):
            table = self._existing(stream)
            needed: set[str] = set()
            for state in [table, *(self._read(pointer) for pointer in set(pointers) - {None} if pointer)]:
                needed |= _reachable(state) if state else set()
            listed = [*self.objects.entries(self.table_location(stream))]
            hidden = {entry.key for entry in listed if entry.kind == "marker" and entry.latest}
            return [e for e in listed if e.key not in needed or e.kind != "object" or not (e.latest or e.key in hidden)]

    def sweep(self, stream: str, *pointers: str | None) -> list[Failure]:
        """Delete what is :meth:`unreachable`, every version of it; returns what could not be deleted."""
        return self.objects.delete(self.unreachable(stream, *pointers))

    def streams(self) -> list[str]:
        """Streams that have a table."""
        return sorted(name for _, name in self._catalog().list_tables(_NAMESPACE))

    def close(self) -> None:
        """Let go of the catalog."""
        if self._opened is not None:
            self._opened.engine.dispose()
            self._opened = None

    def _catalog(self) -> SqlCatalog:
        from pyiceberg.catalog.sql import SqlCatalog

        if self._opened is None:
            catalog = SqlCatalog("auditlake", uri=self._control_url, warehouse=self.location, **self._properties)
            if catalog.engine.dialect.name == "sqlite":
                prepare_sqlite(catalog.engine)
                catalog.engine.dispose()
            catalog.create_namespace_if_not_exists(_NAMESPACE)
            self._opened = catalog
        return self._opened

    def _existing(self, stream: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchTableError

        with _reported(f"archive of {stream} cannot be read"):
            try:
                table = self._catalog().load_table((_NAMESPACE, stream))
            except NoSuchTableError:
                return None
        place = self.table_location(stream).rstrip("/")
        if table.location() != place:  # else a listing of the wrong place would call live files unneeded, or destroyed ones gone
            raise UsageError(
                f"archive of {stream} lies at {table.location()}, not at {place}", "name data directory and [archive] url as before"
            )
        return table

    def _table(self, stream: str) -> Table:
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.transforms import IdentityTransform

        existing = self._existing(stream)
        if existing is not None:
            return existing
        step("archive.create_table")
        return self._catalog().create_table(
            (_NAMESPACE, stream),
            schema=iceberg_schema(),
            location=self.table_location(stream).rstrip("/"),
            partition_spec=PartitionSpec(PartitionField(by_name("event_day").id, 1000, IdentityTransform(), "event_day")),
            properties=_table_properties(),
        )

    def _io(self) -> FileIO:
        return self._catalog()._load_file_io(self._properties, self.location)

    def _read(self, metadata: str) -> Table:
        from pyiceberg.table import StaticTable

        return StaticTable.from_metadata(metadata, self._properties)


def iceberg_schema() -> Schema:
    """``core.schema`` as an Iceberg schema, with its field ids."""
    from pyiceberg import types as ice
    from pyiceberg.schema import Schema

    types: dict[pa.DataType, ice.PrimitiveType] = {
        pa.string(): ice.StringType(),
        pa.int32(): ice.IntegerType(),
        pa.int64(): ice.LongType(),
        pa.float64(): ice.DoubleType(),
        pa.date32(): ice.DateType(),
        pa.timestamp("us", tz="UTC"): ice.TimestamptzType(),
    }
    return Schema(*(ice.NestedField(c.id, c.name, types[c.type], required=c.required, doc=c.meaning) for c in COLUMNS))


def _table_properties() -> dict[str, str]:
    return {
        "format-version": "2",
        "write.parquet.compression-codec": "zstd",
        "write.metadata.delete-after-commit.enabled": "false",
        "write.metadata.previous-versions-max": "1",
        "commit.manifest-merge.enabled": "true",
        "commit.manifest.min-count-to-merge": "4",  # each manifest is one more file for every reader; a year's data files fit into one
        **{f"write.metadata.metrics.column.{column.name}": "none" for column in COLUMNS if column.personal},
    }


def _io_properties(access: S3Access) -> dict[str, str]:
    properties = {
        "s3.region": access.region,
        "s3.access-key-id": access.access_key,
        "s3.secret-access-key": access.secret_key,
        "s3.force-virtual-addressing": str(not access.path_style).lower(),
    }
    if access.endpoint:
        properties["s3.endpoint"] = access.endpoint
    if access.session_token:
        properties["s3.session-token"] = access.session_token
    return properties


def _digest_of_group(file: pq.ParquetFile, group: int) -> Digest:
    """The digest of a row group, some columns at a time: all of them fill a few hundred megabytes."""
    parts = np.zeros(file.metadata.row_group(group).num_rows, np.uint64)
    for start in range(0, len(COLUMNS), _COLUMNS_AT_ONCE):
        columns = COLUMNS[start : start + _COLUMNS_AT_ONCE]
        rows = file.read_row_group(group, [column.name for column in columns])
        for column in columns:  # text as a dictionary is as good; any other type that is not the column's is a fault
            kind = rows.schema.field(column.name).type
            if (kind.value_type if pa.types.is_dictionary(kind) else kind) != column.type:
                raise ValueError(f"column {column.name} is {kind}")
        parts += words(rows, columns)
    return digest_of_words(parts)


def _reachable(table: Table) -> set[str]:
    paths = {table.metadata_location}
    for snapshot in table.snapshots():
        paths.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            paths.add(manifest.manifest_path)
            paths.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return paths


def _is_empty(table: Table, snapshot: Snapshot) -> bool:
    return not any(manifest.has_added_files() or manifest.has_existing_files() for manifest in snapshot.manifests(table.io))


def _archived(stream: str, file: DataFile) -> ArchivedFile:
    value = file.partition[0]
    day = dt.date(1970, 1, 1) + dt.timedelta(days=value) if isinstance(value, int) else value
    return ArchivedFile(file.file_path, Segment(stream, day), file.record_count, file.file_size_in_bytes)


@contextmanager
def _reported(problem: str) -> Iterator[None]:
    from pyiceberg.exceptions import CommitFailedException

    try:
        yield
    except AuditlakeError:
        raise
    except (OSError, ValueError, RuntimeError, pa.ArrowException, duckdb.Error, SQLAlchemyError, CommitFailedException) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise AuditlakeError(f"{problem}: {text}", "check the archive's location, credentials and permissions") from error
