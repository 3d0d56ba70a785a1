"""PostgreSQL as control database, on a real server: the whole life, the same promises, and nothing of its password anywhere."""

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from core.clock import FixedClock, parse_instant
from core.errors import AuditlakeError
from core.segment import Segment
from storage import control as db
from storage import postgres
from storage.control import Control
from storage.keys import KeyRing
from storage.ledger import Ledger
from tests.commandline import Answer, CommandLine, combined
from tests.pgserver import PASSWORD, Server, running

START = "2015-05-20T00:00:00Z"
SEGMENT = Segment("requests", parse_instant(START).date())
VARIABLE = "AUDITLAKE_CONTROL__URL"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def url(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh database, which is the control database of every command line of the test."""
    url = server.new_database()
    monkeypatch.setenv(VARIABLE, url)
    return url


@pytest.fixture
def control(url: str) -> Iterator[Control]:
    control = Control(url)
    yield control
    control.close()


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data")


def contents(url: str) -> str:
    """Everything in every table, as text."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        rows = [str(connection.exec_driver_sql(f'SELECT * FROM "{table}"').all()) for table in tables]
    engine.dispose()
    return "\n".join(rows)


def holds_password(text: str | bytes) -> bool:
    given = text if isinstance(text, bytes) else text.encode()
    return any(form.encode() in given for form in (PASSWORD, quote(PASSWORD, safe=""), "7f3a9c"))


def refused(answer: Answer, code: int, *words: str) -> None:
    """The answer is one line with these words, and without the password."""
    answer.expect(code)
    assert len(answer.err.strip().splitlines()) == 1, answer.err
    assert all(word in answer.said for word in words), answer.said
    assert not holds_password(answer.err)
    assert not holds_password(answer.out)


def test_the_whole_life_of_rows_with_its_control_database_on_postgresql(url: str, lake: CommandLine, tmp_path: Path) -> None:
    lake.begin(START)
    log = tmp_path / "access.log"
    log.write_bytes(combined({"17/May/2015": 30, "18/May/2015": 20}) + b"no request\n")
    assert lake("ingest", log)["stored"] == 50
    assert lake("ingest", log)["repeated"] == 51
    assert lake("status")["quarantined"] == 1
    assert lake.days() == {"2015-05-17": 30, "2015-05-18": 20}
    lake.advance("40d")
    assert lake("run", "roll")["outcome"] == "done"
    assert lake.days() == {"2015-05-17": 30, "2015-05-18": 20}
    assert [day["archived"] for day in lake("verify", "--full")["days"] if day["stream"] == "requests"] == [30, 20]
    lake.advance("1y")
    for job in ("purge", "upkeep"):
        assert lake("run", job)["outcome"] == "done"
    assert lake.value("SELECT count(*) FROM requests") == 0
    assert lake("status")["quarantined"] == 0
    report = lake("verify", "--full")
    assert (report["ok"], report["residue"], [day["purged"] for day in report["days"]]) == (True, [], [30, 20])
    assert {"SegmentRolled", "SegmentPurged"} <= {event["kind"] for event in lake.events()}

    left = {path.relative_to(lake.data_dir).as_posix() for path in lake.data_dir.rglob("*") if path.is_file()}
    assert left == {"control.id", "keys/master.key", "lock", "lock.next"}
    assert not any(holds_password(path.read_bytes()) for path in lake.data_dir.rglob("*") if path.is_file())
    assert not holds_password(contents(url))


@pytest.mark.usefixtures("url")
def test_ingest_makes_a_directory_that_is_not_there(lake: CommandLine) -> None:
    assert lake("ingest", "-", "--format", "combined", stdin=b"no request\n")["quarantined"] == 1
    assert [event["simulated"] for event in lake.events("DirectoryCreated")] == [False]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET at = 'x'",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "INSERT INTO ledger SELECT * FROM ledger ON CONFLICT (seq) DO UPDATE SET at = 'x'",
        "MERGE INTO ledger USING (VALUES (1)) AS new (seq) ON ledger.seq = new.seq WHEN MATCHED THEN DELETE",
    ],
)
def test_the_ledgers_rows_can_only_be_added(control: Control, statement: str) -> None:
    ledger = Ledger(control, FixedClock(parse_instant(START)))
    with control.write() as connection:
        ledger.append(connection, "Kind", number=1)
    with pytest.raises(DBAPIError, match="the ledger is append-only"), control.write() as connection:
        connection.exec_driver_sql(statement)
    assert (ledger.check().events, ledger.check().fault) == (1, "")


def test_writers_queue_and_the_chain_holds(url: str) -> None:
    def write(number: int) -> None:
        control = Control(url)  # all make the tables at once
        for turn in range(10):
            with control.write() as connection:
                Ledger(control, FixedClock(parse_instant(START))).append(connection, "Kind", writer=number, turn=turn)
        control.close()

    with ThreadPoolExecutor(4) as pool:
        assert len([*pool.map(write, range(4))]) == 4
    control = Control(url)
    report = Ledger(control, FixedClock(parse_instant(START))).check()
    assert (report.events, report.fault) == (40, "")
    control.close()


