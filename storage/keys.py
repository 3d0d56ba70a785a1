"""Keys: one for each hot file, wrapped by a master key. To destroy a file's key is to destroy the file.

Wrapping is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, bound to the segment's name as associated data, so
that a wrapped key opens no other segment. The master key comes from the environment, a file, or is generated (0600) on
first use; it is never written anywhere else.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import AuditlakeError, UsageError
from core.segment import Segment
from core.steps import step
from storage import control as db

__all__ = ["QUERY_LOG", "REQUEST", "KeyRing", "load_master_key"]

QUERY_LOG = "query.log"
"""What stands for a stream in the keys of the query log's days; no stream can have that name."""
REQUEST = "subject request "
"""What stands for a stream in the keys of data subjects' requests, with the request's number; no stream can have such a name."""

_BYTES = 32
_NONCE = 12


def load_master_key(text: str | None, path: Path, make: bool = True) -> bytes:
    """The master key: from ``text`` (base64 of 32 bytes) when given, else from the file.

    :param make: whether a file that is absent is made; else that is an error, since a new key opens nothing there is.
    :raises UsageError: it is no such key, or others may read its file.
    """
    if text:
        return _decode(text, "AUDITLAKE_MASTER_KEY")
    try:
        if make and not path.exists():
            _generate(path)
        mode = path.stat().st_mode
        if mode & 0o077:
            raise UsageError(f"master key file {path} may be read by others (mode {mode & 0o777:o})", f"run: chmod 600 {path}")
        return _decode(path.read_text(encoding="ascii", errors="replace"), str(path))
    except OSError as error:
        raise UsageError(f"master key file {path}: {error.strerror}", "check its path and permissions") from error


def _generate(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    step("keys.generate")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # without its key every hot file is lost
    finally:
        os.close(folder)


def _decode(text: str, name: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _BYTES:
        raise UsageError(f"{name} is not base64 of {_BYTES} bytes", "make one with: openssl rand -base64 32")
    return key


class KeyRing:
    """The keys of hot files, in the control database."""

    def __init__(self, master: bytes) -> None:
        self._master = AESGCM(master)
        self._secret = master

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, always the same, from which neither the master key nor another purpose's can be told.

        HKDF with SHA-256, RFC 5869, without salt; the purpose is its *info*.
        """
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), _BYTES, salt=None, info=f"auditlake {purpose}".encode()).derive(self._secret)

    def wrap(self, key: bytes, name: str) -> bytes:
        """A key sealed by the master key, bound to a name."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._master.encrypt(nonce, key, name.encode())

    def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """The key that was wrapped under that name.

        :raises ValueError: it is none, or another name's.
        """
        try:
            return self._master.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], name.encode())
        except InvalidTag:
            raise ValueError(f"no key of {name}") from None

    def get(self, connection: sa.Connection, segment: Segment) -> str | None:
        """The segment's key as hexadecimal text, or ``None`` when it has none.

        :raises AuditlakeError: the master key does not open it.
        """
        wrapped = connection.execute(sa.select(db.keys.c.wrapped).where(*_is(segment))).scalar()
        if wrapped is None:
            return None
        try:
            return self._master.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], str(segment).encode()).hex()
        except (InvalidTag, ValueError):  # ValueError: too short to be a wrapped key
            raise AuditlakeError(
                f"the master key does not open the key of {segment}", "give the master key that this data directory was made with"
            ) from None

    def create(self, connection: sa.Connection, segment: Segment) -> str:
        """The segment's key, made when it has none."""
        key = self.get(connection, segment)
        if key is None:
            key = secrets.token_hex(_BYTES)
            self.replace(connection, segment, key)
        return key

    def replace(self, connection: sa.Connection, segment: Segment, key: str) -> None:
        """Give the segment that key, and destroy the one that it has."""
        self.destroy(connection, segment)
        wrapped = self.wrap(bytes.fromhex(key), str(segment))
        connection.execute(db.keys.insert().values(stream=segment.stream, day=segment.day, wrapped=wrapped))

    def destroy(self, connection: sa.Connection, segment: Segment) -> None:
        """Delete the segment's key; the bytes leave the database's files with :meth:`storage.control.Control.forget_deleted`."""
        connection.execute(db.keys.delete().where(*_is(segment)))

    def segments(self, connection: sa.Connection) -> set[Segment]:
        """Every segment that has a key."""
        query = sa.select(db.keys.c.stream, db.keys.c.day).where(db.keys.c.stream != QUERY_LOG, db.keys.c.stream.not_like(f"{REQUEST}%"))
        return {Segment(row.stream, row.day) for row in connection.execute(query)}


def _is(segment: Segment) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return db.keys.c.stream == segment.stream, db.keys.c.day == segment.day
