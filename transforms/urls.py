"""The request target, split into scheme, domain, port, path and query.

Promises: ``url_original`` is consumed; what the format filled itself stays; nothing is lost but the user and password of an
absolute URL: a target of no known form, or for another host than the one the log names, becomes path and query as it is.
The four forms are those of RFC 9112, section 3.2: ``/path?query``, ``http://host:port/path?query``, ``host:port`` (CONNECT)
and ``*``. The query begins after the first question mark, is null without one, and keeps a fragment as sent. Domains keep
their case, and IPv6 literals their brackets (ECS).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from transforms.base import Numbers, put, text_column
from transforms.strings import bytes_of, parts_of

__all__ = ["Urls"]

_PORT = r"(?P<port>0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4}))"
_USER = r"(?:[^/?#]*@)?"
_HOST = r"(?P<domain>\[[^\]/?#@]*\]|[^/?#:@\[\]]+)"
_ABSOLUTE = rf"(?s)^(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://{_USER}{_HOST}(?::{_PORT}?)?(?P<rest>[/?#].*)?$"
_AUTHORITY = rf"(?s)^{_USER}{_HOST}:{_PORT}$"

_PARTS = ("url_scheme", "url_domain", "url_port", "url_path", "url_query")


class Urls:
    """Fills the ``url_`` columns from ``url_original``, which it takes away."""

    name = "urls"
    version: dict[str, str] = {"rules": "1"}  # noqa: RUF012 - the protocol's type
    warnings: tuple[str, ...] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows without ``url_original`` and with its parts."""
        if "url_original" not in batch.schema.names:
            return batch
        targets = batch.column("url_original")
        parts: dict[str, pa.Array] = {name: pa.nulls(len(batch), schema.by_name(name).type) for name in _PARTS}
        parts["url_path"] = targets
        parts = _absolute(batch, parts, _AUTHORITY, _connects(batch, targets))
        parts = _absolute(batch, parts, _ABSOLUTE, _odd(parts["url_path"]))
        parts["url_path"], parts["url_query"] = _split(parts["url_path"])
        given = {name: pc.coalesce(batch.column(name), parts[name]) for name in _PARTS if name in batch.schema.names}
        return put(batch, parts | given).drop_columns(["url_original"])


def _connects(batch: pa.RecordBatch, targets: pa.Array) -> pa.Array:
    """Which rows may be of the form ``host:port``: CONNECT requests."""
    connect = pc.equal(pc.utf8_upper(text_column(batch, "http_request_method")), "CONNECT")
    return pc.and_kleene(connect, pc.is_valid(targets))


def _odd(targets: pa.Array) -> pa.Array:
    """Which targets do not begin with a slash, as nearly all do."""
    data, places = bytes_of(targets)
    return pa.array((data.take(places[:-1], mode="clip") != ord("/")) & (places[1:] > places[:-1]))


def _absolute(batch: pa.RecordBatch, parts: dict[str, pa.Array], pattern: str, rows: pa.Array) -> dict[str, pa.Array]:
    """Take apart the rows that match the pattern; the others stay."""
    numbers = np.flatnonzero(rows.fill_null(False).to_numpy(zero_copy_only=False))
    if not len(numbers):
        return parts
    fits, fields = _taken_apart(parts["url_path"].take(pa.array(numbers)), pattern)
    differs = pc.or_(_differs(batch, "url_domain", numbers, fields["domain"]), _differs(batch, "url_port", numbers, fields["port"]))
    fits = pc.and_not(fits, differs)
    columns = {
        "url_scheme": fields["scheme"],
        "url_domain": fields["domain"],
        "url_port": fields["port"],
        "url_path": fields["rest"],
    }
    numbers = numbers[fits.to_numpy(zero_copy_only=False)]
    return parts | {name: _replace(parts[name], numbers, values.filter(fits)) for name, values in columns.items()}


def _taken_apart(targets: pa.Array, pattern: str) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Which targets match, and what of them is what. Scheme and authority are few: each distinct one is matched once."""
    heads, tails = _heads(targets)
    distinct = heads.dictionary_encode()
    found = pc.extract_regex(distinct.dictionary, pattern)
    fields = {field.name: _empty_as_null(pc.struct_field(found, field.name)) for field in found.type}
    nothing = pa.nulls(len(found), pa.string())
    fields |= {"port": fields["port"].cast(pa.int32()), "scheme": fields.get("scheme", nothing), "rest": fields.get("rest", nothing)}
    spread = {name: values.take(distinct.indices) for name, values in fields.items()}
    return found.is_valid().take(distinct.indices), spread | {"rest": pc.coalesce(tails, spread["rest"])}


def _heads(targets: pa.Array) -> tuple[pa.Array, pa.Array]:
    """``http://host:port`` and ``/path?query`` of targets of that form; of others all, and null."""
    pieces = pc.split_pattern(targets, "/", max_splits=3)
    counts, flat = pc.list_value_length(pieces).to_numpy(zero_copy_only=False), pieces.flatten()
    starts = np.cumsum(counts) - counts
    usual = counts == 4
    authority, path = (flat.take(pa.array(starts + place, mask=~usual)) for place in (2, 3))
    plain = pc.and_(pc.equal(flat.take(pa.array(starts + 1, mask=~usual)), ""), pc.invert(pc.match_substring_regex(authority, "[?#]")))
    plain = pc.fill_null(plain, False)
    heads = pc.binary_join_element_wise(flat.take(pa.array(starts)), authority, "//")
    tails = pc.binary_join_element_wise("", path, "/")
    return pc.if_else(plain, heads, targets), pc.if_else(plain, tails, pa.scalar(None, pa.string()))


def _differs(batch: pa.RecordBatch, name: str, numbers: Numbers, values: pa.Array) -> pa.Array:
    """Where the log's own value is another than the URL's: taking the URL apart would lose one of the two."""
    if name not in batch.schema.names:
        return pa.array(np.zeros(len(numbers), dtype=np.bool_))
    own = batch.column(name).take(pa.array(numbers))
    if pa.types.is_string(own.type):
        own, values = pc.utf8_lower(own), pc.utf8_lower(values)
    return pc.not_equal(own, values).fill_null(False)


def _empty_as_null(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _replace(array: pa.Array, numbers: Numbers, values: pa.Array) -> pa.Array:
    """The array with these rows set."""
    rows = np.zeros(len(array), dtype=np.bool_)
    rows[numbers] = True
    return pc.replace_with_mask(array, pa.array(rows), values)


def _split(targets: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Path and query of each target: at its first question mark."""
    data, places = bytes_of(targets)
    marks = np.flatnonzero(data == ord("?"))
    if not len(marks):
        return targets, pa.nulls(len(targets), pa.string())
    rows = np.searchsorted(places, marks, side="right") - 1
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    cut, none = places[1:].copy(), np.ones(len(targets), np.bool_)
    cut[rows[first]], none[rows[first]] = marks[first], False
    path = parts_of(data, places[:-1], cut, targets.is_null().to_numpy(zero_copy_only=False))
    return path, parts_of(data, np.minimum(cut + 1, places[1:]), places[1:], none)
