"""Every byte and every line of a source is in one chunk, whatever the bytes are."""

import gzip
import hashlib
import io
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuditlakeError, UsageError
from ingest.batches import RAW_BYTES, SET_ASIDE, Chunk, Chunker, Limits, OpenLine, chunks
from ingest.compression import kind_of
from ingest.lines import Lines
from ingest.sources import Reader, open_source

hostile_bytes = st.lists(
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\0", b"a", b"line", b"\xff", b"\xc3", b"\xc3\xa9", b"\xed\xa0\x80", b" " * 9])
    | st.binary(max_size=5),
    max_size=60,
).map(b"".join).filter(lambda data: kind_of(data[:10]) is None)  # fmt: skip
small_limits = st.builds(Limits, batch_bytes=st.integers(1, 40), batch_lines=st.integers(1, 8), line_bytes=st.integers(1, 20))


def _chunks(data: bytes, limits: Limits | None = None, opened: OpenLine | None = None) -> list[Chunk]:
    return list(chunks(Reader("memory", io.BytesIO(data)), limits, opened))


def _only(data: bytes, limits: Limits | None = None) -> Chunk:
    (chunk,) = _chunks(data, limits)
    return chunk


def _texts(lines: Lines) -> list[bytes]:
    return [lines.line(number) for number in range(len(lines))]


def _aside(chunk: Chunk) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in SET_ASIDE.names) for row in chunk.set_aside.to_pylist()]


def _real_lines(data: bytes) -> list[tuple[int, bytes]]:
    """Offset and content of each line, the plain way."""
    lines, offset = [], 0
    for piece in data.split(b"\n"):
        lines.append((offset, piece.removesuffix(b"\r")))
        offset += len(piece) + 1
    return lines if data and not data.endswith(b"\n") else lines[:-1]


def _verdict(line: bytes, limits: Limits) -> str | None:
    if not line:
        return "empty line"
    if len(line) > limits.line_bytes:
        return f"longer than {limits.line_bytes} bytes"
    return "holds a NUL byte" if b"\0" in line else None


# ----------------------------------------------------------------------------------------------------------- accounting


@given(hostile_bytes, small_limits)
def test_every_byte_and_line_is_accounted_for(data: bytes, limits: Limits) -> None:
    made = _chunks(data, limits)
    edges = [0] + [chunk.end for chunk in made]
    assert [chunk.start for chunk in made] == edges[:-1]
    assert edges[-1] == len(data)
    for chunk in made:
        part = data[chunk.start : chunk.end]
        assert chunk.digest == hashlib.sha256(part).hexdigest()
        pieces = part.split(b"\n") if not part.endswith(b"\n") else part.split(b"\n")[:-1]
        assert chunk.line_digests == b"".join(zlib.crc32(piece).to_bytes(4, "little") for piece in pieces)
        assert chunk.lines == len(chunk.good) + chunk.set_aside.num_rows
        assert sorted([*chunk.numbers.tolist(), *chunk.set_aside["ingest_row"].to_pylist()]) == list(range(chunk.lines))
        assert chunk.terminated == part.endswith(b"\n")
        assert chunk.lines <= limits.batch_lines
        assert chunk.end - chunk.start <= limits.capacity


@given(hostile_bytes, small_limits)
def test_every_line_is_given_or_set_aside_as_it_must_be(data: bytes, limits: Limits) -> None:
    good, aside = [], []
    for chunk in _chunks(data, limits):
        text = chunk.good.data.tobytes()
        assert b"\0" not in text
        text.decode()
        assert chunk.good.starts.dtype == chunk.good.ends.dtype == np.int64
        good += list(zip(chunk.offsets.tolist(), _texts(chunk.good), strict=True))
        aside += [(offset, raw, reason, length) for _, offset, reason, raw, length in _aside(chunk)]
    expected = _real_lines(data)
    assert good == [
        (offset, line.decode("utf-8", "backslashreplace").encode()) for offset, line in expected if _verdict(line, limits) is None
    ]
    exact = [(offset, line, reason) for offset, line in expected if (reason := _verdict(line, limits))]
    assert [(offset, reason) for offset, _, reason, _ in aside] == [(offset, reason) for offset, _, reason in exact]
    for (_, raw, reason, length), (_, line, _) in zip(aside, exact, strict=True):
        assert length == len(raw)
        assert raw == line or (reason.startswith("longer") and raw == line + b"\r")  # of a chunk that ended between CR and LF


@given(hostile_bytes, small_limits)
def test_the_cut_changes_no_line(data: bytes, limits: Limits) -> None:
    whole = _chunks(data, Limits(line_bytes=limits.line_bytes))
    parts = _chunks(data, limits)
    assert [text for chunk in parts for text in _texts(chunk.good)] == [text for chunk in whole for text in _texts(chunk.good)]
    assert sum(chunk.lines for chunk in parts) == sum(chunk.lines for chunk in whole)


