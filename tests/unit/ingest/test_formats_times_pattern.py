"""Times by pattern, against Python's strftime and strptime."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest.formats.template import Span
from ingest.formats.times_pattern import check_pattern, has_year, pattern_times
from ingest.lines import Bytes

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
whens = st.lists(
    st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC)),  # noqa: DTZ001 - bounds
    min_size=1,
    max_size=20,
)
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905 - readable
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905 - readable


def spanned(*texts: str) -> tuple[Bytes, Span]:
    """The texts with a byte between them, as fields of a line have."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) + 1 for text in encoded]) - 1
    return np.frombuffer(b"7".join(encoded), np.uint8), Span(ends - [len(text) for text in encoded], ends)


def micros(when: dt.datetime) -> int:
    return (when - EPOCH) // dt.timedelta(microseconds=1)


def one(text: str, pattern: str, **options: Any) -> dt.datetime | None:
    """The time of one text between two others, which must not disturb it."""
    values, good = pattern_times(*spanned(text, text, ""), pattern, **options)
    assert values[0] == values[1]
    assert good.tolist() == [good[0], good[0], False]
    assert values[~good].tolist() == [0] * int((~good).sum())
    return EPOCH + dt.timedelta(microseconds=int(values[0])) if good[0] else None


# The writers below do not depend on the machine's language, and write years below 1000 with four digits.
WRITERS: dict[str, Any] = {
    "%Y-%m-%d %H:%M:%S": lambda w: f"{w.year:04}-{w:%m-%d %H:%M:%S}",
    "%FT%T": lambda w: f"{w.year:04}-{w:%m-%dT%H:%M:%S}",
    "%Y/%m/%d %H:%M:%S": lambda w: f"{w.year:04}/{w:%m/%d %H:%M:%S}",  # nginx's error log
    "%d/%b/%Y:%H:%M:%S": lambda w: f"{w.day:02}/{MONTHS[w.month - 1][:3]}/{w.year:04}:{w:%H:%M:%S}",
    "%A, %d. %B %Y, %R:%S": lambda w: f"{DAYS[w.weekday()]}, {w.day:02}. {MONTHS[w.month - 1]} {w.year:04}, {w:%H:%M}:{w:%S}",
    "%a, %d %b %Y %T %Z": lambda w: f"{DAYS[w.weekday()][:3]}, {w.day:02} {MONTHS[w.month - 1][:3]} {w.year:04} {w:%H:%M:%S} GMT",
    "%a %h %e %T %Y": lambda w: f"{DAYS[w.weekday()][:3]} {MONTHS[w.month - 1][:3]} {w.day:2} {w:%H:%M:%S} {w.year:04}",
    "%Y%j%H%M%S": lambda w: f"{w.year:04}{w:%j%H%M%S}",
    "%s": lambda w: f"{micros(w) // 1_000_000}",
    "%-m/%-d/%Y %-I:%M:%S %p": lambda w: f"{w.month}/{w.day}/{w.year:04} {(w.hour + 11) % 12 + 1}:{w:%M:%S} {'AP'[w.hour // 12]}M",
    "%Y-%m-%d %r": lambda w: f"{w.year:04}-{w:%m-%d} {(w.hour + 11) % 12 + 1:02}:{w:%M:%S} {'ap'[w.hour // 12]}m",
    "%Y-%m-%d %l:%M:%S%p": lambda w: f"{w.year:04}-{w:%m-%d} {(w.hour + 11) % 12 + 1:2}:{w:%M:%S}{'AP'[w.hour // 12]}M",
    "%k.%M.%S %Y%m%d": lambda w: f"{w.hour:2}.{w:%M.%S} {w.year:04}{w:%m%d}",
    "100%% %Y-%-j é %-H:%-M:%-S!": lambda w: f"100% {w.year:04}-{w.timetuple().tm_yday} é {w.hour}:{w.minute}:{w.second}!",
}


@pytest.mark.parametrize("pattern", WRITERS)
@given(whens)
def test_what_is_written_by_a_pattern_is_read_by_it(pattern: str, times: list[dt.datetime]) -> None:
    values, good = pattern_times(*spanned(*map(WRITERS[pattern], times)), pattern)
    assert good.all()
    assert values.tolist() == [micros(when.replace(microsecond=0)) for when in times]


@pytest.mark.parametrize("form", ["%f 6", "%L 3", "%3N 3", "%6N 6", "%9N 9", "%N 9", "%f 1", "%f 9"])
@given(whens)
def test_decimals(form: str, times: list[dt.datetime]) -> None:
    directive, digits = form.split()
    decimals = [f"{w.microsecond:06}000"[: int(digits)] for w in times]
    texts = [f"{d} {w.year:04}{w:%m%d%H%M%S}" for d, w in zip(decimals, times, strict=True)]
    values, good = pattern_times(*spanned(*texts), f"{directive} %Y%m%d%H%M%S")
    assert good.all()
    cut = [int(d.ljust(6, "0")[:6]) for d in decimals]
    assert values.tolist() == [micros(w.replace(microsecond=c)) for w, c in zip(times, cut, strict=True)]


