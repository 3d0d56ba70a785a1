"""Columns made of places in a buffer: text, whole numbers, and the JSON text of what has no column. All vectorised."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.bitmaps import words_at
from ingest.formats.template import BACKSLASH, QUOTE, SPACE, Marks, Mask, Span
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
_EVENS = pa.array(np.arange(0, 1 << 16, 2, dtype=np.int32))
_ESCAPED = r'\\(["\\])'
_DECIMAL = r"^-?[0-9]{1,19}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$"
_CONTROL = r"[\x00-\x1f\x7f]"
_DELETE = 0x7F
_ZEROS, _HIGH, _LOW, _SIX, _THREES = (np.uint64(byte * 0x0101010101010101) for byte in (0x30, 0xF0, 0x0F, 0x06, 0x33))
_TENS = np.power(np.uint64(10), np.arange(20, dtype=np.uint64))
_QUOTES = 4
"""Of each member of a JSON object: two of its name, two of its value."""


def is_dash(data: Bytes, span: Span) -> Mask:
    """Where the field is ``-``, by which access logs mean that there is no value."""
    dash: Mask = span.ends - span.starts == 1
    if dash.any():
        dash &= data.take(span.starts, mode="clip") == ord("-")
    return dash


def text(data: Bytes, span: Span, null: Mask | None = None) -> pa.StringArray:
    """The spans as strings, null where ``null`` says so.

    The buffer is read as one array whose every second element is a span, the others being the gaps between them; taking
    the even ones copies each span once.

    :raises AssertionError: the spans overlap, descend or leave the buffer, which only a fault of this program can cause: Arrow
        itself would read memory that is not the buffer's.
    """
    count = len(span.starts)
    if not count:
        return pa.array([], pa.string())
    if null is None or not null.any():
        return _even(_spans_and_gaps(data, [span])).cast(pa.string())
    if null.all():
        return pa.nulls(count, pa.string())
    # Where there is none the span is emptied, which costs less than to tell Arrow so for each.
    found = _even(_spans_and_gaps(data, [Span(span.starts, np.where(null, span.starts, span.ends))])).cast(pa.string())
    _, offsets, held = found.buffers()
    return pa.StringArray.from_buffers(count, offsets, held, pa.py_buffer(np.packbits(~null, bitorder="little")))


def _even(pieces: pa.StringArray | pa.LargeStringArray) -> pa.StringArray | pa.LargeStringArray:
    """Every second element, from the first on."""
    count = (len(pieces) + 1) // 2
    return pieces.take(_EVENS[:count] if count <= len(_EVENS) else pa.array(np.arange(0, 2 * count, 2)))


def _spans_and_gaps(data: Bytes, spans: Sequence[Span]) -> pa.StringArray | pa.LargeStringArray:
    """The buffer as one array whose even elements are the first row's spans, then the second row's, and so on; see :func:`text`."""
    large = int(spans[-1].ends[-1]) > _LARGEST_32
    places: npt.NDArray[np.signedinteger] = np.empty((len(spans[0].starts), 2 * len(spans)), np.int64 if large else np.int32)
    for number, span in enumerate(spans):
        places[:, 2 * number], places[:, 2 * number + 1] = span.starts, span.ends
    offsets = places.ravel()
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        raise AssertionError("spans do not ascend within the buffer")
    kind = pa.LargeStringArray if large else pa.StringArray
    return kind.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def unescaped_text(marks: Marks, span: Span, null: Mask | None = None) -> pa.StringArray:
    r"""Like :func:`text`, with ``\"`` and ``\\`` decoded, once. Other escapes (``\xhh``, ``\n``) stay as logged."""
    strings = text(marks.data, span, null)
    slashes = marks.of(BACKSLASH)
    if not len(slashes) or not len(strings):
        return strings
    row = np.searchsorted(span.starts, slashes, side="right") - 1
    has = np.zeros(len(span.starts), np.bool_)
    has[row[(row >= 0) & (slashes < span.ends.take(row, mode="clip"))]] = True
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
    value, numeric = _digits(data, span.starts, np.minimum(lengths, _MOST_DIGITS))
    numeric &= lengths > 0
    fits = (lengths <= _MOST_DIGITS) & (value <= np.uint64(np.iinfo(np.int64).max))
    return np.where(numeric & fits, value, np.uint64(0)).view(np.int64), numeric, fits


