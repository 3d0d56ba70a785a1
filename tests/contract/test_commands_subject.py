"""``auditlake subject``: the JSON of each command, its exit code, and what it leaves."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commandline import CommandLine, combined

ALICE, ADDRESS = ("--user-name", "alicezq"), ("--source-ip", "10.0.0.1")
LINES = """\
10.0.0.1 - bob [19/May/2015:10:00:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "-"
10.0.0.10 - bob [19/May/2015:10:00:01 +0000] "GET /b HTTP/1.1" 200 1 "-" "-"
::ffff:10.0.0.1 - - [17/May/2015:10:00:02 +0000] "GET /c HTTP/1.1" 200 1 "-" "-"
10.0.0.2 - - [17/May/2015:10:00:03 +0000] "GET /u/alicezq HTTP/1.1" 200 1 "-" "-"
no request of alicezq
no request of alicezqx
"""


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Two archived days, a hot one and one that is both, two rejected lines, a query that names alicezq; made once, then copied back."""
    made, kept = (tmp_path_factory.getbasetemp() / "subject" / name for name in ("lake", "kept"))
    lake = CommandLine(made)
    if kept.exists():
        shutil.rmtree(made)
        shutil.copytree(kept, made)
        return lake
    folder = tmp_path_factory.mktemp("logs")
    lake.begin("2015-05-21T00:00:00Z")
    (folder / "early.log").write_bytes(
        combined({"17/May/2015": 5, "18/May/2015": 7}, user="alicezq") + combined({"17/May/2015": 20}, user="bob")
    )
    lake("ingest", folder / "early.log", "--format", "combined")
    lake.advance("30d")
    lake("run", "roll")
    (folder / "late.log").write_bytes(combined({"20/May/2015": 4}, user="alicezq") + LINES.encode())
    lake("ingest", folder / "late.log", "--format", "combined")
    lake("query", "SELECT count(*) FROM requests WHERE user_name = 'alicezq'")
    shutil.copytree(made, kept)
    return lake


def users(lake: CommandLine) -> dict[str | None, int]:
    return {row["user_name"]: row["n"] for row in lake.rows("SELECT user_name, count(*) AS n FROM requests GROUP BY ALL")}


def test_preview_says_what_is_held_and_changes_nothing(lake: CommandLine) -> None:
    events = len(lake.events())
    found = lake("subject", "preview", *ALICE)
    assert found["rows"] == {"hot": 4, "archived": 12, "quarantined": 1, "other": 1}
    assert [(day["day"], day["tier"], day["rows"]) for day in found["days"]][:2] == [
        ("2015-05-17", "archived", 5),
        ("2015-05-18", "archived", 7),
    ]
    assert (found["request"], found["state"], found["deadline"]) == (None, "preview", "2015-07-20T00:00:00Z")
    assert (len(lake.events()), lake("subject", "requests")) == (events, {"requests": []})
    assert lake("subject", "preview", *ADDRESS)["rows"] == {"hot": 2, "archived": 0, "quarantined": 0, "other": 0}
    bounded = lake("subject", "preview", *ADDRESS, "--from", "2015-05-18", "--to", "2015-05-20")
    assert bounded["rows"]["hot"] == 1
    assert lake("subject", "preview", *ALICE, "--mentions")["rows"]["hot"] == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nobody is named"),
        (("--source-ip", "host"), "is not an IP address"),
        (("--email", "alice"), "is not an e-mail address"),
        (("--user-name", "a", "--from", "2015-05-18"), "--source-ip alone"),
    ],
)
def test_what_names_nobody_is_wrong_usage(lake: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    answer = lake.try_("subject", "preview", *arguments).expect(2)
    assert says in answer.said


def test_access_is_whole_and_readable(lake: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "alice.zip"
    answer = lake("subject", "access", *ALICE, "-o", out)
    assert (answer["state"], answer["rows"]) == ("done", {"hot": 4, "archived": 12, "quarantined": 1, "other": 1})
    assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["alice.zip"]
    with zipfile.ZipFile(out) as pack:
        rows = json.loads(pack.read("requests.json"))
        table = pq.read_table(io.BytesIO(pack.read("requests.parquet")))
        lines = pack.read("requests.csv").decode().splitlines()
        rejected, queries = (json.loads(pack.read(f"{name}.json")) for name in ("rejected_lines", "queries"))
        asked, page = json.loads(pack.read("subject_requests.json")), pack.read("summary.html").decode()
    assert (len(rows), table.num_rows, len(lines)) == (16, 16, 17)
    assert {row["user_name"] for row in rows} == set(table["user_name"].to_pylist()) == {"alicezq"}
    assert [line["line"] for line in rejected] == ["no request of alicezq"]
    assert [query["statement"] for query in queries] == ["SELECT count(*) FROM requests WHERE user_name = 'alicezq'"]
    assert [each["right"] for each in asked] == ["access"]
    assert "user_name: alicezq" in page
    assert "not stated: set [privacy] purposes" in page
    assert "http" not in page.replace("http_", "").replace("HTTP", "")
    assert "alicezq" not in json.dumps(lake.events())


def test_erase_asks_before_it_acts(lake: CommandLine) -> None:
    answer = lake.try_("subject", "erase", *ALICE).expect(0)
    assert (answer.json["request"], answer.json["state"], answer.json["rows"]["archived"]) == (1, "open", 12)
    assert "--yes" in answer.said
    assert users(lake)["alicezq"] == 16
    (listed,) = lake("subject", "requests")["requests"]
    named = {name: listed[name] for name in ("request", "right", "state", "deadline")}
    assert named == {"request": 1, "right": "erase", "state": "open", "deadline": "2015-07-20T00:00:00Z"}
    assert lake("status")["requests"] == [{**named, "pressing": False}]
    lake.advance("24d")
    assert lake("status")["requests"][0]["pressing"]


def test_erase_leaves_nothing_and_nobody_comes_back(lake: CommandLine, tmp_path: Path) -> None:
    done = lake("subject", "erase", *ALICE, "--yes")
    assert (done["state"], done["rows"]) == ("done", {"hot": 4, "archived": 12, "quarantined": 1, "other": 1})
    assert (done["rescan"]["found"], done["rescan"]["mentions"], done["problems"], done["conflicts"]) == (0, 1, [], [])
    assert done["rescan"]["bytes"] > 1000
    assert done["rewritten"]["files"] == 4
    assert users(lake) == {"bob": 22, None: 2}
    assert lake("verify", "--full")["ok"]
    (certificate,) = lake.events("SubjectErased")
    assert (certificate["seq"], certificate["rows"]) == (done["certificate"], done["rows"])
    assert "alicezq" not in json.dumps(lake.events())
    assert lake("subject", "preview", *ALICE)["rows"] == dict.fromkeys(("hot", "archived", "quarantined", "other"), 0)
    again = tmp_path / "again.log"
    again.write_bytes(combined({"18/May/2015": 9, "22/Jun/2015": 2}, user="alicezq") + b"more of alicezq\nmore of alicezqx\n")
    read = lake("ingest", again, "--format", "combined")
    assert (read["read"], read["stored"], read["quarantined"], read["refused"]) == (13, 0, 3, 10), "two are in the future"
    assert lake.events("BatchIngested")[-1]["barred"] == {"erased subject": 10}
    assert lake("verify", "--full")["ok"]


def test_an_address_is_not_its_longer_namesake(lake: CommandLine) -> None:
    done = lake("subject", "erase", *ADDRESS, "--yes")
    assert (done["state"], done["rows"]["hot"]) == ("done", 2)
    left = [row["a"] for row in lake.rows("SELECT source_ip AS a FROM requests WHERE source_ip LIKE '10.%' ORDER BY ALL")]
    assert left == ["10.0.0.10", "10.0.0.2"]


def test_a_hold_keeps_its_days_and_a_purge_after_it_goes_on(lake: CommandLine) -> None:
    lake("hold", "add", "--from", "2015-05-18", "--to", "2015-05-18", "--reason", "case", "--owner", "legal", "--expires", "2 days")
    answer = lake.try_("subject", "erase", *ALICE, "--yes").expect(1)
    assert "hold 1" in answer.said
    assert (answer.json["state"], answer.json["certificate"]) == ("pending", None)
    assert answer.json["conflicts"] == [{"stream": "requests", "day": "2015-05-18", "hold": 1, "rows": 7}]
    assert users(lake)["alicezq"] == 7
    assert lake("verify", "--full")["ok"]
    lake.advance("3d")
    assert lake("run", "purge")["problems"] == []
    assert "alicezq" not in users(lake)
    (request,) = lake("subject", "requests")["requests"]
    assert (request["state"], request["result"]["rows"]["archived"]) == ("done", 12)
    assert lake("verify", "--full")["ok"]


def test_a_restriction_hides_until_it_is_lifted(lake: CommandLine) -> None:
    assert lake("subject", "restrict", *ALICE)["state"] == "open"
    assert users(lake)["alicezq"] == 16
    assert lake("subject", "restrict", *ALICE, "--yes")["state"] == "in force"
    assert users(lake) == {"bob": 22, None: 2}
    assert lake.value("SELECT count(*) FROM requests WHERE url_path = '/page/20/1'") == 0
    assert lake("subject", "preview", *ALICE)["rows"]["archived"] == 12
    assert lake("verify", "--full")["ok"]
    assert lake("subject", "restrict", *ALICE, "--lift", "--yes")["state"] == "done"
    assert users(lake)["alicezq"] == 16
    assert lake.try_("subject", "restrict", *ALICE, "--lift", "--yes").expect(2).said.startswith("auditlake: nothing is in force")


def test_an_objection_bars_what_comes_until_it_is_lifted(lake: CommandLine, tmp_path: Path) -> None:
    assert lake("subject", "object", *ALICE, "--yes")["state"] == "in force"
    assert users(lake)["alicezq"] == 16
    log = tmp_path / "new.log"
    log.write_bytes(combined({"19/Jun/2015": 3}, user="alicezq") + combined({"19/Jun/2015": 2}, user="carol"))
    read = lake("ingest", log)
    assert (read["stored"], read["refused"]) == (2, 3)
    assert lake.events("BatchIngested")[-1]["barred"] == {"objection": 3}
    lake("subject", "object", *ALICE, "--lift", "--yes")
    log.write_bytes(combined({"18/Jun/2015": 3}, user="alicezq"))
    assert lake("ingest", log)["stored"] == 3
