"""Tombstones: who was erased, or objects, known again by a keyed hash when rows come in. Nobody can be told from one.

A tombstone is HMAC-SHA-256 (RFC 2104, FIPS 180-4) of a selector's kind and value under a key derived from the master key, and the
times of the events that it bars. Of a batch each distinct value is hashed once, by DuckDB; without tombstones nothing is.
"""

import functools
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from core.clock import parse_instant, to_iso
from core.schema import EVENT_TIME
from core.star import Star
from core.subject import Subject
from storage import control as db
from storage import extensions
from storage.keys import KeyRing
from storage.requests import PURPOSE

__all__ = ["Tombstone", "Tombstones", "bury", "forget", "lift", "tombstones"]

Flags = npt.NDArray[np.bool_]

_BLOCK, _INNER, _OUTER = 64, 0x36, 0x5C
_BEGINNING, _END = "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_WORDS = r"[\pL\pN_@.+-]+"
_ADDRESSES = r"[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"


@dataclass(frozen=True)
class Tombstone:
    """One: rows with that value are barred when their time is from ``since`` and before ``until`` and ``before``."""

    kind: str
    digest: str
    since: str | None
    until: str | None
    before: str | None


def bury(connection: sa.Connection, keys: KeyRing, request: int, subject: Subject, before: str | None) -> None:
    """Bar the subject's rows from coming in, within the caller's transaction; nothing is added that the request has added.

    :param before: rows of before that instant, ISO 8601; ``None``: of any time.
    """
    if connection.execute(sa.select(db.tombstones.c.id).where(db.tombstones.c.request == request)).first():
        return
    for each in subject.selectors:
        (digest,) = _hashed(keys, each.kind, pa.array([each.value])).to_pylist()
        times = {"since": to_iso(each.since) if each.since else None, "until": to_iso(each.until) if each.until else None}
        connection.execute(db.tombstones.insert().values(request=request, kind=each.kind, digest=digest, before=before, **times))


def lift(connection: sa.Connection, *requests: int) -> int:
    """Take away what these requests added; returns how many tombstones."""
    return connection.execute(db.tombstones.delete().where(db.tombstones.c.request.in_(requests))).rowcount


def forget(connection: sa.Connection, before: str) -> int:
    """Take away those that bar rows of before that very instant, once these are refused for their age; returns how many."""
    return connection.execute(db.tombstones.delete().where(db.tombstones.c.before == before)).rowcount


def tombstones(connection: sa.Connection) -> tuple[Tombstone, ...]:
    """All there are."""
    rows = connection.execute(sa.select(db.tombstones).order_by(db.tombstones.c.id))
    return tuple(Tombstone(row.kind, row.digest, row.since, row.until, row.before) for row in rows)


class Tombstones:
    """Tombstones that rows are held against."""

    def __init__(self, keys: KeyRing, found: Iterable[Tombstone]) -> None:
        self._keys = keys
        self._layers: dict[str, list[dict[str, Tombstone]]] = {}
        for each in found:
            layers = self._layers.setdefault(each.kind, [])
            layer = next((one for one in layers if each.digest not in one), None)
            if layer is None:
                layer = {}
                layers.append(layer)
            layer[each.digest] = each

    def bars(self, rows: Star) -> Flags:
        """Which rows may not come in, bool[rows]."""
        times, found = _micros(rows.facts["event_time"]), np.zeros(rows.num_rows, np.bool_)
        for kind in self._layers:
            for values, numbers in _columns_of(kind, rows):
                found |= self._barred(kind, values, numbers, times)
            found |= self._labelled(kind, rows, times)
        return found

    def bars_lines(self, lines: pa.Array) -> Flags:
        """Which rejected lines, bytes, have a barred value as a word. Their time is not known: those barred for a range pass."""
        found = np.zeros(len(lines), np.bool_)
        if not len(lines) or not self._layers:
            return found
        texts = _texts(lines)
        for kind, layers in self._layers.items():
            digests = {digest for layer in layers for digest, each in layer.items() if not (each.since or each.until)}
            words, numbers = _words(kind, texts)
            hit = pc.is_in(_hashed(self._keys, kind, words), pa.array(sorted(digests), pa.string()))
            found[numbers[np.asarray(hit)]] = True
        return found

    def _labelled(self, kind: str, rows: Star, times: npt.NDArray[np.int64]) -> Flags:
        """Rows of which a text of ``labels`` is barred."""
        found = np.zeros(rows.num_rows, np.bool_)
        if "labels" not in rows.facts.schema.names or rows.facts["labels"].null_count == rows.num_rows:
            return found
        texts, numbers = _extracted(rows.facts["labels"].combine_chunks(), _QUOTED, 1)
        hit = self._barred(kind, texts, np.arange(len(texts)), times[numbers])
        found[numbers[hit]] = True
        return found

    def _barred(self, kind: str, values: pa.Array, numbers: npt.NDArray[Any], times: npt.NDArray[np.int64]) -> Flags:
        """Which rows are barred whose value is ``values[number]``."""
        coded = (pc.utf8_lower(values) if kind == "email" else values).dictionary_encode()
        hashes = _hashed(self._keys, kind, coded.dictionary)
        each = np.append(np.arange(len(hashes)), -1)[np.asarray(coded.indices.fill_null(len(hashes)))][numbers]
        found = np.zeros(len(times), np.bool_)
        for layer in self._layers[kind]:
            stones = list(layer.values())
            places = np.append(np.asarray(pc.index_in(hashes, pa.array(layer, pa.string())).fill_null(-1)), -1)[each]
            bounds = [(_micro(s.since or _BEGINNING), min(_micro(s.until or _END), _micro(s.before or _END))) for s in stones]
            first, last = (np.array([bound[side] for bound in bounds] + [0], np.int64)[places] for side in (0, 1))
            found |= (places >= 0) & (times >= first) & (times < last)
        return found