def test_real_lines_come_through_unchanged(root: Path) -> None:
    path = root / "tests/data/logs/apache-combined/access.log"
    data = path.read_bytes()
    with open_source(path) as reader:
        made = list(chunks(reader, Limits(batch_bytes=200_000)))
    assert len(made) > 10
    assert [text for chunk in made for text in _texts(chunk.good)] == data.splitlines()
    assert all(chunk.terminated and chunk.set_aside.num_rows == 0 for chunk in made)
    assert {len(chunk.good.data) for chunk in made[:-1]} <= set(range(195_000, 200_001))


# ------------------------------------------------------------------------------------------------------- kinds of lines


def test_a_clean_chunk_is_not_copied() -> None:
    chunk = _only("één\nzwei\n".encode())
    assert np.shares_memory(chunk.good.data, chunk._raw)


def test_crlf_is_a_terminator_and_a_lone_cr_is_not() -> None:
    chunk = _only(b"a\r\nb\rc\n\r\nd\r\r\ne\r")
    assert _texts(chunk.good) == [b"a", b"b\rc", b"d\r", b"e"]
    assert _aside(chunk) == [(2, 7, "empty line", b"", 0)]


def test_bad_utf8_is_escaped_byte_by_byte_and_nothing_else_changes() -> None:
    chunk = _only("fine é\n".encode() + b"caf\xe9 \xff\xfe end\n\nplain\ncut \xe2\x82\nsurrogate \xed\xa0\x80\nlast \xc3")
    assert [text.decode() for text in _texts(chunk.good)] == [
        "fine é", r"caf\xe9 \xff\xfe end", "plain", r"cut \xe2\x82", r"surrogate \xed\xa0\x80", r"last \xc3",
    ]  # fmt: skip
    assert chunk.numbers.tolist() == [0, 1, 3, 4, 5, 6]
    assert chunk.good.data.tobytes().decode()


def test_nul_lines_are_set_aside_with_their_bytes_and_leave_the_buffer() -> None:
    chunk = _only(b"one\ntw\0o\n\xff\0\nfour \xff\n")
    assert _texts(chunk.good) == [b"one", rb"four \xff"]
    assert _aside(chunk) == [(1, 4, "holds a NUL byte", b"tw\0o", 4), (2, 9, "holds a NUL byte", b"\xff\0", 2)]
    assert chunk.offsets.tolist() == [0, 12]


def test_over_long_lines_are_set_aside_with_their_front() -> None:
    limits = Limits(line_bytes=100_000)
    chunk = _only(b"x" * 100_000 + b"\r\n" + b"y" * 100_001 + b"\nend\n", limits)
    assert [len(text) for text in _texts(chunk.good)] == [100_000, 3]
    assert _aside(chunk) == [(1, 100_002, "longer than 100000 bytes", b"y" * RAW_BYTES, 100_001)]


def test_a_line_longer_than_a_chunk_passes_in_several_and_counts_once() -> None:
    limits = Limits(batch_bytes=1000, line_bytes=500)
    made = _chunks(b"before\n" + b"z" * 5000 + b"\nafter\n", limits)
    assert [chunk.lines for chunk in made] == [1, 0, 0, 0, 0, 0, 2]
    assert all(chunk.open_line and not chunk.unterminated for chunk in made[1:6])
    assert _aside(made[-1]) == [(0, 7, "longer than 500 bytes", b"z" * 5000, 5000)]
    assert _texts(made[-1].good) == [b"after"]


def test_the_line_at_the_limit_is_good_whatever_the_chunk_size() -> None:
    limits = Limits(batch_bytes=10, line_bytes=500)
    assert [_texts(chunk.good) for chunk in _chunks(b"z" * 500 + b"\r\n" + b"y" * 500, limits)] == [[b"z" * 500], [b"y" * 500]]


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_an_over_long_last_line_that_fills_its_chunks_exactly_is_counted(ending: bytes) -> None:
    made = _chunks(b"z" * 3000 + ending, Limits(batch_bytes=1000, line_bytes=500))
    assert sum(chunk.lines for chunk in made) == 1
    assert _aside(made[-1])[0][4] == 3000


def test_reasons_are_constant_and_the_columns_are_those_of_quarantine() -> None:
    chunk = _only(b"\nsecret\0\n")
    assert chunk.set_aside.schema == SET_ASIDE
    assert set(SET_ASIDE.names) == {"ingest_row", "source_offset", "reason", "raw", "raw_bytes"}
    assert chunk.set_aside["reason"].to_pylist() == ["empty line", "holds a NUL byte"]
    chunk.set_aside.validate(full=True)


