"""What a destruction removed: kept beside the ledger, bound to it by the digest that the event says.

A purge notes what it is about to remove before it removes it (``removals``), so that a crash forgets nothing of it. When nothing of the
day is left, the notes become one record (``destructions``): under which policy, from which place, which files, objects and versions.
Names of files, objects and versions are no personal data. A record lists the first thousand of them; all are counted and digested.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa

from core.segment import Segment
from core.steps import step
from storage import control as db

__all__ = ["LISTED", "Removal", "conclude", "digest", "keep", "note", "read"]

LISTED = 1000
"""So many things a record names."""


@dataclass(frozen=True, order=True)
class Removal:
    """A thing to remove: a ``file``, ``object`` (one version), ``marker`` or ``upload``, its name, version and size."""

    kind: str
    name: str
    version: str = ""
    bytes: int = 0

    def as_json(self) -> dict[str, str | int]:
        """As the record names it."""
        return {"kind": self.kind, "name": self.name, "version": self.version, "bytes": self.bytes}

    @property
    def digest(self) -> str:
        """Of all of it."""
        return hashlib.sha256(rfc8785.dumps(self.as_json())).hexdigest()


def note(control: db.Control, segment: Segment, removals: Iterable[Removal]) -> None:
    """Say what is about to be removed; what was said before stays said."""
    found = {removal.digest: removal for removal in removals}
    if not found:
        return
    named = {"stream": segment.stream, "day": segment.day}
    step("purge.note")
    with control.write() as connection:
        known = set(connection.execute(sa.select(db.removals.c.digest).where(*_is(segment))).scalars())
        rows = [{**named, "digest": digest, **each.as_json()} for digest, each in found.items() if digest not in known]
        if rows:
            connection.execute(db.removals.insert(), rows)


def conclude(connection: sa.Connection, segment: Segment, policy: str, place: str) -> dict[str, Any]:
    """The record of a destruction that is done, within the caller's transaction; its notes go.

    :param policy: the limits it was destroyed under, in words.
    :param place: where its archive lies, or lay.
    """
    query = sa.select(db.removals).where(*_is(segment))
    removals = sorted(Removal(row.kind, row.name, row.version, row.bytes) for row in connection.execute(query))
    connection.execute(db.removals.delete().where(*_is(segment)))
    every = [removal.as_json() for removal in removals]
    return {
        "policy": policy,
        "place": place,
        "removed": every[:LISTED],
        "things": len(every),
        "bytes": sum(removal.bytes for removal in removals),
        "digest": hashlib.sha256(rfc8785.dumps(every)).hexdigest(),
    }


def keep(connection: sa.Connection, seq: int, record: dict[str, Any]) -> None:
    """Keep the record of the event of that number, which says :func:`digest` of it as ``detail``."""
    connection.execute(db.destructions.insert().values(seq=seq, detail=rfc8785.dumps(record).decode()))


def digest(record: dict[str, Any]) -> str:
    """What the event says of its record."""
    return hashlib.sha256(rfc8785.dumps(record)).hexdigest()


def read(control: db.Control, seqs: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The records of these events, of those that have one."""
    wanted = set(seqs)
    with control.read() as connection:
        rows = connection.execute(sa.select(db.destructions).order_by(db.destructions.c.seq).execution_options(yield_per=1000))
        return {row.seq: json.loads(row.detail) for row in rows if row.seq in wanted}


def _is(segment: Segment) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return db.removals.c.stream == segment.stream, db.removals.c.day == segment.day
