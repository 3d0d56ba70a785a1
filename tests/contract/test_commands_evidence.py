"""Checkpoints, keys, certificates and packs, as commands: keys of their JSON, exit codes, and what verify then finds."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from auditlake.lake import open_lake
from auditlake.settings import Settings
from core.steps import observe
from jobs.purge import purge
from tests.commandline import CommandLine, combined, invoke

DAYS = {"17/May/2015": 5, "18/May/2015": 7}


class Killed(BaseException):
    """The process died."""


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Two days that were rolled and are due to be destroyed, and a checkpoint: made once, and put back for each test.

    An archive knows where it lies, so it is always at the same place.
    """
    made, kept = (tmp_path_factory.getbasetemp() / f"evidence-{name}" for name in ("lake", "kept"))
    lake = CommandLine(made)
    if not kept.exists():
        lake.begin("2015-05-20T00:00:00Z")("ingest", "-", "--format", "combined", stdin=combined(DAYS) + b"nonsense\n")
        lake.advance("40d")
        lake("run", "roll")
        lake("run", "checkpoint")
        lake.advance("340d")
        shutil.copytree(made, kept)
        return lake
    shutil.rmtree(made)
    shutil.copytree(kept, made)
    return lake


@pytest.fixture
def destroyed(lake: CommandLine) -> CommandLine:
    lake("run", "purge")
    lake("run", "checkpoint")
    return lake


def test_a_checkpoint_is_a_job_of_every_night(lake: CommandLine) -> None:
    assert lake("run", "checkpoint", "--dry-run")["outcome"] == "planned"
    before = lake("checkpoint", "list")["checkpoints"]
    done = lake("run", "checkpoint")
    events = len(lake.events()) - 1  # the end of the job itself comes after
    assert (done["outcome"], done["figures"]) == ("done", {"events": events, "signed": 1, "copied": 1, "locked": False})
    listed = lake("checkpoint", "list")["checkpoints"]
    assert [set(each) for each in listed] == [{"events", "at", "root", "copied"}] * 2
    assert (listed[0], listed[1]["events"], listed[1]["copied"]) == (before[0], events, True)
    shown = lake("checkpoint", "show")
    assert (shown["events"], shown["root"]) == (events, listed[1]["root"])
    assert lake("checkpoint", "show", str(listed[0]["events"]))["note"].splitlines()[1] == str(listed[0]["events"])
    assert "there is no checkpoint over 99 events" in lake.try_("checkpoint", "show", "99").expect(2).said
    for folder in ("checkpoints", "archive/_evidence/checkpoints"):
        assert (lake.data_dir / folder / f"{events:012d}.txt").read_text() == shown["note"]
    report = lake("verify")
    assert [(check["name"], check["ok"]) for check in report["checks"]] == [
        (name, True) for name in ("ledger", "checkpoints", "states", "days", "residue")
    ]


def test_verify_finds_what_was_done_to_the_ledger(lake: CommandLine) -> None:
    with sqlite3.connect(lake.data_dir / "control.sqlite") as database:
        database.executescript("DROP TRIGGER ledger_no_delete; DELETE FROM ledger WHERE seq > 6")
    database.close()
    answer = lake.try_("verify").expect(1)
    (check,) = (check for check in answer.json["checks"] if check["name"] == "checkpoints")
    assert not check["ok"]
    assert check["detail"] == "signing keys in the ledger: there is no key (and 1 more)"
    assert "the ledger has 6 events, and a checkpoint is over 12: the ledger was cut" in answer.json["faults"]
    assert lake.try_("run", "verify").expect(1).json["outcome"] == "failed"


def test_verify_finds_a_copy_that_is_gone(lake: CommandLine) -> None:
    (file,) = (lake.data_dir / "archive" / "_evidence" / "checkpoints").iterdir()
    file.unlink()
    assert f"checkpoint {file.name} in the archive: it is missing" in lake.try_("verify", "--full").expect(1).json["faults"]


def test_an_archive_out_of_reach_leaves_copies_to_make(lake: CommandLine) -> None:
    folder = lake.data_dir / "archive" / "_evidence"
    folder.rename(folder.with_name("kept"))
    folder.write_text("no folder")
    assert "cannot be written" in lake.try_("run", "checkpoint").expect(1).said
    assert [each["copied"] for each in lake("checkpoint", "list")["checkpoints"]] == [True, False]
    folder.unlink()
    folder.with_name("kept").rename(folder)
    done = lake("run", "checkpoint")
    assert done["figures"]["copied"] == 2
    assert lake("verify")["ok"]


def test_a_purge_leaves_the_checkpoints_beside_the_archive(destroyed: CommandLine) -> None:
    assert [path.name for path in (destroyed.data_dir / "archive").iterdir()] == ["_evidence"]
    destroyed("run", "upkeep")
    assert destroyed("verify")["ok"]


# --------------------------------------------------------------------------------------------------------------- signing