@given(st.lists(st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(9999, 12, 30), timezones=zones), min_size=1, max_size=20))  # noqa: DTZ001 - bounds
def test_offsets(times: list[dt.datetime]) -> None:
    texts = [f"{w.isoformat(timespec='microseconds')}" for w in times]
    for changed in (texts, [text[:-3] + text[-2:] for text in texts]):
        values, good = pattern_times(*spanned(*changed), "%Y-%m-%dT%H:%M:%S.%f%z")
        assert good.all()
        assert values.tolist() == [micros(w) for w in times]


@pytest.mark.parametrize("year", [1972, 1999, 2000, 2019, 2100])
def test_every_day_of_a_year_and_no_other(year: int) -> None:
    by_date, real = pattern_times(*spanned(*(f"{year} {m} {d:02}" for m in MONTHS for d in range(33))), "%Y %B %d")
    by_number, numbered = pattern_times(*spanned(*(f"{year}{n:03}" for n in range(1000))), "%Y%j")
    first = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
    wanted = [micros(first + dt.timedelta(days=n)) for n in range((first.replace(year=year + 1) - first).days)]
    assert by_date[real].tolist() == wanted
    assert by_number[numbered].tolist() == wanted


def test_every_year_of_two_digits_as_strptime_has_it() -> None:
    texts = [f"{n:02}-06-01" for n in range(100)]
    values, good = pattern_times(*spanned(*texts), "%y-%m-%d")
    wanted = [dt.datetime.strptime(text, "%y-%m-%d").replace(tzinfo=dt.UTC) for text in texts]
    assert good.tolist() == [when.year >= 1970 for when in wanted]
    assert values[good].tolist() == [micros(when) for when in wanted if when.year >= 1970]


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("%d/%b/%Y:%H:%M:%S.%L", "06/Feb/2009:12:14:14.655", "2009-02-06T12:14:14.655"),  # HAProxy
        ("%Y/%m/%d %H:%M:%S", "2024/02/10 21:22:09", "2024-02-10T21:22:09"),  # nginx's error log
        ("%D %T", "02/10/24 21:22:09", "2024-02-10T21:22:09"),
        ("%s.%L", "1157689312.049", "2006-09-08T04:21:52.049"),  # nginx's $msec, Squid
        ("%s.%f", "1693840791.7564995", "2023-09-04T15:19:51.756499"),
        ("%F %T %z %Z", "2019-01-22 03:56:14 +0100 CET", "2019-01-22T02:56:14"),  # Go's time.String
        ("%Y-%m-%d", "2019-01-22", "2019-01-22T00:00:00"),
        ("%Y-%m-%d %H", "2019-01-22 05", "2019-01-22T05:00:00"),
        ("%Y-%m-%d %I %p", "2019-01-22 12 AM", "2019-01-22T00:00:00"),
        ("%Y-%m-%d %I %p", "2019-01-22 12 PM", "2019-01-22T12:00:00"),
        ("%d-%b-%y", "22-JAN-19", "2019-01-22T00:00:00"),
        ("%d-%b-%y", "22-Aaa-19", None),
        ("%d-%b-%y", "22-Zzz-19", None),
        ("%FT%T%z", "2019-01-22T03:56:14Z", "2019-01-22T03:56:14"),
        ("%FT%T%z", "2019-01-22T03:56:14-03", "2019-01-22T06:56:14"),
        ("%FT%T%z!", "2019-01-22T03:56:14+03!", "2019-01-22T00:56:14"),
        ("%FT%T %Z", "2019-01-22T03:56:14 UTC", "2019-01-22T03:56:14"),
        ("%FT%T%Z", "2019-01-22T03:56:14Z", "2019-01-22T03:56:14"),
        ("%F %T", "2016-12-31 23:59:60", "2017-01-01T00:00:00"),
        ("%F %T", "2019-01-22 03:56:61", None),
        ("%F %T", "2019-01-22 24:00:00", None),
        ("%F %T", "2019-02-29 00:00:00", None),
        ("%F %T", "2019-01-22 03:56:1", None),
        ("%F %T", "2019-01-22 03:56:144", None),
        ("%F %T", "2019-01-22_03:56:14", None),
        ("%F %T", "1969-12-31 23:59:59", None),
        ("%F %T", "", None),
        ("%F %T", "2019-01-22 03:56:1é", None),
        ("%Y-%m-%d %I %p", "2019-01-22 13 PM", None),
        ("%Y-%m-%d %I %p", "2019-01-22 00 AM", None),
        ("%Y-%m-%d %I %p", "2019-01-22 01 XM", None),
        ("%Y-%m-22 %e", "2019-01-22 1", None),
        ("%d %B %Y", "22 Januar 2019", None),
        ("%a %F", "Xyz 2019-01-22", None),
        ("%FT%T%z", "2019-01-22T03:56:14", None),
        ("%FT%T%z", "2019-01-22T03:56:14+2400", None),
        ("%FT%T%z", "2019-01-22T03:56:14+0360", None),
        ("%FT%T%z", "2019-01-22T03:56:14+03:3", None),
        ("%FT%T%z", "2019-01-22T03:56:14+033", None),
        ("%F %T %Z", "2019-01-22 03:56:14 CET", None),
        ("%F %T %Z", "2019-01-22 03:56:14 UTCX", None),
        ("%F %T.%f", "2019-01-22 03:56:14.", None),
        ("%F %T.%f", "2019-01-22 03:56:14.1234567890", None),
        ("%F %T.%L", "2019-01-22 03:56:14.12", None),
        ("%F %T.%L", "2019-01-22 03:56:14.1234", None),
        ("%s", "9999999999999", None),
        ("%s", "253402300800", None),
        ("%s", "-1", None),
        ("%Y-%j", "2019-000", None),
        ("%Y-%j", "2019-366", None),
        ("%Y-%m-%-d", "2019-01-", None),
        ("%Y-%m-%-d", "2019-01-022", None),
    ],
)
def test_one_text(pattern: str, text: str, wanted: str | None) -> None:
    assert one(text, pattern) == (dt.datetime.fromisoformat(wanted).replace(tzinfo=dt.UTC) if wanted else None)


