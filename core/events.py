"""The ledger's vocabulary, and the fold from its events to the state of each segment. Pure.

An event is a past-tense kind and a body of ids, counts, digests and dates: never an address, a URL or a user. Kinds that
change row counts name their segment by ``stream`` and ``day``, and are the only ones :func:`apply` heeds.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from core.segment import QUARANTINE_SUFFIX, Segment, SegmentState

__all__ = ["GENESIS", "Event", "Kind", "apply", "touched"]

GENESIS = "0" * 64
"""What the first event names as its predecessor's hash."""


class Kind:
    """Every kind of event."""

    DIRECTORY_CREATED = "DirectoryCreated"
    CLOCK_ADVANCED = "ClockAdvanced"
    CLOCK_CONFIRMED = "ClockConfirmed"
    BATCH_INGESTED = "BatchIngested"
    BATCH_UNDONE = "BatchUndone"
    LINES_QUARANTINED = "LinesQuarantined"
    LINES_RETRIED = "LinesRetried"
    ROLL_STARTED = "RollStarted"
    ARCHIVE_VERIFIED = "ArchiveVerified"
    SEGMENT_ROLLED = "SegmentRolled"
    COMPACTION_STARTED = "CompactionStarted"
    SEGMENT_COMPACTED = "SegmentCompacted"
    PURGE_STARTED = "PurgeStarted"
    RESIDUE_FOUND = "ResidueFound"
    SEGMENT_PURGED = "SegmentPurged"
    JOB_FINISHED = "JobFinished"
    TOKEN_ISSUED = "TokenIssued"
    TOKEN_REVOKED = "TokenRevoked"
    QUERY_ANSWERED = "QueryAnswered"
    QUERY_REFUSED = "QueryRefused"
    QUERY_FAILED = "QueryFailed"
    QUERY_TEXTS_DESTROYED = "QueryTextsDestroyed"
    SIGNING_KEY_MADE = "SigningKeyMade"
    SIGNING_KEY_ROTATED = "SigningKeyRotated"
    HOLD_ADDED = "HoldAdded"
    HOLD_RELEASED = "HoldReleased"
    HOLD_EXPIRED = "HoldExpired"
    SUBJECT_REQUEST_RECEIVED = "SubjectRequestReceived"
    SUBJECT_REQUEST_GRANTED = "SubjectRequestGranted"
    SUBJECT_REQUEST_DONE = "SubjectRequestDone"
    SUBJECT_REQUESTS_FORGOTTEN = "SubjectRequestsForgotten"
    ERASURE_STARTED = "ErasureStarted"
    ROWS_ERASED = "RowsErased"
    TEXTS_ERASED = "TextsErased"
    SUBJECT_ERASED = "SubjectErased"


@dataclass(frozen=True)
class Event:
    """One entry of the ledger: its number from 1, its time (ISO 8601, UTC), its kind, and what it says."""

    seq: int
    at: str
    kind: str
    body: Mapping[str, Any]

    @property
    def segment(self) -> Segment:
        """The segment it speaks of.

        :raises KeyError: it speaks of none.
        """
        return Segment(self.body["stream"], dt.date.fromisoformat(self.body["day"]))


def touched(event: Event) -> Iterator[tuple[Segment, int]]:
    """The segments whose counts or state the event changes, each with the rows it brings (0 when it brings none)."""
    match event.kind:
        case Kind.BATCH_INGESTED:
            for day, rows in event.body["days"].items():
                yield Segment(event.body["stream"], dt.date.fromisoformat(day)), rows
        case Kind.LINES_QUARANTINED:
            yield Segment(event.body["stream"] + QUARANTINE_SUFFIX, dt.date.fromisoformat(event.body["day"])), event.body["rows"]
        case Kind.LINES_RETRIED:
            yield Segment(event.body["stream"] + QUARANTINE_SUFFIX, dt.date.fromisoformat(event.body["day"])), 0
        case Kind.ROLL_STARTED | Kind.ARCHIVE_VERIFIED | Kind.SEGMENT_ROLLED | Kind.PURGE_STARTED | Kind.SEGMENT_PURGED:
            yield event.segment, 0
        case Kind.ERASURE_STARTED | Kind.ROWS_ERASED:
            yield event.segment, 0


def apply(states: MutableMapping[Segment, SegmentState], event: Event) -> None:
    """Fold one event into the states."""
    for segment, rows in touched(event):
        states[segment] = _next(states.get(segment, SegmentState(segment)), event, rows)


def _next(state: SegmentState, event: Event, rows: int) -> SegmentState:
    match event.kind:
        case Kind.BATCH_INGESTED | Kind.LINES_QUARANTINED:
            return replace(state, stored=state.stored + rows, hot=state.hot + rows)
        case Kind.LINES_RETRIED:
            return replace(state, erased=state.erased + event.body["rows"], hot=state.hot - event.body["rows"])
        case Kind.ROLL_STARTED:
            return replace(state, open_action="roll")
        case Kind.ARCHIVE_VERIFIED:
            return replace(state, hot=0, archived=state.archived + event.body["rows"])
        case Kind.PURGE_STARTED:
            return replace(state, open_action="purge")
        case Kind.ERASURE_STARTED:
            return replace(state, open_action="erase")
        case Kind.ROWS_ERASED:
            rows = event.body["rows"]
            hot, archived = (0, rows) if event.body["tier"] == "archived" else (rows, 0)
            return replace(state, erased=state.erased + rows, hot=state.hot - hot, archived=state.archived - archived, open_action="")
        case Kind.SEGMENT_PURGED:
            return replace(state, purged=state.purged + state.present, hot=0, archived=0, open_action="")
        case _:
            return replace(state, open_action="")
