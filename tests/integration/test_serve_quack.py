"""Remote SQL: DuckDB's own client on a running server, by role, through the gate, in the query log; and what it cannot do."""

import datetime as dt
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.clock import WallClock
from query.quack_client import SCHEMAS_ASKED, TABLES_ASKED, scan_by_name
from storage import extensions
from tests.server import Served, serve
from tests.simulation.support import log_line

LONG = "SELECT count(*) FROM requests a, requests b, requests c, requests d, requests e, requests f"
CONFIG = """
[roles.analyst]
rows = 500
seconds = 120

[roles.investigator]
seconds = 1
"""

ESCAPES = [
    "COPY requests TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.parquet'",
    "EXPORT DATABASE '/tmp/x'",
    "CREATE TABLE mine AS SELECT 1 AS a",
    "CREATE OR REPLACE VIEW requests AS SELECT 1 AS a",
    "CREATE MACRO run_instead(a, b) AS b",
    "CREATE OR REPLACE TEMP MACRO may_enter(a, b, c) AS true",
    "CREATE SECRET (TYPE quack, TOKEN 'x')",
    "DROP VIEW answer_1",
    "DELETE FROM requests",
    "UPDATE requests SET source_ip = 'x'",
    "insert into answer_1 VALUES (NULL)",
    "\n INSERT INTO main.requests VALUES (NULL)",
    "TRUNCATE requests",
    "ATTACH '/etc/passwd' AS other",
    "ATTACH 'quack:127.0.0.1:1' AS other",
    "DETACH memory",
    "USE system",
    "LOAD httpfs",
    "INSTALL httpfs",
    "SET quack_authorization_function = 'quack_nop_authorization'",
    "SET GLOBAL quack_authentication_function = 'quack_check_token'",
    "RESET GLOBAL quack_authorization_function",
    "PRAGMA database_list",
    "CALL quack_stop('quack:127.0.0.1:9494')",
    "CALL quack_serve('quack:0.0.0.0:9999')",
    "FROM quack_active_connections()",
    "FROM quack_server_list()",
    "FROM quack_query('quack:127.0.0.1:1', 'SELECT 1')",
    "FROM whoami()",
    "SELECT run_instead('x', 'y')",
    "SELECT may_enter('x', 'y', 'z')",
    "SELECT quack_check_token('x', 'y', 'y')",
    "FROM answer_1",
    "FROM main.answer_1",
    "FROM memory.main.requests",
    "FROM duckdb_tables()",
    "FROM duckdb_views()",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "FROM information_schema.schemata",
    "FROM sqlite_master",
    "SELECT current_setting('quack_authentication_function')",
    "FROM read_text('/proc/self/environ')",
    "FROM glob('/**')",
    "BEGIN",
    "begin transaction",
    "COMMIT; SELECT 1",
    "BEGIN TRANSACTION; DROP VIEW answer_1",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT 1; SELECT 2",
    "SELECT #1 FROM ledger",
    "SELECT #1 FROM query_log",
    "SELECT $1",
    "EXPLAIN ANALYZE SELECT 1",
    "CHECKPOINT",
    "VACUUM",
    "",
    " SELECT schema_name, sql, 'table' FROM duckdb_tables() UNION ALL SELECT schema_name, view_name, 'view' FROM duckdb_views()",
]


