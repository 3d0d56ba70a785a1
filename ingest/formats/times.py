"""Times in logs -> microseconds since 1970 in UTC, many at once, each either right or refused.

Only instants from 1970 to 9999 are accepted: nothing was served before, and nothing later can be written as a date.
A leap second (``:60``) counts as the first second of the next minute, as POSIX time has it. Decimals beyond the
microsecond are cut off. Forms that a pattern describes are in :mod:`ingest.formats.times_pattern`.

Sources: the time of Apache's common log, ``22/Jan/2019:03:56:14 +0330`` (https://httpd.apache.org/docs/2.4/logs.html);
ISO 8601 as RFC 3339 narrows it (https://www.rfc-editor.org/rfc/rfc3339); date and time of the W3C's extended log
(https://www.w3.org/TR/WD-logfile.html).
"""

import numpy as np
import numpy.typing as npt

from ingest.formats.template import Mask, Span
from ingest.formats.times_parts import (
    LATEST,
    SECOND,
    Runs,
    checked,
    clock,
    codes,
    fraction,
    instant,
    is_sign,
    literals,
    month,
    numbers,
    offset,
    texts,
)
from ingest.formats.times_zone import to_utc
from ingest.formats.values import digits_at, fixed_point, integers
from ingest.lines import Bytes, Numbers

__all__ = ["CLF_WIDTH", "UNITS", "clf_times", "date_and_time", "epoch_text_times", "epoch_times", "epoch_unit_times", "iso_times"]

CLF_WIDTH = 26
UNITS = ("s", "ms", "us", "ns")
"""Units of numbers since 1970."""
_PLACES = {"s": 6, "ms": 3, "us": 0}
_ISO_WIDTH = 35
_CLOCK_WIDTH = 18
_DATE_WIDTH = 10
_Decimals = npt.NDArray[np.float64]


def clf_times(data: Bytes, span: Span) -> tuple[Numbers, Mask, Mask]:
    """``22/Jan/2019:03:56:14 +0330`` -> microseconds.

    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is of that form; whether it is a real time.
    """
    window = texts(data, span, CLF_WIDTH)
    runs = Runs(window)
    micros, formed, real = runs.spread(*_clf_times(runs.first(window)))
    return micros, formed, real


def _clf_times(window: Bytes) -> tuple[Numbers, Mask, Mask]:
    """Of many times that follow each other nearly all are of one day: it is read once, and of each only the clock."""
    seconds, clock_formed, clock_real = clock(window[:, 12:20])
    days = window.copy()
    days[:, 12:20] = codes("00:00:00")
    runs = Runs(days)
    midnight, formed, real = runs.spread(*_clf_days(runs.first(days)))
    return checked(midnight + seconds * SECOND, formed & clock_formed, real & clock_real)


def _clf_days(w: Bytes) -> tuple[Numbers, Mask, Mask]:
    formed = literals(w, {2: "/", 6: "/", 11: ":", 14: ":", 17: ":", 20: " ", CLF_WIDTH: "\0"})
    (day, hour, minute, second), good = numbers(w, (0, 2), (12, 14), (15, 17), (18, 20))
    (year, zone_hour, zone_minute), more = numbers(w, (7, 11), (22, 24), (24, 26))
    named_month, named = month(w[:, 3:6])
    formed &= good & more & named & is_sign(w[:, 21])
    micros, real = instant(year, named_month, day, hour, minute, second)
    east, zoned = offset(w[:, 21], zone_hour, zone_minute)
    return micros - east, formed, real & zoned


def iso_times(data: Bytes, span: Span, zone: str = "UTC") -> tuple[Numbers, Mask]:
    """``2019-01-22T03:56:14.123456+03:30`` and its lesser forms -> microseconds.

    Date and time to the second are needed, ``T`` or a space between them; up to nine decimals, cut to six; the zone is
    ``Z``, ``+hh:mm``, ``+hhmm`` or ``+hh``.

    :param zone: IANA name of the zone of times that name none.
    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is such a time.
    :raises UsageError: there is no such zone.
    """
    window = texts(data, span, _ISO_WIDTH)
    runs = Runs(window)
    micros, good = runs.spread(*_iso_times(runs.first(window), zone))
    return micros, good


def _iso_times(w: Bytes, zone: str) -> tuple[Numbers, Mask]:
    good = literals(w, {4: "-", 7: "-", 13: ":", 16: ":", _ISO_WIDTH: "\0"}) & np.isin(w[:, 10], codes("Tt "))
    (year, month_number, day), a = numbers(w, (0, 4), (5, 7), (8, 10))
    (hour, minute, second), b = numbers(w, (11, 13), (14, 16), (17, 19))
    micros, real = instant(year, month_number, day, hour, minute, second)
    decimals, width, well_formed = fraction(w[:, 19:30])
    east, zoned, zoneless = _iso_zone(w, 19 + width)
    good &= a & b & well_formed & real
    micros = _in_zone(micros + decimals - east, good & zoneless, zone)
    micros, _, real = checked(micros, good, zoned)
    return micros, real


def date_and_time(data: Bytes, date_span: Span, time_span: Span, zone: str = "UTC") -> tuple[Numbers, Mask]:
    """``2018-08-28`` and, in another field, ``18:24``, ``18:24:25`` or ``18:24:25.123`` -> microseconds.

    :param zone: IANA name of the zone of these times.
    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether they are such a date and such a time.
    :raises UsageError: there is no such zone.
    """
    dates, clocks = texts(data, date_span, _DATE_WIDTH), texts(data, time_span, _CLOCK_WIDTH)
    length = time_span.ends - time_span.starts
    runs = Runs(dates, clocks, length.view(np.uint8).reshape(-1, 8))
    micros, good = runs.spread(*_date_and_time(runs.first(dates), runs.first(clocks), runs.first(length), zone))
    return micros, good


