"""Checkpoints: signed texts that commit to the ledger's first so many events, each by the root of their Merkle tree (:mod:`core.merkle`).

The text is a checkpoint of C2SP (https://c2sp.org/tlog-checkpoint) within a signed note (https://c2sp.org/signed-note)::

    auditlake/<first 32 digits of the first key's fingerprint>
    <events>
    <root, base64>

    — <the first line again> <base64 of a key's short id and its Ed25519 signature over the three lines>

A checkpoint is in the control database, in ``<data-dir>/checkpoints/``, and beside the archive below ``_evidence/``, which no stream can
be called. It grows from the subtrees that the last one kept, never from events that it covered already: two checkpoints always agree, and
a ledger that was rewritten disagrees with both. Making one appends nothing to the ledger.
"""

import base64
import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from core.clock import Clock, to_iso
from core.errors import AuditlakeError
from core.merkle import Tree
from core.steps import step
from storage import control as db
from storage.ledger import Ledger
from storage.objects import LocalObjects, ObjectStore, path_to_url
from storage.signing import PublicKey, Signer, SigningKeys

__all__ = ["EVIDENCE", "Checkpoint", "Checkpoints", "Place", "note_key"]

EVIDENCE = "_evidence"
"""The folder beside the archive's tables."""

_NAME = re.compile(r"\d{12,}\.txt\Z")
_ED25519 = b"\x01"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: how many events it is over, when it was made, their root (hexadecimal), the signed text.

    :param copied: whether it lies in every other place too.
    """

    size: int
    at: str
    root: str
    note: str
    copied: bool = True

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.size:012d}.txt"


@dataclass(frozen=True)
class Place:
    """Where copies lie: a folder, or a prefix of the archive's bucket."""

    name: str
    objects: ObjectStore
    location: str

    def url(self, name: str) -> str:
        """Of one copy."""
        return f"{self.location}/{name}"

    def names(self) -> set[str]:
        """The copies there are.

        :raises AuditlakeError: the place cannot be listed.
        """
        listed = (entry for entry in self.objects.entries(f"{self.location}/") if entry.kind == "object" and entry.latest)
        return {name for entry in listed if _NAME.match(name := entry.key.removeprefix(f"{self.location}/"))}

    def read(self, name: str) -> str | None:
        """The text of a copy; ``None`` when there is none."""
        content = self.objects.read(self.url(name))
        return None if content is None else content.decode("utf-8", "replace")


def note_key(name: str, public: str) -> bytes:
    """The short id of a key within a signed note: four bytes of a hash over its name, its kind and itself."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + bytes.fromhex(public)).digest()[:4]


class Checkpoints:
    """The checkpoints of one data directory.

    :param folder: where the copies of this machine lie.
    """

    def __init__(self, control: db.Control, ledger: Ledger, keys: SigningKeys, clock: Clock, folder: Path) -> None:
        self.keys = keys
        self._control, self._ledger, self._clock, self._folder = control, ledger, clock, folder.absolute()

    def every(self) -> list[Checkpoint]:
        """All of them, the oldest first."""
        with self._control.read() as connection:
            return [_checkpoint(row) for row in connection.execute(sa.select(db.checkpoints).order_by(db.checkpoints.c.size))]

    def first_over(self, seq: int) -> Checkpoint | None:
        """The first that covers the event of that number; ``None`` when none does yet."""
        query = sa.select(db.checkpoints).where(db.checkpoints.c.size >= seq).order_by(db.checkpoints.c.size).limit(1)
        with self._control.read() as connection:
            row = connection.execute(query).first()
            return _checkpoint(row) if row else None

    def places(self, archive: ObjectStore, location: str) -> tuple[Place, ...]:
        """Where copies lie: this machine, and beside the archive."""
        here = Place("data directory", LocalObjects(self._folder), path_to_url(self._folder))
        return here, Place("archive", archive, f"{location}/{EVIDENCE}/checkpoints")

    def sign(self) -> tuple[Checkpoint, bool]:
        """A checkpoint over every event there is, and whether it is a new one: when nothing happened since the last, that is it.

        :raises AuditlakeError: the ledger, or what the last checkpoint kept, was changed; or there is no key to sign with.
        """
        signer = self.keys.signer()
        with self._control.read() as connection:
            last = connection.execute(sa.select(db.checkpoints).order_by(db.checkpoints.c.size.desc()).limit(1)).first()
            newest = self._ledger.last(connection)
        tree = _grown_from(last)
        if last is not None and newest < last.size:
            raise AuditlakeError(f"the ledger has {newest} events, and a checkpoint was signed over {last.size}", "run: auditlake verify")
        for entry in self._ledger.entries(tree.size, newest):
            tree.append(entry)
        if last is not None and tree.size == last.size:
            return _checkpoint(last), False
        return self._keep(tree, signer), True

    def copy(self, places: Iterable[Place], until: dt.datetime | None) -> tuple[int, bool]:
        """Put every checkpoint that is not everywhere yet into these places; how many, and whether the last one was locked.

        :raises AuditlakeError: a place cannot be written; the next run goes on.
        """
        left, locked = [each for each in self.every() if not each.copied], False
        targets = tuple(places)
        for checkpoint in left:
            for place in targets:
                locked = place.objects.put(place.url(checkpoint.name), checkpoint.note.encode(), until)
            with self._control.write() as connection:
                connection.execute(db.checkpoints.update().where(db.checkpoints.c.size == checkpoint.size).values(copied=True))
        return len(left), locked

    def _keep(self, tree: Tree, signer: Signer) -> Checkpoint:
        note, at, root = _note(self.keys.public()[0], tree, signer), to_iso(self._clock.now()), tree.root().hex()
        peaks = " ".join(peak.hex() for peak in tree.peaks)
        step("checkpoint.keep")
        with self._control.write() as connection:
            connection.execute(db.checkpoints.insert().values(size=tree.size, at=at, root=root, peaks=peaks, note=note, copied=False))
        return Checkpoint(tree.size, at, root, note, copied=False)


def _grown_from(last: Any) -> Tree:
    if last is None:
        return Tree()
    try:
        tree = Tree(last.size, map(bytes.fromhex, last.peaks.split()))
        sound = tree.root().hex() == last.root and f"\n{last.size}\n{base64.b64encode(tree.root()).decode()}\n\n" in last.note
    except ValueError:
        sound = False
    if not sound:
        raise AuditlakeError(f"the checkpoint over {last.size} events was changed", "run: auditlake verify")
    return tree


def _note(first: PublicKey, tree: Tree, signer: Signer) -> str:
    origin = f"auditlake/{first.id[:32]}"
    text = f"{origin}\n{tree.size}\n{base64.b64encode(tree.root()).decode()}\n"
    signature = note_key(origin, signer.key.public) + signer.sign(text.encode())
    return f"{text}\n\u2014 {origin} {base64.b64encode(signature).decode()}\n"


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint(row.size, row.at, row.root, row.note, row.copied)
