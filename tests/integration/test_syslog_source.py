"""A syslog source when the spool has no room, and when it cannot be written."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditlake import syslog_source
from auditlake.lake import Lake, create, open_lake
from auditlake.serve_settings import SourceSettings
from auditlake.settings import Settings
from auditlake.syslog_source import SyslogCounts, SyslogSource, format_of
from core.errors import AuditlakeError, UsageError
from storage.spool import Receipt

MESSAGE = b"<190>1 - - - - - - " + b"x" * 81  # a hundred bytes


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    settings = Settings.model_validate({"serve": {"spool": "1KB"}})
    create(tmp_path / "data", settings, None)
    with open_lake(tmp_path / "data", settings) as opened:
        yield opened


@contextlib.contextmanager
def listening(lake: Lake, form: str = "auto") -> Iterator[SyslogSource]:
    source = SyslogSource(lake, SourceSettings(name="relay", kind="syslog", listen="127.0.0.1:0", format=form))
    source.start()
    try:
        yield source
    finally:
        source.close()


def until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come to that")


def waiting(lake: Lake) -> list[Receipt]:
    with lake.context.control.read() as connection:
        return lake.context.spool.waiting(connection, 1000)


def messages(lake: Lake) -> int:
    with lake.context.control.read() as connection:
        return sum(lake.context.spool.load(connection, receipt).count(b"\n") for receipt in waiting(lake))


def test_what_is_gathered_is_a_body_in_the_spool(lake: Lake) -> None:
    with listening(lake, "combined") as source:
        with socket.create_connection(("127.0.0.1", source.port)) as connection:
            connection.sendall(b"%d %s" % (len(MESSAGE), MESSAGE) * 3)
        until(lambda: len(waiting(lake)) == 1)
    (receipt,) = waiting(lake)
    assert (receipt.sender, receipt.format, receipt.source, receipt.stream) == ("relay", "syslog+combined", "syslog:relay", "requests")
    assert messages(lake) == 3
    assert source.counts == SyslogCounts()


def test_a_full_spool(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog_source, "HELD_BYTES", 1000)
    monkeypatch.setattr(syslog_source, "BATCH_BYTES", 500)
    full = lake.context.data_dir / "spool" / ("0" * 32)
    full.parent.mkdir(exist_ok=True)
    full.write_bytes(b"x" * 2000)
    with listening(lake) as source:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect(("127.0.0.1", source.port))
            datagrams.send(MESSAGE)
            until(lambda: "all the room" in source.problem)  # its body waits
            for _ in range(30):
                datagrams.send(MESSAGE)
            until(lambda: source.counts.dropped == 20)
        with socket.create_connection(("127.0.0.1", source.port)) as connection:
            assert connection.recv(1) == b""
        assert source.counts.turned_away == 1
        assert waiting(lake) == []
        full.unlink()
        until(lambda: messages(lake) == 11)
    assert (source.problem, messages(lake)) == ("", 11)


def test_a_stop_stores_what_waits_for_room(lake: Lake) -> None:
    full = lake.context.data_dir / "spool" / ("0" * 32)
    full.parent.mkdir(exist_ok=True)
    full.write_bytes(b"x" * 2000)
    with listening(lake) as source:
        with socket.create_connection(("127.0.0.1", source.port)) as connection:
            connection.sendall(MESSAGE + b"\n" + MESSAGE)
        until(lambda: "all the room" in source.problem)
    assert messages(lake) == 2


def test_messages_that_cannot_be_stored_at_a_stop_are_told(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AuditlakeError("the disk is full", "make room")

    monkeypatch.setattr(syslog_source, "accept", refuse)
    with listening(lake) as source, socket.create_connection(("127.0.0.1", source.port)) as connection:
        connection.sendall(MESSAGE + b"\n" + MESSAGE + b"\n")
        until(lambda: "the disk is full" in source.problem)
    assert "source relay: 2 messages are lost: the disk is full" in capsys.readouterr().err


def test_a_format_that_is_none(lake: Lake) -> None:
    with pytest.raises(UsageError, match="'nope' is not a format"), listening(lake, "nope"):
        pass


@pytest.mark.parametrize(("named", "read"), [("auto", "auto"), ("combined", "syslog+combined"), ("docker+common", "docker+common")])
def test_formats(named: str, read: str) -> None:
    assert format_of(named) == read
