"""A stream of JSON documents -> one line for each event, in order and without keeping more than a stretch of it.

- An array gives its elements. An envelope, an object whose **first** member is a list named ``Records`` (CloudTrail),
  ``records`` (Azure) or ``resourceLogs`` (OTLP/JSON), gives what is in the list. Any other object is a line itself.
- White space between documents, and commas there, are no content. What begins neither an object nor an array of objects passes
  as it is, to the next newline (but for white space after a bracket at its front); after 10,000 such
  places the stream is no JSON, and all the rest passes so.
- Within a line, white space next to ``{ } [ ] , :`` is taken out; elsewhere outside strings a run of it becomes one space. A raw
  newline in a string, which JSON forbids, becomes ``\\n``. All other bytes stay, whether they are JSON or not.
- Beside the list, members with a plain value (text, number, ``true``, ``false``, ``null``) are no events and are dropped. Any
  other member passes as a line of its own, ``"name":value``, which no format reads: it is seen in quarantine.
- A log record of OTLP/JSON becomes ``{"resource":{...},"scope":{...},"logRecord":{...}}``; what has no resource or no scope lacks
  that member. Records that come before their resource or scope wait for it, and pass without it when it is too late or too
  long (:mod:`ingest.unfold_records`).
- A stream that ends within a line leaves that line without its newline.

Records pass piecewise: none is held whole, however long it is. Brackets are only counted, so nesting costs nothing; and they are not
matched: what closes a list may be a ``}``.

Sources: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html,
https://learn.microsoft.com/azure/azure-monitor/essentials/resource-logs-blob-format and
https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ingest.lines import Numbers
from ingest.unfold_blocks import Block, Flags, Lexical
from ingest.unfold_records import CONTEXT_BYTES, Records

__all__ = ["BLOCK_BYTES", "ENVELOPES", "JsonUnfolder"]

BLOCK_BYTES = 256 << 10
"""As much of the stream as is looked at together."""
ENVELOPES = ("Records", "records", "resourceLogs")
"""Names of the lists that hold events."""

_Action = Literal["records", "resources", "scopes", "resource", "scope"]
_Sink = Literal["line", "drop", "resource", "scope"]

_ENVELOPE: dict[str, _Action] = {"Records": "records", "records": "records", "resourceLogs": "resources"}
_RESOURCE: dict[str, _Action] = {"resource": "resource", "scopeLogs": "scopes"}
_SCOPE: dict[str, _Action] = {"scope": "scope", "logRecords": "records"}

_MARKS = tuple(b'{"%s":[' % name.encode() for name in ENVELOPES)
_ENVELOPE_AT = re.compile(b"|".join(map(re.escape, _MARKS)))
_ARRAY_MARKS = (b"[{", b"[]")
_OBJECT_MARKS = (b'{"', b"{}")
_ALL_MARKS = (*_MARKS, *_ARRAY_MARKS, *_OBJECT_MARKS)
_LONGEST_MARK = max(map(len, _ALL_MARKS))
_KEYS = tuple(b'"%s"' % name.encode() for name in ENVELOPES)
_CURLY, _CURLY_END, _QUOTE, _COMMA, _NEWLINE, _SPACE = b'{}",\n '
_BETWEEN = re.compile(rb"[ \n,]*+")
_STRAY_LINES = re.compile(rb"(?:[^\s,\[{][^\n]*+\n)++")
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)":', re.DOTALL)
_KEY_BEGUN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:\\|"|)', re.DOTALL)
_KEY_BYTES = 64 << 10
_PLAIN = b'"-0123456789tfn'
_AFTER_STRAY = 4 << 10
_MOST_STRAYS = 10_000


@dataclass
class _Frame:
    """An object or list that the stream is in."""

    depth: int
    kind: Literal["members", "objects", "records"]
    actions: Mapping[str, _Action] = field(default_factory=dict)


class JsonUnfolder:
    """Takes the stream piece by piece and gives the lines, whole or in parts; how it is cut does not change them."""

    def __init__(self) -> None:
        self._lexical = Lexical()
        self._carry = b""
        self._window = BLOCK_BYTES
        self._at = 0
        self._stray_at: int | None = None
        self._in_stray = False
        self._strays = 0
        self._stuck = False
        self._frames: list[_Frame] = []
        self._flow: _Sink | Literal["document"] | None = None
        self._captured = bytearray()
        self._lines = Records()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What the next bytes of the stream give."""
        at = 0
        while at < len(piece):
            if self._in_stray and self._carry:
                yield self._stray_carry()
            elif self._in_stray:
                start, at = at, self._end_of_stray(piece, at)
                yield piece[start:at]
            else:
                source = self._carry + piece[at : at + self._window]
                at = min(at + self._window, len(piece))
                block = Block(source, self._lexical)
                yield from self._walk(block)
                at -= self._leave(block, source, at)

    def finish(self) -> Iterator[bytes]:
        """What is left at the stream's end."""
        yield self._carry.strip(b" \n")
        yield from self._lines.give_up()

    def _stray_carry(self) -> bytes:
        """Of the bytes kept, those of the stray line."""
        line, newline, self._carry = self._carry.partition(b"\n")
        self._in_stray = not newline
        return line + newline

    def _end_of_stray(self, piece: bytes, at: int) -> int:
        """Where the stray line in which the piece goes on ends, with those that follow it."""
        newline = piece.find(b"\n", at)
        if newline < 0 or self._strays > _MOST_STRAYS:
            return len(piece)
        self._in_stray = False
        more = _STRAY_LINES.match(piece, newline + 1)
        return more.end() if more else newline + 1

    def _leave(self, block: Block, source: bytes, at: int) -> int:
        """Keep what a stretch leaves open; how many bytes of the piece before ``at`` are to be read again."""
        if self._stray_at is not None:
            first = block.text[self._stray_at : self._stray_at + 1]
            rest = self._stray_at + 1 if first in b"{[" else self._stray_at
            return self._go_astray(first[: rest - self._stray_at], source[block.source_position(rest) :], at)
        self._window = min(2 * self._window, BLOCK_BYTES)
        self._lexical, self._carry = block.end, block.pending
        if self._stuck:
            self._lexical = Lexical(depth=self._frames[-1].depth if self._frames else 0)
            self._carry = block.text[self._at :] + block.pending
        return 0

    def _go_astray(self, bracket: bytes, left: bytes, at: int) -> int:
        """Begin anew after a line that is no JSON: its quotes and brackets mean nothing.

        White space after a bracket at its front, which may have come long before, is no part of it.
        """
        self._in_stray, self._strays = True, self._strays + 1
        self._lexical, self._window = Lexical(), _AFTER_STRAY
        again = min(len(left), at)
        self._carry = bracket + left[: len(left) - again]
        return again

    # ----------------------------------------------------------------------------------------------------- the walk

    def _walk(self, block: Block) -> Iterator[bytes]:
        self._at, self._stray_at, self._stuck = 0, None, False
        while self._at < len(block) and not self._stuck and self._stray_at is None:
            if self._flow == "document":
                yield from self._document(block)
            elif self._flow:
                yield from self._value(block, self._flow)
            elif not self._frames:
                yield from self._top(block)
            elif self._frames[-1].kind == "records":
                yield from self._records(block, self._frames[-1].depth)
            else:
                yield from self._inside(block, self._frames[-1])

    def _top(self, block: Block) -> Iterator[bytes]:
        """Between documents."""
        between = _BETWEEN.match(block.text, self._at)
        self._at = at = between.end() if between else self._at
        if at == len(block):
            return
        if len(block) - at < _LONGEST_MARK and any(mark.startswith(block.text[at:]) and at + len(mark) > len(block) for mark in _ALL_MARKS):
            self._stuck = True
        elif block.text.startswith(_MARKS, at):
            self._enter("members", _ENVELOPE)
        elif block.text.startswith(_ARRAY_MARKS, at):
            self._lines.begin(wrapped=False)
            self._enter("records")
        elif block.text.startswith(_OBJECT_MARKS, at):
            yield from self._documents(block)
        else:
            self._stray_at = at

    def _enter(self, kind: Literal["members", "objects", "records"], actions: Mapping[str, _Action] | None = None) -> None:
        self._frames.append(_Frame(len(self._frames) + 1, kind, actions or {}))
        self._at += 1

    def _documents(self, block: Block) -> Iterator[bytes]:
        """All objects from here on that follow each other and end in this stretch; or the beginning of one."""
        starts = _from(block.openings(0), self._at)
        ends = _from(block.closings(0), self._at)
        starts, ends = starts[: len(ends)], ends[: len(starts)]
        good = _is_object(block, starts) & ~_is_envelope(block, starts)
        good[1:] &= _close_together(block, ends[:-1], starts[1:])
        count = len(good) if good.all() else int(np.argmin(good))
        if count == 0:
            self._flow = "document"
            return
        self._at = int(ends[count - 1]) + 1
        yield _each_on_its_line(block, starts[:count], ends[:count])

    def _document(self, block: Block) -> Iterator[bytes]:
        """An object that is a line: to its end, or the stretch's."""
        end = _next(block.closings(0), self._at)
        stop = len(block) if end is None else end + 1
        yield block.body(self._at, stop)
        self._at = stop
        if end is not None:
            self._flow = None
            yield b"\n"

    def _records(self, block: Block, depth: int) -> Iterator[bytes]:
        """Elements of a list, each a line: to the list's end, or the stretch's."""
        end = _next(block.closings(depth - 1), self._at)
        stop = len(block) if end is None else end
        cuts = _from(block.commas(depth), self._at)
        body = block.body(self._at, stop, cuts[: cuts.searchsorted(stop)])
        self._at = stop
        if end is not None:
            self._frames.pop()
            self._at += 1
        yield from self._lines.add(body, ended=end is not None)

    def _inside(self, block: Block, frame: _Frame) -> Iterator[bytes]:
        """Before a member of an object, or an object of a list."""
        sign = block.text[self._at]
        if sign in b"}]":
            self._frames.pop()
            self._at += 1
            yield from self._closed(frame)
        elif sign in b", \n":
            self._at += 1
        elif frame.kind == "objects" and sign in b"{":
            self._enter("members", frame.actions)
            self._opened(frame)
        elif frame.kind == "members" and sign in b'"':
            self._member(block, frame)
        else:
            self._flow = "line"

    def _opened(self, frame: _Frame) -> None:
        if frame.actions is _RESOURCE:
            self._lines.enter_resource()
        else:
            self._lines.enter_scope()

    def _closed(self, frame: _Frame) -> Iterator[bytes]:
        if frame.kind == "members" and frame.actions is _SCOPE:
            yield from self._lines.leave_scope()
        elif frame.kind == "members" and frame.actions is _RESOURCE:
            yield from self._lines.leave_resource()

    def _member(self, block: Block, frame: _Frame) -> None:
        key = _KEY.match(block.text, self._at)
        short = len(block) - self._at < _KEY_BYTES
        if key is None or len(key[1]) > _KEY_BYTES:
            self._stuck = short and _KEY_BEGUN.fullmatch(block.text, self._at) is not None
            self._flow = None if self._stuck else "line"
        elif key.end() == len(block):
            self._stuck = True
        else:
            action = frame.actions.get(key[1].decode("utf-8", "replace"))
            self._act(action, block.text[key.end()], key.end())

    def _act(self, action: _Action | None, sign: int, value: int) -> None:
        """Go on at a member's value, which begins with this sign."""
        if action == "resource" or action == "scope":  # mypy narrows by equality only
            self._at, self._flow, self._captured = value, action, bytearray()
        elif action and sign in b"[":
            self._at = value
            self._enter_list(action)
        elif sign in _PLAIN:
            self._at, self._flow = value, "drop"
        else:
            self._flow = "line"

    def _enter_list(self, action: _Action) -> None:
        if action == "records":
            self._lines.begin(wrapped=self._frames[-1].actions is _SCOPE)
            self._enter("records")
        else:
            self._enter("objects", _RESOURCE if action == "resources" else _SCOPE)

    def _value(self, block: Block, sink: _Sink) -> Iterator[bytes]:
        """A member's value, or anything that is none: to the next comma or the end of what it is in."""
        depth = self._frames[-1].depth
        ends = [_next(block.commas(depth), self._at), _next(block.closings(depth - 1), self._at)]
        stop = min((end for end in ends if end is not None), default=len(block))
        if sink == "drop":
            opening = _next(block.openings(depth), self._at)
            if opening is not None and opening < stop:  # more than a plain value
                self._at, self._flow = opening, "line"
                return
        body = block.body(self._at, stop)
        self._at = stop
        if sink == "line":
            yield body
        elif sink != "drop" and len(self._captured) <= CONTEXT_BYTES:
            self._captured += body
        if any(end is not None for end in ends):
            self._flow = None
            yield from self._value_ended(sink)

    def _value_ended(self, sink: _Sink) -> Iterator[bytes]:
        if sink == "line":
            yield b"\n"
        elif sink == "resource":
            yield from self._lines.know_resource(bytes(self._captured))
        elif sink == "scope":
            self._lines.know_scope(bytes(self._captured))


