"""Hostile files and hostile lines: nothing stops the run of the other files, nothing is lost, and nothing reaches a terminal as it is."""

import gzip
import json
import os
import pty
import resource
import subprocess
import tty
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ingest.sources import Expanded, expand
from jobs import ingest as jobs_ingest
from tests.commandline import PROGRAM, CommandLine, combined, invoke

DATA = Path(__file__).parents[1] / "data"
MIB = 1 << 20
DAY = "19/May/2015"


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")


def whole(counted: dict[str, Any]) -> bool:
    """Whether every line that was read is counted."""
    return bool(counted["read"] == sum(counted[name] for name in ("stored", "quarantined", "refused", "repeated")))


# ------------------------------------------------------------------------------------------------------------- every format

OWN = {
    "combined": DATA / "logs/apache-combined/access.log",
    "common": DATA / "logs/nasa-common/access.log",
    "w3c": DATA / "logs/w3c/logfile_w3c.4",
    "nginx_main": DATA / "conformance/elastic-beats/filebeat/module/nginx/access/test/access.log",
    "ingress_nginx": DATA / "conformance/elastic-beats/filebeat/module/nginx/ingress_controller/test/test.log",
    "syslog+haproxy": DATA / "conformance/elastic-beats/filebeat/module/haproxy/log/test/haproxy.log",
    "alb": DATA / "conformance/crowdsec-hub/aws-alb-logs/aws-alb-logs.log",
    "cloudfront": DATA / "conformance/crowdsec-hub/aws-cloudfront-logs/aws-cloudfront-logs.log",
    "cloudtrail": DATA / "conformance/crowdsec-hub/aws-cloudtrail/aws-cloudtrail.log",
    "caddy": DATA / "conformance/crowdsec-hub/caddy-logs/caddy-logs.log",
    "envoy": DATA / "conformance/crowdsec-hub/envoy-logs/envoy.log",
    "traefik_json": DATA / "conformance/crowdsec-hub/traefik_json/traefik_json.log",
}
NOW = "2026-06-01T00:00:00Z"
READ = 100_000


