"""Holds: bind at once, end by hand or by time, and leave no words in the ledger."""

import datetime as dt

import pytest
import sqlalchemy as sa

from core.clock import UTC
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.policy import Hold, Period
from core.segment import Segment, SegmentState
from storage import control as db
from storage.holds import Covered, Holds, covered, faults
from tests.unit.storage.conftest import Desk

FIRST, LAST = dt.date(2026, 1, 10), dt.date(2026, 1, 12)
SOON = dt.datetime(2026, 2, 10, tzinfo=UTC)
YEAR = Period(months=12)


def asked(reason: str = "case 12/2026", first: dt.date = FIRST, last: dt.date = LAST, expires: dt.datetime | None = None) -> Hold:
    return Hold("requests", first, last, reason, expires=expires)


@pytest.fixture
def book(desk: Desk) -> Holds:
    return Holds(desk.control, desk.ledger, desk.clock)


def purge_begun(desk: Desk, stream: str, day: dt.date) -> None:
    with desk.control.write() as connection:
        desk.ledger.append(connection, Kind.PURGE_STARTED, stream=stream, day=day.isoformat())


def change(desk: Desk, number: int, **values: object) -> None:
    with desk.control.write() as connection:
        connection.execute(db.holds.update().where(db.holds.c.id == number).values(**values))


def test_a_hold_binds_from_the_moment_it_is_added(desk: Desk, book: Holds) -> None:
    assert book.binding() == ()
    added = book.add(asked(expires=SOON), "Ms Example")
    assert added.hold == Hold("requests", FIRST, LAST, "case 12/2026", 1, SOON)
    assert (added.owner, added.added, added.ended, added.how) == ("Ms Example", "2026-01-31T12:00:00Z", None, "")
    assert Holds(desk.control, desk.ledger, desk.clock).binding() == (added.hold,)
    with desk.control.write() as connection:
        assert book.binding(connection) == (added.hold,)
    assert book.add(asked("another"), "legal").hold.number == 2
    assert [each.hold.number for each in book.every()] == [1, 2]


def test_the_ledger_holds_no_words_and_commits_to_them(desk: Desk, book: Holds) -> None:
    book.add(asked("case against Doe", expires=SOON), "Ms Example")
    (body,) = desk.bodies(Kind.HOLD_ADDED)
    assert {**body, "digest": len(str(body["digest"]))} == {
        "hold": 1, "stream": "requests", "first": "2026-01-10", "last": "2026-01-12", "expires": "2026-02-10T00:00:00Z", "digest": 64,
    }  # fmt: skip
    assert "Doe" not in str(desk.bodies())
    book.add(asked("case against Doe", expires=SOON), "Ms Example")
    assert len({str(body["digest"]) for body in desk.bodies(Kind.HOLD_ADDED)}) == 2, "equal words cannot be told from digests"
    assert faults(desk.control, desk.ledger) == []


def test_a_hold_ends_at_its_instant_and_the_ledger_says_so_at_night(desk: Desk, book: Holds) -> None:
    book.add(asked(expires=SOON), "legal")
    desk.clock.instant = SOON - dt.timedelta(microseconds=1)
    assert len(book.binding()) == 1
    assert book.note_ends(YEAR) == 0
    desk.clock.instant = SOON
    assert book.binding() == ()
    assert len(book.standing()) == 1
    with pytest.raises(UsageError, match="hold 1 has expired on 2026-02-10"):
        book.release(1)
    desk.clock.instant += dt.timedelta(hours=5)
    assert book.note_ends(YEAR) == 1
    assert book.note_ends(YEAR) == 0
    assert desk.bodies(Kind.HOLD_EXPIRED) == [{"hold": 1, "stream": "requests", "first": "2026-01-10", "last": "2026-01-12"}]
    assert [(each.ended, each.how) for each in book.every()] == [("2026-02-10T05:00:00Z", "expired")]
    assert book.standing() == ()
    assert faults(desk.control, desk.ledger) == []


def test_a_hold_is_released_once(desk: Desk, book: Holds) -> None:
    book.add(asked(), "legal")
    assert book.release(1).how == "released"
    assert book.binding() == ()
    assert desk.bodies(Kind.HOLD_RELEASED) == [{"hold": 1, "stream": "requests", "first": "2026-01-10", "last": "2026-01-12"}]
    with pytest.raises(UsageError, match="hold 1 has released on"):
        book.release(1)
    with pytest.raises(UsageError, match="there is no hold 2"):
        book.release(2)
    assert book.add(asked(), "legal").hold.number == 2, "a number is never given twice"


