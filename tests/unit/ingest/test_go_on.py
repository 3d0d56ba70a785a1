"""A source read on from where it was left comes to what reading it from its first byte comes to."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batches import Limits, chunks
from ingest.follow import Event, Fresh, Place, follow, go_on
from ingest.sources import Reader
from tests.unit.ingest.memory import Memory, texts
from tests.unit.ingest.test_identity_growth import cuts, hostile_bytes, limits


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Follower(Memory):
    """Goes on from the place where it was left, when there is one."""

    place: Place | None = None

    def grow(self, data: bytes) -> list[Event]:
        start = self.place.end if self.place else 0
        raw = io.BytesIO(data[start:])
        if self.place:
            events = go_on(Reader("grown", raw, start=start), self.place, self.limits)
        else:
            events = follow(Reader("grown", raw), self.lookup, self.limits, self.found)
        kept = []
        for event in events:
            kept.append(event)
            if isinstance(event, Fresh):
                self.store(event)
                self.found(0, Place(event.source, event.key, event.chunk.end, event.chunk.open_line))
        return kept

    def found(self, _end: int, place: Place | None) -> None:
        self.place = place


@given(data=hostile_bytes, sizes=limits, where=cuts, forgets=st.sets(st.integers(0, 6)))
def test_the_same_spans_and_lines(folder: Path, data: bytes, sizes: dict[str, int], where: list[float], forgets: set[int]) -> None:
    whole, piecewise = Memory(folder, **sizes), Follower(folder, **sizes)
    for number, cut in enumerate([*where, 1.0]):
        part = data[: int(cut * len(data))]
        if number in forgets:
            piecewise.place = None
        piecewise.grow(part)
        whole.ingest(part)
        assert (piecewise.spans, piecewise.lines, piecewise.keys) == (whole.spans, whole.lines, whole.keys)


def test_a_last_line_of_a_growing_source_is_left() -> None:
    growing = True
    for text, expected in ((b"a\nb", [b"a"]), (b"a\nb\n", [b"a", b"b"]), (b"a", [])):
        reader = Reader("grown", io.BytesIO(text), growing=lambda: growing)
        assert [line for chunk in chunks(reader, Limits()) for line in texts(chunk)] == expected
    growing = False
    reader = Reader("grown", io.BytesIO(b"a\nb"), growing=lambda: growing)
    assert [line for chunk in chunks(reader, Limits()) for line in texts(chunk)] == [b"a", b"b"]


def test_a_source_that_is_read_on_is_not_looked_at() -> None:
    packed = b"\x1f\x8b\x08 no gzip\n"
    reader = Reader("grown", io.BytesIO(packed), start=100)
    assert (reader.offset, reader.compressed, reader.read(99), reader.offset) == (100, False, packed, 100 + len(packed))
