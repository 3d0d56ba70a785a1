"""``auditlake sql``: as a script that reads standard input, and on a real pseudo-terminal with the installed program."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from auditlake.shell import COMMANDS, split
from auditlake.shell_prompt import SqlCompleter, is_complete
from query.saved import every
from tests.commandline import PROGRAM, Answer, CommandLine, combined, invoke

PROMPT = "auditlake>"
ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t;"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    lake = CommandLine(tmp_path_factory.mktemp("lake") / "data").begin("2015-05-19T12:00:00Z")
    lake("ingest", "-", "--format", "combined", stdin=combined({"19/May/2015": 30}, user="ann"))
    return lake


def script(lake: CommandLine, text: str | bytes, *options: str | Path) -> Answer:
    given = text if isinstance(text, bytes) else text.encode()
    return invoke("--data-dir", lake.data_dir, "sql", *options, stdin=given)


# ------------------------------------------------------------------------------------------------------------ a script


def test_statements_of_several_lines_end_with_a_semicolon(lake: CommandLine) -> None:
    text = "\\format csv\nSELECT count(*)\n  AS n -- not; here\nFROM requests; SELECT 'a;b' AS t;\n\nSELECT 3 AS last"
    assert script(lake, text).expect(0).out == b'"n"\n30\n"t"\n"a;b"\n"last"\n3\n'


def test_an_error_is_one_line_and_the_rest_goes_on(lake: CommandLine) -> None:
    text = "SELECT nothing FROM requests;\nDROP VIEW requests;\nSELECT 1 AS one;\n\\nonsense\n\\run top_networks most=x\nSELECT 2 AS two;"
    answer = script(lake, text, "--json").expect(1)
    assert answer.out.split() == b'[ {"one":1} ] [ {"two":2} ]'.split()
    said = answer.err.strip().splitlines()
    assert len(said) == 4
    assert said[0].startswith("auditlake: the query cannot be run: Binder Error: Referenced column")
    assert said[1:3] == ["auditlake: DROP is not allowed; write one SELECT", "auditlake: there is no command \\nonsense; write \\? for all"]
    assert "parameter most of query top_networks is 'x'" in said[3]


def test_each_statement_sees_what_is_there_now(lake: CommandLine, tmp_path: Path) -> None:
    own = lake.copy(tmp_path / "own")
    shell = subprocess.Popen(
        [PROGRAM, "--data-dir", own.data_dir, "--json", "sql"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    counted = []
    for number in range(2):
        shell.stdin.write(b"SELECT count(*) AS n FROM requests;\n")
        shell.stdin.flush()
        counted.append([json.loads(b"".join(shell.stdout.readline() for _ in range(3)))][0][0]["n"])
        if not number:
            own("ingest", "-", "--format", "combined", stdin=combined({"18/May/2015": 5}))
    out, err = shell.communicate()
    assert (counted, out, err, shell.returncode) == ([30, 35], b"", b"", 0)


def test_commands(lake: CommandLine) -> None:
    shown = script(lake, "\\?\n\\d geo_c\n\\queries\n").expect(0).out.decode()
    assert all(name in shown for name in COMMANDS)
    assert re.findall(r"source_geo_\w+", shown) == [
        "source_geo_continent_code",
        "source_geo_country_iso_code",
        "source_geo_country_name",
        "source_geo_city_name",
    ]
    assert all(name in shown for name in every())
    assert "event_time" in script(lake, "\\d").expect(0).out.decode()
    assert "no column's name holds 'nix'" in script(lake, "\\d nix").expect(1).said
    ran = script(lake, "\\run subject_timeline subject=ann most=2 window='2 days';\n", "--json").expect(0).json
    assert [row["user_name"] for row in ran] == ["ann", "ann"]
    assert "use subject_timeline" in script(lake, "\\run subject_timelime").expect(1).said
    assert "needs the name of a saved query" in script(lake, "\\run").expect(1).said
    assert "No closing quotation" in script(lake, "\\run subject_timeline subject='ann").expect(1).said
    assert script(lake, "SELECT 1 AS a;\n\\q\nSELECT 2 AS b;", "--json").expect(0).json == [{"a": 1}]


def test_format_output_and_timing(lake: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "a result.csv"
    text = f"\\format csv\n\\o '{out}'\nSELECT 1 AS a;\nSELECT 2 AS b;\n\\timing\nSELECT 3 AS c;\n\\timing\n\\format xml\n\\o a b\n\\o\n"
    answer = script(lake, text).expect(1)
    assert out.read_bytes() == b'"a"\n1\n'
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert answer.out == b'"b"\n2\n"c"\n3\n'
    said = answer.err.strip().splitlines()
    assert said[:4] == ["results are written as csv", f"the next result goes to {out}", f"wrote {out}", "timing is on"]
    assert re.fullmatch(r"\d+\.\d{3} s", said[4])
    assert said[5:] == [
        "timing is off",
        "auditlake: 'xml' is not a format; use one of table, csv, json, parquet",
        "auditlake: \\o takes one file; put quotes around a name with blanks",
        "results are shown",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"SELECT '\xff';", "the statement holds a NUL or a broken character"),
        (b"SELECT 1" + b" " * 450_000 + b";", "a statement of more than 200000 characters is too long"),
        (b"SELECT " + b"'x', " * 30_000 + b"1;", "characters is too long; write at most 100000"),
        (b"SELECT 'unclosed; SELECT 1;", "cannot be parsed"),
        (b"SELECT 1; SELECT pragma_version() /* ", "cannot be parsed"),
    ],
)
def test_hostile_input(lake: CommandLine, text: bytes, why: str) -> None:
    answer = script(lake, text).expect(1)
    assert why in answer.err
    assert all(line.startswith("auditlake: ") for line in answer.err.strip().splitlines())


def test_nothing_to_do(lake: CommandLine, tmp_path: Path) -> None:
    for text in ("", "\n\n", "-- a comment; only\n;;\n/* ; */ ;"):
        answer = script(lake, text).expect(0)
        assert (answer.out, answer.err) == (b"", "")
    assert "there is no data directory" in invoke("--data-dir", tmp_path / "no", "sql").expect(2).said
    assert "stream 'other' is not configured" in script(lake, "SELECT 1;", "--stream", "other").expect(2).said


def test_a_script_that_is_interrupted_stops(lake: CommandLine) -> None:
    shell = subprocess.Popen(
        [PROGRAM, "--data-dir", lake.data_dir, "--json", "sql"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_sigint,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"SELECT 1 AS one;\n{ENDLESS}\n".encode())
    shell.stdin.flush()
    assert [shell.stdout.readline() for _ in range(3)][1] == b'{"one":1}\n'
    for _ in range(10):  # the first may come too early, before the statement runs
        shell.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(4)
            break
    shell.kill()
    out, err = shell.communicate()
    assert (out, shell.returncode) == (b"", 130)
    assert b"interrupted" in err
    assert b"Traceback" not in err


# ----------------------------------------------------------------------------------------------------------- splitting


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("a; b", ["a"], " b"),
        ("';' ; \";\" ; $$;$$ ; $t$ $$ ; $t$;", ["';'", '";"', "$$;$$", "$t$ $$ ; $t$"], ""),
        ("E'\\';' ; x", ["E'\\';'"], " x"),
        ("'\\'; x", ["'\\'"], " x"),
        ("name'; x", [], "name'; x"),
        ("a -- ;\n;", ["a -- ;"], ""),
        ("/* ; */ ; -- x", [], ""),
        ("'it''s; '; b;", ["'it''s; '", "b"], ""),
        ("a; '", ["a"], " '"),
        ("a /* ;", [], "a /* ;"),
    ],
)
def test_split(text: str, statements: list[str], rest: str) -> None:
    assert split(text) == (statements, rest)
    assert is_complete(text) is not bool(rest)


# ---------------------------------------------------------------------------------------------------------- completion


def completions(text: str) -> list[str]:
    found = SqlCompleter(every).get_completions(Document(text), CompleteEvent(completion_requested=True))
    return [completion.text for completion in found]


def test_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions("SELECT source_geo_loc") == ["source_geo_location_lat", "source_geo_location_lon"]
    assert completions("SELECT 1 FROM req") == ["requests"]
    assert completions("select 1 group by x hav") == ["HAVING"]
    assert completions("SELECT lake") == ["lake_now"]
    assert completions("SELECT read_c") == [], "functions that the gate refuses are not offered"
    assert completions("SELECT 1; SELECT event_t") == ["event_time"]
    for quiet in ("SELECT 'event_t", 'SELECT "event_t', "SELECT 1 -- event_t", "SELECT ", "", "/* event_t"):
        assert completions(quiet) == []
    assert completions("\\ru") == ["\\run"]
    assert completions("\\run impos") == ["sible_travel"] or completions("\\run impos") == ["impossible_travel"]
    assert completions("\\run top_networks m") == ["most="]
    assert completions("\\run top_networks most=1 ") == ["window=", "until=", "most="]
    assert completions("\\run nothing x") == []
    assert completions("\\format ") == ["table", "csv", "json", "parquet"]
    assert completions("\\d url_q") == ["url_query"]
    (tmp_path / "result.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert completions("\\o res") == ["ult.csv"]


# ---------------------------------------------------------------------------------------------------------- a terminal


_SEQUENCE = re.compile(r"\x1b(\[[0-9;?>]*[A-Za-z]|[()][A-Z0-9]|[=>])")


def _heed_sigint() -> None:
    """Whoever runs the tests in the background has it ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _take_terminal() -> None:
    """So that Ctrl-C is a signal."""
    _heed_sigint()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A person at a terminal of 200 columns, which runs the installed program."""

    def __init__(self, lake: CommandLine, *options: str | Path) -> None:
        self.end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [PROGRAM, "--data-dir", lake.data_dir, "sql", *options],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(other)
        self.raw, self.seen = "", ""

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def wait_for(self, text: str) -> str:
        """What came up to that text, without the terminal's own sequences."""
        deadline = time.perf_counter() + 50
        while not self.shows(text):
            assert time.perf_counter() < deadline, f"{text!r} did not come: {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def shows(self, text: str) -> bool:
        """Whether that text has come, or comes within two seconds."""
        deadline = time.perf_counter() + 2
        while text not in self.seen and time.perf_counter() < deadline:
            if select.select([self.end], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    self.raw += os.read(self.end, 65536).decode(errors="replace")
            whole, escape, rest = self.raw.rpartition("\x1b")  # the last sequence may not be whole yet
            if escape and not _SEQUENCE.match(escape + rest):
                self.raw, new = escape + rest, whole
            else:
                self.raw, new = "", self.raw
            self.seen += _SEQUENCE.sub("", new).replace("\r", "")
        return text in self.seen

    def close(self) -> int:
        code = self.process.wait(60)
        os.close(self.end)
        return code


@pytest.fixture
def terminal(lake: CommandLine) -> Iterator[Terminal]:
    opened = Terminal(lake)
    opened.wait_for(PROMPT)
    yield opened
    if opened.process.poll() is None:
        opened.process.kill()
        opened.close()


def test_a_person_at_a_terminal(terminal: Terminal) -> None:
    terminal.type("SELECT count(*) AS\r")
    terminal.wait_for("...>")
    terminal.type("n FROM req\t")
    terminal.wait_for("FROM requests")
    terminal.type(";\r")
    terminal.wait_for("1 row\n")
    terminal.wait_for(PROMPT)
    terminal.type("SELECT nothing;\r")
    assert "Traceback" not in terminal.wait_for("auditlake: the query cannot be run: Binder Error")
    terminal.wait_for(PROMPT)
    terminal.type("SELECT 'half a text")
    terminal.type("\x03")  # Ctrl-C while typing drops what was typed
    terminal.wait_for(PROMPT)
    terminal.type("SELECT 6 * 7 AS answer;\r")
    assert "42" in terminal.wait_for("1 row\n")
    terminal.wait_for(PROMPT)
    terminal.type("\x1b[A")  # arrow up: the statement before
    terminal.wait_for("6 * 7")
    terminal.type("\x03")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.close() == 0


def test_ctrl_c_cancels_what_runs(terminal: Terminal) -> None:
    terminal.type(f"{ENDLESS}\r")
    terminal.wait_for("FROM t;")
    for _ in range(20):  # the first may come too early, before the statement runs
        if terminal.shows("interrupted\n"):
            break
        terminal.type("\x03")
    terminal.wait_for("interrupted\n")
    terminal.wait_for(PROMPT)
    terminal.type("SELECT 40 + 2 AS n; SELECT 1 + 1 AS m;\r")
    assert "42" in terminal.wait_for("1 row\n")
    assert " 2 " in terminal.wait_for("1 row\n")
    terminal.wait_for(PROMPT)
    terminal.type("\\q\r")
    assert terminal.close() == 0


def test_history_is_kept_only_when_asked_and_for_the_owner_alone(lake: CommandLine, tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.touch(0o644)
    for number in range(2):
        terminal = Terminal(lake, "--history", history)
        terminal.wait_for(PROMPT)
        terminal.type("SELECT 'marker' AS m;\r" if not number else "\x1b[A\r")
        terminal.wait_for("1 row\n")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        assert terminal.close() == 0
        assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.read_text().count("SELECT 'marker' AS m;") == 1, "the same twice is kept once"
    (tmp_path / "link").symlink_to(history)
    for place, why in (
        (tmp_path / "link", "cannot be written: Too many levels of symbolic links"),
        (tmp_path / "no" / "x", "cannot be written: No such file or directory"),
        (Path("/dev/null"), "is not an ordinary file"),
    ):
        terminal = Terminal(lake, "--history", place)
        terminal.wait_for(f"auditlake: history {place} {why}")
        assert terminal.close() == 2
    assert not any(
        "marker" in path.read_text(errors="replace") for path in lake.data_dir.rglob("*") if path.is_file() and path.suffix != ".duckdb"
    )
