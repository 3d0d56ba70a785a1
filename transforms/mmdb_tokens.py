"""The values of a MaxMind DB's data section, read at many places at once.

A value begins with a control byte that says its kind and size: https://maxmind.github.io/MaxMind-DB/, "Data field format".
Promises: no read outside the file, whatever the places; a value that reaches into the last bytes of the file, which are its
metadata, is not sound here, and neither is one of a kind or size that the format does not know.
"""

import mmap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.base import Numbers

__all__ = ["ARRAY", "MAP", "POINTER", "TEXT", "WORD", "Flags", "Heads", "Tokens"]

Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

POINTER, TEXT, DOUBLE, BYTES, UINT16, UINT32, MAP, INT32, UINT64, UINT128, ARRAY, BOOLEAN, FLOAT = *range(1, 12), 14, 15
WORD = 8
"""Bytes that are read at once."""

_INTEGERS = (UINT16, UINT32, INT32, UINT64, UINT128)
_UNKNOWN = 16
"""Any kind that the format does not have."""
_TAIL = 64
_EXTENDED, _LONG = 0, 29
_LONG_BASES = np.array([0, 29, 285, 65_821])


def _sound() -> Flags:
    """By kind * 32 + size, sizes above 31 taken as 31: whether the format has it."""
    sound = np.zeros((_UNKNOWN + 1, 32), dtype=np.bool_)
    sound[[POINTER, TEXT, BYTES, MAP, ARRAY, BOOLEAN]] = True
    sound[[UINT16, UINT32, UINT64, UINT128], :17] = True
    sound[INT32, :5] = True
    sound[DOUBLE, 8] = sound[FLOAT, 4] = True
    return sound.reshape(-1)


_FILLED = ~np.isin(np.arange(_UNKNOWN + 1), [MAP, ARRAY, BOOLEAN])
"""By kind: whether so many bytes as its size says follow."""
_SOUND = _sound()

# By the control byte: kind, size, whether more bytes say what these are, and if not, where the next value begins and whether it is sound.
_CONTROL = np.arange(256)
_KIND, _SIZE = _CONTROL >> 5, _CONTROL & 31
_RARE = (_KIND == _EXTENDED) | ((_SIZE >= _LONG) & (_KIND != POINTER))
_AFTER = 1 + np.where(_KIND == POINTER, (_SIZE >> 3) + 1, _SIZE * _FILLED[_KIND])
_SOUND_CONTROL = _SOUND[_KIND * 32 + _SIZE]

# A pointer by the five low bits of its control byte: bytes that follow, how to cut them out of the word, what to add.
_POINTER_BYTES = (np.arange(32) >> 3) + 1
_POINTER_SHIFT = (56 - 8 * _POINTER_BYTES).astype(np.uint64)
_POINTER_MASK = ((1 << 8 * _POINTER_BYTES) - 1).astype(np.uint64)
_POINTER_ADD = np.where(_POINTER_BYTES < 4, (np.arange(32) & 7) << 8 * _POINTER_BYTES, 0) + np.repeat([0, 2048, 526_336, 0], 8)


@dataclass
class Heads:
    """What the control bytes at some places say, an item for each place.

    :ivar kind: kind of the value. :ivar size: its size: bytes, or entries of a map, or elements of an array.
    :ivar body: where what follows the control bytes begins. :ivar after: where the next value begins (of a map or array: the first within).
    :ivar sound: whether all this can be relied on. :ivar pointers: which places hold a pointer. :ivar targets: where those point to.
    """

    kind: Numbers
    size: Numbers
    body: Numbers
    after: Numbers
    sound: Flags
    pointers: Numbers
    targets: Numbers


