"""A server whose log is read every day, with everything that goes wrong, and an account of it kept apart in plain Python.

The account knows nothing of the program: it is told which lines were written when, and says from the policy alone where
each of them must be. ``World`` plays the days on the real program and compares after each.
"""

import datetime as dt
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from auditlake import lake as lakes
from auditlake.lake import Lake
from auditlake.settings import Settings
from core.clock import UTC
from core.segment import Segment
from core.steps import observe
from jobs import runner
from jobs.context import Context
from jobs.ingest import IngestOptions, ingest
from jobs.retry import retry
from storage.ledger import Ledger
from tests.simulation.support import HandClock, ask, log_line
from transforms.pipeline import TransformOptions

__all__ = ["DAY", "Account", "Crash", "Later", "Limits", "Line", "World"]

STREAM, REJECTED = "requests", "requests.quarantine"
DAY = dt.timedelta(days=1)
T = TypeVar("T")
Later = Callable[[dt.date], dt.date]
Row = tuple[dt.date, dt.datetime, int]


@dataclass(frozen=True)
class Limits:
    """A policy as the program is told it, and as this file understands it: the day on which a period after a day is over."""

    hot: str
    keep: str
    quarantine: str
    hot_ends: Later
    keep_ends: Later
    quarantine_ends: Later

    def settings(self) -> Settings:
        """The same, for the program."""
        return Settings.model_validate({"streams": {STREAM: {"hot": self.hot, "keep": self.keep, "quarantine": self.quarantine}}})


@dataclass(frozen=True)
class Line:
    """A line of a log: its number, and when it happened; ``None`` for one that is no log line."""

    number: int
    when: dt.datetime | None

    @property
    def text(self) -> str:
        """As it is written."""
        return log_line(self.number, self.when) if self.when else f"torn line {self.number}\n"


@dataclass
class Day:
    """Where the lines of one segment are, by number."""

    stored: int = 0
    erased: int = 0
    purged: int = 0
    hot: set[int] = field(default_factory=set)
    archived: set[int] = field(default_factory=set)

    def counts(self) -> tuple[int, ...]:
        return self.stored, self.erased, self.purged, len(self.hot), len(self.archived)


