"""Requests of data subjects: who wants what until when, and what came of it.

The selectors, which name a person, are sealed with AES-256-GCM (NIST SP 800-38D) under a key of the request's own. With the
destruction of that key they are gone: an erasure destroys those of all requests of the same subject, and every other request is
forgotten some time after its end. The ledger, and the table, know the subject by a keyed pseudonym alone.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.clock import Clock, parse_instant, to_iso, utc_day
from core.events import Event, Kind
from core.policy import Period
from core.segment import Segment
from core.subject import Subject
from storage import control as db
from storage.keys import REQUEST, KeyRing
from storage.ledger import Ledger

__all__ = ["DONE", "IN_FORCE", "OBJECT", "OPEN", "PENDING", "PURPOSE", "RESTRICT", "RUNNING", "Request", "Requests"]

OPEN, RUNNING, PENDING, IN_FORCE, DONE = "open", "running", "pending", "in force", "done"
"""States: received; begun; some of it waits, for a hold mostly; granted, and in force until it is lifted; over."""

RESTRICT, OBJECT = "restrict", "object"
"""Rights that are in force until they are lifted."""

PURPOSE = "subjects 1"
"""What the key of pseudonyms and tombstones is derived for."""

_NONCE = 12
_DIGITS = 32


@dataclass(frozen=True)
class Request:
    """One request.

    :param subject: the pseudonym. :param received: with ``deadline`` and ``finished``: ISO 8601.
    :param result: what came of it: counts, and the holds that it met.
    """

    id: int
    right: str
    state: str
    subject: str
    received: str
    deadline: str
    finished: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Segment:
        """What stands for a segment in its key's place."""
        return Segment(f"{REQUEST}{self.id}", utc_day(parse_instant(self.received)))


