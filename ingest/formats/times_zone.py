"""Times of a zone with summer time -> UTC, many at once.

A time that the clocks showed twice is the first of the two; one that they left out is as far after the gap as it was
written into it: Python's ``fold=0`` (https://peps.python.org/pep-0495/). The rules are the IANA time zone database's
(https://www.iana.org/time-zones), as the system or the package tzdata has it.
"""

import datetime as dt
import functools
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from core.errors import UsageError
from ingest.formats.times_parts import LATEST, SECOND
from ingest.lines import Numbers

__all__ = ["check_zone", "to_utc"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z")
_UTC = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu"})
_NO_ZONES = frozenset({"localtime", "posix", "posixrules", "right", "Factory"})
"""Entries of zoneinfo folders that name no place; those of ``right`` count leap seconds, which POSIX time does not."""
_HOUR = 3600 * SECOND
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a local time
_FIRST_HOUR, _LAST_HOUR = -366 * 24, LATEST // _HOUR - 1


def check_zone(name: str) -> None:
    """Refuse what is not the name of a time zone.

    :raises UsageError: it is not an IANA name, or this system does not know it.
    """
    _rules(name)


def to_utc(micros_local: Numbers, zone: str) -> Numbers:
    """What a clock in the zone showed -> microseconds since 1970 in UTC, int64[n].

    The zone is asked for the two ends of each distinct hour only, and for distinct seconds where these differ.

    :param micros_local: the local time, as if it were UTC.
    :raises UsageError: there is no such zone.
    """
    rules = _rules(zone)
    if rules is dt.UTC or not len(micros_local):
        return micros_local
    hours, inverse = np.unique(micros_local // _HOUR, return_inverse=True)
    hours = np.clip(hours, _FIRST_HOUR, _LAST_HOUR)
    first = _offsets(rules, hours * _HOUR)
    changing = first != _offsets(rules, (hours + 1) * _HOUR - 1)
    offsets = first[inverse]
    if changing.any():
        rows = np.flatnonzero(changing[inverse])
        seconds, inverse = np.unique(micros_local[rows] // SECOND, return_inverse=True)
        seconds = np.clip(seconds, _FIRST_HOUR * 3600, (_LAST_HOUR + 1) * 3600 - 1)
        offsets[rows] = _offsets(rules, seconds * SECOND)[inverse]
    return micros_local - offsets


@functools.cache
def _rules(name: str) -> dt.tzinfo:
    if name in _UTC:
        return dt.UTC
    if not _NAME.match(name) or name.partition("/")[0] in _NO_ZONES:
        raise _unknown(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _unknown(name) from None


def _unknown(name: str) -> UsageError:
    return UsageError(f"{name[:100]!r} is not a time zone of this system", "write an IANA name such as Europe/Berlin, or UTC")


def _offsets(rules: dt.tzinfo, micros: Numbers) -> Numbers:
    """How far each local time is east of UTC, microseconds."""
    found = [rules.utcoffset(_EPOCH + dt.timedelta(microseconds=value)) for value in micros.tolist()]
    return np.array([round(east.total_seconds() * SECOND) if east else 0 for east in found], np.int64)
