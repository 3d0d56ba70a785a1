"""Segments and stream names."""

import datetime as dt

import pytest

from core.clock import UTC
from core.errors import UsageError
from core.segment import Segment, check_stream_name


@pytest.mark.parametrize("name", ["requests", "a", "r2_d2", "a" * 63])
def test_a_stream_name_is_a_letter_then_letters_digits_underscores(name: str) -> None:
    assert check_stream_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Requests", "1st", "_x", "a-b", "a b", "a/b", "../a", "a\n", "a\0", "requests.quarantine", "a" * 64, "é", "a\u0660", "."],
)
def test_any_other_stream_name_is_refused_by_its_own_words(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_stream_name(name)
    assert f"stream name {name!r} is not allowed" in str(refused.value)


def test_a_segment_is_a_utc_day() -> None:
    segment = Segment("requests", dt.date(2024, 2, 29))
    assert str(segment) == "requests/2024-02-29"
    assert segment.start == dt.datetime(2024, 2, 29, tzinfo=UTC)
    assert segment.end == dt.datetime(2024, 3, 1, tzinfo=UTC)
    assert not segment.is_quarantine
    assert Segment("requests.quarantine", segment.day).is_quarantine


def test_the_calendars_last_day_ends_with_it() -> None:
    assert Segment("requests", dt.date.max).end == dt.datetime.max.replace(tzinfo=UTC)


def test_segments_are_in_the_order_of_stream_and_day() -> None:
    days = [Segment("b", dt.date(2026, 1, 1)), Segment("a", dt.date(2026, 1, 2)), Segment("a", dt.date(2025, 12, 31))]
    assert [str(segment) for segment in sorted(days)] == ["a/2025-12-31", "a/2026-01-02", "b/2026-01-01"]
