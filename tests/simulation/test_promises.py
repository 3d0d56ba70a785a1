"""The promises, after every step of a random life: ingest, grow, repeat, late and early events, time, jobs, holds, crashes.

A model in plain Python says which request should be where; the lake is asked through the view that analysts query and
through ``verify``. A crash is an exception thrown at the Nth announced write; the work is then begun again, as the next
night would.
"""

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from auditlake import lake as lakes
from auditlake.lake import Lake
from auditlake.settings import GeoSettings, Settings, StreamSettings
from core import steps
from core.clock import UTC, utc_day
from core.errors import AuditlakeError
from core.policy import Hold, Period, purge_due, roll_due
from core.segment import Segment
from jobs import runner
from jobs.ingest import IngestOptions, ingest
from jobs.verify import check
from tests.simulation.support import ask, log_line, quick_extensions
from transforms.pipeline import TransformOptions

BEGIN = dt.datetime(2015, 5, 20, tzinfo=UTC)
LIMITS = StreamSettings(hot="1 week", keep="5 weeks", quarantine="2 weeks")
OPTIONS = IngestOptions(format="combined", transforms=TransformOptions(geo=False))
BAD = "this is no request\n"


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Request:
    """What should have become of one line."""

    when: dt.datetime
    read: bool = False
    stored: bool = False
    purged: bool = False
    rolled: bool = False