def _digits(data: Bytes, starts: Numbers, lengths: Numbers) -> tuple[npt.NDArray[np.uint64], Mask]:
    """So many digits from each start as one number, and whether they all are digits; 0 and true where there are none.

    Eight digits are read as one word: https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/.
    """
    words = words_at(data, np.minimum(starts, len(data)))
    if lengths.min(initial=8) < 8:
        words <<= (8 * np.clip(8 - lengths, 0, 8)).view(np.uint64)
        words |= _ZEROS >> (8 * np.clip(lengths, 0, 8)).view(np.uint64)
    good = (words & _HIGH | ((words + _SIX) & _HIGH) >> np.uint64(4)) == _THREES
    value = _eight_digits(words)
    long = np.flatnonzero(lengths > 8)
    if len(long):
        rest, more = _digits(data, starts[long] + 8, lengths[long] - 8)
        value[long] = value[long] * _TENS[lengths[long] - 8] + rest
        good[long] &= more
    return value, good


def _eight_digits(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    pairs = (words & _LOW) * np.uint64(10 * 2**8 + 1) >> np.uint64(8)
    fours = (pairs & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1) >> np.uint64(16)
    eights: npt.NDArray[np.uint64] = (fours & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10_000 * 2**32 + 1) >> np.uint64(32)
    return eights


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
    held = _held(strings)
    return _has_odd(held) or bool((held == QUOTE).any())


def _held(strings: pa.StringArray) -> Bytes:
    """The bytes of the strings, one after the other."""
    _, offsets, data = strings.buffers()
    if data is None or not len(strings):
        return np.empty(0, np.uint8)
    places = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data, np.uint8)[places[0] : places[-1]]


def _has_odd(held: Bytes) -> bool:
    return bool(held.min(initial=_DELETE) < SPACE or (held == BACKSLASH).any() or (held == _DELETE).any())


@dataclass(frozen=True)
class _Member:
    """A member of JSON objects.

    :param present: the rows that have it.
    :param first: which of all values is its in row 0; :param step: how far on that of the next row is.
    """

    name: str
    present: Mask
    first: int
    step: int


def json_object(
    fields: Mapping[str, pa.StringArray], data: Bytes | None = None, spans: Mapping[str, tuple[Span, Mask]] | None = None
) -> pa.StringArray:
    """One JSON object per row of the fields that are not null there, as text; null where all are.

    :param spans: further fields by their places in ``data``, and where they are null. Places ascend from field to field within
        a row, and from row to row.
    """
    spans = spans or {}
    pieces = [_spans_and_gaps(data, [span for span, _ in spans.values()])] if data is not None and spans else []
    if all(pa.types.is_string(one.type) for one in pieces):
        members = _members(fields)
        first = sum(len(one) for one in fields.values())
        members += [_Member(name, ~null, first + 2 * number, 2 * len(spans)) for number, (name, (_, null)) in enumerate(spans.items())]
        objects, sound = _objects(members, [*fields.values(), *pieces])
        if sound:
            return objects
    texts = {**fields, **{name: text(data, span, null) for name, (span, null) in spans.items() if data is not None}}
    escaped = {name: _json_escaped(one) for name, one in texts.items()}
    return _objects(_members(escaped), [*escaped.values()])[0]


def _members(fields: Mapping[str, pa.StringArray]) -> list[_Member]:
    return [_Member(name, one.is_valid().to_numpy(False), at * len(one), 1) for at, (name, one) in enumerate(fields.items())]


def _objects(members: Sequence[_Member], values: Sequence[pa.StringArray]) -> tuple[pa.StringArray, bool]:
    """JSON objects of values as they are, null where they have no member; and whether no value holds what must be escaped.

    All pieces of all rows are taken in one go from one array of constants and values: what they leave behind is the text of
    the rows, one after the other.
    """
    count, names = len(members[0].present), [json.dumps(member.name) + ':"' for member in members]
    constants = ["", '"}', *("{" + name for name in names), *('",' + name for name in names)]
    pieces = np.zeros((count, 2 * len(members) + 1), np.int64)
    some = np.zeros(count, np.bool_)
    for number, member in enumerate(members):
        pieces[:, 2 * number] = np.where(member.present, np.where(some, 2 + len(names) + number, 2 + number), 0)
        value = np.arange(count) * member.step + (len(constants) + member.first)
        pieces[:, 2 * number + 1] = np.where(member.present, value, 0)
        some |= member.present
    pieces[:, -1] = some
    joined = pa.concat_arrays([pa.array(constants), *values]).take(pa.array(pieces.ravel()))
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(offsets, np.int32)[: pieces.size + 1 : pieces.shape[1]].copy()
    objects = pa.StringArray.from_buffers(count, pa.py_buffer(ends), data, pa.py_buffer(np.packbits(some, bitorder="little")))
    held = _held(joined)
    quotes = _QUOTES * sum(int(member.present.sum()) for member in members)
    return objects, not _has_odd(held) and int((held == QUOTE).sum()) == quotes


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