def test_lines_a_format_rejects_keep_their_own_bytes() -> None:
    (chunk,) = _chunks(b"\nfirst\r\nbad \xff\nlast")
    rejected = chunk.rejected(np.array([1, 2]), ["not a request", "no time"])
    assert rejected.schema == SET_ASIDE
    assert rejected.to_pylist() == [
        {"ingest_row": 2, "source_offset": 8, "reason": "not a request", "raw": b"bad \xff", "raw_bytes": 5},
        {"ingest_row": 3, "source_offset": 14, "reason": "no time", "raw": b"last", "raw_bytes": 4},
    ]
    assert chunk.rejected(np.array([], dtype=np.int64), []).num_rows == 0
    assert pa.Table.from_batches([chunk.set_aside, rejected]).num_rows == 3


# ------------------------------------------------------------------------------------------------- lines without an end


def test_the_last_line_can_be_left_for_later() -> None:
    chunk = _only(b"one\n\ntwo")
    assert chunk.unterminated
    assert not chunk.terminated
    assert chunk.open_line == OpenLine(5, 3, b"two", True)
    left = chunk.without_last_line()
    assert left is not None
    assert (left.start, left.end, left.lines, left.terminated, left.unterminated) == (0, 5, 2, True, False)
    assert left.digest == hashlib.sha256(b"one\n\n").hexdigest()
    assert len(left.line_digests) == 8
    assert left.without_last_line() is left
    assert _only(b"two").without_last_line() is None


def test_a_line_continued_is_set_aside_whole() -> None:
    opened = OpenLine(100, 5, b"begun", True)
    reader = Reader("memory", io.BytesIO(b" and ended\r\nnext\n"))
    chunk = next(Chunker(reader, Limits(), opened))
    assert _aside(chunk) == [(0, 100, "continues a line already read", b"begun and ended", 15)]
    assert _texts(chunk.good) == [b"next"]
    assert (chunk.lines, chunk.numbers.tolist(), chunk.offsets.tolist()) == (2, [1], [12])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_only_the_terminator_of_a_counted_line_is_no_line(ending: bytes) -> None:
    opened = OpenLine(100, 5, b"begun", True)
    chunk = next(Chunker(Reader("memory", io.BytesIO(ending + b"next\n")), Limits(), opened))
    assert chunk.ends_open_line
    assert (chunk.lines, _texts(chunk.good), chunk.set_aside.num_rows, len(chunk.line_digests)) == (1, [b"next"], 0, 8)
    alone = next(Chunker(Reader("memory", io.BytesIO(ending)), Limits(), opened))
    assert (alone.lines, alone.terminated, alone.end) == (0, True, len(ending))


def test_a_character_cut_between_two_chunks_harms_no_other_line() -> None:
    chunk = next(Chunker(Reader("memory", io.BytesIO(b"\xa9 rest\nn\xc3\xa9xt\n")), Limits(), OpenLine(0, 1, b"\xc3", True)))
    assert _texts(chunk.good) == ["néxt".encode()]
    assert _aside(chunk)[0][3] == "é rest".encode()


# ----------------------------------------------------------------------------------------------------- damage and limits


def test_damage_gives_the_whole_lines_before_it_and_then_the_error(tmp_path: Path) -> None:
    data = b"".join(b"line %d of many\n" % number for number in range(10_000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(data)[:-3000])
    made: list[Chunk] = []
    with open_source(tmp_path / "cut.gz") as reader, pytest.raises(AuditlakeError, match=r"cut\.gz.*ends early after \d+ uncompressed"):
        made.extend(chunks(reader, Limits(batch_bytes=5000)))
    text = b"".join(line + b"\n" for chunk in made for line in _texts(chunk.good))
    assert len(text) > 20_000
    assert data.startswith(text)
    assert made[-1].terminated


def test_limits_that_cannot_be_meant_are_refused() -> None:
    for field in ("batch_bytes", "batch_lines", "line_bytes"):
        with pytest.raises(UsageError, match=rf"{field} = 0 is out of range; choose"):
            Limits(**{field: 0})
        with pytest.raises(UsageError, match=field):
            Limits(**{field: 1 << 40})


def _peak(path: Path, limits: Limits) -> tuple[int, int, int]:
    """Peak of memory in MiB, bytes and lines."""
    size = lines = 0
    tracemalloc.start()
    try:
        with open_source(path) as reader:
            for chunk in chunks(reader, limits):
                size, lines = chunk.end, lines + chunk.lines
        return tracemalloc.get_traced_memory()[1] >> 20, size, lines
    finally:
        tracemalloc.stop()


def test_memory_stays_flat_for_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"a" * (1 << 20))
    peak, size, lines = _peak(path, Limits(batch_bytes=2 << 20))
    assert (size, lines) == (200 << 20, 1)
    assert peak < 16


@pytest.mark.parametrize("line", [b"\n", b"\0\n", b"\xff\n"])
def test_memory_stays_flat_for_millions_of_the_shortest_lines(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "short"
    count = 3_000_000 if line == b"\n" else 300_000
    path.write_bytes(line * count)
    peak, size, lines = _peak(path, Limits(batch_lines=100_000))
    assert (size, lines) == (count * len(line), count)
    assert peak < 64 + 60, "the buffer of a whole chunk, and a few columns of its lines"
