"""SIGKILL at the steps of an erasure, then the command again: the subject is gone from everywhere, and every book balances.

At each step a reader of another process sees every other row once.
"""

import datetime as dt
from collections import Counter
from typing import Any

from auditlake.lake import exclusive, open_lake
from auditlake.settings import load
from core.events import Kind
from core.steps import observe
from core.subject import Subject, selector
from jobs.erase import RIGHT, erase
from storage.people import OWNER_USER
from storage.query_log import Asked
from tests.simulation.places import Site, days_to_roll, lines_of
from tests.simulation.support import ask

SOUND = [True, "", (), (), []]
ERASE = ("subject", "erase", "--user-name", "user3", "--yes")
COMPARED = ("content", "rejected", "distinct", "states", "keys", "open", "files")
EVERY = 3
"""Of so many steps one is killed at: all of them take five minutes."""
OTHERS = "SELECT ingest_batch, ingest_row FROM requests WHERE user_name IS DISTINCT FROM 'user3'"


def a_subject_everywhere(site: Site) -> None:
    """user3 has rows in the archive, in hot days, on a day that has both, in a rejected line and in the text of a query."""
    site.at(days_to_roll)
    site.done("run", "roll")
    site.write("late.log", lines_of(range(500, 515), dt.date(2015, 5, 17), days=3))
    site.write("torn.log", "no request of user3\nno request of user33\n")
    site.write("alone.log", "".join(line for line in lines_of(range(800, 840), dt.date(2015, 5, 21)).splitlines(True) if "user3" in line))
    for name in ("late.log", "torn.log", "alone.log"):
        site.done("ingest", "--format", "combined", site.log(name))
    with open_lake(site.data_dir, load(site.config, {})) as lake:
        for name in ("user3", "user33"):
            lake.context.query_log.answered(Asked(OWNER_USER, f"SELECT count(*) FROM requests WHERE user_name = '{name}'"), 1, 0.1)


def test_killed_at_its_steps_and_run_again(site: Site) -> None:
    site.at(a_subject_everywhere)
    wanted = site.command(*ERASE, look=True)
    assert wanted.code == 0, wanted.messages
    assert wanted.state["verify"] == SOUND
    assert wanted.figures["state"] == "done"
    assert wanted.figures["rows"] == {"hot": 9, "archived": 9, "quarantined": 1, "other": 1}
    assert wanted.figures["rescan"]["found"] == 0
    assert {"hot.copy_without", "hot.unlink_replaced", "archive.replace", "objects.delete"} <= set(wanted.steps)
    for number, name in [*enumerate(wanted.steps, start=1)][::EVERY]:
        where = f"killed at step {number}, {name}"
        site.at(a_subject_everywhere)
        assert site.command(*ERASE, kill=number).killed, where
        again = site.command(*ERASE, look=True)
        assert again.code == 0, f"{where}: {again.messages}"
        assert again.state["verify"] == SOUND, where
        assert again.figures["rescan"]["found"] == 0, where
        assert erased_rows(site) == [wanted.figures["rows"]], where
        for key in COMPARED:
            assert again.state[key] == wanted.state[key], f"{where}: {key} differ"


def erased_rows(site: Site) -> list[Any]:
    """What the certificates of erasures that found something count."""
    with open_lake(site.data_dir, load(site.config, {})) as lake:
        counts = [event.body["rows"] for event in lake.context.ledger.events(Kind.SUBJECT_ERASED)]
    return [rows for rows in counts if any(rows.values())]


def test_every_other_row_is_seen_once_at_every_step(site: Site) -> None:
    site.at(a_subject_everywhere)
    seen: list[str] = []
    person = Subject.of([selector("user_name", "user3")])
    with exclusive(site.data_dir), open_lake(site.data_dir, load(site.config, {})) as lake:
        wanted = Counter(ask(lake, OTHERS))

        def look(name: str) -> None:
            reader = site.driver.reader(OTHERS, OTHERS)
            assert Counter(reader.begun()) == wanted, f"at step {len(seen) + 1}, {name}"
            reader.finish()
            seen.append(name)

        request = lake.context.requests.receive(RIGHT, person, lake.context.log_keep)
        observe(look)
        try:
            done = erase(lake.context, request, person)
        finally:
            observe(None)
        assert done.state == "done"
        assert Counter(ask(lake, OTHERS)) == wanted
        assert set(wanted.values()) == {1}
    assert {"hot.unlink_replaced", "control.commit", "archive.replace"} <= set(seen)
