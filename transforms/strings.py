"""String columns as bytes and places: what regular expressions would do string by string is done for all at once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.base import Numbers

__all__ = ["bytes_of", "holds_any", "parts_of"]

Bytes = npt.NDArray[np.uint8]
_STEP = 1 << 17
"""Bytes looked at together, so that what is made of them stays in the processor's cache."""


def bytes_of(strings: pa.StringArray) -> tuple[Bytes, Numbers]:
    """The bytes of a string array, one at least, and where each string begins and the last one ends in them; int64[n + 1]."""
    _, offsets, data = strings.buffers()
    if not len(strings) or data is None:
        return np.zeros(1, np.uint8), np.zeros(len(strings) + 1, np.int64)
    places = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    held = np.frombuffer(data, np.uint8)[places[0] : places[-1]]
    return held if len(held) else np.zeros(1, np.uint8), places - places[0]


def parts_of(data: Bytes, starts: Numbers, ends: Numbers, null: npt.NDArray[np.bool_]) -> pa.StringArray:
    """Pieces of valid text as strings, null where ``null`` says so. They ascend, do not overlap and lie within the data."""
    count = len(starts)
    if null.all():
        return pa.nulls(count, pa.string())
    places = np.empty(2 * count, np.int32)
    places[::2], places[1::2] = starts, np.where(null, starts, ends)
    # Every second element is a piece, the others are what lies between.
    pieces = pa.StringArray.from_buffers(2 * count - 1, pa.py_buffer(places), pa.py_buffer(data))
    _, offsets, held = pieces.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32))).buffers()
    valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
    return pa.StringArray.from_buffers(count, offsets, held, valid)


def holds_any(strings: pa.StringArray, signs: bytes) -> bool:
    """Whether any of the strings holds one of these ASCII characters."""
    data, _ = bytes_of(strings)
    steps = (data[at : at + _STEP] for at in range(0, len(data), _STEP))
    return any(bool((step == sign).any()) for step in steps for sign in signs)
