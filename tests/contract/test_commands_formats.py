"""The commands about forms of logs: what they print, where, and how they end. None needs a data directory."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.schema import COLUMNS
from ingest.formats import names
from ingest.formats.registry import wrappers
from tests.commandline import PROGRAM, Answer, CommandLine, combined, invoke

LINE = '10.0.0.{} - ann [19/May/2015:10:00:0{} +0000] "GET /a/{}?b=c&token=x HTTP/1.1" 200 7 "-" "agent" extra\n'
OWN = """
[formats.shop]
nginx = '$remote_addr [$time_iso8601] "$request" $status $request_time'
description = "The shop's own"
"""
SHOP = '203.0.113.7 [2015-05-19T10:00:00+02:00] "GET /basket HTTP/1.1" 200 0.250\n'


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder: no command may need a data directory or make one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text("".join(LINE.format(n, n, n) for n in range(1, 10)) + "no request\n")
    return path


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.out.decode().splitlines()]


# -------------------------------------------------------------------------------------------------------------- formats


def test_formats_lists_all(tmp_path: Path) -> None:
    listed = invoke("formats", "--json").expect(0).json["formats"]
    assert [entry["name"] for entry in listed] == [*names(), *(f"{wrapper.name}+…" for wrapper in wrappers())]
    assert all(set(entry) == {"name", "description", "source"} and all(entry.values()) for entry in listed)
    assert invoke("--json", "formats").expect(0).json["formats"] == listed
    table = invoke("formats").expect(0).out.decode()
    assert all(name in table for name in names())
    (tmp_path / "c.toml").write_text(OWN)
    first = invoke("--config", tmp_path / "c.toml", "formats", "--json").expect(0).json["formats"][0]
    assert (first["name"], first["description"]) == ("shop", "The shop's own")
    assert not Path("data").exists()


# --------------------------------------------------------------------------------------------------------- formats test


def test_a_file_is_shown_with_its_format_and_first_lines(log: Path) -> None:
    found = invoke("formats", "test", log, "--json", "--lines", "2").expect(0).json
    assert (found["file"], found["format"]) == (str(log), "combined")
    assert found["why"].startswith("combined: reads 9 of 10 lines, 8.0 columns each; next best: ")
    assert found["scores"][0] == {"name": "combined", "taken": 9, "of": 10, "share": 0.9, "columns": 8.0}
    assert [row["line"] for row in found["lines"]] == [1, 2]
    row = found["lines"][0]
    assert (row["source_address"], row["url_path"], row["url_query"]) == ("10.0.0.1", "/a/1", "b=c&token=REDACTED")
    assert row["labels"] == {"trailing": "extra"}
    assert "http_request_referrer" not in row
    assert len(invoke("formats", "test", log, "--json").expect(0).json["lines"]) == 5
    rejected = invoke("formats", "test", log, "--json", "--lines", "20").expect(0).json["lines"][-1]
    assert rejected == {"line": 10, "rejected": "no time in brackets", "offset": log.read_text().index("no request")}
    assert invoke("formats", "--json", "test", log, "--lines", "2").expect(0).json == found


def test_a_file_is_shown_for_eyes(log: Path) -> None:
    text = invoke("formats", "test", log, "--lines", "1").expect(0).out.decode()
    for part in ("format  combined", "line 1", "source_address", "10.0.0.1", "labels: trailing", "extra", "90%"):
        assert part in text
    assert "line 2" not in text


def test_a_file_of_no_format_is_shown_too(tmp_path: Path, log: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.write_text(log.read_text() + "junk \x1b[31m\n" * 3)
    answer = invoke("formats", "test", mixed, "--json").expect(2)
    assert (answer.json["format"], answer.json["lines"]) == (None, [])
    assert answer.json["scores"][0]["taken"] == 9
    assert answer.json["error"] in answer.said
    assert "best are combined 9 of 13 lines; line 10 is not combined (no time in brackets): 'no request'" in answer.said
    text = invoke("formats", "test", mixed).expect(2).out.decode()
    assert "format  unknown" in text
    assert "combined" in text


def test_a_named_format_is_taken_at_its_word(log: Path) -> None:
    found = invoke("formats", "test", log, "--json", "--format", "common").expect(0).json
    assert (found["format"], found["why"]) == ("common", "common 0 of 10 lines; it was named")
    assert {row["rejected"] for row in found["lines"]} == {"it looks like format combined"}


def test_what_cannot_be_tested(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert "there is no line to tell the format from" in invoke("formats", "test", tmp_path / "empty").expect(2).said
    assert "is a directory" in invoke("formats", "test", tmp_path).expect(2).said
    (tmp_path / "one.log").write_text("x\n")
    (tmp_path / "two.log").write_text("x\n")
    assert "is 2 files; name one" in invoke("formats", "test", tmp_path / "*.log").expect(2).said
    assert "'nonsense' is not a format" in invoke("formats", "test", tmp_path / "one.log", "--format", "nonsense").expect(2).said


# ---------------------------------------------------------------------------------------------------------------- parse


def test_parse_prints_what_ingest_would_store(log: Path, tmp_path: Path) -> None:
    answer = invoke("parse", log).expect(0)
    rows = rows_of(answer)
    assert [row.get("source_address", "rejected") for row in rows] == [*(f"10.0.0.{n}" for n in range(1, 10)), "rejected"]
    assert rows[-1] == {"rejected": "no time in brackets", "offset": log.read_text().index("no request")}
    assert (rows[0]["event_time"], rows[0]["event_day"]) == ("2015-05-19T10:00:01Z", "2015-05-19")
    assert (rows[0]["labels"], rows[0]["http_response_status_code"]) == ({"trailing": "extra"}, 200)
    known = [column.name for column in COLUMNS if not column.name.startswith("ingest_")]
    assert all([name for name in known if name in row] == list(row) for row in rows[:-1]), "in the schema's order"
    assert answer.err == f"{log}: {invoke('formats', 'test', log, '--json').json['why']}\n"
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    lake("ingest", log)
    stored = lake.rows("SELECT * EXCLUDE (ingest_batch, ingest_row, event_time, labels) FROM requests ORDER BY source_address")
    assert [{name: value for name, value in row.items() if value is not None} for row in stored] == [
        {name: value for name, value in row.items() if name not in ("event_time", "labels")} for row in rows[:-1]
    ]


def test_parse_keeps_the_order_of_lines_and_prints_nothing_for_headers(tmp_path: Path) -> None:
    text = "#Fields: date time c-ip cs-uri-stem sc-status\n2015-05-19 10:00:00 10.0.0.1 /a 200\n\nbad\n#Fields: c-ip date time\n"
    empty = text.index("\n\n") + 1
    (tmp_path / "log").write_text(text + "10.0.0.2 2015-05-19 10:00:00\n")
    rows = rows_of(invoke("parse", tmp_path / "log", "--format", "w3c").expect(0))
    assert [row.get("source_address") or row["offset"] for row in rows] == ["10.0.0.1", empty, empty + 1, "10.0.0.2"]
    assert rows[1]["rejected"] == "empty line"


def test_one_file_stops_no_other(log: Path, tmp_path: Path) -> None:
    (tmp_path / "prose").write_text("The quick brown fox.\n" * 30)
    answer = invoke("parse", tmp_path / "none", tmp_path / "prose", log).expect(1)
    assert len(rows_of(answer)) == 10
    assert answer.said == "auditlake: 2 of the files could not be read; see the messages above"
    assert f"'{tmp_path}/prose': the lines are of no known format; line 1: 'The quick brown fox.'" in answer.err
    assert invoke("parse", "-", stdin=log.read_bytes()).expect(0).out == invoke("parse", log).out


def test_parse_with_databases_of_its_own(root: Path, log: Path) -> None:
    folder = root / "tests" / "data" / "geoip" / "test-data"
    line = LINE.format(1, 1, 1).replace("10.0.0.1", "81.2.69.142").encode()
    asked = ("--geo-city", folder / "GeoLite2-City-Test.mmdb", "--geo-asn", folder / "GeoLite2-ASN-Test.mmdb")
    if not (folder / "GeoLite2-City-Test.mmdb").exists():
        pytest.skip("the databases are not here")
    (row,) = rows_of(invoke("parse", "-", *asked, "--format", "combined", stdin=line).expect(0))
    assert (row["source_geo_country_iso_code"], row["source_geo_city_name"]) == ("GB", "London")
    for option in ("--geo-city", "--geo-asn"):
        for place in (log, folder / "none.mmdb"):
            answer = invoke("parse", log, option, place).expect(2)
            assert str(place) in answer.said
            assert answer.out == b""


def test_a_format_of_ones_own_that_is_none_is_said_at_once(tmp_path: Path, log: Path) -> None:
    (tmp_path / "c.toml").write_text("[formats.shop]\napache = '%Q'\n")
    for command in (("parse", log), ("formats",), ("formats", "test", log), ("ingest", log, "--data-dir", tmp_path / "lake")):
        answer = invoke("--config", tmp_path / "c.toml", *command).expect(2)
        assert "shop" in answer.said
        assert answer.out == b""


def test_a_format_of_ones_own_is_told_and_used(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(OWN)
    (tmp_path / "shop.log").write_text(SHOP * 3)
    answer = invoke("--config", tmp_path / "c.toml", "parse", tmp_path / "shop.log").expect(0)
    assert "shop: reads 3 of 3 lines" in answer.err
    assert rows_of(answer)[0]["event_duration"] == 250_000_000
    assert rows_of(answer)[0]["event_time"] == "2015-05-19T08:00:00Z"
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    stored = lake("--config", tmp_path / "c.toml", "ingest", tmp_path / "shop.log", "--format", "shop")
    assert (stored["stored"], stored["formats"]) == (3, {})


def test_times_without_a_zone_are_of_the_zone_that_is_given(tmp_path: Path) -> None:
    line = b'{"@timestamp": "2015-05-19T10:00:00", "url.path": "/"}\n'
    for options, time in (((), "10:00:00Z"), (("--timezone", "Europe/Berlin"), "08:00:00Z")):
        (row,) = rows_of(invoke("parse", "-", *options, "--format", "json", stdin=line).expect(0))
        assert row["event_time"] == f"2015-05-19T{time}"
    (tmp_path / "c.toml").write_text('[ingest]\ntimezone = "Europe/Berlin"\n')
    (row,) = rows_of(invoke("--config", tmp_path / "c.toml", "parse", "-", stdin=line).expect(0))
    assert row["event_time"] == "2015-05-19T08:00:00Z"
    assert "'Mars' is not a time zone" in invoke("parse", "-", "--timezone", "Mars", stdin=line).expect(2).said


def test_no_control_character_is_printed(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x7f\x85\x9b31m\u2028"
    line = LINE.format(1, 1, 1).replace("agent", evil).replace("extra", evil)
    document = {"@timestamp": "2015-05-19T10:00:00Z", "url.path": f"/{evil}", "x": evil, evil: 1}
    (tmp_path / "a.log").write_text(line)
    (tmp_path / "b.log").write_text(json.dumps(document, ensure_ascii=False) + "\n")
    for name in ("a.log", "b.log"):
        for command in (("parse",), ("formats", "test"), ("formats", "test", "--json")):
            out = invoke(*command, tmp_path / name).expect(0).out.decode()
            assert not {character for character in out if not character.isprintable() and character != "\n"}
    (row,) = rows_of(invoke("parse", tmp_path / "a.log"))
    assert (row["user_agent_original"], row["labels"]["trailing"]) == (evil, evil), "and yet nothing is lost"


def test_labels_are_printed_as_they_are() -> None:
    line = b'{"@timestamp": "2015-05-19T10:00:00Z", "url.path": "/", "big": 12345678901234567890123, "twice": {"a":1,"a":2}}\n'
    out = invoke("parse", "-", "--format", "json", stdin=line).expect(0).out.decode()
    assert out.endswith(',"labels":{"big":12345678901234567890123,"twice":{"a":1,"a":2}}}\n')


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(combined({"19/May/2015": 30_000}))
    with subprocess.Popen([PROGRAM, "parse", tmp_path / "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parsing:
        assert parsing.stdout is not None
        assert parsing.stderr is not None
        assert json.loads(parsing.stdout.readline())["url_path"] == "/page/19/0"
        parsing.stdout.close()
        assert b"Error" not in parsing.stderr.read()
        assert parsing.wait() == 0


# --------------------------------------------------------------------------------------------------------------- ingest


def test_ingest_says_what_it_chose(log: Path, tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    answer = invoke("--data-dir", lake.data_dir, "ingest", log).expect(0)
    assert answer.err.splitlines() == [f"{log}: {invoke('formats', 'test', log, '--json').json['why']}"]
    assert b"eventless    0\n" in answer.out
    other = tmp_path / "other.log"
    other.write_bytes(combined({"18/May/2015": 30}))
    figures = lake.try_("ingest", log, other).expect(0)
    assert figures.err == ""
    assert {name: chosen["format"] for name, chosen in figures.json["formats"].items()} == {str(other): "combined"}
    assert figures.json["formats"][str(other)]["why"].startswith("combined: reads 30 of 30 lines")


def test_a_file_that_cannot_be_told_stops_no_other(log: Path, tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    for name, text in {"prose": "The quick \x1b[31mfox.\n", "empty": "", "blank": "\n\n\0\n"}.items():
        (tmp_path / name).write_text(text)
    figures = lake.try_("ingest", *(tmp_path / name for name in ("prose", "empty", "blank")), log).expect(1).json
    assert (figures["stored"], figures["quarantined"], figures["read"]) == (9, 4, 13)
    assert figures["errors"] == [
        f"'{tmp_path}/prose': the lines are of no known format; line 1: 'The quick \\x1b[31mfox.'; "
        "name the format with --format, or look closer with: auditlake formats test FILE"
    ]
    assert {line["format"] for line in lake("quarantine", "list")["lines"]} == {"unknown", "combined"}
    assert lake("quarantine", "retry")["quarantined"] == 4, "lines of no known format stay"
    assert "quick" not in json.dumps(lake("ledger"))
    assert lake("verify")["ok"]
