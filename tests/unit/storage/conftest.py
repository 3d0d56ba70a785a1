"""A control database with all that is kept in it, and a clock that a test sets."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.clock import UTC
from storage.control import Control
from storage.keys import KeyRing
from storage.ledger import Ledger
from storage.people import People
from storage.query_log import QueryLog

__all__ = ["Desk"]


@dataclass
class Hands:
    """A clock that stands where it was put."""

    instant: dt.datetime

    def now(self) -> dt.datetime:
        """Where it was put."""
        return self.instant


@dataclass
class Desk:
    """Control database, ledger, users and query log."""

    path: Path
    control: Control
    clock: Hands
    ledger: Ledger
    people: People
    log: QueryLog

    def bytes(self) -> bytes:
        """Everything in the database's files."""
        return b"".join(file.read_bytes() for file in sorted(self.path.parent.glob(f"{self.path.name}*")))

    def bodies(self, *kinds: str) -> list[dict[str, object]]:
        """Bodies of the ledger's events of these kinds."""
        return [dict(event.body) for event in self.ledger.events(*kinds)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    path, clock = tmp_path / "control.sqlite", Hands(dt.datetime(2026, 1, 31, 12, tzinfo=UTC))
    control = Control.in_file(path)
    ledger = Ledger(control, clock)
    yield Desk(path, control, clock, ledger, People(control, ledger, clock), QueryLog(control, ledger, KeyRing(bytes(32)), clock))
    control.close()