def test_keys_are_shown_exported_and_rotated(destroyed: CommandLine, tmp_path: Path) -> None:
    shown = destroyed("signing", "show")
    (first,) = shown["keys"]
    assert shown["origin"] == f"auditlake/{first['id'][:32]}"
    assert destroyed("signing", "rotate", "--dry-run") == {"replaces": first["id"], "rotated": False}
    rotated = destroyed("signing", "rotate", "--yes")
    assert (rotated["replaces"], rotated["rotated"]) == (first["id"], True)
    exported = destroyed("signing", "export", "-o", tmp_path / "keys.json")
    assert (exported["keys"], exported["first"]) == (2, first["id"])
    assert json.loads((tmp_path / "keys.json").read_bytes())["keys"][1]["previous"] == first["id"]
    assert (destroyed.data_dir / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    destroyed("run", "checkpoint")
    assert destroyed("verify")["ok"]
    (destroyed.data_dir / "keys" / "signing.key").unlink()
    assert "signing rotate --lost" in destroyed.try_("run", "checkpoint").expect(1).said
    destroyed("signing", "rotate", "--lost", "--yes")
    destroyed("run", "checkpoint")
    assert destroyed("verify")["ok"]


# ---------------------------------------------------------------------------------------------------------- certificates


def test_certificates(destroyed: CommandLine, tmp_path: Path) -> None:
    listed = destroyed("certificate", "list")["certificates"]
    assert [(each["what"], each["rows"]) for each in listed] == [
        ("requests/2015-05-17", 5),
        ("requests/2015-05-18", 7),
        ("requests.quarantine/2015-05-20", 1),
    ]
    number = listed[0]["certificate"]
    held = destroyed("certificate", "show", str(number))
    names = [thing["name"] for thing in held["detail"]["removed"]]
    assert [name for name in names if "event_day=2015-05-17/" in name and name.endswith(".parquet")]
    assert held["policy"] == "requests: hot for 1 month, destroyed after 1 year; rejected lines destroyed after 1 month"
    assert held["detail"]["place"] == f"file://{destroyed.data_dir}/archive/requests/"
    assert destroyed("certificate", "show", str(listed[2]["certificate"]))["detail"]["removed"][0]["name"] == (
        "hot/requests.quarantine/2015-05-20.duckdb"
    )
    exported = destroyed("certificate", "export", "-o", tmp_path / "certificates")
    assert exported["certificates"] == [each["certificate"] for each in listed]
    files = sorted((tmp_path / "certificates").glob("*.json"))
    assert json.loads(files[0].read_bytes()) == held
    assert "<h1>Certificate of destruction</h1>" in files[0].with_suffix(".html").read_text()
    trusted = destroyed("signing", "show")["keys"][0]["id"]
    for file in files:
        assert invoke("verify", file, "--trust", trusted, "--json").expect(0).json["ok"]
    files[0].write_bytes(files[0].read_bytes().replace(b'"rows":5', b'"rows":6'))
    answer = invoke("verify", files[0], "--json").expect(1)
    assert [(check["name"], check["ok"]) for check in answer.json["checks"]] == [("certificate", False)]
    assert "event 1 destroyed nothing" in destroyed.try_("certificate", "show", "1").expect(2).said


def test_a_certificate_needs_no_night_first(lake: CommandLine) -> None:
    lake("run", "purge")
    number = lake("certificate", "list")["certificates"][0]["certificate"]
    held = lake("certificate", "show", str(number))
    assert held["proof"]["size"] > number
    assert lake("verify")["ok"], "the checkpoint that it made is copied by the next night"


@pytest.mark.parametrize("step", ["archive.drop_day", "objects.delete", "control.checkpoint"])
def test_what_was_removed_is_known_after_a_crash(lake: CommandLine, step: str) -> None:
    """The list is of what all attempts removed, not the last."""
    seen: list[str] = []

    def die(name: str) -> None:
        seen.append(name)
        if name == step:
            raise Killed

    with open_lake(lake.data_dir, Settings()) as opened:
        observe(die)
        try:
            with pytest.raises(Killed):
                purge(opened.context)
        finally:
            observe(None)
    lake("run", "purge")
    lake("run", "checkpoint")
    listed = lake("certificate", "list")["certificates"]
    for each, day in zip(listed, ("2015-05-17", "2015-05-18"), strict=False):
        removed = lake("certificate", "show", str(each["certificate"]))["detail"]["removed"]
        assert [thing for thing in removed if f"event_day={day}/" in thing["name"]], day
    with sqlite3.connect(lake.data_dir / "control.sqlite") as database:
        assert database.execute("SELECT count(*) FROM removals").fetchone() == (0,)
    database.close()
    assert lake("verify")["ok"]


# ----------------------------------------------------------------------------------------------------------------- packs


def test_packs(destroyed: CommandLine, tmp_path: Path) -> None:
    whole, part = tmp_path / "out" / "whole.zip", tmp_path / "part.zip"
    made = destroyed("pack", "export", "-o", whole)
    events = len(destroyed.events())
    assert (made["pack"], made["bytes"]) == (str(whole), whole.stat().st_size)
    assert (made["first"], made["last"], made["checkpoint"], made["certificates"]) == (1, events, events, 3)
    assert destroyed("pack", "export", "-o", part, "--from", "2016-01-01", "--to", "2016-12-31")["first"] > 1
    assert "no event in that time" in destroyed.try_("pack", "export", "-o", part, "--from", "2020-01-01").expect(2).said
    trusted = destroyed("signing", "show")["keys"][0]["id"]
    kept = destroyed.data_dir / "checkpoints"
    for pack in (whole, part):
        answer = invoke("verify", pack, "--trust", trusted, "--json").expect(0)
        assert answer.json["ok"]
        assert {"name", "ok", "detail"} == set(answer.json["checks"][0])
    seen = [word for file in sorted(kept.iterdir()) for word in ("--checkpoint", str(file))]
    assert invoke("verify", whole, *seen, "--json").expect(0).json["checks"][-1]["detail"] == "2 agree"
    assert "no --trust was given" in invoke("verify", whole).expect(0).said
    assert "none of its keys is one that you trust" in invoke("verify", whole, "--trust", "0" * 64).expect(1).said
    whole.write_bytes(whole.read_bytes()[:-1])
    answer = invoke("verify", whole, "--json").expect(1)
    assert not answer.json["ok"]
    assert "cannot be read" in invoke("verify", tmp_path / "absent.zip").expect(2).said
    assert "--trust goes with a pack" in destroyed.try_("verify", "--trust", trusted).expect(2).said
