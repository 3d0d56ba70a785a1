"""The pieces that readers of times are made of: windows of bytes, numbers in them, and the calendar. All vectorised.

A window is an (n, width) copy of the bytes of n rows; what is read from it is an array of n values and a mask of the rows that
hold such a thing. What lies outside the mask is meaningless, and harmless.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ingest.formats.template import Mask
from ingest.formats.values import digits_at
from ingest.lines import Bytes, Numbers

__all__ = [
    "LATEST",
    "SECOND",
    "checked",
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
    "windows",
]

SECOND = 1_000_000
"""Microseconds."""
LATEST = 253_402_300_800 * SECOND
"""The first instant of the year 10,000, which no date can be written for."""
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_DAYS_IN_MONTH = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_MONTH_KEYS = np.array([int.from_bytes(_MONTHS[i : i + 3], "big") for i in range(0, 36, 3)], np.int64)
_MONTH_ORDER = np.argsort(_MONTH_KEYS)


def windows(data: Bytes, starts: Numbers, width: int) -> Bytes:
    """An (n, width) copy of the bytes from each start, which ascend; zeros beyond the buffer's end."""
    last = len(data) - width
    if not len(starts):
        return np.zeros((0, width), np.uint8)
    if last < 0 or starts[-1] > last:
        tail = data[max(last, 0) :] if last > 0 else data
        near_end = starts > last
        padded = sliding_window_view(np.concatenate((tail, np.zeros(width, np.uint8))), width)
        result = padded[np.where(near_end, starts - max(last, 0), 0)]
        if not near_end.all():
            result[~near_end] = sliding_window_view(data, width)[starts[~near_end]]
        return result
    found: Bytes = sliding_window_view(data, width)[starts]
    return found


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
