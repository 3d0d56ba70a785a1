"""Where a damaged stream of JSON documents can be read on: lines at which a document begins, or a string ends, whatever came before.

JSON has no mark of a document's beginning, so a missing quote or a document cut short would take all that follows with it. A writer
however keeps to one layout, and from the stream's first document it is known. A line that begins (without white space before it) with
``{`` or ``[`` while a document is open begins a new one, and the open one is broken,

- within a string: JSON has no raw newline there;
- when the first document ended on the line it began on, or its second line is indented: lines within such a document, if there
  are any, begin with white space or a closing bracket;
- and in any layout, when it begins as the first document did, sign by sign, and that is an envelope.

Where the first document is broken before its layout is known, the next one tells. A line within a string, indented or not, that begins
as a member of an object does (``"name":``, which can be in no string), or holds nothing but a bracket or two, ends that string, and
the document goes on there: so a quote that is missing in a document of many lines costs little more than the record it is missing in.

What is told depends on the bytes only, not on how they come. So the last few may have to wait for the next.
"""

import re
from typing import Literal, NamedTuple

import numpy as np

from ingest.lines import Numbers
from ingest.unfold_blocks import Block

__all__ = ["WHITE", "Break", "Layout"]

WHITE = b" \t\r\n"
"""White space of JSON."""

_HEAD_BYTES = 256
_NEWLINE = 0x0A
_OPENING, _TO_CURLY = 0x7B, 0x20
_NAME = rb"[A-Za-z0-9_.@$/-]"
_LINE_END = re.compile(rb"\n(?![\r\n])")
_NO_TEXT = re.compile(rb'\n[ \t]{0,64}+(?:"%s{1,64}+"[ \t]{0,8}+:|[][{}]{1,2}+,?+\r?+(?=\n))' % _NAME)
_NO_TEXT_BEGUN = re.compile(rb'\n[ \t]{0,64}+(?:"%s{0,64}+(?:"[ \t]{0,8}+)?+|[][{}]{1,2}+,?+\r?+)?+\Z' % _NAME)
_NO_TEXT_BYTES = 1 + 64 + 66 + 9


class Break(NamedTuple):
    """A newline after which the stream is not read as what is before it would have it.

    :param place: of the newline, in the piece.
    :param ends: the document, or only the string that is open.
    """

    place: int
    ends: Literal["document", "string"]


class Layout:
    """What is known of how the stream is written; and the bytes that wait for more before anything can be told of them."""

    def __init__(self, envelopes: tuple[str, ...]) -> None:
        """Nothing is known yet.

        :param envelopes: the names of the lists that make an object an envelope.
        """
        names = "|".join(envelopes).encode()
        self._envelope = re.compile(rb'\{[ \t\r\n]*+"(?:%s)"[ \t\r\n]*+:[ \t\r\n]*+\[' % names)
        self._mark: bytes | None = None
        self._held = b""
        self._in_lines = False
        self._known = False

    def take(self, piece: bytes) -> tuple[bytes, int]:
        """The bytes that waited and the next ones; and where those begin that must wait now."""
        text = self._held + piece if self._held else piece
        if self._mark is None:
            text = text.lstrip(WHITE)
            envelope = self._envelope.match(text[:_HEAD_BYTES])
            if envelope is None and len(text) < _HEAD_BYTES:
                self._held = text
                return b"", 0
            self._mark = b"\n" + envelope[0] if envelope else b""
        wait = len(text) - self._undecided(text)
        self._held = text[wait:]
        return text, wait

    def last(self) -> bytes:
        """The bytes that wait, at the stream's end."""
        held, self._held = self._held, b""
        return held

    def _undecided(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of what ends a document or a string."""
        mark = self._mark or b"\n"
        begun = next((size for size in range(min(len(mark) - 1, len(text)), 1, -1) if text.endswith(mark[:size])), 0)
        end = text[-_NO_TEXT_BYTES:]
        begun_line = _NO_TEXT_BEGUN.search(end)
        return max(begun, len(end) - begun_line.start() if begun_line else 0)

    def first_line(self, piece: bytes, at: int, stop: int) -> int | None:
        """Where the line ends that tells the layout, with empty ones after it; none when it is known, or not in this stretch."""
        newline = None if self._known else _LINE_END.search(piece, at, stop + 1)
        return newline.end() if newline and newline.end() <= stop else None

    def forget(self) -> None:
        """The document that told the layout is broken: unless its lines are known to be of the kind, the next one tells."""
        self._known = self._in_lines

    def learn(self, within: bool, following: bytes) -> None:
        """The first document's first line has ended.

        :param within: whether the document goes on.
        :param following: the first byte of the next line.
        """
        self._in_lines = not within or following in (b" ", b"\t")
        self._known = True

    def first_break(self, piece: bytes, at: int, stop: int, block: Block, before: int) -> Break | None:
        """The first in a stretch of a piece.

        :param block: the stretch, with this many bytes ``before`` it.
        """
        if piece.find(b"\n", at, stop) < 0:
            return None
        offset = before - at
        place = self._broken_document(piece, at, stop, block, offset)
        ended = _ended_string(piece, stop if place is None else place, block, offset)
        if ended is not None:
            return Break(ended, "string")
        return None if place is None else Break(place, "document")

    def _broken_document(self, piece: bytes, at: int, stop: int, block: Block, offset: int) -> int | None:
        places = _before_brackets(piece, at, stop)
        inside, depths = block.state_at(places + offset)
        broken = places[inside | (depths > 0) if self._in_lines else inside]
        if not self._in_lines and self._mark:
            again = _found(re.compile(re.escape(self._mark)), piece, at, stop, len(self._mark))
            broken = np.sort(np.append(broken, again[block.state_at(again + offset)[1] > 0]))
        return int(broken[0]) if len(broken) else None


def _before_brackets(piece: bytes, at: int, stop: int) -> Numbers:
    """Positions of the newlines before lines that begin with ``{`` or ``[``."""
    after = np.frombuffer(piece, np.uint8)[at + 1 : stop + 1]
    data = np.frombuffer(piece, np.uint8)[at : at + len(after)]
    return np.flatnonzero((data == _NEWLINE) & ((after | _TO_CURLY) == _OPENING)) + at


def _ended_string(piece: bytes, stop: int, block: Block, offset: int) -> int | None:
    """The first newline in a string before a line that is no text."""
    raw = block.newline_in_string()
    if raw is None or raw - offset >= stop:
        return None
    places = _found(_NO_TEXT, piece, raw - offset, stop, _NO_TEXT_BYTES)
    within = places[block.state_at(places + offset)[0]]
    return int(within[0]) if len(within) else None


def _found(pattern: re.Pattern[bytes], piece: bytes, at: int, stop: int, longest: int) -> Numbers:
    """Where what is found begins, in the stretch; it may end this many bytes after its beginning."""
    return np.array([found.start() for found in pattern.finditer(piece, at, stop + longest) if found.start() < stop], np.int64)