def test_a_zone_is_for_times_that_name_none() -> None:
    noon = dt.datetime(2009, 7, 6, 12, tzinfo=dt.UTC)
    berlin = {"zone": "Europe/Berlin"}
    assert one("06/Jul/2009:14:00:00.000", "%d/%b/%Y:%H:%M:%S.%L", **berlin) == noon
    assert one("2009-07-06 12:00:00 +0000", "%F %T %z", **berlin) == noon
    assert one("2009-07-06 12:00:00 GMT", "%F %T %Z", **berlin) == noon
    assert one("1246881600", "%s", **berlin) == noon
    with pytest.raises(UsageError, match="Nowhere"):
        one("2009-07-06", "%F", zone="Nowhere")


def test_a_year_is_given_where_the_pattern_has_none() -> None:
    pattern = "%b %e %H:%M:%S"
    assert one("Feb  6 12:14:14", pattern, year=2009) == dt.datetime(2009, 2, 6, 12, 14, 14, tzinfo=dt.UTC)
    assert one("Feb 29 12:14:14", pattern, year=2009) is None
    assert one("Feb 06 12:14:14", pattern, year=2009) == one("Feb  6 12:14:14", pattern, year=2009)
    assert one("366", "%j", year=2008) == dt.datetime(2008, 12, 31, tzinfo=dt.UTC)
    values, good = pattern_times(*spanned("Dec 31 23:59:59", "Jan  1 00:00:00"), pattern, year=np.array([2008, 2009]))
    assert good.all()
    assert np.diff(values).tolist() == [1_000_000]
    assert one("2019-01-22", "%F", year=2009) == dt.datetime(2019, 1, 22, tzinfo=dt.UTC)
    with pytest.raises(UsageError, match="has no year; add %Y"):
        one("Feb  6 12:14:14", pattern)
    assert (has_year(pattern), has_year("%F"), has_year("%y%j"), has_year("%s")) == (False, True, True, True)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("%Q", "directive %Q is not known"),
        ("%c", "directive %c is not known"),
        ("%F %-Y", "directive %- is not known"),
        ("%F %", "directive % is not known"),
        ("%F %\n", "directive %"),
        ("%F %4N", "directive %4 is not known"),
        ("", "has no day"),
        ("%H:%M", "has no day"),
        ("%Y-%m", "has no day"),
        ("%F %d", "says the day twice"),
        ("%F %b", "says the month twice"),
        ("%F %j", "says the day in two ways"),
        ("%F %H %I %p", "says the hour in two ways"),
        ("%F %I:%M", "without %I"),
        ("%F %H %p", "without %I"),
        ("%F %M:%S", "minutes without an hour"),
        ("%F %H:%S", "seconds without minutes"),
        ("%F %H.%f", "decimals without seconds"),
        ("%s %Y", "beside other parts"),
        ("%s %z", "beside other parts"),
        ("%F" + " " * 300, "longer than 200 characters"),
    ],
)
def test_patterns_that_make_no_time_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_pattern(pattern)
    assert why in str(caught.value)


@given(st.lists(st.text("0123456789-:/ .+ZGMTUJanFebe\x7fé", max_size=30), min_size=1, max_size=8), st.sampled_from(sorted(WRITERS)))
def test_any_text_is_right_or_refused(texts: list[str], pattern: str) -> None:
    values, good = pattern_times(*spanned(*texts), pattern)
    assert len(values) == len(good) == len(texts)
    for text, value, is_good in zip(texts, values.tolist(), good.tolist(), strict=True):
        if is_good and pattern != "%s":
            assert WRITERS[pattern](EPOCH + dt.timedelta(microseconds=value)).lower() == text.lower()


def test_nothing_to_read() -> None:
    values, good = pattern_times(np.zeros(0, np.uint8), Span(np.empty(0, np.int64), np.empty(0, np.int64)), "%F %T.%f")
    assert (values.tolist(), good.tolist()) == ([], [])
