"""Keys: wrapped, bound to their segment, and gone when destroyed."""

import base64
import datetime as dt
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import AuditlakeError, UsageError
from core.segment import Segment
from storage.control import Control
from storage.keys import KeyRing, load_master_key

MASTER = bytes(range(32))
TEXT = base64.b64encode(MASTER).decode()
SEGMENT = Segment("requests", dt.date(2026, 1, 30))
OTHER = Segment("requests", dt.date(2026, 1, 31))


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control.in_file(tmp_path / "control.sqlite")
    yield control
    control.close()


def wrapped(tmp_path: Path, segment: Segment = SEGMENT) -> bytes:
    connection = sqlite3.connect(tmp_path / "control.sqlite")
    ((value,),) = connection.execute("SELECT wrapped FROM keys WHERE stream = ? AND day = ?", (segment.stream, segment.day.isoformat()))
    connection.close()
    assert isinstance(value, bytes)
    return value


def control_bytes(tmp_path: Path) -> bytes:
    return (tmp_path / "control.sqlite").read_bytes() + (tmp_path / "control.sqlite-wal").read_bytes()


def test_a_key_is_made_once_and_kept(control: Control) -> None:
    ring = KeyRing(MASTER)
    with control.write() as connection:
        assert ring.get(connection, SEGMENT) is None
        key = ring.create(connection, SEGMENT)
        assert ring.create(connection, SEGMENT) == key
        assert ring.create(connection, OTHER) != key
    with control.read() as connection:
        assert ring.get(connection, SEGMENT) == KeyRing(MASTER).get(connection, SEGMENT) == key
        assert ring.segments(connection) == {SEGMENT, OTHER}
    assert len(bytes.fromhex(key)) == 32


def test_the_key_is_stored_wrapped_only(control: Control, tmp_path: Path) -> None:
    with control.write() as connection:
        key = KeyRing(MASTER).create(connection, SEGMENT)
    stored = control_bytes(tmp_path)
    assert wrapped(tmp_path) in stored
    assert bytes.fromhex(key) not in stored
    assert key.encode() not in stored
    assert MASTER not in stored
    assert len(wrapped(tmp_path)) == 12 + 32 + 16


def test_another_master_key_opens_nothing(control: Control) -> None:
    with control.write() as connection:
        KeyRing(MASTER).create(connection, SEGMENT)
        with pytest.raises(AuditlakeError, match="the master key does not open the key of requests/2026-01-30; give the master key"):
            KeyRing(bytes(32)).get(connection, SEGMENT)


def test_a_wrapped_key_opens_no_other_segment(control: Control) -> None:
    ring = KeyRing(MASTER)
    with control.write() as connection:
        ring.create(connection, SEGMENT)
        connection.exec_driver_sql("UPDATE keys SET day = '2026-01-31'")
        with pytest.raises(AuditlakeError, match="does not open the key of requests/2026-01-31"):
            ring.get(connection, OTHER)


@pytest.mark.parametrize("damage", ["x''", "x'00'", "substr(wrapped, 1, 40)", "zeroblob(60)"])
def test_a_damaged_key_is_an_error_in_one_line(control: Control, damage: str) -> None:
    ring = KeyRing(MASTER)
    with control.write() as connection:
        ring.create(connection, SEGMENT)
        connection.exec_driver_sql(f"UPDATE keys SET wrapped = {damage}")
        with pytest.raises(AuditlakeError, match="does not open the key"):
            ring.get(connection, SEGMENT)


def test_a_destroyed_key_is_gone_from_the_files(control: Control, tmp_path: Path) -> None:
    ring = KeyRing(MASTER)
    with control.write() as connection:
        for day in range(1, 29):
            ring.create(connection, Segment("requests", dt.date(2026, 2, day)))
        ring.create(connection, SEGMENT)
    lost, kept = wrapped(tmp_path), wrapped(tmp_path, Segment("requests", dt.date(2026, 2, 14)))
    control.forget_deleted()
    assert lost in control_bytes(tmp_path)
    with control.write() as connection:
        ring.destroy(connection, SEGMENT)
    with control.read() as connection:
        assert ring.get(connection, SEGMENT) is None
    assert control.forget_deleted()
    assert kept in control_bytes(tmp_path)
    for part in (lost, lost[:12], lost[12:28]):
        assert part not in control_bytes(tmp_path)


def test_destroying_a_key_that_is_not_there_changes_nothing(control: Control) -> None:
    ring = KeyRing(MASTER)
    with control.write() as connection:
        key = ring.create(connection, OTHER)
        ring.destroy(connection, SEGMENT)
        assert ring.get(connection, OTHER) == key


def test_the_master_key_is_generated_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    key = load_master_key(None, path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_master_key(None, path) == key
    assert [entry.name for entry in path.parent.iterdir()] == ["master.key"]


def test_a_draft_that_a_crash_left_is_not_taken_for_the_key(tmp_path: Path) -> None:
    (tmp_path / "master.new").write_text("half")
    (tmp_path / "master.new").chmod(0o644)
    key = load_master_key(None, tmp_path / "master.key")
    assert len(key) == 32
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o610])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_text(TEXT)
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"master key file {path} may be read by others \(mode {mode:o}\); run: chmod 600 {path}"):
        load_master_key(None, path)


def test_the_text_of_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    assert load_master_key(f" {TEXT}\n", path) == MASTER
    assert not path.exists()


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(TEXT + "\n")
    path.chmod(0o600)
    assert load_master_key(None, path) == MASTER
    assert load_master_key("", path) == MASTER


BAD = [
    "not base64!",
    base64.b64encode(bytes(31)).decode(),
    base64.b64encode(bytes(33)).decode(),
    TEXT[:-1],
    TEXT.replace("A", "-", 1),
    "é" * 44,
]


@pytest.mark.parametrize("text", BAD)
def test_text_that_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="AUDITLAKE_MASTER_KEY is not base64 of 32 bytes; make one with: openssl") as refused:
        load_master_key(text, tmp_path / "master.key")
    assert text not in str(refused.value)


@pytest.mark.parametrize("content", ["", "\0" * 44, *BAD])
def test_a_file_that_holds_no_key_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=f"{path} is not base64 of 32 bytes"):
        load_master_key(None, path)


def test_a_path_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"master key file .*; check its path"):
        load_master_key(None, tmp_path / "file" / "master.key")
