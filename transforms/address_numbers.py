"""Texts of IP addresses as numbers, many at once.

Promises: a text is an IPv4 address when it is four numbers to 255 with dots between them and no leading zeros, and an IPv6
address when ``inet_pton`` says so; nothing else is, whatever its bytes.
"""

import itertools
import socket
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.base import Numbers

__all__ = ["ipv4_numbers", "ipv6_halves"]

Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_BLOCK = 1 << 15
"""Texts that are read together: what is known of them stays in the processor's cache."""
_PADDING = 16
_LONGEST4 = 15
_FIRST_COLON = 5
"""The first colon of an IPv6 address is among so many bytes."""


def _each(byte: int) -> np.uint64:
    """The byte eight times."""
    return np.uint64(byte * 0x0101010101010101)


_HIGH, _SEVEN = _each(0x80), _each(0x7F)
_DOT, _COLON, _ZERO = _each(ord(".")), _each(ord(":")), _each(ord("0"))
_TO_TEN = _each(0x80 - 10)
_ONE_BYTE = np.uint64(0x0102040810204080)


@dataclass(frozen=True)
class _Texts:
    """Texts as bytes, with zeros behind the last.

    :ivar start: where each begins. :ivar size: bytes of each; 0 for null.
    """

    data: npt.NDArray[np.uint8]
    start: Numbers
    size: Numbers

    @classmethod
    def of(cls, array: pa.Array) -> "_Texts":
        """The texts of an Arrow string array."""
        filled = array.fill_null("") if array.null_count else array
        _, ends, data = filled.buffers()
        offsets = (
            np.frombuffer(ends, dtype=np.int32)[filled.offset : filled.offset + len(filled) + 1] if ends else np.zeros(1, dtype=np.int32)
        )
        whole = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]] if data else np.empty(0, dtype=np.uint8)
        padded = np.concatenate([whole, np.zeros(_PADDING, dtype=np.uint8)])
        return cls(padded, (offsets[:-1] - offsets[0]).astype(np.int64), np.diff(offsets).astype(np.int64))

    def view(self, kind: str) -> npt.NDArray[Any]:
        """A number of that kind at each byte: overlapping, no copy."""
        return np.ndarray(shape=(len(self.data) - np.dtype(kind).itemsize + 1,), dtype=kind, buffer=self.data, strides=(1,))


def _zeros(words: Words) -> Words:
    """The highest bit of each byte that is zero."""
    return ~((words & _SEVEN) + _SEVEN | words | _SEVEN)


def _not_digits(words: Words) -> Words:
    """The highest bit of each byte that is no digit, and maybe of bytes behind one that is none."""
    values = words ^ _ZERO
    return (values + _TO_TEN | values) & _HIGH


def _bits(highest: Words) -> Numbers:
    """A bit for each byte, the first byte's the lowest, from the bytes' highest bits."""
    return ((highest >> np.uint64(7)) * _ONE_BYTE >> np.uint64(56)).view(np.int64)


def _octet_tables() -> tuple[Numbers, Numbers]:
    """By where the dots and the end are, as bits: a number of the layout, 0 for none. By octet and layout: where the octet is.

    An octet's place is its start, how far to shift its digits to make them three (from bit 8), its least value (from bit 16).
    """
    layouts = np.zeros(1 << 16, dtype=np.int64)
    octets = np.zeros((4, 3**4 + 1), dtype=np.int64)
    for layout, lengths in enumerate(itertools.product((1, 2, 3), repeat=4), start=1):
        ends: Numbers = np.cumsum(lengths, dtype=np.int64) + np.arange(4)
        layouts[np.sum(1 << ends)] = layout
        octets[:, layout] = [end - n + (8 * (3 - n) << 8) + ((0, 10, 100)[n - 1] << 16) for end, n in zip(ends, lengths, strict=True)]
    return layouts, octets


_LAYOUTS, _OCTETS = _octet_tables()


def ipv4_numbers(texts: pa.Array) -> tuple[Flags, npt.NDArray[np.uint32]]:
    """Which texts are dotted IPv4 addresses, and those as integers, in the same order."""
    given = _Texts.of(texts)
    words, quads = given.view("<u8"), given.view("<u4")
    plain, numbers = np.zeros(len(texts), dtype=np.bool_), np.zeros(len(texts), dtype=np.uint32)
    for first in range(0, len(texts), _BLOCK):
        part = slice(first, first + _BLOCK)
        layout = _layout(words, given.start[part], given.size[part])
        numbers[part], plain[part] = _octets(quads, given.start[part], layout)
    return plain, numbers[plain]


def _layout(words: Words, start: Numbers, size: Numbers) -> Numbers:
    """Of each text, the number of its layout: 0 unless it is digits, with dots where they may be."""
    dots, others = np.zeros_like(size), np.zeros_like(size)
    for place in (0, 8):
        word = words[start + place]
        dot = _zeros(word ^ _DOT)
        dots |= _bits(dot) << place
        others |= _bits(_not_digits(word) & ~dot) << place
    end = 1 << np.minimum(size, _LONGEST4)
    within = end - 1
    return np.where((others & within == 0) & (size <= _LONGEST4), _LAYOUTS[dots & within | end], 0)


def _octets(quads: npt.NDArray[np.uint32], start: Numbers, layout: Numbers) -> tuple[npt.NDArray[np.uint32], Flags]:
    """The addresses, and which of them are written as they have to be."""
    numbers, plain = np.zeros(len(start), dtype=np.uint32), layout > 0
    for octet in _OCTETS:
        place = octet[layout]
        digits = (quads[start + (place & 0xFF)] & np.uint32(0x0F0F0F)) << (place >> 8 & 0xFF).astype(np.uint32)
        value = (digits & 15) * 100 + (digits >> 8 & 15) * 10 + (digits >> 16 & 15)
        plain &= (value <= 0xFF) & (value >= place >> 16)
        numbers = numbers << 8 | value
    return numbers, plain


def ipv6_halves(texts: pa.Array) -> tuple[Flags, Words, Words]:
    """Which texts are IPv6 addresses, and the high and low 64 bits of those, in the same order."""
    given = _Texts.of(texts)
    colons = _bits(_zeros(given.view("<u8")[given.start] ^ _COLON))
    found = colons & (1 << np.minimum(given.size, _FIRST_COLON)) - 1 > 0
    packed = _packed(texts.filter(pa.array(found)).to_pylist())
    if not all(packed):
        found[found] = [len(address) > 0 for address in packed]
    halves = np.frombuffer(b"".join(packed), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return found, halves[:, 0], halves[:, 1]


def _packed(texts: list[str]) -> list[bytes]:
    """Each text's sixteen bytes, none where it is no address: one call for all is the fast road."""
    try:
        return list(map(socket.inet_pton, itertools.repeat(socket.AF_INET6), texts))
    except (OSError, ValueError):
        return [_packed_one(text) for text in texts]


def _packed_one(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return b""
