"""Bodies that were sent and are not stored yet: durable before they are acknowledged, encrypted, gone once their lines are stored.

``<data-dir>/spool/<receipt>`` holds a body under a key of its own (AES-256-GCM, NIST SP 800-38D): a 96-bit nonce, then the ciphertext with
its tag, the receipt as associated data. The key is in the control database, wrapped by the master key, and is deleted in the transaction
that records the last of the body's lines. What made a request the same as another is remembered longer, so that one that is repeated
changes nothing.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import AuditlakeError
from core.steps import step
from storage import control as db
from storage.keys import KeyRing
from storage.parts import sync_folder

__all__ = ["Receipt", "Spool"]

_NONCE = 12


@dataclass(frozen=True)
class Receipt:
    """What was taken in, and what has become of it.

    :param sender: id of the user who sent it, or name of the source.
    :param source: how quarantine calls the source.
    :param chunks: how many of its chunks are stored.
    :param zone: of times that name none; ``None`` as the settings say.
    :param figures: lines counted so far, as :meth:`jobs.ingest.Tally.figures` has them.
    """

    id: str
    stream: str
    sender: str
    format: str
    source: str
    arrived: str
    chunks: int = 0
    done: bool = False
    figures: Mapping[str, int] = field(default_factory=dict)
    zone: str | None = None


class Spool:
    """The spool of a data directory.

    :param folder: made when a body comes.
    """

    def __init__(self, folder: Path, keys: KeyRing) -> None:
        self._folder = folder
        self._keys = keys

    def put(self, body: bytes, receipt: Receipt) -> bytes:
        """Make a body durable; the wrapped key to :meth:`announce` it with. A file that is not announced is removed by :meth:`tidy`.

        :raises AuditlakeError: it cannot be written.
        """
        key, nonce, path = secrets.token_bytes(32), secrets.token_bytes(_NONCE), self._path(receipt.id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            step("spool.write")
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(nonce)
                stream.write(AESGCM(key).encrypt(nonce, body, receipt.id.encode()))
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(self._folder)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise AuditlakeError(f"spool {self._folder} cannot be written: {error.strerror}", "make room on the disk") from None
        return self._keys.wrap(key, receipt.id)

    def announce(self, connection: sa.Connection, receipt: Receipt, wrapped: bytes, same: str) -> None:
        """Note it, within the caller's transaction: from its end on the body is acknowledged.

        :raises sqlalchemy.exc.IntegrityError: the same was sent before.
        """
        last = connection.execute(sa.select(sa.func.max(db.receipts.c.number))).scalar() or 0
        connection.execute(
            db.receipts.insert().values(
                receipt=receipt.id,
                number=last + 1,
                stream=receipt.stream,
                sender=receipt.sender,
                body=json.dumps({"format": receipt.format, "source": receipt.source, "zone": receipt.zone}),
                same=same,
                arrived=receipt.arrived,
                wrapped=wrapped,
                chunks=0,
                done=False,
                figures="{}",
            )
        )

    def known(self, connection: sa.Connection, stream: str, sender: str, same: str) -> Receipt | None:
        """What the same sender was given for the same, if anything."""
        which = (db.receipts.c.stream == stream, db.receipts.c.sender == sender, db.receipts.c.same == same)
        row = connection.execute(sa.select(db.receipts).where(*which)).first()
        return _receipt(row) if row else None

    def find(self, connection: sa.Connection, receipt: str) -> Receipt | None:
        """That receipt, if there is one."""
        row = connection.execute(sa.select(db.receipts).where(db.receipts.c.receipt == receipt)).first()
        return _receipt(row) if row else None

    def waiting(self, connection: sa.Connection, limit: int) -> list[Receipt]:
        """What is not stored yet, in the order of arrival."""
        query = sa.select(db.receipts).where(sa.not_(db.receipts.c.done)).order_by(db.receipts.c.number).limit(limit)
        return [_receipt(row) for row in connection.execute(query)]

    def load(self, connection: sa.Connection, receipt: Receipt) -> bytes:
        """The body.

        :raises AuditlakeError: it is gone or damaged.
        """
        wrapped = connection.execute(sa.select(db.receipts.c.wrapped).where(db.receipts.c.receipt == receipt.id)).scalar()
        try:
            sealed = self._path(receipt.id).read_bytes()
            key = self._keys.unwrap(wrapped or b"", receipt.id)
            return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], receipt.id.encode())
        except (OSError, InvalidTag, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is damaged"
            raise AuditlakeError(f"spool file {self._path(receipt.id)} cannot be read: {why}", "restore it from a backup") from None

    def advance(self, connection: sa.Connection, receipt: Receipt, chunks: int, figures: Mapping[str, int], done: bool) -> None:
        """Note that so many of its chunks are stored, within the transaction that records the last one's batch."""
        values: dict[str, Any] = {"chunks": chunks, "figures": json.dumps(dict(figures)), "done": done}
        if done:
            values["wrapped"] = None
        connection.execute(db.receipts.update().where(db.receipts.c.receipt == receipt.id).values(**values))

    def remove(self, receipt: Receipt) -> None:
        """Delete the body of a receipt that is done."""
        step("spool.unlink")
        self._path(receipt.id).unlink(missing_ok=True)

    def tidy(self, connection: sa.Connection) -> None:
        """Delete bodies that were never acknowledged, or are stored: what a crash left. Not while one may be taken in."""
        if not self._folder.is_dir():
            return
        waiting = set(connection.execute(sa.select(db.receipts.c.receipt).where(sa.not_(db.receipts.c.done))).scalars())
        for path in self._folder.iterdir():
            if path.name not in waiting:
                step("spool.unlink")
                path.unlink(missing_ok=True)

    def forget(self, connection: sa.Connection, before: str) -> int:
        """Forget what was taken in before that time and is stored; returns how many."""
        return connection.execute(db.receipts.delete().where(db.receipts.c.done, db.receipts.c.arrived < before)).rowcount

    def size(self) -> int:
        """Bytes of all bodies that wait."""
        return sum(path.stat().st_size for path in self._folder.iterdir()) if self._folder.is_dir() else 0

    def _path(self, receipt: str) -> Path:
        return self._folder / receipt


def _receipt(row: Any) -> Receipt:
    said = json.loads(row.body)
    return Receipt(
        row.receipt,
        row.stream,
        row.sender,
        said["format"],
        said["source"],
        row.arrived,
        row.chunks,
        row.done,
        json.loads(row.figures),
        said["zone"],
    )