class Account:
    """Where every line must be."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.days: defaultdict[dt.date, Day] = defaultdict(Day)
        self.quarantine: defaultdict[dt.date, Day] = defaultdict(Day)
        self.total: Counter[str] = Counter()
        self._lines: dict[int, Line] = {}

    def arrive(self, lines: Sequence[Line], now: dt.datetime) -> Counter[str]:
        """Lines are read; says what must become of them."""
        tally = Counter(self._arrive(line, now) for line in lines)
        self.total += tally
        return tally

    def _arrive(self, line: Line, now: dt.datetime) -> str:
        if line.number in self._lines:
            return "repeated"
        self._lines[line.number] = line
        if line.when and self._midnight(self._limits.keep_ends(line.when.date())) <= now:
            return "refused"
        if line.when and line.when <= now + DAY:
            self._put(self.days[line.when.date()], line)
            return "stored"
        self._put(self.quarantine[now.date()], line)
        return "quarantined"

    def retry(self, now: dt.datetime) -> int:
        """Rejected lines are read again; says how many become rows: those that were in the future and no longer are."""
        good = 0
        for day in self.quarantine.values():
            for number in sorted(day.hot):
                line = self._lines[number]
                if line.when and line.when <= now + DAY:
                    good += 1
                    day.hot.discard(number)
                    day.erased += 1
                    self._put(self.days[line.when.date()], line)
        self.total["retried"] += good
        return good

    def purge(self, now: dt.datetime) -> int:
        """What is beyond its limit goes; says how many."""
        gone = 0
        for days, ends in ((self.days, self._limits.keep_ends), (self.quarantine, self._limits.quarantine_ends)):
            for date, day in days.items():
                if self._midnight(ends(date)) <= now:
                    present = len(day.hot) + len(day.archived)
                    gone += present
                    day.purged += present
                    self.total["purged hot"] += len(day.hot)
                    self.total["purged"] += len(day.archived)
                    day.hot.clear()
                    day.archived.clear()
        return gone

    def roll(self, now: dt.datetime) -> int:
        """What was hot for long enough goes to the archive; says how many."""
        moved = 0
        for date, day in self.days.items():
            if self._midnight(self._limits.hot_ends(date + DAY)) <= now:
                moved += len(day.hot)
                self.total["rolled late"] += len(day.hot) * bool(day.archived)
                day.archived |= day.hot
                day.hot.clear()
        return moved

    def present(self) -> set[Row]:
        """What a query must find: day, time and number of every line."""
        return {(date, when, n) for date, day in self.days.items() for n in (*day.hot, *day.archived) if (when := self._lines[n].when)}

    def states(self) -> dict[tuple[str, dt.date], tuple[int, ...]]:
        """Stored, erased, purged, hot, archived of every segment."""
        every = (((STREAM, date), day) for date, day in self.days.items())
        rejected = (((REJECTED, date), day) for date, day in self.quarantine.items())
        return {key: day.counts() for key, day in (*every, *rejected) if day.stored}

    def _put(self, day: Day, line: Line) -> None:
        day.stored += 1
        day.hot.add(line.number)

    @staticmethod
    def _midnight(day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time.min, UTC)


class Script:
    """What is written to the logs, day by day: the same for the same seed."""

    def __init__(self, limits: Limits, folder: Path, seed: int = 1) -> None:
        self._limits, self._folder = limits, folder
        self._random = random.Random(seed)
        self._number = 0
        self._written: dict[str, list[Line]] = {}
        folder.mkdir(parents=True)

    def morning(self, day: dt.date) -> dict[str, list[Line]]:
        """The day's log so far, and what else there is to be read: every file with all of its lines."""
        number = day.toordinal()
        if day.weekday() == 6 or day.month == 8:
            return {}  # a silent source still expires
        lines = [self._line(day, self._random.randrange(12 * 3600)) for _ in range(2 + number % 2)]
        lines += [self._line(day - DAY * back, 43200) for back in self._late(number)]
        if number % 4 == 1:
            lines.append(self._torn())
        if number % 11 == 0:
            lines += [self._line(day, 43200 + 80000), self._line(day + DAY, 43200), self._line(day + 2 * DAY, 43200)]
        self._random.shuffle(lines)
        self._write(f"{day}.log", lines)
        return self._files([f"{day}.log", *self._again(day)])

    def evening(self, day: dt.date) -> dict[str, list[Line]]:
        """The day's log, grown, on some days under another name."""
        name = f"{day}.log"
        if day.toordinal() % 4 == 0 and name in self._written:
            self._write(name, [self._line(day, 64000 + n) for n in range(2)])
            if day.toordinal() % 8 == 0:
                name = self._rename(name, f"{day}.log.1")
            return self._files([name])
        return {}

    def _late(self, number: int) -> Iterator[int]:
        """How many days ago late events happened: while hot, when archived, shortly before the limit and beyond it."""
        hot, keep = (self._limits.hot_ends(dt.date(2015, 1, 1)) - dt.date(2015, 1, 1)).days, self._keep_days
        for every, back in ((3, 1 + number % 5), (8, hot + number % 9), (9, keep - 3), (7, keep + 5), (11, keep + 300)):
            if number % every == 0:
                yield back

    @property
    def _keep_days(self) -> int:
        return (self._limits.keep_ends(dt.date(2015, 1, 1)) - dt.date(2015, 1, 1)).days

    def _again(self, day: dt.date) -> list[str]:
        """A file of some days ago, as a copy under another name."""
        old = f"{day - 3 * DAY}.log"
        if day.toordinal() % 6 == 0 and old in self._written:
            self._written[f"copy of {old}"] = self._written[old]
            (self._folder / f"copy of {old}").write_bytes((self._folder / old).read_bytes())
            return [f"copy of {old}"]
        return []

    def _line(self, day: dt.date, second: int) -> Line:
        self._number += 1
        return Line(self._number, dt.datetime.combine(day, dt.time.min, UTC) + dt.timedelta(seconds=second))

    def _torn(self) -> Line:
        self._number += 1
        return Line(self._number, None)

    def _write(self, name: str, lines: list[Line]) -> None:
        self._written.setdefault(name, []).extend(lines)
        with (self._folder / name).open("a") as file:
            file.writelines(line.text for line in lines)

    def _rename(self, old: str, new: str) -> str:
        (self._folder / old).rename(self._folder / new)
        self._written[new] = self._written.pop(old)
        return new

    def _files(self, names: Sequence[str]) -> dict[str, list[Line]]:
        return {str(self._folder / name): list(self._written[name]) for name in names}


class Crash(BaseException):
    """The process ends here, as far as the program can tell."""