class Promises(RuleBasedStateMachine):
    """The lake beside its model."""

    @initialize()
    def begin(self) -> None:
        quick_extensions()
        self.folder = Path(tempfile.mkdtemp(prefix="promises-"))
        self.settings = Settings(streams={"requests": LIMITS}, geo=GeoSettings(city="off", asn="off"))
        self.policy = self.settings.policies()["requests"]
        self.now = BEGIN
        self.requests: dict[int, Request] = {}
        self.files: dict[Path, list[str]] = {}
        self.rejected: dict[dt.date, int] = {}
        self.holds: tuple[Hold, ...] = ()
        lakes.create(self.data, self.settings, BEGIN)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @rule(ages=st.lists(st.integers(-2, 40), min_size=1, max_size=6), bad=st.integers(0, 2), crash=st.none() | st.integers(1, 25))
    def new_file(self, ages: list[int], bad: int, crash: int | None) -> None:
        path = self.folder / f"access-{len(self.files)}.log"
        self.files[path] = []
        self._append(path, ages, bad)
        self._ingest(path, crash)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), ages=st.lists(st.integers(0, 9), min_size=1, max_size=4), crash=st.none() | st.integers(1, 25))
    def grown_file(self, data: st.DataObject, ages: list[int], crash: int | None) -> None:
        path = data.draw(st.sampled_from(sorted(self.files)))
        self._append(path, ages, bad=0)
        self._ingest(path, crash)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def same_file_renamed(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.files)))
        copy = self.folder / "copy.log"
        shutil.copy(path, copy)
        with self._open() as lake:
            tally = ingest(lake.context, [str(copy)], OPTIONS)
        assert tally.stored == 0
        assert tally.read == tally.repeated + tally.refused + tally.quarantined
        self._count_rejected(tally.quarantined)

    @rule(days=st.integers(1, 12))
    def time_passes(self, days: int) -> None:
        with self._open() as lake:
            self.now = lakes.advance_clock(lake, Period(days=days))

    @rule(job=st.sampled_from(["roll", "purge", "upkeep"]), crash=st.none() | st.integers(1, 60))
    def job(self, job: str, crash: int | None) -> None:
        self._work(lambda lake: runner.run(lake.context, job), crash)
        if job == "purge":
            for request in self.requests.values():
                request.purged |= request.stored and self._purge_due(request) and not self._held(request)
            self.rejected = {day: count for day, count in self.rejected.items() if not self._quarantine_due(day)}
        if job == "roll":
            for request in self.requests.values():
                due = roll_due(self._segment(request), self.policy) <= self.now and not self._purge_due(request)
                request.rolled |= due and request.stored and not self._held(request)

    @rule(first=st.integers(0, 20), days=st.integers(1, 5), lasts=st.none() | st.integers(1, 30))
    def hold(self, first: int, days: int, lasts: int | None) -> None:
        start = utc_day(self.now) - dt.timedelta(days=first)
        expires = self.now + dt.timedelta(days=lasts) if lasts else None
        self.release()
        with self._open() as lake:
            added = lake.context.hold_book.add(
                Hold("requests", start, start + dt.timedelta(days=days), "a court asks", expires=expires), "legal"
            )
        self.holds = (added.hold,)

    @rule()
    def release(self) -> None:
        with self._open() as lake:
            for hold in lake.context.holds:
                lake.context.hold_book.release(hold.number)
        self.holds = ()

    @invariant()
    def every_request_is_there_once_or_not_at_all(self) -> None:
        expected = sorted(f"/e/{number}" for number, request in self.requests.items() if request.stored and not request.purged)
        with self._open() as lake:
            assert sorted(path for (path,) in ask(lake, "SELECT url_path FROM requests")) == expected

    @invariant()
    def everything_is_accounted_for(self) -> None:
        with self._open() as lake:
            report = check(lake.context, full=True)
            states = lake.context.ledger.states()
        assert report.ok, (report.chain.fault, report.faults, report.residue, [a for a in report.accounts if not a.ok])
        assert {s.day: state.hot for s, state in states.items() if s.is_quarantine and state.hot} == self.rejected
        hot = {s.day for s, state in states.items() if state.hot and not s.is_quarantine}
        assert hot == {utc_day(r.when) for r in self.requests.values() if r.stored and not r.rolled and not r.purged}

    def teardown(self) -> None:
        steps.observe(None)
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def _append(self, path: Path, ages: list[int], bad: int) -> None:
        """Lines of requests made so many days ago; a line of the future first, as the model counts it rejected."""
        for age in ages:
            number = len(self.requests)
            when = self.now - dt.timedelta(days=age) + dt.timedelta(hours=1)
            self.requests[number] = Request(when)
            self.files[path].append(log_line(number, when))
        self.files[path] += [BAD] * bad
        path.write_text("".join(self.files[path]))

    def _ingest(self, path: Path, crash: int | None) -> None:
        tallies = []
        self._work(lambda lake: tallies.append(ingest(lake.context, [str(path)], OPTIONS)), crash)
        for line in self.files[path]:
            if line != BAD:
                self._read(self.requests[int(line.split("/e/")[1].split("?")[0])])
        tally = tallies[-1]
        assert tally.read == tally.stored + tally.quarantined + tally.refused + tally.repeated == len(self.files[path])
        if crash is None:
            self._count_rejected(tally.quarantined)
        else:
            self._learn_rejected()

    def _read(self, request: Request) -> None:
        early = request.when > self.now + dt.timedelta(days=1)
        if not request.read:
            request.stored = not early and not self._purge_due(request)
        request.read = True

    def _count_rejected(self, lines: int) -> None:
        if lines:
            today = utc_day(self.now)
            self.rejected[today] = self.rejected.get(today, 0) + lines

    def _learn_rejected(self) -> None:
        """After a crash one of two runs brought the rejected lines: the ledger's sum is taken, and checked against the batches."""
        with self._open() as lake:
            states = lake.context.ledger.states()
        self.rejected = {s.day: state.hot for s, state in states.items() if s.is_quarantine and state.hot}

    def _work(self, work: Callable[[Lake], object], crash: int | None) -> None:
        """Do it; if a crash is due, die at that write, look at what readers then see, and do it again."""
        if crash is not None:
            try:
                with self._open() as lake, _crash_at(crash):
                    work(lake)
            except Crash:
                with self._open() as lake:
                    rows = ask(lake, "SELECT count(*), count(DISTINCT url_path) FROM requests")
                assert rows[0][0] == rows[0][1], "a reader saw a row twice"
        with self._open() as lake:
            work(lake)

    @contextmanager
    def _open(self) -> Iterator[Lake]:
        with lakes.exclusive(self.data), lakes.open_lake(self.data, self.settings) as lake:
            yield lake

    def _segment(self, request: Request) -> Segment:
        return Segment("requests", utc_day(request.when))

    def _purge_due(self, request: Request) -> bool:
        return purge_due(self._segment(request), self.policy) <= self.now

    def _quarantine_due(self, day: dt.date) -> bool:
        """Whether the day's rejected lines are beyond their limit, and nothing holds them."""
        segment = Segment("requests.quarantine", day)
        held = any(hold.binds(self.now) and hold.covers(segment) for hold in self.holds)
        return purge_due(segment, self.policy) <= self.now and not held

    def _held(self, request: Request) -> bool:
        return any(hold.binds(self.now) and hold.covers(self._segment(request)) for hold in self.holds)


@contextmanager
def _crash_at(number: int) -> Iterator[None]:
    left = number

    def observer(_name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    steps.observe(observer)
    try:
        yield
    finally:
        steps.observe(None)


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=15, stateful_step_count=12)


def test_a_crash_is_no_error_of_ours() -> None:
    """A crash must pass every handler, as a kill would."""
    assert not issubclass(Crash, Exception | AuditlakeError)
    with pytest.raises(Crash), _crash_at(1):
        steps.step("anything")
