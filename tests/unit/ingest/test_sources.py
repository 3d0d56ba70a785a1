"""Names become readers; every kind of compression is read whole, and damage costs only what comes after it."""

import bz2
import gzip
import io
import os
import socket
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuditlakeError, UsageError
from ingest.sources import Reader, expand, open_source, source_name

Pack = Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Pack] = {"gzip": gzip.compress, "bzip2": bz2.compress, "zstd": _zstd}
packed = pytest.mark.parametrize("kind", PACKERS)


@pytest.fixture(scope="module")
def log() -> bytes:
    return b"".join(b"%d some line of a log %x\n" % (number, number * 7919) for number in range(60_000))


def _drain(reader: Reader, step: int = 50_000) -> bytes:
    parts = []
    while part := reader.read(step):
        parts.append(part)
    assert reader.offset == sum(map(len, parts))
    return b"".join(parts)


def _read(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with open_source(path) as reader:
        read = _drain(reader)
        reader.check()
    return read


def _read_damaged(path: Path, data: bytes) -> tuple[bytes, str]:
    path.write_bytes(data)
    with open_source(path) as reader:
        read = _drain(reader)
        assert reader.at_end()
        assert reader.damaged
        with pytest.raises(AuditlakeError) as caught:
            reader.check()
    assert str(path) in str(caught.value)
    assert f"after {len(read)} uncompressed bytes" in str(caught.value)
    return read, str(caught.value)


# ------------------------------------------------------------------------------------------------------------ expanding


def test_files_patterns_and_standard_input_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.log", "a.log", "c.txt", ".hidden.log", "deep/er/d.log"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x\n")
    found = expand(["c.txt", "-", "*.log", "**/d.log", "c.txt", str(tmp_path / "?.txt")])
    assert found.problems == []
    assert [str(source) for source in found.sources] == [
        "c.txt", "-", "a.log", "b.log", "deep/er/d.log", "c.txt", str(tmp_path / "c.txt"),
    ]  # fmt: skip


def test_a_name_that_exists_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "access[1].log").write_bytes(b"x\n")
    (tmp_path / "access1.log").write_bytes(b"y\n")
    assert expand([str(tmp_path / "access[1].log")]).sources == [tmp_path / "access[1].log"]


def test_what_cannot_be_read_stops_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    good = tmp_path / "good.log"
    good.write_bytes(b"x\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    bad = {
        str(tmp_path / "folder"): "is a directory",
        str(tmp_path / "fifo"): "is a FIFO",
        str(tmp_path / "socket"): "is a socket",
        "/dev/null": "is a device",
        str(tmp_path / "missing"): "does not exist",
        str(tmp_path / "dangling"): "does not exist",
        str(tmp_path / "none*"): "no file matches",
        str(tmp_path / "loop"): "cannot be opened",
        str(good / "inside"): "cannot be opened",
        str(tmp_path / ("n" * 300)): "cannot be opened",
        "": "not a file name",
        "nul\0": "not a file name",
    }
    found = expand([str(good), *bad, str(good)])
    assert found.sources == [good, good]
    assert len(found.problems) == len(bad)
    for (name, expected), problem in zip(bad.items(), found.problems, strict=True):
        assert expected in str(problem)
        assert problem.hint
        assert "\n" not in str(problem)
        if name and "\0" not in name:
            assert name in str(problem)
    assert [type(problem) for problem in found.problems].count(UsageError) == 9


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "secret.log"
    path.write_bytes(b"x\n")
    path.chmod(0)
    assert "cannot be opened: Permission denied" in str(expand([str(path)]).problems[0])


def test_a_pattern_reports_the_folder_it_meets(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\n")
    (tmp_path / "old.log").mkdir()
    found = expand([str(tmp_path / "*.log")])
    assert found.sources == [tmp_path / "a.log"]
    assert "is a directory" in str(found.problems[0])


def test_opening_checks_again_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="is a FIFO"):
        open_source(tmp_path / "fifo")
    with pytest.raises(UsageError, match="does not exist"):
        open_source(tmp_path / "missing")


def test_names_are_shown_on_one_line_in_valid_unicode() -> None:
    name = source_name(Path(os.fsdecode(b"a\xffb\nc")))
    assert name.encode()
    assert "\n" not in name


# -------------------------------------------------------------------------------------------------------------- reading


def test_plain_bytes_are_given_as_they_are(tmp_path: Path, log: bytes) -> None:
    for data in (b"", b"x", b"short\n", bytes(range(256)) * 3, log):
        assert _read(tmp_path / "plain", data) == data


@packed
def test_compression_is_told_by_its_bytes_not_by_its_name(tmp_path: Path, log: bytes, kind: str) -> None:
    assert _read(tmp_path / "access.log", PACKERS[kind](log)) == log
    assert _read(tmp_path / "access.gz", log) == log


