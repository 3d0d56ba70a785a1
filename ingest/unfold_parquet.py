"""A Parquet file -> JSON lines, one for each row, a stretch of rows at a time.

- Members have the columns' names and order; a null is left out (within a list it is ``null``). Whole numbers and truths are JSON's own,
  as are finite floating-point numbers; decimals are strings with all their digits, as are ``nan``, ``inf`` and ``-inf``.
- Times are ISO 8601 strings with the digits of their unit: of an instant in UTC, with ``Z``; of a time without a zone, without
  one. Dates and times of day are strings, durations whole numbers of their unit.
- Bytes are text; those that are not UTF-8 become their escapes ``\\xHH``. Structs and maps are objects, lists are arrays.
- The file is read page by page. What would need more memory than is sensible is refused before it is unpacked
  (:mod:`ingest.unfold_pages`), and a value that many rows share is not repeated before the lines are made.

Source: https://parquet.apache.org/docs/file-format/ and https://github.com/apache/parquet-format/blob/master/LogicalTypes.md.
"""

import json
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.compression import DamageError
from ingest.formats.values import json_string
from ingest.unfold_pages import check_row_group, row_groups

__all__ = ["MAX_DEPTH", "unfold_parquet"]

MAX_DEPTH = 16
"""Lists and structs within one another; deeper schemas are refused."""

_ROWS = 8192
_LINES_BYTES = 8 << 20
_STRING_BYTES = 16 << 20
_CONTAINER_ITEMS = 1 << 20
_FAULTS = (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError, KeyError, IndexError)


def unfold_parquet(file: BinaryIO) -> Iterator[bytes]:
    """The rows of the file as lines, in pieces of whole lines.

    :param file: can be read at any place.
    :raises DamageError: it is corrupt, cut short, or beyond what is read here; after the rows before.
    """
    try:
        for rows in _batches(file):
            yield from _lines(rows)
    except DamageError:
        raise
    except _FAULTS as error:
        raise DamageError(f"its Parquet data is corrupt ({_on_one_line(error)})") from None


def _batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Stretches of rows, those with long values shorter."""
    options = {"thrift_string_size_limit": _STRING_BYTES, "thrift_container_size_limit": _CONTAINER_ITEMS}
    options |= {"pre_buffer": False, "buffer_size": 1 << 16, "arrow_extensions_enabled": False, "schema_depth_limit": MAX_DEPTH}
    groups = row_groups(file)
    with pq.ParquetFile(file, **options) as plain:
        metadata, strings = plain.metadata, _dictionary_columns(plain)
        parquet = pq.ParquetFile(file, metadata=metadata, read_dictionary=strings, **options)
    if metadata.num_row_groups != len(groups):
        raise DamageError("its Parquet data is corrupt (its footer)")
    for number, group in enumerate(groups):
        check_row_group(file, group)
        for batch in parquet.iter_batches(_ROWS, row_groups=[number], use_threads=False):
            step = max(1, _LINES_BYTES // max(1, sum(map(_longest, batch.columns))))
            for at in range(0, batch.num_rows, step):
                yield batch.slice(at, step)


def _dictionary_columns(parquet: pq.ParquetFile) -> list[str]:
    """Text columns, which can be read without repeating the values that rows share."""
    columns = (parquet.metadata.schema.column(number) for number in range(parquet.metadata.num_columns))
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0]


def _longest(values: pa.Array) -> int:
    """Bytes that a row of the column needs at most, nearly."""
    if pa.types.is_dictionary(values.type):
        return _longest(values.dictionary)
    if pa.types.is_nested(values.type) and len(values):
        return int(values.nbytes) * (16 + len(values) // 8) // len(values)
    if _is_text(values.type) and len(values):
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
    return 64


def _lines(rows: pa.RecordBatch) -> Iterator[bytes]:
    if rows.num_rows:
        objects = _object([json.dumps(name) for name in rows.schema.names], [_json(column) for column in rows.columns], rows.num_rows)
        yield pc.binary_join(pa.LargeListArray.from_arrays([0, rows.num_rows], objects), "\n")[0].as_py().encode() + b"\n"


def _object(names: list[str], values: list[pa.Array], count: int) -> pa.Array:
    """One JSON object for each row, of those values that are not null."""
    members = [pc.binary_join_element_wise(f"{name}:", value, "") for name, value in zip(names, values, strict=True)]
    found = pa.array(np.logical_or.reduce([np.asarray(pc.is_valid(member)) for member in members] or [np.zeros(count, np.bool_)]))
    if not pc.any(found).as_py():
        return pa.array(["{}"] * count, pa.string())
    # Only rows that have a member: where all are null, Arrow's join leaves the row out.
    joined = pc.binary_join_element_wise(*(member.filter(found) for member in members), ",", null_handling="skip")
    empty = pa.array(["{}"] * count, pa.string())
    return pc.replace_with_mask(empty, found, pc.binary_join_element_wise("{", joined, "}", ""))


def _json(values: pa.Array) -> pa.Array:
    """Each value as JSON text; string, null where the value is."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _json(values.dictionary).take(values.indices)
    for is_kind, write in _WRITERS:
        if is_kind(kind):
            return write(values)
    return json_string(values.cast(pa.string()))


