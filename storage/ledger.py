"""The ledger: append-only events, each bound to the one before by SHA-256 over canonical JSON (RFC 8785).

``hash = sha256(JCS({"seq", "at", "kind", "body", "prev"}))`` with ``prev`` the hash before it, 64 zeros for the first.
An event and the segment states that follow from it are written in the caller's transaction: they are there together or
not at all.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import rfc8785
import sqlalchemy as sa

from core.clock import Clock, to_iso
from core.errors import AuditlakeError
from core.events import GENESIS, Event, apply, touched
from core.merkle import Tree
from core.segment import Segment, SegmentState
from storage import control as db

__all__ = ["ChainReport", "Ledger"]


@dataclass(frozen=True)
class ChainReport:
    """Outcome of walking the chain: its length, the fault (empty when there is none), the states it folds to, and the roots asked for."""

    events: int
    fault: str
    states: dict[Segment, SegmentState]
    roots: dict[int, str] = field(default_factory=dict)


class Ledger:
    """Reads and appends the events of a control database.

    :param clock: dates every event.
    """

    def __init__(self, control: db.Control, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    def append(self, connection: sa.Connection, kind: str, **body: Any) -> Event:
        """Add an event within the caller's write transaction, and bring the segment states up to it."""
        last = connection.execute(sa.select(db.ledger.c.seq, db.ledger.c.hash).order_by(db.ledger.c.seq.desc()).limit(1)).first()
        seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        event = Event(seq, to_iso(self._clock.now()), kind, body)
        row = {"seq": seq, "at": event.at, "kind": kind, "body": rfc8785.dumps(body).decode(), "prev": prev}
        connection.execute(db.ledger.insert().values(**row, hash=_digest(event, prev)))
        _project(connection, event)
        return event

    def events(self, *kinds: str, after: int = 0) -> Iterator[Event]:
        """Every event after that number, oldest first; only of these kinds, when any are named."""
        query = sa.select(db.ledger).where(db.ledger.c.seq > after).order_by(db.ledger.c.seq)
        if kinds:
            query = query.where(db.ledger.c.kind.in_(kinds))
        with self._control.read() as connection, connection.execute(query.execution_options(yield_per=1000)) as rows:
            for row in rows:
                yield Event(row.seq, row.at, row.kind, json.loads(row.body))

    def states(self, connection: sa.Connection | None = None) -> dict[Segment, SegmentState]:
        """The state of every segment there ever was, within the caller's transaction when one is given."""
        if connection is None:
            with self._control.read() as own:
                return self.states(own)
        return {state.segment: state for state in map(_state, connection.execute(sa.select(db.segments)))}

    def last(self, connection: sa.Connection) -> int:
        """Number of the newest event, within the caller's transaction; 0 when there is none."""
        return int(connection.execute(sa.select(sa.func.max(db.ledger.c.seq))).scalar() or 0)

    def newest(self, connection: sa.Connection, kind: str) -> int:
        """Number of the newest event of that kind, within the caller's transaction; 0 when there is none."""
        return int(connection.execute(sa.select(sa.func.max(db.ledger.c.seq)).where(db.ledger.c.kind == kind)).scalar() or 0)

    def state(self, connection: sa.Connection, segment: Segment) -> SegmentState:
        """The state of one segment, within the caller's transaction."""
        row = connection.execute(sa.select(db.segments).where(*_is(segment))).first()
        return _state(row) if row else SegmentState(segment)

    def entries(self, after: int = 0, through: int | None = None) -> Iterator[bytes]:
        """The bytes that each event's hash is over, oldest first: what the Merkle tree has as its entries.

        :param after: number of the event before the first; :param through: of the last, if not the newest.
        :raises AuditlakeError: an event is missing, or its hash is not that of its bytes.
        """
        query = sa.select(db.ledger).where(db.ledger.c.seq > after).order_by(db.ledger.c.seq)
        if through is not None:
            query = query.where(db.ledger.c.seq <= through)
        with self._control.read() as connection, connection.execute(query.execution_options(yield_per=1000)) as rows:
            for number, row in enumerate(rows, start=after + 1):
                entry = _entry(row)
                if row.seq != number or hashlib.sha256(entry).hexdigest() != row.hash:
                    raise AuditlakeError(f"event {number} of the ledger is missing or was changed", "run: auditlake verify")
                yield entry

    def check(self, sizes: Collection[int] = ()) -> ChainReport:
        """Walk the chain from the beginning: recompute every hash and fold every event.

        :param sizes: of how many first events to tell the Merkle root.
        """
        prev, count, fault = GENESIS, 0, ""
        states: dict[Segment, SegmentState] = {}
        tree, roots = Tree(), dict[int, str]()
        with self._control.read() as connection:
            for row in connection.execute(sa.select(db.ledger).order_by(db.ledger.c.seq).execution_options(yield_per=1000)):
                count += 1
                fault = fault or _fault(row, count, prev)
                prev = row.hash
                if sizes:
                    tree.append(_entry(row))
                if count in sizes:
                    roots[count] = tree.root().hex()
                if not fault:
                    apply(states, Event(row.seq, row.at, row.kind, json.loads(row.body)))
        return ChainReport(count, fault, states, roots)


def _fault(row: Any, number: int, prev: str) -> str:
    if row.seq != number:
        return f"event {number} is missing"
    if row.prev != prev:
        return f"event {number} does not follow event {number - 1}"
    try:
        body = json.loads(row.body)
        sound = rfc8785.dumps(body).decode() == row.body and _digest(Event(row.seq, row.at, row.kind, body), prev) == row.hash
    except (ValueError, TypeError, RecursionError):  # whoever changed it may have left anything there
        sound = False
    return "" if sound else f"event {number} was changed"


def _entry(row: Any) -> bytes:
    """What :func:`_digest` hashes, put together from what is stored: the names in their order, the body as it is."""
    at, kind, prev = (json.dumps(str(text), ensure_ascii=False) for text in (row.at, row.kind, row.prev))
    return f'{{"at":{at},"body":{row.body},"kind":{kind},"prev":{prev},"seq":{row.seq}}}'.encode("utf-8", "surrogatepass")


def _digest(event: Event, prev: str) -> str:
    entry: dict[str, Any] = {"seq": event.seq, "at": event.at, "kind": event.kind, "body": dict(event.body), "prev": prev}
    return hashlib.sha256(rfc8785.dumps(entry)).hexdigest()


def _project(connection: sa.Connection, event: Event) -> None:
    states: dict[Segment, SegmentState] = {}
    for segment, _ in touched(event):
        row = connection.execute(sa.select(db.segments).where(*_is(segment))).first()
        states[segment] = _state(row) if row else SegmentState(segment)
    apply(states, event)
    for segment, state in states.items():
        connection.execute(db.segments.delete().where(*_is(segment)))
        connection.execute(
            db.segments.insert().values(
                stream=segment.stream,
                day=segment.day,
                stored=state.stored,
                erased=state.erased,
                purged=state.purged,
                hot=state.hot,
                archived=state.archived,
                open_action=state.open_action,
            )
        )


def _is(segment: Segment) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return db.segments.c.stream == segment.stream, db.segments.c.day == segment.day


def _state(row: Any) -> SegmentState:
    return SegmentState(Segment(row.stream, row.day), row.stored, row.erased, row.purged, row.hot, row.archived, row.open_action)
