"""Formats whose lines depend on the lines before: the same rows, whatever happens between the batches."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from auditlake import lake as lakes
from auditlake.settings import Settings
from core import schema
from core.clock import UTC
from ingest.batches import Limits
from ingest.formats import registry
from ingest.formats.base import Parsed, State
from ingest.lines import Lines
from jobs import ingest as job
from jobs.ingest import IngestOptions, Tally, ingest
from tests.commandline import CommandLine, combined
from transforms.pipeline import TransformOptions

NOW = dt.datetime(2015, 5, 20, tzinfo=UTC)
COUNTED = ("stored", "quarantined", "refused", "repeated")


class Toy:
    """``#host NAME`` is a header; ``GET PATH`` a request to that host; a line that ends in ``+`` goes on in the next one."""

    name, description, source, sample, stateful = "toy", "a toy", "https://example.com", "#host a\nGET /", True

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        host, begun = state or ("", "")
        rows: list[tuple[str, str]] = []
        outcome: dict[str, list[int]] = {"row": [], "none": [], "bad": []}
        for number in range(len(lines)):
            text = begun + lines.line(number).decode()
            begun = text[:-1] if text.endswith("+") else ""
            header = re.fullmatch("#host (.*)", text)
            host = header[1] if header else host
            request = re.fullmatch("GET (/.*)", text) if host and not begun else None
            rows += [(host, request[1])] if request else []
            outcome["none" if begun or header else "row" if request else "bad"].append(number)
        columns = {
            "event_time": pa.array([NOW - dt.timedelta(days=1)] * len(rows), schema.EVENT_TIME),
            "url_domain": pa.array([row[0] for row in rows], pa.string()),
            "url_path": pa.array([row[1] for row in rows], pa.string()),
        }
        numbers = {name: np.array(found, np.int64) for name, found in outcome.items()}
        reasons = ["no request"] * len(outcome["bad"])
        return Parsed(pa.RecordBatch.from_pydict(columns), numbers["row"], numbers["bad"], reasons, numbers["none"], (host, begun))

    def skim(self, lines: Lines, state: State = None) -> State:
        return self.parse(lines, state).state


class Crash(BaseException):
    """The process is gone."""


LINES = [
    "#host one\n", "GET /a\n", "GET /b\n", "GET /long+\n", "er+\n", "path\n", "#host two\n", "GET /c\n", "\n", "GET /d\n",
    "#host three\n", "#host four\n", "GET /e+\n", "nd\n", "GET /f\n", "GET /g\n", "GET /h\n", "GET /i\n", "junk\n", "GET /j\n",
]  # fmt: skip
ROWS = [
    ("one", "/a"), ("one", "/b"), ("two", "/c"), ("two", "/d"), ("four", "/end"), ("four", "/f"), ("four", "/g"), ("four", "/h"),
    ("four", "/i"), ("four", "/j"), ("one", "/longerpath"),
]  # fmt: skip


class Site:
    """A data directory and a log."""

    def __init__(self, folder: Path, form: str, lines: int = 3) -> None:
        self.lake = CommandLine(folder / "lake").begin("2015-05-20T00:00:00Z")
        self.log = folder / "log"
        self.options = IngestOptions(format=form, limits=Limits(batch_lines=lines), transforms=TransformOptions(geo=False))

    def read(self, data: str, name: str = "log", crash_before: int | None = None) -> Tally:
        """Ingest the log with this content; ``crash_before`` a batch of that number, from 0."""
        path = self.log.with_name(name)
        path.write_bytes(data.encode())
        kept, left = job._store, iter(range(1 << 30))

        def store(*arguments: Any) -> None:
            if next(left) == crash_before:
                raise Crash
            kept(*arguments)

        with lakes.open_lake(self.lake.data_dir, Settings()) as lake, pytest.MonkeyPatch.context() as patch:
            patch.setattr(job, "_store", store)
            tally = ingest(lake.context, [str(path)], self.options)
        assert tally.errors == []
        assert tally.read == sum(getattr(tally, name) for name in COUNTED)
        return tally

    def rows(self) -> list[tuple[str, str]]:
        found = self.lake.rows("SELECT url_domain, url_path FROM requests ORDER BY url_path")
        return [(row["url_domain"], row["url_path"]) for row in found]


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._formats, "toy", Toy())


