"""Holds in a random life of nights: what is held is never destroyed, and what is not never outlives its limit by more than a night.

A model in plain Python knows what was stored on which day, by whom it is held, and when each hold ends. Every night runs purge and
roll, some of them are crashed at a write and begin anew the next night, as a server that lost power would. Then SIGKILL at each step
of the commands that set and end a hold.
"""

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from auditlake import lake as lakes
from auditlake.settings import GeoSettings, Settings, StreamSettings
from core import steps
from core.clock import UTC, utc_day
from core.policy import Hold, Period
from jobs import runner
from jobs.ingest import IngestOptions, ingest
from jobs.verify import check
from tests.simulation.places import Site, days_to_purge
from tests.simulation.support import ask, log_line, quick_extensions
from transforms.pipeline import TransformOptions

BEGIN = dt.datetime(2015, 5, 20, 0, 30, tzinfo=UTC)
DAY = dt.timedelta(days=1)
HOT, KEEP, REJECTED = 3, 9, 5
LIMITS = StreamSettings(hot=f"{HOT} days", keep=f"{KEEP} days", quarantine=f"{REJECTED} days")
OPTIONS = IngestOptions(format="combined", transforms=TransformOptions(geo=False))


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Held:
    """A hold of the model."""

    number: int
    first: dt.date
    last: dt.date
    expires: dt.datetime | None

    def keeps(self, day: dt.date, now: dt.datetime) -> bool:
        """Whether it binds and covers the day."""
        return self.first <= day <= self.last and (self.expires is None or now < self.expires)


class Nights(RuleBasedStateMachine):
    """A data directory beside its model: rows and rejected lines by day, and who holds what."""

    @initialize()
    def begin(self) -> None:
        quick_extensions()
        self.folder = Path(tempfile.mkdtemp(prefix="holds-"))
        self.settings = Settings(streams={"requests": LIMITS}, geo=GeoSettings(city="off", asn="off"))
        self.now = BEGIN
        self.number = 0
        self.rows: dict[dt.date, set[int]] = {}
        self.rejected: dict[dt.date, int] = {}
        self.holds: list[Held] = []
        self.late = False
        """Whether the last night was not finished: then what was due may be there until the next."""
        lakes.create(self.folder / "data", self.settings, BEGIN)

    @rule(ages=st.lists(st.integers(0, KEEP + 1), min_size=1, max_size=4), torn=st.integers(0, 1))
    def lines_arrive(self, ages: list[int], torn: int) -> None:
        """Of today, late, and beyond the limit: those are refused, also when their day is held."""
        text = ""
        for age in ages:
            when = self.now - age * DAY
            text += log_line(self.number, when)
            if age < KEEP:
                self.rows.setdefault(when.date(), set()).add(self.number)
            self.number += 1
        path = self.folder / f"{self.number}.log"
        path.write_text(text + "torn line\n" * torn)
        with lakes.open_lake(self.folder / "data", self.settings) as lake:
            ingest(lake.context, [str(path)], OPTIONS)
        if torn:
            self.rejected[utc_day(self.now)] = self.rejected.get(utc_day(self.now), 0) + torn

    @rule(back=st.integers(0, KEEP), days=st.integers(0, 4), lasts=st.none() | st.integers(1, 8))
    def hold(self, back: int, days: int, lasts: int | None) -> None:
        first = utc_day(self.now) - back * DAY
        asked = Hold("requests", first, first + days * DAY, "a court asks", expires=self.now + lasts * DAY if lasts else None)
        with lakes.open_lake(self.folder / "data", self.settings) as lake:
            begun = [s.segment for s in lake.context.ledger.states().values() if s.open_action == "purge" and asked.covers(s.segment)]
            try:
                added = lake.context.hold_book.add(asked, "legal").hold
            except Exception:
                assert begun, "a hold is refused for nothing but a destruction that has begun"
                return
        assert not begun
        self.holds.append(Held(added.number, added.first, added.last, added.expires))

    @precondition(lambda self: any(held.expires is None or self.now < held.expires for held in self.holds))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from([held for held in self.holds if held.expires is None or self.now < held.expires]))
        with lakes.open_lake(self.folder / "data", self.settings) as lake:
            lake.context.hold_book.release(chosen.number)
        self.holds.remove(chosen)

    @rule(nights=st.integers(1, 4), crash=st.none() | st.integers(1, 50))
    def nights(self, nights: int, crash: int | None) -> None:
        """So many nights pass; the last is crashed at that write, if at all."""
        for night in range(nights):
            with lakes.open_lake(self.folder / "data", self.settings) as lake:
                self.now = lakes.advance_clock(lake, Period(days=1))
            self._night(crash if night == nights - 1 else None)

    def _night(self, crash: int | None) -> None:
        with suppress(Crash), lakes.exclusive(self.folder / "data"), lakes.open_lake(self.folder / "data", self.settings) as lake:
            steps.observe(_crash_at(crash) if crash else None)
            try:
                for job in ("purge", "roll"):
                    runner.run(lake.context, job)
                crash = None
            finally:
                steps.observe(None)
        self.late = crash is not None
        if self.late:  # what the night has destroyed is learned, and checked: it must have been due and free
            self._learn()
        else:
            self.rows = {day: rows for day, rows in self.rows.items() if not self._ends(day, KEEP)}
            self.rejected = {day: lines for day, lines in self.rejected.items() if not self._ends(day, REJECTED)}

    def _ends(self, day: dt.date, limit: int) -> bool:
        beyond = dt.datetime.combine(day + limit * DAY, dt.time.min, UTC) <= self.now
        return beyond and not any(held.keeps(day, self.now) for held in self.holds)

    def _learn(self) -> None:
        with lakes.open_lake(self.folder / "data", self.settings) as lake:
            states = lake.context.ledger.states()
        for days, limit, quarantine in ((self.rows, KEEP, False), (self.rejected, REJECTED, True)):
            there = {s.day for s, state in states.items() if s.is_quarantine == quarantine and state.present and not _going(state)}
            for day in {*days} - there:
                assert self._ends(day, limit), f"{day} was destroyed and was not due, or held"
                del days[day]

    @invariant()
    def what_is_held_is_there_and_what_is_due_is_gone(self) -> None:
        """The model lets go of a day in the first night that ends well after it is due and free: so must the directory."""
        with lakes.open_lake(self.folder / "data", self.settings) as lake:
            report = check(lake.context, full=True)
            found = {int(path.split("/")[2]) for (path,) in ask(lake, "SELECT url_path FROM requests")}
            states = lake.context.ledger.states()
        left = [line for line in report.residue if "its purge is not finished" not in line] if self.late else report.residue
        assert (report.chain.fault, report.faults) == ("", ())
        assert self.late or not left, left
        wanted = set().union(*self.rows.values()) if self.rows else set()
        assert wanted <= found if self.late else wanted == found
        rejected = {s.day: state.hot for s, state in states.items() if s.is_quarantine and state.hot and not _going(state)}
        assert rejected == self.rejected

    def teardown(self) -> None:
        steps.observe(None)
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


