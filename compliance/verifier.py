#!/usr/bin/env python3
"""Verify a pack of evidence, or one certificate, that auditlake made. Needs this file, Python 3.11 and the package `cryptography`.

    python verify_pack.py PACK [--trust FINGERPRINT]... [--checkpoint FILE]... [--json]

PACK is a pack (a ZIP file, or the folder that it was unpacked to) or a certificate (JSON). --trust is the SHA-256 fingerprint of a
signing key that you were given on another way: without one, the pack is only shown to agree with itself. --checkpoint is a checkpoint
that you kept from earlier: the ledger must still begin with what it commits to. Exit codes: 0 all is in order, 1 it is not, 2 wrong usage.

The format is described in docs/spec/evidence.md, and everything here follows from that page. auditlake runs this same file.
"""

import argparse
import base64
import binascii
import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["Check", "Fault", "Keys", "canonical", "certificate", "checks", "layers", "read_note"]

PACK, CERTIFICATE = "auditlake-pack/1", "auditlake-certificate/1"
_ENVELOPE = re.compile(rb"auditlake-pack/1 ([0-9a-f]{64}) ([0-9a-f]{128})\n\Z")
_ENVELOPE_BYTES = 211
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_NOTE = re.compile(r"(([^ \n]+)\n([1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n)\n\u2014 \2 ([A-Za-z0-9+/]+={0,2})\n\Z")
_MOST_BYTES = 4 << 30
_GENESIS = "0" * 64


class Fault(Exception):  # noqa: N818 - it is a finding, not a failure of this program
    """What is not in order; its text is one line."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, whether it is in order, and what was found."""

    name: str
    ok: bool
    detail: str


@dataclass
class Keys:
    """Public keys by fingerprint, which of them are trusted, and the first one's fingerprint, which the log is named after."""

    public: dict[str, str] = field(default_factory=dict)
    trusted: set[str] = field(default_factory=set)
    first: str = ""

    @property
    def origin(self) -> str:
        """The name of the log."""
        return f"auditlake/{self.first[:32]}"


def canonical(value: Any) -> bytes:
    """RFC 8785, for what packs hold: texts, whole numbers, true, false, null, lists, and objects whose names are ASCII."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def parse(content: bytes, what: str) -> dict[str, Any]:
    """The object of a canonical JSON text."""
    try:
        value = json.loads(content, parse_float=_no_fraction, parse_constant=_no_fraction)
        if isinstance(value, dict) and canonical(value) == content:
            return value
    except (ValueError, TypeError, RecursionError):
        pass
    raise Fault(f"{what} is no object in canonical JSON")


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(text)


def signed(public: str, signature: str, content: bytes) -> bool:
    """Whether the key (raw, hexadecimal) made that Ed25519 signature (hexadecimal)."""
    if not (_HASH.match(public) and _SIGNATURE.match(signature)):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_keys(listed: Any, trust: Sequence[str] = ()) -> Keys:
    """The keys of a list, each its own fingerprint and, but for the first ones, signed by the key before it."""
    keys = Keys()
    for number, entry in enumerate(listed):
        if set(entry) != {"id", "public", "at", "previous", "signature"} or not all(isinstance(value, str) for value in entry.values()):
            raise Fault(f"key {number + 1} is not described as keys are")
        name, public, previous = entry["id"], entry["public"], entry["previous"]
        if not _HASH.match(public) or hashlib.sha256(bytes.fromhex(public)).hexdigest() != name:
            raise Fault(f"key {number + 1} is not the one of its fingerprint")
        if previous:
            said = f"auditlake signing key\n{previous}\n{public}\n".encode()
            if previous not in keys.public or not signed(keys.public[previous], entry["signature"], said):
                raise Fault(f"key {name[:16]} is not signed by the key before it")
        elif entry["signature"]:
            raise Fault(f"key {name[:16]} is signed by nobody who is named")
        if name in trust or (previous in keys.trusted if previous else not trust):
            keys.trusted.add(name)
        keys.public[name] = public
        keys.first = keys.first or name
    if not keys.public:
        raise Fault("there is no key")
    if not keys.trusted:
        raise Fault("none of its keys is one that you trust, nor follows from one")
    return keys


def read_note(text: str, keys: Keys) -> tuple[int, bytes]:
    """A checkpoint that a trusted key signed: how many events it is over, and the root of their tree."""
    match = _NOTE.match(text)
    if not match:
        raise Fault("a checkpoint is not written as checkpoints are")
    said, origin, size, root, signature = match[1].encode(), match[2], int(match[3]), _base64(match[4]), _base64(match[5])
    for name in keys.trusted if origin == keys.origin else ():
        if signature[:4] == hashlib.sha256(origin.encode() + b"\n\x01" + bytes.fromhex(keys.public[name])).digest()[:4]:
            if signed(keys.public[name], signature[4:].hex(), said):
                return size, root
            raise Fault(f"the checkpoint over {size} events was changed: its signature is not of its text")
    raise Fault(f"the checkpoint over {size} events is of another log, or signed by an unknown key")


def _base64(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if base64.b64encode(found).decode() != text:  # spare bits in the last digit would be bits that nobody checks
        raise Fault("a checkpoint holds what is not base64")
    return found


def _leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The perfect subtrees of the entries so far, the largest first."""

    def __init__(self, size: int, peaks: Sequence[bytes]) -> None:
        if size < 0 or len(peaks) != size.bit_count():
            raise Fault("proof.json has not the hashes that stand for the events before the first")
        self.size, self.peaks = size, [*peaks]

    def join(self, subtree: bytes, entries: int = 1) -> None:
        """Add a perfect subtree of so many entries."""
        size = self.size
        while size & entries:
            subtree, size, entries = _node(self.peaks.pop(), subtree), size - entries, entries * 2
        self.peaks.append(subtree)
        self.size = size + entries

    def root(self) -> bytes:
        """The hash of all of it."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = _node(peak, found)
        return found


def _climb(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to: PATH of RFC 6962, 2.1.1, read from its end."""
    if size == 1 and not proof and index == 0:
        return leaf
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return _node(_climb(leaf, index, split, proof[:-1]), proof[-1])
    return _node(proof[-1], _climb(leaf, index - split, size - split, proof[:-1]))


