"""A day of a server, shrunk: 24 hours of lines that come over HTTP and in a followed file, each once, in memory that stays flat."""

import datetime as dt
import time
from pathlib import Path

from core.clock import WallClock
from tests.server import Served, serve
from tests.simulation.support import log_line

HOURS = 24
BODIES, LINES, WRITTEN = 2, 400, 400
"""Bodies of an hour, lines of a body, and lines that are written to the file in an hour."""


def memory(served: Served) -> int:
    """Resident bytes of the server, its workers not counted."""
    for line in Path(f"/proc/{served.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the server has ended")


def hour_of_lines(first: int, count: int, begins: dt.datetime) -> str:
    return "".join(log_line(first + number, begins + dt.timedelta(seconds=number * 3600 / count)) for number in range(count))


def test_a_day_is_stored_each_line_once_in_memory_that_stays_flat(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    config = f'[[sources]]\nname = "files"\nkind = "follow"\npaths = ["{tmp_path}/access.log*"]\nformat = "combined"\nevery = 1\n'
    dawn = WallClock().now() - dt.timedelta(hours=HOURS + 1)
    taken: list[int] = []
    sent = 0
    with serve(tmp_path / "data", config) as served:
        token = served.user("shipper", "ingest")
        for hour in range(HOURS):
            begins = dawn + dt.timedelta(hours=hour)
            with log.open("a") as stream:
                stream.write(hour_of_lines(sent, WRITTEN, begins))
            sent += WRITTEN
            for _ in range(BODIES):
                answer = served.send(token, hour_of_lines(sent, LINES, begins), format="combined")
                assert answer.json["stored"] == LINES
                sent += LINES
            if hour % 6 == 5:
                log.rename(tmp_path / f"access.log.{hour}")
            taken.append(memory(served))
        for _ in range(200):
            counted = served.rows("SELECT count(*) AS n, count(DISTINCT url_path) AS paths FROM requests")
            if counted[0]["n"] >= sent:
                break
            time.sleep(0.1)
        assert counted == [{"n": sent, "paths": sent}]
        assert served.call("verify")["ok"]
    assert taken[-1] < 1.25 * taken[HOURS // 3], [size >> 20 for size in taken]