def test_a_second_writer_waits_for_the_first_and_sees_what_it_wrote(control: Control) -> None:
    def second() -> str | None:
        with control.write() as connection:
            return control.get_meta(connection, "turn")

    with ThreadPoolExecutor(1) as pool:
        with control.write() as connection:
            waiting = pool.submit(second)
            control.set_meta(connection, "turn", "first")
            assert not waiting.done()
        assert waiting.result() == "first"


def test_a_reader_sees_one_moment_though_a_writer_commits_and_cannot_write(control: Control) -> None:
    with control.read() as reader:
        assert control.get_meta(reader, "clock") is None
        with control.write() as writer:
            control.set_meta(writer, "clock", "real")
        assert control.get_meta(reader, "clock") is None
    with control.read() as reader:
        assert control.get_meta(reader, "clock") == "real"
    with pytest.raises(DBAPIError, match="read-only transaction"), control.read() as reader:
        control.set_meta(reader, "clock", "other")


def wrapped_key(control: Control, keys: KeyRing) -> bytes:
    with control.write() as connection:
        keys.create(connection, SEGMENT)
        return bytes(connection.execute(sa.select(db.keys.c.wrapped)).scalar_one())


def is_in_tables(server: Server, needle: bytes) -> bool:
    """Whether the bytes are in a file of a table, once all are written."""
    server.run("CHECKPOINT")
    return any(needle in path.read_bytes() for path in (server.files / "base").rglob("*") if path.is_file())


def test_a_destroyed_key_leaves_the_tables_file(server: Server, control: Control) -> None:
    keys = KeyRing(bytes(32))
    wrapped = wrapped_key(control, keys)
    assert control.forget_deleted()
    assert is_in_tables(server, wrapped)
    with control.write() as connection:
        keys.destroy(connection, SEGMENT)
    assert is_in_tables(server, wrapped)
    assert control.forget_deleted()
    assert not is_in_tables(server, wrapped)


