"""Four hundred days in the life of a server: after every night everything is where it must be, and nothing is too old."""

import calendar
import datetime as dt
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import AuditlakeError
from jobs import runner
from jobs.purge import confirm_clock
from tests.simulation.support import quick_extensions, snapshot
from tests.simulation.world import DAY, Crash, Later, Limits, World


def weeks(count: int) -> Later:
    return lambda day: day + dt.timedelta(weeks=count)


def a_month(day: dt.date) -> dt.date:
    first = day.replace(day=1) + dt.timedelta(days=31)
    return first.replace(day=min(day.day, calendar.monthrange(first.year, first.month)[1]))


def a_year(day: dt.date) -> dt.date:
    return day.replace(year=day.year + 1) if (day.month, day.day) != (2, 29) else day.replace(year=day.year + 1, day=28)


LONG = Limits("1 month", "1 year", "1 month", a_month, a_year, a_month)
SHORT = Limits("1 week", "5 weeks", "2 weeks", weeks(1), weeks(5), weeks(2))
BEGIN = dt.date(2015, 3, 1)
"""Four hundred days from here hold a 29 February."""
OFF = range(200, 205)
"""The machine is off: no log is read and no job runs."""

EVERYTHING = {"stored", "quarantined", "refused", "repeated", "retried", "rolled late", "purged", "purged hot"}
"""What must have happened to some lines, lest the simulation be empty."""


@pytest.fixture(autouse=True, scope="module")
def _quick() -> None:
    quick_extensions()


@contextmanager
def _world(folder: Path, limits: Limits, crash: Callable[[str], None] | None = None) -> Iterator[World]:
    world = World(folder, limits, BEGIN, crash)
    try:
        yield world
    finally:
        world.close()


@pytest.mark.parametrize(("limits", "days"), [(LONG, 400), (SHORT, 100)], ids=["month and year", "week and five weeks"])
def test_every_night_everything_is_in_its_place(tmp_path: Path, limits: Limits, days: int) -> None:
    with _world(tmp_path, limits) as world:
        for number in range(days):
            day = BEGIN + DAY * number
            if number in OFF:
                continue
            if number - 1 in OFF:
                _jumped(world, day)
            world.day(day)
            if number % 7 == 5:
                world.check()
            else:
                world.night(day)
                world.check_after_jobs()
        assert {name for name, lines in world.account.total.items() if lines > 5} == EVERYTHING, world.account.total
        assert snapshot(world.lake)["verify"] == [True, "", (), (), []]


def _jumped(world: World, day: dt.date) -> None:
    """The clock went forward by days: nothing is destroyed until a person confirms it."""
    world.clock.instant = dt.datetime.combine(day, dt.time(0, 5), world.clock.now().tzinfo)
    with pytest.raises(AuditlakeError, match="clock confirm"):
        runner.run(world.ctx, "purge")
    world.check()
    confirm_clock(world.ctx)


def test_crashes_leave_no_trace(tmp_path: Path) -> None:
    calm, none = _sixty_days(tmp_path / "world", None)
    chance = random.Random(20150301)

    def crash(name: str) -> None:
        if chance.random() < 1 / 40:
            raise Crash(name)

    stormy, crashes = _sixty_days(tmp_path / "world", crash)
    assert none == 0
    assert crashes > 50
    assert calm["verify"] == [True, "", (), (), []]
    for key, value in calm.items():
        assert stormy[key] == value, key


def _sixty_days(folder: Path, crash: Callable[[str], None] | None) -> tuple[dict[str, Any], int]:
    """The state at the end, and how many crashes there were; at the same place each time, since its name is in the data."""
    shutil.rmtree(folder, ignore_errors=True)
    with _world(folder, SHORT, crash) as world:
        for number in range(60):
            world.day(BEGIN + DAY * number)
            world.night(BEGIN + DAY * number)
        world.check_after_jobs()
        return snapshot(world.lake), world.crashes
