"""Does what is there agree with what the ledger says? Row by row of the account, and anything that should be gone.

For every day: ``stored - erased - purged == hot + archived``, counted in the files themselves. Residue is whatever lies in
the data directory or below the archive's location and belongs to no live segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compliance import evidence
from compliance.verifier import Check
from core.errors import AuditlakeError, LockedError
from core.events import Event
from core.segment import Segment, SegmentState
from storage import holds, pointers
from storage.archive import Archive, ArchivedFile
from storage.checkpoints import Checkpoints
from storage.control import Control
from storage.digest import METHOD
from storage.hot import HotStore
from storage.keys import KeyRing
from storage.ledger import ChainReport, Ledger

__all__ = ["Account", "Report", "Stores", "archive_fault", "archived_files", "expected_digests", "verify"]


@dataclass(frozen=True)
class Stores:
    """What is verified."""

    control: Control
    ledger: Ledger
    keys: KeyRing
    hot: HotStore
    archive: Archive
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True)
class Account:
    """One day: what the ledger says was stored, erased and purged, and what was counted hot and archived."""

    segment: Segment
    stored: int
    erased: int
    purged: int
    hot: int
    archived: int
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.fault


@dataclass(frozen=True)
class Report:
    """The whole verification."""

    chain: ChainReport
    accounts: tuple[Account, ...]
    residue: tuple[str, ...]
    faults: tuple[str, ...]
    checkpoints: int = 0
    evidence: tuple[str, ...] = ()
    """What does not agree with the checkpoints that were signed."""

    @property
    def ok(self) -> bool:
        """Whether everything agrees and nothing is left that should be gone."""
        return not (self.chain.fault or self.residue or self.faults or self.evidence) and all(account.ok for account in self.accounts)

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was looked at, each with its first fault or a count."""
        days = [f"{account.segment}: {account.fault}" for account in self.accounts if not account.ok]
        return (
            _check("ledger", [self.chain.fault] if self.chain.fault else [], f"{self.chain.events} events"),
            _check("checkpoints", self.evidence, f"{self.checkpoints}"),
            _check("states", self.faults, "what the events add up to"),
            _check("days", days, f"{len(self.accounts)}"),
            _check("residue", self.residue, "none"),
        )


def _check(name: str, faults: Sequence[str], sound: str) -> Check:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Check(name, not faults, f"{faults[0]}{more}" if faults else sound)


def verify(stores: Stores, full: bool = False) -> Report:
    """Check the chain, the account of every day there ever was, and that nothing is left over.

    :param full: also read every row again, and compare the digest of each archived day with the one in the ledger.
    """
    location = stores.archive.location
    kept = evidence.gather(stores.checkpoints, stores.archive.objects, location, full) if stores.checkpoints else None
    chain = stores.ledger.check(kept.sizes if kept else ())
    signed = (len(kept.checkpoints), kept.faults(chain)) if kept else (0, ())
    states = stores.ledger.states()
    archived = {segment: [file.path for file in files] for segment, files in archived_files(stores).items()}
    known = {*states, *archived, *_hot_segments(stores)}
    expected = expected_digests(stores) if full else None
    accounts = tuple(_account(stores, states.get(segment, SegmentState(segment)), archived, expected) for segment in sorted(known))
    faults = [] if chain.fault or chain.states == states else ["the segment states are not what the ledger's events add up to"]
    faults += holds.faults(stores.control, stores.ledger)
    return Report(chain, accounts, tuple(_residue(stores, states)), tuple(faults), *signed)


def archived_files(stores: Stores) -> dict[Segment, list[ArchivedFile]]:
    """The files of each day that readers see."""
    with stores.control.read() as connection:
        seen = pointers.every(connection)
    found: dict[Segment, list[ArchivedFile]] = {}
    for stream, metadata in seen.items():
        for file in stores.archive.files(stream, metadata):
            found.setdefault(file.segment, []).append(file)
    return found