def _from(places: Numbers, at: int) -> Numbers:
    """Those at a position or after it."""
    return places[places.searchsorted(at) :]


def _next(places: Numbers, at: int) -> int | None:
    """The first at a position or after it."""
    found = int(places.searchsorted(at))
    return int(places[found]) if found < len(places) else None


def _is_object(block: Block, starts: Numbers) -> Flags:
    """Which of these brackets, each closed in the stretch, begin an object."""
    second = block.data[starts + 1]
    objects: Flags = (block.data[starts] == _CURLY) & ((second == _QUOTE) | (second == _CURLY_END))
    return objects


def _is_envelope(block: Block, starts: Numbers) -> Flags:
    """Which of these brackets begin an envelope."""
    if not any(key in block.text for key in _KEYS):
        return np.zeros(len(starts), np.bool_)
    return np.isin(starts, [found.start() for found in _ENVELOPE_AT.finditer(block.text)])


def _close_together(block: Block, ends: Numbers, starts: Numbers) -> Flags:
    """Where nothing but one comma or white space, at most, is between the end of one and the start of the next."""
    gap = starts - ends - 1
    between = block.data[ends + 1]
    together: Flags = (gap == 0) | ((gap == 1) & ((between == _COMMA) | (between == _NEWLINE) | (between == _SPACE)))
    return together


def _each_on_its_line(block: Block, starts: Numbers, ends: Numbers) -> bytes:
    """Objects that are close together, a newline after each."""
    after = ends[:-1] + 1
    apart = starts[1:] != after
    return block.body(int(starts[0]), int(ends[-1]) + 1, after[apart], after[~apart]) + b"\n"
