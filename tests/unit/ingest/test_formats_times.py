"""Times in logs against Python's own parsers."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest.formats.template import Span
from ingest.formats.times import (
    UNITS,
    clf_times,
    date_and_time,
    epoch_text_times,
    epoch_times,
    epoch_unit_times,
    iso_times,
)
from ingest.lines import Bytes

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST, LAST = (dt.datetime.fromisoformat(day) for day in ("1970-01-02", "9999-12-30"))
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def spanned(*texts: str) -> tuple[Bytes, Span]:
    lengths = np.array([len(text.encode()) for text in texts], np.int64)
    ends = np.cumsum(lengths)
    return np.frombuffer("".join(texts).encode(), np.uint8), Span(ends - lengths, ends)


def micros(when: dt.datetime) -> int:
    return (when - EPOCH) // dt.timedelta(microseconds=1)


zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
times = st.datetimes(FIRST, LAST, timezones=zones)


@given(st.lists(times, min_size=1, max_size=20))
def test_clf_times_as_strftime_writes_them(whens: list[dt.datetime]) -> None:
    texts = [f"{w.day:02}/{MONTHS[w.month - 1]}/{w.year:04}:{w:%H:%M:%S %z}" for w in whens]
    values, formed, real = clf_times(*spanned(*texts))
    assert formed.all()
    assert real.all()
    assert values.tolist() == [micros(w.replace(microsecond=0)) for w in whens]


@pytest.mark.parametrize("year", [1972, 1999, 2000, 2019, 2020, 2100])
def test_every_day_of_a_year_and_no_other(year: int) -> None:
    texts = [f"{day:02}/{month}/{year}:00:00:00 +0000" for month in MONTHS for day in range(33)]
    values, formed, real = clf_times(*spanned(*texts))
    assert formed.all()
    days = [value // 86_400_000_000 for value in values[real].tolist()]
    first = (dt.date(year, 1, 1) - EPOCH.date()).days
    assert days == list(range(first, first + (dt.date(year + 1, 1, 1) - dt.date(year, 1, 1)).days))


@pytest.mark.parametrize(
    ("text", "is_formed", "is_real"),
    [
        ("22/Jan/2019:23:59:60 +0000", True, True),
        ("22/Jan/2019:23:59:61 +0000", True, False),
        ("22/Jan/2019:24:00:00 +0000", True, False),
        ("22/Jan/2019:00:60:00 +0000", True, False),
        ("22/Jan/2019:00:00:00 +2400", True, False),
        ("22/Jan/2019:00:00:00 +0060", True, False),
        ("31/Dec/1969:23:59:59 +0000", True, False),
        ("01/Jan/1970:00:00:00 +0100", True, False),
        ("31/Dec/9999:23:59:60 +0000", True, False),
        ("22/jan/2019:00:00:00 +0000", False, False),
        ("22/Jan/2019 00:00:00 +0000", False, False),
        ("22/Jan/2019:00:00:00 00000", False, False),
        ("22/Jan/2019:00:00:00 +000", False, False),
        ("22/Jan/2019:00:00:00 +00000", False, False),
        ("22/Jan/2019:0a:00:00 +0000", False, False),
        ("", False, False),
    ],
)
def test_odd_clf_times(text: str, is_formed: bool, is_real: bool) -> None:
    data, span = spanned(text, "22/Jan/2019:00:00:00 +0000")
    _, formed, real = clf_times(data, span)
    assert (bool(formed[0]), bool(real[0]), bool(real[1])) == (is_formed, is_real, True)


def test_a_leap_second_is_the_first_second_of_the_next_minute() -> None:
    values, _, _ = clf_times(*spanned("31/Dec/2016:23:59:60 +0000"))
    assert values.tolist() == [micros(dt.datetime(2017, 1, 1, tzinfo=dt.UTC))]


@given(st.lists(times, min_size=1, max_size=20))
def test_iso_times_as_isoformat_writes_them(whens: list[dt.datetime]) -> None:
    values, real = iso_times(*spanned(*(w.isoformat() for w in whens)))
    assert real.all()
    assert values.tolist() == [micros(w) for w in whens]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2019-01-22T03:56:14Z", "2019-01-22T03:56:14+00:00"),
        ("2019-01-22t03:56:14z", "2019-01-22T03:56:14+00:00"),
        ("2019-01-22 03:56:14", "2019-01-22T03:56:14+00:00"),
        ("2019-01-22T03:56:14,5", "2019-01-22T03:56:14.5+00:00"),
        ("2019-01-22T03:56:14.123456789Z", "2019-01-22T03:56:14.123456+00:00"),
        ("2019-01-22T03:56:14.123456789+03:30", "2019-01-22T00:26:14.123456+00:00"),
        ("2019-01-22T03:56:14+0330", "2019-01-22T00:26:14+00:00"),
        ("2019-01-22T03:56:14-03", "2019-01-22T06:56:14+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
    ],
)
def test_forms_of_iso_times(text: str, wanted: str) -> None:
    values, real = iso_times(*spanned(text))
    assert real.all()
    assert values.tolist() == [micros(dt.datetime.fromisoformat(wanted))]


@pytest.mark.parametrize(
    "text",
    [
        "2019-01-22",
        "2019-01-22T03:56",
        "2019-02-29T00:00:00Z",
        "2019-13-01T00:00:00Z",
        "2019-01-22T03:56:14.",
        "2019-01-22T03:56:14.1234567890Z",
        "2019-01-22T03:56:14ZZ",
        "2019-01-22T03:56:14Z ",
        "2019-01-22T03:56:14+3",
        "2019-01-22T03:56:14+03:3",
        "2019-01-22T03:56:14+03:30x",
        "2019-01-22T03:56:14+0330x",
        "2019-01-22T03:56:14+24:00",
        "2019-01-22T03:56:14 +03:30",
        "2019-01-22x03:56:14Z",
        "20190122T035614Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+01:00",
        "now",
        "",
        "2019-01-22T03:56:14.123456789+03:30:00",
        "2019-01-22T03:56:14" + "0" * 100,
    ],
)
def test_what_is_no_iso_time(text: str) -> None:
    _, real = iso_times(*spanned(text, "2019-01-22T03:56:14Z"))
    assert real.tolist() == [False, True]


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_number_is_told_by_its_size(scale: int) -> None:
    second = 1_431_857_103
    whole = np.array([second * scale])
    values, good = epoch_times(whole.astype(np.float64), whole)
    assert good.all()
    assert values.tolist() == [second * 1_000_000]


def test_numbers_with_decimals_and_numbers_that_are_no_time() -> None:
    numbers = np.array([1431857103.25, 1431857103250.5, -1.0, np.inf, np.nan, 1e25, 0.0])
    values, good = epoch_times(numbers, np.full(7, -1))
    assert good.tolist() == [True, True, False, False, False, False, True]
    assert values[:2].tolist() == [1431857103250000, 1431857103250500]
    whole = np.array([2**63 - 1])
    assert epoch_times(whole.astype(np.float64), whole)[0].tolist() == [(2**63 - 1) // 1000]


@pytest.mark.parametrize("unit", UNITS)
@given(st.lists(st.integers(0, 253_402_300_799), min_size=1, max_size=20))
def test_numbers_of_a_named_unit(unit: str, seconds: list[int]) -> None:
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    fitting = [second for second in seconds if second * scale < 2**63]
    whole = np.array([second * scale for second in fitting], np.int64)
    wanted = [second * 1_000_000 for second in fitting]
    for values, good in (epoch_unit_times(whole.astype(np.float64), whole, unit), epoch_text_times(*spanned(*map(str, whole)), unit)):
        assert good.all()
        assert values.tolist() == wanted


@pytest.mark.parametrize(
    ("value", "whole", "unit", "wanted"),
    [
        (1431857103.25, -1, "s", 1_431_857_103_250_000),
        (1.5, -1, "ms", 1_500),
        (5.0, 5, "s", 5_000_000),
        (1e11, 10**11, "s", 10**17),
        (253402300799999.0, 253402300799999, "ms", 253_402_300_799_999_000),
        (2.0**63, -1, "ns", 2**63 // 1000 + 1),
        (253402300800.0, 253402300800, "s", None),
        (1e18, 10**18, "s", None),
        (1e18, 10**18, "us", None),
        (9.3e18, -1, "ns", None),
        (-1.0, -1, "s", None),
        (float("nan"), -1, "ms", None),
        (float("inf"), -1, "us", None),
    ],
)
def test_one_number_of_a_named_unit(value: float, whole: int, unit: str, wanted: int | None) -> None:
    values, good = epoch_unit_times(np.array([value, 1.0]), np.array([whole, 1]), unit)
    assert good.tolist() == [wanted is not None, True]
    assert values[0] == (wanted or 0)


def test_a_unit_that_is_none() -> None:
    with pytest.raises(KeyError):
        epoch_unit_times(np.array([1.0]), np.array([1]), "m")
    with pytest.raises(KeyError):
        epoch_text_times(*spanned("1"), "m")


@given(st.lists(st.tuples(st.integers(0, 253_402_300_799), st.integers(0, 999_999)), min_size=1, max_size=20))
def test_text_numbers_keep_every_microsecond(parts: list[tuple[int, int]]) -> None:
    values, good = epoch_text_times(*spanned(*(f"{second}.{micro:06}" for second, micro in parts)), "s")
    assert good.all()
    assert values.tolist() == [second * 1_000_000 + micro for second, micro in parts]


@pytest.mark.parametrize(
    ("text", "unit", "wanted"),
    [
        ("1693840791.7564995", "s", 1_693_840_791_756_499),
        ("1157689312.049", "s", 1_157_689_312_049_000),
        ("1693840791756.4995", "ms", 1_693_840_791_756_499),
        ("1693840791756499.9", "us", 1_693_840_791_756_499),
        ("1693840791756499999", "ns", 1_693_840_791_756_499),
        ("9223372036854775807", "ns", 9_223_372_036_854_775),
        ("0", "s", 0),
        ("1693840791756499999.5", "ns", None),
        ("9223372036854775808", "ns", None),
        ("253402300800", "s", None),
        ("9999999999999999999", "s", None),
        ("9999999999999999999", "us", None),
        ("", "s", None),
        (".", "s", None),
        ("-1", "s", None),
        ("+1", "s", None),
        (" 1", "s", None),
        ("1e9", "s", None),
        ("1.2.3", "s", None),
        ("1,5", "s", None),
        ("1" * 1000, "ms", None),
        ("\u0661", "s", None),
    ],
)
def test_one_text_number(text: str, unit: str, wanted: int | None) -> None:
    values, good = epoch_text_times(*spanned(text, "1"), unit)
    assert good.tolist() == [wanted is not None, True]
    assert values[0] == (wanted or 0)


@given(st.lists(st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)), min_size=1, max_size=20), st.integers(0, 9))
def test_date_and_time_of_two_fields(whens: list[dt.datetime], digits: int) -> None:
    dates = spanned(*(f"{w.year:04}-{w:%m-%d}" for w in whens))
    fractions = [f"{w.microsecond:06}000"[:digits] for w in whens]
    clocks = spanned(*(f"{w:%H:%M:%S}{'.' if digits else ''}{f}" for w, f in zip(whens, fractions, strict=True)))
    data = np.concatenate((dates[0], clocks[0]))
    times_span = Span(clocks[1].starts + len(dates[0]), clocks[1].ends + len(dates[0]))
    values, good = date_and_time(data, dates[1], times_span)
    assert good.all()
    wanted = [w.replace(microsecond=int(f.ljust(6, "0")[:6]), tzinfo=dt.UTC) for w, f in zip(whens, fractions, strict=True)]
    assert values.tolist() == [micros(w) for w in wanted]


@pytest.mark.parametrize(
    ("date", "clock", "wanted"),
    [
        ("2018-08-28", "18:24:25", "2018-08-28T16:24:25+00:00"),
        ("2018-08-28", "18:24", "2018-08-28T16:24:00+00:00"),
        ("2018-08-28", "00:30:00.5", "2018-08-27T22:30:00.5+00:00"),
        ("2018-08-28", "18:24:25.", None),
        ("2018-08-28", "18:24:25.1234567890", None),
        ("2018-08-28", "18:24:25x", None),
        ("2018-08-28", "18:24:2", None),
        ("2018-08-28", "18:24:", None),
        ("2018-08-28", "24:00:00", None),
        ("2018-02-29", "18:24:25", None),
        ("2018-08-2", "18:24:25", None),
        ("2018/08/28", "18:24:25", None),
        ("28-08-2018", "18:24:25", None),
        ("-", "-", None),
        ("", "", None),
    ],
)
def test_one_date_and_time_in_a_zone(date: str, clock: str, wanted: str | None) -> None:
    data, span = spanned(date, clock, "2018-01-01", "00:00:00")
    dates, clocks = (Span(span.starts[first::2], span.ends[first::2]) for first in (0, 1))
    values, good = date_and_time(data, dates, clocks, "Europe/Berlin")
    assert good.tolist() == [wanted is not None, True]
    assert values[0] == (micros(dt.datetime.fromisoformat(wanted)) if wanted else 0)


def test_iso_times_without_a_zone_are_of_the_zone_given() -> None:
    texts = ("2019-07-01T12:00:00", "2019-01-01T12:00:00.25", "2019-07-01T12:00:00Z", "2019-07-01T12:00:00+05:00", "1970-01-01T00:30:00")
    values, good = iso_times(*spanned(*texts), "Europe/Berlin")
    assert good.tolist() == [True, True, True, True, False]
    of_day = [value % 86_400_000_000 for value in values[:4].tolist()]
    assert of_day == [10 * 3_600_000_000, 11 * 3_600_000_000 + 250_000, 12 * 3_600_000_000, 7 * 3_600_000_000]


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="'Mars/Olympus' is not a time zone"):
        iso_times(*spanned("2019-07-01T12:00:00"), "Mars/Olympus")


def test_each_of_many_times_in_runs_is_read_as_if_it_were_alone() -> None:
    days = ["17/May/2015:00:00:00 +0000", "17/May/2015:23:59:60 +0000", "18/May/2015:00:00:01 +0200", "31/Feb/2015:10:00:00 +0000"]
    others = ["17/May/2015:00:0:00 +0000", "17/May/2015:24:00:00 +0000", "01/Jan/1970:01:00:00 +0200", "01/Jan/1970:01:00:00 +0100"]
    distinct = [*days, *others, "17/May/2015:10;00:00 +0000"]
    texts = [text for text in distinct for _ in range(200)]
    alone = [clf_times(*spanned(text)) for text in distinct]
    together = clf_times(*spanned(*texts))
    for read, each in zip(together, zip(*alone, strict=True), strict=True):
        assert read.tolist() == np.repeat(np.concatenate(each), 200).tolist()
    assert together[2][::200].tolist() == [True, True, True, False, False, False, False, True, False]


def test_iso_times_in_runs_differ_in_what_stands_behind_the_second() -> None:
    distinct = ["2019-07-01T12:00:00", "2019-07-01T12:00:00Z", "2019-07-01T12:00:00.5Z", "2019-07-01T12:00:00+02:00", "2019-07-01T12:00:0"]
    values, good = iso_times(*spanned(*(text for text in distinct for _ in range(300))), "Europe/Berlin")
    assert good[::300].tolist() == [True, True, True, True, False]
    noon = micros(dt.datetime(2019, 7, 1, 12, tzinfo=dt.UTC))
    hour = 3_600_000_000
    assert values.tolist() == np.repeat([noon - 2 * hour, noon, noon + 500_000, noon - 2 * hour, 0], 300).tolist()