def certificate(content: bytes, trust: Sequence[str] = (), keys: Keys | None = None) -> str:
    """What a certificate says, when every part of it is in order.

    :param keys: those of the pack that it lies in, which must be its own.
    """
    if not content.endswith(b"\n"):
        raise Fault("it does not end with a line's end")
    held = parse(content[:-1], "the certificate")
    if held.get("format") != CERTIFICATE:
        raise Fault(f"it is no certificate of the form {CERTIFICATE}")
    own = read_keys(held["keys"], [*(keys.trusted if keys else trust)])
    said = b"auditlake certificate\n" + canonical({name: value for name, value in held.items() if name != "signature"})
    if held["key"] not in own.trusted or not signed(own.public[held["key"]], held["signature"], said):
        raise Fault("its signature is not of its text, or not by a trusted key")
    event, proof = held["event"], held["proof"]
    size, root = read_note(held["checkpoint"], own)
    hashes = [_digest(text) for text in proof["hashes"]]
    if held["origin"] != own.origin or proof["size"] != size or proof["index"] != event["seq"] - 1:
        raise Fault("its proof is of another event or checkpoint")
    if not 0 <= proof["index"] < size or _climb(_leaf(canonical(event)), proof["index"], size, hashes) != root:
        raise Fault("its event is not in the ledger that the checkpoint commits to")
    digest = None if held["detail"] is None else hashlib.sha256(canonical(held["detail"])).hexdigest()
    if event["body"].get("detail") != digest or (held["policy_from"] == "ledger" and held["policy"] != held["detail"]["policy"]):
        raise Fault("its detail or policy is not the one that the event commits to")
    return f"event {event['seq']}, {event['kind']}, {event['at']}: {held['statement']}"


def _digest(text: Any) -> bytes:
    if not isinstance(text, str) or not _HASH.match(text):
        raise Fault("a proof holds what is no hash")
    return bytes.fromhex(text)


def checks(path: Path, trust: Sequence[str] = (), seen: Sequence[str] = ()) -> Iterator[Check]:
    """Look at a pack or a certificate, one thing after the other.

    :param trust: fingerprints; :param seen: texts of checkpoints kept from earlier.
    """
    if path.is_dir():
        files = {each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}
        yield from layers(files, trust, seen)
        return
    content = path.read_bytes()
    if content[:1] == b"{":
        yield _checked("certificate", lambda: certificate(content, trust))
        return
    files = {}
    yield _checked("container", lambda: _unpack(content, files))
    if files:
        yield _checked("envelope", lambda: _envelope(content, files, trust))
        yield from layers(files, trust, seen)


