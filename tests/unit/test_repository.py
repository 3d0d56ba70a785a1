"""What the tree of files promises: nothing of one machine in it, modules that fit in a head, locks that lock."""

import re
import subprocess
from pathlib import Path

import pytest

LONGEST = 450
# Written in two parts, so that this file does not hold what it looks for.
_FORBIDDEN = {
    "a path of one machine": rb"(?<![\w.-])/(?:%s)/" % b"|".join([b"wo" + b"rk", b"ho" + rb"me/\w+", b"ro" + b"ot", b"Us" + b"ers"]),
    "the host of a package registry": b"|".join(
        [b"py" + rb"pi\.org", b"python" + rb"hosted\.org", b"npm" + rb"js\.(?:org|com)", b"arti" + b"factory", b"registry" + rb"\.[\w.-]+/"]
    ),
    "an address for pip": b"--(?:extra-)?index-" + rb"url[ =]\S|--find-" + rb"links[ =]\S|--trusted-" + rb"host[ =]\S",
}
# Data of others: real log lines and databases hold whatever the world asked for.
_OTHERS = ("tests/data/", "bench/data/", "transforms/data/", "tests/unit/ingest/data/")


def _tracked(root: Path) -> list[Path]:
    """Files git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, check=True, capture_output=True
    ).stdout.decode()
    return sorted(root / name for name in set(listing.split("\0")) if name and (root / name).is_file())


@pytest.fixture(scope="module")
def own_files(root: Path) -> list[Path]:
    files = [path for path in _tracked(root) if not path.relative_to(root).as_posix().startswith(_OTHERS)]
    assert root / "pyproject.toml" in files
    return files


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_holds(what: str, own_files: list[Path], root: Path) -> None:
    pattern = re.compile(_FORBIDDEN[what])
    found = [f"{path.relative_to(root)}: {match[0]!r}" for path in own_files for match in pattern.finditer(path.read_bytes())]
    assert found == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "see /wo" + "rk/notes.txt"),
        ("a path of one machine", "open('/ho" + "me/someone/x')"),
        ("the host of a package registry", "https://files.python" + "hosted.org/x"),
        ("an address for pip", "--index-" + "url https://example.com/simple"),
    ],
)
def test_the_search_finds(what: str, text: str) -> None:
    assert re.search(_FORBIDDEN[what], text.encode())


def test_modules_are_short(own_files: list[Path], root: Path) -> None:
    lengths = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in own_files if path.suffix == ".py"}
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}


def test_modules_say_what_they_promise(own_files: list[Path], root: Path) -> None:
    silent = [str(p.relative_to(root)) for p in own_files if p.suffix == ".py" and not p.read_text().startswith(('"""', "#", 'r"""'))]
    assert silent == []


@pytest.mark.parametrize("lock", ["dev", "run", "geo"])
def test_every_locked_package_has_its_hash(lock: str, root: Path) -> None:
    text = (root / "requirements" / f"{lock}.txt").read_text()
    requirements = re.sub(r"\\\n", " ", re.sub(r"(?m)^ *#.*\n", "", text)).splitlines()
    locked = re.compile(r"[\w.-]+==\S+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert requirements
    assert [line for line in requirements if line.strip() and not locked.fullmatch(line)] == []


def test_locks_agree(root: Path) -> None:
    dev, run = (_pins(root / "requirements" / name) for name in ("dev.txt", "run.txt"))
    assert run.items() <= dev.items()


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", lock.read_text()))
