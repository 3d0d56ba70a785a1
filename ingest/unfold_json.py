"""A stream of JSON documents -> one line for each event, in order and without keeping more than a stretch of it.

- An array gives its elements. An envelope, an object whose **first** member is a list named ``Records`` (CloudTrail),
  ``records`` (Azure) or ``resourceLogs`` (OTLP/JSON), gives what is in the list. Any other object is a line itself.
- White space between documents, and commas there, are no content. What begins neither an object nor an array of objects passes
  as it is, to the next newline (but for white space after a bracket at its front).
- A document that is broken off or lacks a quote ends where a line shows it (:mod:`ingest.unfold_resync`): what was read of its last
  record is a line, no other depends on it, and the next document begins there. After 10,000 such places, or runs of lines that are
  no JSON, the stream is none, and all the rest passes as it is.
- Within a line, white space next to ``{ } [ ] , :`` is taken out; elsewhere outside strings a run of it becomes one space. A raw
  newline in a string, which JSON forbids, becomes ``\\n``. All other bytes stay, whether they are JSON or not.
- Beside the list, members with a plain value (text, number, ``true``, ``false``, ``null``) are no events and are dropped. Any
  other member passes as a line of its own, ``"name":value``, which no format reads: it is seen in quarantine. So does a member
  that is broken off, be it plain, resource or scope, or longer than 64 KiB: it may hold what was no part of it.
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
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ingest.lines import Numbers
from ingest.unfold_blocks import Block, Lexical
from ingest.unfold_objects import ENVELOPE_MARKS, ENVELOPES, at_or_after, objects_from
from ingest.unfold_records import CONTEXT_BYTES, Records
from ingest.unfold_resync import WHITE, Layout

__all__ = ["BLOCK_BYTES", "ENVELOPES", "JsonUnfolder"]

BLOCK_BYTES = 256 << 10
"""As much of the stream as is looked at together."""

_Action = Literal["records", "resources", "scopes", "resource", "scope"]
_Sink = Literal["line", "drop", "resource", "scope"]

_ENVELOPE: dict[str, _Action] = {"Records": "records", "records": "records", "resourceLogs": "resources"}
_RESOURCE: dict[str, _Action] = {"resource": "resource", "scopeLogs": "scopes"}
_SCOPE: dict[str, _Action] = {"scope": "scope", "logRecords": "records"}

_ARRAY_MARKS = (b"[{", b"[]")
_OBJECT_MARKS = (b'{"', b"{}")
_ALL_MARKS = (*ENVELOPE_MARKS, *_ARRAY_MARKS, *_OBJECT_MARKS)
_LONGEST_MARK = max(map(len, _ALL_MARKS))
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
        self._after_stray = False
        self._stuck = False
        self._frames: list[_Frame] = []
        self._flow: _Sink | Literal["document"] | None = None
        self._name = b""
        self._captured = bytearray()
        self._lines = Records()
        self._layout = Layout(ENVELOPES)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What the next bytes of the stream give."""
        yield from self._read(*self._layout.take(piece))

    def finish(self) -> Iterator[bytes]:
        """What is left at the stream's end."""
        last = self._layout.last()
        text = last.rstrip(WHITE)
        yield from self._read(text, len(text))
        if self._in_stray:
            yield from self._read(last[len(text) :], len(last) - len(text))
        if self._lines.waiting and self._flow in ("document", "line"):
            yield b"\n"
        yield from self._lines.give_up()
        yield self._member_begun()
        yield self._carry.strip(b" \n").replace(b"\n", b"\\n")

    def _read(self, piece: bytes, end: int) -> Iterator[bytes]:
        """Lines of the piece up to ``end``; what is after it is looked at only."""
        at = 0
        while at < end:
            if self._in_stray and self._carry:
                yield self._stray_carry()
            elif self._in_stray:
                start, at = at, self._end_of_stray(piece, at, end)
                yield piece[start:at]
            else:
                at = yield from self._stretch(piece, at, min(at + self._window, end))

    def _stretch(self, piece: bytes, at: int, stop: int) -> Generator[bytes, None, int]:
        """Lines of a stretch of the piece; where it is to be read on."""
        if first_line := self._layout.first_line(piece, at, stop):
            stop = first_line
        source = self._carry + piece[at:stop]
        block = Block(source, self._lexical)
        broken = self._layout.first_break(piece, at, stop, block, len(self._carry))
        if broken:
            stop = broken.place + (broken.ends == "string")
            source = self._carry + piece[at:stop]
            block = Block(source, self._lexical)
        yield from self._walk(block)
        if broken and self._stray_at is None:
            yield from self._end_document(block) if broken.ends == "document" else self._end_string(block)
            return broken.place + 1
        if first_line and self._stray_at is None:
            self._layout.learn(self._stuck or bool(self._frames) or self._flow is not None, piece[stop : stop + 1])
        return stop - self._leave(block, source, stop)

    def _end_document(self, block: Block) -> Iterator[bytes]:
        """It is broken: what was read of its last record is a line, and a document begins with the next byte."""
        if self._flow in ("document", "line"):
            yield b"\n"
        elif self._frames and self._frames[-1].kind == "records":
            yield from self._lines.add(b"", ended=True)
        yield from self._lines.give_up()
        if left := self._member_begun() or (block.body(self._at, len(block)) if self._stuck else b""):
            yield left + b"\n"
        self._frames, self._flow = [], None
        self._layout.forget()
        self._begin_anew(Lexical())

    def _end_string(self, block: Block) -> Iterator[bytes]:
        """It is broken: the document goes on."""
        if self._stuck:  # within a name
            yield block.body(self._at, len(block))
            self._flow = "line"
        self._begin_anew(replace(block.end, string=False, escaped=False))

    def _begin_anew(self, lexical: Lexical) -> None:
        """Go on in another state than what was read would have it: as often as after lines that are no JSON, and as warily."""
        self._strays += 1
        self._in_stray, self._after_stray = self._strays > _MOST_STRAYS, False
        self._lexical, self._carry, self._window = lexical, b"", _AFTER_STRAY

    def _member_begun(self) -> bytes:
        """What was read of a member that would not pass, were it whole and short."""
        begun = self._flow in ("drop", "resource", "scope")
        return self._name.replace(b"\n", b"\\n") + self._captured if begun else b""

    def _stray_carry(self) -> bytes:
        """Of the bytes kept, those of the stray line."""
        line, newline, self._carry = self._carry.partition(b"\n")
        self._in_stray, self._after_stray = not newline, bool(newline)
        return line + newline

    def _end_of_stray(self, piece: bytes, at: int, end: int) -> int:
        """Where the stray line in which the piece goes on ends, with those that follow it."""
        newline = piece.find(b"\n", at, end)
        if newline < 0 or self._strays > _MOST_STRAYS:
            return end
        self._in_stray, self._after_stray = False, True
        more = _STRAY_LINES.match(piece, newline + 1, end)
        return more.end() if more else newline + 1

    def _leave(self, block: Block, source: bytes, at: int) -> int:
        """Keep what a stretch leaves open; how many bytes of the piece before ``at`` are to be read again."""
        if self._stray_at is not None:
            first = block.text[self._stray_at : self._stray_at + 1]
            rest = self._stray_at + 1 if first in b"{[" else self._stray_at
            self._strays += not (self._after_stray and block.source_position(rest) == 0)  # lines that follow each other count once
            return self._go_astray(first[: rest - self._stray_at], source[block.source_position(rest) :], at)
        self._window, self._after_stray = min(2 * self._window, BLOCK_BYTES), False
        self._lexical, self._carry = block.end, block.pending
        if self._stuck:
            self._lexical = Lexical(depth=self._frames[-1].depth if self._frames else 0)
            self._carry = block.text[self._at :] + block.pending
        return 0

    def _go_astray(self, bracket: bytes, left: bytes, at: int) -> int:
        """Begin anew after a line that is no JSON: its quotes and brackets mean nothing.

        White space after a bracket at its front, which may have come long before, is no part of it.
        """
        self._in_stray = True
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
        elif block.text.startswith(ENVELOPE_MARKS, at):
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
        lines, self._at = objects_from(block, self._at)
        if lines:
            yield lines
        else:
            self._flow = "document"

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
        cuts = at_or_after(block.commas(depth), self._at)
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
            self._act(action, block.text[key.end()], key)

    def _act(self, action: _Action | None, sign: int, key: re.Match[bytes]) -> None:
        """Go on at a member's value, which begins with this sign."""
        if action == "resource" or action == "scope":  # mypy narrows by equality only
            self._capture(action, key)
        elif action and sign in b"[":
            self._at = key.end()
            self._enter_list(action)
        elif sign in _PLAIN:
            self._capture("drop", key)
        else:
            self._flow = "line"

    def _capture(self, sink: _Sink, key: re.Match[bytes]) -> None:
        self._at, self._flow, self._name, self._captured = key.end(), sink, key[0], bytearray()

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
        else:
            self._captured += body
            if len(self._captured) > CONTEXT_BYTES:
                yield from self._value_ended(sink)
                yield self._member_begun()
                sink = self._flow = "line"
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


def _next(places: Numbers, at: int) -> int | None:
    """The first at a position or after it."""
    found = int(places.searchsorted(at))
    return int(places[found]) if found < len(places) else None