def layers(files: Mapping[str, bytes], trust: Sequence[str] = (), seen: Sequence[str] = ()) -> Iterator[Check]:
    """Look at the files of a pack by their names."""
    state = _State(files, trust, seen)
    for name in ("manifest", "keys", "ledger", "checkpoints", "certificates", *(["kept checkpoints"] if seen else [])):
        yield _checked(name, getattr(state, name.replace(" ", "_")))


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except Fault as fault:
        return Check(name, False, str(fault))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError, OverflowError, UnicodeError) as error:
        return Check(name, False, f"it is not as packs are ({type(error).__name__})")


def _unpack(content: bytes, files: dict[str, bytes]) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as pack:
            listed = pack.infolist()
            if sum(entry.file_size for entry in listed) > _MOST_BYTES or len({entry.filename for entry in listed}) < len(listed):
                raise ValueError("too much, or a name twice")
            files.update({entry.filename: pack.read(entry) for entry in listed})
    except Exception as error:  # zipfile and zlib raise many kinds for damaged files
        files.clear()
        raise Fault(f"it is no ZIP file that can be read: {error}") from None
    return f"{len(files)} files"


def _envelope(content: bytes, files: Mapping[str, bytes], trust: Sequence[str]) -> str:
    keys = _State(files, trust, ()).known
    match = _ENVELOPE.match(content[-_ENVELOPE_BYTES:])
    said = b"auditlake pack\n" + hashlib.sha256(content[:-_ENVELOPE_BYTES]).hexdigest().encode() + b"\n"
    if not match:
        raise Fault("it does not end with a signature")
    name = match[1].decode()
    if name not in keys.trusted or not signed(keys.public[name], match[2].decode(), said):
        raise Fault("its signature is not of its bytes, or not by a trusted key")
    return f"signed by {name}"


