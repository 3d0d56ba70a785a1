"""The commands about saved queries, on a real data directory."""

import csv
import io
import json
from pathlib import Path

import pytest

from query.saved import every
from tests.commandline import CommandLine, combined, invoke

LOG = '203.0.113.{} - {} [19/May/2015:{}:00 +0000] "POST /login?n={} HTTP/1.1" {} 7 "-" "agent"\n'
OWN = """\
-- mine
-- Users and what they were answered.
--
-- $who text: user
SELECT user_name, http_response_status_code AS status FROM requests WHERE user_name = $who AND event_day >= DATE '2015-05-01' ORDER BY ALL
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Twelve failed logins within a minute before they worked, and a day of ordinary requests."""
    folder = tmp_path_factory.mktemp("lake")
    lines = [LOG.format(1, "ann", "10:00", n, 401) for n in range(12)] + [
        LOG.format(1, "ann", "10:02", 99, 302),
        LOG.format(2, "bob", "10:00", 1, 401),
    ]
    (folder / "access.log").write_text("".join(lines))
    lake = CommandLine(folder / "data").begin("2015-05-19T12:00:00Z")
    lake("ingest", folder / "access.log", "--format", "combined")
    lake("ingest", "-", "--format", "combined", stdin=combined({"19/May/2015": 30}))
    return lake


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.sql").write_text(OWN)
    (tmp_path / "c.toml").write_text(f"[query]\nsaved = '{tmp_path / 'own'}'\n")
    return tmp_path / "c.toml"


def test_list(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    listed = invoke("queries", "list", "--json").expect(0).json["queries"]
    assert [entry["name"] for entry in listed] == list(every())
    assert set(listed[0]) == {"name", "summary", "details", "own", "parameters"}
    assert listed[0]["parameters"][0] == {"name": "window", "type": "interval", "default": "24 hours", "meaning": "how far back to look"}
    table = invoke("queries", "list").expect(0).out.decode()
    assert all(name in table for name in every())
    assert "subject [window] [until] [most]" in table
    mine = invoke("--config", config, "queries", "list", "--json").expect(0).json["queries"]
    assert [entry["name"] for entry in mine if entry["own"]] == ["mine"]
    assert not Path("data").exists(), "no data directory is needed"


def test_show(config: Path) -> None:
    shown = invoke("queries", "show", "subject_timeline").expect(0).out.decode()
    query = every()["subject_timeline"]
    assert shown.startswith(query.summary)
    assert query.body in shown
    assert "(needed)" in shown
    found = invoke("--json", "--config", config, "queries", "show", "mine").expect(0).json
    assert (found["sql"], found["own"]) == (OWN.splitlines()[-1], True)
    assert found["parameters"] == [{"name": "who", "type": "text", "default": None, "meaning": "user"}]


def test_run(lake: CommandLine, config: Path, tmp_path: Path) -> None:
    (found,) = lake("queries", "run", "failed_login_bursts")
    assert (found["source_address"], found["peak"], found["failures"], found["got_in"]) == ("203.0.113.1", 12, 12, 1)
    assert found["first_failure"] == "2015-05-19T10:00:00Z"
    assert len(lake("queries", "run", "failed_login_bursts", "-p", "least=1", "--param", "window=2 d")) == 2
    assert lake("queries", "run", "failed_login_bursts", "-p", "until=2015-05-19T09:59:00Z") == []
    assert lake("--config", config, "queries", "run", "mine", "-p", "who=bob") == [{"user_name": "bob", "status": 401}]
    told = invoke("--data-dir", lake.data_dir, "queries", "run", "subject_timeline", "-p", "subject=ann", "--format", "csv").expect(0)
    rows = list(csv.DictReader(io.StringIO(told.out.decode())))
    assert [row["status"] for row in rows] == ["401"] * 12 + ["302"]
    out = tmp_path / "out.json"
    line = ("queries", "run", "subject_timeline", "-p", "subject=bob", "--format", "json", "-o", out, "--stream", "requests")
    assert invoke("--data-dir", lake.data_dir, *line).expect(0).out == b""
    assert [row["url_path"] for row in json.loads(out.read_text())] == ["/login"]
    assert "203.0.113.1" in invoke("--data-dir", lake.data_dir, "queries", "run", "failed_login_bursts").expect(0).out.decode()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (["run", "failed_logins"], "there is no saved query 'failed_logins'; use failed_login_bursts"),
        (["show", "nothing_like_it_at_all"], "there is no saved query 'nothing_like_it_at_all'; see auditlake queries list"),
        (["run", "top_networks", "-p", "mots=3"], "query top_networks has no parameter 'mots'; use most"),
        (
            ["run", "top_networks", "-p", "most=three"],
            "parameter most of query top_networks is 'three', which is not of type integer; write a whole",
        ),
        (["run", "top_networks", "-p", "most"], "'most' is no parameter and value; write KEY=VALUE"),
        (["run", "top_networks", "-p", "most=1", "-p", "most=2"], "parameter most is given twice; give it once"),
        (["run", "subject_timeline"], "query subject_timeline needs subject: user name, account or address; write -p subject=…"),
        (["run", "top_networks", "--stream", "other"], "stream 'other' is not configured; choose one of requests"),
        (["run", "path_scanners", "-p", "window=1 OR 1=1"], "which is not of type interval; write a number and a unit"),
    ],
)
def test_errors_are_one_line_with_the_way_out(lake: CommandLine, line: list[str], why: str) -> None:
    answer = lake.try_("queries", *line).expect(2)
    assert why in answer.said
    assert len(answer.err.strip().splitlines()) == 1
    assert set(answer.json) == {"error", "hint"}


def test_an_own_query_passes_the_gate_like_any_other(lake: CommandLine, config: Path, tmp_path: Path) -> None:
    for body, why in {
        "SELECT * FROM read_csv('/etc/passwd')": "reading files is not allowed: read_csv",
        "ATTACH 'x'": "ATTACH is not allowed; write one SELECT",
        "SELECT 1; SELECT 2": "2 statements are not allowed; write one SELECT",
    }.items():
        (tmp_path / "own" / "bad.sql").write_text(f"-- bad\n-- Bad.\n{body}\n")
        assert lake.try_("--config", config, "queries", "run", "bad").expect(2).json["error"] in why
    (tmp_path / "own" / "bad.sql").write_text("SELECT 1")
    assert f"{tmp_path / 'own' / 'bad.sql'} does not begin with its name" in lake.try_("--config", config, "queries", "list").expect(2).said


def test_without_a_data_directory(tmp_path: Path) -> None:
    answer = invoke("--data-dir", tmp_path / "none", "queries", "run", "top_networks").expect(2)
    assert "there is no data directory" in answer.said
