"""Local times against Python's zoneinfo, one by one."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest.formats.times_zone import check_zone, to_utc

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a local time
MICROSECOND = dt.timedelta(microseconds=1)
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "America/St_Johns",  # changed at one minute past midnight
    "Africa/Monrovia",  # minus 44 minutes and 30 seconds until 1972
    "Pacific/Apia",  # left out a day in 2011
    "Africa/Casablanca",
    "Asia/Kathmandu",
]


def local(when: dt.datetime) -> int:
    return (when - EPOCH) // MICROSECOND


def expected(when: dt.datetime, zone: str) -> int:
    offset = when.replace(tzinfo=ZoneInfo(zone), fold=0).utcoffset()
    assert offset is not None
    return local(when) - offset // MICROSECOND


@pytest.mark.parametrize("zone", ZONES)
@given(whens=st.lists(st.datetimes(EPOCH, dt.datetime(2060, 1, 1)), min_size=1, max_size=20))  # noqa: DTZ001 - local times
def test_any_times(zone: str, whens: list[dt.datetime]) -> None:
    assert to_utc(np.array([local(w) for w in whens]), zone).tolist() == [expected(w, zone) for w in whens]


def changes(zone: str, years: range) -> list[dt.datetime]:
    """Local hours within which the offset changes."""
    rules, found = ZoneInfo(zone), []
    for year in years:
        for hour in range(366 * 24):
            when = dt.datetime(year, 1, 1) + dt.timedelta(hours=hour)  # noqa: DTZ001 - a local time
            if rules.utcoffset(when) != rules.utcoffset(when + dt.timedelta(hours=1)):
                found.append(when)
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_around_every_change(zone: str) -> None:
    around = changes(zone, range(1972, 1973)) + changes(zone, range(2011, 2012))
    minutes = [when + dt.timedelta(minutes=minute, seconds=minute % 60) for when in around for minute in range(-90, 150)]
    assert to_utc(np.array([local(w) for w in minutes], np.int64), zone).tolist() == [expected(w, zone) for w in minutes]
    assert bool(around) == (zone not in ("Asia/Kathmandu",))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2019-03-31T01:59:59", "2019-03-31T00:59:59"),
        ("2019-03-31T02:30:00", "2019-03-31T01:30:00"),  # never shown: as far after the gap, 03:30 in summer
        ("2019-03-31T03:00:00", "2019-03-31T01:00:00"),
        ("2019-10-27T01:59:59", "2019-10-26T23:59:59"),
        ("2019-10-27T02:30:00", "2019-10-27T00:30:00"),  # shown twice: the first
        ("2019-10-27T03:00:00", "2019-10-27T02:00:00"),
    ],
)
def test_gap_and_fold_in_berlin(text: str, wanted: str) -> None:
    given_, utc = dt.datetime.fromisoformat(text), dt.datetime.fromisoformat(wanted)
    assert to_utc(np.array([local(given_)]), "Europe/Berlin").tolist() == [local(utc)]


def test_the_ends_of_the_calendar_and_beyond_raise_nothing() -> None:
    last = local(dt.datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001 - a local time
    times = np.array([0, last, last + 1, -(2**62), 2**62])
    moved = to_utc(times, "Asia/Kathmandu")
    assert (times - moved)[:2].tolist() == [5.5 * 3600 * 1_000_000, 5.75 * 3600 * 1_000_000]
    assert to_utc(times[:0], "Asia/Kathmandu").tolist() == []


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT"])
def test_utc_needs_no_database(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.formats.times_zone.ZoneInfo", None)
    assert to_utc(np.array([7, 8]), zone).tolist() == [7, 8]


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3", "EST5EDT", "UTC"])
def test_zones(name: str) -> None:
    check_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Berlin",
        "CEST",
        "Europe",
        "Europe/",
        "+01:00",
        "../etc/passwd",
        "Europe/../Europe/Berlin",
        "/usr/share/zoneinfo/Europe/Berlin",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "localtime",
        "posixrules",
        "tzdata.zi",
        "zone.tab",
        "Europe/Berlin\n",
        "Europe/Berlin\0",
        "Europe/\udc80",
        "x" * 10_000,
    ],
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(UsageError, match="is not a time zone of this system; write an IANA name") as caught:
        check_zone(name)
    assert len(str(caught.value)) < 300
