"""Questions over HTTP: by role, by the gate, in any form; each in the query log; one that nobody waits for any more is ended."""

import csv
import datetime as dt
import http.client
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from core.clock import WallClock
from tests.server import Answer, Served, serve
from tests.simulation.support import log_line

TOP = "SELECT source_ip, user_name, count(*) AS n FROM requests GROUP BY ALL ORDER BY ALL"
LONG = "SELECT count(*) FROM requests a, requests b, requests c, requests d, requests e, requests f"
CONFIG = """
[roles.analyst]
rows = 500
seconds = 120

[roles.investigator]
seconds = 1
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("serve") / "data", CONFIG) as server:
        now = WallClock().now() - dt.timedelta(minutes=1)
        body = "".join(log_line(number, now) for number in range(100))
        assert server.send(server.user("shipper", "ingest"), body).json["stored"] == 100
        yield server


@pytest.fixture(scope="module")
def tokens(served: Served) -> dict[str, str]:
    return {role: served.user(f"the-{role}", role) for role in ("analyst", "investigator", "auditor", "admin", "ingest")}


def ask(served: Served, token: str, sql: str, **more: str) -> Answer:
    return served.ask("POST", "/v1/query", json.dumps({"sql": sql, **more}).encode(), token)


def test_an_analyst_sees_masked_columns_and_an_investigator_says_what_for(served: Served, tokens: dict[str, str]) -> None:
    masked = json.loads(ask(served, tokens["analyst"], TOP).body)
    assert {row["source_ip"] for row in masked} == {"203.0.113.0/24"}
    assert len({row["user_name"] for row in masked}) == 7
    assert not {row["user_name"] for row in masked} & {f"user{number}" for number in range(7)}
    plain = json.loads(ask(served, tokens["investigator"], TOP, purpose="case 17").body)
    assert {"source_ip": "203.0.113.8", "user_name": "user1", "n": 1} in plain
    refused = ask(served, tokens["investigator"], TOP)
    assert (refused.status, refused.json["error"]) == (400, "the role investigator must say what a query is for")


def test_the_ledger_is_the_auditors(served: Served, tokens: dict[str, str]) -> None:
    kinds = json.loads(ask(served, tokens["auditor"], "SELECT kind, count(*) AS n FROM ledger GROUP BY 1").body)
    assert {"BatchIngested", "TokenIssued"} <= {row["kind"] for row in kinds}
    assert ask(served, tokens["auditor"], "SELECT * FROM requests").json["error"] == "table requests is not for this role"
    assert ask(served, tokens["analyst"], "FROM ledger").json["error"] == "table ledger is not for this role"
    assert (ask(served, tokens["ingest"], "SELECT 1").status, ask(served, "", "SELECT 1").status) == (403, 401)


def test_every_form(served: Served, tokens: dict[str, str]) -> None:
    sql = "SELECT http_request_method, http_response_body_bytes AS bytes, event_time FROM requests ORDER BY bytes"
    answers = {form: ask(served, tokens["analyst"], sql, format=form) for form in ("json", "csv", "arrow", "parquet")}
    assert answers["csv"].headers["content-type"].startswith("text/csv")
    assert [row["bytes"] for row in json.loads(answers["json"].body)] == list(range(100))
    assert [int(row["bytes"]) for row in csv.DictReader(io.StringIO(answers["csv"].body.decode()))] == list(range(100))
    with pyarrow.ipc.open_stream(answers["arrow"].body) as stream:
        table = stream.read_all()
    assert table["bytes"].to_pylist() == list(range(100))
    assert table.schema.field("event_time").type == pa.timestamp("us", tz="UTC")
    assert pq.read_table(io.BytesIO(answers["parquet"].body)).equals(table)
    assert json.loads(ask(served, tokens["analyst"], "SELECT 1 AS x WHERE false").body) == []


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, b"x", "the question is not JSON"),
        (400, b"[" * 100_000, "the question is not JSON"),
        (400, b"{}", "the question has no sql"),
        (400, b'{"sql": 1}', "the question has no sql"),
        (400, b'{"sql": "SELECT 1", "format": "xml"}', "'xml' is not a format"),
        (400, b'{"sql": "SELECT 1", "evil": "x"}', "unknown key 'evil'"),
        (400, b'{"sql": "SELECT 1", "stream": "nope"}', "stream 'nope' is not configured"),
        (400, b'{"sql": "SELECT 1; SELECT 2"}', "2 statements are not allowed"),
        (400, b'{"sql": "SELECT * FROM read_csv(\'/etc/passwd\')"}', "reading files is not allowed: read_csv"),
        (400, b'{"sql": "SELECT nope FROM requests"}', 'Referenced column "nope" not found'),
        (413, b" " * 900_000, "the question is longer than 800000 bytes"),
    ],
)
def test_what_is_refused(served: Served, tokens: dict[str, str], status: int, body: bytes, problem: str) -> None:
    answer = served.ask("POST", "/v1/query", body, tokens["analyst"])
    assert answer.status == status
    assert problem in answer.json["error"]


def test_limits_of_a_role(served: Served, tokens: dict[str, str]) -> None:
    much = ask(served, tokens["analyst"], "SELECT a.url_path FROM requests a, requests b")
    assert (much.status, much.json["error"]) == (400, "the answer has more than 500 rows")
    late = ask(served, tokens["investigator"], LONG, purpose="x")
    assert (late.status, late.json["error"]) == (422, "the query ran longer than 1 seconds")
    hungry = ask(served, tokens["analyst"], "SELECT length(string_agg(repeat('x', 10000), '')) AS n FROM range(2000000)")
    assert hungry.status == 422
    assert ask(served, tokens["analyst"], "SELECT 1 AS x").status == 200, "the next one is answered"


def entries(served: Served, where: str) -> list[dict[str, Any]]:
    return served.rows(f"SELECT * FROM query_log WHERE {where}")


def test_every_question_is_in_the_log_with_what_came_of_it(served: Served, tokens: dict[str, str]) -> None:
    mark = "SELECT 'a1b2c3' AS mark"
    assert ask(served, tokens["investigator"], mark, purpose="case  18").status == 200
    assert ask(served, tokens["analyst"], f"{mark} FROM nowhere").status == 400
    found = entries(served, "statement LIKE 'SELECT ''a1b2c3''%' ORDER BY seq")
    assert [(row["role"], row["outcome"], row["rows"]) for row in found] == [("investigator", "answered", 1), ("analyst", "refused", 0)]
    assert found[0]["purpose"].split() == ["case", "18"]
    ledger = served.call("ledger", "--kind", "QueryAnswered")["events"]
    assert "a1b2c3" not in json.dumps(ledger)
    assert "case" not in json.dumps(ledger)


def test_a_question_whose_asker_goes_away_is_ended(served: Served, tokens: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    sql = f"{LONG} -- forgotten"
    connection.request("POST", "/v1/query", json.dumps({"sql": sql}), {"Authorization": f"Bearer {tokens['analyst']}"})
    time.sleep(0.5)
    connection.close()
    for _ in range(100):
        if found := entries(served, "statement LIKE '%-- forgotten'"):
            break
        time.sleep(0.1)
    assert [(row["outcome"], row["reason"]) for row in found] == [("failed", "the client went away")]


def test_rows_arrive_while_questions_are_answered(served: Served, tokens: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("POST", "/v1/query", json.dumps({"sql": LONG}), {"Authorization": f"Bearer {tokens['analyst']}"})
    time.sleep(0.5)
    token = served.user("late-shipper", "ingest")
    now = WallClock().now() - dt.timedelta(minutes=1)
    for number in range(1000, 1003):
        assert served.send(token, log_line(number, now)).json["stored"] == 1
    assert served.rows("SELECT count(*) AS n FROM requests WHERE url_path LIKE '/e/100_'") == [{"n": 3}]
    connection.close()
    assert served.call("verify")["ok"]


def test_the_server_needs_its_worker_no_longer_than_it_lives(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as served:
        assert ask(served, served.user("ana", "analyst"), "SELECT 1 AS x").status == 200
        children = _children(served.process.pid)
        assert children
        served.process.kill()
        served.process.wait()
        for _ in range(100):
            if not any(Path(f"/proc/{pid}").exists() for pid in children):
                break
            time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
