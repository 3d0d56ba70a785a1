"""What auditors read beside the rows, as tables: ``ledger`` and ``query_log``, streamed out of the control database."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import islice
from typing import Any

import pyarrow as pa

from core.clock import parse_instant
from core.roles import LEDGER, QUERY_LOG
from core.schema import EVENT_TIME
from query.texts import as_json
from storage.ledger import Ledger
from storage.query_log import Entry, QueryLog

__all__ = ["LEDGER_SCHEMA", "QUERY_LOG_SCHEMA", "books"]

_PAGE = 2_000

LEDGER_SCHEMA = pa.schema([("seq", pa.int64()), ("event_time", EVENT_TIME), ("kind", pa.string()), ("body", pa.string())])
"""The ledger; ``body`` is JSON."""

_TYPES = {int: pa.int64(), str: pa.string(), float: pa.float64(), bool: pa.bool_()}
_NAMES = {"at": "event_time", "user": "user_id", "name": "user_name"}
_ENTRY = {"seq": int, "user": int, "rows": int, "seconds": float, "sound": bool}

QUERY_LOG_SCHEMA = pa.schema(
    [(_NAMES.get(f.name, f.name), EVENT_TIME if f.name == "at" else _TYPES[_ENTRY.get(f.name, str)]) for f in fields(Entry)]
)
"""The query log: :class:`storage.query_log.Entry`, with names that are no words of SQL (``at``, ``user``)."""


def books(ledger: Ledger, log: QueryLog) -> dict[str, Callable[[], pa.RecordBatchReader]]:
    """The tables by name, each read when it is asked for (``query.lake.LakeView.tables``)."""
    return {
        LEDGER: lambda: _reader(LEDGER_SCHEMA, _events(ledger)),
        QUERY_LOG: lambda: _reader(QUERY_LOG_SCHEMA, map(_entry, log.entries())),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in vars(entry).items()} | {"event_time": parse_instant(entry.at)}


def _events(ledger: Ledger) -> Iterator[dict[str, Any]]:
    for event in ledger.events():
        yield {"seq": event.seq, "event_time": parse_instant(event.at), "kind": event.kind, "body": as_json(dict(event.body))}


def _reader(schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> pa.RecordBatchReader:
    rest = iter(rows)
    pages = iter(lambda: list(islice(rest, _PAGE)), [])
    return pa.RecordBatchReader.from_batches(schema, (pa.RecordBatch.from_pylist(page, schema) for page in pages))
