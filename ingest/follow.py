"""A file met again: what of it has been read already, and what is new.

- Every byte of the file is in one event, in order: read before (:class:`Repeated`) or new (:class:`Fresh`); and every line
  is counted once, one that was read before but has no end yet as :class:`Unfinished`: ``sum(lines)`` of all three is the
  number of lines in the file.
- Nothing is believed by name, size or date: known spans are compared with the actual bytes, by digest. Of several known
  sources the one that agrees longest wins.
- Where the file differs from what is known (truncated and rewritten, restored from an older copy), the equal lines before
  are repeated, and from the first different line on it is a new source, a branch of the known one. A file that shares with
  a known one no more than the head is another file: one equal line is no evidence.
- Lazy: a chunk is read when it is asked for. The caller remembers a span only once its batch is stored whole, and does so
  in order: a crash then leaves a clean prefix, and the batch it cost is fresh again.
- Memory: one chunk, or one known span, whichever is longer.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from ingest.batches import RAW_BYTES, Chunk, Chunker, Limits, OpenLine, line_digests, newlines_of, pieces_of
from ingest.identity import HEAD_BYTES, HEADLESS, Branch, KnownSource, Span, batch_id, head_fingerprint, head_length, source_id
from ingest.lines import Bytes
from ingest.sources import Reader

__all__ = ["Event", "Fresh", "Place", "Repeated", "Unfinished", "follow", "go_on"]

Lookup = Callable[[str], Iterable[KnownSource]]


@dataclass(frozen=True)
class Repeated:
    """A range that was read before: nothing to store.

    :param source: id of a known source that has it.
    :param lines: lines in it.
    :param raw: its bytes, for those who need what the lines left behind; ``None`` when it has none. A view: let it go soon.
    """

    source: str
    start: int
    end: int
    lines: int
    raw: Bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Fresh:
    """A chunk to store as one batch, then to remember as a span of its source.

    :param source: id of the source the chunk belongs to.
    :param new: whether that source is not known yet: it is to be remembered under ``key``.
    :param key: the file's head fingerprint.
    :param branch: for a new source that shares its beginning with a known one, the spans to copy; else ``None``.
    """

    source: str
    new: bool
    key: str
    branch: Branch | None
    chunk: Chunk

    @property
    def batch(self) -> str:
        """The batch's id."""
        return batch_id(self.source, self.chunk.start, self.chunk.end, self.chunk.digest)


@dataclass(frozen=True)
class Unfinished:
    """The beginning of an over-long line, read before and not counted yet: the source ends in it, so its end is still to come.

    :param start: offset of its first byte in the source.
    :param length: bytes of it so far.
    """

    start: int
    length: int
    lines: int = 1


Event = Repeated | Fresh | Unfinished


@dataclass(frozen=True)
class Place:
    """Where a source stands: all of it before is remembered, and whoever knows that the bytes are the same can go on here.

    :param source: its id.
    :param key: its head fingerprint.
    :param end: offset of the byte after the last that was read.
    :param opened: the line that is open there, if one is.
    """

    source: str
    key: str
    end: int
    opened: OpenLine | None


def follow(
    reader: Reader, lookup: Lookup, limits: Limits | None = None, told: Callable[[int, Place | None], None] = lambda *_: None
) -> Iterator[Event]:
    """What a source brings, compared with the known ones.

    :param reader: at the source's first byte.
    :param lookup: the known sources that were stored under a head fingerprint, as they are at the time of the call.
    :param told: is called once all that was read before has been given, with its end; and the place, when that is the whole of a
        known source.
    :raises AuditlakeError: the source ended early (damage); after everything before.
    """
    replay = _Replay(reader, lookup)
    yield from replay.run()
    match, opened = replay.match, replay.opened()
    told(match.end, Place(match.source, replay.key, match.end, opened) if match.complete else None)
    yield from _fresh(reader, match, replay.key, opened, limits or Limits())
    reader.check()


def go_on(reader: Reader, place: Place, limits: Limits | None = None) -> Iterator[Event]:
    """What a source brings after a place, none of the bytes before being looked at.

    :param reader: at that place.
    :raises AuditlakeError: as :func:`follow`.
    """
    counted = place.opened is None or place.opened.counted
    match = _Match(place.end, place.source, complete=True, counted=counted)
    yield from _fresh(reader, match, place.key, place.opened, limits or Limits())
    reader.check()