class Requests:
    """The requests of one control database."""

    def __init__(self, control: db.Control, ledger: Ledger, keys: KeyRing, clock: Clock) -> None:
        self._control, self._ledger, self._keys, self._clock = control, ledger, keys, clock

    def pseudonym(self, subject: Subject) -> str:
        """What the ledger calls the subject: the first digits of HMAC-SHA-256 over its selectors."""
        text = json.dumps([each.as_json() for each in subject.selectors], sort_keys=True).encode()
        return hmac.digest(self._keys.derive(PURPOSE), text, hashlib.sha256).hex()[:_DIGITS]

    def receive(self, right: str, subject: Subject, within: Period) -> Request:
        """The request that is under way for that right of that subject, or a new one.

        :param within: after which period it must be done.
        """
        found = self.under_way(right, subject)
        if found:
            return found
        now = self._clock.now()
        with self._control.write() as connection:
            last = int(connection.execute(sa.select(sa.func.max(db.subject_requests.c.id))).scalar() or 0)
            number = max(last, self._last_number()) + 1
            deadline = to_iso(within.after(now))
            request = Request(number, right, OPEN, self.pseudonym(subject), to_iso(now), deadline)
            key, nonce = self._keys.create(connection, request.key), secrets.token_bytes(_NONCE)
            sealed = nonce + AESGCM(bytes.fromhex(key)).encrypt(nonce, subject.as_json().encode(), str(number).encode())
            values = {name: getattr(request, name) for name in ("id", "right", "state", "subject", "received", "deadline")}
            connection.execute(db.subject_requests.insert().values(**values, sealed=sealed, result="{}"))
            told = {"request": number, "right": right, "subject": request.subject, "deadline": deadline}
            self._ledger.append(connection, Kind.SUBJECT_REQUEST_RECEIVED, **told)
        return request

    def _last_number(self) -> int:
        """The highest number that was ever given: numbers of forgotten requests are not given again."""
        return max((event.body["request"] for event in self._ledger.events(Kind.SUBJECT_REQUEST_RECEIVED)), default=0)

    def under_way(self, right: str, subject: Subject) -> Request | None:
        """The request for that right of that subject that is not over."""
        name = self.pseudonym(subject)
        return next((each for each in self.every() if each.right == right and each.subject == name and each.state != DONE), None)

    def every(self) -> list[Request]:
        """All that are remembered, oldest first."""
        with self._control.read() as connection:
            return [_request(row) for row in connection.execute(sa.select(db.subject_requests).order_by(db.subject_requests.c.id))]

    def get(self, number: int) -> Request | None:
        """The request of that number."""
        return next((each for each in self.every() if each.id == number), None)

    def subject(self, request: Request) -> Subject | None:
        """Whom it is about; ``None`` once that is forgotten."""
        with self._control.read() as connection:
            return self._opened(connection, request)

    def _opened(self, connection: sa.Connection, request: Request) -> Subject | None:
        sealed = connection.execute(sa.select(db.subject_requests.c.sealed).where(db.subject_requests.c.id == request.id)).scalar()
        key = self._keys.get(connection, request.key)
        if sealed is None or key is None:
            return None
        try:
            text = AESGCM(bytes.fromhex(key)).decrypt(sealed[:_NONCE], sealed[_NONCE:], str(request.id).encode())
        except (InvalidTag, ValueError):
            return None
        return Subject.from_json(text.decode())

    def restricted(self, connection: sa.Connection) -> Subject | None:
        """Everybody whose rows are kept and not seen, as one, within the caller's transaction; ``None`` when nobody's are."""
        query = sa.select(db.subject_requests).where(db.subject_requests.c.state == IN_FORCE, db.subject_requests.c.right == RESTRICT)
        found = [self._opened(connection, _request(row)) for row in connection.execute(query).all()]
        subjects = [each for each in found if each is not None]
        selectors = [each for subject in subjects for each in subject.selectors]
        return Subject.of(selectors, any(each.mentioned for each in subjects)) if selectors else None

    def of(self, subject: Subject) -> Iterator[Request]:
        """Requests whose selectors have one of the subject's values."""
        wanted = {(each.kind, each.value) for each in subject.selectors}
        for request in self.every():
            found = self.subject(request)
            if found and wanted & {(each.kind, each.value) for each in found.selectors}:
                yield request

    def set(self, connection: sa.Connection, request: Request, state: str, result: Mapping[str, Any]) -> None:
        """Note what has become of a request, within the caller's transaction."""
        values: dict[str, Any] = {"state": state, "result": json.dumps(dict(result), sort_keys=True)}
        if state == DONE:
            values["finished"] = to_iso(self._clock.now())
        connection.execute(db.subject_requests.update().where(db.subject_requests.c.id == request.id).values(**values))

    def done(self, connection: sa.Connection, request: Request, result: Mapping[str, Any], **counts: Any) -> Event:
        """Note that a request is over, in the ledger too.

        :param counts: what the ledger is told: numbers and digests alone.
        """
        self.set(connection, request, DONE, result)
        told = {"request": request.id, "right": request.right, "subject": request.subject}
        return self._ledger.append(connection, Kind.SUBJECT_REQUEST_DONE, **told, **counts)

    def grant(self, connection: sa.Connection, request: Request) -> None:
        """Note that a request is in force from now on, within the caller's transaction."""
        if request.state != IN_FORCE:
            self.set(connection, request, IN_FORCE, {})
            self._ledger.append(connection, Kind.SUBJECT_REQUEST_GRANTED, request=request.id, right=request.right, subject=request.subject)

    def forget_subject(self, connection: sa.Connection, request: Request) -> None:
        """Destroy whom it is about: the key, and what it opens."""
        self._keys.destroy(connection, request.key)
        connection.execute(db.subject_requests.update().where(db.subject_requests.c.id == request.id).values(sealed=None))

    def purge(self, keep: Period) -> int:
        """Forget requests that were over that long ago; returns how many.

        The keys' bytes leave the files with :meth:`storage.control.Control.forget_deleted`, which is the caller's to call.
        """
        now = self._clock.now()
        due = [each for each in self.every() if each.finished and keep.after(parse_instant(each.finished)) <= now]
        if due:
            with self._control.write() as connection:
                for request in due:
                    self._keys.destroy(connection, request.key)
                    connection.execute(db.subject_requests.delete().where(db.subject_requests.c.id == request.id))
                self._ledger.append(connection, Kind.SUBJECT_REQUESTS_FORGOTTEN, requests=len(due), through=max(each.id for each in due))
        return len(due)

    def pressing(self, within: Period) -> list[Request]:
        """Those under way whose deadline is over, or comes within that period."""
        end = within.after(self._clock.now())
        return [each for each in self.every() if each.state not in (IN_FORCE, DONE) and parse_instant(each.deadline) <= end]


def _request(row: Any) -> Request:
    return Request(row.id, row.right, row.state, row.subject, row.received, row.deadline, row.finished, json.loads(row.result))