class _State:
    """The parts of a pack, each read when it is first needed."""

    def __init__(self, files: Mapping[str, bytes], trust: Sequence[str], seen: Sequence[str]) -> None:
        self._files, self._trust, self._seen = files, trust, seen
        self._roots: dict[int, bytes] = {}

    def _json(self, name: str) -> dict[str, Any]:
        if name not in self._files:
            raise Fault(f"{name} is missing")
        content = self._files[name]
        return parse(content.removesuffix(b"\n"), name)

    @property
    def known(self) -> Keys:
        """The keys of the pack."""
        return read_keys(self._json("keys.json")["keys"], self._trust)

    def manifest(self) -> str:
        """Every file is listed with its digest, and the list is signed."""
        held, content = self._json("manifest.json"), self._files["manifest.json"]
        name, _, rest = self._files.get("manifest.sig", b"").decode().partition(" ")
        keys = self.known
        if (
            name not in keys.trusted
            or not rest.endswith("\n")
            or not signed(keys.public[name], rest[:-1], b"auditlake manifest\n" + content)
        ):
            raise Fault("the signature of manifest.json is not of its text, or not by a trusted key")
        if held["format"] != PACK or held["origin"] != keys.origin:
            raise Fault(f"it is no pack of the form {PACK} by these keys")
        there = {name: content for name, content in self._files.items() if name not in ("manifest.json", "manifest.sig")}
        for name in sorted({*held["files"], *there}):
            entry = held["files"].get(name)
            if entry is None or name not in there:
                raise Fault(f"{name} is {'missing' if entry else 'not listed in the manifest'}")
            if entry != {"bytes": len(there[name]), "sha256": hashlib.sha256(there[name]).hexdigest()}:
                raise Fault(f"{name} was changed")
        return f"{len(there)} files, made {held['made']}"

    def keys(self) -> str:
        """The keys follow from the first, and are those that the ledger's events name."""
        keys = self.known
        listed = {entry["id"]: entry for entry in self._json("keys.json")["keys"]}
        for event in map(json.loads, self._lines()):
            if event["kind"] in ("SigningKeyMade", "SigningKeyRotated"):
                body, entry = event["body"], listed.get(event["body"]["key"], {})
                told = (body["public"], body.get("previous", ""), body.get("signature", ""), event["at"])
                if told != tuple(entry.get(name) for name in ("public", "previous", "signature", "at")):
                    raise Fault(f"event {event['seq']} names a key that keys.json does not")
        compared = "trusted by you" if self._trust else "not compared with a fingerprint of yours (--trust)"
        return f"{len(keys.public)}, first {keys.first}, {compared}"

    def _sizes(self) -> list[int]:
        return sorted(int(name[12:-4]) for name in self._files if name.startswith("checkpoints/"))

    def _lines(self) -> list[bytes]:
        content = self._files.get("ledger.jsonl", b"")
        if not content.endswith(b"\n"):
            raise Fault("ledger.jsonl is missing, empty or cut")
        return content[:-1].split(b"\n")

    def ledger(self) -> str:
        """The events follow one another, and add up to the root of the pack's checkpoint."""
        lines, held, proof = self._lines(), self._json("manifest.json"), self._json("proof.json")
        first, prev = held["first"], _GENESIS if held["first"] == 1 else None
        tree = Tree(first - 1, [_digest(text) for text in proof["left"]])
        wanted = {*self._sizes(), *(read_note(text, self.known)[0] for text in self._seen)}
        self._roots[tree.size] = tree.root()
        for number, line in enumerate(lines, start=first):
            event = parse(line, f"event {number}")
            if set(event) != {"at", "body", "kind", "prev", "seq"} or event["seq"] != number or (prev and event["prev"] != prev):
                raise Fault(f"event {number} is missing, or does not follow the one before it")
            prev = hashlib.sha256(line).hexdigest()
            tree.join(_leaf(line))
            if number in wanted:
                self._roots[number] = tree.root()
        if tree.size != held["last"]:
            raise Fault(f"the ledger ends with event {tree.size}, the manifest says {held['last']}")
        self._rest(tree, [_digest(text) for text in proof["right"]], proof["size"])
        if self._roots[proof["size"]] != self._root(proof["size"]):
            raise Fault(f"the events are not those that the checkpoint over {proof['size']} commits to")
        return f"events {first} to {held['last']}, in the tree of {proof['size']}"

    def _rest(self, tree: Tree, right: Sequence[bytes], size: int) -> None:
        """Add what stands for the events after the last: each the largest subtree that can stand there."""
        for node in right:
            room, step = size - tree.size, tree.size & -tree.size or size
            while step > room > 0:
                step >>= 1
            if room <= 0:
                raise Fault("proof.json has hashes that stand for nothing")
            tree.join(node, step)
        if tree.size != size:
            raise Fault("proof.json has not the hashes that stand for the events after the last")
        self._roots[size] = tree.root()

    def _root(self, size: int) -> bytes:
        name = f"checkpoints/{size:012d}.txt"
        found, root = read_note(self._files[name].decode() if name in self._files else "", self.known)
        if found != size:
            raise Fault(f"{name} is the checkpoint over {found} events")
        return root

    def checkpoints(self) -> str:
        """Each checkpoint is signed, and of this ledger."""
        sizes = self._sizes()
        for size in sizes:
            if self._roots.get(size) != self._root(size):
                raise Fault(f"the ledger does not begin with the {size} events of a checkpoint: it was rewritten")
        return f"{len(sizes)}, over up to {sizes[-1]} events"

    def certificates(self) -> str:
        """Each certificate is in order by itself, and of an event of this pack."""
        keys, lines, held = self.known, self._lines(), self._json("manifest.json")
        names = sorted(name for name in self._files if name.startswith("certificates/") and name.endswith(".json"))
        for name in names:
            try:
                certificate(self._files[name], (), keys)
            except Fault as fault:
                raise Fault(f"{name}: {fault}") from None
            event = json.loads(self._files[name])["event"]
            if name != f"certificates/{event['seq']:012d}.json" or canonical(event) != lines[event["seq"] - held["first"]]:
                raise Fault(f"{name} is of an event that is not in the pack")
        return f"{len(names)}"

    def kept_checkpoints(self) -> str:
        """The ledger still begins with what checkpoints from elsewhere commit to."""
        for text in self._seen:
            size, root = read_note(text, self.known)
            if size not in self._roots:
                raise Fault(f"the pack does not reach the checkpoint over {size} events: take one from the beginning to now")
            if self._roots[size] != root:
                raise Fault(f"the ledger does not begin with the {size} events of a checkpoint that you kept: it was rewritten")
        return f"{len(self._seen)} agree"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify a pack of evidence or a certificate made by auditlake.")
    parser.add_argument("pack", type=Path, help="pack (ZIP or folder) or certificate (JSON)")
    parser.add_argument("--trust", action="append", default=[], metavar="FINGERPRINT", help="a signing key that you were told of elsewhere")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, metavar="FILE", help="a checkpoint that you kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        found = [*checks(given.pack, given.trust, [path.read_text(encoding="utf-8") for path in given.checkpoint])]
    except (OSError, UnicodeError) as error:
        parser.error(str(error))
    ok = all(check.ok for check in found)
    if given.json:
        print(json.dumps({"ok": ok, "checks": [vars(check) for check in found]}))
    else:
        for check in found:
            print(f"{'ok   ' if check.ok else 'FAULT'}  {check.name}: {''.join(c if c.isprintable() else '?' for c in check.detail)}")
        print("all is in order" if ok else "NOT in order")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