def _date_and_time(d: Bytes, t: Bytes, length: Numbers, zone: str) -> tuple[Numbers, Mask]:
    brief = length == 5
    t[brief, 5:8] = codes(":00")
    (year, month_number, day), a = numbers(d, (0, 4), (5, 7), (8, 10))
    (hour, minute, second), b = numbers(t, (0, 2), (3, 5), (6, 8))
    decimals, width, well_formed = fraction(t[:, 8:_CLOCK_WIDTH])
    good = a & b & well_formed & literals(d, {4: "-", 7: "-", _DATE_WIDTH: "\0"}) & literals(t, {2: ":", 5: ":"})
    good &= brief | (length == 8 + width)
    micros, real = instant(year, month_number, day, hour, minute, second)
    good &= real
    micros, _, good = checked(_in_zone(micros + decimals, good, zone), good, good)
    return micros, good


def epoch_times(values: _Decimals, whole: Numbers) -> tuple[Numbers, Mask]:
    """Numbers since 1970 -> microseconds; the unit is told by the magnitude.

    Below 10^11 seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds: right for every time after
    March 1973. Seconds may have decimals.

    :param values: the numbers as float64; :param whole: the same as int64 where they are whole, else -1 (kept exact).
    """
    size = np.abs(np.nan_to_num(values, nan=-1.0, posinf=1e30))
    return _scaled(values, whole, np.select([size < 1e11, size < 1e14, size < 1e17], [SECOND, 1000, 1], 0))


def epoch_unit_times(values: _Decimals, whole: Numbers, unit: str) -> tuple[Numbers, Mask]:
    """Numbers since 1970 in one of :data:`UNITS` -> microseconds.

    :param values: the numbers as float64; :param whole: the same as int64 where they are whole, else -1 (kept exact).
    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is such a time.
    :raises KeyError: there is no such unit.
    """
    scale = {"s": SECOND, "ms": 1000, "us": 1, "ns": 0}[unit]
    return _scaled(values, whole, np.full(len(values), scale, np.int64))


def epoch_text_times(data: Bytes, span: Span, unit: str) -> tuple[Numbers, Mask]:
    """``1693840791.7564995`` and its like, in one of :data:`UNITS` since 1970 -> microseconds, exact; nanoseconds must be whole.

    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is such a time.
    :raises KeyError: there is no such unit.
    """
    if unit == "ns":
        nanos, numeric, fits = integers(data, span)
        micros, good = nanos // 1000, numeric & fits
    else:
        micros, good = fixed_point(data, span, _PLACES[unit])
    micros, _, good = checked(micros, good, good)
    return micros, good


def _scaled(values: _Decimals, whole: Numbers, scale: Numbers) -> tuple[Numbers, Mask]:
    """Numbers times ``scale``, or through 1,000 where that is 0; exact where whole."""
    size = np.abs(np.nan_to_num(values, nan=-1.0, posinf=1e30))
    factor = np.where(scale > 0, scale, 1e-3)
    # Compared before they are multiplied: what is beyond the calendar may be beyond int64, too.
    known = (values >= 0) & (size < 9.3e18) & (size * factor < LATEST)
    given = np.where(known & (whole >= 0), whole, 0)
    exact = np.where(scale > 0, given * scale, given // 1000)
    rounded = np.rint(np.where(known, size, 0) * factor).astype(np.int64)
    micros = np.where(whole >= 0, exact, rounded)
    good = known & (micros < LATEST)
    return np.where(good, micros, 0), good


def _in_zone(micros: Numbers, local: Mask, zone: str) -> Numbers:
    """The times, those that are ``local`` moved from the zone to UTC."""
    rows = np.flatnonzero(local)
    moved = to_utc(micros[rows], zone)
    micros = micros.copy()
    micros[rows] = moved
    return micros


def _iso_zone(window: Bytes, place: Numbers) -> tuple[Numbers, Mask, Mask]:
    """The zone that begins at ``place`` of each row and ends the text: microseconds east of UTC, whether well formed, whether none."""
    padded = np.concatenate((window, np.zeros((len(window), 2), np.uint8)), axis=1)
    z = np.take_along_axis(padded, np.minimum(place, _ISO_WIDTH)[:, None] + np.arange(7), axis=1)
    colon = z[:, 3] == ord(":")
    minutes_window = np.where(colon[:, None], z[:, 4:6], z[:, 3:5])
    (hours, minutes), _ = numbers(np.concatenate((z[:, 1:3], minutes_window), axis=1), (0, 2), (2, 4))
    hours_good, minutes_good = digits_at(z[:, 1:3])[1], digits_at(minutes_window)[1]
    none, utc = z[:, 0] == 0, np.isin(z[:, 0], codes("Zz")) & (z[:, 1] == 0)
    short = hours_good & (z[:, 3] == 0)
    full = hours_good & minutes_good & (np.where(colon, z[:, 6], z[:, 5]) == 0)
    east, valid = offset(z[:, 0], hours, np.where(short, 0, minutes))
    numeric = is_sign(z[:, 0]) & (short | full) & valid
    return np.where(numeric, east, 0), none | utc | numeric, none
