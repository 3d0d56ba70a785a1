"""Fills that read times and durations of documents."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.document_values import Items, Read, Values
from ingest.formats.template import Mask, Span
from ingest.formats.times import clf_times, epoch_times, iso_times
from ingest.formats.values import decimals, fixed_point, integers
from ingest.lines import Numbers

__all__ = ["Duration", "Time"]

_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
_GO_DURATION = (
    r"^(?P<sign>-?)(?:(?P<hours>[0-9]{1,6})h)?(?:(?P<minutes>[0-9]{1,6})m)?"
    r"(?:(?P<count>[0-9]{1,15}(?:\.[0-9]{1,15})?)(?P<unit>ns|us|µs|μs|ms|s))?$"
)
_SPELLINGS = {"µs": "us", "μs": "us"}


@dataclass(frozen=True)
class Time:
    """A time -> ``event_time``.

    Texts are ISO 8601 (``ingest.formats.times.iso_times``) or Apache's ``10/Oct/2000:13:55:36 -0700``; numbers count since 1970.

    :param unit: of numbers: ``s``, ``ms``, ``us`` or ``ns``; ``None``: told by the magnitude.
    """

    unit: str | None = None
    blank: bool = True
    columns: ClassVar[tuple[str, ...]] = ("event_time",)
    items: ClassVar[Items] = ""

    def read(self, values: Values) -> Read:
        """The column."""
        is_iso, is_clf = values.byte(4) == ord("-"), values.byte(2) == ord("/")
        ways = ((is_iso, self._iso), (is_clf & ~is_iso, self._clf), (~is_iso & ~is_clf, self._epoch))
        micros, good = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
        for which, way in ways:
            if which.all() and len(which):
                micros, good = way(values)
            elif which.any():
                micros[which], good[which] = way(values.take(which))
        return Read({"event_time": pa.array(micros).cast(schema.EVENT_TIME)}, ((~good, "event_time is not a time"),))

    def _iso(self, values: Values) -> tuple[Numbers, Mask]:
        micros, good = iso_times(values.data, values.span)
        return (micros, good) if values.zone == "UTC" else (_zoned(values, micros, good), good)

    @staticmethod
    def _clf(values: Values) -> tuple[Numbers, Mask]:
        micros, _, real = clf_times(values.data, values.span)
        return micros, real

    def _epoch(self, values: Values) -> tuple[Numbers, Mask]:
        whole, digits, fits = integers(values.data, values.span)
        if self.unit is None and bool((digits & fits).all()):
            return epoch_times(whole.astype(np.float64), whole)
        if self.unit is None:
            numbers, numeric = decimals(values.strings)
            micros, good = epoch_times(numbers, np.where(digits & fits, whole, -1))
            return micros, good & numeric
        return _of_unit(values, _UNITS[self.unit])


def _of_unit(values: Values, unit: int) -> tuple[Numbers, Mask]:
    """Numbers of ``unit`` nanoseconds -> microseconds, exact but for those with an exponent."""
    if unit == 1:
        micros, digits, fits = integers(values.data, values.span)
        micros, good = micros // 1000, digits & fits
    else:
        micros, good = fixed_point(values.data, values.span, len(str(unit)) - 4)
    if not good.all():
        odd = np.flatnonzero(~good)
        numbers, numeric = decimals(values.take(odd).strings)
        sane = numeric & (numbers >= 0) & (numbers * (unit / 1000) < 2**62)
        micros[odd], good[odd] = np.rint(np.where(sane, numbers, 0) * (unit / 1000)).astype(np.int64), sane
    good &= micros < 253_402_300_800_000_000
    return np.where(good, micros, 0), good


def _zoned(values: Values, micros: Numbers, good: Mask) -> Numbers:
    """Times whose text names no zone, as those of the configured zone. An hour that comes twice is the first; one that is skipped
    is that after it."""
    last = values.data.take(np.maximum(values.span.ends - 1, 0), mode="clip") | np.uint8(0x20)
    named = last == ord("z")
    for place in range(19, 35):
        named |= np.isin(values.byte(place), np.frombuffer(b"+-", np.uint8))
    local = pc.assume_timezone(
        pa.array(np.where(named, 0, micros)).cast(pa.timestamp("us")), values.zone, ambiguous="earliest", nonexistent="latest"
    )
    shifted = local.cast(pa.int64()).to_numpy()
    result: Numbers = np.where(named | ~good, micros, np.maximum(shifted, 0))
    return result


@dataclass(frozen=True)
class Duration:
    """A duration -> ``event_duration``, nanoseconds. A negative one is no value.

    Numbers count ``unit`` nanoseconds (a power of ten); texts may say their own unit, as Go and protocol buffers write them:
    ``0.123s``, ``12ms``, ``1.5µs``, ``1m2.5s`` (https://pkg.go.dev/time#Duration.String).
    """

    unit: int
    column: str = "event_duration"
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def read(self, values: Values) -> Read:
        """The column."""
        negative = values.byte(0) == ord("-")
        numbers = replace(values, span=Span(values.span.starts + negative, values.span.ends))
        nanoseconds, good = fixed_point(numbers.data, numbers.span, len(str(self.unit)) - 1)
        if not good.all():
            odd = np.flatnonzero(~good)
            nanoseconds[odd], good[odd] = self._odd(numbers.take(odd).strings)
        column = pa.array(nanoseconds, mask=negative)
        return Read({self.column: column}, ((~good, f"{self.column} is not a duration"),))

    def _odd(self, strings: pa.StringArray) -> tuple[Numbers, Mask]:
        """Numbers with an exponent, and those with units."""
        numbers, numeric = decimals(strings)
        numeric &= (numbers >= 0) & (numbers * self.unit < 2**62)
        plain = np.rint(np.where(numeric, numbers, 0) * self.unit).astype(np.int64)
        with_unit, good = _go_durations(strings)
        return np.where(numeric, plain, with_unit), numeric | good


def _go_durations(strings: pa.StringArray) -> tuple[Numbers, Mask]:
    parts = pc.extract_regex(strings, _GO_DURATION)
    found = np.array(pc.is_valid(parts), np.bool_) & (np.array(pc.binary_length(strings)) > 0)
    total = np.zeros(len(strings), np.float64)
    exact = np.zeros(len(strings), np.int64)
    for name, unit in (("hours", 3600 * 10**9), ("minutes", 60 * 10**9)):
        exact += _number(pc.struct_field(parts, name), found)[0] * unit
    units = pc.fill_null(pc.struct_field(parts, "unit"), "")
    counts = pc.fill_null(pc.struct_field(parts, "count"), "")
    for spelling in (*_UNITS, *_SPELLINGS):
        unit = _UNITS[_SPELLINGS.get(spelling, spelling)]
        numbers = np.array(pc.equal(units, spelling), np.bool_)
        if numbers.any():
            told = pc.if_else(pa.array(numbers), counts, "0").cast(pa.float64()).to_numpy()
            total += told * unit
    found &= total < 2**62
    return np.where(found, exact + np.rint(np.where(found, total, 0)).astype(np.int64), 0), found


def _number(digits: pa.StringArray, found: Mask) -> tuple[Numbers, Mask]:
    told = found & np.array(pc.fill_null(pc.not_equal(digits, ""), False), np.bool_)
    return pc.if_else(pa.array(told), digits, "0").cast(pa.int64()).to_numpy(), told
