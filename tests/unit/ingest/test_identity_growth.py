"""Whatever the bytes, the cuts, the crashes and the other files: each line is read exactly once."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.compression import kind_of
from ingest.follow import Event, Fresh, Repeated, Unfinished
from tests.unit.ingest.memory import CONTINUES, Memory, fresh_of, sums

hostile_bytes = st.lists(
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\0", b"a", b"#", b"line", b"\xff", b"\xc3\xa9", b" " * 9]) | st.binary(max_size=4),
    max_size=40,
).map(b"".join).filter(lambda data: all(kind_of(data[:end]) is None for end in range(11)))  # fmt: skip
limits = st.fixed_dictionaries(
    {"batch_bytes": st.integers(1, 40), "batch_lines": st.integers(1, 8), "line_bytes": st.sampled_from([2, 10, 1000])}
)
cuts = st.lists(st.floats(0, 1), max_size=6).map(sorted)
versions = st.lists(st.lists(st.sampled_from([b"a", b"b", b"#"]), max_size=8).map(b"\n".join), max_size=5)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _line_count(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def _common(one: bytes, other: bytes) -> bytes:
    return bytes(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _check(events: list[Event], data: bytes) -> None:
    """Every byte is in one event, and every line is counted once."""
    end = 0
    for event in events:
        if isinstance(event, Unfinished):
            assert event.start + event.length == len(data)
            end = len(data)
        else:
            start, stop = (event.start, event.end) if isinstance(event, Repeated) else (event.chunk.start, event.chunk.end)
            assert start == end
            end = stop
    assert end == len(data)
    assert sum(sums(events)) == _line_count(data)


def _lines_given(runs: list[list[Event]]) -> list[tuple[int, bytes, bool]]:
    """Offset, content and whether it continues a line, of every fresh line of all runs, in order."""
    given: list[tuple[int, bytes, bool]] = []
    for fresh in itertools.chain.from_iterable(map(fresh_of, runs)):
        chunk = fresh.chunk
        rows = chunk.set_aside.to_pylist()
        aside = [(row["ingest_row"], row["source_offset"], row["raw"], row["reason"] == CONTINUES) for row in rows]
        good = [(int(number), int(chunk.offsets[at]), chunk.good.line(at), False) for at, number in enumerate(chunk.numbers)]
        given += [(offset, text.removesuffix(b"\r"), again) for _, offset, text, again in sorted(good + aside)]
    return given


def _real_lines(data: bytes) -> dict[int, set[bytes]]:
    """By offset, what a line may be given as: its bytes, or with the bad ones escaped."""
    lines, offset = {}, 0
    for piece in data.split(b"\n"):
        text = piece.removesuffix(b"\r")
        texts = {text, text.decode("utf-8", "backslashreplace").encode()}
        lines[offset] = texts | {one.removesuffix(b"\r") for one in texts}
        offset += len(piece) + 1
    if not data or data.endswith(b"\n"):
        del lines[len(data)]
    return lines


@given(data=hostile_bytes, parts=cuts, limits=limits)
def test_a_growing_file_gives_each_line_once(folder: Path, data: bytes, parts: list[float], limits: dict[str, int]) -> None:
    memory, runs = Memory(folder, **limits), []
    for part in [*parts, 1.0]:
        grown = data[: int(part * len(data))]
        runs.append(memory.ingest(grown, leave=True))
        _check(runs[-1], grown)
    runs.append(memory.ingest(data))
    _check(runs[-1], data)
    given, expected = _lines_given(runs), _real_lines(data)
    assert [offset for offset, _, _ in given] == list(expected)
    assert all(text in expected[offset] and not again for offset, text, again in given)
    assert sums(memory.ingest(data)) == (_line_count(data), 0, 0)
    assert len(memory.spans) <= 1


@given(data=hostile_bytes, parts=cuts, limits=limits)
def test_a_growing_file_whose_last_lines_are_taken_says_which_go_on(
    folder: Path, data: bytes, parts: list[float], limits: dict[str, int]
) -> None:
    memory, runs = Memory(folder, **limits), []
    for part in [*parts, 1.0]:
        grown = data[: int(part * len(data))]
        runs.append(memory.ingest(grown))
        _check(runs[-1], grown)
    expected = _real_lines(data)
    last: dict[int, bytes] = {}
    for offset, text, again in _lines_given(runs):
        assert again == (offset in last) or (not again and len(text) > limits["line_bytes"])
        last[offset] = text
    assert list(last) == list(expected)
    assert all(text in expected[offset] for offset, text in last.items())
    assert sums(memory.ingest(data)) == (_line_count(data), 0, 0)
    assert len(memory.spans) <= 1


@given(data=hostile_bytes, parts=cuts, stops=st.lists(st.integers(0, 4), min_size=7, max_size=7), limits=limits)
def test_crashes_lose_and_double_nothing(folder: Path, data: bytes, parts: list[float], stops: list[int], limits: dict[str, int]) -> None:
    memory, runs = Memory(folder, **limits), []
    for part, stop in zip([*parts, 1.0], stops, strict=False):
        runs.append(memory.ingest(data[: int(part * len(data))], leave=True, stop_before=stop))
    runs.append(memory.ingest(data))
    given, expected = _lines_given(runs), _real_lines(data)
    assert [offset for offset, _, _ in given] == list(expected)
    assert all(text in expected[offset] and not again for offset, text, again in given)
    assert len(memory.spans) <= 1


@given(contents=versions, limits=limits)
def test_files_that_share_a_beginning_keep_apart(folder: Path, contents: list[bytes], limits: dict[str, int]) -> None:
    memory, seen = Memory(folder, **limits), [b""]
    for content in contents:
        events = memory.ingest(content)
        _check(events, content)
        repeated = max((event.end for event in events if isinstance(event, Repeated)), default=0)
        assert repeated <= max(len(_common(content, other + b"\r\n")) for other in seen)
        assert all(isinstance(event, Repeated | Fresh) for event in events)
        seen.append(content)
        again = memory.ingest(content)
        _check(again, content)
        assert fresh_of(again) == []
