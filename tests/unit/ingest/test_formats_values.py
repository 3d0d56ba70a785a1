"""Columns made of places in a buffer."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.template import Marks, Span
from ingest.formats.values import integers, json_object, json_string, text, unescaped_text
from ingest.lines import Bytes


def spanned(*texts: str) -> tuple[Bytes, Span]:
    lengths = np.array([len(text.encode()) for text in texts], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return np.frombuffer("|".join(texts).encode(), np.uint8), Span(ends - lengths, ends)


@pytest.mark.parametrize("starts_ends", [([5, 0], [6, 1]), ([0, 1], [3, 4]), ([0, 2], [1, 99]), ([-1, 2], [1, 3]), ([3], [2])])
def test_spans_that_arrow_must_not_see_are_refused(starts_ends: tuple[list[int], list[int]]) -> None:
    data, _ = spanned("abcdefgh")
    with pytest.raises(AssertionError, match="do not ascend"):
        text(data, Span(*(np.array(places, np.int64) for places in starts_ends)))


def test_whole_numbers_and_whether_they_fit() -> None:
    texts = ["0", "007", str(2**63 - 1), str(2**63), "9" * 19, "1" * 20, "", "-1", "1 ", "1e3"]
    values, numeric, fits = integers(*spanned(*texts))
    assert values.tolist() == [0, 7, 2**63 - 1, 0, 0, 0, 0, 0, 0, 0]
    assert numeric.tolist() == [True] * 6 + [False] * 4
    assert fits[:6].tolist() == [True, True, True, False, False, False]


def test_a_null_with_escapes_stays_null() -> None:
    data, span = spanned(r"a\"b", r"a\"b")
    assert unescaped_text(Marks(data), span, np.array([True, False])).to_pylist() == [None, 'a"b']


@given(st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=10))
def test_json_text_says_what_the_string_says(values: list[str | None]) -> None:
    found = json_string(pa.array(values, pa.string())).to_pylist()
    assert [value if value is None else json.loads(value) for value in found] == values
    objects = json_object({"a": pa.array(values, pa.string()), 'b"': pa.nulls(len(values), pa.string())}).to_pylist()
    assert [value if value is None else json.loads(value) for value in objects] == [v if v is None else {"a": v} for v in values]
