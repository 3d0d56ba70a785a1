"""A data directory at one path that can be put back to what it was: archive metadata holds absolute paths, so no copy elsewhere will do.

The functions below bring it to the states from which the tests begin; a state is made once and then copied back.
"""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from core.clock import UTC
from tests.simulation.driver import Driver, Run
from tests.simulation.support import log_line

__all__ = [
    "Site",
    "Start",
    "an_archived_past",
    "an_unfinished_roll",
    "days_to_purge",
    "days_to_roll",
    "grow",
    "lines_of",
    "lines_to_retry",
    "the_first_days_to_roll",
    "the_last_days_to_purge",
]

CONFIG = """
[ingest]
batch = "8KB"
max_line = "1KB"

[geo]
city = "{geoip}/GeoIP2-City-Test.mmdb"
asn = "{geoip}/GeoLite2-ASN-Test.mmdb"
"""


class Site:
    """A folder with a data directory and logs; it can be put back to what it was, at the same path."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self.place = folder / "site"
        self.logs = self.place / "logs"
        self.data_dir = self.place / "lake"
        self.config = folder / "config.toml"
        self.config.write_text(CONFIG.format(geoip=root / "tests/data/geoip/test-data"))
        self.driver = Driver(self.data_dir, self.config, root)

    def command(self, *arguments: str, kill: int = 0, look: bool = False) -> Run:
        """Run a command, killed or not."""
        return self.driver.command(*arguments, kill=kill, look=look)

    def done(self, *arguments: str) -> Run:
        """Run a command that must end well."""
        run = self.command(*arguments)
        assert run.code == 0, f"{arguments}: {run.messages}"
        return run

    def log(self, name: str) -> str:
        """Path of a log file."""
        return str(self.logs / name)

    def write(self, name: str, text: str, mode: str = "w") -> None:
        """Write or append to a log file."""
        with (self.logs / name).open(mode) as file:
            file.write(text)

    def at(self, start: "Start") -> None:
        """Put everything back to the state before the scenario's command."""
        kept = self._folder / start.__name__
        if not kept.exists():
            start(self)
            shutil.copytree(self.place, kept)
        else:
            shutil.rmtree(self.place)
            shutil.copytree(kept, self.place)


Start = Callable[[Site], None]


def the_first_days_to_roll(site: Site) -> None:
    shutil.rmtree(site.place, ignore_errors=True)
    site.logs.mkdir(parents=True)
    site.done("init", "--simulated-clock", "2015-04-18T00:00:00Z")
    site.write("early.log", lines_of(range(12), dt.date(2015, 4, 17)))
    site.done("ingest", site.log("early.log"))
    site.done("clock", "advance", "32d")


def an_archived_past(site: Site) -> None:
    site.at(the_first_days_to_roll)
    site.done("run", "roll")
    good = lines_of(range(100, 148), dt.date(2015, 5, 17))
    torn = '203.0.113.9 - - [17/May/2015:10:00:00 +0000] "GET\n'
    late = lines_of(range(200, 204), dt.date(2015, 4, 17))
    beyond = lines_of(range(300, 303), dt.date(2014, 5, 1))
    future = lines_of(range(400, 402), dt.date(2015, 5, 23))
    site.write("access.log", good + "this is no log line\n\n" + late + beyond + future + torn)


def grow(site: Site) -> str:
    site.write("access.log", lines_of(range(600, 612), dt.date(2015, 5, 18), days=2), mode="a")
    return "access.log"


def days_to_roll(site: Site) -> None:
    site.at(an_archived_past)
    site.done("ingest", site.log("access.log"))
    site.done("clock", "advance", "32d")


def days_to_purge(site: Site) -> None:
    site.at(days_to_roll)
    site.done("run", "roll")
    site.write("late.log", lines_of(range(500, 505), dt.date(2015, 5, 17)))
    site.done("ingest", site.log("late.log"))
    site.done("clock", "advance", "301d")


def the_last_days_to_purge(site: Site) -> None:
    site.at(days_to_purge)
    site.done("run", "purge")
    site.done("clock", "advance", "30d")


def an_unfinished_roll(site: Site) -> None:
    site.at(days_to_roll)
    steps = site.done("run", "roll").steps
    site.at(days_to_roll)
    assert site.command("run", "roll", kill=len(steps) - steps[::-1].index("archive.commit") + 1).killed


def lines_to_retry(site: Site) -> None:
    site.at(an_archived_past)
    for number, day in enumerate((18, 19)):
        objects = ({"@timestamp": f"2015-05-{day}T10:{minute:02d}:00Z", "url": {"path": f"/j/{minute}"}} for minute in range(5))
        site.write(f"{day}.json", "not json\n" * number + "".join(json.dumps(one) + "\n" for one in objects))
        site.done("ingest", "--format", "combined", site.log(f"{day}.json"))
        if number == 0:
            site.done("clock", "advance", "1d")


def lines_of(numbers: range, first: dt.date, days: int = 1) -> str:
    """One line for each number, spread over the days in turn."""
    start = dt.datetime.combine(first, dt.time(10), UTC)
    return "".join(log_line(n, start + dt.timedelta(days=n % days, seconds=n)) for n in numbers)
