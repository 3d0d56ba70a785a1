"""Packs of evidence: events of the ledger, with everything that proves them, in one ZIP file that an auditor checks without us.

The form is described in docs/spec/evidence.md; :mod:`compliance.verifier`, which lies in every pack, checks it.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import rfc8785

from compliance import certificate_page
from compliance.certificates import CERTIFIED, Evidence, issue
from compliance.verifier import PACK
from core.errors import AuditlakeError, UsageError
from core.merkle import perfect, prove
from storage.checkpoints import Checkpoint
from storage.signing import Signer

__all__ = ["Pack", "build"]

_README = """Evidence of auditlake

ledger.jsonl    the events of the ledger, one a line, in canonical JSON
proof.json      the hashes that stand for the events that are not here
checkpoints/    signed texts that commit to the ledger's first so many events
certificates/   certificates of destruction: .json is signed, .html shows it
keys.json       public keys; each but the first is signed by the one before it
manifest.json   the digest of each file; manifest.sig: its signature

Verify it, with Python 3.11 or later and the package cryptography:

    python verify_pack.py PACK --trust FINGERPRINT

PACK is this ZIP file, or the folder that you unpacked it to. FINGERPRINT is the
SHA-256 of the signing key, which you should have been given on another way
than with this pack. A checkpoint that you kept from earlier can be compared
too: --checkpoint FILE. Do not take verify_pack.py from the pack that you want
to check, but from the program's own source, compliance/verifier.py.
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Pack:
    """A pack: its bytes, its first and last event, the checkpoint it is proved by, and how many certificates it has."""

    content: bytes
    first: int
    last: int
    checkpoint: Checkpoint
    certificates: int
    key: str


def build(evidence: Evidence, since: str = "", until: str = "", made: str = "", extra: dict[str, bytes] | None = None) -> Pack:
    """A pack of the events from the first at or after ``since`` to the last before ``until`` (ISO 8601; empty: all).

    :param made: when it is made, ISO 8601. :param extra: more files by name, such as a report; they are digested and signed too.
    :raises UsageError: there is no event in that time.
    :raises AuditlakeError: no checkpoint covers the last event, or the ledger was changed.
    """
    first, last = _bounds(evidence, since, until)
    checkpoint = evidence.checkpoints.first_over(last)
    if checkpoint is None:
        raise AuditlakeError(f"no checkpoint covers event {last} yet", "run: auditlake run checkpoint")
    files = dict(_files(evidence, first, last, checkpoint)) | (extra or {})
    signer = evidence.checkpoints.keys.signer()
    head: dict[str, Any] = {
        "format": PACK,
        "origin": f"auditlake/{evidence.checkpoints.keys.public()[0].id[:32]}",
        "first": first,
        "last": last,
        "made": made,
        "files": {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()},
    }
    files["manifest.json"] = rfc8785.dumps(head) + b"\n"
    signature = signer.sign(b"auditlake manifest\n" + files["manifest.json"]).hex()
    files["manifest.sig"] = f"{signer.key.id} {signature}\n".encode()
    certificates = sum(name.startswith("certificates/") and name.endswith(".json") for name in files)
    return Pack(_zipped(files, signer), first, last, checkpoint, certificates, signer.key.id)


def _bounds(evidence: Evidence, since: str, until: str) -> tuple[int, int]:
    seqs = [event.seq for event in evidence.ledger.events() if event.at >= since and (not until or event.at < until)]
    if not seqs:
        raise UsageError("the ledger has no event in that time", "see: auditlake ledger")
    return seqs[0], seqs[-1]


def _files(evidence: Evidence, first: int, last: int, checkpoint: Checkpoint) -> Iterator[tuple[str, bytes]]:
    yield "README.txt", _README.encode()
    yield "verify_pack.py", _program()
    keys = [key.as_json() for key in evidence.checkpoints.keys.public()]
    yield "keys.json", rfc8785.dumps({"keys": keys}) + b"\n"
    lines: list[bytes] = []
    left, right = perfect(0, first - 1), perfect(last, checkpoint.size)
    walk = _watched(evidence, first, last, checkpoint.size, lines)
    hashes = [node.hex() for node in prove(walk, [*left, *right])]
    for _ in walk:
        pass  # all events are needed, whatever the proof needs
    yield "ledger.jsonl", b"\n".join(lines) + b"\n"
    proof: dict[str, Any] = {"size": checkpoint.size, "left": hashes[: len(left)], "right": hashes[len(left) :]}
    yield "proof.json", rfc8785.dumps(proof) + b"\n"
    for each in evidence.checkpoints.every():
        if first - 1 <= each.size <= last or each.size == checkpoint.size:
            yield f"checkpoints/{each.name}", each.note.encode()
    events = [event for event in evidence.ledger.events(*CERTIFIED, after=first - 1) if event.seq <= last]
    for certificate in issue(evidence, events):
        yield f"certificates/{certificate.name}.json", certificate.content
        yield f"certificates/{certificate.name}.html", certificate_page.page(certificate).encode()


def _program() -> bytes:
    """The stand-alone verifier, as it is here."""
    return resources.files("compliance").joinpath("verifier.py").read_bytes()


def _watched(evidence: Evidence, first: int, last: int, size: int, lines: list[bytes]) -> Iterator[bytes]:
    for number, entry in enumerate(evidence.ledger.entries(0, size), start=1):
        if first <= number <= last:
            lines.append(entry)
        yield entry


def _zipped(files: dict[str, bytes], signer: Signer) -> bytes:
    """The files in a ZIP file whose comment signs every byte before it: what no digest of a file covers is covered here."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            pack.writestr(entry, content)
        pack.comment = b" " * 211
    body = held.getvalue()[:-211]
    said = b"auditlake pack\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
    return body + f"{PACK} {signer.key.id} {signer.sign(said).hex()}\n".encode()
