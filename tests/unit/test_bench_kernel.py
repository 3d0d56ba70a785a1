"""The compiled kernel gives what the product gives, whatever the lines hold."""

import datetime as dt
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditlake import cli
from bench import kernel as bench
from bench.generate import generate
from bench.ingest import AUDITLAKE, FIRST_DAY, REAL_LOGS, ingest
from bench.kernel import cutting, parsing, stored
from bench.kernel_binding import TEXTS, Cut, Kernel, compile_kernel
from bench.measure import Run
from ingest.lines import Lines

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

_LINE = '1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326 "http://a/" "Mozilla/4.08"'
ODD = [
    "",
    "\0" + _LINE,
    _LINE[:-1],
    _LINE[:60],
    _LINE + " more",
    _LINE.replace("- -", "ident -"),
    _LINE.replace("- -", "-  "),
    _LINE.replace("- -", '- a"b'),
    _LINE.replace("1.2.3.4", "-"),
    _LINE.replace("10/Oct", "31/Nov"),
    _LINE.replace("10/Oct", "29/Feb"),
    _LINE.replace("10/Oct/2000", "29/Feb/1900"),
    _LINE.replace("10/Oct/2000", "31/Dec/9999").replace("-0700", "-2359"),
    _LINE.replace("10/Oct/2000", "01/Jan/1970").replace("-0700", "+2359"),
    _LINE.replace("-0700", "+2400"),
    _LINE.replace("13:55:36", "23:59:60"),
    _LINE.replace("13:55:36", "24:00:00"),
    _LINE.replace("GET /a HTTP/1.0", ""),
    _LINE.replace("GET /a HTTP/1.0", "-"),
    _LINE.replace("GET /a HTTP/1.0", "GET /a"),
    _LINE.replace("GET /a HTTP/1.0", "GET  HTTP/1.0"),
    _LINE.replace("GET /a HTTP/1.0", "GET / HTTP/2"),
    _LINE.replace("GET /a HTTP/1.0", "HTTP/1.1"),
    _LINE.replace("GET /a HTTP/1.0", "M-SEARCH /a b HTTP/1.1"),
    _LINE.replace("GET /a HTTP/1.0", "9GET /a HTTP/1.1"),
    _LINE.replace("GET /a HTTP/1.0", "GET - HTTP/1.1"),
    _LINE.replace("GET /a", r"GET /\"a\\"),
    _LINE.replace("200", "99"),
    _LINE.replace("200 2326", "- -"),
    _LINE.replace("2326", "9223372036854775807"),
    _LINE.replace("2326", "9223372036854775808"),
    _LINE.replace("2326", "00000000000000000001"),
    _LINE.replace("2326", "-1"),
    _LINE.replace("Mozilla/4.08", ""),
    _LINE.replace("Mozilla/4.08", "-"),
    _LINE.replace("Mozilla/4.08", "Möz" * 100),
    _LINE.replace("Mozilla/4.08", 'a "quoted" agent'),
    _LINE.replace("http://a/", "-"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_kernel(tmp_path_factory.mktemp("kernel"))


@pytest.fixture(params=["folding", "tables"])
def kernel(library: Path, request: pytest.FixtureRequest) -> Kernel:
    kernel = Kernel(library)
    kernel.folds &= request.param == "folding"
    return kernel


def _log(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(data)
    return path


def test_digests_are_those_of_zlib(kernel: Kernel) -> None:
    pieces = [bytes(np.random.default_rng(length).integers(11, 256, length, np.uint8)) for length in range(400)]
    data = np.frombuffer(b"\n".join(pieces) + b"\n", np.uint8)
    cut = Cut(len(pieces))
    for filled in (1000, 1001, len(data)):
        kernel.cut(data, filled, 1 << 20, cut)
    assert cut.count == len(pieces)
    assert cut.digests.tolist() == [zlib.crc32(piece) for piece in pieces]
    assert cut.newlines.tolist() == np.flatnonzero(data == 10).tolist()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_odd_lines_become_what_they_become_without_it(end: bytes, kernel: Kernel, tmp_path: Path) -> None:
    lines = [line.encode() for line in [_LINE, *ODD] + [_LINE] * 200]
    log = _log(tmp_path, end.join([*lines, b"\xff" + lines[0], b""]))
    assert cutting(log, kernel, 1)[0].lines == len(lines) + 1
    assert parsing(log, kernel, 1)[0].lines == len(lines) + 1 - 2
    assert 15 <= kernel.odd / 3 <= len(ODD)


def test_a_last_line_without_its_newline_is_read_too(kernel: Kernel, tmp_path: Path) -> None:
    assert parsing(_log(tmp_path, _LINE.encode()), kernel, 1)[0].lines == 1


def test_generated_and_real_lines_become_what_they_become_without_it(kernel: Kernel, tmp_path: Path) -> None:
    generated = b"".join(generate(3000, 1, dt.date.fromisoformat(FIRST_DAY)))
    real = (REAL_LOGS / "apache-combined" / "access.log").read_bytes()
    log = _log(tmp_path, generated + real)
    assert cutting(log, kernel, 1)[0].lines == parsing(log, kernel, 1)[0].lines == 13_000
    assert kernel.odd < kernel.lines / 100


def test_a_kernel_that_differs_is_found(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _log(tmp_path, f"{_LINE}\n".encode())
    monkeypatch.setattr("ingest.batches.line_digests", lambda _data, starts, _ends: np.zeros(len(starts), np.uint32))
    with pytest.raises(SystemExit, match="the kernel's chunks are not the product's"):
        cutting(log, kernel, 1)
    monkeypatch.setattr("bench.kernel_binding.TEXTS", (TEXTS[1], TEXTS[0], *TEXTS[2:]))
    with pytest.raises(SystemExit, match="the kernel's columns are not the product's"):
        parsing(log, kernel, 1)


def test_the_stages_are_told(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = _log(tmp_path, f"{_LINE}\n".encode() * 7 + b"nonsense\n")
    bench.main(["--repeats", "1", "--stages", str(library), str(log)])
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith("are equal; the kernel left 1 of 8 lines to the product's parse")


def test_ingest_with_the_kernel_stores_the_same_rows(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (sys.executable, "-m", "bench.kernel", "--as-ingest", str(library))
    parsed: list[int] = []
    parse = Kernel.parse

    def counted(self: Kernel, lines: Lines) -> Any:
        parsed.append(len(lines))
        return parse(self, lines)

    monkeypatch.setattr(Kernel, "parse", counted)

    def run_here(*command: str) -> Run:
        is_kernel = command[: len(program)] == program
        monkeypatch.setattr(sys, "argv", list(command[2 if is_kernel else 0 :]))
        with pytest.raises(SystemExit) as done:
            (bench.main if is_kernel else cli.main)()
        assert done.value.code == 0
        return Run(1.0, 1.0, 1.0, capsys.readouterr().out)

    monkeypatch.setattr("bench.ingest.run", run_here)
    log = _log(tmp_path, b"".join(generate(300, 1, dt.date.fromisoformat(FIRST_DAY), 2)))
    ingest(log, tmp_path / "ordinary", 300, AUDITLAKE)
    assert parsed == []
    ingest(log, tmp_path / "kernel", 300, program)
    assert parsed == [300]
    found = stored(tmp_path / "kernel")
    assert found == stored(tmp_path / "ordinary")
    assert sum(rows for rows, _ in found.values()) == 300


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    for begin in (lambda: bench.main(["--lines", "1"]), lambda: compile_kernel(tmp_path)):
        with pytest.raises(SystemExit, match=r"^bench\.kernel needs a C compiler, and there is no cc on the path$"):
            begin()
