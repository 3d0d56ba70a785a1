"""JSON lines: one object per line, its fields named as the Elastic Common Schema names them, or by a map.

What it promises beyond :mod:`ingest.formats.base`:

- A field may be written ``{"source": {"ip": ...}}``, ``{"source.ip": ...}`` or ``{"source_ip": ...}``; ``@timestamp`` is
  ``event_time``. A field given more than once (a repeated key too) makes the line ambiguous: it is rejected.
- The field map adds names, and they come before ECS's: what loses goes to ``labels``, as does every field that has no column,
  under its dotted path. ``http.response.bytes``, ``http.request.bytes`` and ``url.full`` serve where the field proper is absent.
- ``null`` is absent. So are ``""`` and ``-`` where a number or an address belongs.
- Times: see :func:`ingest.formats.times.iso_times` and, for numbers (also as strings), :func:`ingest.formats.times.epoch_times`.
- Whole numbers may be strings. What a column cannot hold rejects the line; the reason names the column.

Within ``labels`` values are JSON as DuckDB writes it: decimals beyond 17 digits are rounded, repeated keys deep inside stay.

Source: https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html and https://jsonlines.org.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.errors import UsageError
from ingest.formats import _json_engine as engine
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.template import Mask, Span
from ingest.formats.times import epoch_times, iso_times
from ingest.formats.values import decimals, integers, json_string, spans_of, text
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["JsonLines"]

ECS_NAMES = {
    "@timestamp": "event_time",
    "source.address": "source_address",
    "source.ip": "source_ip",
    "source.port": "source_port",
    "user.name": "user_name",
    "account.id": "account_id",
    "http.request.method": "http_request_method",
    "http.request.referrer": "http_request_referrer",
    "http.request.id": "http_request_id",
    "http.request.body.bytes": "http_request_body_bytes",
    "http.version": "http_version",
    "http.response.status_code": "http_response_status_code",
    "http.response.body.bytes": "http_response_body_bytes",
    "url.original": "url_original",
    "url.scheme": "url_scheme",
    "url.domain": "url_domain",
    "url.port": "url_port",
    "url.path": "url_path",
    "url.query": "url_query",
    "user_agent.original": "user_agent_original",
    "event.duration": "event_duration",
}
FALLBACKS = {
    "http.response.bytes": "http_response_body_bytes",
    "http.request.bytes": "http_request_body_bytes",
    "url.full": "url_original",
}
COLUMNS = tuple(dict.fromkeys(ECS_NAMES.values()))
RANGES = {"http_response_status_code": (100, 999), "source_port": (0, 65535), "url_port": (0, 65535)}
_LARGEST = 2**63 - 1
_QUOTE, _OBJECT, _LIST, _NULL = b'"{[n'
_TWICE = "a field is given more than once"


@dataclass(frozen=True)
class JsonLines:
    """JSON lines; see :class:`ingest.formats.base.Format`.

    :param field_map: dotted path in the document -> column, for names that are not ECS's; of two paths to one column the first
        that is present counts.
    :raises UsageError: a path is empty, or a column is not one that a document can fill.
    """

    field_map: Mapping[str, str] = field(default_factory=dict)
    name: str = "json"
    description: str = "JSON lines with ECS field names, or others by a field map"
    source: str = "https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html"
    sample: str = (
        '{"@timestamp": "2000-10-10T13:55:36-07:00", "source.ip": "127.0.0.1", "user": {"name": "frank"}, '
        '"http": {"request": {"method": "GET"}, "response": {"status_code": 200, "body": {"bytes": 2326}}}, '
        '"url": {"original": "/apache_pb.gif"}, "trace": {"id": "4bf92f35"}}'
    )

    def __post_init__(self) -> None:
        for path, column in self.field_map.items():
            if column not in COLUMNS:
                raise UsageError(f"field map: {path!r} -> {column!r} is not a column to fill", f"use one of {', '.join(COLUMNS)}")
            if not all(path.split(".")):
                raise UsageError(f"field map: {path!r} is not a path", "write names with dots between them, like request.client")

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, _: _Parse(self.names, block).run(), lines)

    def configured(self, options: FormatOptions) -> "JsonLines":
        """The format with the options' names.

        :raises UsageError: a path is empty, or a column is not one that a document can fill.
        """
        return JsonLines(options.json_fields) if options.json_fields else self

    @cached_property
    def names(self) -> "_Names":
        """What the paths mean."""
        return _Names(self.field_map)


class _Names:
    """Known paths, each with its column and its rank among the paths of that column (lower comes first)."""

    def __init__(self, field_map: Mapping[str, str]) -> None:
        ecs, last = len(field_map), len(field_map) + 1
        known = {path: (column, last) for path, column in FALLBACKS.items()}
        known |= {column: (column, ecs) for column in COLUMNS}
        known |= {path: (column, ecs) for path, column in ECS_NAMES.items()}
        known |= {path: (column, rank) for rank, (path, column) in enumerate(field_map.items())}
        self.paths = pa.array(list(known), pa.string())
        self.columns = np.array([COLUMNS.index(column) for column, _ in known.values()])
        self.ranks = np.array([rank for _, rank in known.values()])
        self.rank_count = last + 1
        parts = [path.split(".") for path in known]
        self.prefixes = pa.array(sorted({".".join(p[:i]) for p in parts for i in range(1, len(p))}), pa.string())
        self.levels = max(len(p) for p in parts)


@dataclass(frozen=True)
class _Fields:
    """Fields of many documents: number of the document, dotted path, value as JSON text."""

    rows: Numbers
    paths: pa.StringArray
    values: pa.StringArray

    def take(self, which: Mask | Numbers) -> "_Fields":
        numbers = np.flatnonzero(which) if which.dtype == np.bool_ else which
        chosen = pa.array(numbers)
        return _Fields(self.rows[numbers], self.paths.take(chosen), self.values.take(chosen))

    def first_bytes(self) -> Bytes:
        """The byte that tells what each value is."""
        data, span = spans_of(self.values)
        return data.take(span.starts, mode="clip")


class _Parse:
    """One parse: documents to fields, fields to columns and labels, lines set aside on the way."""

    def __init__(self, names: _Names, lines: Lines) -> None:
        self.names, self.lines, self.count = names, lines, len(lines)
        self.docs = text(lines.data, Span(lines.starts, lines.ends))
        self.verdicts = Verdicts(self.count)

    def run(self) -> Parsed:
        self._check_documents()
        leaves = self._leaves()
        columns, labels = self._assign(leaves)
        rows = {name: self._column(name, columns[name]) for name in COLUMNS}
        rows["source_address"] = pc.coalesce(rows["source_address"], rows["source_ip"])
        rows["labels"] = self._labels(labels)
        good = pa.array(self.verdicts.good)
        ordered = [c.name for c in schema.COLUMNS if c.name in rows] + ["url_original"]
        return self.verdicts.parsed(pa.RecordBatch.from_arrays([rows[name].filter(good) for name in ordered], names=ordered))

    def _check_documents(self) -> None:
        self.verdicts.reject(engine.too_deep(self.lines), "nested too deep")
        valid, is_object = engine.json_kinds(self.docs)
        self.verdicts.reject(~valid, "not valid JSON")
        self.verdicts.reject(~is_object, "not a JSON object")

    def _leaves(self) -> _Fields:
        """Fields of the good documents; objects are entered only where a known path leads through them."""
        rows = np.flatnonzero(self.verdicts.good)
        inside = _Fields(rows, pa.nulls(len(rows), pa.string()), self.docs.take(pa.array(rows)))
        leaves, entered = [], []
        for _ in range(self.names.levels):
            found = _members(inside)
            enter = (found.first_bytes() == _OBJECT) & _mask(pc.is_in(found.paths, self.names.prefixes))
            inside = found.take(enter)
            leaves.append(found.take(~enter))
            entered.append(inside)
            if not enter.any():
                break
        self._reject_repeated(_concat(leaves + entered))
        return _concat(leaves)

    def _reject_repeated(self, fields: _Fields) -> None:
        paths = fields.paths.dictionary_encode()
        keys = np.sort(fields.rows * max(len(paths.dictionary), 1) + paths.indices.to_numpy())
        twice = keys[1:][np.diff(keys) == 0] // max(len(paths.dictionary), 1)
        self.verdicts.reject_numbers(twice, _TWICE)

    def _assign(self, leaves: _Fields) -> tuple[dict[str, _Fields], _Fields]:
        """The fields of each column, one per document at most, and all the others, in the order of the documents."""
        leaves = leaves.take(leaves.first_bytes() != _NULL)
        known = pc.fill_null(pc.index_in(leaves.paths, self.names.paths), -1).to_numpy()
        candidates = np.flatnonzero(known >= 0)
        rows, columns, ranks = leaves.rows[candidates], self.names.columns[known[candidates]], self.names.ranks[known[candidates]]
        cells = rows * len(COLUMNS) + columns
        order = np.argsort(cells * self.names.rank_count + ranks, kind="stable")
        same_cell = np.diff(cells[order], prepend=-1) == 0
        same_rank = np.diff(ranks[order], prepend=-1) == 0
        self.verdicts.reject_numbers(rows[order][same_cell & same_rank], _TWICE)
        winners = candidates[order[~same_cell]]
        column_of = self.names.columns[known[winners]]
        others = np.ones(len(leaves.rows), np.bool_)
        others[winners] = False
        rest = np.flatnonzero(others)
        by_row = rest[np.argsort(leaves.rows[rest], kind="stable")]
        return {name: leaves.take(winners[column_of == place]) for place, name in enumerate(COLUMNS)}, leaves.take(by_row)

    def _column(self, name: str, fields: _Fields) -> pa.Array:
        kind = schema.input_type(name)
        values = self._plain(name, fields)
        if name == "event_time":
            return self._times(fields.rows, values)
        if kind == pa.string():
            if name == "source_ip":
                fields, values = self._addresses(fields, values)
            return self._spread(fields.rows, values)
        return self._integers(name, fields.rows, values).cast(kind)

    def _plain(self, name: str, fields: _Fields) -> pa.StringArray:
        """What the values say: of strings their text, of numbers and truths their JSON."""
        first = fields.first_bytes()
        self._reject(fields.rows, (first == _OBJECT) | (first == _LIST), f"{name} is not a single value")
        data, span = spans_of(fields.values)
        quoted = first == _QUOTE
        plain = text(data, Span(span.starts + quoted, span.ends - quoted))
        escaped = quoted & _mask(pc.match_substring(fields.values, "\\"))
        if escaped.any():
            mask = pa.array(escaped)
            plain = pc.replace_with_mask(plain, mask, engine.string_values(fields.values.filter(mask)))
            self._reject(fields.rows, _mask(pc.match_substring(plain, "\0")), f"{name} holds a NUL")
        return plain

    def _times(self, rows: Numbers, values: pa.StringArray) -> pa.Array:
        data, span = spans_of(values)
        numbers, numeric = decimals(values)
        whole, digits, fits = integers(data, span)
        from_number, good_number = epoch_times(numbers, np.where(digits & fits, whole, -1))
        from_text, good_text = iso_times(data, span)
        good = np.where(numeric, good_number, good_text)
        self._reject(rows, ~good, "event_time is not a time")
        missing = np.ones(self.count, np.bool_)
        missing[rows] = False
        self.verdicts.reject(missing, "no event_time")
        micros = np.zeros(self.count, np.int64)
        micros[rows] = np.where(numeric, from_number, from_text)
        return pa.array(micros).cast(schema.EVENT_TIME)

    def _integers(self, name: str, rows: Numbers, values: pa.StringArray) -> pa.Array:
        least, most = RANGES.get(name, (0, _LARGEST))
        data, span = spans_of(values)
        numbers, digits, fits = integers(data, span)
        fractions, numeric = decimals(values)
        whole = numeric & (fractions == np.floor(fractions)) & (np.abs(fractions) < 2**53)
        numbers = np.where(digits & fits, numbers, np.where(whole, fractions, -1).astype(np.int64))
        null = _mask(_is_blank(values))
        inside = ((digits & fits) | whole) & (numbers >= least) & (numbers <= most)
        self._reject(rows, ~inside & ~null, f"{name} is not a whole number from {least} to {most}")
        return self._spread(rows, pa.array(np.where(inside, numbers, 0), mask=null))

    def _addresses(self, fields: _Fields, values: pa.StringArray) -> tuple[_Fields, pa.StringArray]:
        """Each distinct address is looked at once."""
        present = ~_mask(_is_blank(values))
        fields, values = fields.take(present), values.filter(pa.array(present))
        distinct = values.dictionary_encode()
        good = np.array([_is_address(value) for value in distinct.dictionary.to_pylist()], np.bool_)
        self._reject(fields.rows, ~good[distinct.indices.to_numpy()], "source_ip is not an IP address")
        return fields, values

    def _labels(self, fields: _Fields) -> pa.StringArray:
        paths = fields.paths.dictionary_encode()
        texts = pc.binary_join_element_wise(json_string(paths.dictionary).take(paths.indices), fields.values, ":")
        counts = np.bincount(fields.rows, minlength=self.count)
        offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
        objects = pc.binary_join_element_wise("{", pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ","), "}", "")
        return pc.if_else(pa.array(counts > 0), objects, pa.scalar(None, pa.string()))

    def _reject(self, rows: Numbers, wrong: Mask, reason: str) -> None:
        mask = np.zeros(self.count, np.bool_)
        mask[rows[wrong]] = True
        self.verdicts.reject(mask, reason)

    def _spread(self, rows: Numbers, values: pa.Array) -> pa.Array:
        """The values at these rows, null at all others."""
        place = np.full(self.count, -1, np.int64)
        place[rows] = np.arange(len(rows))
        return values.take(pa.array(place, mask=place < 0))


def _members(objects: _Fields) -> _Fields:
    found = engine.members(objects.values)
    prefixes = objects.paths.take(pa.array(found.parents))
    paths = pc.binary_join_element_wise(prefixes, found.keys, ".", null_handling="skip")
    return _Fields(objects.rows[found.parents], paths, found.values)


def _concat(fields: list[_Fields]) -> _Fields:
    paths, values = (pa.concat_arrays([getattr(f, name) for f in fields]) for name in ("paths", "values"))
    return _Fields(np.concatenate([f.rows for f in fields]), paths, values)


def _mask(column: pa.Array) -> Mask:
    return np.array(column, np.bool_)


def _is_blank(values: pa.StringArray) -> pa.Array:
    return pc.is_in(values, pa.array(["", "-"]))


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
