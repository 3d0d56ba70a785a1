"""What a format must have seen before new lines: the head of a source, the lines read before, and how a source is read."""

import gzip
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batches import Limits, chunks
from ingest.follow import Repeated
from ingest.formats import FormatOptions, UndetectedError, parse
from ingest.lines import Lines
from ingest.reading import AUTO, UNKNOWN, Reading
from ingest.recall import HEAD_BYTES, RECENT_LINES, Recall, head_lines
from ingest.sources import Reader, open_source
from tests.unit.ingest.memory import Memory

LINE = '10.0.0.1 - - [19/May/2015:10:00:00 +0000] "GET /{} HTTP/1.1" 200 7 "-" "agent"\n'
LIMITS = Limits(batch_bytes=400, line_bytes=200)


def texts(lines: Lines) -> list[bytes]:
    return [lines.line(number) for number in range(len(lines))]


def head(data: bytes, most: int = 200, limits: Limits = LIMITS) -> tuple[list[bytes], list[int]]:
    reader = Reader("test", io.BytesIO(data))
    lines, numbers = head_lines(reader, limits, most)
    assert (reader.offset, reader.read(len(data) + 1)) == (0, data), "the source is left as it was"
    return texts(lines), numbers.tolist()


# -------------------------------------------------------------------------------------------------------------------- heads


def test_the_head_holds_the_first_good_lines_and_their_numbers() -> None:
    data = b"\na\nb\0\n" + b"x" * 201 + b"\nc\r\nd"
    assert head(data) == ([b"a", b"c", b"d"], [2, 5, 6])
    assert head(data, 2) == ([b"a", b"c"], [2, 5])
    assert head(b"") == ([], [])
    assert head(b"\n\n") == ([], [])


def test_a_head_is_bounded_and_its_lines_are_whole() -> None:
    line = b"y" * 150
    count = HEAD_BYTES // 151
    found, _ = head((line + b"\n") * (count + 10), 1 << 20)
    assert found == [line] * count
    assert head(b"z" * (HEAD_BYTES + 5)) == ([], [])


