"""Quack: what clients send by themselves, and a listening DuckDB that runs nothing of theirs."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pytest

from core.errors import AuditlakeError, UsageError
from core.schema import COLUMNS
from query.quack import Gateway, problem_column
from query.quack_client import SCHEMAS_ASKED, TABLES_ASKED, constant_answer, purpose_of, scan_by_name
from storage import extensions
from tests.server import free_port

REQUESTS = frozenset({"requests"})


@dataclass
class OneStream:
    reader: pa.RecordBatchReader
    done: bool = False


@dataclass
class ScriptedDesk:
    """Answers each statement by a table, or by an error."""

    answers: dict[str, pa.Table | Exception]
    asked: list[str] = field(default_factory=list)
    looked: frozenset[str] = frozenset()

    def enter(self, session: str, token: str) -> bool:
        assert session
        return token == "al_token"

    def tables(self, session: str) -> frozenset[str]:
        assert session
        return REQUESTS

    def ask(self, session: str, sql: str) -> OneStream:
        assert session
        self.asked.append(sql)
        answer = self.answers[sql]
        if isinstance(answer, Exception):
            raise answer
        return OneStream(answer.to_reader(max_chunksize=1000))

    def look(self, sessions: frozenset[str]) -> None:
        self.looked = sessions


def with_problem(table: pa.Table, problem: str = "") -> pa.Table:
    name = problem_column(table.column_names)
    fine = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    if not problem:
        return fine
    row = {field.name: [problem if field.name == name else None] for field in fine.schema}
    return pa.concat_tables([fine, pa.table(row, fine.schema)])


@pytest.fixture
def client() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = extensions.connect()
    extensions.load(connection, "quack")
    yield connection
    connection.close()


def test_a_stream_arrives_whole_and_a_problem_at_its_end_is_the_only_error(client: duckdb.DuckDBPyConnection) -> None:
    many = pa.table({"n": range(100_000), "Problem": ["x"] * 100_000, 'a"b': [{"k": [1]}] * 100_000})
    desk = ScriptedDesk(
        {
            "all": with_problem(many),
            "some": with_problem(many, "it's over"),
            "bad": UsageError("it's not allowed", 'write "SELECT"'),
            "worse": RuntimeError("a secret of the server"),
            "insert into x": UsageError("INSERT is not allowed"),
        }
    )
    place = f"127.0.0.1:{free_port()}"
    with Gateway(place, desk) as gateway:
        client.execute(f"ATTACH 'quack:{place}' AS lake (TOKEN 'al_token')")
        found = client.execute("FROM lake.query('all')").to_arrow_table()
        assert found.equals(many)
        for sql, fault in {"some": "it's over", "bad": 'it\'s not allowed; write "SELECT"', "worse": "Authorization failed"}.items():
            with pytest.raises(duckdb.InvalidInputException) as caught:
                client.execute(f"SELECT count(*) FROM lake.query('{sql}')")
            assert str(caught.value).partition("\n")[0] == f"Invalid Input Error: {fault}"
        with pytest.raises(duckdb.InvalidInputException, match="Authorization failed"):
            client.execute("FROM lake.query('insert into x')")
        with pytest.raises(duckdb.InvalidInputException, match="Authentication failed"):
            client.execute(f"ATTACH 'quack:{place}' AS other (TOKEN 'al_other')")
        gateway.look()
        assert len(desk.looked) == 1
    assert desk.asked == ["all", "some", "bad", "worse", "insert into x"]


def test_a_place_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("query.quack._BIND_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = Gateway(f"127.0.0.1:{taken.getsockname()[1]}", ScriptedDesk({}))
        with pytest.raises(AuditlakeError, match="cannot listen for Quack: Address already in use"), gateway:
            pass


def test_what_clients_ask_by_themselves_is_known_by_its_exact_text() -> None:
    assert constant_answer("COMMIT", REQUESTS) == 'SELECT true AS "Success"'
    with extensions.connect() as connection:
        assert connection.execute(constant_answer(SCHEMAS_ASKED, REQUESTS) or "").fetchall() == [("lake", "main")]
        ((schema, definition, kind),) = connection.execute(constant_answer(TABLES_ASKED, REQUESTS) or "").fetchall()
        connection.execute(definition)
        described = [row[:2] for row in connection.execute("DESCRIBE requests").fetchall()]
    assert (schema, kind) == ("main", "table")
    assert [name for name, _ in described] == [column.name for column in COLUMNS]
    assert dict(described)["event_time"] == "TIMESTAMP WITH TIME ZONE"
    for other in ("commit", "COMMIT;", " COMMIT", TABLES_ASKED.strip(), TABLES_ASKED + " ", SCHEMAS_ASKED.replace("\n", " "), ""):
        assert constant_answer(other, REQUESTS) is None


def test_a_scan_names_its_columns_and_nothing_else_is_changed() -> None:
    last = len(COLUMNS)
    assert scan_by_name(f"SELECT #1, #{last} FROM requests") == f"SELECT {COLUMNS[0].name}, {COLUMNS[-1].name} FROM requests"
    assert scan_by_name("SELECT #2 FROM ledger") == "SELECT event_time FROM ledger"
    for other in ("SELECT #0 FROM requests", f"SELECT #{last + 1} FROM requests", "SELECT #1 FROM tokens", "SELECT #1 FROM requests;", "x"):
        assert scan_by_name(other) == other


@pytest.mark.parametrize(
    ("sql", "purpose"),
    [
        ("/* purpose: case 17 */ SELECT 1", "case 17"),
        (" /*PURPOSE:a\nb*/SELECT 1", "a\nb"),
        ("/* purpose: a */ /* purpose: b */ SELECT 1", "a"),
        ("SELECT 1 /* purpose: case 17 */", ""),
        ("SELECT '/* purpose: x */'", ""),
        ("/* case 17 */ SELECT 1", ""),
    ],
)
def test_a_purpose_is_what_the_first_comment_says(sql: str, purpose: str) -> None:
    assert purpose_of(sql) == purpose
