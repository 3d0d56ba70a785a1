"""Times in logs against Python's own parsers."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.template import Span
from ingest.formats.times import clf_times, epoch_times, iso_times
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