class Client:
    """A DuckDB with the server attached as ``lake``."""

    def __init__(self, served: Served, token: str) -> None:
        self.uri = f"quack:127.0.0.1:{served.quack}"
        self.token = token
        self._connection = extensions.connect()
        extensions.load(self._connection, "quack")
        self._connection.execute(f"ATTACH '{self.uri}' AS lake (TOKEN '{token}')")

    def run(self, sql: str) -> list[Any]:
        """Rows of a statement of the client's own."""
        return self._connection.execute(sql).fetchall()

    def ask(self, sql: str) -> list[Any]:
        """Rows of a statement that is sent as it is."""
        return self._connection.execute("FROM quack_query_by_name('lake', ?)", [sql]).fetchall()

    def tables(self) -> list[str]:
        """What a client is told that there is."""
        told = self.ask(TABLES_ASKED)
        assert all((schema, sql.partition(" ")[0], kind) == ("main", "CREATE", "table") for schema, sql, kind in told)
        return [sql.removeprefix("CREATE TABLE ").partition("(")[0] for _, sql, _ in told]

    def fault(self, sql: str, *, sent: bool = True) -> str:
        """What is wrong with a statement."""
        with pytest.raises(duckdb.Error) as caught:
            self.ask(sql) if sent else self.run(sql)
        return str(caught.value).partition("\n")[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("serve") / "data", CONFIG) as server:
        assert f"quack on 127.0.0.1:{server.quack}" in server.ready
        yield server
        quack, deadline = _process_of_quack(server), time.monotonic() + 10
        assert server.stop() == 0
        while Path(f"/proc/{quack}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def tokens(served: Served) -> dict[str, str]:
    found = {role: served.user(f"the-{role}", role) for role in ("analyst", "investigator", "auditor", "admin", "ingest")}
    assert send(served, found["ingest"], 0, 100) == 100
    return found


def send(served: Served, token: str, first: int, rows: int) -> int:
    now = WallClock().now() - dt.timedelta(minutes=1)
    return int(served.send(token, "".join(log_line(number, now) for number in range(first, first + rows))).json["stored"])


def test_an_analyst_sees_masked_columns_in_every_way_to_ask(served: Served, tokens: dict[str, str]) -> None:
    client = Client(served, tokens["analyst"])
    assert client.tables() == ["requests"]
    assert client.run("SELECT DISTINCT source_ip FROM lake.requests") == [("203.0.113.0/24",)]
    assert client.run("SELECT count(*), count(DISTINCT user_name) FROM lake.main.requests") == [(100, 7)]
    assert client.run("SELECT count(*) FROM lake.requests WHERE source_ip = '203.0.113.8'") == [(0,)]
    assert client.ask("SELECT source_ip, count(*) FROM requests GROUP BY 1") == [("203.0.113.0/24", 100)]
    assert client.run("SELECT count(*) FROM (SELECT event_time, event_day, labels, event_duration FROM lake.requests)") == [(100,)]
    once = f"FROM quack_query('{client.uri}', 'SELECT max(source_ip) FROM requests', token := '{client.token}')"
    assert client.run(once) == [("203.0.113.0/24",)]


def test_an_investigator_says_what_for_and_an_auditor_reads_the_books(served: Served, tokens: dict[str, str]) -> None:
    top = "SELECT source_ip, user_name FROM requests WHERE user_name = 'user1' ORDER BY ALL LIMIT 1"
    client = Client(served, tokens["investigator"])
    assert "must say what a query is for; write /* purpose: … */" in client.fault(top)
    assert client.ask(f"/* purpose: case 17 */ {top}") == [("203.0.113.1", "user1")]
    told = Client(served, f"{tokens['investigator']} case 18, a leaked key")
    assert told.run("SELECT count(DISTINCT source_ip) FROM lake.requests WHERE user_name = 'user1'") == [(15,)]
    auditor = Client(served, tokens["auditor"])
    assert auditor.tables() == ["ledger", "query_log"]
    logged = "SELECT outcome, rows, purpose, statement FROM query_log WHERE role = 'investigator' ORDER BY seq"
    assert auditor.ask(logged) == [
        ("refused", 0, "", top),
        ("answered", 1, "case 17", f"/* purpose: case 17 */ {top}"),
        ("answered", 100, "case 18, a leaked key", "SELECT user_name, source_ip FROM requests"),
    ]
    assert auditor.run("SELECT count(*) FROM lake.ledger WHERE kind = 'BatchIngested'") == [(1,)]
    assert "table requests is not for this role" in auditor.fault("FROM requests")


def test_who_has_no_token_for_it_does_not_come_in(served: Served, tokens: dict[str, str]) -> None:
    for token in ("nonsense", "", f"al_{'A' * 43}", tokens["ingest"], tokens["analyst"][:-1], tokens["analyst"] + "x"):
        with pytest.raises(duckdb.Error, match=r"Authentication failed|token"):
            Client(served, token)


def test_escapes_are_refused_and_leave_nothing_behind(served: Served, tokens: dict[str, str]) -> None:
    client = Client(served, tokens["analyst"])
    client.ask("SELECT 1")
    faults = {sql: client.fault(sql) for sql in ESCAPES}
    reasons = ("not allowed", "not for this role", "Authorization failed")
    assert [sql for sql, fault in faults.items() if not any(reason in fault for reason in reasons)] == []
    assert "COPY is not allowed; write one SELECT" in faults[ESCAPES[0]]
    for own in (
        "INSERT INTO lake.requests (source_ip) VALUES ('x')",
        "CREATE TABLE lake.mine AS SELECT 1 AS a",
        "DROP TABLE lake.requests",
    ):
        assert "not allowed" in (fault := client.fault(own, sent=False)) or "Authorization failed" in fault
    fresh = Client(served, tokens["analyst"])
    assert fresh.tables() == ["requests"]
    assert fresh.ask("SELECT max(source_ip) FROM requests") == [("203.0.113.0/24",)]
    refused = Client(served, tokens["auditor"]).ask(
        "SELECT statement FROM query_log WHERE outcome = 'refused' AND user_name = 'the-analyst'"
    )
    assert {sql for (sql,) in refused} >= {scan_by_name(sql) for sql in ESCAPES}


def test_what_a_client_sends_by_itself_names_nothing_that_exists(served: Served, tokens: dict[str, str]) -> None:
    client = Client(served, tokens["admin"])
    assert client.tables() == ["ledger", "query_log", "requests"]
    assert client.ask(SCHEMAS_ASKED) == [("lake", "main")]
    for sql in ("BEGIN TRANSACTION", "COMMIT", "ROLLBACK"):
        assert client.ask(sql) == [(True,)]


def test_rows_are_seen_as_soon_as_they_are_stored_and_once(served: Served, tokens: dict[str, str]) -> None:
    client = Client(served, f"{tokens['admin']} counting")
    before = client.ask("SELECT count(*) FROM requests")[0][0]
    for turn in (1, 2, 3):
        assert send(served, tokens["ingest"], 1000 * turn, 50) == 50
        assert client.ask("SELECT count(*), count(DISTINCT (ingest_batch, ingest_row)) FROM requests") == [(before + 50 * turn,) * 2]
        assert client.run("SELECT count(*) FROM lake.requests") == [(before + 50 * turn,)]


def test_limits_of_a_role_end_a_query_and_an_answer_left_is_in_the_log(served: Served, tokens: dict[str, str]) -> None:
    analyst = Client(served, tokens["analyst"])
    assert "the answer has more than 500 rows" in analyst.fault("FROM range(501)")
    assert len(analyst.ask("FROM range(500)")) == 500
    assert "ran longer than 1 seconds" in Client(served, f"{tokens['investigator']} slow").fault(LONG)
    admin = Client(served, f"{tokens['admin']} leaving")
    assert len(admin.run("FROM quack_query_by_name('lake', 'FROM range(3000000)') LIMIT 2")) == 2
    admin.ask("SELECT 1")
    logged = "SELECT rows BETWEEN 1 AND 2999999, reason FROM query_log WHERE statement = 'FROM range(3000000)'"
    assert admin.ask(logged) == [(True, "the client went on to another statement")]


def test_other_settings_hold_from_the_next_statement_on(served: Served, tokens: dict[str, str]) -> None:
    client = Client(served, tokens["analyst"])
    config = Path(served.environment["AUDITLAKE_CONFIG"])
    config.write_text(CONFIG.replace("rows = 500", "rows = 600"))
    served.process.send_signal(signal.SIGHUP)
    assert len(_eventually(lambda: client.ask("FROM range(550)"))) == 550


def test_a_revoked_token_ends_a_connection_and_a_dead_process_is_replaced(served: Served) -> None:
    client = Client(served, served.user("leaver", "analyst"))
    client.ask("SELECT 1")
    served.call("user", "revoke", "leaver")
    assert "the token opens nothing any more" in client.fault("SELECT 1")
    assert "the token opens nothing any more" in client.fault("SELECT * FROM lake.requests", sent=False)
    token = served.user("stayer", "analyst")
    os.kill(_process_of_quack(served), signal.SIGKILL)
    assert _eventually(lambda: Client(served, token).ask("SELECT 1")) == [(1,)]


def test_off_is_off(tmp_path: Path) -> None:
    with serve(tmp_path / "data", AUDITLAKE_SERVE__QUACK="off") as server:
        assert "quack" not in server.ready
        assert not _children(server.process.pid, "auditlake.quack")


def _eventually(attempt: Callable[[], list[Any]]) -> list[Any]:
    """What comes once no error does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return attempt()
        except duckdb.Error:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _process_of_quack(served: Served) -> int:
    (found,) = _children(served.process.pid, "auditlake.quack")
    return found


def _children(parent: int, word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and word.encode() in command:
            found.append(int(folder.name))
    return found
