"""What has been read, and what was begun."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.segment import Segment
from storage import intake
from storage.control import Control
from storage.intake import OpenBatch, SpanRecord

DAY = dt.date(2026, 1, 30)
LATER = dt.date(2026, 2, 1)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control.in_file(tmp_path / "control.sqlite")
    yield control
    control.close()


def span(start: int, end: int) -> SpanRecord:
    return SpanRecord(start, end, f"{start:064x}", end - start, bytes(range(256)) * 2, terminated=end % 2 == 0)


def test_an_announced_batch_is_open_until_it_is_settled(control: Control) -> None:
    rejected = Segment("requests.quarantine", DAY)
    first = OpenBatch("b1", "requests", (Segment("requests", DAY), Segment("requests", LATER)))
    retry = OpenBatch("b2", "requests", (), (rejected, (("b0", 7), ("b0", 2**40))))
    with control.write() as connection:
        intake.announce(connection, first)
        intake.announce(connection, retry)
    with control.read() as connection:
        assert sorted(intake.open_batches(connection), key=lambda batch: batch.batch) == [first, retry]
    with control.write() as connection:
        intake.mark_recorded(connection, "b2")
        intake.settle(connection, "b1")
    with control.read() as connection:
        (left,) = intake.open_batches(connection)
    assert left == OpenBatch("b2", "requests", (), (rejected, (("b0", 7), ("b0", 2**40))), recorded=True)


def test_the_same_batch_is_not_announced_twice(control: Control) -> None:
    with control.write() as connection:
        intake.announce(connection, OpenBatch("b1", "requests", ()))
        with pytest.raises(sa.exc.IntegrityError):
            intake.announce(connection, OpenBatch("b1", "requests", ()))


def test_settling_what_is_not_open_changes_nothing(control: Control) -> None:
    with control.write() as connection:
        intake.announce(connection, OpenBatch("b1", "requests", ()))
        intake.settle(connection, "b2")
        assert [batch.batch for batch in intake.open_batches(connection)] == ["b1"]


def test_sources_are_known_by_stream_and_first_line_with_their_spans_in_order(control: Control) -> None:
    with control.write() as connection:
        intake.record_span(connection, "requests", "s1", "head", span(100, 200), "b2", DAY)
        intake.record_span(connection, "requests", "s1", "head", span(0, 100), "b1", DAY)
        intake.record_span(connection, "requests", "s2", "head", span(0, 31), "b3", DAY)
        intake.record_span(connection, "requests", "s3", "other head", span(0, 5), "b4", DAY)
        intake.record_span(connection, "mail", "s1", "head", span(0, 9), "b5", DAY)
        assert intake.known_sources(connection, "requests", "head") == {"s1": 2, "s2": 1}
        assert intake.known_sources(connection, "mail", "head") == {"s1": 1}
        assert intake.known_sources(connection, "requests", "no such head") == {}
        assert intake.span(connection, "requests", "s1", 0) == span(0, 100)
        assert intake.span(connection, "requests", "s1", 1) == span(100, 200)
        assert intake.span(connection, "mail", "s1", 0) == span(0, 9)
        for number in (2, -1):
            with pytest.raises(IndexError, match=f"source s1 has no span {number}"):
                intake.span(connection, "requests", "s1", number)


def test_the_same_span_is_not_recorded_twice(control: Control) -> None:
    with control.write() as connection:
        intake.record_span(connection, "requests", "s1", "head", span(0, 100), "b1", DAY)
        with pytest.raises(sa.exc.IntegrityError):
            intake.record_span(connection, "requests", "s1", "head", span(0, 100), "b1", DAY)


def test_a_branch_takes_over_what_it_shares(control: Control) -> None:
    part = span(200, 250)
    with control.write() as connection:
        for start in (0, 100, 200):
            intake.record_span(connection, "requests", "s1", "head", span(start, start + 100), f"b{start}", DAY)
        intake.copy_spans(connection, "requests", "s1", "s2", "head", 2, part)
        intake.copy_spans(connection, "requests", "s1", "s3", "head", 3, part)
        assert intake.known_sources(connection, "requests", "head") == {"s1": 3, "s2": 3, "s3": 3}
        assert [intake.span(connection, "requests", "s2", number) for number in range(3)] == [span(0, 100), span(100, 200), part]
        assert intake.span(connection, "requests", "s3", 2) == span(200, 300)


def test_a_source_is_forgotten_whole_when_its_newest_line_is_over(control: Control) -> None:
    with control.write() as connection:
        intake.record_span(connection, "requests", "old", "head", span(0, 100), "b1", DAY - dt.timedelta(days=1))
        intake.record_span(connection, "requests", "old", "head", span(100, 200), "b2", DAY)
        intake.record_span(connection, "requests", "growing", "head", span(0, 100), "b3", DAY)
        intake.record_span(connection, "requests", "growing", "head", span(100, 200), "b4", LATER)
        intake.record_span(connection, "mail", "old", "head", span(0, 100), "b5", DAY)
    with control.write() as connection:
        intake.forget_until(connection, "requests", DAY - dt.timedelta(days=1))
        assert intake.known_sources(connection, "requests", "head") == {"old": 2, "growing": 2}
        intake.forget_until(connection, "requests", DAY)
        assert intake.known_sources(connection, "requests", "head") == {"growing": 2}
        assert intake.known_sources(connection, "mail", "head") == {"old": 1}
        assert connection.exec_driver_sql("SELECT stream, id FROM sources ORDER BY id").fetchall() == [
            ("requests", "growing"),
            ("mail", "old"),
        ]
