"""What one server holds: lines a second over HTTP, alone and while analysts ask, and how long each of them waits.

Lines are sent in bodies by a few senders at once, for a while; then the same with analysts who ask one question after the other, over all
that is stored. The senders' and askers' own work is on the same machine. What a figure is of is said beside it.

    python -m bench.serve --seconds 20 --analysts 8
"""

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import table

__all__ = ["Load", "main", "run_load"]

QUESTIONS = (
    "SELECT source_geo_country_iso_code, count(*) AS n FROM requests GROUP BY 1 ORDER BY n DESC LIMIT 20",
    "SELECT http_response_status_code, count(*) AS n FROM requests GROUP BY 1",
    "SELECT source_ip, count(*) AS n FROM requests GROUP BY 1 ORDER BY n DESC LIMIT 20",
    "SELECT url_path, count(*) AS n FROM requests WHERE http_response_status_code >= 400 GROUP BY 1 ORDER BY n DESC LIMIT 20",
)
MUST = 0.8
SENDERS = 4


@dataclass
class Load:
    """What a while of sending and asking came to.

    :param lines: acknowledged as stored; :param seconds: of the while; :param waits: of each answer to an analyst, seconds.
    """

    lines: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Lines a second."""
        return self.lines / self.seconds


def bodies(lines: int) -> Iterator[bytes]:
    """Bodies of so many lines of this minute, none like another."""
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
    for number in itertools.count():
        when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        yield "".join(
            f'203.0.{(number * 7 + line) % 250}.{line % 250} - user{line % 97} [{when}] "GET /page/{line % 50}/{number} HTTP/1.1" '
            f'{200 if line % 20 else 404} {line} "-" "{agent.format(line % 90)}"\n'
            for line in range(lines)
        ).encode()


def ask(port: int, path: str, body: bytes, token: str) -> tuple[int, bytes]:
    """One request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def run_load(port: int, tokens: dict[str, str], seconds: float, analysts: int, body_lines: int) -> Load:
    """Send, and ask, for so long."""
    load, guard, end = Load(), threading.Lock(), time.perf_counter() + seconds
    made, making = bodies(body_lines), threading.Lock()

    def send() -> None:
        while time.perf_counter() < end:
            with making:
                body = next(made)
            status, answer = ask(port, "/v1/ingest/requests?format=combined", body, tokens["ingest"])
            with guard:
                if status == 200:
                    load.lines += json.loads(answer)["stored"]
                elif status != 429:
                    load.problems.append(f"{status} {answer[:200]!r}")

    def question(first: int) -> None:
        for number in itertools.count(first):
            began = time.perf_counter()
            if began >= end:
                return
            status, answer = ask(port, "/v1/query", json.dumps({"sql": QUESTIONS[number % len(QUESTIONS)]}).encode(), tokens["analyst"])
            with guard:
                load.waits.append(time.perf_counter() - began)
                if status != 200:
                    load.problems.append(f"{status} {answer[:200]!r}")

    began = time.perf_counter()
    senders = [threading.Thread(target=send) for _ in range(SENDERS)]
    askers = [threading.Thread(target=question, args=(number,)) for number in range(analysts)]
    for thread in [*senders, *askers]:
        thread.start()
    for thread in senders:
        thread.join()
    load.seconds = time.perf_counter() - began  # the last answers come later
    for thread in askers:
        thread.join()
    return load


@contextmanager
def _server(folder: Path, port: int) -> Iterator[dict[str, str]]:
    """A server; a token of each role that is needed."""
    command = [sys.executable, "-m", "auditlake", "--data-dir", str(folder / "data")]
    environment = {**os.environ, "AUDITLAKE_SERVE__HTTP": f"127.0.0.1:{port}", "AUDITLAKE_SERVE__QUACK": "off"}
    subprocess.run([*command, "init", "--json"], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([*command, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("ready"):
        if process.poll() is not None:
            raise SystemExit("the server did not start")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield {role: _token(command, role) for role in ("ingest", "analyst")}
    finally:
        process.terminate()
        process.wait()


def _token(command: list[str], role: str) -> str:
    done = subprocess.run([*command, "user", "add", role + "-1", "--role", role, "--json"], check=True, capture_output=True, text=True)
    found: Any = json.loads(done.stdout)["token"]
    return str(found)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description="Measure one server.")
    parser.add_argument("--seconds", type=float, default=20, help="of each while (20)")
    parser.add_argument("--analysts", type=int, default=8, help="who ask at once (8)")
    parser.add_argument("--body-lines", type=int, default=5000, help="lines of a body (5,000)")
    parser.add_argument("--rounds", type=int, default=2, help="of both, in turn (2)")
    parser.add_argument("--port", type=int, default=18480)
    options = parser.parse_args(arguments)
    alone, beside = Load(), Load()
    with tempfile.TemporaryDirectory(prefix="auditlake-bench-") as folder, _server(Path(folder), options.port) as tokens:
        run_load(options.port, tokens, 3, 1, options.body_lines)
        for _ in range(options.rounds):
            for total, analysts in ((alone, 0), (beside, options.analysts)):
                load = run_load(options.port, tokens, options.seconds, analysts, options.body_lines)
                total.lines, total.seconds = total.lines + load.lines, total.seconds + load.seconds
                total.waits += load.waits
                total.problems += load.problems
    for problem in {*alone.problems, *beside.problems}:
        print(f"problem: {problem}")
    rows = [("alone", f"{alone.lines:,}", f"{alone.rate:,.0f}", "", "")]
    middle = statistics.median(beside.waits) if beside.waits else 0.0
    rows.append(
        (f"beside {options.analysts} analysts", f"{beside.lines:,}", f"{beside.rate:,.0f}", f"{len(beside.waits):,}", f"{middle:.2f} s")
    )
    print("\n".join(table(("", "lines stored", "lines/s", "answers", "middle wait"), rows)))
    ratio = beside.rate / alone.rate
    print(
        f"beside {options.analysts} analysts ingest keeps {ratio:.2f} of its rate (must {MUST}): {'reached' if ratio >= MUST else 'missed'}"
    )


if __name__ == "__main__":
    main()