def _fresh(reader: Reader, match: "_Match", key: str, opened: OpenLine | None, limits: Limits) -> Iterator[Event]:
    """What follows the bytes that were read before."""
    origin = _Origin(match, key)
    if opened and reader.at_end():
        yield Repeated(match.source, match.end, match.end, 1) if opened.counted else Unfinished(opened.start, opened.length)

    def told(chunk: Chunk) -> list[Event]:
        nothing_new = chunk.ends_open_line and not chunk.lines and reader.at_end()
        closed = [Repeated(match.source, chunk.start, chunk.end if nothing_new else chunk.start, 1)] * chunk.ends_open_line
        return [*closed] if nothing_new else [*closed, origin.fresh(chunk)]

    yield from chain.from_iterable(map(told, Chunker(reader, limits, opened)))  # no chunk is held while the next is read


@dataclass(frozen=True)
class _Match:
    """How far a known source agrees with the file.

    :param end: up to this offset.
    :param whole: how many of its spans agree whole.
    :param partial: what agrees of the next.
    :param complete: whether all that was stored of it agrees, so that the file goes on where it ends.
    :param counted: whether the line that is open at ``end``, if one is, has been counted.
    """

    end: int = 0
    source: str = ""
    whole: int = 0
    partial: Span | None = None
    complete: bool = False
    counted: bool = True

    @property
    def rank(self) -> tuple[int, bool]:
        return self.end, self.complete


class _Origin:
    """Names the source that fresh chunks belong to."""

    def __init__(self, match: _Match, key: str) -> None:
        self._match = match
        self._key = key
        self._source = match.source if match.complete else ""

    def fresh(self, chunk: Chunk) -> Fresh:
        match = self._match
        if self._source:
            return Fresh(self._source, False, self._key, None, chunk)
        self._source = source_id(self._key, match.source, match.end, chunk.digest)
        branch = Branch(match.source, match.whole, match.partial) if match.source else None
        return Fresh(self._source, True, self._key, branch, chunk)


class _Candidate:
    """A known source that has agreed so far."""

    def __init__(self, known: KnownSource) -> None:
        self.id = known.id
        self._spans = known.spans
        self._whole = 0
        self._end = 0
        self._counted = True
        self.span: Span | None = None
        self._load()

    def _load(self) -> None:
        self.span = self._spans[self._whole] if self._whole < len(self._spans) else None

    def advance(self) -> None:
        """The current span agrees whole."""
        assert self.span is not None
        self._counted = self.span.terminated or self.span.lines > 0
        self._whole, self._end = self._whole + 1, self.span.end
        self._load()

    def match(self) -> _Match:
        """With the spans before the current one."""
        return _Match(self._end, self.id, self._whole, None, self.span is None, self._counted)

    def match_partly(self, actual: Bytes, at_end: bool) -> _Match:
        """With those lines at the front of the current span that are equal.

        :param actual: the file's bytes in the span's range.
        :param at_end: whether the file ends with them.
        """
        assert self.span is not None
        pieces, size = _equal_lines(actual, at_end, self.span.line_digests)
        if pieces == 0:
            return self.match()
        return _Match(self._end + size, self.id, self._whole, _front(self.span, actual[:size], pieces))


