"""Times in logs -> microseconds since 1970 in UTC, many at once, each either right or refused.

Only instants from 1970 to 9999 are accepted: nothing was served before, and nothing later can be written as a date.
A leap second (``:60``) counts as the first second of the next minute, as POSIX time has it.

Sources: the time of Apache's common log, ``22/Jan/2019:03:56:14 +0330`` (https://httpd.apache.org/docs/2.4/logs.html);
ISO 8601 as RFC 3339 narrows it (https://www.rfc-editor.org/rfc/rfc3339).
"""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ingest.formats.template import Mask, Span
from ingest.formats.values import digits_at
from ingest.lines import Bytes, Numbers

__all__ = ["CLF_WIDTH", "clf_times", "epoch_times", "iso_times"]

CLF_WIDTH = 26
SECOND = 1_000_000
_LATEST = 253_402_300_800 * SECOND
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_DAYS_IN_MONTH = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_MONTH_KEYS = np.array([int.from_bytes(_MONTHS[i : i + 3], "big") for i in range(0, 36, 3)], np.int64)
_MONTH_ORDER = np.argsort(_MONTH_KEYS)
_ISO_WIDTH = 35
_Decimals = npt.NDArray[np.float64]


def clf_times(data: Bytes, span: Span) -> tuple[Numbers, Mask, Mask]:
    """``22/Jan/2019:03:56:14 +0330`` -> microseconds.

    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is of that form; whether it is a real time.
    """
    right_width = span.ends - span.starts == CLF_WIDTH
    w = _windows(data, span.starts, CLF_WIDTH)
    formed = right_width & _literals(w, {2: "/", 6: "/", 11: ":", 14: ":", 17: ":", 20: " "})
    (day, hour, minute, second), good = _numbers(w, (0, 2), (12, 14), (15, 17), (18, 20))
    (year, zone_hour, zone_minute), more = _numbers(w, (7, 11), (22, 24), (24, 26))
    month, named = _month(w[:, 3:6])
    formed &= good & more & named & _is_sign(w[:, 21])
    micros, real = _instant(year, month, day, hour, minute, second)
    zone, zoned = _zone(w[:, 21], zone_hour, zone_minute)
    return _checked(micros - zone, formed, real & zoned)


def iso_times(data: Bytes, span: Span) -> tuple[Numbers, Mask]:
    """``2019-01-22T03:56:14.123456+03:30`` and its lesser forms -> microseconds.

    Date and time to the second are needed, ``T`` or a space between them; up to nine decimals, cut to six; the zone is
    ``Z``, ``+hh:mm``, ``+hhmm`` or ``+hh``, and without one it is UTC.

    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is such a time.
    """
    length = span.ends - span.starts
    w = _windows(data, span.starts, _ISO_WIDTH)
    w[np.arange(_ISO_WIDTH) >= length[:, None]] = 0
    good = (length >= 19) & (length <= _ISO_WIDTH) & _literals(w, {4: "-", 7: "-", 13: ":", 16: ":"}) & np.isin(w[:, 10], _codes("Tt "))
    (year, month, day), a = _numbers(w, (0, 4), (5, 7), (8, 10))
    (hour, minute, second), b = _numbers(w, (11, 13), (14, 16), (17, 19))
    micros, real = _instant(year, month, day, hour, minute, second)
    fraction, width, fractioned = _fraction(w[:, 19:30])
    zone, zoned = _iso_zone(w, 19 + width)
    micros, _, real = _checked(micros + fraction - zone, good & a & b & fractioned, real & zoned)
    return micros, real


