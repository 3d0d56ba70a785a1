"""String columns as bytes and places."""

import numpy as np
import pyarrow as pa
import pytest

from transforms.strings import bytes_of, holds_any, parts_of


@pytest.mark.parametrize(
    ("strings", "held", "places"),
    [
        (pa.array(["ab", None, "", "cde"]), b"abcde", [0, 2, 2, 2, 5]),
        (pa.array(["ab", None, "", "cde", "f"]).slice(1, 3), b"cde", [0, 0, 0, 3]),
        (pa.array([], pa.string()), b"\0", [0]),
        (pa.nulls(2, pa.string()), b"\0", [0, 0, 0]),
        (pa.array(["ab", ""]).slice(1), b"\0", [0, 0]),
    ],
)
def test_bytes_and_where_each_string_is(strings: pa.Array, held: bytes, places: list[int]) -> None:
    data, found = bytes_of(strings)
    assert (data.tobytes(), found.tolist()) == (held, places)


def test_parts_of_strings() -> None:
    data, places = bytes_of(pa.array(["ab?c", "d", "?"]))
    starts, ends = places[:-1], np.array([2, 5, 5])
    parts = parts_of(data, starts, ends, np.array([False, True, False]))
    parts.validate(full=True)
    assert parts.to_pylist() == ["ab", None, ""]
    assert parts_of(data, starts, ends, np.ones(3, np.bool_)).to_pylist() == [None] * 3
    assert parts_of(data, starts[:0], ends[:0], np.ones(0, np.bool_)).to_pylist() == []


def test_whether_a_sign_is_in_any_string() -> None:
    strings = pa.array(["x" * 300_000, None, "a=b", "@"])
    assert holds_any(strings, b"%=")
    assert not holds_any(strings.slice(0, 2), b"%=@")
    assert not holds_any(strings.slice(3), b"=")
