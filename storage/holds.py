"""Holds in the control database: what must stay although its limit is reached, who asked for that, and until when.

Reason and owner are free text and may name a person: they are kept here alone. The ledger knows a hold by its number, stream,
days and end, and commits to its words by a digest with random bits in it, as the query log does
(``sha256(JCS({hold, stream, first, last, expires, reason, owner, salt}))``). Whoever decides on a day asks again each time, within
the transaction in which a destruction is announced: a hold that was added a moment ago binds.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa

from core.clock import Clock, parse_instant, to_iso
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.policy import Hold, Period
from core.segment import SegmentState
from core.steps import step
from storage import control as db
from storage.ledger import Ledger

__all__ = ["Covered", "Holds", "Listed", "covered", "faults"]

_LONGEST = 500
_SALT_BYTES = 32


@dataclass(frozen=True)
class Covered:
    """What a hold covers: segments that have rows, their rows, and how many of its days were destroyed before."""

    segments: int
    rows: int
    destroyed: int


@dataclass(frozen=True)
class Listed:
    """A hold as it is listed. ``ended`` is when its end was noted, and ``how`` ``released`` or ``expired``; times are ISO 8601."""

    hold: Hold
    owner: str
    added: str
    ended: str | None
    how: str


def covered(hold: Hold, states: Iterable[SegmentState]) -> Covered:
    """What of these segments the hold covers."""
    found = [state for state in states if hold.covers(state.segment)]
    live = [state for state in found if state.present]
    destroyed = sum(not state.present and bool(state.purged) for state in found)
    return Covered(len(live), sum(state.present for state in live), destroyed)


class Holds:
    """The holds of one control database.

    :param clock: says which have expired.
    """

    def __init__(self, control: db.Control, ledger: Ledger, clock: Clock) -> None:
        self._control, self._ledger, self._clock = control, ledger, clock

    def add(self, hold: Hold, owner: str) -> Listed:
        """A new hold, which binds from the end of this call on; its number is given here.

        :raises UsageError: its days, end or words are none.
        :raises AuditlakeError: one of its days is being destroyed: its key is gone already.
        """
        _check(hold, owner, self._clock.now())
        with self._control.write() as connection:
            self._refuse_begun(connection, hold)
            number = int(connection.execute(sa.select(sa.func.max(db.holds.c.id))).scalar() or 0) + 1
            row = {
                "id": number, "stream": hold.stream, "first": hold.first, "last": hold.last, "reason": hold.reason, "owner": owner,
                "salt": secrets.token_hex(_SALT_BYTES), "added": to_iso(self._clock.now()),
                "expires": to_iso(hold.expires) if hold.expires else None,
            }  # fmt: skip
            step("hold.add")
            connection.execute(db.holds.insert().values(**row))
            self._ledger.append(connection, Kind.HOLD_ADDED, **_body(row), **_end(row), digest=_digest(row))
            return _listed(connection.execute(sa.select(db.holds).where(db.holds.c.id == number)).one())

    def release(self, number: int) -> Listed:
        """End a hold now: what is overdue because of it goes with the next purge.

        :raises UsageError: there is none of that number, or it has ended.
        """
        with self._control.write() as connection:
            row = connection.execute(sa.select(db.holds).where(db.holds.c.id == number)).first()
            if row is None:
                raise UsageError(f"there is no hold {number}", "run: auditlake hold list")
            if row.ended or not _hold(row).binds(self._clock.now()):
                raise UsageError(f"hold {number} has {row.how or 'expired'} on {row.ended or row.expires}", "there is nothing to release")
            step("hold.release")
            self._note_end(connection, row, "released", Kind.HOLD_RELEASED)
            return _listed(connection.execute(sa.select(db.holds).where(db.holds.c.id == number)).one())

    def every(self) -> list[Listed]:
        """Every hold there ever was, oldest first."""
        with self._control.read() as connection:
            return [_listed(row) for row in connection.execute(sa.select(db.holds).order_by(db.holds.c.id))]

    def standing(self, connection: sa.Connection | None = None) -> tuple[Hold, ...]:
        """Holds whose end is not noted, within the caller's transaction when one is given. Whether one binds at a time, it says."""
        if connection is None:
            with self._control.read() as own:
                return self.standing(own)
        query = sa.select(db.holds).where(db.holds.c.ended.is_(None)).order_by(db.holds.c.id)
        return tuple(_hold(row) for row in connection.execute(query))

    def binding(self, connection: sa.Connection | None = None) -> tuple[Hold, ...]:
        """Holds that bind now."""
        now = self._clock.now()
        return tuple(hold for hold in self.standing(connection) if hold.binds(now))

    def note_ends(self, keep: Period) -> int:
        """Write into the ledger which holds have expired, and forget the words of those that ended longer than ``keep`` ago.

        :returns: how many have expired.
        """
        now = self._clock.now()
        expired = [hold.number for hold in self.standing() if not hold.binds(now)]
        old = [each.hold.number for each in self.every() if each.ended and each.owner and keep.after(parse_instant(each.ended)) <= now]
        if expired or old:
            with self._control.write() as connection:
                for row in connection.execute(sa.select(db.holds).where(db.holds.c.id.in_(expired), db.holds.c.ended.is_(None))).all():
                    self._note_end(connection, row, "expired", Kind.HOLD_EXPIRED)
                connection.execute(db.holds.update().where(db.holds.c.id.in_(old)).values(reason="", owner="", salt=""))
        return len(expired)

    def _refuse_begun(self, connection: sa.Connection, hold: Hold) -> None:
        states = list(self._ledger.states(connection).values())
        begun = sorted(state.segment for state in states if state.open_action == "purge" and hold.covers(state.segment))
        if begun:
            raise AuditlakeError(
                f"the destruction of {begun[0]} has begun and its key is gone, so it cannot be held", "hold the days before and after it"
            )
        changing = sorted(state.segment for state in states if state.open_action == "erase" and hold.covers(state.segment))
        if changing:
            raise AuditlakeError(
                f"rows of a person are being erased from {changing[0]}, so it cannot be held now",
                "try again when auditlake status says that it is over",
            )

    def _note_end(self, connection: sa.Connection, row: Any, how: str, kind: str) -> None:
        values = {"ended": to_iso(self._clock.now()), "how": how}
        connection.execute(db.holds.update().where(db.holds.c.id == row.id).values(**values))
        self._ledger.append(connection, kind, **_body(row._asdict()))


