"""A data subject in the archive: which files have rows of the subject, those rows, the others, and a look at all that is left.

Files are looked through two at a time, row group after row group, in the columns that can hold the subject; texts come as
dictionaries, so that each distinct value is looked at once. The bounds and filters of the footers are of no help: a row may also
belong to a subject by its ``labels``, and what is looked for after an erasure must not depend on what a footer says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.schema import COLUMNS
from core.subject import PERSONAL, Subject
from storage.archive import Archive, ArchivedFile
from storage.digest import EMPTY, Digest, digest_of_rows

__all__ = ["Looked", "Parted", "counts", "look", "rows_of"]

_AT_ONCE = 2


@dataclass(frozen=True)
class Looked:
    """What was seen: how many bytes, decompressed; rows that belong to the subject; rows of others that mention it."""

    bytes: int = 0
    found: int = 0
    mentions: int = 0

    def __add__(self, other: "Looked") -> "Looked":
        return Looked(self.bytes + other.bytes, self.found + other.found, self.mentions + other.mentions)


def counts(archive: Archive, files: Sequence[ArchivedFile], subject: Subject) -> Mapping[str, int]:
    """Rows of the subject by the URL of the file they are in; files without any are left out."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda file: sum(map(_marked, _masks(archive, file.path, subject))), files)
        return {file.path: rows for file, rows in zip(files, found, strict=True) if rows}


def rows_of(archive: Archive, paths: Iterable[str], subject: Subject) -> Iterator[pa.Table]:
    """The subject's rows, in the stored columns."""
    for path in paths:
        with archive.parquet(path) as file:
            for group in range(file.num_row_groups):
                if _marked(subject.mask(_group(file, group, subject.columns))):
                    table = file.read_row_group(group, [column.name for column in COLUMNS])
                    yield table.filter(subject.mask(table))


class Parted:
    """A data file's rows without those of the subject, and what was told of both as they went by.

    :ivar kept: digest of the rows that were handed over. :ivar removed: of the others.
    """

    def __init__(self, archive: Archive, path: str, subject: Subject) -> None:
        self._archive, self._path, self._subject = archive, path, subject
        self.kept, self.removed = EMPTY, EMPTY

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The others' rows, in their order."""
        for batch in self._archive.read([self._path]):
            mask = self._subject.mask(batch)
            others = batch.filter(pc.invert(mask))
            self.removed += _digest(batch.filter(mask))
            self.kept += _digest(others)
            if others.num_rows:
                yield others


def look(archive: Archive, files: Sequence[ArchivedFile], subject: Subject) -> Looked:
    """Look through every personal text of every row of these files, and at the bounds in their footers."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(lambda file: _look(archive, file.path, subject), files), Looked())


def _look(archive: Archive, path: str, subject: Subject) -> Looked:
    total, columns = Looked(), {*PERSONAL, *subject.columns}
    with archive.parquet(path) as file:
        for group in range(file.num_row_groups):
            table = _group(file, group, columns)
            belongs, mentions = subject.mask(table), subject.mentions(table)
            told = _marked(belongs) or _in_bounds(file, group, subject)
            total += Looked(_size(file, group, columns), told, _marked(mentions) - _marked(belongs))
    return total


def _masks(archive: Archive, path: str, subject: Subject) -> Iterator[pa.Array]:
    with archive.parquet(path) as file:
        for group in range(file.num_row_groups):
            yield subject.mask(_group(file, group, subject.columns))


def _group(file: pq.ParquetFile, group: int, columns: Iterable[str]) -> pa.Table:
    wanted = set(columns)
    return file.read_row_group(group, [column.name for column in COLUMNS if column.name in wanted])


def _marked(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _size(file: pq.ParquetFile, group: int, columns: Iterable[str]) -> int:
    """Decompressed bytes of the columns."""
    meta, wanted = file.metadata.row_group(group), set(columns)
    chunks = [meta.column(number) for number in range(meta.num_columns)]
    return sum(int(chunk.total_uncompressed_size) for chunk in chunks if chunk.path_in_schema in wanted)


def _in_bounds(file: pq.ParquetFile, group: int, subject: Subject) -> int:
    """How many bounds of the row group are a value of the subject that is not bound to times."""
    meta, found = file.metadata.row_group(group), 0
    values = {(each.kind, each.value) for each in subject.selectors if not (each.since or each.until)}
    for number in range(meta.num_columns):
        chunk = meta.column(number)
        if chunk.path_in_schema in subject.columns and chunk.statistics is not None and chunk.statistics.has_min_max:
            found += sum((chunk.path_in_schema, bound) in values for bound in (chunk.statistics.min, chunk.statistics.max))
    return found


def _digest(batch: pa.RecordBatch) -> Digest:
    return digest_of_rows([pa.Table.from_batches([batch])], COLUMNS) if batch.num_rows else EMPTY
