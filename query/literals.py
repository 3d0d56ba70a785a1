"""What a person writes for a parameter, as an SQL literal of a type: checked, made anew and quoted, never passed on as it is."""

import math
import re
from collections.abc import Callable

from core.clock import parse_instant
from core.errors import UsageError

__all__ = ["TYPES", "literal", "quoted"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?\Z")
_INTERVAL = re.compile(r"([0-9]{1,6}) ?([a-z]+)\Z")
_UNITS = {"s": "second", "min": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}
_UNITS |= {form: unit for unit in (*_UNITS.values(), "month") for form in (unit, f"{unit}s")}
_EXAMPLES = {
    "text": "UTF-8 text",
    "integer": "a whole number, like 10",
    "number": "a number, like 0.5",
    "interval": "a number and a unit, like 24h, 90min or '7 days'",
    "timestamp": "a time, like 2015-05-20T00:00:00Z, or now",
}


def literal(kind: str, value: str, what: str) -> str:
    """The value as an SQL literal (of a timestamp ``now``: as ``lake_now()``).

    :param kind: a name of ``TYPES``.
    :param what: what has this value, for the error.
    :raises UsageError: the value is not of that type.
    """
    made = TYPES[kind](value if kind == "text" else value.strip())
    if made is None:
        shown = value if len(value) <= 80 else value[:77] + "..."
        raise UsageError(f"{what} is {shown!r}, which is not of type {kind}", f"write {_EXAMPLES[kind]}")
    return made


def quoted(value: str) -> str:
    """An SQL text literal; DuckDB knows no escape within it but the doubled quote."""
    return "'" + value.replace("'", "''") + "'"


def _text(value: str) -> str | None:
    broken = "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
    return None if broken else quoted(value)


def _integer(value: str) -> str | None:
    return f"({int(value)})" if _INTEGER.match(value) else None


def _number(value: str) -> str | None:
    number = float(value) if _NUMBER.match(value) else math.nan
    return f"({number!r})::DOUBLE" if math.isfinite(number) else None


def _interval(value: str) -> str | None:
    found = _INTERVAL.match(value.lower())
    unit = _UNITS.get(found[2]) if found else None
    return f"INTERVAL '{int(found[1])} {unit}'" if found and unit else None


def _timestamp(value: str) -> str | None:
    if value.lower() == "now":
        return "lake_now()"
    try:
        return f"TIMESTAMPTZ '{parse_instant(value).isoformat(sep=' ')}'"
    except UsageError:
        return None


TYPES: dict[str, Callable[[str], str | None]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "interval": _interval,
    "timestamp": _timestamp,
}
"""Types of parameters; each makes the literal of a value, ``None`` when the value is not of the type."""
