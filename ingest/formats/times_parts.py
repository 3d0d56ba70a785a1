"""The pieces that readers of times are made of: windows of bytes, numbers in them, and the calendar. All vectorised.

A window is an (n, width) copy of the bytes of n rows; what is read from it is an array of n values and a mask of the rows that
hold such a thing. What lies outside the mask is meaningless, and harmless.

Lines of a log follow each other in time: many have the time of the line before, and only the first of such a run is read.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ingest.formats.template import Mask, Span
from ingest.formats.values import digits_at
from ingest.lines import Bytes, Numbers

__all__ = [
    "LATEST",
    "SECOND",
    "Runs",
    "checked",
    "clock",
    "codes",
    "days",
    "decimals_of_second",
    "fraction",
    "instant",
    "is_sign",
    "literals",
    "month",
    "numbers",
    "offset",
    "texts",
    "windows",
]

_Array = TypeVar("_Array", bound=npt.NDArray[np.generic])

SECOND = 1_000_000
"""Microseconds."""
LATEST = 253_402_300_800 * SECOND
"""The first instant of the year 10,000, which no date can be written for."""
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_DAYS_IN_MONTH = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_MONTH_KEYS = np.array([int.from_bytes(_MONTHS[i : i + 3], "big") for i in range(0, 36, 3)], np.int64)
_MONTH_ORDER = np.argsort(_MONTH_KEYS)
_LOW_BYTES = np.array([(1 << 8 * kept) - 1 for kept in range(9)], np.uint64)
_WORD = np.dtype("<u8")
_MIDNIGHT = np.uint64(int.from_bytes(b"00:00:00", "little"))
_COLONS, _TENS_EACH, _SIX_EACH = np.uint64(0x0000FF0000FF0000), np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
_SAMPLE = 512


def windows(data: Bytes, starts: Numbers, width: int) -> Bytes:
    """An (n, width) copy of the bytes from each start, which ascend; zeros beyond the buffer's end."""
    last = len(data) - width
    if len(starts) and starts[-1] > last:
        near, first = int(np.searchsorted(starts, last, side="right")), max(last, 0)
        tail = np.concatenate((data[first:], np.zeros(width, np.uint8)))
        return np.concatenate((_within(data, starts[:near], width), _within(tail, starts[near:] - first, width)))
    return _within(data, starts, width)


def _within(data: Bytes, starts: Numbers, width: int) -> Bytes:
    """The windows, none of which reaches beyond the buffer."""
    if not len(starts):
        return np.zeros((0, width), np.uint8)
    anywhere: npt.NDArray[np.void] = np.ndarray((len(data) - width + 1,), f"V{width}", data, 0, (1,))
    return anywhere[starts].view(np.uint8).reshape(-1, width)


