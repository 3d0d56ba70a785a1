"""The request line ``GET /path HTTP/1.1``, many at once -> method, target, version.

The target reaches from the first space to the last, so one with unencoded spaces stays whole. What is not of this form is
told apart, not refused: a log must be able to show what attackers send.

Source: RFC 9112 section 3 (https://www.rfc-editor.org/rfc/rfc9112#section-3); HTTP/0.9 has ``GET /path`` alone.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.template import SPACE, Marks, Mask, Span
from ingest.formats.times_parts import windows
from ingest.formats.values import is_dash, text, unescaped_text
from ingest.lines import Bytes, Numbers

__all__ = ["RequestLine", "split_request"]

_METHOD = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
_PROTOCOL = b"HTTP/"
_VERSION_WIDTH = len(b"HTTP/1.1")


@dataclass(frozen=True)
class RequestLine:
    """Columns of request lines; null where unknown. ``unknown``: neither of the form nor ``-``, bool[n]."""

    method: pa.StringArray
    target: pa.StringArray
    version: pa.StringArray
    unknown: Mask


def split_request(marks: Marks, span: Span) -> RequestLine:
    """Take request lines apart."""
    data = marks.data
    first, last = _spaces(marks, span)
    versioned = (last > first) & _is_version(data, last, span.ends)
    # HTTP/0.9: one space, then a path.
    bare = (first == last) & (first < span.ends) & (data.take(first + 1, mode="clip") == ord("/")) & (first + 1 < span.ends)
    target_end = np.where(versioned, last, span.ends)
    formed = (versioned & (last > first + 1)) | bare
    method, named = _method(data, Span(span.starts, first), formed)
    formed &= named
    target = unescaped_text(marks, Span(np.minimum(first + 1, target_end), target_end), ~formed)
    version = text(data, Span(np.minimum(last + 6, span.ends), span.ends), ~(formed & versioned))
    return RequestLine(method, target, version, ~formed & ~is_dash(data, span))


def _spaces(marks: Marks, span: Span) -> tuple[Numbers, Numbers]:
    """The first and the last space of each span; its end when it has none."""
    _, first = marks.next(SPACE, span.starts)
    index = np.searchsorted(marks.of(SPACE), span.ends) - 1
    has = first < span.ends
    return np.where(has, first, span.ends), np.where(has, marks.at(SPACE, np.maximum(index, 0)), span.ends)


def _is_version(data: Bytes, last: Numbers, ends: Numbers) -> Mask:
    """Whether ``HTTP/1.1`` or ``HTTP/2`` stands between the last space and the end."""
    length = ends - last - 1 - len(_PROTOCOL)
    good: Mask = (length == 1) | (length == 3)
    window = windows(data, np.minimum(last + 1, len(data)), _VERSION_WIDTH)
    good &= (window[:, : len(_PROTOCOL)] == np.frombuffer(_PROTOCOL, np.uint8)).all(axis=1)
    minor = (window[:, 6] == ord(".")) & _is_digit(window[:, 7])
    good &= _is_digit(window[:, 5]) & ((length == 1) | minor)
    return good


def _is_digit(column: Bytes) -> Mask:
    digit: Mask = column - np.uint8(ord("0")) < 10
    return digit


def _method(data: Bytes, span: Span, formed: Mask) -> tuple[pa.StringArray, Mask]:
    """Methods, null where there is none, and where there is one; the few distinct ones are looked at once."""
    distinct = text(data, span, ~formed).dictionary_encode()
    named = pc.match_substring_regex(distinct.dictionary, _METHOD)
    words = pc.if_else(named, distinct.dictionary, pa.scalar(None, pa.string()))
    method = words.take(distinct.indices)
    return method, method.is_valid().to_numpy(zero_copy_only=False)
