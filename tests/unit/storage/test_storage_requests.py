"""Requests and tombstones: numbers, deadlines, what is sealed and forgotten, and who is known again."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from core.clock import UTC
from core.policy import Period
from core.segment import Segment
from core.star import encode
from core.subject import Subject, selector
from storage.keys import KeyRing
from storage.requests import DONE, OPEN, Requests
from storage.tombstones import Tombstones, bury, forget, lift, tombstones
from tests.unit.storage.conftest import Desk
from tests.unit.storage.rows import day_rows

KEYS = KeyRing(bytes(32))
ALICE = Subject.of([selector("user_name", "alicezq"), selector("email", "alicezq@example.org")])
MONTH = Period(days=30)


@pytest.fixture
def book(desk: Desk) -> Requests:
    return Requests(desk.control, desk.ledger, KEYS, desk.clock)


def test_a_request_has_a_number_a_deadline_and_a_pseudonym(desk: Desk, book: Requests) -> None:
    asked = book.receive("erase", ALICE, MONTH)
    assert (asked.id, asked.state, asked.received, asked.deadline) == (1, OPEN, "2026-01-31T12:00:00Z", "2026-03-02T12:00:00Z")
    assert book.receive("erase", ALICE, MONTH) == asked
    assert book.receive("access", ALICE, MONTH).id == 2
    assert book.subject(asked) == ALICE
    assert b"alicezq" not in desk.bytes()
    told = desk.bodies("SubjectRequestReceived")
    assert [body["subject"] for body in told] == [book.pseudonym(ALICE)] * 2
    assert "alice" not in str(told)


def test_a_request_presses_when_its_deadline_is_near(desk: Desk, book: Requests) -> None:
    asked = book.receive("erase", ALICE, MONTH)
    assert book.pressing(Period(days=29)) == []
    assert book.pressing(MONTH) == [asked]
    desk.clock.instant += dt.timedelta(days=40)
    assert book.pressing(Period(days=1)) == [asked]
    with desk.control.write() as connection:
        book.done(connection, asked, {"rows": 1}, rows=1)
    assert book.pressing(MONTH) == []


def test_what_is_over_is_forgotten_after_its_time_and_its_number_is_not_given_again(desk: Desk, book: Requests) -> None:
    asked = book.receive("access", ALICE, MONTH)
    with desk.control.write() as connection:
        book.done(connection, asked, {}, rows=0)
    assert book.purge(Period(months=1)) == 0
    desk.clock.instant += dt.timedelta(days=40)
    assert book.purge(Period(months=1)) == 1
    assert book.every() == []
    with desk.control.read() as connection:
        assert KEYS.get(connection, asked.key) is None
    assert book.receive("access", ALICE, MONTH).id == 2
    assert desk.bodies("SubjectRequestsForgotten") == [{"requests": 1, "through": 1}]


def test_a_subject_is_forgotten_with_its_key(desk: Desk, book: Requests) -> None:
    asked = book.receive("access", ALICE, MONTH)
    assert [each.id for each in book.of(Subject.of([selector("email", "alicezq@example.org")]))] == [1]
    with desk.control.write() as connection:
        book.forget_subject(connection, asked)
    assert book.subject(asked) is None
    assert [*book.of(ALICE)] == []
    assert book.every()[0].state != DONE


def test_keys_of_requests_are_no_segments(desk: Desk, book: Requests) -> None:
    book.receive("access", ALICE, MONTH)
    with desk.control.write() as connection:
        KEYS.create(connection, Segment("subject", dt.date(2026, 1, 1)))
    with desk.control.read() as connection:
        assert KEYS.segments(connection) == {Segment("subject", dt.date(2026, 1, 1))}


def stones(desk: Desk, subject: Subject, before: str | None = None) -> Tombstones:
    with desk.control.write() as connection:
        bury(connection, KEYS, 1, subject, before)
        bury(connection, KEYS, 1, subject, before)
        found = tombstones(connection)
    assert len(found) == len(subject.selectors)
    return Tombstones(KEYS, found)


def rows(*each: dict[str, Any]) -> Any:
    return encode(pa.concat_tables([day_rows("b", 1, **one) for one in each]))


def test_a_tombstone_knows_values_again_and_tells_none(desk: Desk) -> None:
    found = stones(desk, ALICE)
    given = rows(
        {"user_name": "alicezq"},
        {"user_name": "alicezq2"},
        {"account_id": "AliceZq@Example.org"},
        {"labels": '{"who":"alicezq"}'},
        {"labels": '{"who":"alicezq and bob"}'},
        {"account_id": "alicezq"},
        {},
    )
    assert found.bars(given).tolist() == [True, False, True, True, False, False, False]
    assert b"alicezq" not in desk.bytes()


def test_a_tombstone_bars_rows_of_its_time(desk: Desk) -> None:
    day = dt.datetime(2026, 1, 30, tzinfo=UTC)
    person = Subject.of([selector("source_ip", "10.0.0.1", day, day + dt.timedelta(hours=2))])
    found = stones(desk, person, "2026-01-30T01:00:00Z")
    table = day_rows("b", 180, source_ip="10.0.0.1", source_address="10.0.0.1:80")
    assert found.bars(encode(table)).tolist() == [minute < 60 for minute in range(180)]
    assert not found.bars(encode(day_rows("b", 1, source_ip="10.0.0.10"))).any()


def test_the_same_value_may_be_barred_twice(desk: Desk) -> None:
    first, last = "2026-01-30T00:10:00Z", "2026-01-30T00:20:00Z"
    with desk.control.write() as connection:
        bury(connection, KEYS, 1, ALICE, last)
        bury(connection, KEYS, 2, ALICE, first)
        found = Tombstones(KEYS, tombstones(connection))
    assert int(found.bars(encode(day_rows("b", 60, user_name="alicezq"))).sum()) == 20
    with desk.control.write() as connection:
        assert (lift(connection, 2), forget(connection, last), tombstones(connection)) == (2, 2, ())


@pytest.mark.parametrize(
    ("line", "barred"),
    [
        (b"no request of alicezq.", True),
        (b"\xff\xfe of alicezq \xff", True),
        (b"AliceZq@example.org wrote", True),
        (b"alicezq2", False),
        (b"1.2.3.4 x", True),
        (b"1.2.3.40 x", False),
        (b"from 2001:DB8:0:0:0:0:0:7", True),
        (b"12:34:56 nothing", False),
    ],
)
def test_rejected_lines_are_barred_by_words(desk: Desk, line: bytes, barred: bool) -> None:
    more = [selector("source_ip", "1.2.3.4"), selector("source_ip", "2001:db8::7")]
    found = stones(desk, Subject.of([*ALICE.selectors, *more]))
    assert found.bars_lines(pa.array([b"another", line], pa.binary())).tolist() == [False, barred]
