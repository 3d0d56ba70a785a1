"""JSON documents taken apart many at once. DuckDB does the parsing (its JSON functions stand on yyjson): a compute engine
only, in memory, with files, network, spilling to disk and settings shut. It parses without recursion, keeps repeated keys,
and one bad document cannot spoil the others.

What it accepts beyond RFC 8259 (``NaN``, ``Infinity``, a comma too many) is found and refused here.
"""

import functools
import json
import re
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.template import Mask
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["MAX_DEPTH", "Members", "json_kinds", "members", "string_values", "too_deep"]

MAX_DEPTH = 64
"""Objects and lists within one another; deeper documents are refused."""
_LENIENT = r"[:\[,]\s*-?(?i:nan|inf)|,\s*[}\]]"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OPENING, _CLOSING = np.frombuffer(b"[{", np.uint8), np.frombuffer(b"]}", np.uint8)


@dataclass(frozen=True)
class Members:
    """Members of many objects, repeated keys included: for each the object's number, its key, and its value as JSON text."""

    parents: Numbers
    keys: pa.StringArray
    values: pa.StringArray


def too_deep(lines: Lines) -> Mask:
    """Which documents nest deeper than :data:`MAX_DEPTH`."""
    brackets = np.flatnonzero((lines.data == _OPENING[0]) | (lines.data == _OPENING[1]))
    suspects: Mask = np.searchsorted(brackets, lines.ends) - np.searchsorted(brackets, lines.starts) > MAX_DEPTH
    for number in np.flatnonzero(suspects).tolist():
        suspects[number] = _depth(lines.line(number)) > MAX_DEPTH
    return suspects


def json_kinds(docs: pa.StringArray) -> tuple[Mask, Mask]:
    """Which documents are valid JSON, and which are objects."""
    table = _query("SELECT json_valid(text) AS valid, ltrim(text, ' \t\r\n')[1] = '{' AS is_object FROM input", docs)
    valid = _mask(table["valid"])
    suspects = valid & _mask(pc.match_substring_regex(docs, _LENIENT))
    for number in np.flatnonzero(suspects).tolist():
        valid[number] = _is_strict(docs[number].as_py())
    return valid, valid & _mask(table["is_object"])


def members(objects: pa.StringArray) -> Members:
    """The members of each object; the texts must be valid JSON objects."""
    table = _query("SELECT json_keys(text) AS keys, json_extract(text, '$.*') AS values FROM input", objects)
    keys, values = (table[name].combine_chunks() for name in ("keys", "values"))
    return Members(pc.list_parent_indices(keys).to_numpy(), keys.flatten(), values.flatten().cast(pa.string()))


def string_values(strings: pa.StringArray) -> pa.StringArray:
    """What JSON string literals say."""
    return _query("SELECT text ->> '$' AS value FROM input", strings)["value"].combine_chunks()


@functools.cache
def _connection() -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | int | float | list[str]] = {
        "threads": 1,
        "enable_external_access": False,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "lock_configuration": True,
    }
    return duckdb.connect(":memory:", config=settings)


def _query(sql: str, texts: pa.StringArray) -> pa.Table:
    """The result of a query over ``input(text)``, in the order of the texts; a cursor of its own keeps threads apart."""
    with _connection().cursor() as cursor:
        cursor.register("input", pa.table({"text": texts}))
        return cursor.execute(sql).to_arrow_table()


def _mask(column: pa.Array | pa.ChunkedArray) -> Mask:
    return np.array(column, np.bool_)


def _depth(doc: bytes) -> int:
    bare: Bytes = np.frombuffer(_STRING.sub(b"", doc), np.uint8)
    steps = np.isin(bare, _OPENING).astype(np.int64) - np.isin(bare, _CLOSING)
    return int(np.cumsum(steps).max(initial=0))


def _is_strict(doc: str) -> bool:
    """Whether Python's parser, told to refuse ``NaN`` and ``Infinity``, takes it too; numbers are not converted."""
    try:
        json.loads(doc, parse_constant=_refuse, parse_int=str, parse_float=str, strict=True)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)
