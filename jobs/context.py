"""What every job is handed: the stores, the policy and the clock of one data directory. Frozen; a job changes the stores only.

Hot files and archive are opened when they are first asked for: what moves rows takes a while to import, and not every command does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from core.clock import Clock
from core.errors import AuditlakeError
from core.policy import Decision, Hold, Period, StreamPolicy, plan
from core.segment import Segment
from storage.checkpoints import Checkpoints
from storage.control import Control
from storage.holds import Holds
from storage.keys import KeyRing
from storage.ledger import Ledger
from storage.query_log import QueryLog
from storage.signing import SigningKeys
from storage.spool import Spool

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.hot import HotStore
    from storage.requests import Requests

__all__ = ["Context", "Outcome", "Progress", "StoppedError", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the whole (0 when unknown). May raise :class:`StoppedError`: a job
calls it where it is safe to end."""


class StoppedError(AuditlakeError):
    """The work was asked to end; the next run goes on."""


def silent(_what: str, _done: int, _whole: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class Context:
    """One open data directory."""

    data_dir: Path
    clock: Clock
    control: Control
    ledger: Ledger
    keys: KeyRing
    open_hot: Callable[[], HotStore]
    open_archive: Callable[[], Archive]
    policies: Mapping[str, StreamPolicy]
    max_clock_jump: Period
    log_keep: Period = field(default_factory=lambda: Period(months=12))
    simulated: bool = False
    progress: Progress = silent
    downloads: Mapping[Path, str] = field(default_factory=dict)
    scrub_nights: int = 30
    evidence_lock: Period = field(default_factory=lambda: Period(months=36))
    request_keep: Period = field(default_factory=lambda: Period(months=36))

    @cached_property
    def hot(self) -> HotStore:
        """The hot files."""
        return self.open_hot()

    @cached_property
    def archive(self) -> Archive:
        """The archive."""
        return self.open_archive()

    @cached_property
    def spool(self) -> Spool:
        """Bodies that were sent and are not stored yet."""
        return Spool(self.data_dir / "spool", self.keys)

    @cached_property
    def hold_book(self) -> Holds:
        """The holds: added, listed, released."""
        return Holds(self.control, self.ledger, self.clock)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The holds that bind at this moment, read anew each time: a server keeps a context for weeks."""
        return self.hold_book.binding()

    def is_held(self, connection: sa.Connection, segment: Segment) -> bool:
        """Whether a hold covers the segment, within the caller's transaction."""
        return any(hold.covers(segment) for hold in self.hold_book.binding(connection))

    @cached_property
    def requests(self) -> Requests:
        """What data subjects have asked for."""
        from storage.requests import Requests

        return Requests(self.control, self.ledger, self.keys, self.clock)

    @cached_property
    def signing(self) -> SigningKeys:
        """The keys that sign evidence."""
        return SigningKeys(self.control, self.ledger, self.data_dir / "keys")

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What was signed over the ledger."""
        return Checkpoints(self.control, self.ledger, self.signing, self.clock, self.data_dir / "checkpoints")

    @cached_property
    def query_log(self) -> QueryLog:
        """Who asked what."""
        return QueryLog(self.control, self.ledger, self.keys, self.clock)

    def decisions(self, action: str | None = None, at: dt.datetime | None = None) -> tuple[Decision, ...]:
        """What is due now (or ``at``), of one action or all."""
        every = plan(self.ledger.states().values(), self.policies, self.hold_book.standing(), at or self.clock.now())
        return tuple(decision for decision in every if action in (None, decision.action))

    def key(self, segment: Segment) -> str:
        """The key of a segment's hot file.

        :raises AuditlakeError: it has none.
        """
        with self.control.read() as connection:
            key = self.keys.get(connection, segment)
        if key is None:
            raise AuditlakeError(f"segment {segment} has no key", "run: auditlake verify")
        return key

    def close(self) -> None:
        """Let go of every store."""
        for store in (self.__dict__.get("hot"), self.__dict__.get("archive"), self.control):
            if store is not None:
                store.close()


@dataclass(frozen=True)
class Outcome:
    """What a job did: ``done``, ``nothing due``, ``planned`` (a dry run) or ``failed``, with its decisions, figures and problems."""

    job: str
    outcome: str
    decisions: tuple[Decision, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
