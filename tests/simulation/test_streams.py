"""Streams with limits of their own, over eight years: each day of each goes on the night on which its own limit is reached."""

import datetime as dt
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.simulation.support import log_line

BEGIN = dt.date(2015, 1, 31)
DAYS = (BEGIN, dt.date(2015, 3, 1), dt.date(2016, 2, 29))
ENDS = {
    "contracts": ("2022-01-31", "2022-03-01", "2023-02-28"),
    "requests": ("2016-01-31", "2016-03-01", "2017-02-28"),
    "debug": ("2015-03-02", "2015-03-31", "2016-03-30"),
}
"""On which night each of the days ends, counted by hand: 7 years, 1 year, 30 days."""
ROLLS = {"contracts": ("2015-03-01", "2015-04-02", "2016-04-01"), "requests": ("2015-03-01", "2015-04-02", "2016-04-01"),
         "debug": ("2015-02-08", "2015-03-09", "2016-03-08")}  # fmt: skip
CONFIG = """
[streams.requests]

[streams.contracts]
keep = "7 years"

[streams.debug]
hot = "7 days"
keep = "30 days"
quarantine = "7 days"

[geo]
city = "off"
asn = "off"
"""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    monkeypatch.setenv("AUDITLAKE_CONFIG", str(config))
    return CommandLine(tmp_path / "lake").begin(f"{BEGIN}T12:00:00Z")


def test_three_streams_end_each_by_its_own_limit(lake: CommandLine) -> None:
    moments = {dt.date.fromisoformat(day) for table in (ENDS, ROLLS) for days in table.values() for day in days}
    now = BEGIN
    for day in sorted({*DAYS, *moments, *(moment - dt.timedelta(days=1) for moment in moments)}):
        if day > now:
            lake.advance(f"{(day - now).days} days")
            now = day
        if day in DAYS:
            for number, stream in enumerate(ENDS):
                line = log_line(number, dt.datetime.combine(day, dt.time(11), dt.UTC))
                lake("ingest", "-", "--format", "combined", "--stream", stream, stdin=line.encode())
        lake("run", "purge")
        lake("run", "roll")
        begun = sum(each <= now for each in DAYS)
        assert _there(lake) == {(stream, str(DAYS[number])): _expected(stream, number, now) for stream in ENDS for number in range(begun)}
    assert set(_there(lake).values()) == {"destroyed"}
    for stream in ENDS:
        assert lake("query", "--stream", stream, "SELECT count(*) AS n FROM requests") == [{"n": 0}]
    assert lake("verify")["ok"] is True
    assert len(lake.events("SegmentPurged")) == 9


def _there(lake: CommandLine) -> dict[tuple[str, str], str]:
    return {(row["stream"], row["day"]): row["state"] for row in lake("status")["segments"]}


def _expected(stream: str, number: int, now: dt.date) -> str:
    if now >= dt.date.fromisoformat(ENDS[stream][number]):
        return "destroyed"
    return "archived" if now >= dt.date.fromisoformat(ROLLS[stream][number]) else "hot"
