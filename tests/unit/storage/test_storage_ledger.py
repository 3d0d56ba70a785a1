"""The ledger: a chain that shows every change, and the states that follow from it."""

import datetime as dt
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import UTC, FixedClock
from core.events import GENESIS, Kind
from core.segment import Segment, SegmentState
from storage.control import Control
from storage.ledger import Ledger
from tests.unit.storage.rows import child

NOW = FixedClock(dt.datetime(2026, 1, 31, 3, tzinfo=UTC))
NAMED = {"stream": "requests", "day": "2026-01-30"}
SEGMENT = Segment("requests", dt.date(2026, 1, 30))


@dataclass
class Book:
    path: Path
    control: Control
    ledger: Ledger

    def add(self, kind: str, **body: Any) -> None:
        with self.control.write() as connection:
            self.ledger.append(connection, kind, **body)

    def tamper(self, *statements: str) -> None:
        """As someone with the file and without our code: the triggers go first."""
        connection = sqlite3.connect(self.path)
        for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger[0]}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    path = tmp_path / "control.sqlite"
    control = Control.in_file(path)
    yield Book(path, control, Ledger(control, NOW))
    control.close()


@pytest.fixture
def full(book: Book) -> Book:
    """Six events that bring a day to the archive."""
    book.add(Kind.DIRECTORY_CREATED, clock="real")
    book.add(Kind.BATCH_INGESTED, stream="requests", batch="b1", days={"2026-01-30": 5, "2026-01-29": 2})
    book.add(Kind.ROLL_STARTED, **NAMED)
    book.add(Kind.ARCHIVE_VERIFIED, **NAMED, rows=5, digest="ab")
    book.add(Kind.SEGMENT_ROLLED, **NAMED)
    book.add(Kind.JOB_FINISHED, job="roll", outcome="done")
    return book


def test_an_empty_ledger_is_sound(book: Book) -> None:
    report = book.ledger.check()
    assert (report.events, report.fault, report.states) == (0, "", {})


def test_the_chain_of_a_full_ledger_verifies_and_folds_to_the_states(full: Book) -> None:
    report = full.ledger.check()
    assert (report.events, report.fault) == (6, "")
    assert report.states == full.ledger.states()
    assert report.states[SEGMENT] == SegmentState(SEGMENT, stored=5, archived=5)
    with full.control.read() as connection:
        assert full.ledger.state(connection, SEGMENT) == report.states[SEGMENT]
        unknown = Segment("requests", dt.date(2000, 1, 1))
        assert full.ledger.state(connection, unknown) == SegmentState(unknown)


def test_the_hash_is_the_documented_one(full: Book) -> None:
    connection = sqlite3.connect(full.path)
    prev = GENESIS
    for seq, at, kind, body, before, digest in connection.execute("SELECT seq, at, kind, body, prev, hash FROM ledger ORDER BY seq"):
        entry = {"seq": seq, "at": at, "kind": kind, "body": json.loads(body), "prev": prev}
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        assert before == prev
        assert digest == hashlib.sha256(canonical).hexdigest()
        prev = digest
    connection.close()


def test_events_come_in_order_and_by_kind(full: Book) -> None:
    assert [event.seq for event in full.ledger.events()] == [1, 2, 3, 4, 5, 6]
    chosen = list(full.ledger.events(Kind.SEGMENT_ROLLED, Kind.ROLL_STARTED))
    assert [(event.seq, event.kind) for event in chosen] == [(3, Kind.ROLL_STARTED), (5, Kind.SEGMENT_ROLLED)]
    assert chosen[0].body == NAMED
    assert chosen[0].at == "2026-01-31T03:00:00Z"


