"""The control database: honest transactions, durable and forgetful."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core.errors import AuditlakeError, UsageError
from storage.control import Control
from tests.unit.storage.rows import child

MARKER = "marker-7f3a9c"


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("control.sqlite*")) if not path.name.endswith("-shm"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sqlite"


def test_what_is_set_is_read_and_replaced(path: Path) -> None:
    control = Control.in_file(path)
    with control.write() as connection:
        assert control.get_meta(connection, "clock") is None
        control.set_meta(connection, "clock", "real")
        control.set_meta(connection, "clock", "simulated")
    control.close()
    reopened = Control.in_file(path)
    with reopened.read() as connection:
        assert reopened.get_meta(connection, "clock") == "simulated"
    reopened.close()


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    control = Control.in_file(path)

    def fail() -> None:
        with control.write() as connection:
            control.set_meta(connection, "clock", "real")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    with control.read() as connection:
        assert control.get_meta(connection, "clock") is None
    control.close()


def test_every_connection_is_durable_and_deletes_securely(path: Path) -> None:
    control = Control.in_file(path)
    with control.write() as one, control.read() as other:
        for connection in (one, other):
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "secure_delete")
            }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
    control.close()


INCREMENT = """
from pathlib import Path
from storage.control import Control
control = Control.in_file(Path({path!r}))
for _ in range(20):
    with control.write() as connection:
        control.set_meta(connection, "count", str(int(control.get_meta(connection, "count") or 0) + 1))
"""


def test_writers_of_two_processes_queue_and_lose_no_update(path: Path) -> None:
    Control.in_file(path).close()
    writers = [child(INCREMENT.format(path=str(path))) for _ in range(2)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    control = Control.in_file(path)
    with control.read() as connection:
        assert control.get_meta(connection, "count") == "40"
    control.close()


def test_a_second_writer_waits_for_the_first_and_sees_what_it_wrote(path: Path) -> None:
    control = Control.in_file(path)

    def second() -> str | None:
        with control.write() as connection:
            return control.get_meta(connection, "turn")

    with ThreadPoolExecutor(1) as pool:
        with control.write() as connection:
            waiting = pool.submit(second)
            control.set_meta(connection, "turn", "first")
            assert not waiting.done()
        assert waiting.result() == "first"
    control.close()


def test_a_reader_sees_one_moment_though_a_writer_commits(path: Path) -> None:
    control = Control.in_file(path)
    with control.read() as reader:
        assert control.get_meta(reader, "clock") is None
        with control.write() as writer:
            control.set_meta(writer, "clock", "real")
        assert control.get_meta(reader, "clock") is None
    with control.read() as reader:
        assert control.get_meta(reader, "clock") == "real"
    control.close()


def test_what_was_deleted_leaves_the_files(path: Path) -> None:
    control = Control.in_file(path)
    with control.write() as connection:
        for number in range(50):
            control.set_meta(connection, f"key{number}", f"{MARKER}-{number}-" + "x" * 200)
    assert MARKER.encode() in stored_bytes(path.parent)
    control.forget_deleted()
    assert MARKER.encode() in path.read_bytes()
    with control.write() as connection:
        connection.execute(sa.text("DELETE FROM meta"))
    assert control.forget_deleted()
    assert MARKER.encode() not in stored_bytes(path.parent)
    control.close()


def test_a_log_that_a_reader_needs_is_not_emptied_and_says_so(path: Path) -> None:
    control = Control.in_file(path)

    @sa.event.listens_for(control.engine, "connect")
    def impatient(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=0").close()

    control.close()
    with control.read() as reader:
        assert control.get_meta(reader, "clock") is None
        with control.write() as writer:
            control.set_meta(writer, "clock", MARKER)
        assert not control.forget_deleted()
    assert control.forget_deleted()
    control.close()


def test_a_file_that_is_no_database_is_refused_in_one_line(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(AuditlakeError, match=r"cannot be opened: file is not a database; check its path") as refused:
        Control.in_file(path)
    assert str(path) in str(refused.value)


def test_a_folder_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditlakeError, match="unable to open database file"):
        Control.in_file(tmp_path / "absent" / "control.sqlite")


@pytest.mark.parametrize("name", ["what?", "a#b", "per%20cent"])
def test_a_path_that_a_url_would_change_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"holds one of \? # %"):
        Control.in_file(tmp_path / name / "control.sqlite")
    assert list((tmp_path / name).iterdir()) == []
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["", "nonsense", "unknown://host/name"])
def test_what_is_no_url_of_a_database_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match=r"control database: .*; write sqlite:"):
        Control(url)


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger SET at = 'x'", "DELETE FROM ledger", "INSERT OR REPLACE INTO ledger SELECT * FROM ledger"]
)
def test_the_ledgers_rows_can_only_be_added(path: Path, statement: str) -> None:
    Control.in_file(path).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO ledger VALUES (1, 'now', 'Kind', '{}', 'p', 'h')")
    with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
        connection.execute(statement)
    assert connection.execute("SELECT seq, at FROM ledger").fetchall() == [(1, "now")]
    connection.close()