def _front(span: Span, actual: Bytes, pieces: int) -> Span:
    """The part of a span that holds its first pieces."""
    digests = span.line_digests[: 4 * pieces]
    lines = pieces - (len(span.line_digests) // 4 - span.lines)
    return Span(span.start, span.start + len(actual), hashlib.sha256(actual.data).hexdigest(), lines, digests, bool(actual[-1] == 0x0A))


def _equal_lines(actual: Bytes, at_end: bool, stored: bytes) -> tuple[int, int]:
    """How many whole lines at the front are those of the stored digests, and their bytes."""
    newlines = newlines_of(actual)
    starts, ends = pieces_of(actual, newlines)
    known = np.frombuffer(stored, dtype="<u4")
    count = min(len(known), len(starts) if at_end else len(newlines))
    different = np.flatnonzero(line_digests(actual, starts[:count], ends[:count]) != known[:count])
    equal = int(different[0]) if len(different) else count
    return equal, min(int(ends[equal - 1]) + 1, len(actual)) if equal else 0


class _Replay:
    """Compares the front of a file with known sources; leaves the reader after the last byte that agrees."""

    def __init__(self, reader: Reader, lookup: Lookup) -> None:
        self.match = _Match()
        self._reader = reader
        first = reader.read(HEAD_BYTES)
        self._window = np.frombuffer(first, dtype=np.uint8)
        self._base = 0
        self._told = 0
        self._line = _LineInProgress()
        self.key = head_fingerprint(first)
        self._head = head_length(first) or 0
        self._last_line = first.rfind(b"\n") + 1 if len(first) < HEAD_BYTES else -1
        self._alive = [candidate for known in self._known(lookup) if (candidate := self._admit(known))]

    def _known(self, lookup: Lookup) -> Iterator[KnownSource]:
        seen = set()
        for key in dict.fromkeys((self.key, HEADLESS)) if len(self._window) else ():
            for known in lookup(key):
                if known.id not in seen:
                    seen.add(known.id)
                    yield known

    def _admit(self, known: KnownSource) -> _Candidate | None:
        """The candidate, unless the first bytes tell already that not even its first span agrees: most are told so."""
        candidate = _Candidate(known)
        if candidate.span is None:
            return None
        front = self._window[: candidate.span.end]
        at_end = len(self._window) < min(HEAD_BYTES, candidate.span.end)
        pieces, _ = _equal_lines(front, at_end, candidate.span.line_digests)
        if pieces >= min(len(newlines_of(front)), len(candidate.span.line_digests) // 4) and not at_end:
            return candidate
        self._consider(candidate.match_partly(front, at_end))
        return None

    def _consider(self, match: _Match) -> None:
        """Take the match if it is the best so far, and evident: of a source's spans, or more than the head, or all there is."""
        evident = match.whole or match.end > self._head or match.end >= self._last_line >= 1
        if evident and match.rank > self.match.rank:
            self.match = match

    def run(self) -> Iterator[Repeated]:
        """The ranges that were read before; then the reader stands after them."""
        while self._alive:
            candidate = min(self._alive, key=lambda one: one.span.end if one.span else 0)
            if self._advance(candidate):
                yield from self._tell(candidate.match())
        yield from self._tell(self.match)
        self._reader.unread(self._window[self.match.end - self._base :].tobytes())
        self._window = np.empty(0, dtype=np.uint8)

    def _advance(self, candidate: _Candidate) -> bool:
        """Compare its current span; whether one more agrees."""
        span = candidate.span
        assert span is not None
        actual = self._bytes(span)
        agrees = hashlib.sha256(actual.data).hexdigest() == span.digest
        if agrees:
            candidate.advance()
        if candidate.span is None or not agrees:
            self._alive.remove(candidate)
            at_end = len(actual) < span.end - span.start
            self._consider(candidate.match() if agrees else candidate.match_partly(actual, at_end))
        return agrees

    def _bytes(self, span: Span) -> Bytes:
        """The file's bytes in the span's range; keeps those that another candidate still needs."""
        base = min(one.span.start for one in self._alive if one.span)
        kept = self._window[base - self._base :]
        missing = max(0, span.end - base - len(kept))
        if missing:
            window = np.empty(len(kept) + missing, dtype=np.uint8)
            window[: len(kept)] = kept
            kept = window[: len(kept) + self._reader.readinto(window[len(kept) :].data)]
        self._window, self._base = kept, base
        return kept[span.start - base : span.end - base]

    def _tell(self, match: _Match) -> Iterator[Repeated]:
        if match.end > self._told:
            told = self._window[self._told - self._base : match.end - self._base]
            newlines = newlines_of(told)
            yield Repeated(match.source, self._told, match.end, len(newlines), told)
            self._line.feed(told, int(newlines[-1]) if len(newlines) else -1)
            self._told = match.end

    def opened(self) -> OpenLine | None:
        """The line that is open where the agreement ends."""
        line = self._line
        return OpenLine(self._told - line.length, line.length, line.head, self.match.counted) if line.length else None


class _LineInProgress:
    """The line that is not ended by the bytes fed so far."""

    def __init__(self) -> None:
        self.length = 0
        self.head = b""

    def feed(self, data: Bytes, newline: int) -> None:
        """:param newline: position of the last newline in the data; -1 when there is none."""
        if newline >= 0:
            self.length, self.head = 0, b""
        tail = data[newline + 1 :]
        self.length += len(tail)
        self.head = (self.head + tail[:RAW_BYTES].tobytes())[:RAW_BYTES]
