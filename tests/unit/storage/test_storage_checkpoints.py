"""Signing keys and checkpoints: made once, carried over from key to key, grown from the last one, copied, and safe to interrupt."""

import base64
import datetime as dt
import hashlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.clock import UTC
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.merkle import Tree
from core.steps import observe
from storage import control as db
from storage.checkpoints import Checkpoint, Checkpoints, note_key
from storage.ledger import Ledger
from storage.objects import LocalObjects, path_to_url
from storage.signing import SigningKeys, succession
from tests.unit.storage.conftest import Desk

UNTIL = dt.datetime(2030, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process died."""


@pytest.fixture
def keys(desk: Desk) -> SigningKeys:
    return SigningKeys(desk.control, desk.ledger, desk.path.parent / "keys")


@pytest.fixture
def checkpoints(desk: Desk, keys: SigningKeys) -> Checkpoints:
    return Checkpoints(desk.control, desk.ledger, keys, desk.clock, desk.path.parent / "checkpoints")


def add(desk: Desk, events: int) -> None:
    with desk.control.write() as connection:
        for _ in range(events):
            desk.ledger.append(connection, Kind.CLOCK_CONFIRMED, now="2026-01-31T12:00:00Z")


def kill_at(name: str, which: int = 1) -> None:
    seen: list[str] = []

    def die(step: str) -> None:
        seen.append(step)
        if seen.count(name) == which:
            raise Killed

    observe(die)


# ------------------------------------------------------------------------------------------------------------------ keys


def test_a_key_is_made_on_first_use_and_only_its_public_half_is_told(desk: Desk, keys: SigningKeys) -> None:
    assert keys.public() == ()
    signer = keys.signer()
    file = desk.path.parent / "keys" / "signing.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert keys.public() == (signer.key,)
    assert signer.key.id == hashlib.sha256(bytes.fromhex(signer.key.public)).hexdigest()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.key.public)).verify(signer.sign(b"said"), b"said")
    secret = signer.secret.private_bytes_raw()
    assert secret not in desk.bytes()
    assert secret.hex().encode() not in desk.bytes()
    assert desk.bodies(Kind.SIGNING_KEY_MADE) == [{"key": signer.key.id, "public": signer.key.public}]
    assert keys.signer().key == signer.key, "and it is the same afterwards"


def test_the_next_key_is_signed_by_the_one_before(desk: Desk, keys: SigningKeys) -> None:
    first = keys.signer().key
    second = keys.rotate()
    assert keys.public() == (first, second)
    assert second.previous == first.id
    signed = bytes.fromhex(second.signature)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(first.public)).verify(signed, succession(first.id, second.public))
    assert keys.signer().key == second
    assert sorted(path.name for path in (desk.path.parent / "keys").iterdir()) == ["signing.key"]
    assert [event.kind for event in desk.ledger.events()] == [Kind.SIGNING_KEY_MADE, Kind.SIGNING_KEY_ROTATED]


@pytest.mark.parametrize("step", ["signing.write", "control.begin", "control.commit", "signing.rename"])
def test_a_rotation_that_dies_leaves_a_key_that_signs(keys: SigningKeys, step: str) -> None:
    first = keys.signer().key
    kill_at(step)
    try:
        with pytest.raises(Killed):
            keys.rotate()
    finally:
        observe(None)
    known = keys.public()
    assert len(known) == (2 if step == "signing.rename" else 1)
    assert keys.signer().key == known[-1]
    assert keys.rotate().previous == known[-1].id
    assert known[0] == first


@pytest.mark.parametrize("step", ["signing.write", "control.begin", "control.commit"])
def test_a_first_use_that_dies_is_made_good(keys: SigningKeys, step: str) -> None:
    kill_at(step)
    try:
        with pytest.raises(Killed):
            keys.signer()
    finally:
        observe(None)
    assert keys.signer().key == keys.signer().key
    assert len(keys.public()) == 1


def test_a_key_that_is_lost_open_or_another_is_not_used(desk: Desk, keys: SigningKeys) -> None:
    first, file = keys.signer().key, desk.path.parent / "keys" / "signing.key"
    text = file.read_bytes()
    file.chmod(0o640)
    with pytest.raises(UsageError, match="may be read by others"):
        keys.signer()
    file.write_bytes(b"nonsense")
    file.chmod(0o600)
    with pytest.raises(AuditlakeError, match="is no Ed25519 key"):
        keys.signer()
    file.unlink()
    with pytest.raises(AuditlakeError, match=r"is gone; restore it .* rotate --lost"):
        keys.rotate()
    second = keys.rotate(lost=True)
    assert (second.previous, second.signature, keys.public()) == ("", "", (first, second))
    with pytest.raises(UsageError, match="leave out --lost"):
        keys.rotate(lost=True)
    file.write_bytes(text)
    with pytest.raises(AuditlakeError, match="not the one that the ledger knows"):
        keys.signer()


# ----------------------------------------------------------------------------------------------------------- checkpoints


def root(ledger: Ledger, size: int) -> str:
    tree = Tree()
    for entry in ledger.entries(0, size):
        tree.append(entry)
    return tree.root().hex()


def test_what_the_tree_is_over_is_what_the_ledger_hashes(desk: Desk) -> None:
    with desk.control.write() as connection:
        desk.ledger.append(connection, Kind.LINES_QUARANTINED, stream="a", day="2026-01-01", batch="b", rows=1, reasons={'no "é"\n\x01': 1})
    add(desk, 3)
    with desk.control.read() as connection:
        hashes = list(connection.execute(sa.select(db.ledger.c.hash).order_by(db.ledger.c.seq)).scalars())
    assert [hashlib.sha256(entry).hexdigest() for entry in desk.ledger.entries()] == hashes
    assert [hashlib.sha256(entry).hexdigest() for entry in desk.ledger.entries(1, 3)] == hashes[1:3]
    assert desk.ledger.check({2, 4, 9}).roots == {2: root(desk.ledger, 2), 4: root(desk.ledger, 4)}


def test_a_checkpoint_is_a_signed_note_over_the_ledger(desk: Desk, checkpoints: Checkpoints) -> None:
    add(desk, 4)
    found, new = checkpoints.sign()
    key = checkpoints.keys.public()[0]
    origin = f"auditlake/{key.id[:32]}"
    assert (new, found.size, found.name, found.at) == (True, 5, "000000000005.txt", "2026-01-31T12:00:00Z")
    assert found.root == root(desk.ledger, 5)
    text, _, lines = found.note.partition("\n\n")
    assert text.split("\n") == [origin, "5", base64.b64encode(bytes.fromhex(found.root)).decode()]
    dash, name, signature = lines.removesuffix("\n").split(" ")
    assert (dash, name) == ("\N{EM DASH}", origin)
    raw = base64.b64decode(signature)
    assert raw[:4] == note_key(origin, key.public)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)).verify(raw[4:], f"{text}\n".encode())
    assert len(list(desk.ledger.events())) == 5, "the ledger does not grow by it"
    assert checkpoints.sign() == (found, False)


def test_the_next_one_goes_on_from_the_last(desk: Desk, checkpoints: Checkpoints) -> None:
    for events in (1, 6, 9, 30):
        add(desk, events)
        found, _ = checkpoints.sign()
        assert (found.size, found.root) == (found.size, root(desk.ledger, found.size))
    assert [each.size for each in checkpoints.every()] == [2, 8, 17, 47]
    assert [checkpoints.first_over(seq) for seq in (2, 3, 48)] == [*checkpoints.every()[:2], None]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('UPDATE ledger SET body = \'{"now":"never"}\' WHERE seq = 4', "event 4 of the ledger is missing or was changed"),
        ("DELETE FROM ledger WHERE seq = 4", "event 4 of the ledger is missing or was changed"),
        ("DELETE FROM ledger WHERE seq > 2", "has 2 events, and a checkpoint was signed over 3"),
        (f"UPDATE checkpoints SET root = '{'0' * 64}'", "the checkpoint over 3 events was changed"),
        ("UPDATE checkpoints SET peaks = ''", "the checkpoint over 3 events was changed"),
        ("UPDATE checkpoints SET note = replace(note, '3', '2')", "the checkpoint over 3 events was changed"),
    ],
)
def test_what_was_changed_is_not_signed(desk: Desk, checkpoints: Checkpoints, change: str, problem: str) -> None:
    checkpoints.keys.signer()
    add(desk, 2)
    checkpoints.sign()
    add(desk, 3)
    with desk.control.write() as connection:
        for trigger in ("update", "delete"):
            connection.execute(sa.text(f"DROP TRIGGER ledger_no_{trigger}"))
        connection.execute(sa.text(change))
    with pytest.raises(AuditlakeError, match=problem):
        checkpoints.sign()


def test_copies_lie_in_the_data_directory_and_beside_the_archive(desk: Desk, checkpoints: Checkpoints, tmp_path: Path) -> None:
    archive = LocalObjects(tmp_path / "archive")
    here, there = places = checkpoints.places(archive, path_to_url(tmp_path / "archive"))
    first, _ = checkpoints.sign()
    kill_at("objects.put", 2)
    try:
        with pytest.raises(Killed):
            checkpoints.copy(places, UNTIL)
    finally:
        observe(None)
    assert (here.names(), there.names()) == ({first.name}, set())
    add(desk, 1)
    second, _ = checkpoints.sign()
    assert checkpoints.copy(places, UNTIL) == (2, False)
    assert checkpoints.copy(places, UNTIL) == (0, False)
    expected: list[Checkpoint] = checkpoints.every()
    assert [each.copied for each in expected] == [True, True]
    for place in places:
        assert {name: place.read(name) for name in place.names()} == {each.name: each.note for each in (first, second)}
    assert (tmp_path / "archive" / "_evidence" / "checkpoints" / second.name).read_text() == second.note
    assert here.read("000000000099.txt") is None


@pytest.mark.parametrize("which", range(1, 12))
def test_killed_anywhere_the_next_run_makes_it_good(desk: Desk, checkpoints: Checkpoints, tmp_path: Path, which: int) -> None:
    """A first checkpoint, key and copies included, that dies before each of its writes."""
    places = checkpoints.places(LocalObjects(tmp_path / "archive"), path_to_url(tmp_path / "archive"))
    add(desk, 3)
    seen: list[str] = []

    def die(step: str) -> None:
        seen.append(step)
        if len(seen) == which:
            raise Killed

    observe(die)
    try:
        checkpoints.sign()
        checkpoints.copy(places, None)
    except Killed:
        assert len(seen) == which
    else:
        assert which > len(seen) > 8, "it had fewer writes than that, and not too few to be believed"
    finally:
        observe(None)
    checkpoints.sign()
    checkpoints.copy(places, None)
    (only,) = checkpoints.every()
    assert (only.size, only.copied, len(checkpoints.keys.public())) == (4, True, 1)
    assert [place.read(only.name) for place in places] == [only.note, only.note]
