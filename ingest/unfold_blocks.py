"""A stretch of a JSON stream, looked at as a whole: which bytes are in strings, which white space can go, how deep each sign is.

- All is done over the whole stretch at once; what must be known of the bytes before it is a :class:`Lexical` state.
- White space outside strings that touches one of ``{ } [ ] , :`` is taken out. Any other run of it (which only text that is
  not JSON has: ``tru e``) becomes one sign, a newline where one was in it, so that no two words are joined.
- Nothing is checked: what is no JSON comes out as no JSON.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ingest.lines import Bytes, Numbers

__all__ = ["Block", "Flags", "Lexical"]

Flags = npt.NDArray[np.bool_]

_NEWLINE, _SPACE, _QUOTE, _COMMA, _BACKSLASH = b'\n ",\\'
_OPENING, _CLOSING = b"{}"
_TO_CURLY = 0x20  # "[" and "]" become "{" and "}"
_NONE = np.empty(0, np.int64)


def _table(signs: bytes) -> Flags:
    table = np.zeros(256, np.bool_)
    table[list(signs)] = True
    return table


_STRUCTURAL = _table(b"{}[],:")


@dataclass(frozen=True)
class Lexical:
    """What the bytes before a stretch leave open.

    :param string: whether it begins within a string.
    :param escaped: whether a backslash stands before its first byte.
    :param depth: objects and arrays it begins within.
    :param joined: whether white space at its front can go: a structural sign, or nothing at all, is before it.
    """

    string: bool = False
    escaped: bool = False
    depth: int = 0
    joined: bool = True


class Block:
    """One stretch, its white space reduced. Positions are those in :attr:`data`.

    A backslash before a raw newline within a string is read as the escape of a newline.
    """

    data: Bytes
    """The reduced bytes."""
    pending: bytes
    """White space at the stretch's end of which only the bytes after it can tell whether it goes; not in ``data``."""
    end: Lexical
    """What the stretch leaves open."""

    def __init__(self, source: bytes, before: Lexical) -> None:
        data: Bytes = np.frombuffer(source, np.uint8)
        escapes, escaped = _escapes(data, before.escaped)
        inside = _inside(data, escapes, before.string)
        self._raw, self._raw_inside = data, inside
        data = _continued(data, escapes, inside)
        self._kept: Flags | None = None
        self._white = self._stay = _NONE
        self.pending = b""
        self.data, self._inside = self._reduced(data, inside, before.joined)
        self._places, self._signs, self._levels, depth = self._tokens(before.depth)
        self._depth = before.depth
        self._cache: dict[tuple[int, int], Numbers] = {}
        string = bool(inside[-1]) if len(inside) else before.string
        joined = not string and bool(_STRUCTURAL[self.data[-1]]) if len(self.data) else before.joined and not self.pending
        self.end = Lexical(string, escaped, depth, joined)

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def text(self) -> bytes:
        """The reduced bytes."""
        return self.data.tobytes()

    def source_position(self, place: int) -> int:
        """Where a byte was before the white space was reduced."""
        return place if self._kept is None else int(np.flatnonzero(self._kept)[place])

    def state_at(self, places: Numbers) -> tuple[Flags, Numbers]:
        """Whether bytes are in strings, and how deep in objects and arrays they are; positions before the white space was reduced."""
        reduced = places - self._white.searchsorted(places) + self._stay.searchsorted(places)
        before = self._places.searchsorted(reduced)
        last = np.maximum(before - 1, 0)
        depths = self._levels[last] + (self._signs[last] == _OPENING) if len(self._levels) else np.full(len(places), self._depth)
        return self._raw_inside[places] != 0, np.where(before > 0, depths, self._depth)

    def newline_in_string(self) -> int | None:
        """Where the first raw newline in a string was before the white space was reduced."""
        raw = (self._raw == _NEWLINE) & (self._raw_inside != 0)
        first = int(raw.argmax()) if len(raw) else 0
        return first if len(raw) and raw[first] else None

    def openings(self, level: int) -> Numbers:
        """Positions of ``{`` and ``[`` that stand this deep themselves; ascending, int64."""
        return self._of(_OPENING, level)

    def closings(self, level: int) -> Numbers:
        """Positions of the ``}`` and ``]`` that end what such a bracket began."""
        return self._of(_CLOSING, level)

    def commas(self, level: int) -> Numbers:
        """Positions of the commas that stand this deep."""
        return self._of(_COMMA, level)

    def _of(self, sign: int, level: int) -> Numbers:
        found = self._cache.get((sign, level))
        if found is None:
            found = self._cache[sign, level] = self._places[(self._signs == sign) & (self._levels == level)]
        return found

    def body(self, start: int, stop: int, cuts: Numbers = _NONE, breaks: Numbers = _NONE) -> bytes:
        """Bytes of lines: newlines in place of the cuts, before the breaks, and nowhere else.

        A raw newline outside strings becomes a space; within a string, where JSON forbids it, the escape ``\\n``.

        :param cuts: positions in ``[start, stop)``; ascending.
        :param breaks: likewise.
        """
        if not self._has_newline and not len(cuts) and not len(breaks):
            return self.text[start:stop]
        part, cuts, breaks = self.data[start:stop].copy(), cuts - start, breaks - start
        if self._has_newline:
            part, raw = _on_one_line(part, self._inside[start:stop])
            cuts, breaks = (places + np.searchsorted(raw, places) for places in (cuts, breaks))
        part[cuts] = _NEWLINE
        return (np.insert(part, breaks, _NEWLINE) if len(breaks) else part).tobytes()

    @cached_property
    def _has_newline(self) -> bool:
        return bool((self.data == _NEWLINE).any())

    def _reduced(self, data: Bytes, inside: npt.NDArray[np.uint8], joined: bool) -> tuple[Bytes, npt.NDArray[np.uint8]]:
        white = data == _SPACE
        for sign in b"\n\r\t":
            white |= data == sign
        white &= inside == 0
        places = np.flatnonzero(white)
        if not len(places):
            return data, inside
        starts, ends = _runs(places)
        last = int(ends[-1]) == len(data)
        left = _STRUCTURAL[data[starts - 1]]
        left[0] = left[0] if starts[0] else joined
        stay = ~left & ~_STRUCTURAL[data.take(ends, mode="clip")]
        if last:
            stay[-1] = False
            self.pending = b"" if left[-1] else b"\n" if (data[starts[-1] :] == _NEWLINE).any() else b" "
        self._white, self._stay = places, starts[stay]
        return self._without(data, inside, white, starts[stay], ends[stay])

    def _without(
        self, data: Bytes, inside: npt.NDArray[np.uint8], white: Flags, starts: Numbers, ends: Numbers
    ) -> tuple[Bytes, npt.NDArray[np.uint8]]:
        """Without white space, but for one sign for each of these runs of it."""
        kept = ~white
        if len(starts):
            kept[starts] = True
            newlines = np.flatnonzero(white & (data == _NEWLINE))
            broken = np.searchsorted(newlines, starts) < np.searchsorted(newlines, ends)
            data = data.copy()
            data[starts] = np.where(broken, _NEWLINE, _SPACE)
        self._kept = kept
        return data[kept], inside[kept]

    def _tokens(self, depth: int) -> tuple[Numbers, Bytes, Numbers, int]:
        """Places of brackets and commas outside strings, what they are (brackets as curly ones), their levels; the depth at the end."""
        curly = self.data | _TO_CURLY
        found = curly == _OPENING
        found |= curly == _CLOSING
        found |= self.data == _COMMA
        found &= self._inside == 0
        places = np.flatnonzero(found)
        signs = self.data[places]
        signs = np.where(signs == _COMMA, signs, signs | _TO_CURLY)
        opening = signs == _OPENING
        depths = depth + np.cumsum(opening.astype(np.int64) - (signs == _CLOSING))
        return places, signs, depths - opening, int(depths[-1]) if len(depths) else depth


