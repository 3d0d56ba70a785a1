"""``auditlake report``: one page and the evidence beside it, whole or not at all, and nothing of what the log says in it."""

import sqlite3
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from auditlake import report_files
from auditlake.lake import open_lake
from auditlake.settings import Settings
from compliance.report_html import GENERATOR
from compliance.verifier import PACK
from core.errors import UsageError
from core.events import Kind
from core.steps import observe
from tests.commandline import CommandLine, combined, invoke
from tests.unit.compliance.markup_check import Page

DAYS = {"15/May/2015": 3, "16/May/2015": 4, "17/May/2015": 5}
NIGHT = ("purge", "checkpoint", "roll", "compact", "upkeep", "verify", "geoip", "scrub")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Three days of a user named mallory and a torn line, two months later destroyed; only the last night was kept."""
    config = tmp_path_factory.mktemp("lived")
    (config / "config.toml").write_text('[streams.requests]\nhot = "10 days"\nkeep = "30 days"\nquarantine = "10 days"\n')
    found = CommandLine(config / "data").begin("2015-05-17T12:00:00Z")
    found("ingest", "-", "--format", "combined", stdin=combined(DAYS, user="mallory") + b"torn by mallory\n")
    found("query", "SELECT count(*) FROM requests WHERE user_name = 'mallory'")
    found("query", "SELECT 7")
    found.advance("2 months")
    for job in NIGHT:
        found("run", job, "--config", config / "config.toml")
    return found


@pytest.fixture
def lake(lived: CommandLine, tmp_path: Path) -> CommandLine:
    return lived.copy(tmp_path / "data")


def config(lived: CommandLine) -> tuple[str, Path]:
    return "--config", lived.data_dir.parent / "config.toml"


def test_it_writes_a_page_and_a_pack_for_their_owner_alone(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "made" / "report"
    said = lake("report", "--from", "2015-05-01", "--to", "2015-12-31", "-o", out, *config(lived))
    assert {name: said[name] for name in ("html", "pack", "from", "to")} == {
        "html": str(out / "report.html"), "pack": str(out / "evidence.zip"), "from": "2015-05-17", "to": "2015-07-17",
    }  # fmt: skip
    assert [(each["kind"], each["where"], each["open"]) for each in said["exceptions"]] == [
        ("late purge", "requests", False),
        ("late purge", "requests.quarantine", False),
        ("missed nights", ", ".join(NIGHT), False),
        ("quarantine", "requests", False),
    ]
    assert said["exceptions"][0]["what"] == "3 days destroyed late, the latest 33 days after it was due"
    assert said["exceptions"][0]["since"] == "2015-06-14T00:00:00Z"
    assert set(said["exceptions"][0]) == {"kind", "what", "where", "since", "remedy", "open"}
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {"report.html": 0o600, "evidence.zip": 0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_page_stands_alone_and_says_what_was_done(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    lake("report", "--from", "2015-05-01", "-o", tmp_path / "out", *config(lived))
    text = (tmp_path / "out" / "report.html").read_text()
    found = Page(text)
    assert "4 exceptions; still so at the end of these days: 0." in text
    assert "13 rows and lines of 4 days were destroyed" in text
    assert "They are destroyed 30 days after their day began" in text
    (last,) = {row["hash"] for row in _ledger(lake)[-1:]}
    assert str(last) in text, "the ledger's head"
    assert "mallory" not in text
    assert "83.149" not in text
    assert str(lake.data_dir) not in text
    assert found.count["table"] > 10


def _ledger(lake: CommandLine) -> list[dict[str, object]]:
    with sqlite3.connect(f"file:{lake.data_dir / 'control.sqlite'}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM ledger ORDER BY seq")]


def test_the_pack_verifies_and_holds_the_page(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lake("report", "--from", "2015-05-01", "-o", out, *config(lived))
    assert invoke("--json", "verify", out / "evidence.zip").expect(0).json["ok"] is True
    with zipfile.ZipFile(out / "evidence.zip") as pack:
        assert pack.read("report.html") == (out / "report.html").read_bytes()
        assert sum(name.startswith("certificates/") and name.endswith(".json") for name in pack.namelist()) == 4


def test_the_default_is_the_last_thirty_days(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    said = lake("report", "-o", tmp_path / "out", *config(lived))
    assert (said["from"], said["to"]) == ("2015-06-17", "2015-07-17")


def test_days_on_which_nothing_happened_have_no_pack(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    said = lake("report", "--from", "2015-06-01", "--to", "2015-06-02", "-o", tmp_path / "out", *config(lived))
    assert said["pack"] is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert "no pack was made" in (tmp_path / "out" / "report.html").read_text()


def test_exceptions_are_those_that_are_so(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    lake.advance("1d")
    for job in NIGHT:
        lake("run", job, *config(lived))
    with open_lake(lake.data_dir, Settings()) as opened, opened.context.control.write() as connection:
        opened.context.ledger.append(connection, Kind.JOB_FINISHED, job="purge", outcome="failed")
    lake("run", "purge", *config(lived))
    words = ("--reason", "mallory", "--owner", "mallory")
    lake("hold", "add", "--from", "2015-07-01", "--to", "2015-07-02", "--expires", "2015-07-19", *words)
    lake.advance("1d")
    for job in NIGHT[1:]:
        lake("run", job, *config(lived))
    said = lake("report", "--from", "2015-07-18", "-o", tmp_path / "out", *config(lived))
    assert [(each["kind"], each["where"], each["since"], each["open"]) for each in said["exceptions"]] == [
        ("expired hold", "hold 1", "2015-07-19T00:00:00Z", True),
        ("missed nights", "purge", "2015-07-19T00:05:00Z", True),
        ("failed job", "purge", "2015-07-18T12:00:00Z", False),
    ]
    assert "mallory" not in (tmp_path / "out" / "report.html").read_text()


def test_an_archived_day_that_decayed_is_told_once_it_was_read(tmp_path: Path) -> None:
    lake = CommandLine(tmp_path / "data").begin("2015-05-17T12:00:00Z")
    lake("ingest", "-", "--format", "combined", stdin=combined(DAYS))
    lake.advance("40d")
    lake("run", "roll")
    (file,) = (lake.data_dir / "archive").rglob("event_day=2015-05-16/*.parquet")
    content = file.read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    for _ in range(3):
        lake.try_("run", "scrub")
        lake.advance("1d")
    told = [each for each in lake("report", "-o", tmp_path / "out")["exceptions"] if each["open"]]
    assert ("digest", "requests/2015-05-16") in [(each["kind"], each["where"]) for each in told]
    assert ("failed job", "scrub") in [(each["kind"], each["where"]) for each in told]


def test_a_changed_ledger_is_told_and_signed_for_nobody(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    with open_lake(lake.data_dir, Settings()) as opened, opened.context.control.write() as connection:
        for name in ("update", "delete", "replace"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS ledger_no_{name}")
        connection.exec_driver_sql("UPDATE ledger SET body = '{' WHERE kind = 'SegmentPurged'")
    said = lake("report", "--from", "2015-05-01", "-o", tmp_path / "out", *config(lived))
    assert said["pack"] is None
    assert {each["kind"] for each in said["exceptions"] if each["open"]} >= {"chain", "checkpoint"}
    assert " was changed" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--from", "x"), "'x' is not a day"),
        (("--from", "2015-07-02", "--to", "2015-07-01"), "is before the first"),
        (("--from", "2010-01-01", "--to", "2010-01-02"), "the ledger has events from 2015-05-17 to 2015-07-17"),
        (("--quarantine-share", "101"), "101"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    lived: CommandLine, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    assert why in lived.try_("report", "-o", tmp_path / "out", *arguments).expect(2).err
    assert not (tmp_path / "out").exists()


def test_a_folder_must_be_named(lived: CommandLine) -> None:
    assert "-o" in lived.try_("report").expect(2).said


@pytest.mark.parametrize("name", ["report.html", "evidence.zip"])
def test_files_of_others_are_not_written_over(lived: CommandLine, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert "is not of a report" in lived.try_("report", "-o", tmp_path).expect(2).said
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    assert "is not of a report" in lived.try_("report", "-o", tmp_path).expect(2).said
    assert (tmp_path / "elsewhere").read_text() == "mine"
    (tmp_path / "plain").write_text("mine")
    assert "is no folder" in lived.try_("report", "-o", tmp_path / "plain").expect(2).said


def test_a_report_is_written_over_and_other_files_stay(lake: CommandLine, lived: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    (out / "notes.txt").write_text("mine")
    lake("report", "--from", "2015-05-01", "-o", out, *config(lived))
    first = (out / "report.html").read_text()
    said = lake("report", "--from", "2015-06-01", "--to", "2015-06-02", "-o", out, *config(lived))
    assert said["pack"] is None
    assert {path.name for path in out.iterdir()} == {"report.html", "notes.txt"}, "the old pack went with its report"
    assert (out / "report.html").read_text() != first
    assert stat.S_IMODE(out.stat().st_mode) == 0o755, "a folder that was there keeps its mode"


@pytest.mark.parametrize("step", ["report.write", "report.show", "report.page"])
def test_a_report_is_there_whole_or_not_at_all(tmp_path: Path, step: str) -> None:
    """A page is only ever there beside its own pack, whenever the process ends."""
    page = {number: GENERATOR.encode() + number for number in (b"1", b"2")}
    pack = {number: number + PACK.encode() + b" " * (211 - len(PACK)) for number in (b"1", b"2")}
    report_files.place(tmp_path / "out", {"evidence.zip": pack[b"1"], "report.html": page[b"1"]})
    _die_at(step, lambda: report_files.place(tmp_path / "out", {"evidence.zip": pack[b"2"], "report.html": page[b"2"]}))
    there = {path.name: path.read_bytes()[-1:] for path in (tmp_path / "out").glob("report.html")}
    assert there in ({}, {"report.html": b"1"})
    if there:
        assert (tmp_path / "out" / "evidence.zip").read_bytes()[:1] == b"1"
    report_files.place(tmp_path / "out", {"evidence.zip": pack[b"2"], "report.html": page[b"2"]})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evidence.zip", "report.html"}, "drafts are gone"
    assert (tmp_path / "out" / "report.html").read_bytes() == page[b"2"]


class _Killed(BaseException):
    pass


def _die_at(step: str, work: Callable[[], None]) -> None:
    def watch(name: str) -> None:
        if name == step:
            raise _Killed

    observe(watch)
    try:
        with pytest.raises(_Killed):
            work()
    finally:
        observe(None)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("mine")
    with pytest.raises(UsageError, match="cannot be written"):
        report_files.place(tmp_path / "plain" / "out", {"report.html": b""})
