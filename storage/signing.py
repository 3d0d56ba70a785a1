"""The keys that sign evidence: Ed25519 (RFC 8032), one in use, every public one kept in the ledger.

A key is known by the SHA-256 of its raw public key, 64 hexadecimal digits. The secret half is in ``<data-dir>/keys/signing.key`` (PKCS #8,
PEM, 0600) and nowhere else. The ledger has the public half: ``SigningKeyMade`` for the first key, ``SigningKeyRotated`` for each that
follows, signed by the one before it, so that whoever trusts the first trusts all. Making or rotating one needs the data directory's lock.

A crash leaves one of two things, which the next use settles: a file whose key the ledger does not know yet (then the ledger is told),
or, beside it, the key that the ledger knows already (then it is renamed into place).
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AuditlakeError, UsageError
from core.events import Event, Kind
from core.steps import step
from storage.control import Control
from storage.ledger import Ledger

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PublicKey", "Signer", "SigningKeys", "succession"]


@dataclass(frozen=True)
class PublicKey:
    """A key as the ledger knows it: its fingerprint, the raw public key (hexadecimal), since when it signs.

    :param previous: fingerprint of the key before it, which signed it; empty for a first one.
    :param signature: by that key, over :func:`succession`; hexadecimal, empty for a first one.
    """

    id: str
    public: str
    at: str
    previous: str = ""
    signature: str = ""

    def as_json(self) -> dict[str, str]:
        """As evidence shows it."""
        return {"id": self.id, "public": self.public, "at": self.at, "previous": self.previous, "signature": self.signature}


@dataclass(frozen=True)
class Signer:
    """The key in use."""

    key: PublicKey
    secret: "Ed25519PrivateKey"

    def sign(self, content: bytes) -> bytes:
        """64 bytes, always the same for the same content."""
        return self.secret.sign(content)


def succession(previous: str, public: str) -> bytes:
    """What the key before signs when another takes its place: the fingerprint of the old one, the raw public key of the new."""
    return f"auditlake signing key\n{previous}\n{public}\n".encode()


class SigningKeys:
    """The signing keys of one data directory.

    :param folder: where the secret half lies.
    """

    def __init__(self, control: Control, ledger: Ledger, folder: Path) -> None:
        self._control, self._ledger = control, ledger
        self._file = folder / "signing.key"
        self._next = folder / "signing.key.next"

    def public(self) -> tuple[PublicKey, ...]:
        """Every key there ever was, the one in use last; none before the first use."""
        return tuple(map(_known, self._ledger.events(Kind.SIGNING_KEY_MADE, Kind.SIGNING_KEY_ROTATED)))

    def signer(self) -> Signer:
        """The key in use, made when there is none yet.

        :raises AuditlakeError: its file is gone, or holds another key.
        :raises UsageError: others may read its file.
        """
        known = self.public()
        if known and self._next.exists() and _fingerprint(_load(self._next)) == known[-1].id:
            self._settle()
        if not self._file.exists():
            if known:
                raise AuditlakeError(
                    f"signing key {self._file} is gone",
                    "restore it from a backup, or begin with a new one: auditlake signing rotate --lost",
                )
            _write(self._file)
        secret = _load(self._file)
        if not known:
            known = (self._tell(Kind.SIGNING_KEY_MADE, secret),)
        if _fingerprint(secret) != known[-1].id:
            raise AuditlakeError(f"signing key {self._file} is not the one that the ledger knows", "restore it from a backup")
        return Signer(known[-1], secret)

    def rotate(self, lost: bool = False) -> PublicKey:
        """Put a new key in the place of the one in use; the old one's secret half is destroyed.

        :param lost: the old one is gone, so the new one is signed by nobody: who verifies must be given its fingerprint.
        :raises AuditlakeError: the old one is gone, and ``lost`` does not say so; or it is not gone.
        """
        if lost and self._file.exists():
            raise UsageError(f"signing key {self._file} is there", "leave out --lost: it signs the new one")
        old = None if lost else self.signer()
        _write(self._next)
        secret = _load(self._next)
        found = self._tell(Kind.SIGNING_KEY_ROTATED if old else Kind.SIGNING_KEY_MADE, secret, old)
        self._settle()
        return found

    def _tell(self, kind: str, secret: "Ed25519PrivateKey", old: Signer | None = None) -> PublicKey:
        public = secret.public_key().public_bytes_raw().hex()
        signed = {"previous": old.key.id, "signature": old.sign(succession(old.key.id, public)).hex()} if old else {}
        with self._control.write() as connection:
            return _known(self._ledger.append(connection, kind, key=_fingerprint(secret), public=public, **signed))

    def _settle(self) -> None:
        step("signing.rename")
        self._next.rename(self._file)
        _sync(self._file.parent)


def _known(event: Event) -> PublicKey:
    body = event.body
    return PublicKey(str(body["key"]), str(body["public"]), event.at, str(body.get("previous", "")), str(body.get("signature", "")))


def _fingerprint(secret: "Ed25519PrivateKey") -> str:
    return hashlib.sha256(secret.public_key().public_bytes_raw()).hexdigest()


def _load(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise UsageError(f"signing key {path} may be read by others (mode {mode & 0o777:o})", f"run: chmod 600 {path}")
        found = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise AuditlakeError(f"signing key {path} cannot be read: {error.strerror}", "check its permissions") from None
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise AuditlakeError(f"signing key {path} is no Ed25519 key", "restore it from a backup")
    return found


def _write(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.generate()
    text = secret.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    step("signing.write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(text)
            os.fsync(file.fileno())
        draft.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise AuditlakeError(f"signing key {path} cannot be written: {error.strerror}", "check disk and permissions") from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
