"""A ledger that was cut or rewritten, and a checkpoint that was changed, lost or signed by a stranger: each is found and named."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import rfc8785
import sqlalchemy as sa

from compliance.evidence import gather
from core.events import GENESIS, Kind
from storage import control as db
from tests.unit.compliance.conftest import Bench


def faults(bench: Bench, full: bool = False) -> tuple[str, ...]:
    kept = gather(bench.checkpoints, bench.archive, bench.location, full)
    return kept.faults(bench.ledger.check(kept.sizes))


def rehash(bench: Bench) -> None:
    """Whoever rewrites a ledger makes its chain whole again."""
    prev = GENESIS
    with bench.control.write() as connection:
        for row in connection.execute(sa.select(db.ledger).order_by(db.ledger.c.seq)).all():
            entry = {"seq": row.seq, "at": row.at, "kind": row.kind, "body": json.loads(row.body), "prev": prev}
            found = hashlib.sha256(rfc8785.dumps(entry)).hexdigest()
            connection.execute(db.ledger.update().where(db.ledger.c.seq == row.seq).values(prev=prev, hash=found))
            prev = found


def test_all_is_in_order(bench: Bench) -> None:
    assert [each.size for each in bench.checkpoints.every()] == [4, 6, 11]
    assert faults(bench) == faults(bench, full=True) == ()
    bench.tell(Kind.CLOCK_CONFIRMED, now="2026-02-02T01:00:00Z")
    assert faults(bench) == ()


def test_a_ledger_that_was_cut_is_found(bench: Bench) -> None:
    bench.tamper("DELETE FROM ledger WHERE seq > 9")
    assert bench.ledger.check().fault == "", "the chain alone does not tell"
    found = faults(bench)
    assert found == (
        "checkpoint 000000000011.txt in the control database: the ledger has 9 events, and it was signed over 11: the ledger was cut",
    )


def test_a_ledger_that_was_rewritten_is_found(bench: Bench) -> None:
    bench.tamper("""UPDATE ledger SET body = replace(body, '"rows":7', '"rows":8') WHERE seq = 6""")
    rehash(bench)
    assert bench.ledger.check().fault == "", "the chain alone does not tell"
    said = "in the control database: the ledger's first {} events are not those it was signed over"
    assert faults(bench) == tuple(f"checkpoint {size:012d}.txt {said.format(size)}" for size in (6, 11))


def test_a_backup_of_the_database_that_was_restored_is_found(bench: Bench) -> None:
    bench.tamper("DELETE FROM ledger WHERE seq > 6", "DELETE FROM checkpoints WHERE size > 6")
    tail = "it is missing in the control database; the checkpoint over 11 events is of another log, or signed by an unknown key"
    assert faults(bench) == tuple(f"checkpoint 000000000011.txt in the {place}: {tail}" for place in ("data directory", "archive"))
    bench.tamper("DELETE FROM checkpoints WHERE size > 4", "DELETE FROM ledger WHERE seq > 4")
    assert "signed over 6: the ledger was cut" in " ".join(faults(bench))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE checkpoints SET note = replace(note, '\n6\n', '\n5\n') WHERE size = 6", "its signature is not of its text"),
        ("UPDATE checkpoints SET note = 'nonsense' WHERE size = 6", "is not written as checkpoints are"),
        ("UPDATE checkpoints SET root = 'aa' WHERE size = 6", "is not what the text says"),
    ],
)
def test_a_checkpoint_that_was_changed_is_found(bench: Bench, change: str, fault: str) -> None:
    bench.tamper(change)
    first = faults(bench)[0]
    assert first.startswith("checkpoint 000000000006.txt in the control database: ")
    assert fault in first


@pytest.mark.parametrize("folder", ["checkpoints", "archive/_evidence/checkpoints"])
def test_a_copy_that_is_missing_or_changed_is_found(bench: Bench, folder: str) -> None:
    place = "archive" if "archive" in folder else "data directory"
    file = bench.root / folder / "000000000006.txt"
    text = file.read_text()
    file.write_text(text.replace("\n6\n", "\n7\n"))
    (found,) = faults(bench)
    assert found.startswith(f"checkpoint {file.name} in the {place}: it is not the one in the control database; ")
    assert "its signature is not of its text" in found
    file.unlink()
    assert faults(bench) == (f"checkpoint {file.name} in the {place}: it is missing",)
    file.with_name("000000000004.txt").rename(file)
    assert [fault.partition(": ")[2] for fault in faults(bench)] == ["it is not the one in the control database", "it is missing"]


def test_a_key_that_was_put_in_the_place_of_another_is_found(bench: Bench) -> None:
    first = bench.keys.public()[0].public
    bench.tamper(f"UPDATE ledger SET body = replace(body, '{first}', '{'0' * 64}') WHERE kind = 'SigningKeyMade'")
    assert faults(bench) == ("signing keys in the ledger: key 1 is not the one of its fingerprint",)


def test_a_ledger_that_was_made_anew_with_a_key_of_its_own_is_found(bench: Bench, tmp_path: Path) -> None:
    kept = bench.root / "archive"
    shutil.rmtree(bench.root / "checkpoints")
    (tmp_path / "keys" / "signing.key").unlink()
    bench.tamper("DELETE FROM ledger WHERE seq > 1", "DELETE FROM checkpoints")
    bench.keys.signer()
    bench.sign()
    assert min(path.name for path in kept.rglob("*.txt")) == "000000000002.txt"
    strange = "it is missing in the control database; the checkpoint over {} events is of another log, or signed by an unknown key"
    assert faults(bench) == tuple(f"checkpoint {size:012d}.txt in the archive: {strange.format(size)}" for size in (4, 6, 11))


def test_what_is_not_copied_yet_is_no_fault(bench: Bench) -> None:
    bench.tell(Kind.CLOCK_CONFIRMED, now="2026-02-02T01:00:00Z")
    bench.checkpoints.sign()
    assert faults(bench) == ()
    bench.checkpoints.copy(bench.places, None)
    assert faults(bench) == ()
