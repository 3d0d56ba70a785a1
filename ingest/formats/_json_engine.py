"""JSON documents judged, and their odd strings read, many at once. DuckDB does it (its JSON functions stand on yyjson): a compute
engine only, in memory, with files, network, spilling to disk and settings shut. It parses without recursion, and one bad document
cannot spoil the others. Where the members of valid documents are is found by :mod:`ingest.formats.json_structure`.

What it accepts beyond RFC 8259 (``NaN``, ``Infinity``, a comma too many) is refused by :func:`are_strict`.
"""

import functools
import json
import re
from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.template import Mask
from ingest.lines import Bytes, Lines

__all__ = ["MAX_DEPTH", "are_strict", "are_valid", "joined", "member_texts", "string_values", "too_deep"]

MAX_DEPTH = 64
"""Objects and lists within one another; deeper documents are refused."""
_FEW = 256
"""A query takes as long as reading so many strings one by one."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OPENING, _CLOSING = np.frombuffer(b"[{", np.uint8), np.frombuffer(b"]}", np.uint8)


def too_deep(lines: Lines) -> Mask:
    """Which of these lines, valid or not, nest deeper than :data:`MAX_DEPTH`."""
    brackets = np.flatnonzero((lines.data == _OPENING[0]) | (lines.data == _OPENING[1]))
    suspects: Mask = np.searchsorted(brackets, lines.ends) - np.searchsorted(brackets, lines.starts) > MAX_DEPTH
    for number in np.flatnonzero(suspects).tolist():
        suspects[number] = _depth(lines.line(number)) > MAX_DEPTH
    return suspects


def are_valid(docs: pa.StringArray) -> Mask:
    """Which documents are JSON, or what DuckDB takes for it."""
    return np.array(_query("SELECT json_valid(text) AS valid FROM input", docs)["valid"], np.bool_)


def are_strict(docs: pa.StringArray) -> Mask:
    """Which documents are JSON to the letter: the slow road, for those that may be more than that."""
    return np.array([_is_strict(doc) for doc in docs.to_pylist()], np.bool_)


def string_values(strings: pa.StringArray) -> pa.StringArray:
    """What JSON string literals say."""
    if len(strings) <= _FEW:
        return pa.array([json.loads(literal) for literal in strings.to_pylist()], pa.string())
    return _query("SELECT text ->> '$' AS value FROM input", strings)["value"].combine_chunks()


def joined(lists: pa.StringArray) -> pa.StringArray:
    """The elements of JSON lists as one text, ``", "`` between them; null elements are left out."""
    return _query("SELECT array_to_string(text ->> '$[*]', ', ') AS value FROM input", lists)["value"].combine_chunks()


def member_texts(docs: pa.StringArray, names: Sequence[str]) -> list[pa.StringArray]:
    """What these members of each object say, strings decoded and other values as JSON; null where absent or not valid JSON."""
    paths = ", ".join(f"""'$."{name}"'""" for name in names)
    found = _query(f"SELECT json_extract_string(CASE WHEN json_valid(text) THEN text END, [{paths}]) AS found FROM input", docs)["found"]
    lists = found.combine_chunks()
    present = pc.is_valid(lists)
    numbers = pc.if_else(present, pc.subtract(pc.cumulative_sum(present.cast("int64")), 1), None)
    flat = lists.flatten()
    return [flat.take(pc.add(pc.multiply(numbers, len(names)), place)) for place in range(len(names))]


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
