"""The request line ``GET /path HTTP/1.1``, many at once -> method, target, version.

The target reaches from the first space to the last, so one with unencoded spaces stays whole. What is not of this form is
told apart, not refused: a log must be able to show what attackers send.

Source: RFC 9112 section 3 (https://www.rfc-editor.org/rfc/rfc9112#section-3); HTTP/0.9 has ``GET /path`` alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.bitmaps import words_at
from ingest.formats.template import SPACE, Marks, Mask, Span
from ingest.formats.values import is_dash, text, unescaped_text
from ingest.lines import Bytes, Numbers

__all__ = ["RequestLine", "split_request"]

_METHOD = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
_USUAL_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ")
_PROTOCOL = b"HTTP/"
_LONGEST_VERSION, _SHORTEST_VERSION = len(b"HTTP/1.1"), len(b"HTTP/2")
_PROTOCOL_BYTES, _MINOR_POINT = np.uint64((1 << 40) - 1), np.uint64(ord("."))


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
    first = np.minimum(marks.next(SPACE, span.starts), span.ends)
    last, versioned = _version(marks, span, first)
    # HTTP/0.9: one space, then a path.
    bare = (first == last) & (first < span.ends) & (data.take(first + 1, mode="clip") == ord("/")) & (first + 1 < span.ends)
    target_end = np.where(versioned, last, span.ends)
    formed = (versioned & (last > first + 1)) | bare
    method, named = _method(data, Span(span.starts, first), formed)
    formed &= named
    target = unescaped_text(marks, Span(np.minimum(first + 1, target_end), target_end), ~formed)
    version = text(data, Span(np.minimum(last + 6, span.ends), span.ends), ~(formed & versioned))
    return RequestLine(method, target, version, ~formed & ~is_dash(data, span))


def _version(marks: Marks, span: Span, first: Numbers) -> tuple[Numbers, Mask]:
    """The last space of each span (its end when it has none), and whether a version stands between that and the end.

    Most end in ``HTTP/1.1``, which holds no space: only in the others the last one is looked for.
    """
    data, last = marks.data, np.maximum(span.ends - _LONGEST_VERSION - 1, 0)
    versioned = (last > first) & (data.take(last, mode="clip") == SPACE) & _is_version(data, last, span.ends)
    others = np.flatnonzero(~versioned)
    if len(others):
        begin, end = first[others], span.ends[others]
        last[others] = np.where(begin < end, marks.last(SPACE, end), end)
        brief = (end - last[others] - 1 == _SHORTEST_VERSION) & (last[others] > begin)
        versioned[others] = brief & _is_version(data, last[others], end)
    return last, versioned


def _is_version(data: Bytes, last: Numbers, ends: Numbers) -> Mask:
    """Whether ``HTTP/1.1``, or ``HTTP/2`` before the end, stands after each of these places."""
    words = words_at(data, np.minimum(last + 1, len(data)))
    good: Mask = (words & _PROTOCOL_BYTES == np.uint64(int.from_bytes(_PROTOCOL, "little"))) & _is_digit(words >> np.uint64(40))
    minor = (words >> np.uint64(48) & np.uint64(0xFF) == _MINOR_POINT) & _is_digit(words >> np.uint64(56))
    good &= minor | (ends - last - 1 == _SHORTEST_VERSION)
    return good


def _is_digit(words: npt.NDArray[np.uint64]) -> Mask:
    """Whether the lowest byte is one."""
    digit: Mask = (words & np.uint64(0xFF)) - np.uint64(ord("0")) < 10
    return digit


def _method(data: Bytes, span: Span, formed: Mask) -> tuple[pa.StringArray, Mask]:
    """Methods, null where there is none, and where there is one."""
    odd = np.flatnonzero(formed & ~_is_usual(data, span))
    if len(odd):
        distinct = text(data, span.take(odd)).dictionary_encode()
        formed = formed.copy()
        formed[odd] = pc.match_substring_regex(distinct.dictionary, _METHOD).take(distinct.indices).to_numpy(zero_copy_only=False)
    return text(data, span, ~formed), formed


def _is_usual(data: Bytes, span: Span) -> Mask:
    """Whether the method, and the space after it, are among the usual ones."""
    words, found = words_at(data, span.starts), np.zeros(len(span.starts), np.bool_)
    for method in _USUAL_METHODS:
        here = words & np.uint64((1 << 8 * len(method)) - 1) == np.uint64(int.from_bytes(method, "little"))
        found |= here
        if found.all():
            break
    return found
