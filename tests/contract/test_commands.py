"""The command contract: names, keys, exit codes, one JSON object on standard output and nothing else there."""

import bz2
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.schedule import NIGHT
from storage.lock import hold
from tests.commandline import CommandLine, combined, invoke, start

DAYS = {"17/May/2015": 50, "18/May/2015": 70, "19/May/2015": 30}
COUNTS = {"2015-05-17": 50, "2015-05-18": 70, "2015-05-19": 30}
SEGMENT = {"stream", "day", "state", "rows", "bytes", "roll_due", "purge_due"}
DECISION = {"stream", "day", "action", "reason", "due"}
DAY = {"stream", "day", "stored", "erased", "purged", "hot", "archived", "ok"}
COUNTED = ("stored", "quarantined", "refused", "repeated")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(combined(DAYS) + b"no request at all\n")
    return path


@pytest.fixture
def lake(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Three hot days and one rejected line, on 20 May 2015: a copy of what is made once."""
    model = CommandLine(tmp_path_factory.getbasetemp() / "commands-model")
    if not model.data_dir.exists():
        lines = combined(DAYS) + b"no request at all\n"
        model.begin("2015-05-20T00:00:00Z")("ingest", "-", "--format", "combined", stdin=lines)
    return model.copy(tmp_path / "lake")


# ------------------------------------------------------------------------------------------------------------------ keys


def test_init_and_ingest(tmp_path: Path, log: Path) -> None:
    lake = CommandLine(tmp_path / "lake")
    made = lake("init", "--simulated-clock", "2015-05-20T00:00:00Z")
    assert (made["data_dir"], made["clock"]) == (str(lake.data_dir), "simulated")
    first = lake("ingest", log, "--format", "combined", "--stream", "requests")
    again = lake("ingest", log, "--format", "combined")
    assert {"read", *COUNTED, "batches", "seconds"} <= set(first)
    assert [first[name] for name in ("read", *COUNTED, "batches")] == [151, 150, 1, 0, 0, 1]
    assert [again[name] for name in ("read", *COUNTED, "batches")] == [151, 0, 0, 0, 151, 0]
    assert again["read"] == sum(again[name] for name in COUNTED)


def test_init_twice_changes_nothing_and_another_clock_is_refused(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    assert lake("init", "--simulated-clock", "2015-05-20T00:00:00Z")["clock"] == "simulated"
    assert "exists with a simulated clock" in lake.try_("init").expect(2).said
    real = CommandLine(tmp_path / "real")
    assert real("init")["clock"] == "real"
    assert "exists with a real clock" in real.try_("init", "--simulated-clock", "2015-05-20").expect(2).said
    assert (real.data_dir / "keys" / "master.key").stat().st_mode & 0o777 == 0o600


def test_status_and_plan(lake: CommandLine) -> None:
    status = lake("status")
    assert {"segments", "quarantined", "oldest_event", "next_runs"} <= set(status)
    assert all(set(segment) >= SEGMENT for segment in status["segments"])
    first = status["segments"][0]
    assert [first[name] for name in ("stream", "day", "state", "rows")] == ["requests", "2015-05-17", "hot", 50]
    assert (first["roll_due"], first["purge_due"]) == ("2015-06-18T00:00:00Z", "2016-05-17T00:00:00Z")
    assert first["bytes"] > 0
    assert (status["quarantined"], status["oldest_event"]) == (1, "2015-05-17T00:00:00Z")
    assert set(status["next_runs"]) == set(NIGHT)
    decisions = lake("plan", "--at", "2015-06-18T00:00:00Z")["decisions"]
    assert all(set(decision) >= DECISION for decision in decisions)
    assert {(d["stream"], d["day"]): d["action"] for d in decisions} == {
        ("requests", "2015-05-17"): "roll",
        ("requests", "2015-05-18"): "keep",
        ("requests", "2015-05-19"): "keep",
        ("requests.quarantine", "2015-05-20"): "keep",
    }
    assert lake("plan")["decisions"][0]["action"] == "keep"
    assert lake("status") == status, "looking ahead changes nothing"


@pytest.mark.parametrize(("job", "later", "due"), [("purge", "366d", 4), ("roll", "32d", 3), ("upkeep", "1d", 0), ("verify", "1d", 0)])
def test_jobs(lake: CommandLine, job: str, later: str, due: int) -> None:
    lake.advance(later)
    events = len(lake.events())
    planned = lake("run", job, "--dry-run")
    assert (planned["job"], planned["outcome"], len(lake.events())) == (job, "planned", events), "a dry run leaves no trace"
    done = lake("run", job)
    assert {"job", "outcome", "decisions", "seconds"} <= set(done)
    assert (done["job"], done["outcome"], len(done["decisions"])) == (job, "done", due)
    assert done["decisions"] == planned["decisions"]
    assert all(set(decision) >= DECISION for decision in done["decisions"])
    assert lake("run", job)["decisions"] == [], "and again is nothing"
    assert [run["job"] for run in lake("status")["last_runs"]] == [job, job]
    assert lake("verify")["ok"]


def test_verify(lake: CommandLine) -> None:
    report = lake("verify")
    assert {"ok", "ledger", "days", "residue"} <= set(report)
    assert (report["ok"], report["residue"]) == (True, [])
    assert (report["ledger"]["ok"], report["ledger"]["events"]) == (True, len(lake.events()))
    assert all(set(day) >= DAY for day in report["days"])
    assert {day["day"]: (day["stored"], day["hot"], day["archived"]) for day in report["days"]} == {
        day: (count, count, 0) for day, count in COUNTS.items()
    }


def test_verify_fails_on_residue(lake: CommandLine) -> None:
    (lake.data_dir / "hot" / "requests" / "2014-01-01.duckdb").write_bytes(b"left behind")
    answer = lake.try_("verify").expect(1)
    assert not answer.json["ok"]
    assert [line for line in answer.json["residue"] if "2014-01-01.duckdb" in line]


def test_the_other_commands_print_one_object_too(lake: CommandLine) -> None:
    assert lake("clock", "advance", "1d") == {"now": "2015-05-21T00:00:00Z"}
    assert lake("clock", "confirm")["now"] == "2015-05-21T00:00:00Z"
    assert {form["name"] for form in lake("formats")["formats"]} >= {"combined", "common", "vhost_combined", "json"}
    assert lake("quarantine", "list")["quarantined"] == 1
    assert [event["seq"] for event in lake("ledger")["events"]] == [1, 2, 3, 4, 5]
    kinds = {event["kind"] for event in lake.events("ClockAdvanced", "BatchIngested")}
    assert kinds == {"ClockAdvanced", "BatchIngested"}


def test_demo(tmp_path: Path) -> None:
    """The whole tour as the installed program: figures on standard output, nothing else there."""
    answer = start("demo", "--json", "--data-dir", tmp_path / "kept").expect(0)
    figures = answer.json
    assert (figures["read"], figures["stored"] + figures["quarantined"] + figures["refused"]) == (10_000, 10_000)
    assert (figures["same_answer"], figures["left"], figures["verified"]) == (True, [], True)
    assert CommandLine(tmp_path / "kept")("verify", "--full")["ok"]
    assert "is not empty" in invoke("demo", "--json", "--data-dir", tmp_path / "kept").expect(2).said


# ------------------------------------------------------------------------------------------------- options and their place


def test_global_options_stand_before_or_after_the_command(lake: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[streams.requests]\nhot = "1 week"\n')
    options = ["--data-dir", str(lake.data_dir), "--config", str(config), "--json"]
    before, after = invoke(*options, "status").expect(0), invoke("status", *options).expect(0)
    assert before.json["segments"][0]["roll_due"] == after.json["segments"][0]["roll_due"] == "2015-05-25T00:00:00Z"
    mixed = invoke("--data-dir", tmp_path / "elsewhere", "quarantine", "list", *options).expect(0)
    assert mixed.json["quarantined"] == 1, "the later place wins"


def test_without_json_nothing_is_json_and_everything_is_printed(lake: CommandLine) -> None:
    for command in (("status",), ("plan",), ("verify",), ("run", "roll"), ("ledger",), ("formats",), ("quarantine", "list")):
        answer = invoke("--data-dir", lake.data_dir, *command).expect(0)
        assert answer.out.strip()
        assert not answer.out.startswith(b"{")


def test_help_tells_the_exit_codes_and_every_command_has_help() -> None:
    text = invoke("--help").expect(0).out.decode()
    assert "0 done; 1 the work failed or residue was found; 2 wrong usage" in " ".join(text.split())
    for command in ("init", "ingest", "query", "status", "plan", "run", "verify", "clock", "quarantine", "demo", "serve", "completion"):
        assert f"\n  {command} " in text
        assert "Usage:" in invoke(command, "--help").expect(0).out.decode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    script = invoke("completion", shell).expect(0).out.decode()
    assert "_AUDITLAKE_COMPLETE" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("run", "nothing"),
        ("ingest",),
        ("query",),
        ("status", "--nothing"),
        ("clock",),
        ("query", "--format", "xml", "SELECT 1"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    answer = invoke(*arguments).expect(2)
    assert answer.out == b""
    assert "Usage:" in answer.err


# ----------------------------------------------------------------------------------------------------------------- locks


@contextmanager
def held_by_another_process(lake: CommandLine) -> Iterator[int]:
    script = "import sys\nfrom pathlib import Path\nfrom storage.lock import hold\n"
    script += "with hold(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    lock = str(lake.data_dir / "lock")
    with subprocess.Popen([sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            yield other.pid
        finally:
            other.send_signal(signal.SIGKILL)


def test_a_held_directory_is_exit_3_and_names_the_holder(lake: CommandLine, log: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with held_by_another_process(lake) as pid:
        answer = start("--data-dir", lake.data_dir, "--json", "ingest", log).expect(3)
        assert f"in use by process {pid}" in answer.json["error"]
        assert f"in use by process {pid}" in answer.said
    assert lake("ingest", log, "--format", "combined")["repeated"] == 151, "the lock dies with its holder"


def test_what_changes_the_directory_needs_the_lock_and_what_reads_does_not(lake: CommandLine, log: Path) -> None:
    with hold(lake.data_dir / "lock"):
        for command in (("ingest", str(log)), ("run", "roll"), ("run", "purge", "--dry-run"), ("verify",), ("clock", "advance", "1d")):
            assert str(os.getpid()) in lake.try_(*command).expect(3).json["error"]
        assert str(os.getpid()) in lake.try_("quarantine", "retry").expect(3).said
        for command in (("status",), ("plan",), ("query", "SELECT 1"), ("ledger",), ("quarantine", "list")):
            lake.try_(*command).expect(0)


# --------------------------------------------------------------------------------------------------------------- queries

SQL = "SELECT event_day, count(*) AS n, min(source_ip) AS ip, NULL AS nothing FROM requests GROUP BY ALL ORDER BY event_day"


def test_query_formats(lake: CommandLine, tmp_path: Path) -> None:
    def ask(form: str, *more: str | Path) -> bytes:
        return invoke("--data-dir", lake.data_dir, "query", "--format", form, *more, SQL).expect(0).out

    rows = json.loads(ask("json"))
    assert [(row["event_day"], row["n"], row["nothing"]) for row in rows] == [(day, n, None) for day, n in COUNTS.items()]
    assert rows == lake("query", SQL), "--json is --format json"
    read = [*csv.DictReader(io.StringIO(ask("csv").decode()))]
    assert [(row["event_day"], int(row["n"]), row["nothing"]) for row in read] == [(day, n, "") for day, n in COUNTS.items()]
    assert pq.read_table(pa.BufferReader(ask("parquet")))["n"].to_pylist() == [50, 70, 30]
    table = ask("table").decode()
    assert all(word in table for word in ("event_day", "2015-05-18", "70", "null", "3 rows"))
    for form in ("json", "csv", "parquet", "table"):
        out = tmp_path / f"answer.{form}"
        assert ask(form, "-o", out) == b""
        assert out.read_bytes() == ask(form)
        assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_query_without_rows(lake: CommandLine) -> None:
    assert lake("query", "SELECT * FROM requests WHERE false") == []
    header = invoke("--data-dir", lake.data_dir, "query", "--format", "csv", "SELECT 1 AS a WHERE false").expect(0).out
    assert header == b'"a"\n'


def test_query_of_an_empty_directory(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    assert lake.value("SELECT count(*) FROM requests") == 0
    assert lake("status")["oldest_event"] is None
    assert lake("verify")["ok"]


def test_a_reader_that_goes_away_is_no_error(lake: CommandLine) -> None:
    command = [sys.executable, "-c", "from auditlake.cli import main; main()", "--data-dir", str(lake.data_dir), "query", "--format", "csv"]
    sql = "SELECT * FROM range(3000000)"
    with subprocess.Popen([*command, sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        asking.stdout.readline()
        asking.stdout.close()
        assert asking.stderr.read() == b""
        assert asking.wait() == 0


# --------------------------------------------------------------------------------------------------------------- sources


def test_standard_input_patterns_and_packed_files(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    text = {name: combined({"19/May/2015": 9}, user=name) for name in ("plain", "gz", "bz2", "zst", "stdin", "packed_stdin")}
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(text["plain"])
    (logs / "b.log.gz").write_bytes(gzip.compress(text["gz"]))
    (logs / "c.log.bz2").write_bytes(bz2.compress(text["bz2"]))
    (logs / "d.log.zst").write_bytes(pa.compress(text["zst"], codec="zstd", asbytes=True))
    assert lake("ingest", logs / "*.log*", "--format", "combined")["stored"] == 36
    assert lake("ingest", "-", "--format", "combined", stdin=text["stdin"])["stored"] == 9
    assert lake("ingest", "-", "--format", "combined", stdin=gzip.compress(text["packed_stdin"]))["stored"] == 9
    assert {row["user_name"]: row["n"] for row in lake.rows("SELECT user_name, count(*) AS n FROM requests GROUP BY ALL")} == dict.fromkeys(
        text, 9
    )
    (logs / "e.log").write_bytes(text["gz"])
    assert lake("ingest", logs / "*", "--format", "combined")["repeated"] == 45, "known by content, packed or not, whatever the name"


def test_real_standard_input(tmp_path: Path) -> None:
    CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    answer = start("--data-dir", tmp_path / "lake", "--json", "ingest", "-", stdin=combined(DAYS)).expect(0)
    assert (answer.json["stored"], answer.err) == (150, "")


def test_ingest_makes_a_directory_of_its_own(tmp_path: Path) -> None:
    answer = CommandLine(tmp_path / "new").try_("ingest", "-", "--format", "combined", stdin=combined(DAYS)).expect(0)
    assert answer.json["refused"] == 150, "2015 is beyond the limit of a real clock"
    assert "made data directory" in answer.err