def test_a_damaged_source_ends_with_its_last_whole_line(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\ntwo\nthr", mtime=0)
    (tmp_path / "log.gz").write_bytes(packed[:-8])
    with open_source(tmp_path / "log.gz") as reader:
        lines, _ = head_lines(reader, LIMITS, 200)
    assert texts(lines) == [b"one", b"two"]


# ------------------------------------------------------------------------------------------------------------- read before


def recalled(data: bytes, cuts: list[int], brief: bool = False) -> list[bytes]:
    recall = Recall(LIMITS)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    ranges = [np.frombuffer(data[start:end], np.uint8) for start, end in itertools.pairwise(bounds)]
    found = [text for one in ranges for text in texts(recall.brief(one) if brief else recall.lines(one))]
    return found + texts(recall.open_line())


def good(data: bytes) -> list[bytes]:
    return [text for chunk in chunks(Reader("test", io.BytesIO(data)), Limits(line_bytes=200)) for text in texts(chunk.good)]


_pieces = st.lists(st.sampled_from([b"a", b"bc\n", b"\n", b"#h\n", b"\r\n", b"\0", b"x" * 150, b"\xff"]), max_size=30).map(b"".join)


@given(data=_pieces, cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_lines_are_whole_wherever_ranges_part_them(data: bytes, cuts: list[int]) -> None:
    assert recalled(data, cuts) == good(data)


@given(data=_pieces, cuts=st.lists(st.integers(0, 3000), max_size=6), seed=st.integers(0, 200))
def test_the_brief_way_gives_all_headers_and_the_last_lines(data: bytes, cuts: list[int], seed: int) -> None:
    data = b"".join(b"line %d\n" % n for n in range(seed)) + data
    found, every = recalled(data, cuts, brief=True), good(data)
    assert found[-RECENT_LINES:] == every[-RECENT_LINES:]
    assert [line for line in found if line.startswith(b"#")] == [line for line in every if line.startswith(b"#")]


def test_the_brief_way_looks_further_back_past_lines_that_no_format_sees() -> None:
    data = b"".join(b"line %d\n" % n for n in range(200)) + b"\n" * 5000
    assert recalled(data, [], brief=True)[-RECENT_LINES:] == [b"line %d" % n for n in range(200 - RECENT_LINES, 200)]


def test_an_open_line_without_end_takes_no_memory() -> None:
    recall = Recall(LIMITS)
    for _ in range(100):
        assert not len(recall.lines(np.full(1000, 0x61, np.uint8)))
        assert len(recall._tail) <= LIMITS.line_bytes + 2
    assert texts(recall.open_line()) == []


def test_repeated_ranges_have_their_bytes(tmp_path: Path) -> None:
    store = Memory(tmp_path, batch_bytes=100)
    data = b"".join(b"line %d\n" % n for n in range(50))
    store.ingest(data)
    events = store.ingest(data + b"more\n")
    assert b"".join(e.raw.tobytes() for e in events if isinstance(e, Repeated) and e.raw is not None) == data
    assert "raw" not in repr(events[0])


# ----------------------------------------------------------------------------------------------------------------- reading


def reading(data: bytes, name: str = AUTO, limits: Limits = LIMITS) -> tuple[Reading, list[str]]:
    """A source read to its end, and the names of the formats that its chunks were read with."""
    reader = Reader("test", io.BytesIO(data))
    found = Reading(reader, name, FormatOptions(), limits)
    used = []
    for chunk in chunks(reader, limits):
        form = found.form(chunk)
        found.state = parse(form, chunk.good, found.state).state
        used.append(form.name)
    return found, used


def test_a_format_is_chosen_once_by_the_head() -> None:
    found, used = reading("".join(LINE.format(n) for n in range(30)).encode())
    assert set(used) == {"combined"}
    assert len(used) > 5
    assert found.choice is not None
    assert found.choice.why.startswith("combined: reads 30 of 30 lines")


def test_a_named_format_is_not_looked_for() -> None:
    found, used = reading(LINE.format(1).encode(), "common")
    assert (used, found.choice) == (["common"], None)


def test_a_source_of_which_no_line_was_seen_is_of_no_known_format() -> None:
    found, used = reading(b"\n\0\n")
    assert (used, found.choice) == ([UNKNOWN], None)


def test_the_format_is_told_by_the_first_lines_there_are() -> None:
    data = b"z" * (HEAD_BYTES + 10) + b"\n" + LINE.format(1).encode() * 3
    found, used = reading(data, limits=Limits(batch_bytes=1 << 19, line_bytes=200))
    assert found.choice is not None
    assert (used[0], used[-1], found.choice.name) == (UNKNOWN, "combined", "combined")


def test_what_cannot_be_told_is_an_error_when_there_is_something_to_read() -> None:
    reader = Reader("test", io.BytesIO(b"prose\n" * 10))
    found = Reading(reader, AUTO, FormatOptions(), LIMITS)
    found.repeated(Repeated("s", 0, 6, 1, np.frombuffer(b"prose\n", np.uint8)))
    with pytest.raises(UndetectedError, match="line 1: 'prose'"):
        found.form(next(iter(chunks(reader, LIMITS))))


def test_a_stateless_format_is_not_shown_again_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recall, "lines", None)
    data = "".join(LINE.format(n) for n in range(30)).encode()
    event = Repeated("s", 0, len(data), 30, np.frombuffer(data, np.uint8))
    named = Reading(Reader("test", io.BytesIO(data)), "combined", FormatOptions(), LIMITS)
    named.repeated(event)
    assert named.state is None
    auto = Reading(Reader("test", io.BytesIO(data)), AUTO, FormatOptions(), LIMITS)
    auto.repeated(event)
    assert len(auto.state.recent) == 30