def _columns_of(kind: str, rows: Star) -> Iterable[tuple[pa.Array, npt.NDArray[Any]]]:
    """Columns in which a value of the kind may stand: their values, and the number of each row's."""
    if kind == "source_ip":
        client = rows.dimensions.get("client")
        for name in client.values.schema.names if client else ():
            yield client.values.column(name), client.numbers  # type: ignore[union-attr]  # there is one, else there are no names
        return
    for name in ("user_name", "account_id") if kind == "email" else (kind,):
        if name in rows.facts.schema.names and rows.facts[name].null_count < rows.num_rows:
            yield rows.facts[name].combine_chunks(), np.arange(rows.num_rows)


def _hashed(keys: KeyRing, kind: str, values: pa.Array) -> pa.Array:
    """The digest of each value, in hexadecimal digits; null for null."""
    inner, outer = _pads(keys)
    given = _duckdb().cursor()
    given.register("given", pa.table({"value": values}))
    said = "lower(sha256($outer || unhex(sha256($inner || encode($kind || ':' || value))))) AS digest"
    found = given.execute(f"SELECT {said} FROM given", {"outer": outer, "inner": inner, "kind": kind}).to_arrow_table()
    return found["digest"].combine_chunks()


def _pads(keys: KeyRing) -> tuple[bytes, bytes]:
    key = keys.derive(PURPOSE).ljust(_BLOCK, b"\0")
    return bytes(byte ^ _INNER for byte in key), bytes(byte ^ _OUTER for byte in key)


def _extracted(texts: pa.Array, pattern: str, group: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """All that matches in the texts, and the number of the text that each is of."""
    given = _duckdb().cursor()
    given.register("given", pa.table({"value": texts, "number": np.arange(len(texts))}))
    said = "SELECT number, unnest(regexp_extract_all(value, $pattern, $wanted)) AS found FROM given WHERE value IS NOT NULL"
    found = given.execute(said, {"pattern": pattern, "wanted": group}).to_arrow_table().combine_chunks()
    return found["found"].combine_chunks(), np.asarray(found["number"].combine_chunks())


def _words(kind: str, texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    words, numbers = _extracted(texts, _WORDS, 0)
    words = pc.utf8_rtrim(words, ".")
    if kind == "email":
        return pc.utf8_lower(words), numbers
    if kind == "source_ip":
        further, of = _extracted(texts, _ADDRESSES, 0)
        return pa.concat_arrays([words, pa.array([_canonical(text) for text in further.to_pylist()], pa.string())]), np.append(numbers, of)
    return words, numbers


def _canonical(text: str) -> str:
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return text
    mapped = packed.startswith(bytes(10) + b"\xff\xff")
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if mapped else socket.inet_ntop(socket.AF_INET6, packed)


def _texts(lines: pa.Array) -> pa.Array:
    try:
        return lines.cast(pa.string())
    except pa.ArrowInvalid:  # some are no UTF-8
        return pa.array([line.decode("utf-8", "replace") for line in lines.to_pylist()], pa.string())


def _micros(times: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(times.combine_chunks().cast(EVENT_TIME).cast(pa.int64()))


def _micro(text: str) -> int:
    return int(pa.scalar(parse_instant(text), EVENT_TIME).cast(pa.int64()).as_py())


@functools.cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    return extensions.connect(threads=1, preserve_insertion_order=True, temp_directory="")
