"""The query log: who asked what, when, for what, and what came of it.

Each query is one event of the ledger, which holds numbers and a digest and nothing that a person wrote. Statement, purpose and
name are in the table ``query_texts``, sealed with AES-256-GCM (NIST SP 800-38D) under a key of the day they were asked on; with
the destruction of that key they are gone, wherever copies of the table are.

The digest commits to them and tells nothing of them: it is the SHA-256 of their canonical JSON (RFC 8785), in which stand 32
random bytes. A bare digest of a statement could be tried out, address after address. When the text is destroyed, so are these.
"""

import datetime as dt
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.clock import Clock, parse_instant, utc_day
from core.errors import AuditlakeError
from core.events import Event, Kind
from core.policy import Period
from core.segment import Segment
from storage import control as db
from storage.keys import QUERY_LOG, KeyRing
from storage.ledger import Ledger
from storage.people import User

__all__ = ["Asked", "Entry", "QueryLog", "Watch"]

_NONCE = 12
_SALT = 32
_OUTCOMES = {Kind.QUERY_ANSWERED: "answered", Kind.QUERY_REFUSED: "refused", Kind.QUERY_FAILED: "failed"}
_PAGE = 500


@dataclass(frozen=True)
class Asked:
    """A question: whose, the statement as it came, what it is for (empty when nothing was said)."""

    user: User
    statement: str
    purpose: str = ""


@dataclass
class Watch:
    """What whoever answers tells the log: whether the gate let it pass, and how many rows have been handed over."""

    admitted: bool = False
    count: Callable[[], int] = int


@dataclass(frozen=True)
class Entry:
    """One query as it is read back.

    :param outcome: ``answered``, ``refused``, or ``failed`` (it ended early: an error, a limit, or the client went away).
    :param rows: how many rows were handed over.
    :param name: with ``statement``, ``purpose`` and ``reason`` (why it was refused or failed): ``None`` once destroyed.
    :param sound: whether the text is the one that the ledger's digest commits to; ``None`` once destroyed.
    """

    seq: int
    at: str
    user: int
    role: str
    outcome: str
    rows: int
    seconds: float
    digest: str
    name: str | None = None
    purpose: str | None = None
    statement: str | None = None
    reason: str | None = None
    sound: bool | None = None


