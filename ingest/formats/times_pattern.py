"""Times of a form that a strftime pattern describes -> microseconds since 1970 in UTC, many at once.

A pattern is compiled once into steps. Steps of a fixed width are read out of one window of bytes; after one that varies the
next window begins where it ended. Nothing is interpreted per line.

Directives, as C and Python have them (https://docs.python.org/3/library/datetime.html#format-codes,
https://man7.org/linux/man-pages/man3/strftime.3.html), names in English and in any case:

=================  ====================================================================================================
``%Y %y``          year, four digits or two (69 to 99 are of the 20th century)
``%m %b %h %B``    month: two digits, three letters (twice), whole name
``%d %e``          day: two digits; the same with a space for a leading zero
``%j``             day of the year, three digits
``%a %A``          day of the week, three letters or whole name: must be one, says nothing
``%H %k``          hour: two digits; the same with a space for a leading zero
``%I %l %p``       hour from 1 to 12, likewise; AM or PM
``%M %S``          minute, second: two digits
``%f``             decimals of a second: one to nine digits, cut to six
``%L %3N %6N %9N`` the same of three, three, six and nine digits; ``%N`` is ``%9N``
``%s``             whole seconds since 1970; decimals may follow
``%z``             offset from UTC: ``Z``, ``+hhmm``, ``+hh:mm`` or ``+hh``
``%Z``             ``UTC``, ``GMT`` or ``Z``; other abbreviations mean different zones in different places, and are taken
                   only beside ``%z``, where they say nothing
``%T %F %D %R``    ``%H:%M:%S``, ``%Y-%m-%d``, ``%m/%d/%y``, ``%H:%M``; ``%r`` is ``%I:%M:%S %p``
``%%``             a per cent sign
=================  ====================================================================================================

With a minus, ``%-d``, ``%-m``, ``%-H``, ``%-I``, ``%-M``, ``%-S`` and ``%-j`` need no leading zeros.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from core.errors import UsageError
from ingest.formats.template import Mask, Span
from ingest.formats.times_parts import SECOND, Runs, checked, days, decimals_of_second, instant, is_sign, offset, texts, windows
from ingest.formats.times_zone import to_utc
from ingest.formats.values import digits_at
from ingest.lines import Bytes, Numbers

__all__ = ["check_pattern", "has_year", "pattern_times", "pattern_width"]

_LONGEST_PATTERN = 200
_LONGER = {"T": "%H:%M:%S", "F": "%Y-%m-%d", "D": "%m/%d/%y", "R": "%H:%M", "r": "%I:%M:%S %p"}
_DIRECTIVE = re.compile(r"%(-[dmHIMSj]|[369]N|.|\Z)|([^%]+)", re.DOTALL)
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_KNOWN = "%Y %y %m %b %B %d %e %j %a %A %H %k %I %l %p %M %S %f %L %3N %6N %9N %s %z %Z %T %F %D %R %r and %%"
_SINCE, _OF_YEAR, _OF_TWELVE = "seconds since 1970", "day of the year", "hour of twelve"
_SECONDS_DIGITS = 12
_LONGEST_IN_RUNS = 63
_LOWER = 0x20

Read = tuple[Numbers, Numbers, Mask]
"""Value of each row, bytes taken, whether there is such a thing."""


@dataclass(frozen=True)
class _Step:
    """One directive or literal.

    :param read: from an (n, width) window of the bytes from its place on; zeros beyond the text when ``varies``.
    :param name: of which part of a time; empty when it says nothing.
    :param width: bytes it takes, or at most takes when it ``varies``.
    """

    read: Callable[[Bytes], Read]
    name: str
    width: int
    varies: bool = False


@dataclass
class _Found:
    """What the steps have read so far of n rows."""

    good: Mask
    values: dict[str, Numbers] = field(default_factory=dict)

    def get(self, name: str, default: int) -> Numbers:
        return self.values.get(name, np.full(len(self.good), default, np.int64))


def check_pattern(pattern: str) -> None:
    """Refuse what is not a pattern of times.

    :raises UsageError: it has an unknown directive, or does not make a time.
    """
    _compiled(pattern)


def has_year(pattern: str) -> bool:
    """Whether texts of the pattern's form name their year.

    :raises UsageError: it has an unknown directive, or does not make a time.
    """
    return bool({"year", _SINCE} & {step.name for step in _compiled(pattern)})


def pattern_width(pattern: str) -> int:
    """Bytes of every text of the pattern's form; 0 when they vary.

    :raises UsageError: it has an unknown directive, or does not make a time.
    """
    steps = _compiled(pattern)
    return 0 if any(step.varies for step in steps) else sum(step.width for step in steps)


def pattern_times(data: Bytes, span: Span, pattern: str, zone: str = "UTC", year: int | Numbers | None = None) -> tuple[Numbers, Mask]:
    """Texts of the pattern's form -> microseconds.

    :param zone: IANA name of the zone of times that name none.
    :param year: of all or of each, for patterns without a year.
    :returns: microseconds since 1970 in UTC, int64[n] (0 where wrong); whether it is such a time.
    :raises UsageError: the pattern has an unknown directive, does not make a time, or lacks a year that is not given either;
        there is no such zone.
    """
    if year is None and not has_year(pattern):
        raise UsageError(f"time pattern {pattern!r} has no year", "add %Y")
    most = sum(step.width for step in _compiled(pattern))
    if most > _LONGEST_IN_RUNS:
        return _pattern_times(data, span, pattern, zone, year)
    length, years = span.ends - span.starts, np.broadcast_to(np.asarray(0 if year is None else year, np.int64), span.starts.shape).copy()
    runs = Runs(texts(data, span, most), *(number.view(np.uint8).reshape(-1, 8) for number in (length, years)))
    first = Span(runs.first(span.starts), runs.first(span.ends))
    micros, good = runs.spread(*_pattern_times(data, first, pattern, zone, None if year is None else runs.first(years)))
    return micros, good


def _pattern_times(data: Bytes, span: Span, pattern: str, zone: str, year: int | Numbers | None) -> tuple[Numbers, Mask]:
    found = _read(_compiled(pattern), data, span)
    if year is not None and "year" not in found.values:
        found.values["year"] = np.broadcast_to(np.asarray(year, np.int64), found.good.shape)
    micros = _local(found)
    if not {_SINCE, "offset", "UTC"} & found.values.keys():
        micros = to_utc(np.where(found.good, micros, 0), zone)
    micros, _, good = checked(micros - found.get("offset", 0), found.good, found.good)
    return micros, good


# ---------------------------------------------------------------------------------------------------------- compiling


@functools.cache
def _compiled(pattern: str) -> tuple[_Step, ...]:
    if len(pattern) > _LONGEST_PATTERN:
        raise UsageError(f"time pattern {pattern[:40]!r}... is longer than {_LONGEST_PATTERN} characters", "write a shorter one")
    flat = re.sub(r"%(.)", lambda found: _LONGER.get(found[1], found[0]), pattern, flags=re.DOTALL)
    parts = _DIRECTIVE.findall(flat)
    known = _STEPS | {"Z": _WORD} if ("z", "") in parts else _STEPS
    steps = tuple(_step(pattern, known, directive, literal) for directive, literal in parts)
    _check(pattern, [step.name for step in steps if step.name])
    return steps


def _step(pattern: str, known: Mapping[str, _Step], directive: str, literal: str) -> _Step:
    if literal or directive == "%":
        return _literal(literal or "%")
    if directive not in known:
        raise UsageError(f"time pattern {pattern!r}: directive %{directive} is not known", f"use {_KNOWN}")
    return known[directive]


def _check(pattern: str, names: list[str]) -> None:
    """Refuse a pattern whose fields do not make one time."""
    said = set(names)
    twice = sorted(name for name in said if names.count(name) > 1)
    hour, date = {"hour", _OF_TWELVE} & said, {"month", "day"} & said
    faults = {
        f"says the {', '.join(twice)} twice": bool(twice),
        "has seconds since 1970 beside other parts": _SINCE in said and not said <= {_SINCE, "decimals"},
        "has no day": not (_SINCE in said or _OF_YEAR in said or len(date) == 2),
        "says the day in two ways": _OF_YEAR in said and bool(date),
        "says the hour in two ways": len(hour) == 2,
        "has %p without %I, or %I without %p": ("half of the day" in said) != (_OF_TWELVE in said),
        "has minutes without an hour": "minute" in said and not hour,
        "has seconds without minutes": "second" in said and "minute" not in said,
        "has decimals without seconds": "decimals" in said and not {"second", _SINCE} & said,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise UsageError(f"time pattern {pattern!r} {fault}", "write one like %Y-%m-%dT%H:%M:%S%z")


# ------------------------------------------------------------------------------------------------------------ reading


def _read(steps: tuple[_Step, ...], data: Bytes, span: Span) -> _Found:
    """What each row holds; rows that are not of the form are no longer ``good``."""
    found = _Found(np.ones(len(span.starts), np.bool_))
    cursor = span.starts
    for group in _groups(steps):
        w = windows(data, cursor, sum(step.width for step in group))
        if group[0].varies:
            w[np.arange(w.shape[1]) >= (span.ends - cursor)[:, None]] = 0
        place, taken = 0, np.zeros(len(cursor), np.int64)
        for step in group:
            value, used, good = step.read(w[:, place : place + step.width])
            found.good &= good
            if step.name:
                found.values[step.name] = value
            place += step.width
            taken += used
        found.good &= taken <= span.ends - cursor
        cursor = np.minimum(cursor + taken, span.ends)
    found.good &= cursor == span.ends
    return found


@functools.cache
def _groups(steps: tuple[_Step, ...]) -> list[list[_Step]]:
    """Steps of a fixed width that follow each other together; each of the others alone."""
    groups: list[list[_Step]] = []
    for step in steps:
        if groups and not step.varies and not groups[-1][-1].varies:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _local(found: _Found) -> Numbers:
    """The time as the text has it, as if it were UTC; rows the calendar does not have are no longer ``good``."""
    decimals = found.get("decimals", 0)
    if _SINCE in found.values:
        return found.values[_SINCE] * SECOND + decimals
    hour = found.get("hour", 0)
    if _OF_TWELVE in found.values:
        twelve = found.values[_OF_TWELVE]
        found.good &= (twelve >= 1) & (twelve <= 12)
        hour = twelve % 12 + 12 * found.values["half of the day"]
    year, one = found.values["year"], np.ones(len(decimals), np.int64)
    micros, real = instant(year, found.get("month", 1), found.get("day", 1), hour, found.get("minute", 0), found.get("second", 0))
    of_year = found.get(_OF_YEAR, 1)
    found.good &= real & (of_year >= 1) & (of_year <= days(year + 1, one, one) - days(year, one, one))
    return micros + (of_year - 1) * 86400 * SECOND + decimals


def _taken(window: Bytes, width: int) -> Numbers:
    return np.full(len(window), width, np.int64)


def _literal(text: str) -> _Step:
    wanted = np.frombuffer(text.encode(), np.uint8)

    def read(window: Bytes) -> Read:
        taken = _taken(window, len(wanted))
        return taken, taken, (window == wanted).all(axis=1)

    return _Step(read, "", len(wanted))


def _digits(name: str, width: int, padded: bool = False) -> _Step:
    """Exactly ``width`` digits; when ``padded``, spaces may stand for leading zeros."""

    def read(window: Bytes) -> Read:
        if padded:
            window = window.copy()
            window[window[:, 0] == ord(" "), 0] = ord("0")
        value, good = digits_at(window)
        return value, _taken(window, width), good

    return _Step(read, name, width)


def _decimals(width: int) -> _Step:
    """Exactly ``width`` decimals of a second."""

    def read(window: Bytes) -> Read:
        micros, count = decimals_of_second(window, np.ones(len(window), np.bool_))
        return micros, _taken(window, width), count == width

    return _Step(read, "decimals", width)


def _free_decimals(window: Bytes) -> Read:
    micros, count = decimals_of_second(window, np.ones(len(window), np.bool_))
    return micros, count, count > 0


def _free_digits(name: str, most: int) -> _Step:
    """One to ``most`` digits."""

    def read(window: Bytes) -> Read:
        value, count = np.zeros(len(window), np.int64), np.zeros(len(window), np.int64)
        running = np.ones(len(window), np.bool_)
        for column in window.T:
            digit = column - np.uint8(ord("0"))
            running &= digit < 10
            value = np.where(running, value * 10 + digit, value)
            count += running
        return value, count, count > 0

    return _Step(read, name, most, varies=True)


def _names(name: str, choices: list[str], first: int) -> _Step:
    """One of these words, in any case; the value is its place. No word begins another."""
    words = [np.frombuffer(word.lower().encode(), np.uint8) for word in choices]
    lengths = [len(word) for word in words]

    def read(window: Bytes) -> Read:
        lower = window | np.uint8(_LOWER)
        value, taken = np.zeros(len(window), np.int64), np.zeros(len(window), np.int64)
        for number, word in enumerate(words, start=first):
            hit = (lower[:, : len(word)] == word).all(axis=1)
            value, taken = np.where(hit, number, value), np.where(hit, len(word), taken)
        return value, taken, taken > 0

    return _Step(read, name, max(lengths), varies=len(set(lengths)) > 1)


def _short_names(name: str, choices: list[str]) -> _Step:
    """The first three letters of one of these words, in any case; the value is its place, from 1."""
    keys = np.array([int.from_bytes(word[:3].lower().encode(), "big") for word in choices], np.int64)
    order = np.argsort(keys)

    def read(window: Bytes) -> Read:
        lower = (window | np.uint8(_LOWER)).astype(np.int64)
        key = (lower[:, 0] << 16) | (lower[:, 1] << 8) | lower[:, 2]
        place = np.minimum(np.searchsorted(keys[order], key), len(keys) - 1)
        return order[place] + 1, _taken(window, 3), keys[order][place] == key

    return _Step(read, name, 3)


def _zone(window: Bytes) -> Read:
    """``Z``, ``+hhmm``, ``+hh:mm`` or ``+hh``."""
    colon = window[:, 3] == ord(":")
    minutes, minuted = digits_at(np.where(colon[:, None], window[:, 4:6], window[:, 3:5]))
    hours, houred = digits_at(window[:, 1:3])
    east, real = offset(window[:, 0], hours, np.where(minuted, minutes, 0))
    zulu, numeric = (window[:, 0] | np.uint8(_LOWER)) == ord("z"), is_sign(window[:, 0]) & houred & real
    taken = np.where(zulu, 1, np.where(minuted, np.where(colon, 6, 5), 3))
    return np.where(numeric, east, 0), taken, zulu | numeric


def _abbreviation(window: Bytes) -> Read:
    """``UTC``, ``GMT`` or ``Z``, and no letter after it."""
    _, taken, good = _names("", ["UTC", "GMT", "Z"], 0).read(window[:, :3])
    after = np.take_along_axis(window, taken[:, None], axis=1)[:, 0] | np.uint8(_LOWER)
    return np.zeros(len(window), np.int64), taken, good & ~((after >= ord("a")) & (after <= ord("z")))


def _word(window: Bytes) -> Read:
    """One to six letters, which say nothing."""
    lower = window | np.uint8(_LOWER)
    taken = np.logical_and.accumulate((lower >= ord("a")) & (lower <= ord("z")), axis=1).sum(axis=1, dtype=np.int64)
    return taken, taken, taken > 0


def _year_of_century(window: Bytes) -> Read:
    value, good = digits_at(window)
    return value + np.where(value < 69, 2000, 1900), _taken(window, 2), good


_MONTH = _short_names("month", _MONTHS)
_WORD = _Step(_word, "", 6, varies=True)
_STEPS = {
    "Y": _digits("year", 4),
    "y": _Step(_year_of_century, "year", 2),
    "m": _digits("month", 2),
    "b": _MONTH,
    "h": _MONTH,
    "B": _names("month", _MONTHS, 1),
    "d": _digits("day", 2),
    "e": _digits("day", 2, padded=True),
    "j": _digits(_OF_YEAR, 3),
    "a": _short_names("", _WEEKDAYS),
    "A": _names("", _WEEKDAYS, 1),
    "H": _digits("hour", 2),
    "k": _digits("hour", 2, padded=True),
    "I": _digits(_OF_TWELVE, 2),
    "l": _digits(_OF_TWELVE, 2, padded=True),
    "p": _names("half of the day", ["AM", "PM"], 0),
    "M": _digits("minute", 2),
    "S": _digits("second", 2),
    "f": _Step(_free_decimals, "decimals", 9, varies=True),
    "L": _decimals(3),
    "3N": _decimals(3),
    "6N": _decimals(6),
    "9N": _decimals(9),
    "N": _decimals(9),
    "s": _free_digits(_SINCE, _SECONDS_DIGITS),
    "z": _Step(_zone, "offset", 6, varies=True),
    "Z": _Step(_abbreviation, "UTC", 4, varies=True),
    "-d": _free_digits("day", 2),
    "-m": _free_digits("month", 2),
    "-H": _free_digits("hour", 2),
    "-I": _free_digits(_OF_TWELVE, 2),
    "-M": _free_digits("minute", 2),
    "-S": _free_digits("second", 2),
    "-j": _free_digits(_OF_YEAR, 3),
}
