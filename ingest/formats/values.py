"""Columns made of places in a buffer: text, whole numbers, and the JSON text of what has no column. All vectorised."""

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.template import BACKSLASH, Marks, Mask, Span
from ingest.lines import Bytes, Numbers

__all__ = [
    "decimals",
    "digits_at",
    "fixed_point",
    "integers",
    "is_dash",
    "json_object",
    "json_string",
    "spans_of",
    "text",
    "unescaped_text",
]

_LARGEST_32 = 2**31 - 1
_MOST_DIGITS = 19
_MOST_DECIMAL_BYTES = 40
_ESCAPED = r'\\(["\\])'
_DECIMAL = r"^-?[0-9]{1,19}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$"
_CONTROL = r"[\x00-\x1f\x7f]"
_SPECIAL = np.isin(np.arange(256), [*range(32), 127, ord('"'), ord("\\")])


def is_dash(data: Bytes, span: Span) -> Mask:
    """Where the field is ``-``, by which access logs mean that there is no value."""
    dash: Mask = data.take(span.starts, mode="clip") == ord("-")
    dash &= span.ends - span.starts == 1
    return dash


def text(data: Bytes, span: Span, null: Mask | None = None) -> pa.StringArray:
    """The spans as strings, null where ``null`` says so.

    The buffer is read as one array whose every second element is a span, the others being the gaps between them; taking
    the even ones copies each span once.

    :raises AssertionError: the spans overlap, descend or leave the buffer, which only a fault of this program can cause: Arrow
        itself would read memory that is not the buffer's.
    """
    count = len(span.starts)
    if null is not None and null.all():
        return pa.nulls(count, pa.string())
    if not count:
        return pa.array([], pa.string())
    large = int(span.ends[-1]) > _LARGEST_32
    offsets: npt.NDArray[np.signedinteger] = np.empty(2 * count, np.int64 if large else np.int32)
    offsets[::2], offsets[1::2] = span.starts, span.ends
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        raise AssertionError("spans do not ascend within the buffer")
    kind = pa.LargeStringArray if large else pa.StringArray
    pieces = kind.from_buffers(2 * count - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    return pieces.take(pa.array(np.arange(0, 2 * count, 2), mask=null)).cast(pa.string())


def unescaped_text(marks: Marks, span: Span, null: Mask | None = None) -> pa.StringArray:
    r"""Like :func:`text`, with ``\"`` and ``\\`` decoded, once. Other escapes (``\xhh``, ``\n``) stay as logged."""
    strings = text(marks.data, span, null)
    slashes = marks.of(BACKSLASH)
    if not len(slashes):
        return strings
    has = np.searchsorted(slashes, span.starts) < np.searchsorted(slashes, span.ends)
    if not has.any():
        return strings
    mask = pa.array(has)
    decoded = pc.replace_substring_regex(strings.filter(mask), _ESCAPED, r"\1")
    return pc.replace_with_mask(strings, mask, decoded)


def digits_at(window: Bytes) -> tuple[Numbers, Mask]:
    """Each row of an (n, width) window read as one decimal number, int64[n], and whether all its bytes are digits."""
    total = np.zeros(len(window), np.int64)
    good = np.ones(len(window), np.bool_)
    for column in window.T:
        digit = column - np.uint8(ord("0"))
        good &= digit < 10
        total = total * 10 + digit
    return total, good


def integers(data: Bytes, span: Span) -> tuple[Numbers, Mask, Mask]:
    """Decimal digits as numbers.

    :returns: values int64 (0 where not good), whether they are all digits, and whether they fit in int64.
    """
    lengths = span.ends - span.starts
    value = np.zeros(len(lengths), np.uint64)
    numeric = lengths > 0
    for place in range(min(int(lengths.max(initial=0)), _MOST_DIGITS)):
        inside = place < lengths
        digit = data.take(span.starts + place, mode="clip") - np.uint8(ord("0"))
        numeric &= ~inside | (digit < 10)
        value = np.where(inside, value * np.uint64(10) + digit, value)
    fits = (lengths <= _MOST_DIGITS) & (value <= np.uint64(np.iinfo(np.int64).max))
    return np.where(numeric & fits, value, 0).astype(np.int64), numeric, fits


def json_string(strings: pa.StringArray) -> pa.StringArray:
    """Each string as JSON text, quotes included; null stays null."""
    return pc.binary_join_element_wise('"', _json_escaped(strings), '"', "")


def _json_escaped(strings: pa.StringArray) -> pa.StringArray:
    """What stands between the quotes of the JSON text; most columns have nothing to escape, which one look at their bytes tells."""
    if not _has_special(strings):
        return strings
    escaped = pc.replace_substring(pc.replace_substring(strings, "\\", "\\\\"), '"', '\\"')
    odd = pc.fill_null(pc.match_substring_regex(strings, _CONTROL), False)
    if not pc.any(odd).as_py():
        return escaped
    dumped = [json.dumps(value, ensure_ascii=False)[1:-1] for value in strings.filter(odd).to_pylist()]
    return pc.replace_with_mask(escaped, odd, pa.array(dumped, pa.string()))


def _has_special(strings: pa.StringArray) -> bool:
    """Whether the bytes of the strings hold a quote, a backslash or a control character."""
    _, offsets, data = strings.buffers()
    if data is None:
        return False
    places = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return bool(_SPECIAL[np.frombuffer(data, np.uint8)[places[0] : places[-1]]].any()) if len(strings) else False


def json_object(fields: dict[str, pa.StringArray]) -> pa.StringArray:
    """One JSON object per row of the fields that are not null there, as text; null where all are."""
    members = [pc.binary_join_element_wise(json.dumps(name) + ':"', _json_escaped(values), '"', "") for name, values in fields.items()]
    some = np.logical_or.reduce([member.is_valid().to_numpy(False) for member in members])
    if some.all():
        return pc.binary_join_element_wise("{", pc.binary_join_element_wise(*members, ",", null_handling="skip"), "}", "")
    # Only rows that have a member: where all are null, Arrow's join leaves the row out.
    mask = pa.array(some)
    joined = pc.binary_join_element_wise(*(member.filter(mask) for member in members), ",", null_handling="skip")
    objects = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.replace_with_mask(pa.nulls(len(some), pa.string()), mask, objects)


def spans_of(strings: pa.StringArray) -> tuple[Bytes, Span]:
    """The buffer of a string array, never empty, and where each string is in it; the array holds no null."""
    _, offsets, data = strings.buffers()
    places = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    return np.frombuffer(data if data else b"\0", np.uint8), Span(places[:-1], places[1:])


def decimals(strings: pa.StringArray) -> tuple[npt.NDArray[np.float64], Mask]:
    """Strings that are decimal numbers of a sane length as float64 (0 where not), and which those are."""
    numeric = pc.match_substring_regex(strings, _DECIMAL)
    values = pc.if_else(numeric, strings, "0").cast(pa.float64())
    return values.to_numpy(), np.array(numeric, np.bool_)


def fixed_point(data: Bytes, span: Span, places: int) -> tuple[Numbers, Mask]:
    """Decimal numbers without sign or exponent, as whole multiples of ``10 ** -places``: exact, further decimals cut off.

    :returns: int64 (0 where not good), and which are such numbers and fit.
    """
    lengths = span.ends - span.starts
    value, decimals_read = np.zeros(len(lengths), np.uint64), np.full(len(lengths), -1, np.int64)
    digits, whole_digits = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    good = (lengths > 0) & (lengths <= _MOST_DECIMAL_BYTES)
    for place in range(min(int(lengths.max(initial=0)), _MOST_DECIMAL_BYTES)):
        inside = place < lengths
        byte = data.take(span.starts + place, mode="clip")
        digit = byte - np.uint8(ord("0"))
        point = inside & (byte == ord(".")) & (decimals_read < 0)
        number = inside & (digit < 10)
        good &= ~inside | point | number
        taken = number & (decimals_read < places)
        value = np.where(taken, value * np.uint64(10) + digit, value)
        digits += number
        whole_digits += number & (decimals_read < 0)
        decimals_read = np.where(point, 0, decimals_read + (taken & (decimals_read >= 0)))
    missing = places - np.maximum(decimals_read, 0)
    good &= (digits > 0) & (whole_digits + places < _MOST_DIGITS)
    scaled = value * np.power(np.uint64(10), np.where(good, missing, 0).astype(np.uint64))
    return np.where(good, scaled, 0).astype(np.int64), good
