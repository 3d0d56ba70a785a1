"""Hostile lines, each with its defined result; and the way out of quarantine."""

import base64
import bz2
import gzip
from pathlib import Path

import pytest

from tests.commandline import CommandLine, combined, invoke

LINE = b'10.0.0.1 - ann [19/May/2015:10:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 7 "-" "agent"\n'


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")


def dated(day: str) -> bytes:
    return LINE.replace(b"19/May/2015", day.encode())


HOSTILE: dict[str, tuple[bytes, dict[str, int], str]] = {
    "an empty file": (b"", {}, ""),
    "CRLF": (LINE[:-1] + b"\r\n", {"stored": 1}, ""),
    "a byte order mark": (b"\xef\xbb\xbf" + LINE, {"stored": 1}, ""),
    "no final newline, but whole": (LINE[:-1], {"stored": 1}, ""),
    "no final newline, and cut": (LINE + LINE[:50], {"stored": 1, "quarantined": 1}, "no status after the request"),
    "invalid UTF-8": (LINE.replace(b"agent", b"ag\xff\xfeent"), {"stored": 1}, ""),
    "escape sequences": (LINE.replace(b"agent", b"\x1b]0;title\x07\x1b[31m"), {"stored": 1}, ""),
    "NUL": (LINE.replace(b"agent", b"ag\0ent") + LINE, {"stored": 1, "quarantined": 1}, "holds a NUL byte"),
    "an empty line": (LINE + b"\n" + b"\r\n", {"stored": 1, "quarantined": 2}, "empty line"),
    "blanks": (b" \t \n", {"quarantined": 1}, "no time in brackets"),
    "10 MB without a newline": (b"x" * 10_000_000, {"quarantined": 1}, "longer than 1048576 bytes"),
    "10 MB with one": (b"x" * 10_000_000 + b"\n" + LINE, {"stored": 1, "quarantined": 1}, "longer than 1048576 bytes"),
    "10 MB of NUL": (b"\0" * 10_000_000 + b"\n" + LINE, {"stored": 1, "quarantined": 1}, "longer than 1048576 bytes"),
    "a long line that is one": (LINE.replace(b"agent", b"a" * 1_000_000), {"stored": 1}, ""),
    "a line cut in the middle": (LINE[:50] + b"\n" + LINE, {"stored": 1, "quarantined": 1}, "no status after the request"),
    "the day after tomorrow": (dated("22/May/2015"), {"quarantined": 1}, "more than a day in the future"),
    "tomorrow": (dated("20/May/2015"), {"stored": 1}, ""),
    "the year 9999": (dated("31/Dec/9999"), {"quarantined": 1}, "more than a day in the future"),
    "no such day": (dated("31/Feb/2015"), {"quarantined": 1}, "no such time"),
    "a year and a day ago": (dated("19/May/2014"), {"refused": 1}, ""),
    "a year ago less a day": (dated("21/May/2014"), {"stored": 1}, ""),
    "everything at once": (LINE + b"\0\n\n" + dated("19/May/2014") + b"\xff\n", {"stored": 1, "quarantined": 3, "refused": 1}, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines(lake: CommandLine, tmp_path: Path, name: str) -> None:
    data, expected, reason = HOSTILE[name]
    (tmp_path / "log").write_bytes(data)
    counted = lake("ingest", tmp_path / "log", "--format", "combined")
    assert {key: counted[key] for key in ("stored", "quarantined", "refused", "repeated", "unfinished") if counted[key]} == expected
    assert counted["read"] == sum(counted[key] for key in ("stored", "quarantined", "refused", "repeated"))
    listed = lake("quarantine", "list")
    assert listed["quarantined"] == expected.get("quarantined", 0)
    assert not reason or set(listed["reasons"]) == {reason}
    again = lake("ingest", tmp_path / "log", "--format", "combined")
    assert (again["repeated"], again["stored"], again["quarantined"]) == (counted["read"], 0, 0)
    assert lake("verify")["ok"]


def test_what_becomes_of_bytes_that_are_no_text(lake: CommandLine) -> None:
    lake("ingest", "-", "--format", "combined", stdin=LINE.replace(b"agent", b"ag\xffent"))
    assert "ag" in lake.value("SELECT user_agent_original FROM requests")
    assert "ent" in lake.value("SELECT user_agent_original FROM requests")


def test_a_cut_line_is_read_when_it_is_whole(lake: CommandLine, tmp_path: Path) -> None:
    """While a server is writing: the first part of a line is rejected once, the whole line is stored, and nothing is twice."""
    log = tmp_path / "log"
    whole = combined({"19/May/2015": 3})
    for end in (len(whole) - 40, len(whole) - 40, len(whole) - 1, len(whole), len(whole)):
        log.write_bytes(whole[:end])
        lake("ingest", log, "--format", "combined")
    assert lake.value("SELECT count(*) FROM requests") == 3
    assert lake("quarantine", "list")["quarantined"] == 1
    assert lake("quarantine", "retry")["stored"] == 0
    assert lake.value("SELECT count(DISTINCT url_path) FROM requests") == 3
    assert lake("verify")["ok"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_file_is_not_waited_for(lake: CommandLine, tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    (tmp_path / "log.packed").write_bytes(pack(LINE + LINE[:50]))
    counted = lake("ingest", tmp_path / "log.packed", "--format", "combined")
    assert (counted["stored"], counted["quarantined"], counted["unfinished"]) == (1, 1, 0), "what it lacks now will never come"


def test_a_decompression_bomb(lake: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * 200_000_000))
    counted = lake("ingest", tmp_path / "bomb.gz", "--format", "combined")
    assert (counted["read"], counted["quarantined"]) == (1, 1)
    assert lake("quarantine", "list")["lines"][0]["raw_bytes"] == 200_000_000
    assert sum(path.stat().st_size for path in lake.data_dir.rglob("*") if path.is_file()) < 5_000_000


# ------------------------------------------------------------------------------------------------------------ quarantine


def test_out_of_quarantine(lake: CommandLine, tmp_path: Path) -> None:
    common = b"".join(b'10.0.0.%d - - [19/May/2015:10:00:00 +0000] "GET /c/%d HTTP/1.0" 200 5\n' % (n, n) for n in range(1, 8))
    (tmp_path / "log").write_bytes(LINE + common + b"hopeless\n" + b"x\0y\n")
    counted = lake("ingest", tmp_path / "log", "--format", "combined")
    assert (counted["stored"], counted["quarantined"]) == (1, 9)

    listed = lake("quarantine", "list")
    assert listed["quarantined"] == sum(listed["reasons"].values()) == len(listed["lines"]) == 9
    assert {line["source_name"] for line in listed["lines"]} == {str(tmp_path / "log")}
    assert len(lake("quarantine", "list", "--limit", "2")["lines"]) == 2
    line = next(line for line in listed["lines"] if line["source_offset"] == len(LINE + common))
    shown = lake("quarantine", "show", line["id"])
    assert (base64.b64decode(shown["raw"]), shown["text"], shown["format"]) == (b"hopeless", "hopeless", "combined")

    nothing = lake("quarantine", "retry")
    assert (nothing["read"], nothing["stored"], nothing["quarantined"]) == (9, 0, 9), "the same format says the same"
    assert "is not a format" in lake.try_("quarantine", "retry", "--format", "other").expect(2).said
    done = lake("quarantine", "retry", "--format", "common")
    assert (done["read"], done["stored"], done["quarantined"]) == (9, 7, 2)
    assert done["read"] == sum(done[name] for name in ("stored", "quarantined", "refused", "repeated"))

    assert lake.value("SELECT count(*) FROM requests") == 8
    assert lake.value("SELECT count(*) FROM requests WHERE url_path LIKE '/c/%'") == 7
    left = lake("quarantine", "list")
    assert (left["quarantined"], {line["raw_bytes"] for line in left["lines"]}) == (2, {8, 3})
    assert lake("quarantine", "retry", "--format", "common")["stored"] == 0, "and again is nothing"
    assert lake("ingest", tmp_path / "log", "--format", "combined")["repeated"] == 10, "the file is still known"
    report = lake("verify")
    assert report["ok"]
    assert [(day["stored"], day["hot"]) for day in report["days"]] == [(8, 8)]
    assert lake("status")["quarantined"] == 2


def test_a_hostile_line_is_shown_harmless(lake: CommandLine, tmp_path: Path) -> None:
    name = tmp_path / "log\x1b[31m\nname"
    name.write_bytes(b"\x1b]0;owned\x07 \xe2\x80\xae reversed \xff\n")
    lake("ingest", name, "--format", "combined")
    line_id = lake("quarantine", "list")["lines"][0]["id"]
    for command in (("list",), ("show", line_id)):
        out = invoke("--data-dir", lake.data_dir, "quarantine", *command).expect(0).out.decode()
        assert not {character for character in out if not character.isprintable() and character != "\n"}


def test_rejected_lines_expire_and_are_archived_nowhere(lake: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(LINE + b"hopeless\n")
    lake("ingest", tmp_path / "log", "--format", "combined")
    lake.advance("30d")
    lake("run", "purge")
    assert lake("quarantine", "list")["quarantined"] == 1
    lake.advance("1d")  # 20 June: a month after they arrived
    lake("run", "purge")
    assert lake("quarantine", "list") == {"quarantined": 0, "reasons": {}, "lines": []}
    assert "no rejected line" in lake.try_("quarantine", "show", "x:1").expect(2).said
    assert lake("verify")["ok"]
    lake("run", "roll")
    assert [path for path in lake.data_dir.rglob("*") if "quarantine" in path.name] == []