def _going(state: object) -> bool:
    return getattr(state, "open_action", "") == "purge"


def _crash_at(number: int) -> Callable[[str], None]:
    left = [number]

    def observer(_name: str) -> None:
        left[0] -= 1
        if not left[0]:
            raise Crash

    return observer


TestNights = Nights.TestCase
TestNights.settings = settings(max_examples=10, stateful_step_count=12)


def a_held_day_that_is_due(site: Site) -> None:
    site.at(days_to_purge)
    words = ("--reason", "case 12", "--owner", "legal")
    site.done("hold", "add", "--from", "2015-04-17", "--to", "2015-05-31", "--expires", "never", *words)


ADD = ("hold", "add", "--from", "2015-04-01", "--to", "2015-05-31", "--expires", "never", "--reason", "case 12", "--owner", "legal")
RELEASE = ("hold", "release", "1")


def test_killed_at_each_step_of_adding_a_hold(site: Site) -> None:
    site.at(days_to_purge)
    names = site.done(*ADD).steps
    assert names == ("control.begin", "hold.add", "control.commit")
    for number, name in enumerate(names, start=1):
        site.at(days_to_purge)
        assert site.command(*ADD, kill=number).killed, name
        assert site.done("hold", "list").figures["holds"] == [], "it is there whole, or not at all"
        assert site.done(*ADD).figures["hold"] == 1
        assert site.done("run", "purge").figures["figures"]["segments"] == 0
        assert site.done("verify").figures["ok"]


def test_killed_at_each_step_of_releasing_a_hold(site: Site) -> None:
    site.at(a_held_day_that_is_due)
    names = site.done(*RELEASE).steps
    for number, name in enumerate(names, start=1):
        site.at(a_held_day_that_is_due)
        assert site.command(*RELEASE, kill=number).killed, name
        assert site.done("hold", "list").figures["hold"] == [1]
        assert site.done("run", "purge").figures["figures"]["segments"] == 0
        assert site.done(*RELEASE).figures["state"] == "released"
        assert site.done("run", "purge").figures["figures"]["segments"] == 2
        assert site.done("verify").figures["ok"]
