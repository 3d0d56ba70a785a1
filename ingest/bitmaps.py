"""Where a byte stands in a buffer, as one bit for each place: what follows a cursor is then found in one look at 64 bits.

Made with two passes over the bytes that the processor does many at a time; a list of the places costs several times as much,
and is made only for those who ask for it.
"""

import numpy as np
import numpy.typing as npt

from ingest.lines import Bytes, Numbers

__all__ = ["Bitmap", "places_of", "words_at"]

Words = npt.NDArray[np.uint64]

_ONE = np.uint64(1)
_WORD = np.dtype("<u8")
_STEP = 1 << 17
"""Bytes looked at together, so that what is made of them stays in the processor's cache."""
_FEW = 32
"""When fewer than one cursor in so many has found nothing in the words looked at, those are told all at once by a search."""
_DENSE = 16
"""With more than one place in so many bytes, looking at each byte costs less than looking at each word."""


class Bitmap:
    """One bit for each place of a buffer: whether the byte stands there."""

    def __init__(self, data: Bytes, byte: int) -> None:
        self._length = len(data)
        # Two words more than are filled, so that the next can be looked at from any cursor up to the end.
        bits = np.zeros(len(data) // 64 * 8 + 16, np.uint8)
        flags = np.empty(min(len(data), _STEP), np.bool_)
        for at in range(0, len(data), _STEP):
            piece = data[at : at + _STEP]
            packed = np.packbits(np.equal(piece, byte, out=flags[: len(piece)]), bitorder="little")
            bits[at >> 3 : (at >> 3) + len(packed)] = packed
        self._bits = bits
        self._words: Words = bits.view(_WORD)
        self._used: Numbers | None = None

    def clear(self, places: Numbers) -> None:
        """Take these marks away; before anything is looked for."""
        within = places[places < self._length]
        np.bitwise_and.at(self._bits, within >> 3, ~(1 << (within & 7)).astype(np.uint8))

    def next(self, cursor: Numbers) -> Numbers:
        """The first marked place at or after each cursor, which is from 0 to the length; the length where there is none."""
        number, shift = cursor >> 6, (cursor & 63).view(np.uint64)
        word = self._words[number] >> shift | self._words[number + 1] << np.uint64(64) - shift
        found = cursor + _lowest(word)
        missed = np.flatnonzero(word == 0)
        while len(missed) * _FEW > len(cursor):
            number = np.minimum((found[missed] >> 6), len(self._words) - 1)
            word = self._words[number]
            found[missed] = np.minimum((number << 6) + _lowest(word), self._length)
            missed = missed[(word == 0) & (found[missed] < self._length)]
        if len(missed):
            found[missed] = self._from_word(found[missed] >> 6)
        return found

    def last(self, end: Numbers) -> Numbers:
        """The last marked place before each end, which is from 0 to the length; -1 where there is none."""
        number = np.maximum(end - 1, 0) >> 6
        word = self._words[number] & ~(~np.uint64(0) << (end - (number << 6)).view(np.uint64))
        found = (number << 6) + _highest(word)
        missed = np.flatnonzero(word == 0)
        if len(missed):
            used = self._used_words()
            at = np.searchsorted(used, number[missed]) - 1
            before = used.take(np.maximum(at, 0), mode="clip") if len(used) else at
            found[missed] = np.where(at < 0, -1, (before << 6) + _highest(self._words[np.maximum(before, 0)]))
        return found

    def places(self) -> Numbers:
        """All marked places, ascending, int64."""
        used = self._used_words()
        words = self._words[used]
        counts = np.bitwise_count(words).astype(np.int64)
        total = int(counts.sum())
        if total * _DENSE > self._length:
            return np.flatnonzero(np.unpackbits(self._bits, count=self._length, bitorder="little"))
        places = np.empty(total, np.int64)
        at, base = np.cumsum(counts) - counts, used << 6
        while len(words):
            places[at] = base + _lowest(words)
            words = words & (words - _ONE)
            more = np.flatnonzero(words)
            at, base, words = at[more] + 1, base[more], words[more]
        return places

    def _used_words(self) -> Numbers:
        """Numbers of the words that hold a mark."""
        if self._used is None:
            self._used = np.flatnonzero(self._words != 0)
        return self._used

    def _from_word(self, number: Numbers) -> Numbers:
        """The first mark in or after the words of these numbers."""
        used = self._used_words()
        if not len(used):
            return np.full(len(number), self._length, np.int64)
        at = np.searchsorted(used, number)
        first = used.take(at, mode="clip")
        return np.where(at < len(used), (first << 6) + _lowest(self._words[first]), self._length)


def places_of(data: Bytes, byte: int) -> Numbers:
    """Where the byte stands, ascending, int64: for one of which nothing else is asked."""
    steps = (data[at : at + _STEP] == byte for at in range(0, len(data), _STEP))
    found = [np.flatnonzero(flags) + number * _STEP for number, flags in enumerate(steps) if flags.any()]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def words_at(data: Bytes, starts: Numbers) -> Words:
    """The eight bytes from each start, the first of them lowest; zeros beyond the buffer's end.

    :param starts: from 0 to the buffer's length.
    """
    if len(data) < 8:
        data = np.concatenate((data, np.zeros(8, np.uint8)))
    last = len(data) - 8
    anywhere: Words = np.ndarray((last + 1,), _WORD, data, 0, (1,))
    if not len(starts) or starts.max() <= last:
        return anywhere[starts]
    within = np.minimum(starts, last)
    return anywhere[within] >> (8 * (starts - within)).view(np.uint64)


def _lowest(words: Words) -> npt.NDArray[np.uint8]:
    """The place of the lowest bit of each word; 64 when it has none."""
    return np.bitwise_count(~words & (words - _ONE))


def _highest(words: Words) -> Numbers:
    """The place of the highest bit of each word; -1 when it has none."""
    words = words.copy()
    for step in (1, 2, 4, 8, 16, 32):
        words |= words >> np.uint64(step)
    return np.bitwise_count(words).astype(np.int64) - 1