@pytest.mark.parametrize("stream", ["requests", "requests.quarantine"])
def test_a_day_whose_destruction_has_begun_cannot_be_held(desk: Desk, book: Holds, stream: str) -> None:
    purge_begun(desk, stream, LAST)
    with pytest.raises(AuditlakeError, match=f"the destruction of {stream}/2026-01-12 has begun"):
        book.add(asked(), "legal")
    assert book.every() == []
    assert desk.bodies(Kind.HOLD_ADDED) == []
    assert book.add(asked(last=LAST - dt.timedelta(days=1)), "legal").hold.number == 1
    assert book.add(Hold("mail", LAST, LAST, "another stream"), "legal").hold.number == 2


def test_a_day_that_an_erasure_is_changing_cannot_be_held_until_it_has(desk: Desk, book: Holds) -> None:
    named = {"stream": "requests", "day": LAST.isoformat()}
    with desk.control.write() as connection:
        desk.ledger.append(connection, Kind.ERASURE_STARTED, **named, request=1)
    with pytest.raises(AuditlakeError, match="rows of a person are being erased from requests/2026-01-12"):
        book.add(asked(), "legal")
    assert book.every() == []
    with desk.control.write() as connection:
        desk.ledger.append(connection, Kind.ROWS_ERASED, **named, request=1, tier="hot", rows=0, left=0)
    assert book.add(asked(), "legal").hold.number == 1


@pytest.mark.parametrize(
    ("hold", "owner", "why"),
    [
        (asked(first=LAST, last=FIRST), "legal", "the last day, 2026-01-10, is before the first"),
        (asked(expires=dt.datetime(2026, 1, 31, 12, tzinfo=UTC)), "legal", "would have ended on 2026-01-31T12:00:00Z"),
        (asked(" "), "legal", "the reason is empty"),
        (asked("x" * 501), "legal", "the reason is empty, longer than 500"),
        (asked("a\nb"), "legal", "no single line"),
        (asked("\x1b[31m"), "legal", "no single line"),
        (asked(), "", "the owner is empty"),
    ],
)
def test_what_is_no_hold_is_refused(desk: Desk, book: Holds, hold: Hold, owner: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        book.add(hold, owner)
    assert desk.bodies() == []


def test_the_words_of_an_ended_hold_are_forgotten_in_time(desk: Desk, book: Holds) -> None:
    book.add(asked("case against Doe"), "Ms Example")
    book.add(asked("case against Roe"), "Ms Example")
    book.release(1)
    desk.clock.instant += dt.timedelta(days=364)
    book.note_ends(YEAR)
    assert [each.hold.reason for each in book.every()] == ["case against Doe", "case against Roe"]
    desk.clock.instant += dt.timedelta(days=1)
    assert book.note_ends(YEAR) == 0
    assert [(each.hold.reason, each.owner) for each in book.every()] == [("", ""), ("case against Roe", "Ms Example")]
    desk.control.forget_deleted()
    assert b"Doe" not in desk.bytes()
    assert faults(desk.control, desk.ledger) == []


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"last": FIRST}, "hold 1 is not as the ledger says it was added"),
        ({"expires": "2026-02-01T00:00:00Z"}, "hold 1 is not as the ledger says it was added"),
        ({"reason": "another"}, "hold 1 is not as the ledger says it was added"),
        ({"owner": "another"}, "hold 1 is not as the ledger says it was added"),
        ({"salt": "", "reason": ""}, "hold 1 is not as the ledger says it was added"),
        ({"ended": "2026-02-01T00:00:00Z", "how": "released"}, "hold 1 is released, the ledger says standing"),
    ],
)
def test_a_hold_that_was_changed_behind_the_ledgers_back_is_found(desk: Desk, book: Holds, values: dict[str, object], fault: str) -> None:
    book.add(asked(expires=SOON), "legal")
    change(desk, 1, **values)
    assert faults(desk.control, desk.ledger) == [fault]


def test_a_hold_that_was_removed_or_added_behind_the_ledgers_back_is_found(desk: Desk, book: Holds) -> None:
    book.add(asked(), "legal")
    change(desk, 1, id=2)
    assert faults(desk.control, desk.ledger) == ["hold 2 is not in the ledger", "hold 1 is in the ledger and not in the control database"]
    book.release(2)
    with desk.control.write() as connection:
        connection.execute(sa.delete(db.holds))
    assert faults(desk.control, desk.ledger)[0] == "hold 1 is in the ledger and not in the control database"


def test_what_a_hold_covers_is_counted() -> None:
    states = [
        SegmentState(Segment("requests", FIRST), stored=5, hot=2, archived=3),
        SegmentState(Segment("requests.quarantine", FIRST), stored=4, hot=4),
        SegmentState(Segment("requests", LAST), stored=5, purged=5),
        SegmentState(Segment("requests", LAST + dt.timedelta(days=1)), stored=9, hot=9),
        SegmentState(Segment("mail", FIRST), stored=9, hot=9),
        SegmentState(Segment("requests.quarantine", LAST), stored=1, erased=1),
    ]
    assert covered(asked(), states) == Covered(segments=2, rows=9, destroyed=1)
