"""The command line for tests: in this process, which is fast, or as the installed program, which is the real thing."""

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from auditlake import console
from auditlake.cli import main

__all__ = ["PROGRAM", "Answer", "CommandLine", "combined", "invoke", "start"]

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "auditlake")
"""The installed command."""


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and the bytes of both outputs."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """The last line on standard error: the error, when there was one."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""

    def expect(self, code: int) -> "Answer":
        """The answer itself, which must have that exit code and no traceback."""
        assert self.code == code, f"exit code {self.code}, not {code}: {self.err or self.out.decode(errors='replace')}"
        assert "Traceback" not in self.err
        return self


def invoke(*arguments: str | Path, stdin: bytes = b"") -> Answer:
    """Run a command line in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    nothing: list[bool] = []  # as a new process has it
    fresh = patch.object(console, "_shown", nothing)
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "stdin", given), fresh:
        try:
            main([str(argument) for argument in arguments])
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return Answer(int(code or 0), out.buffer.getvalue(), err.getvalue())


def start(*arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Answer:
    """Run a command line as the installed program."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, env={**os.environ, **(environment or {})}, cwd=cwd, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


@dataclass(frozen=True)
class CommandLine:
    """Commands on one data directory; each call must end well and gives the JSON it printed."""

    data_dir: Path

    def copy(self, to: Path) -> "CommandLine":
        """The same directory once more, of which each test may take its own."""
        return CommandLine(Path(shutil.copytree(self.data_dir, to)))

    def try_(self, *arguments: str | Path, stdin: bytes = b"") -> Answer:
        """The same command line, however it ends."""
        return invoke("--data-dir", self.data_dir, "--json", *arguments, stdin=stdin)

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Any:
        return self.try_(*arguments, stdin=stdin).expect(0).json

    def begin(self, instant: str) -> "CommandLine":
        """Make the directory, with a simulated clock."""
        self("init", "--simulated-clock", instant)
        return self

    def advance(self, duration: str) -> str:
        """Move the clock."""
        return str(self("clock", "advance", duration)["now"])

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What a query answers."""
        found: list[dict[str, Any]] = self("query", sql)
        return found

    def value(self, sql: str) -> Any:
        """The one value that a query answers."""
        ((value,),) = (row.values() for row in self.rows(sql))
        return value

    def days(self) -> dict[str, int]:
        """Rows of each day, as analysts see them."""
        return {row["day"]: row["n"] for row in self.rows("SELECT event_day::VARCHAR AS day, count(*) AS n FROM requests GROUP BY ALL")}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Ledger events of these kinds."""
        found: list[dict[str, Any]] = self("ledger", *(part for kind in kinds for part in ("--kind", kind)))["events"]
        return found


def combined(
    days: Mapping[str, int], *, user: str = "-", agent: str = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
) -> bytes:
    """Lines in combined format: so many for each day, such as ``{"17/May/2015": 3}``; all different, dates in the given order."""
    return b"".join(_line(day, number, user, agent) for day, count in days.items() for number in range(count))


def _line(day: str, number: int, user: str, agent: str) -> bytes:
    when = f"{day}:{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d} +0000"
    address = f"83.149.{number // 250 % 250}.{number % 250 + 1}"
    return f'{address} - {user} [{when}] "GET /page/{day[:2]}/{number}?n={number} HTTP/1.1" 200 {number} "-" "{agent}"\n'.encode()
