"""The fold from events to the state of each segment."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Event, Kind, apply, touched
from core.segment import Segment, SegmentState

DAY = dt.date(2026, 1, 30)
SEGMENT = Segment("requests", DAY)
REJECTED = Segment("requests.quarantine", DAY)
NAMED = {"stream": "requests", "day": "2026-01-30"}


def event(kind: str, **body: Any) -> Event:
    return Event(1, "2026-01-30T00:00:00Z", kind, body)


def folded(*events: Event) -> dict[Segment, SegmentState]:
    states: dict[Segment, SegmentState] = {}
    for each in events:
        apply(states, each)
    return states


INGESTED = event(Kind.BATCH_INGESTED, stream="requests", batch="b1", days={"2026-01-30": 5})


def test_a_batch_brings_rows_to_each_of_its_days() -> None:
    states = folded(event(Kind.BATCH_INGESTED, stream="requests", days={"2026-01-30": 5, "2026-01-31": 2}), INGESTED)
    assert states == {
        SEGMENT: SegmentState(SEGMENT, stored=10, hot=10),
        Segment("requests", dt.date(2026, 1, 31)): SegmentState(Segment("requests", dt.date(2026, 1, 31)), stored=2, hot=2),
    }


def test_a_roll_moves_hot_rows_to_the_archive_and_late_rows_follow() -> None:
    rolled = [event(Kind.ROLL_STARTED, **NAMED), event(Kind.ARCHIVE_VERIFIED, **NAMED, rows=5), event(Kind.SEGMENT_ROLLED, **NAMED)]
    assert folded(INGESTED, *rolled) == {SEGMENT: SegmentState(SEGMENT, stored=5, archived=5)}
    again = folded(INGESTED, *rolled, INGESTED, *rolled)
    assert again == {SEGMENT: SegmentState(SEGMENT, stored=10, archived=10)}


def test_a_purge_counts_everything_that_was_present() -> None:
    begun = [event(Kind.ARCHIVE_VERIFIED, **NAMED, rows=5), INGESTED, event(Kind.PURGE_STARTED, **NAMED)]
    assert folded(INGESTED, *begun)[SEGMENT] == SegmentState(SEGMENT, stored=10, hot=5, archived=5, open_action="purge")
    assert folded(INGESTED, *begun, event(Kind.SEGMENT_PURGED, **NAMED))[SEGMENT] == SegmentState(SEGMENT, stored=10, purged=10)


def test_a_day_that_comes_again_after_its_purge_is_purged_again() -> None:
    purged = event(Kind.SEGMENT_PURGED, **NAMED)
    assert folded(INGESTED, purged, INGESTED, purged)[SEGMENT] == SegmentState(SEGMENT, stored=10, purged=10)


def test_rejected_lines_live_in_the_companion_stream_and_a_retry_erases_them_there() -> None:
    rejected = event(Kind.LINES_QUARANTINED, **NAMED, rows=3)
    assert folded(rejected) == {REJECTED: SegmentState(REJECTED, stored=3, hot=3)}
    assert folded(rejected, event(Kind.LINES_RETRIED, **NAMED, rows=2)) == {REJECTED: SegmentState(REJECTED, stored=3, erased=2, hot=1)}


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([INGESTED], "hot"),
        ([INGESTED, event(Kind.ROLL_STARTED, **NAMED)], "rolling"),
        ([INGESTED, event(Kind.ARCHIVE_VERIFIED, **NAMED, rows=5)], "archived"),
        ([INGESTED, event(Kind.ARCHIVE_VERIFIED, **NAMED, rows=5), INGESTED], "hot+archived"),
        ([INGESTED, event(Kind.PURGE_STARTED, **NAMED)], "purging"),
        ([INGESTED, event(Kind.PURGE_STARTED, **NAMED), event(Kind.SEGMENT_PURGED, **NAMED)], "destroyed"),
    ],
)
def test_the_state_has_a_name(events: list[Event], name: str) -> None:
    assert folded(*events)[SEGMENT].state == name


@pytest.mark.parametrize(
    "kind", [Kind.DIRECTORY_CREATED, Kind.CLOCK_ADVANCED, Kind.CLOCK_CONFIRMED, Kind.BATCH_UNDONE, Kind.RESIDUE_FOUND, Kind.JOB_FINISHED]
)
def test_other_kinds_change_no_segment(kind: str) -> None:
    assert list(touched(event(kind, **NAMED, rows=9))) == []
    assert folded(event(kind, **NAMED, rows=9)) == {}


def test_an_event_names_its_segment_or_has_none() -> None:
    assert event(Kind.SEGMENT_ROLLED, **NAMED).segment == SEGMENT
    with pytest.raises(KeyError):
        _ = event(Kind.JOB_FINISHED, job="roll").segment


DAYS = ["2026-01-30", "2026-01-31"]
MOVES = ["ingest", "reject", "retry", "start roll", "verify", "rolled", "start purge", "purged", "undo", "residue", "ingest", "purged"]
moves = st.lists(
    st.tuples(
        st.sampled_from(MOVES),
        st.sampled_from(DAYS),
        st.integers(0, 9),
    ),
    min_size=10,
    max_size=40,
)


def _event(states: dict[Segment, SegmentState], move: str, day: str, number: int) -> Event:
    """What the program would write: a roll verifies all that is hot, a retry takes no more lines than there are."""
    named = {"stream": "requests", "day": day}
    segment = Segment("requests", dt.date.fromisoformat(day))
    rejected = Segment("requests.quarantine", segment.day)
    match move:
        case "ingest":
            return event(Kind.BATCH_INGESTED, stream="requests", days={day: number, DAYS[0]: number})
        case "reject":
            return event(Kind.LINES_QUARANTINED, **named, rows=number)
        case "retry":
            return event(Kind.LINES_RETRIED, **named, rows=min(number, states.get(rejected, SegmentState(rejected)).hot))
        case "verify":
            return event(Kind.ARCHIVE_VERIFIED, **named, rows=states.get(segment, SegmentState(segment)).hot)
        case "purged":
            return event(Kind.SEGMENT_PURGED, stream="requests" + ".quarantine" * (number % 2), day=day)
    kinds = {
        "start roll": Kind.ROLL_STARTED,
        "rolled": Kind.SEGMENT_ROLLED,
        "start purge": Kind.PURGE_STARTED,
        "undo": Kind.BATCH_UNDONE,
        "residue": Kind.RESIDUE_FOUND,
    }
    return event(kinds[move], **named)


@given(moves)
def test_rows_are_accounted_for_after_any_sequence(sequence: list[tuple[str, str, int]]) -> None:
    states: dict[Segment, SegmentState] = {}
    brought = 0
    for move, day, number in sequence:
        now = _event(states, move, day, number)
        brought += sum(rows for _, rows in touched(now))
        apply(states, now)
        for segment, state in states.items():
            assert state.segment == segment
            assert state.stored - state.erased - state.purged == state.hot + state.archived == state.present
            assert min(state.stored, state.erased, state.purged, state.hot, state.archived) >= 0
    assert sum(state.stored for state in states.values()) == brought
