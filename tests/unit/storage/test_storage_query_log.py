"""The query log: what was asked is sealed, that it was asked is in the chain."""

import datetime as dt
import hashlib
import json
import sqlite3

import pytest

from core.policy import Period
from core.roles import role
from storage.people import OWNER_USER, User
from storage.query_log import Asked
from tests.unit.storage.conftest import Desk

ANN = User(7, "ann-the-analyst", role("analyst"))
SQL = "SELECT count(*) FROM requests WHERE source_ip = '192.0.2.77'"
ASKED = Asked(ANN, SQL, "case 4711")


def test_what_was_asked_is_read_back(desk: Desk) -> None:
    desk.log.answered(ASKED, 3, 0.25)
    desk.log.refused(Asked(OWNER_USER, "DROP VIEW requests"), "DROP is not allowed")
    desk.log.failed(ASKED, 20, 1.5, "the query ran longer than 1 seconds")
    first, second, third = desk.log.entries()
    assert (first.seq, first.at, first.user, first.role) == (1, "2026-01-31T12:00:00Z", 7, "analyst")
    assert (first.outcome, first.rows, first.seconds) == ("answered", 3, 0.25)
    assert (first.name, first.purpose, first.statement, first.reason, first.sound) == ("ann-the-analyst", "case 4711", SQL, "", True)
    assert (second.outcome, second.user, second.name, second.rows, second.reason) == ("refused", 0, "owner", 0, "DROP is not allowed")
    assert (third.outcome, third.rows, third.seconds) == ("failed", 20, 1.5)


def test_the_chain_holds_numbers_and_a_digest_and_the_files_no_word(desk: Desk) -> None:
    desk.log.answered(ASKED, 3, 0.25)
    (body,) = desk.bodies("QueryAnswered")
    digest = body.pop("digest")
    assert body == {"user": 7, "role": "analyst", "rows": 3, "ms": 250}
    assert isinstance(digest, str)
    assert len(digest) == 64
    assert digest != hashlib.sha256(SQL.encode()).hexdigest()
    held = desk.bytes()
    assert not any(word in held for word in (b"192.0.2.77", b"ann-the", b"4711", SQL.encode()))
    assert not desk.ledger.check().fault


def test_the_same_question_has_another_digest_each_time(desk: Desk) -> None:
    for _ in range(2):
        desk.log.answered(ASKED, 3, 0.25)
    first, second = desk.bodies("QueryAnswered")
    assert first["digest"] != second["digest"]


def test_a_text_that_was_changed_or_moved_is_not_sound(desk: Desk) -> None:
    for _ in range(3):
        desk.log.answered(ASKED, 3, 0.25)
    connection = sqlite3.connect(desk.path)
    connection.execute("UPDATE query_texts SET sealed = (SELECT sealed FROM query_texts WHERE seq = 2) WHERE seq = 1")
    connection.execute("UPDATE query_texts SET sealed = x'00' WHERE seq = 3")
    connection.commit()
    connection.close()
    assert [(entry.sound, entry.statement) for entry in desk.log.entries()] == [(False, None), (True, SQL), (False, None)]


def test_texts_go_when_their_day_reaches_the_limit_and_the_chain_stays(desk: Desk) -> None:
    desk.log.answered(ASKED, 3, 0.25)
    desk.clock.instant += dt.timedelta(days=1)
    desk.log.answered(ASKED, 4, 0.25)
    desk.clock.instant = dt.datetime(2026, 2, 28, tzinfo=dt.UTC) - dt.timedelta(microseconds=1)
    assert desk.log.purge(Period(months=1)) == 0
    desk.clock.instant += dt.timedelta(microseconds=1)
    assert desk.log.purge(Period(months=1)) == 1
    first, second = desk.log.entries()
    assert (first.rows, first.outcome, first.statement, first.name, first.sound) == (3, "answered", None, None, None)
    assert second.statement == SQL
    assert desk.bodies("QueryTextsDestroyed") == [{"through": "2026-01-31", "days": 1, "texts": 1}]
    assert desk.log.purge(Period(months=1)) == 0
    assert not desk.ledger.check().fault


def test_a_copy_of_the_texts_is_worth_nothing_without_the_days_key(desk: Desk) -> None:
    desk.log.answered(ASKED, 3, 0.25)
    with sqlite3.connect(desk.path) as connection:
        (copied,) = connection.execute("SELECT seq, day, sealed FROM query_texts").fetchall()
    connection.close()
    desk.clock.instant += dt.timedelta(days=40)
    assert desk.log.purge(Period(months=1)) == 1
    assert desk.control.forget_deleted()
    assert copied[2] not in desk.bytes()
    with sqlite3.connect(desk.path) as connection:
        connection.execute("INSERT INTO query_texts VALUES (?, ?, ?)", copied)
    connection.close()
    (entry,) = desk.log.entries()
    assert (entry.statement, entry.sound) == (None, None)


@pytest.mark.parametrize("text", ["", "SELECT '\ud800'", "\0", "x" * 100_001, 'say "é" \u2028 \\'])
def test_any_text_can_be_logged(desk: Desk, text: str) -> None:
    desk.log.refused(Asked(ANN, text), "no")
    (entry,) = desk.log.entries()
    assert entry.sound
    assert entry.statement == text.replace("\ud800", "\\ud800")
    assert json.dumps(desk.bodies("QueryRefused")).isascii()