@pytest.fixture(scope="module")
def counted_lake(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """One for all files: what a run counts is its own, whatever others have stored."""
    return CommandLine(tmp_path_factory.mktemp("counted") / "lake").begin(NOW)


def flipped(data: bytes) -> bytes:
    """The same with one byte of a hundred changed."""
    chance = np.random.default_rng(len(data))
    changed = np.frombuffer(data, np.uint8).copy()
    places = chance.choice(len(changed), len(changed) // 100, replace=False)
    changed[places] ^= chance.integers(1, 256, len(places), dtype=np.uint8)
    return changed.tobytes()


@pytest.mark.parametrize("name", OWN)
def test_a_run_counts_every_line(counted_lake: CommandLine, tmp_path: Path, name: str) -> None:
    data = OWN[name].read_bytes()[:READ]
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "flipped").write_bytes(flipped(data))
    for file, form in (("whole", name), ("flipped", name), ("flipped", "auto")):
        answer = counted_lake.try_("ingest", tmp_path / file, "--format", form)
        counted = answer.json
        assert answer.code == (1 if counted["errors"] else 0)
        assert whole(counted)
        if not counted["errors"]:
            assert counted["read"] + counted["eventless"] == data_lines(tmp_path / file)
        else:
            assert form == "auto"
            assert counted["read"] == counted["repeated"], "no format was chosen, so nothing new was read"


def data_lines(path: Path) -> int:
    data = path.read_bytes()
    return data.count(b"\n") + (not data.endswith(b"\n"))


# ----------------------------------------------------------------------------------------------------------------- one run


def members(path: Path, unit: bytes, count: int, pack: Any) -> Path:
    """A packed file of so many times a MiB of one byte: small, and made at once."""
    path.write_bytes(pack(unit * MIB) * count)
    return path


def cut_document() -> bytes:
    """A CloudTrail file that ends within its 31st record."""
    record = {
        "eventTime": "2015-05-19T20:55:36Z",
        "sourceIPAddress": "192.0.2.1",
        "eventName": "GetObject",
        "eventSource": "s3.amazonaws.com",
    }
    records = [
        {"eventVersion": "1.08", "awsRegion": "x", "userIdentity": {"type": "IAMUser"}, **record, "requestID": str(n)} for n in range(40)
    ]
    text = json.dumps({"Records": records}).encode()
    return text[: text.index(b'"requestID": "30"') - 5]


def damaged_parquet(path: Path) -> Path:
    """CloudFront rows in two row groups, the second of which is overwritten."""
    cells = {"date": "2015-05-19", "time": "10:00:00", "c-ip": "192.0.2.1", "cs-method": "GET", "sc-status": "200", "x-edge-location": "A"}
    columns = {name: [value] * 1000 for name, value in cells.items()} | {"cs-uri-stem": [f"/{number}" for number in range(1000)]}
    pq.write_table(pa.table(columns), path, row_group_size=500, compression="none", use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 40 : place + 340] = b"\xff" * 300
    path.write_bytes(data)
    return path


def hostile_files(folder: Path) -> dict[str, tuple[str, ...]]:
    """Names, and what is said of each; nothing when it can be read."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "cut.gz").write_bytes(gzip.compress(combined({DAY: 3000}, user="cut"))[:-100])
    (folder / "cut.json").write_bytes(cut_document())
    (folder / "utf16").write_bytes(combined({DAY: 9}, user="utf").decode().encode("utf-16"))
    (folder / "nothing but NUL").write_bytes(b"\0" * 100_000)
    (folder / "\x1b]0;owned\x07\x9b31m\nname").write_bytes(b"\x1b[31mred\x07 \xe2\x80\xae \xc2\x9b31m\r\n" * 3)
    (folder / "\x1b[2J\x7f*none").touch()
    members(folder / "one line of a GiB.gz", b"a", 1024, gzip.compress)
    members(folder / "bomb.zst", b"\0", 256, zstandard.compress)
    members(folder / "ten million empty lines.gz", b"\n", 10, gzip.compress)
    damaged_parquet(folder / "damaged.parquet")
    said = {
        "folder": ("is a directory",),
        "fifo": ("is a FIFO, not a file",),
        "/dev/zero": ("is a device, not a file",),
        "loop": ("cannot be opened: Too many levels of symbolic links",),
        "dangling": ("does not exist",),
        "never there": ("does not exist",),
        "\x1b[2Jno*": ("no file matches",),
        "/proc/self/mem": ("is damaged: reading failed", "Input/output error"),
        "cut.gz": ("is damaged: its gzip data ends early",),
        "damaged.parquet": ("is damaged: its Parquet data is corrupt",),
        "\x1b]0;owned\x07\x9b31m\nname": ("the lines are of no known format; line 1:",),
    }
    fine = "\x1b[2J\x7f*none", "cut.json", "utf16", "nothing but NUL", "one line of a GiB.gz", "bomb.zst", "ten million empty lines.gz"
    return said | dict.fromkeys(fine, ())


REJECTED = {"one line of a GiB.gz": 1, "bomb.zst": 1, "nothing but NUL": 1, "utf16": 10, "cut.json": 1}
"""Lines of these files that go to quarantine, beside the ten million that are empty."""


def run_measured(*arguments: str | Path, cwd: Path) -> tuple[int, bytes, str, int]:
    """Exit code, both outputs, and the most memory the command held, in MiB."""
    done = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
    out, err = done.communicate(timeout=600)
    return done.returncode, out, err.decode(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def test_no_file_kills_the_run_of_the_others(lake: CommandLine, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "first").write_bytes(combined({DAY: 300}, user="first"))
    (files / "last").write_bytes(combined({DAY: 200}, user="last"))
    said = hostile_files(files)
    code, out, err, mib = run_measured("--data-dir", lake.data_dir, "--json", "ingest", "first", *said, "last", cwd=files)
    assert code == 1
    assert mib < 1024
    counted = json.loads(out)
    assert whole(counted)
    assert len(counted["errors"]) == sum(map(bool, said.values()))
    for words in filter(None, said.values()):
        assert sum(all(word in error for word in words) for error in counted["errors"]) >= 1, words
    assert "Traceback" not in err
    messages = [line for line in err.splitlines() if line.startswith("auditlake: ")]
    assert len(messages) == len(counted["errors"]) + 1
    assert len(messages) == len(err.splitlines()), "one line each"
    assert harmless(err)

    assert lake.rows("SELECT user_name, count(*) AS n FROM requests WHERE user_name IN ('first', 'last') GROUP BY ALL ORDER BY n") == [
        {"user_name": "last", "n": 200},
        {"user_name": "first", "n": 300},
    ]
    assert 1000 < lake.value("SELECT count(*) FROM requests WHERE user_name = 'cut'") < 3000
    assert lake.value("SELECT count(*) FROM requests WHERE url_path ~ '^/[0-9]+$'") == 500, "the row group before the damage"
    assert lake.value("SELECT count(*) FROM requests WHERE http_request_id IN ('0', '29', '30')") == 2
    assert counted["quarantined"] == 10 * MIB + sum(REJECTED.values())
    assert sum(path.stat().st_size for path in lake.data_dir.rglob("*") if path.is_file()) < 100 * MIB
    assert lake("verify")["ok"]


def test_a_file_that_vanishes_stops_no_other(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation moves files away between the look at their names and the reading."""
    (tmp_path / "gone").write_bytes(combined({DAY: 3}, user="gone"))
    (tmp_path / "here").write_bytes(combined({DAY: 2}, user="here"))

    def expand_slowly(names: Any) -> Expanded:
        found = expand(names)
        (tmp_path / "gone").unlink()
        return found

    monkeypatch.setattr(jobs_ingest, "expand", expand_slowly)
    counted = lake.try_("ingest", tmp_path / "gone", tmp_path / "here").expect(1).json
    assert (counted["stored"], len(counted["errors"])) == (2, 1)
    assert "does not exist" in counted["errors"][0]


def test_a_bomb_in_one_member(tmp_path: Path) -> None:
    """As zlib makes it: nothing tells where it ends before it does."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    (tmp_path / "bomb").write_bytes(b"".join([packer.compress(b"x" * MIB) for _ in range(100)] + [packer.flush()]))
    (tmp_path / "log").write_bytes(combined({DAY: 2}))
    answer = invoke("parse", tmp_path / "bomb", tmp_path / "log", "--format", "combined").expect(0)
    assert [json.loads(line).get("rejected", "") for line in answer.out.splitlines()] == ["longer than 1048576 bytes", "", ""]


# --------------------------------------------------------------------------------------------------------------- forged lines

FORGED = '192.0.2.66 - root [19/May/2015:10:00:00 +0000] "GET /forged HTTP/1.1" 200 7 "-" "x"'
STEERING = "\x1b]0;t\x07\x1b[31m\x08\x7f\x9b31m\u202e\u2066\u2028"
TIME = "2015-05-19T10:00:00Z"


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def line_with(form: str, text: str) -> str:
    """A line of the format with that text as its user agent."""
    access = '192.0.2.1 - - [19/May/2015:10:00:00 +0000] "GET /real HTTP/1.1" 200 7 "-" "{}"'
    match form:
        case "combined":
            return access.format(_escaped(text))
        case "json":
            return f'{{"@timestamp":"{TIME}","source.ip":"192.0.2.1","url.path":"/real","user_agent.original":{_json(text)}}}'
        case "docker+combined":
            return json.dumps({"log": access.format(_escaped(text)) + "\n", "stream": "stdout", "time": TIME}, ensure_ascii=False)
        case "csv":
            doubled = text.replace('"', '""')
            return f'timestamp,client_ip,url,user_agent\n{TIME},192.0.2.1,/real,"{doubled}"'
        case "logfmt":
            return f'time={TIME} ip=192.0.2.1 path=/real user_agent="{_escaped(text)}"'
        case _:
            doubled = text.replace('"', '""')
            return f'#Fields: date time c-ip cs-uri-stem cs(User-Agent)\n2015-05-19 10:00:00 192.0.2.1 /real "{doubled}"'


FORMS = ("combined", "json", "docker+combined", "csv", "logfmt", "w3c")
ONE_LINE = {
    "quotes and a line after": f'x" 200 7 "-" "y{FORGED}',
    "an escape of a newline": "x\\n" + FORGED,
    "escapes of escapes": r"\\n \\" + r"\" \x0a " + "\\u000a \\",
    "a carriage return": "x\r" + FORGED,
    "steering": STEERING,
}


def parsed(path: Path, form: str) -> tuple[list[dict[str, Any]], str]:
    """The rows that ``parse`` prints, and its text."""
    text = invoke("parse", path, "--format", form).expect(0).out.decode()
    return [json.loads(line) for line in text.split("\n")[:-1]], text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ONE_LINE)
def test_a_line_forges_no_other(tmp_path: Path, form: str, name: str) -> None:
    """What a client sends comes out as it was sent: its escapes decoded once, and never a line of its own."""
    (tmp_path / "log").write_bytes((line_with(form, ONE_LINE[name]) + "\n").encode())
    rows, text = parsed(tmp_path / "log", form)
    assert [row.get("url_path") for row in rows] == ["/real"]
    assert rows[0]["user_agent_original"] == ONE_LINE[name]
    assert harmless(text)


def test_a_newline_within_a_value_makes_no_line(tmp_path: Path) -> None:
    """JSON can hold one, and so a value does; a wrapped message that does would be two lines, and is rejected."""
    for form, outcome in (("json", "x\n" + FORGED), ("docker+combined", "")):
        (tmp_path / "log").write_bytes((line_with(form, "x\n" + FORGED) + "\n").encode())
        rows, text = parsed(tmp_path / "log", form)
        assert len(rows) == 1
        assert (rows[0].get("user_agent_original", ""), "rejected" in rows[0]) == (outcome, not outcome)
        assert harmless(text)


@pytest.mark.parametrize(
    ("logged", "meant"),
    [(r"\\n", r"\n"), (r"\\\\", r"\\"), (r"\\\"", r"\""), (r"\n", r"\n"), (r"\x1b[31m", r"\x1b[31m"), (r"\\x22", r"\x22")],
)
def test_escapes_are_decoded_once(tmp_path: Path, logged: str, meant: str) -> None:
    """Of an access log those of quote and backslash; all others stay as the server wrote them."""
    line = line_with("combined", "AGENT").replace("AGENT", logged)
    (tmp_path / "log").write_text(line + "\n")
    assert [row["user_agent_original"] for row in parsed(tmp_path / "log", "combined")[0]] == [meant]
    (tmp_path / "log").write_text(json.dumps({"log": line + "\n", "stream": "stdout", "time": TIME}) + "\n")
    assert [row["user_agent_original"] for row in parsed(tmp_path / "log", "docker+combined")[0]] == [meant]


# ----------------------------------------------------------------------------------------------------------------- a terminal


def harmless(text: str) -> bool:
    """Whether a terminal may have it: of control characters no more than newlines."""
    return not {c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0}


def on_terminal(*arguments: str | Path, cwd: Path) -> str:
    """All that a command writes to a terminal that knows no colours and turns nothing into anything else."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "300", "LINES": "50", "PYTHONUTF8": "1"}
    command = [PROGRAM, *map(str, arguments)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment):
        os.close(slave)
        text = b"".join(_until_closed(master)).decode()
    os.close(master)
    return text


def _until_closed(master: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # Linux says so when the last writer has gone
            return
        if not piece:
            return
        yield piece


@pytest.fixture(scope="module")
def steering(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of a steering name with steering lines, and a lake that has read it."""
    folder = tmp_path_factory.mktemp("steering")
    log = folder / f"log{STEERING}\n"
    lines = [line_with("combined", STEERING), line_with("combined", "x").replace("/real", f"/{STEERING}?{STEERING}"), STEERING]
    log.write_bytes("".join(line + "\n" for line in lines).encode() + b"\x9b31m\xff\n")
    lake = CommandLine(folder / "lake").begin("2015-05-20T00:00:00Z")
    assert lake("ingest", log, "--format", "combined")["stored"] == 2
    return log, lake.data_dir


QUERY = "SELECT user_agent_original, url_path, url_query, labels FROM requests"
SHOWN = {
    "a table": (("query", QUERY), "\\x1b]0;t"),
    "csv": (("query", "--format", "csv", QUERY), "\\x1b]0;t"),
    "json": (("query", "--format", "json", QUERY), "\\u001b]0;t"),
    "named by the statement": (("query", f'SELECT 1 AS "{STEERING}"'), "\\x1b]0;t"),
    "a statement that fails": (("query", f"SELECT '{STEERING}' FROM nothing{STEERING}"), "auditlake: "),
    "quarantine list": (("quarantine", "list"), "\\x1b]0;t"),
    "parse": (("parse", "LOG", "--format", "combined"), "\\u001b]0;t"),
    "parse and choose": (("parse", "LOG"), "\\x1b]0;t"),
    "formats test": (("formats", "test", "LOG", "--format", "combined"), "\\x1b]0;t"),
    "formats test and choose": (("formats", "test", "LOG", "--json"), "\\u001b]0;t"),
    "ingest": (("ingest", "LOG", "nowhere/LOG"), "\\x1b]0;t"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_terminal_is_shown(steering: tuple[Path, Path], name: str) -> None:
    log, data_dir = steering
    arguments, expected = SHOWN[name]
    named = [part.replace("LOG", log.name) for part in arguments]
    text = on_terminal("--data-dir", data_dir, *named, cwd=log.parent)
    assert expected in text
    assert "Traceback" not in text
    assert harmless(text), sorted({c for c in text if not harmless(c)})


def test_what_a_terminal_is_shown_of_a_rejected_line(steering: tuple[Path, Path]) -> None:
    log, data_dir = steering
    listed = invoke("--data-dir", data_dir, "--json", "quarantine", "list").expect(0).json["lines"]
    assert len(listed) == 2
    for line, options, expected in zip(listed, ((), ("--json",)), ("\\x9b31m", "x9b31m"), strict=True):
        text = on_terminal("--data-dir", data_dir, "quarantine", "show", line["id"], *options, cwd=log.parent)
        assert expected in text or "\\u009b31m" in text
        assert harmless(text)