class Tokens:
    """Reads values in the data section of a file that is larger than its metadata.

    :param base: where the data section begins: pointers count from there.
    """

    def __init__(self, data: mmap.mmap, base: int) -> None:
        self._bytes = np.frombuffer(data, dtype=np.uint8)
        # A word may begin at each byte: an overlapping view, no copy of the file.
        self._words: Words = np.ndarray(shape=(max(0, len(data) - WORD + 1),), dtype=">u8", buffer=data, strides=(1,))
        self._base, self._last = base, max(0, len(data) - _TAIL)

    def words(self, places: Numbers) -> Words:
        """Eight bytes at each place, as a big-endian number; places must be below that of a sound value's end, and ``_TAIL`` more."""
        return self._words[places].astype(np.uint64)

    def heads(self, places: Numbers) -> Heads:
        """The control bytes at places, which are not negative."""
        within = len(places) == 0 or int(places.max()) <= self._last
        word = self.words(places if within else np.minimum(places, self._last))
        control = (word >> np.uint64(56)).view(np.int64)
        kind, size = _KIND[control], _SIZE[control]
        pointers = (kind == POINTER).nonzero()[0]
        targets = self._targets(size[pointers], word[pointers])
        heads = Heads(kind, size, places + 1, places + _AFTER[control], _SOUND_CONTROL[control], pointers, targets)
        rare = _RARE[control].nonzero()[0]
        if len(rare):
            self._read_rare(heads, rare, word[rare])
        heads.sound &= heads.after <= self._last
        return heads

    def _read_rare(self, heads: Heads, rare: Numbers, word: Words) -> None:
        """Kinds that take a second byte, and sizes that take up to three more."""
        kind, size = heads.kind[rare], heads.size[rare]
        extended = kind == _EXTENDED
        kind = np.where(extended, np.minimum(7 + (word >> np.uint64(48) & np.uint64(255)).view(np.int64), _UNKNOWN), kind)
        more = np.where((size >= _LONG) & (kind != POINTER), size - _LONG + 1, 0)
        rest = word << np.where(extended, np.uint64(16), np.uint64(8))
        further = (rest >> (64 - 8 * np.maximum(more, 1)).astype(np.uint64)).view(np.int64)
        size = np.where(more > 0, _LONG_BASES[more] + further, size)
        body = heads.body[rare] + extended + more
        heads.kind[rare], heads.size[rare], heads.body[rare] = kind, size, body
        heads.after[rare] = body + size * _FILLED[kind]
        heads.sound[rare] = _SOUND[kind * 32 + np.minimum(size, 31)]

    def _targets(self, size: Numbers, word: Words) -> Numbers:
        """Where pointers with these low bits point to."""
        value = (word >> _POINTER_SHIFT[size] & _POINTER_MASK[size]).view(np.int64)
        targets: Numbers = value + _POINTER_ADD[size] + self._base
        return targets

    def gather(self, body: Numbers, size: Numbers) -> tuple[npt.NDArray[np.uint8], Numbers]:
        """The bytes of sound values one after the other, and where each begins and the last ends."""
        offsets = np.zeros(len(size) + 1, dtype=np.int64)
        np.cumsum(size, out=offsets[1:])
        return self._bytes[np.repeat(body - offsets[:-1], size) + np.arange(offsets[-1])], offsets

    def texts(self, places: Numbers) -> pa.Array:
        """The texts at places of sound values: null where there is another kind of value, an empty text, or the place is negative."""
        once = pa.array(places).dictionary_encode()
        distinct = once.dictionary.to_numpy()
        heads = self.heads(np.maximum(distinct, 0))
        size = np.where((heads.kind == TEXT) & (distinct >= 0), heads.size, 0)
        data, offsets = self.gather(heads.body, size)
        parts = [pa.array(size > 0).buffers()[1], pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.string(), len(size), parts).take(once.indices)

    def doubles(self, places: Numbers) -> tuple[npt.NDArray[np.float64], Flags, Flags]:
        """The doubles at places as ``texts`` takes them; which places have one, and which have a number of another kind."""
        heads, given = self.heads(np.maximum(places, 0)), places >= 0
        known = (heads.kind == DOUBLE) & given
        other = np.isin(heads.kind, (*_INTEGERS, FLOAT)) & given
        return self.words(np.where(known, heads.body, 0)).view(np.float64), known, other

    def unsigned(self, places: Numbers) -> tuple[Numbers, Flags, Flags]:
        """The unsigned integers of up to four bytes at places; which places have one, and which have an integer of another kind."""
        heads, given = self.heads(np.maximum(places, 0)), places >= 0
        known = ((heads.kind == UINT32) | (heads.kind == UINT16)) & (heads.size <= 4) & given
        other = np.isin(heads.kind, _INTEGERS) & given & ~known
        size = np.where(known, heads.size, 0)
        words = self.words(np.where(size > 0, heads.body, 0)) >> (64 - 8 * np.maximum(size, 1)).astype(np.uint64)
        return np.where(size > 0, words.view(np.int64), 0), known, other
