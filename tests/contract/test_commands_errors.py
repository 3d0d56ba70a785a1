"""What goes wrong is said in one line, with the right exit code and never a traceback; and nothing is lost by it."""

import base64
import gzip
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.commandline import PROGRAM, Answer, CommandLine, combined, invoke

DAYS = {"17/May/2015": 50, "18/May/2015": 70, "19/May/2015": 30}
COMMANDS = (
    ("status",),
    ("plan",),
    ("query", "SELECT count(*) FROM requests"),
    ("verify",),
    ("run", "roll"),
    ("run", "purge"),
    ("run", "upkeep"),
    ("quarantine", "list"),
    ("quarantine", "retry"),
    ("ledger",),
    ("clock", "advance", "1d"),
)


@pytest.fixture
def lake(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Three hot days and one rejected line, on 20 May 2015: a copy of what is made once."""
    model = CommandLine(tmp_path_factory.getbasetemp() / "errors-model")
    if not model.data_dir.exists():
        lines = combined(DAYS) + b"no request at all\n"
        model.begin("2015-05-20T00:00:00Z")("ingest", "-", "--format", "combined", stdin=lines)
    return model.copy(tmp_path / "lake")


def assert_one_line(answer: Answer, *codes: int) -> str:
    """It failed with one of these codes, said why in one line, and printed the same as JSON, or nothing."""
    assert answer.code in codes, f"{answer.code}: {answer.err}"
    answer.expect(answer.code)
    assert len(answer.err.strip().splitlines()) == 1, answer.err
    assert answer.said.startswith("auditlake: ")
    if answer.out and "error" in answer.json:
        assert answer.json["error"] in answer.said
    return answer.said


# ------------------------------------------------------------------------------------------------------------- refusals

REFUSED = {
    "COPY (SELECT 1) TO '{folder}/stolen.csv'": "COPY is not allowed",
    "COPY requests TO '{folder}/stolen.csv'": "COPY is not allowed",
    "ATTACH '{folder}/other.duckdb'": "ATTACH is not allowed",
    "INSTALL httpfs": "INSTALL is not allowed",
    "LOAD httpfs": "LOAD is not allowed",
    "SET enable_external_access = true": "SET is not allowed",
    "RESET lock_configuration": "RESET is not allowed",
    "PRAGMA database_list": "not allowed",
    "SELECT * FROM '/etc/passwd'": "not allowed",
    "SELECT * FROM read_csv('/etc/passwd')": "reading files is not allowed",
    "SELECT * FROM read_text('/etc/passwd')": "reading files is not allowed",
    "SELECT * FROM glob('/etc/*')": "reading files is not allowed",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x')": "reading files is not allowed",
    "SELECT content FROM read_blob('{data}/keys/master.key')": "reading files is not allowed",
    "SELECT * FROM duckdb_secrets()": "not allowed",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')": "CREATE is not allowed",
    "SELECT current_setting('temp_directory')": "not allowed",
    "SELECT getenv('HOME')": "not allowed",
    "SELECT * FROM duckdb_databases()": "not allowed",
    "SELECT * FROM information_schema.tables": "not allowed",
    "SELECT * FROM d20150517.rows": "not allowed",
    "DELETE FROM requests": "DELETE is not allowed",
    "DROP VIEW requests": "DROP is not allowed",
    "CREATE TABLE x AS SELECT 1": "CREATE is not allowed",
    "INSERT INTO requests VALUES (1)": "INSERT is not allowed",
    "SELECT 1; DROP VIEW requests": "not",
    "SELECT 1; SELECT 2": "2 statements are not allowed",
    "CALL pragma_version()": "CALL is not allowed",
    "EXPLAIN ANALYZE SELECT 1": "not allowed",
    "": "0 statements",
    "SELECT": "cannot be parsed",
    "nonsense": "cannot be parsed",
    "SELECT nothing FROM requests": 'column "nothing" not found',
    "SELECT 'x'::INTEGER": "Could not convert",
    "SELECT * FROM other_table": "not allowed",
}


def test_statements_that_are_refused(lake: CommandLine, tmp_path: Path) -> None:
    for sql, why in REFUSED.items():
        said = assert_one_line(lake.try_("query", sql.format(folder=tmp_path, data=lake.data_dir)), 2)
        assert why in said, sql
    assert {path.name for path in tmp_path.iterdir()} == {"lake"}, "nothing was written"
    assert lake("verify", "--full")["ok"]


def test_where_a_result_cannot_go(lake: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path, tmp_path / "none" / "x", tmp_path / "file" / "x", Path("/proc/none"), Path("/dev/full")):
        assert "cannot be written" in (said := assert_one_line(lake.try_("query", "-o", out, "SELECT 1"), 1, 2)) or "ordinary file" in said
    failing = "SELECT CASE WHEN range < 150000 THEN '1' ELSE 'x' END::INTEGER AS n FROM range(200000)"
    assert_one_line(lake.try_("query", "-o", tmp_path / "file", failing), 2)
    assert (tmp_path / "file").read_text() == "kept", "what was there stays, when the query fails"


# -------------------------------------------------------------------------------------------------------- data directories


def test_there_is_no_data_directory(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "none")
    for command in COMMANDS:
        assert f"there is no data directory at {lake.data_dir}" in assert_one_line(lake.try_(*command), 2)
    assert not lake.data_dir.exists()


def test_a_place_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/none"), tmp_path / "a?b", tmp_path / "a#b", tmp_path / "50%20"):
        assert_one_line(CommandLine(place).try_("init"), 2)
        assert_one_line(CommandLine(place).try_("ingest", "-", stdin=b"x\n"), 2)
    folder = tmp_path / "with space ü"
    assert CommandLine(folder)("init")["data_dir"] == str(folder)


@pytest.mark.parametrize("damage", ["junk", "half", "pages"])
def test_a_damaged_control_database(lake: CommandLine, damage: str) -> None:
    path = lake.data_dir / "control.sqlite"
    data = path.read_bytes()
    path.write_bytes({"junk": b"junk" * 1000, "half": data[: len(data) // 2], "pages": data[:8192] + b"\xff" * (len(data) - 8192)}[damage])
    for command in (*COMMANDS, ("ingest", "-")):
        said = assert_one_line(lake.try_(*command, stdin=combined({"19/May/2015": 3}, user="x")), 1)
        assert any(word in said for word in ("not a database", "malformed", "disk image"))
    assert len([*lake.data_dir.rglob("*.duckdb")]) == 4, "nothing is destroyed on the word of a broken database"


def test_a_control_database_that_was_emptied(lake: CommandLine) -> None:
    (lake.data_dir / "control.sqlite").write_bytes(b"")
    for command in COMMANDS:
        assert "is not finished" in assert_one_line(lake.try_(*command), 2)
    assert len([*lake.data_dir.rglob("*.duckdb")]) == 4


def test_a_changed_ledger_is_found(lake: CommandLine) -> None:
    with closing(sqlite3.connect(lake.data_dir / "control.sqlite")) as database:
        database.execute("DROP TRIGGER ledger_no_update")
        database.execute("UPDATE ledger SET body = replace(body, '\"stored\":150', '\"stored\":149') WHERE seq = 2")
        database.commit()
    answer = lake.try_("verify").expect(1)
    assert answer.json["ledger"] == {"events": 3, "ok": False, "fault": "event 2 was changed"}


# ------------------------------------------------------------------------------------------------------------------ keys

OPENED = (("query", "SELECT count(*) FROM requests"), ("verify",), ("quarantine", "list"), ("quarantine", "retry"))


def test_another_master_key(lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setenv("AUDITLAKE_MASTER_KEY", base64.b64encode(b"x" * 32).decode())
        for command in (*OPENED, ("ingest", "-")):
            said = assert_one_line(lake.try_(*command, stdin=combined({"19/May/2015": 3}, user="x")), 1)
            assert "the master key does not open the key of" in said
    assert lake("verify", "--full")["ok"]


@pytest.mark.parametrize("text", ["", "short", "not base64 at all!", base64.b64encode(b"x" * 31).decode()])
def test_a_broken_master_key(lake: CommandLine, text: str) -> None:
    (lake.data_dir / "keys" / "master.key").write_text(text)
    for command in OPENED:
        assert "is not base64 of 32 bytes" in assert_one_line(lake.try_(*command), 2)


def test_a_lost_master_key_is_not_replaced_in_silence(lake: CommandLine, tmp_path: Path) -> None:
    """A new key opens nothing that is there, and days written under it would be lost when the true one comes back."""
    key = lake.data_dir / "keys" / "master.key"
    key.rename(tmp_path / "kept.key")
    for command in (*OPENED, ("ingest", "-"), ("init", "--simulated-clock", "2015-05-20")):
        assert str(key) in assert_one_line(lake.try_(*command, stdin=combined({"20/May/2015": 3})), 2)
    assert not key.exists()
    shutil.copy(tmp_path / "kept.key", key)
    key.chmod(0o644)
    assert "may be read by others" in assert_one_line(lake.try_("status"), 2)
    key.chmod(0o600)
    assert lake("verify", "--full")["ok"]


# ------------------------------------------------------------------------------------------------------------- hot files


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(20_000, len(data), 5_000):
        data[place] ^= 0xFF
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut short": cut,
    "changed": flip,
    "replaced by another day's": lambda path: shutil.copy(path.with_name("2015-05-17.duckdb"), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_hot_file(lake: CommandLine, damage: str) -> None:
    DAMAGES[damage](lake.data_dir / "hot" / "requests" / "2015-05-18.duckdb")
    assert "2015-05-18" in assert_one_line(lake.try_("query", "SELECT sum(hash(requests)) FROM requests"), 1)
    for full in ((), ("--full",)):
        report = lake.try_("verify", *full).expect(1).json
        assert {day["day"]: day["ok"] for day in report["days"]} == {"2015-05-17": True, "2015-05-18": False, "2015-05-19": True}
    lake.advance("30d")  # 19 June: two days are due
    assert "2015-05-18" in assert_one_line(lake.try_("run", "roll"), 1)
    states = {segment["day"]: segment["state"] for segment in lake("status")["segments"]}
    assert states["2015-05-18"] in {"hot", "rolling"}, "hot is given up only for a verified archive"
    lake.advance("335d")  # 19 May of the next year
    lake("run", "purge")
    assert lake("verify", "--full")["ok"], "a damaged day is destroyed like any other"


def test_ingest_does_not_write_to_a_file_cut_short(lake: CommandLine) -> None:
    cut(lake.data_dir / "hot" / "requests" / "2015-05-18.duckdb")
    said = assert_one_line(lake.try_("ingest", "-", "--format", "combined", stdin=combined({"18/May/2015": 3}, user="x")), 1)
    assert "is cut short" in said


# ---------------------------------------------------------------------------------------------------------------- sources


def test_sources_that_cannot_be_read(lake: CommandLine, tmp_path: Path) -> None:
    packed = gzip.compress(combined({"19/May/2015": 500}, user="packed"))
    files = {
        "half.gz": packed[: len(packed) // 2],
        "changed.gz": packed[:-8] + b"\0" * 8,
        "junk.gz": b"\x1f\x8b" + b"\0" * 100,
        "x.xz": b"\xfd7zXZ\0" + b"\0" * 50,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "good.log").write_bytes(combined({"19/May/2015": 4}, user="good"))
    names = [*files, "loop", "none.log", "*.none", ".", "lake"]
    answer = lake.try_("ingest", *(tmp_path / name for name in names), tmp_path / "good.log", "--format", "combined").expect(1)
    counted = answer.json
    assert len(counted["errors"]) == len(names)
    assert answer.said == "auditlake: 9 of the files could not be read; see the messages above"
    assert counted["read"] == sum(counted[name] for name in ("stored", "quarantined", "refused", "repeated"))
    assert lake.value("SELECT count(*) FROM requests WHERE user_name = 'good'") == 4, "one bad source stops no other"
    assert lake.value("SELECT count(*) = count(DISTINCT url_path) FROM requests WHERE user_name = 'packed'"), "and no line twice"
    (tmp_path / "half.gz").write_bytes(packed)
    lake("ingest", tmp_path / "half.gz", "--format", "combined")
    assert lake.value("SELECT count(*) FROM requests WHERE user_name = 'packed'") == 500, "the mended file brings what was missing"
    assert lake("verify")["ok"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--stream", "other"), "stream 'other' is not configured"),
        (("--stream", "../x"), "not configured"),
        (("--format", "other"), "'other' is not a format"),
    ],
)
def test_unknown_stream_or_format(lake: CommandLine, options: tuple[str, str], why: str) -> None:
    assert why in assert_one_line(lake.try_("ingest", "-", *options, stdin=combined(DAYS)), 2)
    assert lake("verify")["ok"]


def test_a_file_of_no_known_form(lake: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("The quick brown fox.\n" * 100)
    answer = lake.try_("ingest", tmp_path / "prose.txt").expect(1)
    assert [answer.json[name] for name in ("read", "stored", "quarantined")] == [0, 0, 0]
    assert "format" in answer.json["errors"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("quarantine", "show", "none:0"),
        ("plan", "--at", "soon"),
        ("clock", "advance", "soon"),
        ("clock", "advance", "0d"),
        ("clock", "advance", "201y"),
        ("init", "--simulated-clock", "soon"),
    ],
)
def test_wrong_arguments(lake: CommandLine, arguments: tuple[str, ...]) -> None:
    assert_one_line(lake.try_(*arguments), 2)


# ------------------------------------------------------------------------------------------------------------------- disk


@pytest.mark.parametrize("room", [0, 20_000, 100_000])
@pytest.mark.parametrize("command", [("ingest", "-", "--format", "combined"), ("run", "roll")], ids=["ingest", "roll"])
def test_a_full_disk(lake: CommandLine, command: tuple[str, ...], room: int) -> None:
    """No file may grow past ``room`` bytes, which is how a full disk looks to everybody who writes, root included."""
    lake.advance("32d")
    lines = combined({"18/Jun/2015": 20_000})
    failed = subprocess.run(
        [PROGRAM, "--data-dir", lake.data_dir, "--json", *command],
        input=lines,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert_one_line(Answer(failed.returncode, failed.stdout, failed.stderr.decode()), 1)
    found = lake.try_("verify", "--full").json
    assert all(day["ok"] for day in found["days"]), "what failed is taken back"
    assert found["ok"] or command[0] == "run", "but a file that a roll began lies in the archive until the next one"
    lake(*command, stdin=lines)
    assert lake.value("SELECT count(*) FROM requests") == (20_150 if command[0] == "ingest" else 150)
    assert lake("verify", "--full")["ok"]


def test_json_errors_are_one_object(tmp_path: Path) -> None:
    answer = invoke("status", "--json", "--data-dir", tmp_path / "none").expect(2)
    assert set(answer.json) == {"error", "hint"}
    assert invoke("status", "--data-dir", tmp_path / "none").expect(2).out == b""
