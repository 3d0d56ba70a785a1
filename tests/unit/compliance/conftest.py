"""A ledger with destroyed days, a rotated key, checkpoints in two places, and a pack of it all."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compliance.certificates import Evidence
from compliance.packs import Pack, build
from core.clock import UTC
from core.events import Kind
from core.segment import Segment
from storage import destructions
from storage.checkpoints import Checkpoints, Place
from storage.control import Control
from storage.destructions import Removal
from storage.ledger import Ledger
from storage.objects import LocalObjects, path_to_url
from storage.signing import SigningKeys

__all__ = ["Bench"]

POLICY = "requests: hot for 1 month, destroyed after 1 year; rejected lines destroyed after 1 month"


@dataclass
class Hands:
    """A clock that stands where it was put."""

    instant: dt.datetime

    def now(self) -> dt.datetime:
        return self.instant


@dataclass
class Bench:
    """The stores, and ways to write into them."""

    root: Path
    clock: Hands
    control: Control
    ledger: Ledger
    keys: SigningKeys
    checkpoints: Checkpoints

    def __post_init__(self) -> None:
        self.archive = LocalObjects(self.root / "archive")
        self.location = path_to_url(self.root / "archive")
        self.evidence = Evidence(self.control, self.ledger, self.checkpoints, {"requests": POLICY})

    @property
    def places(self) -> tuple[Place, ...]:
        return self.checkpoints.places(self.archive, self.location)

    def tell(self, kind: str, **body: Any) -> int:
        with self.control.write() as connection:
            return self.ledger.append(connection, kind, **body).seq

    def destroy(self, day: str, things: int = 2, bound: bool = True) -> int:
        """A day is destroyed; ``bound``: with the record that events have had since they are certified."""
        segment = Segment("requests", dt.date.fromisoformat(day))
        removals = [
            Removal("object", f"s3://b/requests/data/event_day={day}/r1-{number}.parquet", f"v<{number}>", 10) for number in range(things)
        ]
        destructions.note(self.control, segment, removals)
        named = {"stream": "requests", "day": day}
        self.tell(Kind.PURGE_STARTED, **named)
        with self.control.write() as connection:
            record = destructions.conclude(connection, segment, POLICY, "s3://b/requests/")
            detail = {"detail": destructions.digest(record)} if bound else {}
            listing = hashlib.sha256(b"[]").hexdigest()
            event = self.ledger.append(connection, Kind.SEGMENT_PURGED, **named, rows=7, found=0, listed=0, listing=listing, **detail)
            if bound:
                destructions.keep(connection, event.seq, record)
        return event.seq

    def sign(self) -> None:
        self.checkpoints.sign()
        self.checkpoints.copy(self.places, None)

    def tamper(self, *statements: str) -> None:
        """Whoever owns the database can do anything."""
        with self.control.write() as connection:
            for name in ("update", "delete", "replace"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS ledger_no_{name}")
            for statement in statements:
                connection.exec_driver_sql(statement)

    def pack(self, since: str = "", until: str = "") -> Pack:
        return build(self.evidence, since, until, "2026-02-10T00:00:00Z")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Events of three days, three checkpoints and two keys; four days were destroyed."""
    clock = Hands(dt.datetime(2026, 1, 31, 1, tzinfo=UTC))
    control = Control.in_file(tmp_path / "control.sqlite")
    ledger = Ledger(control, clock)
    keys = SigningKeys(control, ledger, tmp_path / "keys")
    made = Bench(tmp_path, clock, control, ledger, keys, Checkpoints(control, ledger, keys, clock, tmp_path / "checkpoints"))
    made.tell(Kind.DIRECTORY_CREATED, simulated=False)
    made.destroy("2025-01-29", bound=False)
    made.sign()
    clock.instant += dt.timedelta(days=1)
    made.destroy("2025-01-30")
    made.sign()
    keys.rotate()
    clock.instant += dt.timedelta(days=1)
    made.destroy("2025-01-31", things=3)
    made.destroy("2025-02-01", things=1)
    made.sign()
    yield made
    control.close()
