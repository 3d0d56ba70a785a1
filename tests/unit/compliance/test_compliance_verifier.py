"""A pack is in order as it is made, and never otherwise: every byte of it is turned, and every part of it is put in another's place."""

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from compliance import certificate_page, packs, verifier
from compliance.certificate_page import page
from compliance.certificates import Certificate, issue, listed
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from tests.unit.compliance.conftest import POLICY, Bench

INNER = ("keys", "ledger", "checkpoints", "certificates")


@pytest.fixture
def pack(bench: Bench, tmp_path: Path) -> Path:
    """Of everything."""
    path = tmp_path / "evidence.zip"
    path.write_bytes(bench.pack().content)
    return path


@pytest.fixture
def small(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A pack of a few events and one certificate, without texts for people: each of its bytes can be tried."""
    monkeypatch.setattr(packs, "_program", lambda: b"")
    monkeypatch.setattr(packs, "_README", "")
    monkeypatch.setattr(certificate_page, "page", lambda _: "")
    bench.tamper("DELETE FROM ledger WHERE seq > 7", "DELETE FROM checkpoints WHERE size > 6")
    bench.checkpoints.sign()
    return bench.pack().content


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as held:
        return {name: held.read(name) for name in held.namelist()}


def found(path: Path, *trust: str, seen: tuple[str, ...] = ()) -> dict[str, str]:
    """The faults by check; every check must be there."""
    made = [*verifier.checks(path, trust, seen)]
    assert [check.name for check in made][2:7] == ["manifest", *INNER]
    return {check.name: check.detail for check in made if not check.ok}


def good(checks: Iterator[verifier.Check]) -> bool:
    return all(check.ok for check in checks)


def turned(content: bytes) -> Iterator[bytes]:
    """The content with one bit of one byte turned, for each byte: the bits go round, so that each of the eight is tried."""
    held = bytearray(content)
    for place in range(len(held)):
        held[place] ^= 1 << place % 8
        yield bytes(held)
        held[place] ^= 1 << place % 8


# ----------------------------------------------------------------------------------------------------------------- packs


def test_a_pack_is_in_order(bench: Bench, pack: Path) -> None:
    first, second = bench.keys.public()
    assert found(pack) == found(pack, first.id) == {}
    details = {check.name: check.detail for check in verifier.checks(pack, [first.id])}
    assert details["ledger"] == "events 1 to 11, in the tree of 11"
    assert details["checkpoints"] == "3, over up to 11 events"
    assert details["certificates"] == "4"
    assert details["keys"] == f"2, first {first.id}, trusted by you"
    assert details["envelope"] == f"signed by {second.id}"
    names = set(unpacked(pack.read_bytes()))
    assert {"README.txt", "verify_pack.py", "keys.json", "ledger.jsonl", "proof.json", "manifest.json", "manifest.sig"} <= names
    assert {f"certificates/{seq:012d}.{end}" for seq in (3, 6, 9, 11) for end in ("json", "html")} <= names


def test_the_leaves_of_a_pack_are_the_bytes_that_the_ledger_hashes(bench: Bench, pack: Path) -> None:
    lines = unpacked(pack.read_bytes())["ledger.jsonl"].splitlines()
    assert lines == [*bench.ledger.entries()]
    assert [json.loads(line)["prev"] for line in lines[1:]] == [hashlib.sha256(line).hexdigest() for line in lines[:-1]]


def test_every_byte_of_a_pack_counts(small: bytes, tmp_path: Path) -> None:
    assert len(small) < 8000
    changed, missed = tmp_path / "changed.zip", []
    changed.write_bytes(small)
    assert good(verifier.checks(changed))
    for place, content in enumerate(turned(small)):
        changed.write_bytes(content)
        if good(verifier.checks(changed)):
            missed.append(place)
    assert missed == []


def test_every_byte_of_each_file_counts_when_the_pack_is_unpacked(small: bytes) -> None:
    files = unpacked(small)
    assert good(verifier.layers(files))
    for name, content in files.items():
        assert not any(good(verifier.layers({**files, name: changed})) for changed in turned(content)), name


@pytest.mark.parametrize("name", ["keys.json", "ledger.jsonl", "proof.json", "checkpoints/000000000006.txt"])
def test_what_counts_does_not_lean_on_the_manifest(small: bytes, name: str) -> None:
    """Whoever could sign a manifest could still not change what it lists: the ledger, its proof, checkpoints and keys."""
    files = unpacked(small)

    def inner(changed: bytes) -> bool:
        return good(check for check in verifier.layers({**files, name: changed}) if check.name in INNER)

    assert inner(files[name])
    assert not any(inner(changed) for changed in turned(files[name]))


def test_an_unpacked_pack_is_checked_as_a_folder(pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with zipfile.ZipFile(pack) as held:
        held.extractall(folder)
    assert good(verifier.checks(folder))
    (folder / "more.txt").write_text("more")
    assert [check.detail for check in verifier.checks(folder) if not check.ok] == ["more.txt is not listed in the manifest"]


def test_a_part_of_the_ledger_is_proved_without_the_rest(bench: Bench, tmp_path: Path) -> None:
    part = tmp_path / "part.zip"
    made = bench.pack("2026-02-01", "2026-02-02")
    part.write_bytes(made.content)
    assert (made.first, made.last, made.checkpoint.size) == (5, 7, 11)
    assert found(part) == {}
    files = unpacked(made.content)
    assert len(files["ledger.jsonl"].splitlines()) == 3
    assert [name for name in files if name.startswith("checkpoints/")] == [f"checkpoints/{size:012d}.txt" for size in (4, 6, 11)]
    with pytest.raises(UsageError, match="no event in that time"):
        bench.pack("2027-01-01")
    bench.tell(Kind.CLOCK_CONFIRMED, now="2026-02-02T01:00:00Z")
    with pytest.raises(AuditlakeError, match="no checkpoint covers event 12 yet"):
        bench.pack()


def test_every_part_of_a_longer_ledger_is_proved(bench: Bench) -> None:
    """Whatever lies left and right of it."""
    days = [f"2026-03-{day:02d}" for day in range(1, 18)]
    for day in days:
        bench.clock.instant = bench.clock.instant.replace(month=3, day=int(day[-2:]))
        bench.tell(Kind.CLOCK_CONFIRMED, now=day)
    bench.sign()
    for first in days:
        for last in days[days.index(first) + 1 :]:
            assert good(verifier.layers(unpacked(bench.pack(first, last).content))), (first, last)


def test_whose_pack_it_is_depends_on_the_key_that_one_trusts(bench: Bench, pack: Path) -> None:
    first, second = (key.id for key in bench.keys.public())
    assert set(found(pack, "0" * 64).values()) == {"none of its keys is one that you trust, nor follows from one"}
    assert found(pack, first) == {}
    assert "signed by an unknown key" in found(pack, second)["checkpoints"], "the second key says nothing of what the first signed"


def test_a_checkpoint_kept_from_earlier_is_compared(bench: Bench, pack: Path, tmp_path: Path) -> None:
    kept = [each.note for each in bench.checkpoints.every()]
    assert found(pack, seen=tuple(kept)) == {}
    details = {check.name: check.detail for check in verifier.checks(pack, (), kept)}
    assert details["kept checkpoints"] == "3 agree"
    part = tmp_path / "part.zip"
    part.write_bytes(bench.pack("2026-02-02").content)
    assert "take one from the beginning" in found(part, seen=(kept[0],))["kept checkpoints"]
    bench.tell(Kind.CLOCK_CONFIRMED, now="2026-02-02T01:00:00Z")
    bench.sign()
    later = bench.checkpoints.every()[-1].note
    assert "does not reach the checkpoint over 12 events" in found(pack, seen=(later,))["kept checkpoints"]


def test_another_history_by_the_same_key_is_found_by_a_kept_checkpoint(bench: Bench, tmp_path: Path) -> None:
    """The owner of the key can make a pack that agrees with itself; what an auditor kept does not agree with it."""
    kept = bench.checkpoints.every()[1].note
    bench.tamper("DELETE FROM ledger WHERE seq > 4", "DELETE FROM checkpoints WHERE size > 4")
    (tmp_path / "keys" / "signing.key").unlink()
    bench.keys.rotate(lost=True)
    bench.destroy("2025-01-30", things=9)
    bench.sign()
    other = tmp_path / "other.zip"
    other.write_bytes(bench.pack().content)
    assert found(other) == {}
    assert "the ledger does not begin with the 6 events of a checkpoint that you kept" in found(other, seen=(kept,))["kept checkpoints"]


# ------------------------------------------------------------------------------------------------------ what is hostile


Change = Callable[[dict[str, bytes]], None]


def _set(name: str, content: bytes) -> Change:
    return lambda files: files.__setitem__(name, content)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda files: files.clear(), "manifest"),
        (_set("keys.json", b'{"keys":[]}\n'), "keys"),
        (_set("keys.json", b'{"keys":[1]}\n'), "keys"),
        (_set("keys.json", b"[" * 100_000), "keys"),
        (_set("ledger.jsonl", b""), "ledger"),
        (_set("ledger.jsonl", b'{"a":1e3}\n'), "ledger"),
        (_set("ledger.jsonl", b"\xff\n"), "ledger"),
        (_set("proof.json", b'{"left":[],"right":[],"size":1e999}\n'), "ledger"),
        (_set("proof.json", b'{"left":[],"right":["' + b"0" * 64 + b'"],"size":11}\n'), "ledger"),
        (_set("proof.json", b'{"left":[],"right":[],"size":99}\n'), "ledger"),
        (_set("proof.json", b"{}\n"), "ledger"),
        (_set("checkpoints/nonsense", b""), "checkpoints"),
        (_set("certificates/000000000009.json", b'{"format":"auditlake-certificate/1"}\n'), "certificates"),
        (lambda files: files.pop("checkpoints/000000000011.txt"), "ledger"),
        (lambda files: files.__setitem__("certificates/000000000003.json", files["certificates/000000000006.json"]), "certificates"),
    ],
)
def test_nonsense_is_a_finding_and_never_an_error(pack: Path, change: Change, check: str) -> None:
    files = unpacked(pack.read_bytes())
    change(files)
    assert check in {each.name for each in verifier.layers(files) if not each.ok}


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x05\x06" + bytes(18), b"{", b"{}\n"])
def test_what_is_no_pack_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evidence"
    path.write_bytes(content)
    assert not good(verifier.checks(path)) or content.startswith(b"PK")
    assert verifier.main([str(path)]) == 1 or content.startswith(b"PK")


# --------------------------------------------------------------------------------------------------------- certificates


def certificates(bench: Bench) -> list[Certificate]:
    return issue(bench.evidence, listed(bench.ledger))


def test_a_certificate_says_what_was_destroyed_and_proves_it(bench: Bench) -> None:
    first, *_, last = made = certificates(bench)
    assert [each.seq for each in made] == [3, 6, 9, 11]
    held = made[2].held
    assert held["policy"] == POLICY
    assert (held["policy_from"], first.held["policy_from"], first.held["detail"]) == ("ledger", "settings", None)
    assert held["statement"].startswith("7 rows of 2025-01-31 in the stream requests, and every file, object and version")
    assert (held["detail"]["things"], held["detail"]["bytes"], held["detail"]["place"]) == (3, 30, "s3://b/requests/")
    assert held["detail"]["removed"][2]["version"] == "v<2>"
    assert [each.held["proof"]["size"] for each in made] == [4, 6, 11, 11], "each is proved by the first checkpoint over it"
    assert made == certificates(bench), "and is the same each time"
    assert verifier.certificate(last.content).startswith("event 11, SegmentPurged, 2026-02-02T01:00:00Z: 7 rows of 2025-02-01")
    assert all(rfc8785.dumps(each.held) + b"\n" == each.content for each in made)


def test_every_bit_of_a_certificate_counts(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_bytes(certificates(bench)[2].content)
    assert good(verifier.checks(path))
    for content in turned(path.read_bytes()):
        path.write_bytes(content)
        assert not good(verifier.checks(path))


def test_only_what_destroys_is_certified_and_only_under_a_checkpoint(bench: Bench) -> None:
    with pytest.raises(AuditlakeError, match="event 1 is DirectoryCreated, which destroys nothing"):
        issue(bench.evidence, [next(bench.ledger.events(Kind.DIRECTORY_CREATED))])
    bench.destroy("2025-02-02")
    with pytest.raises(AuditlakeError, match="no checkpoint covers event 13 yet"):
        certificates(bench)
    assert issue(bench.evidence, []) == []


def test_an_erasure_is_certified_too(bench: Bench) -> None:
    rows = {"hot": 2, "archived": 5, "quarantined": 1, "other": 0}
    seq = bench.tell(Kind.SUBJECT_ERASED, request="r1", subject="p1", rows=rows, files=3, bytes=900, rescan={"bytes": 12345, "found": 0})
    bench.sign()
    (made,) = issue(bench.evidence, [event for event in listed(bench.ledger) if event.seq == seq])
    assert made.held["statement"].startswith("8 rows, lines and texts of one person were erased. What was left was read again, 12345 bytes")
    assert verifier.certificate(made.content).startswith(f"event {seq}, SubjectErased")
    assert "archived 5, hot 2" in page(made)


class _Outline(HTMLParser):
    """Tags that are open, and what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onload", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_certificate_reads_as_a_document(bench: Bench) -> None:
    made = certificates(bench)[2]
    text = page(made)
    outline = _Outline()
    outline.feed(text)
    assert (outline.open, outline.loads) == ([], []), "it is whole, and needs nothing else"
    assert "v&lt;2&gt;" in text
    assert "v<2>" not in text
    assert {POLICY, made.held["statement"], made.held["key"], made.held["signature"]} <= set(text.replace(">", "<").split("<"))
    hostile = dataclasses.replace(made, held={**made.held, "policy": "<script>alert(1)</script>", "statement": "<img src=x>"})
    assert "<script" not in page(hostile)
    assert "<img" not in page(hostile)


def test_a_long_list_is_cut_and_counted(bench: Bench) -> None:
    bench.destroy("2025-02-03", things=1200)
    bench.sign()
    made = certificates(bench)[-1]
    assert (len(made.held["detail"]["removed"]), made.held["detail"]["things"]) == (1000, 1200)
    assert verifier.certificate(made.content).startswith("event 13")
    assert "and 1000 more" in page(made)


# ------------------------------------------------------------------------------------------------------------ stand-alone

ALONE = """
import sys, sysconfig
from importlib.machinery import PathFinder

ALLOWED = {"cryptography", "_cffi_backend", "cffi"}

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ALLOWED:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Only())
sys.path = [path for path in sys.path if path]
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The verifier out of a pack, in a process that can import the standard library and cryptography, and nothing else."""
    command = [sys.executable, "-I", "-c", textwrap.dedent(ALONE), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_verifier_of_a_pack_stands_alone(bench: Bench, pack: Path, tmp_path: Path) -> None:
    program = tmp_path / "alone" / "verify_pack.py"
    program.parent.mkdir()
    program.write_bytes(unpacked(pack.read_bytes())["verify_pack.py"])
    first = bench.keys.public()[0].id
    kept = tmp_path / "kept.txt"
    kept.write_text(bench.checkpoints.every()[0].note)
    done = alone(str(program), str(pack), "--trust", first, "--checkpoint", str(kept), "--json", cwd=program.parent)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"]
    assert told["checks"] == [vars(check) for check in verifier.checks(pack, [first], [kept.read_text()])]
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    done = alone(str(program), str(pack), cwd=program.parent)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "NOT in order"
    assert alone(str(program), "absent.zip", cwd=program.parent).returncode == 2


def test_it_could_not_import_anything_else(tmp_path: Path) -> None:
    program = tmp_path / "other.py"
    program.write_text("import rfc8785\n")
    done = alone(str(program), cwd=tmp_path)
    assert "ModuleNotFoundError: rfc8785" in done.stderr


def test_its_canonical_form_is_that_of_rfc_8785() -> None:
    value: Any = {
        "b": ["é\u2028\U0001f600", '"\\/\b\f\n\r\t\x00\x1f\x7f'],
        "a": {"z": None, "Z": True, "_": False, "n": -(2**53) + 1},
        "": 0,
    }
    assert verifier.canonical(value) == rfc8785.dumps(value)