@pytest.fixture(params=["toy", "auto"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def test_the_state_goes_from_batch_to_batch(site: Site) -> None:
    tally = site.read("".join(LINES))
    assert site.rows() == ROWS
    assert (tally.stored, tally.quarantined, tally.eventless, tally.read, tally.batches) == (11, 2, 7, 13, 7)
    again = site.read("".join(LINES))
    assert (again.read, again.repeated, again.eventless) == (20, 20, 0), "every line is repeated like any other"
    events = site.lake.events("BatchIngested")
    assert sum(event.get("eventless", 0) for event in events) == 7
    assert all(event["read"] == event["stored"] + event["quarantined"] + event["refused"] for event in events)
    assert {event["format"] for event in events} == {"toy"}
    assert site.lake("verify", "--full")["ok"]


@pytest.mark.parametrize("batch", [0, 2, 3, 6])
def test_a_crash_between_batches_changes_no_row(site: Site, batch: int) -> None:
    with pytest.raises(Crash):
        site.read("".join(LINES), crash_before=batch)
    site.read("".join(LINES))
    assert site.rows() == ROWS
    assert site.lake("quarantine", "list")["quarantined"] == 2
    assert site.lake("verify", "--full")["ok"]


@pytest.mark.parametrize("step", [2, 7])
def test_a_file_that_grows_line_by_line(site: Site, step: int) -> None:
    for end in range(step, len(LINES) + step, step):
        site.read("".join(LINES[:end]), name=f"log.{end}")
    assert site.rows() == ROWS
    assert site.lake("quarantine", "list")["quarantined"] == 2


def test_a_file_that_grows_sign_by_sign(tmp_path: Path) -> None:
    """A first part of a line that can be read is a row, and its rest is not: as for all formats. All else is the same."""
    site, whole = Site(tmp_path, "toy", 100), "".join(LINES[:9])
    for end in range(0, len(whole) + 1, 5):
        site.read(whole[:end])
    site.read(whole)
    assert {host for host, _ in site.rows()} == {"one", "two"}
    reasons = site.lake("quarantine", "list")["reasons"]
    assert set(reasons) <= {"no request", "continues a line already read", "empty line"}
    assert site.lake("verify", "--full")["ok"]


def test_a_file_that_was_cut_and_goes_on_in_another_way_branches_with_its_state(site: Site) -> None:
    site.read("".join(LINES))
    shorter = LINES[:8]
    assert site.read("".join(shorter)).repeated == 8
    tally = site.read("".join([*shorter, "GET /x\n", "GET /y\n"]))
    assert (tally.repeated, tally.stored) == (8, 2)
    assert {("two", "/x"), ("two", "/y")} <= set(site.rows())


def test_a_last_line_that_is_a_header_waits_for_its_end(site: Site) -> None:
    """It may be still being written: neither counted nor read for good, and no fragment of it in quarantine."""
    tally = site.read("#host one\nGET /a\n#host tw")
    assert (tally.read, tally.stored, tally.eventless, tally.quarantined) == (1, 1, 1, 0)
    again = site.read("#host one\nGET /a\n#host tw")
    assert (again.read, again.repeated, again.eventless, again.batches) == (2, 2, 0, 0)
    more = site.read("#host one\nGET /a\n#host two\nGET /b\n")
    assert (more.stored, more.repeated, more.eventless) == (1, 2, 1)
    assert site.rows() == [("one", "/a"), ("two", "/b")]
    assert site.lake("quarantine", "list")["quarantined"] == 0
    assert site.lake("verify", "--full")["ok"]


def test_a_first_part_without_end_is_not_joined_for_good(site: Site) -> None:
    site.read("#host one\nGET /a\nGET /b+")
    site.read("#host one\nGET /a\nGET /b+\nc\n")
    assert site.rows() == [("one", "/a"), ("one", "/bc")]


def test_a_file_of_headers_alone_is_read_and_holds_nothing(site: Site) -> None:
    tally = site.read("#host one\n#host two\n")
    assert (tally.read, tally.eventless, tally.batches) == (0, 2, 1)
    tally = site.read("#host one\n#host two\nGET /a\n")
    assert (tally.stored, tally.repeated) == (1, 2)
    assert site.rows() == [("two", "/a")]


def test_retry_leaves_lines_that_hold_no_event(tmp_path: Path) -> None:
    site = Site(tmp_path, "combined")
    site.read("#host one\nGET /a\n" + combined({"19/May/2015": 1}).decode())
    assert site.lake("quarantine", "list")["quarantined"] == 2
    done = site.lake("quarantine", "retry", "--format", "toy")
    assert (done["read"], done["stored"], done["quarantined"]) == (2, 1, 1)
    assert site.lake("verify", "--full")["ok"]


def test_retry_leaves_lines_of_a_format_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, "toy")
    site.read("junk\n")
    monkeypatch.delitem(registry._formats, "toy")
    done = site.lake("quarantine", "retry")
    assert (done["read"], done["quarantined"], len(done["warnings"])) == (1, 1, 1)
    assert "lines read as toy stay: 'toy' is not a format" in done["warnings"][0]


# ---------------------------------------------------------------------------------------------------- changes of format

CHANGING = [
    *combined({"19/May/2015": 7}).decode().splitlines(keepends=True),
    "#Fields: date time c-ip cs-uri-stem sc-status\n",
    *[f"2015-05-19 10:00:00 10.0.0.1 /w3c/{n} 200\n" for n in range(5)],
    *[f'{{"@timestamp":"2015-05-19T10:00:00Z","url.path":"/json/{n}"}}\n' for n in range(9)],
]


def test_a_change_of_format_is_followed_and_named(tmp_path: Path) -> None:
    site = Site(tmp_path, "auto", 100)
    tally = site.read("".join(CHANGING))
    assert (tally.stored, tally.eventless, tally.quarantined) == (21, 1, 0)
    assert [event["format"] for event in site.lake.events("BatchIngested")] == ["combined, w3c, json"]
    assert {name: choice.name for name, choice in tally.chosen.items()} == {str(site.log): "combined"}


def test_a_named_format_is_not_left(tmp_path: Path) -> None:
    site = Site(tmp_path, "combined", 100)
    tally = site.read("".join(CHANGING))
    assert (tally.stored, tally.quarantined, tally.chosen) == (7, 15, {})


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_a_change_of_format_is_followed_in_the_same_way_after_a_crash(tmp_path: Path, batch: int) -> None:
    (tmp_path / "calm").mkdir()
    calm, crashed = Site(tmp_path / "calm", "auto"), Site(tmp_path, "auto")
    calm.read("".join(CHANGING))
    with pytest.raises(Crash):
        crashed.read("".join(CHANGING), crash_before=batch)
    crashed.read("".join(CHANGING))
    assert crashed.rows() == calm.rows()
    assert len(calm.rows()) == 19, "all but the first two of the last kind: they came before it was certain"
    assert json.dumps(crashed.lake("quarantine", "list")["reasons"]) == json.dumps(calm.lake("quarantine", "list")["reasons"])


def test_a_later_run_looks_at_the_head_and_not_at_the_new_lines(tmp_path: Path) -> None:
    site, log = Site(tmp_path, "auto", 100), combined({"19/May/2015": 30}).decode()
    site.read(log)
    tally = site.read(log + "junk\n")
    assert (tally.repeated, tally.quarantined) == (30, 1)
    assert tally.chosen[str(site.log)].name == "combined"
    assert site.read(log + "junk\n").chosen == {}, "nothing is said of a file without new lines"