def faults(control: db.Control, ledger: Ledger) -> list[str]:
    """Where the holds that are kept here are not those that the ledger says; the words of an ended one may be gone."""
    told: dict[int, tuple[dict[str, Any], str]] = {}
    for event in ledger.events(Kind.HOLD_ADDED, Kind.HOLD_RELEASED, Kind.HOLD_EXPIRED):
        added = told.get(event.body["hold"], (dict(event.body), ""))[0]
        told[event.body["hold"]] = (added, {Kind.HOLD_RELEASED: "released", Kind.HOLD_EXPIRED: "expired"}.get(event.kind, ""))
    with control.read() as connection:
        rows = {row.id: row._asdict() for row in connection.execute(sa.select(db.holds))}
    strange = [f"hold {number} is not in the ledger" for number in sorted(rows.keys() - told.keys())]
    return strange + [fault for number, (body, how) in sorted(told.items()) for fault in _faults(body, how, rows.get(number))]


def _check(hold: Hold, owner: str, now: dt.datetime) -> None:
    if hold.last < hold.first:
        raise UsageError(f"the last day, {hold.last}, is before the first, {hold.first}", "give --from and --to the other way round")
    if hold.expires and hold.expires <= now:
        raise UsageError(f"the hold would have ended on {to_iso(hold.expires)}", "give --expires a time to come")
    for name, text in (("reason", hold.reason), ("owner", owner)):
        if not text.strip() or len(text) > _LONGEST or not text.isprintable():
            raise UsageError(f"the {name} is empty, longer than {_LONGEST} characters, or no single line", f"give --{name} a few words")


def _hold(row: Any) -> Hold:
    return Hold(row.stream, row.first, row.last, row.reason, row.id, parse_instant(row.expires) if row.expires else None)


def _listed(row: Any) -> Listed:
    return Listed(_hold(row), row.owner, row.added, row.ended, row.how or "")


def _body(row: dict[str, Any]) -> dict[str, Any]:
    return {"hold": row["id"], "stream": row["stream"], "first": row["first"].isoformat(), "last": row["last"].isoformat()}


def _end(row: dict[str, Any]) -> dict[str, str]:
    return {"expires": row["expires"]} if row["expires"] else {}


def _digest(row: dict[str, Any]) -> str:
    words = {name: row[name] for name in ("reason", "owner", "salt")}
    return hashlib.sha256(rfc8785.dumps({**_body(row), "expires": row["expires"], **words})).hexdigest()


def _faults(body: dict[str, Any], how: str, row: dict[str, Any] | None) -> list[str]:
    named = f"hold {body['hold']}"
    if row is None:
        return [f"{named} is in the ledger and not in the control database"]
    forgotten = bool(row["ended"]) and not row["salt"]
    same = {**_body(row), **_end(row)} == {name: value for name, value in body.items() if name != "digest"}
    if not same or (not forgotten and _digest(row) != body["digest"]):
        return [f"{named} is not as the ledger says it was added"]
    return [] if (row["how"] or "") == how else [f"{named} is {row['how'] or 'standing'}, the ledger says {how or 'standing'}"]
