"""JSON objects of fields and of places in a buffer, against Python's own."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.formats.template import Span
from ingest.formats.values import json_object

_cell = (
    st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    | st.sampled_from(['"', "\\", "\x7f", '\\"', "a"])
)


def spans_of(rows: list[tuple[str | None, ...]]) -> tuple[bytes, list[tuple[Span, np.ndarray]]]:
    """The cells one after the other with blanks between, and their places by column."""
    data, places = b" ", []
    for row in rows:
        for cell in row:
            value = (cell or "").encode()
            places.append((len(data), len(data) + len(value)))
            data += value + b" "
    starts, ends = (np.array(side, np.int64).reshape(len(rows), -1) for side in zip(*places, strict=True))
    null = np.array([[cell is None for cell in row] for row in rows])
    return data, [(Span(starts[:, at], ends[:, at]), null[:, at]) for at in range(starts.shape[1])]


@given(st.lists(st.tuples(_cell, _cell, _cell, _cell), min_size=1, max_size=9))
@example([("a", None, "b", None), (None, None, None, None), (None, "c", None, "d")])
@example([('"', "a", "a", "a"), ("a", "a", '"', "a")])
def test_each_row_is_its_fields_and_its_places(rows: list[tuple[str | None, ...]]) -> None:
    data, (third, fourth) = spans_of([row[2:] for row in rows])
    fields = {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(("a", 'b"'))}
    found = json_object(fields, np.frombuffer(data, np.uint8), {"c": third, "d\n": fourth}).to_pylist()
    wanted = [{name: cell for name, cell in zip(("a", 'b"', "c", "d\n"), row, strict=True) if cell is not None} for row in rows]
    assert [json.loads(text) if text else {} for text in found] == wanted
    assert [text is None for text in found] == [not row for row in wanted]
    assert found[0] is None or found[0] == json.dumps(wanted[0], ensure_ascii=False, separators=(",", ":"))


def test_places_out_of_order_are_a_fault() -> None:
    null = np.zeros(1, np.bool_)
    first, second = Span(np.array([3]), np.array([4])), Span(np.array([0]), np.array([1]))
    with pytest.raises(AssertionError, match="spans do not ascend"):
        json_object({}, np.frombuffer(b"abcdef", np.uint8), {"a": (first, null), "b": (second, null)})
