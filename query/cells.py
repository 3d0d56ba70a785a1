"""Values of a result as plain values (for JSON) and as text (for CSV).

Times in UTC end in ``Z`` (ISO 8601), times without a zone end in nothing; days are ISO; intervals are ISO 8601 durations;
binary values are hexadecimal; not-a-number and infinities are null; whole decimals are integers, others the nearest double.
"""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa

from core.errors import UsageError
from query.texts import as_json, as_text

__all__ = ["plain_column", "text_column"]


def plain_column(name: str, column: pa.Array) -> list[Any]:
    """The values of a column as what JSON knows: None, bool, int, float, str, list, dict.

    :raises UsageError: the column holds values that have no such form (a date after the year 9999, say).
    """
    kind = column.type
    try:
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind):
            return list(column.to_pylist())
        if isinstance(kind, pa.BaseExtensionType):
            raise ValueError(kind)
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return [_plain(value) for value in column.to_pylist(maps_as_pydicts="strict")]
    except (OverflowError, ValueError, KeyError, pa.ArrowException):
        raise UsageError(f"column {name!r} holds values that cannot be written in this form", "cast it to VARCHAR") from None


def text_column(name: str, column: pa.Array) -> pa.Array:
    """The column as CSV may hold it: numbers, truth values and text as they are, all else as text, nested values as JSON.

    :raises UsageError: as :func:`plain_column`.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column
    if pa.types.is_floating(kind):
        import pyarrow.compute as pc  # takes a while, and few results need it

        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
    values = plain_column(name, column)
    return pa.array([v if v is None or isinstance(v, str) else as_json(v) for v in values], pa.string())


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else as_text(_plain(key)): _plain(each) for key, each in value.items()}
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pa.MonthDayNano):
        return f"P{value.months}M{value.days}DT{Decimal(value.nanoseconds).scaleb(-9).normalize():f}S"
    return str(value)
