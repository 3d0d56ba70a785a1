"""Syslog over TCP and UDP into a server: every message stored once, equal batches too, and rsyslog and syslog-ng for real."""

import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import UTC, WallClock
from tests.server import Served, free_port, serve
from tests.simulation.support import log_line

SHIPPERS = Path(__file__).parents[2] / "deploy" / "shippers"
PROGRAMS = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
RSYSLOGD, SYSLOG_NG = shutil.which("rsyslogd", path=PROGRAMS), shutil.which("syslog-ng", path=PROGRAMS)


def config(port: int, form: str = "auto") -> str:
    return f'[[sources]]\nname = "relay"\nkind = "syslog"\nlisten = "127.0.0.1:{port}"\nformat = "{form}"\n'


def line(number: int) -> str:
    return log_line(number, WallClock().now() - dt.timedelta(minutes=1)).rstrip("\n")


def new(number: int) -> bytes:
    """As RFC 5424 writes it."""
    now = WallClock().now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"<190>1 {now} web1 nginx 812 - - {line(number)}".encode()


def old(number: int) -> bytes:
    """As RFC 3164 writes it."""
    return f"<190>Oct 10 13:55:36 web2 nginx[812]: {line(number)}".encode()


def counted(*messages: bytes) -> bytes:
    return b"".join(b"%d %s" % (len(message), message) for message in messages)


def paths(served: Served) -> list[tuple[int, str]]:
    rows = served.rows("SELECT url_path AS path, labels ->> '$.\"syslog.host\"' AS host FROM requests ORDER BY url_path")
    return [(int(row["path"].removeprefix("/e/")), row["host"]) for row in rows]


def wait_for(served: Served, count: int) -> None:
    """Until so many lines are stored, as the metrics say."""
    for _ in range(300):
        text = served.ask("GET", "/metrics").body.decode()
        found = re.findall(r'^auditlake_lines_total\{[^}]*result="stored"[^}]*\} ([0-9.e+]+)$', text, re.MULTILINE)
        if sum(map(float, found)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{count} lines are not stored: {served.messages}")


def test_tcp_and_udp_in_every_framing(tmp_path: Path) -> None:
    port = free_port()
    with serve(tmp_path / "data", config(port)) as served:
        assert f"syslog on 127.0.0.1:{port}" in served.ready
        with socket.create_connection(("127.0.0.1", port)) as one, socket.create_connection(("127.0.0.1", port)) as two:
            data = counted(*(new(number) for number in range(1000, 1040)))
            one.sendall(data[:1500])
            two.sendall(b"".join(old(number) + b"\n" for number in range(1040, 1060)) + old(1060))
            one.sendall(data[1500:])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for number in range(1061, 1065):
                datagrams.sendto(new(number), ("127.0.0.1", port))
        wait_for(served, 65)
        figures = served.ask("GET", "/metrics").body.decode()
        assert 'auditlake_syslog_lost_total{cause="cut",source="relay"} 0.0' in figures
        assert 'auditlake_syslog_lost_total{cause="broken",source="relay"} 0.0' in figures
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"9 <1>cut")
        broken = 'auditlake_syslog_lost_total{cause="broken",source="relay"} 1.0'
        deadline = time.monotonic() + 30
        while broken not in served.ask("GET", "/metrics").body.decode():
            assert time.monotonic() < deadline, "what was cut off is counted"
            time.sleep(0.05)
        assert paths(served) == [(number, "web2" if 1040 <= number <= 1060 else "web1") for number in range(1000, 1065)]


def test_equal_messages_are_as_many_as_were_sent_and_a_stop_stores_what_was_gathered(tmp_path: Path) -> None:
    port, message = free_port(), new(1000)
    with serve(tmp_path / "data", config(port, "combined")) as served:
        for already in (0, 1):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(counted(message))
            wait_for(served, already + 1)
        connection = socket.create_connection(("127.0.0.1", port))
        with connection:
            connection.sendall(counted(message) + b"9 <1>cut")
            time.sleep(0.2)
            assert served.stop() == 0
        assert any("1 cut off by the end of their connection" in said for said in served.messages)
    with serve(tmp_path / "data", config(port)) as served:
        assert served.send(served.user("shipper", "ingest"), line(2000)).json["stored"] == 1
        assert [number for number, _ in paths(served)] == [1000, 1000, 1000, 2000]


def test_a_place_that_is_taken_ends_the_server(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(AssertionError, match="source relay cannot listen on"),
        serve(tmp_path / "data", config(taken.getsockname()[1])),
    ):
        pass


# ------------------------------------------------------------------------------------------------------ real shippers


@contextlib.contextmanager
def daemon(*command: str, **environment: str) -> Iterator[None]:
    """A shipper in the foreground, as long as the block lasts."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield
        assert process.poll() is None, process.communicate()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def written(log: Path, first: int, last: int) -> None:
    with log.open("a") as stream:
        stream.writelines(line(number) + "\n" for number in range(first, last))


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed")
def test_rsyslog_with_its_example(tmp_path: Path) -> None:
    port, log, state = free_port(), tmp_path / "access.log", tmp_path / "state"
    state.mkdir()
    written(log, 1000, 1100)
    place = {"AUDITLAKE_HOST": "127.0.0.1", "AUDITLAKE_SYSLOG_PORT": str(port), "ACCESS_LOG": str(log), "RSYSLOG_STATE": str(state)}
    command = (RSYSLOGD or "", "-n", "-f", str(SHIPPERS / "rsyslog.conf"), "-i", str(tmp_path / "pid"))
    with serve(tmp_path / "data", config(port)) as served, daemon(*command, **place):
        wait_for(served, 100)
        written(log, 1100, 1120)
        wait_for(served, 120)
        assert [number for number, _ in paths(served)] == list(range(1000, 1120))


@pytest.mark.skipif(SYSLOG_NG is None, reason="syslog-ng is not installed")
@pytest.mark.parametrize("destination", ["d_http", "d_syslog"])
def test_syslog_ng_with_its_example(tmp_path: Path, destination: str) -> None:
    port, log, state = free_port(), tmp_path / "access.log", tmp_path / "state"
    state.mkdir()
    written(log, 1000, 1100)
    example = (SHIPPERS / "syslog-ng.conf").read_text().partition("log { source")[0]
    (tmp_path / "syslog-ng.conf").write_text(f"{example}log {{ source(s_access); destination({destination}); }};\n")
    files = [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
    with serve(tmp_path / "data", config(port)) as served:
        place = {
            "AUDITLAKE_HOST": "127.0.0.1",
            "AUDITLAKE_SYSLOG_PORT": str(port),
            "AUDITLAKE_URL": f"http://127.0.0.1:{served.port}",
            "AUDITLAKE_TOKEN": served.user("relay", "ingest"),
            "ACCESS_LOG": str(log),
            "SYSLOG_NG_STATE": str(state),
        }
        with daemon(SYSLOG_NG or "", "-F", "--no-caps", f"--cfgfile={tmp_path / 'syslog-ng.conf'}", *files, **place):
            wait_for(served, 100)
            written(log, 1100, 1120)
            wait_for(served, 120)
            assert [number for number, _ in paths(served)] == list(range(1000, 1120))
