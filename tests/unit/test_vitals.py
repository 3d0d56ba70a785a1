"""What health and metrics are made of: ages against limits, what is overdue, residue, and what waits; looked at now and then."""

import datetime as dt
from pathlib import Path

import pytest

from auditlake import lake as lakes
from auditlake.lake import Lake, advance_clock, open_lake
from auditlake.settings import Settings
from auditlake.vitals import Age, Cached, Vitals, gather
from core.clock import UTC
from core.events import Kind
from core.policy import Hold, Period

NOW = dt.datetime(2015, 5, 20, 12, tzinfo=UTC)
DAY = 86_400


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three rows of one day and four of the next, two rejected lines; five more of a stream that has no limits."""
    lakes.create(tmp_path / "data", Settings(), NOW)
    with open_lake(tmp_path / "data", Settings()) as lake:
        append(lake, Kind.BATCH_INGESTED, stream="requests", batch="b1", days={"2015-05-18": 3, "2015-05-19": 4})
        append(lake, Kind.LINES_QUARANTINED, stream="requests", day="2015-05-20", batch="b1", rows=2, reasons={})
        append(lake, Kind.BATCH_INGESTED, stream="forgotten", batch="b2", days={"2014-01-01": 5})
    return tmp_path / "data"


def append(lake: Lake, kind: str, **body: object) -> None:
    with lake.context.control.write() as connection:
        lake.context.ledger.append(connection, kind, **body)


def seen(data: Path, later: str = "") -> Vitals:
    if later:
        with open_lake(data, Settings()) as lake:
            advance_clock(lake, Period.parse(later))
    with open_lake(data, Settings()) as lake:
        return gather(lake)


def test_ages_and_limits_are_by_stream_and_tier(data: Path) -> None:
    found = seen(data)
    assert found.ages == (
        Age("requests", "hot", 2.5 * DAY, 32 * DAY),
        Age("requests", "quarantine", 0.5 * DAY, 31 * DAY),
    )
    assert {labels: rows for labels, rows in found.rows.items() if rows} == {
        ("requests", "hot"): 7,
        ("requests", "quarantine"): 2,
        ("forgotten", "hot"): 5,
    }
    assert (found.overdue, found.residue, found.bodies, found.waited, found.spooled) == ({"requests": 0}, 0, 0, {}, 0)


def test_a_day_is_overdue_an_hour_after_the_purge_that_should_have_destroyed_it(data: Path) -> None:
    assert seen(data, "30 days").overdue == {"requests": 0}
    with open_lake(data, Settings()) as lake, lake.context.control.write() as connection:
        lake.context.control.set_meta(connection, "clock_now", "2015-06-20T01:04:59Z")
    assert seen(data).overdue == {"requests": 0}
    with open_lake(data, Settings()) as lake, lake.context.control.write() as connection:
        lake.context.control.set_meta(connection, "clock_now", "2015-06-20T01:05:00Z")
    assert seen(data).overdue == {"requests": 1}


def test_residue_is_what_the_last_try_left(data: Path) -> None:
    with open_lake(data, Settings()) as lake:
        append(lake, Kind.PURGE_STARTED, stream="requests", day="2015-05-18")
        assert gather(lake).residue == 0
        append(lake, Kind.RESIDUE_FOUND, stream="requests", day="2015-05-18", things=5, digest="")
        append(lake, Kind.RESIDUE_FOUND, stream="requests", day="2015-05-18", things=3, digest="")
        assert gather(lake).residue == 3
        append(lake, Kind.SEGMENT_PURGED, stream="requests", day="2015-05-18", rows=3, found=0, listed=0, listing="")
        assert gather(lake).residue == 0


def test_it_is_looked_at_once_in_a_while_and_a_failure_is_not_kept(data: Path) -> None:
    asked: list[int] = []

    def ask() -> Vitals:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("the database is away")
        return seen(data)

    cached = Cached(ask)
    with pytest.raises(OSError, match="is away"):
        cached.get()
    assert cached.get() is cached.get()
    assert len(asked) == 2
    assert Cached(ask, 0).get() is not cached.get()


def test_held_days_are_counted_and_left_out_of_ages_and_overdue(data: Path) -> None:
    with open_lake(data, Settings()) as lake:
        hold = Hold("requests", dt.date(2015, 5, 18), dt.date(2015, 5, 18), "case 12")
        lake.context.hold_book.add(hold, "legal")
    assert seen(data).held == {"requests": 1}
    assert seen(data).ages[0] == Age("requests", "hot", 1.5 * DAY, 32 * DAY)
    late = seen(data, "2 years")
    assert (late.overdue, late.held) == ({"requests": 2}, {"requests": 1})
    with open_lake(data, Settings()) as lake:
        lake.context.hold_book.release(1)
    late = seen(data)
    assert (late.overdue, late.held) == ({"requests": 3}, {"requests": 0})