class QueryLog:
    """Writes and reads the query log of one control database; needs no lock of the data directory."""

    def __init__(self, control: db.Control, ledger: Ledger, keys: KeyRing, clock: Clock) -> None:
        self._control, self._ledger, self._keys, self._clock = control, ledger, keys, clock

    @contextmanager
    def watch(self, asked: Asked) -> Iterator["Watch"]:
        """Log the question when the block ends, however it ends; what the block raises goes on.

        :raises SQLAlchemyError: it cannot be logged; an answer must then not be taken for given.
        """
        seen, began = Watch(), time.perf_counter()
        try:
            yield seen
        except BaseException as error:
            reason = error.problem if isinstance(error, AuditlakeError) else type(error).__name__
            if seen.admitted:
                self.failed(asked, seen.count(), time.perf_counter() - began, reason)
            else:
                self.refused(asked, reason)
            raise
        self.answered(asked, seen.count(), time.perf_counter() - began)

    def answered(self, asked: Asked, rows: int, seconds: float) -> Event:
        """It was answered, to the last row."""
        return self._append(Kind.QUERY_ANSWERED, asked, rows, seconds, "")

    def refused(self, asked: Asked, reason: str) -> Event:
        """It was refused and never ran."""
        return self._append(Kind.QUERY_REFUSED, asked, 0, 0.0, reason)

    def failed(self, asked: Asked, rows: int, seconds: float, reason: str) -> Event:
        """It ran and ended early, after so many rows."""
        return self._append(Kind.QUERY_FAILED, asked, rows, seconds, reason)

    def entries(self) -> Iterator[Entry]:
        """Every query, oldest first; memory does not grow with their number."""
        query = sa.select(
            db.ledger.c.seq, db.ledger.c.at, db.ledger.c.kind, db.ledger.c.body, db.query_texts.c.day, db.query_texts.c.sealed
        )
        query = query.select_from(db.ledger.outerjoin(db.query_texts, db.query_texts.c.seq == db.ledger.c.seq))
        query = query.where(db.ledger.c.kind.in_(_OUTCOMES)).order_by(db.ledger.c.seq).execution_options(yield_per=_PAGE)
        ciphers: dict[dt.date, AESGCM | None] = {}
        with self._control.read() as connection:
            held = {row.day for row in connection.execute(sa.select(db.query_texts.c.day).distinct())}
            ciphers = {day: self._cipher(connection, day) for day in held}
            with connection.execute(query) as rows:
                for row in rows:
                    yield _entry(row, ciphers.get(row.day))

    def purge(self, keep: Period) -> int:
        """Destroy the texts, and their keys, of every day whose first instant has reached the limit; returns how many texts.

        The keys' bytes leave the files with :meth:`storage.control.Control.forget_deleted`, which is the caller's to call.
        """
        now = self._clock.now()
        with self._control.write() as connection:
            days = connection.execute(sa.select(db.query_texts.c.day).distinct().order_by(db.query_texts.c.day)).scalars().all()
            due = [day for day in days if keep.after(_segment(day).start) <= now]
            texts = 0
            for day in due:
                self._keys.destroy(connection, _segment(day))
                texts += connection.execute(db.query_texts.delete().where(db.query_texts.c.day == day)).rowcount
            if due:
                self._ledger.append(connection, Kind.QUERY_TEXTS_DESTROYED, through=due[-1].isoformat(), days=len(due), texts=texts)
        return texts

    def _append(self, kind: str, asked: Asked, rows: int, seconds: float, reason: str) -> Event:
        words = {"name": asked.user.name, "statement": asked.statement, "purpose": asked.purpose, "reason": reason}
        text = rfc8785.dumps({**_broken_replaced(words), "salt": secrets.token_hex(_SALT)})
        body: dict[str, Any] = {"user": asked.user.id, "role": asked.user.role.name, "rows": rows, "ms": round(seconds * 1000)}
        with self._control.write() as connection:
            event = self._ledger.append(connection, kind, **body, digest=hashlib.sha256(text).hexdigest())
            day = utc_day(parse_instant(event.at))
            cipher, nonce = AESGCM(bytes.fromhex(self._keys.create(connection, _segment(day)))), secrets.token_bytes(_NONCE)
            sealed = nonce + cipher.encrypt(nonce, text, str(event.seq).encode())
            connection.execute(db.query_texts.insert().values(seq=event.seq, day=day, sealed=sealed))
        return event

    def _cipher(self, connection: sa.Connection, day: dt.date) -> AESGCM | None:
        key = self._keys.get(connection, _segment(day))
        return AESGCM(bytes.fromhex(key)) if key else None


def _segment(day: dt.date) -> Segment:
    return Segment(QUERY_LOG, day)


def _broken_replaced(words: Mapping[str, str]) -> dict[str, str]:
    """Half a surrogate pair is no text, and JSON cannot hold it; the gate refuses it, and the log says that it was there."""
    return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in words.items()}


def _entry(row: Any, cipher: AESGCM | None) -> Entry:
    body = json.loads(row.body)
    known = Entry(row.seq, row.at, body["user"], body["role"], _OUTCOMES[row.kind], body["rows"], body["ms"] / 1000, body["digest"])
    if row.sealed is None or cipher is None:
        return known
    try:
        text = cipher.decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], str(row.seq).encode())
    except (InvalidTag, ValueError):
        return _with(known, {}, sound=False)
    return _with(known, json.loads(text), sound=hashlib.sha256(text).hexdigest() == body["digest"])


def _with(known: Entry, words: Mapping[str, str], sound: bool) -> Entry:
    given = {name: words.get(name) for name in ("name", "purpose", "statement", "reason")}
    return Entry(**{**vars(known), **given, "sound": sound})