class World:
    """A data directory on which days are played; the program's clock is the test's.

    :param crash: called at every step of the program's work; what it raises ends the work, which is then begun anew.
    """

    def __init__(self, folder: Path, limits: Limits, begin: dt.date, crash: Callable[[str], None] | None = None) -> None:
        self.limits = limits
        self.clock = HandClock(dt.datetime.combine(begin, dt.time.min, UTC))
        self.account = Account(limits)
        self.script = Script(limits, folder / "logs")
        self.crashes = 0
        self._crash = crash
        self._data_dir = folder / "lake"
        self._settings = limits.settings()
        self._stack = ExitStack()
        lakes.create(self._data_dir, self._settings, self.clock.now())
        self._open()

    def _open(self) -> None:
        """As a command does it, but for the clock: it is the test's, and not known to be simulated."""
        lake = self._stack.enter_context(lakes.open_lake(self._data_dir, self._settings))
        ctx = replace(lake.context, clock=self.clock, ledger=Ledger(lake.context.control, self.clock), simulated=False)
        self.lake = Lake(ctx, self._settings, None)

    @property
    def ctx(self) -> Context:
        """What jobs are handed."""
        return self.lake.context

    def close(self) -> None:
        """Let go of everything."""
        self._stack.close()

    def _work(self, piece: Callable[[], T]) -> tuple[T, bool]:
        """Do a piece of work, after a crash again, the directory opened anew; its result, and whether nothing disturbed it."""
        calm = True
        while True:
            observe(self._crash)
            try:
                return piece(), calm
            except Crash:
                observe(None)
                calm = False
                self.crashes += 1
                self._stack.close()
                self._open()
            finally:
                observe(None)

    def day(self, day: dt.date) -> None:
        """Read the day's logs, at noon and in the evening."""
        for hour, written in ((12, self.script.morning), (18, self.script.evening)):
            self.clock.instant = dt.datetime.combine(day, dt.time(hour), UTC)
            files = written(day)
            if files:
                self.read(files)

    def read(self, files: dict[str, list[Line]]) -> None:
        """Read files; what became of their lines must be what the account says."""
        now = self.clock.now()
        options = IngestOptions(STREAM, "combined", transforms=TransformOptions(geo=False))
        wanted = sum((self.account.arrive(lines, now) for lines in files.values()), Counter[str]())
        tally, calm = self._work(lambda: ingest(self.ctx, list(files), options))
        found = Counter({name: getattr(tally, name) for name in ("stored", "quarantined", "refused", "repeated")})
        assert tally.read == found.total() == wanted.total(), now
        assert not calm or +found == wanted, now
        assert not tally.errors, now

    def retry(self) -> None:
        """Read rejected lines again."""
        options = IngestOptions("", "", transforms=TransformOptions(geo=False))
        wanted = self.account.retry(self.clock.now())
        tally, calm = self._work(lambda: retry(self.ctx, options))
        assert not calm or tally.stored == wanted, self.clock.now()

    def run(self, job: str, rows: int | None = None) -> None:
        """Run a job, which must end well and move so many rows."""
        outcome, calm = self._work(lambda: runner.run(self.ctx, job))
        assert outcome.outcome in ("done", "nothing due"), f"{self.clock.now()} {job}: {outcome.problems}"
        assert not calm or rows is None or outcome.figures["rows"] == rows, f"{self.clock.now()} {job}"

    def night(self, day: dt.date) -> None:
        """Run the jobs that follow the day: every night purge and roll, every week the rest."""
        self.clock.instant = dt.datetime.combine(day + DAY, dt.time(0, 5), UTC)
        now = self.clock.now()
        if day.weekday() == 6:
            self.retry()
        self.run("purge", self.account.purge(now))
        self.run("roll", self.account.roll(now))
        if day.weekday() == 6:
            self.run("upkeep")
            self.run("verify")

    def check(self) -> set[Row]:
        """Compare every row and every count with the account; returns the rows."""
        now = self.clock.now()
        rows = ask(self.lake, "SELECT event_day, event_time, split_part(url_path, '/', 3)::INT, ingest_batch, ingest_row FROM requests")
        assert len({row[3:] for row in rows}) == len(rows), f"{now}: a row is there twice"
        found = {row[:3] for row in rows}
        assert len(found) == len(rows), f"{now}: a line is there twice"
        assert found == self.account.present(), now
        states = self.ctx.ledger.states().values()
        counts = {(s.segment.stream, s.segment.day): (s.stored, s.erased, s.purged, s.hot, s.archived) for s in states if s.stored}
        assert counts == self.account.states(), now
        return found

    def check_after_jobs(self) -> None:
        """The same, and no row, no hot file, no rejected line and no folder of the archive is older than it may be."""
        now = self.clock.now()
        for _, when, _ in self.check():
            ends = dt.datetime.combine(self.limits.keep_ends(when.date()), when.timetz())
            assert ends > now, f"{now}: a row of {when} is still there"
        for segment, path in self.ctx.hot.segments():
            assert self._hot_until(segment) > now.date(), f"{now}: {path} is still there"
        for path in (self._data_dir / "archive").rglob("event_day=*"):
            assert self.limits.keep_ends(dt.date.fromisoformat(path.name.partition("=")[2])) > now.date(), f"{now}: {path}"

    def _hot_until(self, segment: Segment) -> dt.date:
        return self.limits.quarantine_ends(segment.day) if segment.is_quarantine else self.limits.hot_ends(segment.day + DAY)
