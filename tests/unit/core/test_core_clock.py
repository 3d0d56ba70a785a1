"""Times from text and back; clocks."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import UTC, FixedClock, WallClock, parse_instant, to_iso, utc_day
from core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2015-05-20T00:00:00Z", "2015-05-20T00:00:00Z"),
        ("2015-05-20", "2015-05-20T00:00:00Z"),
        (" 2015-05-20T10:05:03\n", "2015-05-20T10:05:03Z"),
        ("2015-05-20T01:30:00+02:00", "2015-05-19T23:30:00Z"),
        ("2015-05-20T23:30:00-01:00", "2015-05-21T00:30:00Z"),
        ("2015-05-20T10:05:03.250000Z", "2015-05-20T10:05:03.250000Z"),
        ("20150520T100503Z", "2015-05-20T10:05:03Z"),
    ],
)
def test_an_instant_is_read_as_utc(text: str, iso: str) -> None:
    instant = parse_instant(text)
    assert instant.tzinfo is UTC
    assert to_iso(instant) == iso


@pytest.mark.parametrize(
    "text",
    [
        *("", "today", "2015-02-29", "2015-13-01", "20 May 2015", "2015-05-20T25:00:00Z", "1432080000", "2015-05-20\0"),
        *("0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "2015-05-20T00:00:00+99:00", "9" * 5000),
    ],
)
def test_what_is_no_instant_is_refused_by_its_own_words(text: str) -> None:
    with pytest.raises(UsageError, match="is not an ISO 8601 time; write it like 2015-05-20T00:00:00Z") as refused:
        parse_instant(text)
    assert repr(text) in str(refused.value)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_reads_back_as_it_prints(instant: dt.datetime) -> None:
    assert parse_instant(to_iso(instant)) == instant


def test_an_instant_of_another_zone_prints_in_utc_and_belongs_to_the_utc_day() -> None:
    instant = dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert to_iso(instant) == "2025-12-31T23:00:00Z"
    assert utc_day(instant) == dt.date(2025, 12, 31)


def test_a_fixed_clock_stands_still() -> None:
    instant = dt.datetime(2026, 1, 1, tzinfo=UTC)
    clock = FixedClock(instant)
    assert (clock.now(), clock.now()) == (instant, instant)


def test_the_wall_clock_is_aware_and_goes_forward() -> None:
    clock = WallClock()
    first = clock.now()
    assert first.tzinfo is UTC
    assert first <= clock.now()
