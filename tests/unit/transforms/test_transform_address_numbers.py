"""Addresses as numbers, against the standard library: whatever a text is, both must say the same."""

import socket

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.address_numbers import ipv4_numbers, ipv6_halves

OCTETS = st.sampled_from(
    ["", "0", "1", "9", "10", "99", "100", "199", "249", "255", "256", "300", "999", "1000", "00", "01", "001", "-1", "+1", "a"]
)
GROUPS = st.sampled_from(["", "0", "1", "ab", "FFFF", "12345", "g", "1.2.3.4", "%eth0", "\0"])
TEXTS = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.lists(OCTETS, min_size=3, max_size=5).map(".".join),
    st.lists(GROUPS, min_size=1, max_size=10).map(":".join),
    st.ip_addresses().map(str),
)


def four(text: str | None) -> int | None:
    """The number of an address in the only way it may be written."""
    try:
        packed = socket.inet_pton(socket.AF_INET, text or "")
    except (OSError, ValueError):
        return None
    return int.from_bytes(packed, "big") if socket.inet_ntop(socket.AF_INET, packed) == text else None


def six(text: str | None) -> int | None:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text or ""), "big")
    except (OSError, ValueError):
        return None


def read(array: pa.Array) -> tuple[list[int | None], list[int | None]]:
    is4, numbers = ipv4_numbers(array)
    is6, high, low = ipv6_halves(array)
    assert (numbers.dtype, high.dtype, low.dtype) == (np.dtype("u4"), np.dtype("u8"), np.dtype("u8"))
    fours = iter(numbers.tolist())
    sixes = iter([(int(upper) << 64) | int(lower) for upper, lower in zip(high, low, strict=True)])
    return [next(fours) if one else None for one in is4], [next(sixes) if one else None for one in is6]


@given(st.lists(TEXTS, max_size=30), st.integers(0, 3))
def test_texts_are_read_as_the_standard_library_reads_them(texts: list[str | None], start: int) -> None:
    assert read(pa.array(texts, pa.string()).slice(start)) == (
        [four(text) for text in texts[start:]],
        [six(text) for text in texts[start:]],
    )


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "9.10.99.100",
        "255.255.255.255",
        "1.22.333.4",
        "1.2.3.4.5",
        "1.2.3",
        "1.2.3.4 ",
        "01.2.3.4",
        "1.002.3.4",
        "1.2.00.4",
        "1.2.3.04",
        "1.2.3.4\0",
        "1..2.3",
    ],
)
def test_dotted_texts(text: str) -> None:
    assert read(pa.array([text, "8.8.8.8"])) == ([four(text), 0x08080808], [None, None])


def test_many_texts_are_read_block_by_block() -> None:
    texts = [f"{n % 256}.{n // 256}.7.{n % 300}" for n in range(70_000)]
    assert read(pa.array(texts))[0] == [four(text) for text in texts]


def test_one_bad_text_costs_no_other() -> None:
    good = [f"2001:db8::{n:x}" for n in range(1, 50)]
    assert read(pa.array([*good, "2001:db8::x"]))[1] == [*map(six, good), None]