@pytest.mark.parametrize("table", ["keys", "meta"])  # the reader holds the table itself, or only an old view of the database
def test_a_reader_that_may_still_see_the_key_is_said(server: Server, url: str, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_PATIENCE_SECONDS", 1)
    control, keys = Control(url), KeyRing(bytes(32))
    wrapped = wrapped_key(control, keys)
    with control.read() as reader:
        reader.exec_driver_sql(f"SELECT * FROM {table}")
        with control.write() as connection:
            keys.destroy(connection, SEGMENT)
        assert not control.forget_deleted()
        assert is_in_tables(server, wrapped)
    assert control.forget_deleted()
    assert not is_in_tables(server, wrapped)
    control.close()


def test_a_role_that_may_not_rewrite_the_keys_is_told(server: Server, url: str, control: Control) -> None:
    database = sa.make_url(url).database
    assert database
    server.run(f'ALTER DATABASE "{database}" OWNER TO postgres')
    for statement in ("ALTER TABLE keys OWNER TO postgres", "GRANT SELECT, INSERT, UPDATE, DELETE ON keys TO auditlake"):
        server.run(statement, database)
    with pytest.raises(AuditlakeError, match="role auditlake may not VACUUM the table keys; make it the owner"):
        control.forget_deleted()


def test_a_server_that_goes_away_is_one_error_and_no_traceback(server: Server, control: Control, caplog: pytest.LogCaptureFixture) -> None:
    def interrupted() -> None:
        with control.read() as connection:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            server.run(f"SELECT pg_terminate_backend({number}, 5000)")
            control.get_meta(connection, "clock")

    with pytest.raises(DBAPIError, match="terminat"):
        interrupted()
    assert caplog.records == []
    with control.read() as connection:  # and the next has a connection that lives
        assert control.get_meta(connection, "clock") is None


def test_two_data_directories_do_not_share_a_database(url: str, lake: CommandLine, tmp_path: Path) -> None:
    lake.begin(START)
    other = CommandLine(tmp_path / "other")
    before = contents(url)
    for arguments in (["init"], ["init", "--simulated-clock", START], ["ingest", "-"]):
        refused(other.try_(*arguments), 2, "belongs to another data directory", str(other.data_dir))
    (other.data_dir / "control.id").write_text("someone else")
    refused(other.try_("status"), 2, "belongs to another data directory")
    assert contents(url) == before
    lake.begin(START)  # again changes nothing
    assert contents(url) == before


def test_a_directory_keeps_its_database(
    server: Server, url: str, lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.begin(START)
    empty = server.new_database()
    monkeypatch.setenv(VARIABLE, empty)
    for command in ("status", "init"):
        refused(lake.try_(command), 2, "is not the one of data directory")
    monkeypatch.setenv(VARIABLE, "")
    for command in ("status", "init"):
        refused(lake.try_(command), 2, "has its control database elsewhere")
    inside = CommandLine(tmp_path / "inside").begin(START)
    monkeypatch.setenv(VARIABLE, empty)
    for command in ("status", "init"):
        refused(inside.try_(command), 2, "has a control database of its own")
    monkeypatch.setenv(VARIABLE, f"sqlite:///{inside.data_dir}/control.sqlite")
    refused(CommandLine(tmp_path / "third").try_("init"), 2, "belongs to another data directory")
    monkeypatch.setenv(VARIABLE, url)
    assert lake("status")["segments"] == []


@pytest.mark.usefixtures("url")
def test_init_that_was_killed_before_its_last_step_is_finished_by_the_next(lake: CommandLine) -> None:
    lake.begin(START)
    (lake.data_dir / "control.id").rename(lake.data_dir / "control.id.new")
    refused(lake.try_("status"), 2, "there is no data directory")
    lake.begin(START)
    assert [event["seq"] for event in lake.events()] == [1]


def wrong_urls(server: Server) -> dict[str, tuple[str, int, list[str]]]:
    """URL, exit code and words of the message, for each way to be wrong."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    right = quote(PASSWORD, safe="")
    return {
        "password": (server.url("postgres", PASSWORD + "x"), 1, ["password authentication failed", "auditlake:***@"]),
        "database": (server.url("absent"), 1, ['database "absent" does not exist']),
        "down": (f"postgresql+psycopg://u:{right}@127.0.0.1:{port}/d", 1, ["refused", f"u:***@127.0.0.1:{port}/d"]),
        "query": (f"postgresql+psycopg://127.0.0.1:{port}/d?user=u&password={right}", 1, ["refused", f"//127.0.0.1:{port}/d "]),
        "option": (f"postgresql+psycopg://u:{right}@127.0.0.1:{port}/d?nonsense=1", 1, ["nonsense"]),
        "port": (f"postgresql+psycopg://u:{right}@127.0.0.1:{right}/d", 2, ["is no URL"]),
        "at": ("postgresql+psycopg://u:x@7f3a9c@host/d", 2, ["write it as %40"]),
        "text": (f"u:{PASSWORD}@host/d", 2, ["is no URL"]),
        "other": (f"postgresql+psycopg2://u:{right}@h/d", 2, ["postgresql+psycopg2 is not supported; write sqlite"]),
        "mysql": (f"mysql://u:{right}@h/d", 2, ["mysql is not supported"]),
    }


@pytest.mark.parametrize("name", ["password", "database", "down", "query", "option", "port", "at", "text", "other", "mysql"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(
    server: Server, lake: CommandLine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, code, words = wrong_urls(server)[name]
    monkeypatch.setenv(VARIABLE, url)
    refused(lake.try_("init"), code, "control database", *words)
    assert not (lake.data_dir / "control.id").exists()


def test_an_absent_driver_is_one_line_with_the_way_out(server: Server, lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: Any = None  # which makes an import fail
    monkeypatch.setitem(sys.modules, "psycopg", hidden)
    monkeypatch.setenv(VARIABLE, server.url("postgres"))
    refused(lake.try_("init"), 2, 'pip install "psycopg[binary]"', "auditlake:***@")


def test_a_url_given_in_place_of_the_section_is_not_shown(server: Server, lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLAKE_CONTROL", server.url("postgres"))
    refused(lake.try_("init"), 2, "AUDITLAKE_CONTROL: control")


def test_the_password_may_come_from_the_environment(url: str, lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, url.replace(f":{quote(PASSWORD, safe='')}@", "@"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    lake.begin(START)
    assert lake("run", "upkeep")["outcome"] == "done"  # opens the archive's catalog too


def test_holds_bind_and_end_there_too(url: str, lake: CommandLine) -> None:
    lake.begin(START)
    lake("ingest", "-", "--format", "combined", stdin=combined({"18/May/2015": 2, "19/May/2015": 3}))
    words = ("--reason", "case against Doe", "--owner", "legal", "--expires", "18 months")
    assert lake("hold", "add", "--from", "2015-05-19", "--to", "2015-05-19", *words)["covers"]["rows"] == 3
    lake.advance("1y")
    assert lake("run", "purge")["figures"]["rows"] == 2
    assert lake.days() == {"2015-05-19": 3}
    lake.advance("6 months")
    assert lake("run", "purge")["figures"]["rows"] == 3
    assert [event["hold"] for event in lake.events("HoldAdded", "HoldExpired")] == [1, 1]
    assert lake("verify")["ok"] is True
    lake.advance("1y")
    lake("run", "purge")
    assert lake("hold", "list", "--all")["holds"][0]["reason"] == ""
    assert "Doe" not in contents(url)
