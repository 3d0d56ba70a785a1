"""SIGKILL at each announced step of each command, then the command again: the result is that of a run nobody disturbed."""

import datetime as dt
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.driver import Run
from tests.simulation.places import (
    Site,
    Start,
    an_archived_past,
    an_unfinished_roll,
    days_to_purge,
    days_to_roll,
    grow,
    lines_of,
    lines_to_retry,
    the_last_days_to_purge,
)

SOUND = [True, "", (), (), []]
BY_CONTENT = ("content", "rejected", "distinct", "states", "keys", "open", "files")
"""What is equal even when a crash cut the same lines into other batches."""


@dataclass(frozen=True)
class Scenario:
    """A command, and what there is before it."""

    start: Start
    command: Callable[[Site], tuple[str, ...]]


SCENARIOS = {
    "ingest": Scenario(an_archived_past, lambda site: ("ingest", site.log("access.log"))),
    "roll": Scenario(days_to_roll, lambda _: ("run", "roll")),
    "purge": Scenario(days_to_purge, lambda _: ("run", "purge")),
    "purge_last": Scenario(the_last_days_to_purge, lambda _: ("run", "purge")),
    "upkeep": Scenario(an_unfinished_roll, lambda _: ("run", "upkeep")),
    "retry": Scenario(lines_to_retry, lambda _: ("quarantine", "retry", "--format", "json")),
}


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


def test_killed_at_each_step_and_run_again(site: Site, scenario: Scenario) -> None:
    command = scenario.command(site)
    wanted = _undisturbed(site, scenario)
    for number, name in enumerate(wanted.steps, start=1):
        where = f"killed at step {number}, {name}"
        site.at(scenario.start)
        assert site.command(*command, kill=number).killed, where
        again = site.command(*command, look=True)
        assert again.code == 0, f"{where}: {again.messages}"
        _compare(again.state, wanted.state, where)


def test_killed_again_while_it_recovers(site: Site, scenario: Scenario) -> None:
    command = scenario.command(site)
    wanted = _undisturbed(site, scenario)
    for number in range(1, len(wanted.steps) + 1, 2):
        kills = (number, 1 + 5 * number % 17, 1 + 3 * number % 29)
        site.at(scenario.start)
        assert site.command(*command, kill=kills[0]).killed
        for kill in kills[1:]:
            assert site.command(*command, kill=kill).code in (0, -signal.SIGKILL)
        again = site.command(*command, look=True)
        assert again.code == 0, f"killed at steps {kills}: {again.messages}"
        _compare(again.state, wanted.state, f"killed at steps {kills}")


def rotate(site: Site) -> str:
    Path(site.log("access.log")).rename(site.log("access.log.1"))
    site.write("access.log", lines_of(range(600, 612), dt.date(2015, 5, 18), days=2))
    return "access.log*"


@pytest.mark.parametrize("change", [grow, rotate])
def test_file_changes_after_the_kill(site: Site, change: Callable[[Site], str]) -> None:
    ingest = ("ingest", site.log("access.log"))
    site.at(an_archived_past)
    steps = site.done(*ingest).steps
    wanted = site.command("ingest", site.log(change(site)), look=True).state
    assert len(wanted["content"]) == 76
    for number in range(1, len(steps) + 1, 2):
        where = f"killed at step {number}, {steps[number - 1]}"
        site.at(an_archived_past)
        assert site.command(*ingest, kill=number).killed, where
        again = site.command("ingest", site.log(change(site)), look=True)
        figures = again.figures
        assert figures["read"] == sum(figures[name] for name in ("stored", "quarantined", "refused", "repeated")) == 72, where
        _compare(again.state, wanted, where, BY_CONTENT)


def test_late_rows_arrive_after_a_killed_roll(site: Site) -> None:
    def late() -> tuple[str, str]:
        site.write("late.log", lines_of(range(500, 506), dt.date(2015, 5, 17), days=2))
        return "ingest", site.log("late.log")

    site.at(days_to_roll)
    steps = site.done("run", "roll").steps
    site.at(days_to_roll)
    site.done(*late())
    wanted = site.command("run", "roll", look=True).state
    for number in range(1, len(steps) + 1, 2):
        site.at(days_to_roll)
        assert site.command("run", "roll", kill=number).killed
        site.done(*late())
        again = site.command("run", "roll", look=True)
        _compare(again.state, wanted, f"killed at step {number}, {steps[number - 1]}", ("rows", *BY_CONTENT[:-1]))


def _undisturbed(site: Site, scenario: Scenario) -> Run:
    site.at(scenario.start)
    run = site.command(*scenario.command(site), look=True)
    assert run.code == 0, run.messages
    assert run.state["verify"] == SOUND
    assert run.state["distinct"]
    return run


def _compare(found: dict[str, Any], wanted: dict[str, Any], where: str, keys: Sequence[str] = ()) -> None:
    assert found["verify"] == SOUND, where
    for key in keys or wanted:
        assert found[key] == wanted[key], f"{where}: {key} differ"
