"""The scrub reads the whole archive in so many nights, sees decay, and stays red until that is mended."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlake import lake as lakes
from auditlake.lake import Lake, advance_clock, open_lake
from auditlake.settings import JobsSettings, ScrubSettings, Settings
from compliance.scrub import fault, part
from core.clock import UTC
from core.policy import Period
from core.segment import Segment
from jobs import runner, scrub
from jobs.context import Outcome
from jobs.ingest import IngestOptions, ingest
from tests.simulation.support import log_line
from transforms.pipeline import TransformOptions

FIRST = dt.date(2015, 5, 20)
SETTINGS = Settings(jobs=JobsSettings(scrub=ScrubSettings(schedule="0 0 * * *", nights=2)))


def day(number: int) -> Segment:
    return Segment("requests", FIRST + dt.timedelta(days=number))


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 1000), min_size=1), st.integers(1, 40), st.integers(0, 60))
def test_every_day_is_read_in_so_many_nights(sizes: dict[int, int], nights: int, begin: int) -> None:
    days = {day(number): size for number, size in sizes.items()}
    after, seen = day(begin), set[Segment]()
    for _ in range(nights):
        tonight = part(days, after, nights)
        assert len(set(tonight)) == len(tonight) >= 1
        assert sum(days[segment] for segment in tonight[:-1]) <= sum(days.values()) / nights
        seen |= set(tonight)
        after = tonight[-1]
    assert {segment for segment in days if days[segment]} <= seen


def test_a_part_goes_on_after_the_last_day_even_when_that_is_gone() -> None:
    sizes = {day(number): 10 for number in (1, 2, 4, 5)}
    assert part(sizes, None, 2) == [day(1), day(2)]
    assert part(sizes, day(2), 2) == [day(4), day(5)]
    assert part(sizes, day(3), 2) == [day(4), day(5)]
    assert part(sizes, day(4), 2) == [day(5), day(1)]
    assert part({}, day(4), 2) == []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four archived days."""
    path = tmp_path / "data"
    lakes.create(path, SETTINGS, dt.datetime(2015, 5, 23, 12, tzinfo=UTC))
    log = tmp_path / "access.log"
    noon = dt.datetime(2015, 5, 20, 12, tzinfo=UTC)
    log.write_text("".join(log_line(number, noon + dt.timedelta(days=number % 4)) for number in range(40)))
    with open_lake(path, SETTINGS) as lake:
        ingest(lake.context, [str(log)], IngestOptions("requests", "combined", transforms=TransformOptions(geo_city=None, geo_asn=None)))
    later(path, "40 days")
    with open_lake(path, SETTINGS) as lake:
        runner.run(lake.context, "roll")
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Segment]:
    """The days that are read."""
    seen: list[Segment] = []
    really = fault

    def noted(stores: object, files: list[object], expected: str) -> str:
        seen.append(files[0].segment)  # type: ignore[attr-defined] # archived files, whose type does not matter here
        return really(stores, files, expected)  # type: ignore[arg-type] # as above

    monkeypatch.setattr(scrub, "fault", noted)
    monkeypatch.setattr(scrub, "part", lambda sizes, after, nights: part(dict.fromkeys(sizes, 1), after, nights))  # files differ a little
    return seen


def later(path: Path, by: str) -> None:
    with open_lake(path, SETTINGS) as lake:
        advance_clock(lake, Period.parse(by))


def run(path: Path) -> Outcome:
    with open_lake(path, SETTINGS) as lake:
        return runner.run(lake.context, "scrub")


def file_of(lake: Lake, segment: Segment) -> Path:
    (path,) = [Path(file.path.removeprefix("file://")) for file in lake.context.archive.files("requests") if file.segment == segment]
    return path


def test_an_archive_is_read_in_parts_one_a_night(data: Path, read: list[Segment]) -> None:
    with open_lake(data, SETTINGS) as lake:
        planned = runner.run(lake.context, "scrub", dry_run=True)
    assert (planned.outcome, planned.figures["days"], planned.figures["of_days"], read) == ("planned", 2, 4, [])
    assert run(data).outcome == "done"
    first = read.copy()
    assert run(data).outcome == "nothing due"
    assert read == first
    later(data, "1 day")
    assert run(data).outcome == "done"
    assert first == [day(0), day(1)]
    assert read == [day(0), day(1), day(2), day(3)]
    later(data, "1 day")
    run(data)
    assert read[4:] == [day(0), day(1)]


def test_decay_is_red_until_it_is_mended(data: Path, read: list[Segment]) -> None:
    with open_lake(data, SETTINGS) as lake:
        path = file_of(lake, day(1))
    whole = path.read_bytes()
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 64]) + whole[middle + 64 :])
    outcome = run(data)
    assert outcome.outcome == "failed"
    assert [problem.partition(":")[0] for problem in outcome.problems] == ["requests/2015-05-21"]
    read.clear()
    assert run(data).outcome == "failed"
    assert read == [day(1)]
    later(data, "1 day")
    assert run(data).outcome == "failed"
    assert read[1:] == [day(1), day(2), day(3)]
    path.write_bytes(whole)
    assert run(data).outcome == "done"
    assert run(data).outcome == "nothing due"


def test_rows_that_were_exchanged_are_seen(data: Path) -> None:
    with open_lake(data, SETTINGS) as lake:
        one, other = file_of(lake, day(0)), file_of(lake, day(1))
    one.write_bytes(other.read_bytes())
    (problem,) = run(data).problems
    assert problem.startswith("requests/2015-05-20: the archive's digest is ")


def test_a_day_that_is_destroyed_meanwhile_has_no_fault(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = fault

    def destroyed(*arguments: object) -> str:
        with open_lake(data, SETTINGS) as lake:
            path = file_of(lake, day(0)) if any(file.segment == day(0) for file in lake.context.archive.files("requests")) else None
        if path:
            later(data, "325 days")
            with open_lake(data, SETTINGS) as lake:
                assert runner.run(lake.context, "purge").outcome == "done"
        return really(*arguments)  # type: ignore[arg-type] # what it was called with

    monkeypatch.setattr(scrub, "fault", destroyed)
    outcome = run(data)
    assert (outcome.outcome, outcome.problems) == ("done", ())