@packed
def test_every_member_is_read(tmp_path: Path, log: bytes, kind: str) -> None:
    pack = PACKERS[kind]
    members = [b"", log[:10], b"", log[10:200_000], log[200_000:], b""]
    assert _read(tmp_path / "many", b"".join(map(pack, members))) == log
    assert _read(tmp_path / "empty", pack(b"")) == b""


def test_gzip_members_may_be_padded_with_zeros(tmp_path: Path) -> None:
    data = gzip.compress(b"one\n") + bytes(600) + gzip.compress(b"two\n") + bytes(70_000)
    assert _read(tmp_path / "padded", data) == b"one\ntwo\n"


def test_skippable_zstd_frames_are_skipped(tmp_path: Path) -> None:
    frame = b"\x53\x2a\x4d\x18" + struct.pack("<I", 4) + b"abcd"
    assert _read(tmp_path / "skip", frame + _zstd(b"one\n") + frame + _zstd(b"two\n")) == b"one\ntwo\n"


@packed
def test_data_cut_short_gives_all_before_the_cut(tmp_path: Path, log: bytes, kind: str) -> None:
    first, second = PACKERS[kind](log[:1000]), PACKERS[kind](log[1000:])
    for cut in (1, 5, len(second) // 2, len(second) - 1):
        read, message = _read_damaged(tmp_path / "cut", first + second[:cut])
        assert f"its {kind} data ends early" in message
        assert log.startswith(read)
        assert len(read) >= 1000
    assert len(read) > len(log) - 900_000, "all but the last bzip2 block"
    if kind == "gzip":
        assert read == log


@packed
def test_garbage_after_a_member_is_damage(tmp_path: Path, kind: str) -> None:
    read, message = _read_damaged(tmp_path / "garbage", PACKERS[kind](b"good\n") + b"garbage that is no member")
    assert read == b"good\n"
    assert f"its {kind} data is corrupt" in message


@packed
def test_a_corrupt_member_costs_only_what_comes_after(tmp_path: Path, log: bytes, kind: str) -> None:
    first, second = PACKERS[kind](log[:500_000]), bytearray(PACKERS[kind](log[500_000:]))
    second[len(second) // 2] ^= 0xFF
    read, _ = _read_damaged(tmp_path / "corrupt", first + second)
    assert read.startswith(log[:500_000])


def test_a_wrong_gzip_checksum_is_told_after_all_the_bytes(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"one\ntwo\n"))
    data[-5] ^= 1
    read, message = _read_damaged(tmp_path / "crc", bytes(data))
    assert read == b"one\ntwo\n"
    assert "corrupt" in message


@pytest.mark.parametrize(
    ("kind", "first"),
    [("xz", b"\xfd7zXZ\0\0\4"), ("zip", b"PK\3\4aaaaaaaaa"), ("lz4", b"\4\x22\x4d\x18aaaaaaa"), ("compress", b"\x1f\x9daaaaaaaaa")],
)
def test_other_compression_is_refused_by_name(tmp_path: Path, kind: str, first: bytes) -> None:
    (tmp_path / "packed").write_bytes(first)
    with pytest.raises(UsageError, match=rf"packed with {kind}.*not read here; unpack"):
        open_source(tmp_path / "packed")


@pytest.mark.parametrize("pack", [bytes, *PACKERS.values()])
def test_standard_input_is_read_like_a_file_and_left_open(log: bytes, pack: Pack) -> None:
    stdin = io.BytesIO(pack(log))
    with open_source("-", stdin) as reader:
        assert _drain(reader) == log
        assert reader.name == "standard input"
    assert not stdin.closed


def test_a_pipe_that_trickles_is_read_to_its_end() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as pipe, os.fdopen(write_end, "wb", buffering=0) as writer:
        writer.write(b"abcdefghijklm")
        reader = Reader("pipe", pipe)
        assert reader.read(4) == b"abcd"
        writer.write(b"nop")
        writer.close()
        assert reader.read(1000) == b"efghijklmnop"


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_bytes_taken_back_are_given_again(data: bytes, moves: list[tuple[int, int]]) -> None:
    reader = Reader("memory", io.BytesIO(b"plain text " + data))
    expected, at = b"plain text " + data, 0
    for forward, back in moves:
        got = reader.read(forward)
        assert got == expected[at : at + forward]
        kept = max(0, len(got) - back)
        reader.unread(got[kept:])
        at += kept
        assert reader.offset == at
        assert reader.at_end() == (at == len(expected))


@packed
def test_a_bomb_unfolds_within_bounds(tmp_path: Path, kind: str) -> None:
    (tmp_path / "bomb").write_bytes(PACKERS[kind](bytes(100 << 20)))
    view = memoryview(bytearray(1 << 16))
    tracemalloc.start()
    try:
        with open_source(tmp_path / "bomb") as reader:
            while reader.readinto(view):
                pass
            reader.check()
        assert reader.offset == 100 << 20
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