def epoch_times(values: _Decimals, whole: Numbers) -> tuple[Numbers, Mask]:
    """Numbers since 1970 -> microseconds; the unit is told by the magnitude.

    Below 10^11 seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds: right for every time after
    March 1973. Seconds may have decimals.

    :param values: the numbers as float64; :param whole: the same as int64 where they are whole, else -1 (kept exact).
    """
    size = np.abs(np.nan_to_num(values, nan=-1.0, posinf=1e30))
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [SECOND, 1000, 1], 0)
    known = (values >= 0) & (size < 9.3e18)
    exact = np.where(scale > 0, np.where(whole >= 0, whole, 0) * scale, np.where(whole >= 0, whole, 0) // 1000)
    rounded = np.rint(np.where(known, size, 0) * np.where(scale > 0, scale, 1e-3)).astype(np.int64)
    micros = np.where(whole >= 0, exact, rounded)
    good = known & (micros < _LATEST)
    return np.where(good, micros, 0), good


def _windows(data: Bytes, starts: Numbers, width: int) -> Bytes:
    """An (n, width) copy of the bytes from each start; zeros beyond the buffer's end."""
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
    windows: Bytes = sliding_window_view(data, width)[starts]
    return windows


def _codes(characters: str) -> Bytes:
    return np.frombuffer(characters.encode(), np.uint8)


def _literals(window: Bytes, expected: dict[int, str]) -> Mask:
    good = np.ones(len(window), np.bool_)
    for place, character in expected.items():
        good &= window[:, place] == ord(character)
    return good


def _numbers(window: Bytes, *places: tuple[int, int]) -> tuple[list[Numbers], Mask]:
    read = [digits_at(window[:, first:last]) for first, last in places]
    return [value for value, _ in read], np.logical_and.reduce([good for _, good in read])


def _month(window: Bytes) -> tuple[Numbers, Mask]:
    key = (window[:, 0].astype(np.int64) << 16) | (window[:, 1].astype(np.int64) << 8) | window[:, 2]
    keys = _MONTH_KEYS[_MONTH_ORDER]
    place = np.minimum(np.searchsorted(keys, key), 11)
    return _MONTH_ORDER[place] + 1, keys[place] == key


def _is_sign(column: Bytes) -> Mask:
    return np.isin(column, _codes("+-"))


def _zone(sign: Bytes, hours: Numbers, minutes: Numbers) -> tuple[Numbers, Mask]:
    """Offset from UTC in microseconds, and whether it is one: ISO 8601 has up to 23:59."""
    offset = (hours * 60 + minutes) * 60 * SECOND
    return np.where(sign == ord("-"), -offset, offset), (hours < 24) & (minutes < 60)


def _instant(year: Numbers, month: Numbers, day: Numbers, hour: Numbers, minute: Numbers, second: Numbers) -> tuple[Numbers, Mask]:
    """Microseconds since 1970 of a date and time in UTC, and whether the calendar and the clock have it."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = _DAYS_IN_MONTH[np.clip(month, 1, 12) - 1] - ((month == 2) & ~leap)
    real = (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest) & (hour < 24) & (minute < 60) & (second <= 60)
    return (_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * SECOND, real


def _days(year: Numbers, month: Numbers, day: Numbers) -> Numbers:
    """Days since 1970-01-01 in the Gregorian calendar (https://howardhinnant.github.io/date_algorithms.html, days_from_civil)."""
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days: Numbers = era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
    return days


def _fraction(window: Bytes) -> tuple[Numbers, Numbers, Mask]:
    """Decimals of a second from a window that begins at the point or comma: microseconds, bytes taken, and whether well formed."""
    pointed = np.isin(window[:, 0], _codes(".,"))
    micros = np.zeros(len(window), np.int64)
    count = np.zeros(len(window), np.int64)
    running = pointed.copy()
    for place in range(1, window.shape[1]):
        digit = window[:, place] - np.uint8(ord("0"))
        running &= digit < 10
        micros += np.where(running, digit * np.int64(10 ** max(6 - place, 0)) * (place <= 6), 0)
        count += running
    return micros, np.where(pointed, count + 1, 0), ~pointed | ((count >= 1) & (count <= 9))


def _iso_zone(window: Bytes, place: Numbers) -> tuple[Numbers, Mask]:
    """The zone that begins at ``place`` of each row and ends the text: microseconds east of UTC, and whether well formed."""
    padded = np.concatenate((window, np.zeros((len(window), 7), np.uint8)), axis=1)
    z = np.take_along_axis(padded, np.minimum(place, _ISO_WIDTH)[:, None] + np.arange(7), axis=1)
    colon = z[:, 3] == ord(":")
    minutes_window = np.where(colon[:, None], z[:, 4:6], z[:, 3:5])
    (hours, minutes), _ = _numbers(np.concatenate((z[:, 1:3], minutes_window), axis=1), (0, 2), (2, 4))
    hours_good, minutes_good = digits_at(z[:, 1:3])[1], digits_at(minutes_window)[1]
    none, utc = z[:, 0] == 0, np.isin(z[:, 0], _codes("Zz")) & (z[:, 1] == 0)
    short = hours_good & (z[:, 3] == 0)
    full = hours_good & minutes_good & (np.where(colon, z[:, 6], z[:, 5]) == 0)
    offset, valid = _zone(z[:, 0], hours, np.where(short, 0, minutes))
    numeric = _is_sign(z[:, 0]) & (short | full) & valid
    return np.where(numeric, offset, 0), none | utc | numeric


def _checked(micros: Numbers, formed: Mask, real: Mask) -> tuple[Numbers, Mask, Mask]:
    good = formed & real & (micros >= 0) & (micros < _LATEST)
    return np.where(good, micros, 0), formed, good