def _on_one_line(part: Bytes, inside: npt.NDArray[np.uint8]) -> tuple[Bytes, Numbers]:
    """Without raw newlines, and where within strings they were."""
    newline = part == _NEWLINE
    part[newline & (inside == 0)] = _SPACE
    raw = np.flatnonzero(newline & (inside != 0))
    part[raw] = ord("n")
    return np.insert(part, raw, _BACKSLASH), raw


def _runs(places: Numbers) -> tuple[Numbers, Numbers]:
    """Starts and ends (exclusive) of the runs of adjacent positions; at least one position."""
    breaks = np.flatnonzero(np.diff(places) != 1)
    return places[np.append(0, breaks + 1)], places[np.append(breaks, len(places) - 1)] + 1


def _escapes(data: Bytes, escaped: bool) -> tuple[Numbers, bool]:
    """Positions of bytes behind an odd number of backslashes, and whether the byte after the last is one."""
    first = np.zeros(int(escaped and len(data) > 0), np.int64)
    slashes = np.flatnonzero(data == _BACKSLASH)
    if len(first) and len(slashes) and slashes[0] == 0:
        slashes = slashes[1:]
    if not len(slashes):
        return first, escaped and not len(data)
    starts, ends = _runs(slashes)
    after = ends[(ends - starts) % 2 == 1]
    last = bool(len(after) and after[-1] == len(data))
    return np.concatenate((first, after[:-1] if last else after)), last


def _inside(data: Bytes, escapes: Numbers, string: bool) -> npt.NDArray[np.uint8]:
    """1 for each byte of a string, its opening quote included and its closing one not."""
    words = np.zeros(len(data) // 8 + 1, "<u8")
    inside = words.view(np.uint8)[: len(data)]
    np.equal(data, _QUOTE, out=inside.view(np.bool_))
    inside[escapes] = 0
    for shift in (8, 16, 32):  # each byte becomes the parity of those in its word up to it
        words ^= words << np.uint64(shift)
    before = np.bitwise_xor.accumulate((words >> np.uint64(56)).astype(np.uint8))
    words[1:] ^= before[:-1] * np.uint64(0x0101010101010101)
    return inside ^ np.uint8(1) if string else inside


def _continued(data: Bytes, escapes: Numbers, inside: npt.NDArray[np.uint8]) -> Bytes:
    """With the escape of a newline where a backslash stands before a raw one."""
    broken = escapes[(data[escapes] == _NEWLINE) & (inside[escapes] != 0)]
    if len(broken):
        data = data.copy()
        data[broken] = ord("n")
    return data