def _quoted(text: pa.Array) -> pa.Array:
    """Strings without a sign that JSON escapes, as JSON."""
    return pc.binary_join_element_wise('"', text, '"', "")


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _TEXTS)


def _text(values: pa.Array) -> pa.Array:
    try:
        strings = values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # some are not UTF-8
        raw = values.cast(pa.binary()).to_pylist()
        strings = pa.array([None if value is None else value.decode("utf-8", "backslashreplace") for value in raw], pa.string())
    return json_string(strings)


def _float(values: pa.Array) -> pa.Array:
    wide = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
    text = wide.cast(pa.string())
    return pc.if_else(pc.is_finite(wide), text, _quoted(text))


def _time(values: pa.Array) -> pa.Array:
    kind = values.type
    text = pc.replace_substring(values.cast(pa.timestamp(kind.unit)).cast(pa.string()), " ", "T", max_replacements=1)
    return _quoted(text) if kind.tz is None else pc.binary_join_element_wise('"', text, 'Z"', "")


def _list(values: pa.Array) -> pa.Array:
    items = pc.fill_null(_json(values.flatten()), "null")
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    offsets = np.concatenate(([0], np.cumsum(np.asarray(lengths, np.int64))))
    joined = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), items), ",").cast(pa.string())
    return _null_where(values, pc.binary_join_element_wise("[", joined, "]", ""))


def _map(values: pa.Array) -> pa.Array:
    entries = pa.ListArray.from_arrays(values.offsets, pa.StructArray.from_arrays([values.keys, values.items], ["key", "value"]))
    entries = pc.if_else(pc.is_valid(values), entries, pa.scalar([], entries.type)) if values.null_count else entries
    flat = entries.flatten()
    keys, items = _json(flat.field(0)), pc.fill_null(_json(flat.field(1)), "null")
    bare = pc.invert(pc.starts_with(keys, '"'))
    keys = pc.if_else(bare, json_string(keys), keys)
    members = pc.binary_join_element_wise(keys, items, ":")
    offsets = np.concatenate(([0], np.cumsum(np.asarray(pc.list_value_length(entries), np.int64))))
    joined = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), members), ",").cast(pa.string())
    return _null_where(values, pc.binary_join_element_wise("{", joined, "}", ""))


def _struct(values: pa.Array) -> pa.Array:
    names = [json.dumps(field.name) for field in values.type]
    return _null_where(values, _object(names, [_json(field) for field in values.flatten()], len(values)))


def _null_where(values: pa.Array, text: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_valid(values), text, None)


def _cast_first(kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda values: values.cast(kind).cast(pa.string())


_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)

_WRITERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_text, _text),
    (pa.types.is_boolean, _cast_first(pa.bool_())),
    (pa.types.is_integer, lambda values: values.cast(pa.string())),
    (pa.types.is_floating, _float),
    (pa.types.is_timestamp, _time),
    (pa.types.is_date64, lambda values: _quoted(values.cast(pa.date32()).cast(pa.string()))),
    (pa.types.is_time, lambda values: _quoted(values.cast(pa.string()))),
    (pa.types.is_decimal, lambda values: _quoted(values.cast(pa.string()))),
    (pa.types.is_duration, _cast_first(pa.int64())),
    (pa.types.is_null, lambda values: pa.nulls(len(values), pa.string())),
    (pa.types.is_map, _map),
    (pa.types.is_list, _list),
    (pa.types.is_large_list, _list),
    (pa.types.is_fixed_size_list, _list),
    (pa.types.is_struct, _struct),
)


def _on_one_line(error: BaseException) -> str:
    """The beginning of what an error says, as visible ASCII."""
    return str(error)[:200].encode("unicode_escape").decode()
