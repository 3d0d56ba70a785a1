"""Certificates of destruction: one event of the ledger, what it destroyed, and everything that proves it, in one signed text.

The form is described in docs/spec/evidence.md. A certificate is made from the ledger whenever it is asked for, and is the same each time
while the signing key is: the event, the record that the event's digest binds (:mod:`storage.destructions`), the first checkpoint that
covers the event, and the path from one to the other. It needs no store of its own, so none can be lost.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from compliance.verifier import CERTIFICATE
from core.errors import AuditlakeError
from core.events import Event, Kind
from core.merkle import inclusion, prove
from storage import destructions
from storage.checkpoints import Checkpoint, Checkpoints
from storage.control import Control
from storage.ledger import Ledger

__all__ = ["CERTIFIED", "Certificate", "Evidence", "issue", "listed"]


@dataclass(frozen=True)
class Evidence:
    """What certificates and packs are made from.

    :param policies: the limits of each stream in words, for days that were destroyed before the ledger bound them.
    """

    control: Control
    ledger: Ledger
    checkpoints: Checkpoints
    policies: Mapping[str, str]


@dataclass(frozen=True)
class Certificate:
    """A certificate: the number of its event, what it holds, and its text."""

    seq: int
    held: Mapping[str, Any]
    content: bytes

    @property
    def name(self) -> str:
        """Of its file, without the end."""
        return f"{self.seq:012d}"


def _purged(body: Mapping[str, Any]) -> str:
    what = "rejected lines" if str(body["stream"]).endswith(".quarantine") else "rows"
    return (
        f"{body['rows']} {what} of {body['day']} in the stream {body['stream']}, and every file, object and version that held them, were"
        f" destroyed. The place was listed afterwards: of {body['listed']} things there, {body['found']} were of that day."
    )


def _erased(body: Mapping[str, Any]) -> str:
    rows = body.get("rows", 0)
    count = sum(rows.values()) if isinstance(rows, Mapping) else rows
    rescan = body.get("rescan", {})
    return (
        f"{count} rows, lines and texts of one person were erased. What was left was read again, {rescan.get('bytes', 0)} bytes,"
        f" and {rescan.get('found', 0)} places with that person were found."
    )


CERTIFIED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {Kind.SEGMENT_PURGED: _purged, Kind.SUBJECT_ERASED: _erased}
"""Kinds of events that are certified, and what is said of each in words."""


def listed(ledger: Ledger) -> Iterator[Event]:
    """Every event that can be certified, oldest first."""
    yield from ledger.events(*CERTIFIED)


def issue(evidence: Evidence, events: Iterable[Event]) -> list[Certificate]:
    """The certificates of these events, in one pass over the ledger.

    :raises AuditlakeError: an event is of no such kind, no checkpoint covers it, or the ledger was changed.
    """
    wanted = {event.seq: (event, _covering(evidence, event)) for event in events}
    if not wanted:
        return []
    ranges = {seq: inclusion(seq - 1, checkpoint.size) for seq, (_, checkpoint) in wanted.items()}
    entries: dict[int, dict[str, Any]] = {}
    walk = _watched(evidence.ledger, max(checkpoint.size for _, checkpoint in wanted.values()), set(wanted), entries)
    hashes = iter(prove(walk, [part for parts in ranges.values() for part in parts]))
    for _ in walk:
        pass  # a proof may need less than the events themselves
    details = destructions.read(evidence.control, wanted)
    signer = evidence.checkpoints.keys.signer()
    keys = [key.as_json() for key in evidence.checkpoints.keys.public()]
    made = []
    for seq, (event, checkpoint) in wanted.items():
        path = [next(hashes).hex() for _ in ranges[seq]]
        held = {
            **_said(evidence, event, details.get(seq)),
            "event": entries[seq],
            "proof": {"index": seq - 1, "size": checkpoint.size, "hashes": path},
            "checkpoint": checkpoint.note,
            "origin": f"auditlake/{keys[0]['id'][:32]}",
            "keys": keys,
            "key": signer.key.id,
        }
        held["signature"] = signer.sign(b"auditlake certificate\n" + rfc8785.dumps(held)).hex()
        made.append(Certificate(seq, held, rfc8785.dumps(held) + b"\n"))
    return made


def _covering(evidence: Evidence, event: Event) -> Checkpoint:
    if event.kind not in CERTIFIED:
        raise AuditlakeError(f"event {event.seq} is {event.kind}, which destroys nothing", "see: auditlake certificate list")
    found = evidence.checkpoints.first_over(event.seq)
    if found is None:
        raise AuditlakeError(f"no checkpoint covers event {event.seq} yet", "run: auditlake run checkpoint")
    return found


def _watched(ledger: Ledger, through: int, wanted: set[int], entries: dict[int, dict[str, Any]]) -> Iterator[bytes]:
    for number, entry in enumerate(ledger.entries(0, through), start=1):
        if number in wanted:
            entries[number] = json.loads(entry)
        yield entry


def _said(evidence: Evidence, event: Event, detail: dict[str, Any] | None) -> dict[str, Any]:
    bound = detail is not None and bool(detail.get("policy"))
    stream = str(event.body.get("stream", ""))
    policy = str(detail["policy"]) if detail is not None and bound else evidence.policies.get(stream, "")
    return {
        "format": CERTIFICATE,
        "statement": CERTIFIED[event.kind](event.body),
        "policy": policy,
        "policy_from": "ledger" if bound else "settings" if policy else "",
        "detail": detail,
    }
