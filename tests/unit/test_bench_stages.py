"""The profile of ingest: it names every stage, and counts none twice."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import stages as bench
from bench.ingest import NOW, REAL_LOGS
from bench.stages import BUILD, PARSE, READ, REST, TOGETHER, WRITE, Stages, report
from jobs import ingest
from transforms.pipeline import build


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = (REAL_LOGS / "apache-combined" / "access.log").read_bytes().splitlines(keepends=True)
    path = tmp_path / "access.log"
    path.write_bytes(b"".join(lines[:200]))
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A CPU clock that goes as far as it is told."""
    now = [100.0]
    monkeypatch.setattr("bench.stages.time.process_time", lambda: now[0])
    return now


def test_a_stage_within_another_counts_for_itself(clock: list[float]) -> None:
    stages = Stages()

    def work(seconds: float) -> float:
        clock[0] += seconds
        return seconds

    def items() -> Iterator[float]:
        yield work(2.0)
        yield work(3.0)

    with stages.stage("outer"):
        work(1.0)
        assert stages.within("inner", work)(0.25) == 0.25
        for item in stages.each("items", items)():
            work(item * 10)
        with pytest.raises(ZeroDivisionError), stages.stage("inner"):
            work(1 / 0)
        work(4.0)
    work(1_000.0)
    assert stages.cpu == {"outer": 55.0, "inner": 0.25, "items": 5.0}


def test_the_report_ends_with_what_is_written_and_the_share() -> None:
    stages = Stages({REST: 1.0, WRITE: 2.0, READ: 1.0, "geolocate": 3.0, "agents": 1.0})
    lines = report(stages, 1_000_000)
    assert [re.split(r"\s{2,}", line)[0] for line in lines[1:-1]] == [READ, "geolocate", "agents", WRITE, REST, "in all"]
    assert re.split(r"\s{2,}", lines[2]) == ["geolocate", "3.00 s", "37.5%", "3.00 µs"]
    assert lines[-1] == "geolocate and agents are 50.0% of the CPU time"


def test_ingest_is_profiled_and_left_as_it_was(log: Path, tmp_path: Path) -> None:
    before = dict(vars(ingest))
    stages, lines = bench.profile(log, tmp_path / "data", "combined", NOW)
    assert lines == 200
    transforms = [transform.name for transform in build().transforms]
    assert set(stages.cpu) == {BUILD, READ, PARSE, *transforms, TOGETHER, WRITE, REST}
    assert all(stages.cpu[name] > 0 for name in (READ, PARSE, WRITE, REST, "geolocate", "agents"))
    assert dict(vars(ingest)) == before


def test_the_command_says_the_share(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--log", str(log)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "200 lines, one stage after the other"
    assert re.fullmatch(r"geolocate and agents are \d+\.\d% of the CPU time", said[-1])
