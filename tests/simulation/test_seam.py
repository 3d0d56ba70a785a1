"""At every step of a roll and of an ingest a reader of another process sees each row once, however long it reads."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from auditlake.intake import ingest_files
from auditlake.lake import Lake, exclusive, open_lake
from auditlake.settings import load
from core.steps import observe
from jobs import runner
from tests.simulation.driver import Reader
from tests.simulation.places import Site, Start, an_archived_past, days_to_roll, grow, lines_of, the_first_days_to_roll
from tests.simulation.support import ask

ROWS = "SELECT ingest_batch, ingest_row FROM requests"
MANY = "SELECT ingest_batch, ingest_row FROM requests, range(2000)"
"""More rows than a result's first batch: such a statement is still under way when the first of them are there."""


def _watched(site: Site, work: Callable[[Lake], Any], look: Callable[[str], None]) -> None:
    """Do the work; ``look`` is called just before each of its steps."""
    with exclusive(site.data_dir), open_lake(site.data_dir, load(site.config, {})) as lake:
        observe(look)
        try:
            work(lake)
        finally:
            observe(None)


def _all_rows(site: Site) -> Counter[Any]:
    with open_lake(site.data_dir, load(site.config, {})) as lake:
        return Counter(ask(lake, ROWS))


@pytest.mark.parametrize("start", [the_first_days_to_roll, days_to_roll])
def test_each_row_is_there_once_at_every_step_of_a_roll(site: Site, start: Start) -> None:
    site.at(start)
    wanted = _all_rows(site)
    assert set(wanted.values()) == {1}
    seen: list[str] = []

    def look(name: str) -> None:
        reader = site.driver.reader(ROWS, ROWS)
        assert Counter(reader.begun()) == wanted, f"at step {len(seen) + 1}, {name}"
        reader.finish()
        seen.append(name)

    _watched(site, lambda lake: runner.run(lake.context, "roll"), look)
    assert {"archive.commit", "control.commit", "hot.unlink", "objects.delete"} <= set(seen)
    assert _all_rows(site) == wanted


@pytest.mark.parametrize("start", [the_first_days_to_roll, days_to_roll])
def test_who_reads_on_while_days_are_rolled_sees_each_row_once(site: Site, start: Start) -> None:
    site.at(start)
    wanted = _all_rows(site)
    readers: list[Reader] = []

    def look(_name: str) -> None:
        readers.append(site.driver.reader(MANY, ROWS))
        assert len(readers[-1].begun()) < 2000 * len(wanted)

    _watched(site, lambda lake: runner.run(lake.context, "roll"), look)
    asked_again = Counter[str]()
    for number, reader in enumerate(readers, start=1):
        begun, again = reader.finish()
        assert Counter(begun) == dict.fromkeys(wanted, 2000), f"begun at step {number}"
        assert again == "ViewMovedError" or Counter(map(tuple, again)) == wanted, f"begun at step {number}"
        asked_again["moved" if again == "ViewMovedError" else "answered"] += 1
    assert asked_again["answered"] > 0


def test_a_batch_is_seen_whole_or_not_at_all(site: Site) -> None:
    site.at(an_archived_past)
    site.done("ingest", site.log("access.log"))
    before = _all_rows(site)
    name = site.log(grow(site))
    seen: list[tuple[str, Any]] = []

    def look(step: str) -> None:
        reader = site.driver.reader(ROWS, ROWS, patience=0.1)
        found = reader.begun()
        seen.append((step, found if found == "LockedError" else Counter(found)))
        if found != "LockedError":
            reader.finish()

    _watched(site, lambda lake: ingest_files(lake, [name], "auto", "requests"), look)
    after = _all_rows(site)
    assert len(after) == len(before) + 12
    for number, (step, found) in enumerate(seen, start=1):
        if found == "LockedError":
            assert step.startswith("hot."), f"step {number}, {step}"
        else:
            assert found in (before, after), f"step {number}, {step}"
    assert sum(found == before for _, found in seen) > 3


def test_who_reads_on_keeps_no_batch_from_being_stored(site: Site) -> None:
    site.at(an_archived_past)
    site.done("ingest", site.log("access.log"))
    before = _all_rows(site)
    reader = site.driver.reader(MANY, ROWS)
    assert len(reader.begun()) < 2000 * len(before)
    site.write("access.log", lines_of(range(700, 712), dt.date(2015, 5, 17)), mode="a")
    assert site.done("ingest", site.log("access.log")).figures["stored"] == 12
    assert len(list(site.data_dir.rglob("2015-05-17.parts"))) == 1
    after = _all_rows(site)
    assert len(after) == len(before) + 12
    begun, again = reader.finish()
    assert Counter(begun) == dict.fromkeys(before, 2000)
    assert Counter(map(tuple, again)) == before
    assert _all_rows(site) == after
