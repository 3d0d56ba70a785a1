"""A data subject in the texts of the query log: which texts name it, and those texts destroyed while the others stay.

A text that is deleted from the table could still be in a page or a backup, and its day's key would open it. So the day gets a new key,
the texts that stay are sealed anew under it, and the old one is destroyed, all in one transaction.
"""

import datetime as dt
import secrets
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.segment import Segment
from core.subject import Subject
from storage import control as db
from storage.keys import QUERY_LOG, KeyRing
from storage.query_log import Entry, QueryLog

__all__ = ["erase", "naming"]

_NONCE = 12
_KEY_BYTES = 32


def naming(log: QueryLog, subject: Subject) -> Iterator[Entry]:
    """Queries whose statement, purpose or reason of refusal names the subject. Who asked is no subject of the logs."""
    for entry in log.entries():
        if entry.statement is not None and subject.is_named_in("\n".join([entry.statement, entry.purpose or "", entry.reason or ""])):
            yield entry


def erase(connection: sa.Connection, keys: KeyRing, numbers: Iterable[int]) -> int:
    """Destroy the texts of these queries, by the number of their event, within the caller's transaction; returns how many there were.

    The keys' bytes leave the files with :meth:`storage.control.Control.forget_deleted`, which is the caller's to call.
    """
    wanted = set(numbers)
    rows = connection.execute(sa.select(db.query_texts.c.seq, db.query_texts.c.day).order_by(db.query_texts.c.seq)).all()
    for day in sorted({row.day for row in rows if row.seq in wanted}):
        _renew(connection, keys, day, {row.seq for row in rows if row.day == day} - wanted)
    return sum(row.seq in wanted for row in rows)


def _renew(connection: sa.Connection, keys: KeyRing, day: dt.date, stay: set[int]) -> None:
    """Leave these texts of a day, under another key."""
    segment = Segment(QUERY_LOG, day)
    old, new = keys.get(connection, segment), secrets.token_hex(_KEY_BYTES)
    held = {row.seq: row.sealed for row in connection.execute(sa.select(db.query_texts).where(db.query_texts.c.day == day))}
    connection.execute(db.query_texts.delete().where(db.query_texts.c.day == day))
    keys.destroy(connection, segment)
    if not stay or old is None:
        return
    keys.replace(connection, segment, new)
    before, after = AESGCM(bytes.fromhex(old)), AESGCM(bytes.fromhex(new))
    for seq in sorted(stay):
        name, nonce = str(seq).encode(), secrets.token_bytes(_NONCE)
        text = before.decrypt(held[seq][:_NONCE], held[seq][_NONCE:], name)
        connection.execute(db.query_texts.insert().values(seq=seq, day=day, sealed=nonce + after.encrypt(nonce, text, name)))
