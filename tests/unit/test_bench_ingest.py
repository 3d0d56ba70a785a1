"""The benchmark of ingest, and the program without enrichment that is measured beside it."""

import datetime as dt
import json
import re
import sys
from pathlib import Path

import pytest

from bench import ingest as bench
from bench.generate import generate
from bench.measure import Run
from bench.plain import ENRICHERS, main, plain
from transforms.pipeline import TransformOptions, build

LINES = 60


def test_plain_differs_by_its_enrichers_alone() -> None:
    named = [transform.name for transform in build().transforms]
    assert set(ENRICHERS) < set(named)
    assert [transform.name for transform in plain().transforms] == [name for name in named if name not in ENRICHERS]
    assert plain(TransformOptions(redact=())).versions == {
        name: version for name, version in build(TransformOptions(redact=())).versions.items() if name not in ENRICHERS
    }


def test_the_program_without_enrichment_stores_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_here(*command: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["auditlake", *command[len(bench.PLAIN) :]])
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == 0
        return Run(1.0, 1.0, 1.0, capsys.readouterr().out)

    log = tmp_path / "access.log"
    log.write_bytes(b"".join(generate(LINES, 1, dt.date.fromisoformat(bench.FIRST_DAY))))
    monkeypatch.setattr(bench, "run", run_here)
    assert json.loads(bench.ingest(log, tmp_path / "data", LINES, bench.PLAIN).output)["stored"] == LINES


class _Machine:
    """Answers as the programs do, without running them: the floor takes 2 s of CPU, ingest 4, plain 3, the script 24."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def run(self, *command: str) -> Run:
        self.asked.append(command)
        lines = 0
        if "bench.generate" in command:
            Path(command[-1].removeprefix("--out=")).write_bytes(b"line\n" * int(command[3]))
        elif log := next((Path(word) for word in command if word.endswith(".log")), None):
            lines = log.read_bytes().count(b"\n")
        cpu = {"bench.floor": 2.0, "bench.plain": 3.0, "bench.script": 24.0}.get(command[2], 4.0)
        report = f'{{"read": {lines}, "stored": {lines}, "quarantined": 0, "refused": 0, "repeated": 0}}'
        return Run(cpu / 2, cpu, 100.0, report if "--json" in command else str(lines))


def test_the_command_says_ratios_share_and_memory(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _Machine()
    monkeypatch.setattr(bench, "run", machine.run)
    bench.main(["--lines", "50", "--script-lines", "20"])
    said = capsys.readouterr().out
    assert "ingest takes 2.00 times (2.00) that of the floor" in said
    assert "enrichment (places, networks, agents) is 25.0% of its CPU time, 25.0% of its wall time" in said
    assert "the script takes 6.00 times (6.00) that of ingest" in said
    assert "peak memory of ingest: 100 MiB at 50 lines, 100 MiB at 20 lines" in said
    rows = {row[0]: row[1] for line in said.splitlines() if len(row := re.split(r"\s{2,}", line)) == 7}
    assert rows["floor: raw lines in DuckDB"] == rows["ingest, nothing enriched"] == "50"
    assert (rows["script of a user"], rows["apache-combined"], rows["nasa-common"]) == ("20", "10,000", "4,000")


def test_a_program_that_loses_lines_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = _Machine()
    monkeypatch.setattr(bench, "run", machine.run)
    (tmp_path / "access.log").write_bytes(b"line\n" * 60)
    with pytest.raises(SystemExit, match="61 lines were written, and ingest reports"):
        bench.ingest(tmp_path / "access.log", tmp_path / "data", 61)
    monkeypatch.setattr(bench, "run", lambda *command: Run(1, 1, 1, "7") if "bench.floor" in command else machine.run(*command))
    with pytest.raises(SystemExit, match=r"50 lines were written, and bench\.floor stored 7"):
        bench.main(["--lines", "50"])
