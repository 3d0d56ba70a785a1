"""How rows lie in the Parquet files of the archive: row groups, encodings, bounds, Bloom filters.

Chosen by measurement (docs/performance.md) for small files, for scans, and for needles: one address or one user in a year.

- Rows are sorted (:data:`ORDER`), so that one client's lie together, and what is known of a client is a run of equal values.
- A day has at least six row groups, so that a needle need not read the day, and else as large ones as memory allows, since
  each has dictionaries of its own.
- Columns that are rarely equal, or equal in runs, are written plain: zstd finds runs better than it packs numbers.
- Bounds are kept for columns that are not personal, and for the three that people are looked up by, with a Bloom filter each:
  DuckDB asks the filter only where there are bounds (docs/adr/0014-bounds-in-footers.md). Neither goes into the manifests.

Encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/; Bloom filters:
https://parquet.apache.org/docs/file-format/bloomfilter/.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.schema import COLUMNS, stored_schema
from core.steps import step

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

__all__ = ["FILE_BYTES", "LOOKED_UP", "ORDER", "SMALL_BYTES", "ZSTD_LEVEL", "group_rows", "in_groups", "write_files"]

ORDER = ("source_ip", "source_address", "user_agent_original", "event_time", "ingest_batch", "ingest_row")
"""What rows are sorted by, nulls last, text by its bytes."""

LOOKED_UP = ("source_ip", "account_id", "user_name")
"""Personal columns with bounds and Bloom filters in the footers."""

FILE_BYTES = 96 * 2**20
"""A file ends with the row group that makes it this long: between this and 256 MB, or the last of its day."""

SMALL_BYTES = 64 * 2**20
"""A shorter file is put together with others of its day by compaction."""

_GROUPS_OF_A_DAY = 6
_VECTOR_ROWS = 2_048
_MOST_ROWS = 300 * _VECTOR_ROWS
_LEAST_ROWS = 8 * _VECTOR_ROWS
ZSTD_LEVEL = 6
_FALSE_POSITIVES = 0.01
_IN_RUNS = ("source_address", "source_ip", "source_geo_location_lat", "source_geo_location_lon", "source_as_number", *LOOKED_UP)
_ASCENDING = ("ingest_row",)
_RARELY_EQUAL = {"event_time": 0.3}
"""Distinct values for each row, from which on a dictionary costs more than it saves: 0.1 but for whole seconds in microseconds."""


def group_rows(rows: int) -> int:
    """Rows of a row group, in a day of that many: a multiple of what DuckDB hands over at once, so that none is cut in two."""
    wanted = -(-rows // _GROUPS_OF_A_DAY // _VECTOR_ROWS) * _VECTOR_ROWS
    return min(_MOST_ROWS, max(_LEAST_ROWS, wanted))


def in_groups(batches: Iterable[pa.RecordBatch | pa.Table], rows: int) -> Iterator[pa.Table]:
    """Rows in the stored columns, plain or as dictionaries, cut into tables of so many rows; the last one may have fewer."""
    held: list[pa.Table] = []
    for batch in map(_stored, batches):
        held.append(batch)
        del batch  # else its memory is there until the next one is
        while sum(table.num_rows for table in held) >= rows:
            whole, held = _cut(held, rows)
            yield _joined(whole)
            del whole
    if any(table.num_rows for table in held):
        yield _joined(held)


def _cut(tables: list[pa.Table], rows: int) -> tuple[list[pa.Table], list[pa.Table]]:
    """The first ``rows`` rows, and the rest: what is beyond the last table's rows that are needed."""
    over = sum(table.num_rows for table in tables) - rows
    last = tables[-1]
    return [*tables[:-1], last.slice(0, last.num_rows - over)], [last.slice(last.num_rows - over)] if over else []


def write_files(io: "FileIO", stem: str, groups: Iterable[pa.Table]) -> Iterator[str]:
    """Write row groups into files named ``<stem>-00000.parquet`` and on; yields the URL of each when it is whole."""
    source = iter(groups)
    group = next(source, None)
    number = 0
    while group is not None:
        path = f"{stem}-{number:05d}.parquet"
        number += 1
        step("archive.write")
        with io.new_output(path).create(overwrite=True) as stream, _writer(stream, group) as writer:
            while group is not None:
                writer.write_table(group, row_group_size=group.num_rows)
                del group  # before the next one is made
                group = next(source, None)
                if stream.tell() >= FILE_BYTES:
                    break
            step("archive.close")
        yield path


def _stored(batch: pa.RecordBatch | pa.Table) -> pa.Table:
    table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
    columns, fields = [], []
    for field in stored_schema():
        values = table[field.name]
        if not pa.types.is_dictionary(values.type):
            values = values.cast(field.type)
        columns.append(values)
        fields.append(field.with_type(values.type))
    return pa.table(columns, pa.schema(fields))


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries() if len(tables) > 1 else tables[0]


def _writer(stream: Any, first: pa.Table) -> pq.ParquetWriter:
    plain = {*_IN_RUNS, *_ASCENDING, *(c.name for c in COLUMNS if _is_rarely_equal(first[c.name], _RARELY_EQUAL.get(c.name, 0.1)))}
    return pq.ParquetWriter(
        stream,
        first.schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[column.name for column in COLUMNS if column.name not in plain],
        column_encoding=dict.fromkeys(_ASCENDING, "DELTA_BINARY_PACKED"),
        dictionary_pagesize_limit=16 * 2**20,
        max_rows_per_page=_MOST_ROWS,
        write_statistics=[column.name for column in COLUMNS if not column.personal or column.name in LOOKED_UP],
        bloom_filter_options={name: {"ndv": _distinct(first[name]), "fpp": _FALSE_POSITIVES} for name in LOOKED_UP},
        store_schema=False,
    )


def _is_rarely_equal(values: pa.ChunkedArray, share: float) -> bool:
    return not pa.types.is_dictionary(values.type) and _distinct(values) > share * len(values)


def _distinct(values: pa.ChunkedArray) -> int:
    """How many, at least 1."""
    if pa.types.is_dictionary(values.type):
        return max(1, max(len(chunk.dictionary) for chunk in values.chunks))
    return max(1, int(pc.count_distinct(values).as_py()))