def texts(data: Bytes, span: Span, most: int) -> Bytes:
    """A copy of the texts with zeros behind each; all zeros for one that is longer than ``most``.

    :returns: (n, width) bytes, the width a multiple of eight and more than ``most``.
    """
    width = (most // 8 + 1) * 8
    window, lengths = windows(data, span.starts, width), span.ends - span.starts
    words = window.view(_WORD)
    for place in range(int(lengths.min(initial=width)) // 8, width // 8):
        words[:, place] &= _LOW_BYTES[np.clip(lengths - 8 * place, 0, 8)]
    if lengths.max(initial=0) > most:
        window[lengths > most] = 0
    return window


class Runs:
    """Runs of equal rows, of which the first is read for all.

    :param windows: (n, width) bytes each, of a width that is a multiple of eight.
    """

    def __init__(self, *windows: Bytes) -> None:
        few = _SAMPLE // 2
        self._first: Numbers | None = None
        if len(windows[0]) > _SAMPLE and np.count_nonzero(_changes([window[:_SAMPLE] for window in windows])) <= few:
            self._first = np.flatnonzero(_changes(windows))
            self._lengths = np.diff(self._first, append=len(windows[0]))

    def first(self, rows: _Array) -> _Array:
        """Of values of all rows those of the first rows; of all rows where runs are too short to be worth it."""
        return rows if self._first is None else rows[self._first]  # type: ignore[return-value] # rows of the same kind

    def spread(self, *values: npt.NDArray[np.generic]) -> list[Any]:
        """What was read of the first rows, for all rows."""
        return list(values) if self._first is None else [np.repeat(value, self._lengths) for value in values]


def _changes(windows: Sequence[Bytes]) -> Mask:
    """Which rows are not as the one before."""
    changed = np.zeros(len(windows[0]), np.bool_)
    changed[:1] = True
    for window in windows:
        words = window.view(_WORD)
        for place in range(words.shape[1]):
            changed[1:] |= words[1:, place] != words[:-1, place]
    return changed


def codes(characters: str) -> Bytes:
    """The characters as bytes."""
    return np.frombuffer(characters.encode(), np.uint8)


def literals(window: Bytes, expected: dict[int, str]) -> Mask:
    """Which rows hold these ASCII characters at these places."""
    good = np.ones(len(window), np.bool_)
    for place, character in expected.items():
        good &= window[:, place] == ord(character)
    return good


def numbers(window: Bytes, *places: tuple[int, int]) -> tuple[list[Numbers], Mask]:
    """The decimal number of each of these columns, and which rows have them all."""
    read = [digits_at(window[:, first:last]) for first, last in places]
    return [value for value, _ in read], np.logical_and.reduce([good for _, good in read])


def month(window: Bytes) -> tuple[Numbers, Mask]:
    """``Jan`` to ``Dec``, as strftime writes them in English -> 1 to 12."""
    key = (window[:, 0].astype(np.int64) << 16) | (window[:, 1].astype(np.int64) << 8) | window[:, 2]
    keys = _MONTH_KEYS[_MONTH_ORDER]
    place = np.minimum(np.searchsorted(keys, key), 11)
    return _MONTH_ORDER[place] + 1, keys[place] == key


def is_sign(column: Bytes) -> Mask:
    """Which of these bytes are ``+`` or ``-``."""
    return np.isin(column, codes("+-"))


def offset(sign: Bytes, hours: Numbers, minutes: Numbers) -> tuple[Numbers, Mask]:
    """Offset from UTC in microseconds, and whether it is one: ISO 8601 has up to 23:59."""
    east = (hours * 60 + minutes) * 60 * SECOND
    return np.where(sign == ord("-"), -east, east), (hours < 24) & (minutes < 60)


def instant(year: Numbers, month: Numbers, day: Numbers, hour: Numbers, minute: Numbers, second: Numbers) -> tuple[Numbers, Mask]:
    """Microseconds since 1970 of a date and time in UTC, and whether the calendar and the clock have it."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = _DAYS_IN_MONTH[np.clip(month, 1, 12) - 1] - ((month == 2) & ~leap)
    real = (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest) & (hour < 24) & (minute < 60) & (second <= 60)
    return (days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * SECOND, real


def days(year: Numbers, month: Numbers, day: Numbers) -> Numbers:
    """Days since 1970-01-01 in the Gregorian calendar (https://howardhinnant.github.io/date_algorithms.html, days_from_civil)."""
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    since: Numbers = era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
    return since


def clock(window: Bytes) -> tuple[Numbers, Mask, Mask]:
    """``18:24:25`` in an (n, 8) window -> seconds since midnight; whether it is of that form; whether a clock shows it."""
    digits = np.ascontiguousarray(window).view(_WORD)[:, 0] ^ _MIDNIGHT
    formed = ((digits | digits + _SIX_EACH) & _TENS_EACH | digits & _COLONS) == 0
    hour, minute, second = ((digits >> np.uint64(place) & np.uint64(0x0F0F)) for place in (0, 24, 48))
    hour, minute, second = ((pair & np.uint64(0xFF)) * np.uint64(10) + (pair >> np.uint64(8)) for pair in (hour, minute, second))
    seconds = (hour * np.uint64(3600) + minute * np.uint64(60) + second).view(np.int64)
    return seconds, formed, (hour < 24) & (minute < 60) & (second <= 60)


def fraction(window: Bytes) -> tuple[Numbers, Numbers, Mask]:
    """Decimals of a second from a window that begins at the point or comma: microseconds, bytes taken, and whether well formed."""
    pointed = np.isin(window[:, 0], codes(".,"))
    micros, count = decimals_of_second(window[:, 1:], pointed)
    return micros, np.where(pointed, count + 1, 0), ~pointed | ((count >= 1) & (count <= 9))


def decimals_of_second(window: Bytes, running: Mask) -> tuple[Numbers, Numbers]:
    """Leading digits of each row that is ``running``, as decimals of a second: microseconds (cut, not rounded), and how many digits."""
    micros = np.zeros(len(window), np.int64)
    count = np.zeros(len(window), np.int64)
    running = running.copy()
    for place in range(window.shape[1]):
        digit = window[:, place] - np.uint8(ord("0"))
        running &= digit < 10
        if place < 6:
            micros += np.where(running, digit * np.int64(10 ** (5 - place)), 0)
        count += running
    return micros, count


def checked(micros: Numbers, formed: Mask, real: Mask) -> tuple[Numbers, Mask, Mask]:
    """Microseconds (0 where wrong), which are of the form, and which are of the form and from 1970 to 9999."""
    good = formed & real & (micros >= 0) & (micros < LATEST)
    return np.where(good, micros, 0), formed, good