FOURTH = "WHERE seq = 4"
SWAP = "UPDATE ledger SET {0} = (SELECT o.{0} FROM ledger o WHERE o.seq = 7 - ledger.seq) WHERE seq IN (3, 4)"


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        ([f"UPDATE ledger SET body = replace(body, '5', '6') {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = replace(body, ',', ', ') {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = 'not JSON' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = 'null' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = '[1]' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = '1e999' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = x'ff00' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET body = '{'[' * 5000}{']' * 5000}' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET at = '2026-01-31T03:00:01Z' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET at = x'00' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET kind = 'SegmentPurged' {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET hash = replace(hash, substr(hash, 1, 1), 'g') {FOURTH}"], "event 4 was changed"),
        ([f"UPDATE ledger SET prev = hash {FOURTH}"], "event 4 does not follow event 3"),
        (["DELETE FROM ledger WHERE seq = 4"], "event 4 is missing"),
        (["DELETE FROM ledger WHERE seq = 1"], "event 1 is missing"),
        (["DELETE FROM ledger WHERE seq = 4", "UPDATE ledger SET seq = seq - 1 WHERE seq > 4"], "event 4 does not follow event 3"),
        ([f"{SWAP.format('body')}"], "event 3 was changed"),
        (
            ["UPDATE ledger SET seq = -seq WHERE seq IN (3, 4)", "UPDATE ledger SET seq = 7 + seq WHERE seq < 0"],
            "event 3 does not follow event 2",
        ),
        (["INSERT INTO ledger SELECT 7, at, kind, body, hash, hash FROM ledger WHERE seq = 6"], "event 7 was changed"),
        (
            [
                *("UPDATE ledger SET seq = -seq WHERE seq > 3", "UPDATE ledger SET seq = 1 - seq WHERE seq < 0"),
                "INSERT INTO ledger SELECT 4, at, kind, body, hash, hash FROM ledger WHERE seq = 3",
            ],
            "event 4 was changed",
        ),
    ],
)
def test_every_change_is_found_and_placed(full: Book, statements: list[str], fault: str) -> None:
    full.tamper(*statements)
    assert full.ledger.check().fault == fault


@pytest.mark.parametrize("column", ["stored", "erased", "purged", "hot", "archived"])
def test_states_that_were_changed_are_not_what_the_events_fold_to(full: Book, column: str) -> None:
    full.tamper(f"UPDATE segments SET {column} = {column} + 1")
    report = full.ledger.check()
    assert report.fault == ""
    assert report.states != full.ledger.states()


def test_a_transaction_that_fails_leaves_neither_event_nor_state(full: Book) -> None:
    before = full.ledger.states()

    def fail() -> None:
        with full.control.write() as connection:
            full.ledger.append(connection, Kind.BATCH_INGESTED, stream="requests", batch="b2", days={"2026-01-30": 9})
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert [event.seq for event in full.ledger.events()] == [1, 2, 3, 4, 5, 6]
    assert full.ledger.states() == before
    full.add(Kind.JOB_FINISHED, job="purge", outcome="done")
    assert (full.ledger.check().events, full.ledger.check().fault) == (7, "")


APPEND = """
from pathlib import Path
from core.clock import WallClock
from storage.control import Control
from storage.ledger import Ledger
control = Control.in_file(Path({path!r}))
ledger = Ledger(control, WallClock())
for number in range(15):
    with control.write() as connection:
        ledger.append(connection, "BatchIngested", stream="requests", days={{"2026-01-30": number}})
"""


def test_two_processes_append_one_chain(book: Book) -> None:
    writers = [child(APPEND.format(path=str(book.path))) for _ in range(2)]
    for writer in writers:
        writer.communicate()
    report = book.ledger.check()
    assert (report.events, report.fault) == (30, "")
    assert report.states == book.ledger.states() == {SEGMENT: SegmentState(SEGMENT, stored=210, hot=210)}


bodies: dict[str, Callable[[int], dict[str, Any]]] = {
    Kind.BATCH_INGESTED: lambda n: {"stream": "requests", "days": {"2026-01-30": n, f"2026-02-{n + 1:02d}": 1}},
    Kind.LINES_QUARANTINED: lambda n: {**NAMED, "rows": n},
    Kind.LINES_RETRIED: lambda n: {**NAMED, "rows": n},
    Kind.ROLL_STARTED: lambda _: NAMED,
    Kind.ARCHIVE_VERIFIED: lambda n: {**NAMED, "rows": n},
    Kind.SEGMENT_ROLLED: lambda _: NAMED,
    Kind.PURGE_STARTED: lambda _: NAMED,
    Kind.SEGMENT_PURGED: lambda _: NAMED,
    Kind.JOB_FINISHED: lambda n: {"job": "é\N{SNOWMAN}\0\u2028", "figures": [n, None, True, 0.5, -n]},
}
histories = st.lists(st.tuples(st.sampled_from(sorted(bodies)), st.integers(0, 20)), max_size=15)


@settings(max_examples=30)
@given(histories)
def test_the_states_always_equal_the_fold(tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]) -> None:
    control = Control.in_file(tmp_path_factory.mktemp("ledger") / "control.sqlite")
    ledger = Ledger(control, NOW)
    with control.write() as connection:
        for kind, number in history:
            ledger.append(connection, kind, **bodies[kind](number))
    report = ledger.check()
    assert (report.events, report.fault) == (len(history), "")
    assert report.states == ledger.states()
    assert [(event.kind, event.body) for event in ledger.events()] == [(kind, bodies[kind](number)) for kind, number in history]
    control.close()