def archive_fault(digest: str, expected: str) -> str:
    """What is wrong with an archived day whose rows were read again; empty when nothing is.

    :param expected: the digest that the ledger says, empty for none.
    """
    return "" if digest == expected else f"the archive's digest is {digest or 'absent'}, the ledger says {expected or 'none'}"


def _hot_segments(stores: Stores) -> set[Segment]:
    return {segment for segment, _ in stores.hot.segments() if segment.day.year > 1}


def _account(stores: Stores, state: SegmentState, archived: dict[Segment, list[str]], expected: dict[Segment, str] | None) -> Account:
    """The account of one day; a file that cannot be read is its fault, and keeps no other day from being verified."""
    segment, files, full = state.segment, archived.get(state.segment, []), expected is not None
    hot, cold, faults = 0, 0, []
    with stores.control.read() as connection:
        key = stores.keys.get(connection, segment)
    try:
        hot = _hot_rows(stores, segment, key, full) if key else 0
        digest = stores.archive.digest(files) if full else None
        cold = digest.rows if digest else stores.archive.count(files)
        faults = _faults(state, hot, cold, digest.sum if digest and files else "", (expected or {}).get(segment, ""))
    except LockedError:
        raise
    except AuditlakeError as error:
        faults = [error.problem]
    return Account(segment, state.stored, state.erased, state.purged, hot, cold, "; ".join(faults))


def _hot_rows(stores: Stores, segment: Segment, key: str, full: bool) -> int:
    if full and stores.hot.exists(segment):
        return stores.hot.digest(segment, key).rows
    return stores.hot.count(segment, key)


def _faults(state: SegmentState, hot: int, cold: int, digest: str, expected: str) -> list[str]:
    faults = []
    if (hot, cold) != (state.hot, state.archived):
        faults.append(f"counted {hot} hot and {cold} archived, the ledger says {state.hot} and {state.archived}")
    if state.stored - state.erased - state.purged != hot + cold:
        faults.append("stored - erased - purged is not hot + archived")
    return [*faults, *filter(None, [archive_fault(digest, expected)])]


def expected_digests(stores: Stores) -> dict[Segment, str]:
    """The digest that each archived day should have: those of its rolls since it was last empty, added up, less what was erased."""
    sums: dict[Segment, str] = {}
    for event in stores.ledger.events("ArchiveVerified", "RowsErased", "SegmentPurged"):
        if event.kind == "RowsErased" and event.body["tier"] != "archived":
            continue
        if event.kind == "SegmentPurged" or (event.kind == "RowsErased" and not event.body["left"]):
            sums.pop(event.segment, None)
        else:
            sums[event.segment] = _added(sums.get(event.segment, "0"), event)
    return sums


def _added(known: str, event: Event) -> str:
    if event.body.get("method") != METHOD or " " in known:
        return "of another construction"
    sign = -1 if event.kind == "RowsErased" else 1
    return f"{(int(known, 16) + sign * int(event.body['digest'], 16)) % 2**64:016x}"


def _residue(stores: Stores, states: dict[Segment, SegmentState]) -> Iterator[str]:
    with stores.control.read() as connection:
        keyed = stores.keys.segments(connection)
        seen = pointers.every(connection)
    for segment, path in stores.hot.segments():
        if segment not in keyed or not path.name.endswith((".duckdb", ".duckdb.wal", ".parts")):
            yield f"{path} (no live segment's file)"
    for segment in sorted(keyed):
        if segment not in states or not states[segment].hot:
            yield f"key of {segment} (no rows are hot)"
    for segment, state in sorted(states.items()):
        if state.open_action == "purge":
            yield f"{segment} (its purge is not finished)"
    for stream in sorted({*stores.archive.streams(), *(segment.stream for segment in states if not segment.is_quarantine)}):
        for entry in stores.archive.unreachable(stream, seen.get(stream)):
            yield f"{entry.key} ({entry.kind} {entry.version}".rstrip() + ", needed by no live segment)"
