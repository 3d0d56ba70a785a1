"""Bits that say where a byte stands, against a plain look at each byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.bitmaps import Bitmap, places_of, words_at
from ingest.lines import Bytes

MARK = ord("x")


def buffer(length: int, places: set[int]) -> Bytes:
    data = np.full(length, ord("."), np.uint8)
    data[sorted(place for place in places if place < length)] = MARK
    return data


buffers = st.builds(buffer, st.integers(0, 700), st.sets(st.integers(0, 699), max_size=40))


@given(buffers)
def test_places_are_those_of_the_byte(data: Bytes) -> None:
    wanted = np.flatnonzero(data == MARK).tolist()
    assert Bitmap(data, MARK).places().tolist() == wanted
    assert places_of(data, MARK).tolist() == wanted


@given(buffers)
def test_the_first_after_and_the_last_before_each_cursor(data: Bytes) -> None:
    bits, text = Bitmap(data, MARK), data.tobytes()
    cursors = np.arange(len(data) + 1)
    after = [text.find(b"x", cursor) for cursor in cursors.tolist()]
    assert bits.next(cursors).tolist() == [len(data) if place < 0 else place for place in after]
    assert bits.last(cursors).tolist() == [text.rfind(b"x", 0, end) for end in cursors.tolist()]


@pytest.mark.parametrize("distance", [1, 63, 64, 65, 127, 128, 5000, 300_000])
def test_a_mark_is_found_however_far_it_is(distance: int) -> None:
    data = buffer(400_000, {90_000, 90_000 + distance})
    few, many = np.array([0, 90_001]), np.arange(90_001 - 50, 90_002)
    assert Bitmap(data, MARK).next(few).tolist() == [90_000, 90_000 + distance]
    assert Bitmap(data, MARK).next(many).tolist() == [90_000] * 50 + [90_000 + distance]
    assert Bitmap(data, MARK).last(np.array([90_000 + distance, 400_000])).tolist() == [90_000, 90_000 + distance]


@pytest.mark.parametrize("data", [b"", b"x", b"xxxx" * 50_000, b"." * 200_000])
def test_dense_and_empty_buffers(data: bytes) -> None:
    found = Bitmap(np.frombuffer(data, np.uint8), MARK).places()
    assert found.dtype == np.int64
    assert found.tolist() == [place for place, byte in enumerate(data) if byte == MARK]


def test_marks_that_are_taken_away_are_not_found() -> None:
    bits = Bitmap(buffer(100, {3, 5, 64, 99}), MARK)
    bits.clear(np.array([5, 64, 100]))
    assert bits.places().tolist() == [3, 99]


@given(st.binary(max_size=40))
def test_words_are_eight_bytes_and_zeros_beyond_the_end(data: bytes) -> None:
    words = words_at(np.frombuffer(data, np.uint8), np.arange(len(data) + 1))
    assert words.tolist() == [int.from_bytes((data + bytes(8))[start : start + 8], "little") for start in range(len(data) + 1)]
