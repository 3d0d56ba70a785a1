"""The server killed at random moments while three sources feed it and analysts ask: every acknowledged line is there once.

20 times, or as many as ``KILLS`` says (``make soak``).
"""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from core.clock import WallClock
from tests.server import Served, free_port, serve
from tests.simulation.support import log_line

KILLS = int(os.environ.get("KILLS", "20"))
QUESTIONS = (
    "SELECT count(*) AS n, count(DISTINCT url_path) AS paths FROM requests",
    "SELECT source_geo_country_iso_code, count(*) AS n FROM requests GROUP BY 1",
)


@dataclass
class World:
    """What was sent, by whom, and what of it was acknowledged."""

    log: Path
    syslog: int
    acknowledged: set[int] = field(default_factory=set)
    pushed: dict[int, str] = field(default_factory=dict)
    written: int = 0
    syslog_sent: int = 0
    wrong: list[str] = field(default_factory=list)
    number: int = 0

    def lines(self, count: int, kind: str) -> tuple[int, str]:
        """The next lines, of that kind; the number of the first."""
        first, self.number = self.number, self.number + count
        now = WallClock().now()
        return first, "".join(log_line(line, now).replace("/e/", f"/{kind}/") for line in range(first, first + count))


def push(world: World, served: Served, token: str, stop: threading.Event) -> None:
    """Send bodies; one that is not acknowledged is sent again, also by the next round."""
    while not stop.is_set():
        missing = [first for first in world.pushed if first not in world.acknowledged]
        if not missing:
            first, body = world.lines(20, "http")
            world.pushed[first] = body
            missing = [first]
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if served.send(token, world.pushed[missing[0]], format="combined").status in (200, 202):
                world.acknowledged.add(missing[0])


def write(world: World, stop: threading.Event) -> None:
    """Write a log, a line and a piece at a time, and rotate it now and then."""
    while not stop.wait(0.02):
        _, text = world.lines(5, "file")
        with world.log.open("a") as stream:
            stream.write(text[: len(text) // 2])
            stream.flush()
            stream.write(text[len(text) // 2 :])
        world.written += 5
        if world.written % 400 == 0:
            world.log.rename(world.log.with_name(f"access.log.{world.written}"))


def tell(world: World, stop: threading.Event) -> None:
    """Send syslog; it has no acknowledgement, so no line of it is expected, and none may be there twice."""
    while not stop.wait(0.05):
        _, text = world.lines(1, "syslog")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", world.syslog), timeout=2) as connection:
            connection.sendall(b"<134>1 " + WallClock().now().isoformat().encode() + b" web nginx 7 - - " + text.encode())
            world.syslog_sent += 1


def ask(world: World, served: Served, token: str, stop: threading.Event) -> None:
    """Ask; no answer may count a line twice."""
    while not stop.is_set():
        for sql in QUESTIONS:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                answer = served.ask("POST", "/v1/query", json.dumps({"sql": sql, "purpose": "watching"}).encode(), token)
                found = json.loads(answer.body) if answer.status == 200 else []  # a query that dies with the server is an error
                world.wrong += [str(row) for row in found if row.get("paths", row["n"]) != row["n"]]


def test_killed_at_random_moments_every_acknowledged_line_is_there_once(tmp_path: Path) -> None:
    world, chance = World(tmp_path / "access.log", free_port()), random.Random(7)
    config = f"""
        [[sources]]
        name = "files"
        kind = "follow"
        paths = ["{tmp_path}/access.log*"]
        format = "combined"

        [[sources]]
        name = "told"
        kind = "syslog"
        listen = "127.0.0.1:{world.syslog}"
    """
    tokens: dict[str, str] = {}
    stop_writing = threading.Event()
    writer = threading.Thread(target=write, args=(world, stop_writing))
    writer.start()
    try:
        for _ in range(KILLS):
            with serve(tmp_path / "data", config) as served:
                tokens = tokens or {role: served.user(f"the-{role}", role) for role in ("ingest", "investigator")}
                stop = threading.Event()
                threads = [
                    threading.Thread(target=push, args=(world, served, tokens["ingest"], stop)),
                    threading.Thread(target=tell, args=(world, stop)),
                    threading.Thread(target=ask, args=(world, served, tokens["investigator"], stop)),
                ]
                for thread in threads:
                    thread.start()
                time.sleep(chance.uniform(0.0, 2.0))
                served.process.send_signal(signal.SIGKILL)
                stop.set()
                for thread in threads:
                    thread.join()
    finally:
        stop_writing.set()
        writer.join()
    with serve(tmp_path / "data", config) as served:
        for first, body in world.pushed.items():
            answer = served.send(tokens["ingest"], body, format="combined")
            assert answer.json["repeated"] == 20 if first in world.acknowledged else answer.json["read"] == 20
        for _ in range(300):
            if served.rows("SELECT count(*) AS n FROM requests WHERE url_path LIKE '/file/%'")[0]["n"] >= world.written:
                break
            time.sleep(0.1)
        counts = Counter({row["url_path"]: row["n"] for row in served.rows("SELECT url_path, count(*) AS n FROM requests GROUP BY 1")})
        assert served.call("verify")["ok"]
    assert world.wrong == []
    assert max(counts.values()) == 1
    assert len([path for path in counts if path.startswith("/http/")]) == 20 * len(world.pushed)
    assert len([path for path in counts if path.startswith("/file/")]) == world.written
    assert len([path for path in counts if path.startswith("/syslog/")]) <= world.syslog_sent + 1
    assert len(world.acknowledged) >= min(KILLS, 5)
