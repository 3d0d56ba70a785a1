"""Lines -> cells between delimiters, all at once: for formats whose lines are many cells of which a header says the names.

Quoted cells are those of RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180): a quote begins a cell and one ends it, delimiters
between them are text, and two quotes there are one. A line whose quotes stand elsewhere or do not pair is told apart.

Work and memory are linear in the buffer, however many delimiters it holds.
"""

from dataclasses import dataclass

import numpy as np

from ingest.formats.template import QUOTE, Mask, Span
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["Cuts", "Quotes", "Split", "split", "without"]

_PARITY = np.array([0, 1], np.uint8)


@dataclass(frozen=True)
class Cuts:
    """Where lines may be cut.

    :param places: positions of delimiters in the buffer, ascending.
    :param runs: whether delimiters that touch count as one, and those at a line's ends not at all.
    :param most: a line with more delimiters is not cut.
    """

    places: Numbers
    runs: bool
    most: int


@dataclass(frozen=True)
class Split:
    """Cells of many lines.

    :param data: the buffer they are in: the lines' own, or a copy without the second of each two quotes that are one.
    :param span: of each cell, without the quotes around it, in the order of the lines.
    :param counts: of each line its cells; 0 where it is not cut.
    :param unpaired: lines that are not cut because their quotes do not pair.
    """

    data: Bytes
    span: Span
    counts: Numbers
    unpaired: Mask

    def of_lines(self, lines: Mask) -> Span:
        """The cells of these lines."""
        return self.span if lines.all() else self.span.take(np.repeat(lines, self.counts))


class Quotes:
    """The quotes of lines, told into those that open and those that close.

    :param places: of all quotes, ascending.
    :param before: signs after which one may open; :param after: those before which one may close, as at a line's end.
    :param cells: whether they are around whole cells: one may open at a line's start, and two between quotes are one.
    """

    def __init__(self, lines: Lines, places: Numbers, before: bytes, after: bytes, cells: bool = True) -> None:
        self.places, self.first = places, np.searchsorted(places, lines.starts)
        self.counts = np.searchsorted(places, lines.ends) - self.first
        # One entry for each quote, of which there may be as many as bytes: kept small.
        rows = np.repeat(np.arange(len(lines), dtype=np.int32), self.counts)
        at = _picked(places, self.first, self.counts)
        opens = np.repeat(((np.cumsum(self.counts) - self.counts) % 2).astype(np.uint8), self.counts) == np.resize(_PARITY, len(at))
        may_open = np.isin(lines.data.take(at - 1, mode="clip"), _codes(before))
        may_close = np.isin(lines.data.take(at + 1, mode="clip"), _codes(after))
        may_close |= at + 1 == lines.ends[rows]
        doubled = np.zeros(len(at), np.bool_)
        if cells:
            may_open |= at == lines.starts[rows]
            doubled[1:] = opens[1:] & (at[1:] == at[:-1] + 1) & (rows[1:] == rows[:-1])
            may_open |= doubled
            may_close[:-1] |= doubled[1:]
        self.unpaired: Mask = self.counts % 2 == 1
        """Lines whose quotes do not pair, or stand elsewhere."""
        self.unpaired[rows[np.where(opens, ~may_open, ~may_close)]] = True
        self.doubled: Numbers = at[doubled & ~self.unpaired[rows]]
        """Places of quotes that double the one before, in lines whose quotes pair."""

    def inside(self, places: Numbers, rows: Numbers) -> Mask:
        """Which of these places, in lines of these numbers, are between quotes."""
        odd: Mask = (np.searchsorted(self.places, places) - self.first[rows]) % 2 == 1
        return odd


def split(lines: Lines, cuts: Cuts, quotes: Quotes | None = None) -> Split:
    """Cut the lines; with ``quotes`` only outside of these."""
    low, high = np.searchsorted(cuts.places, lines.starts), np.searchsorted(cuts.places, lines.ends)
    unpaired = quotes.unpaired if quotes else np.zeros(len(lines), np.bool_)
    chosen = np.flatnonzero((high - low <= cuts.most) & ~unpaired)
    counts = (high - low)[chosen]
    rows = np.repeat(np.arange(len(chosen)), counts)
    places = _picked(cuts.places, low[chosen], counts)
    if quotes and len(quotes.places):
        outside = ~quotes.inside(places, chosen[rows])
        places, rows = places[outside], rows[outside]
        counts = np.bincount(rows, minlength=len(chosen))
    span = _between(lines.starts[chosen], lines.ends[chosen], places, counts)
    counts = counts + 1
    if cuts.runs:
        keep = span.ends > span.starts
        if not keep.all():
            counts = np.bincount(np.repeat(np.arange(len(chosen)), counts)[keep], minlength=len(chosen))
            span = span.take(keep)
    return _unquoted(lines, span, quotes, _spread(counts, chosen, len(lines)), unpaired)


def _unquoted(lines: Lines, span: Span, quotes: Quotes | None, counts: Numbers, unpaired: Mask) -> Split:
    if quotes is None or not len(quotes.places):
        return Split(lines.data, span, counts, unpaired)
    first, last = lines.data.take(span.starts, mode="clip"), lines.data.take(span.ends - 1, mode="clip")
    quoted = (first == QUOTE) & (last == QUOTE) & (span.ends - span.starts > 1)
    data, span = without(lines.data, Span(span.starts + quoted, span.ends - quoted), quotes.doubled)
    return Split(data, span, counts, unpaired)


def without(data: Bytes, span: Span, places: Numbers) -> tuple[Bytes, Span]:
    """The buffer without the bytes at these places, ascending, and where the spans are then."""
    if not len(places):
        return data, span
    return np.delete(data, places), Span(span.starts - np.searchsorted(places, span.starts), span.ends - np.searchsorted(places, span.ends))


def _between(starts: Numbers, ends: Numbers, places: Numbers, counts: Numbers) -> Span:
    """The cells that lines fall into when they are cut at ``places``, of which ``counts`` are in each."""
    cells = counts + 1
    last = np.cumsum(cells) - 1
    first = last - counts
    cell_starts, cell_ends = np.empty(len(places) + len(starts), np.int64), np.empty(len(places) + len(starts), np.int64)
    inner = np.ones(len(cell_starts), np.bool_)
    inner[first] = False
    cell_starts[first], cell_starts[inner] = starts, places + 1
    inner[first] = True
    inner[last] = False
    cell_ends[last], cell_ends[inner] = ends, places
    return Span(cell_starts, cell_ends)


def _codes(signs: bytes) -> Bytes:
    return np.frombuffer(signs, np.uint8)


def _picked(places: Numbers, first: Numbers, counts: Numbers) -> Numbers:
    """Of ascending places those from each ``first`` on, as many as ``counts`` says."""
    total = int(counts.sum())
    if total in (0, len(places)):
        return places[:total]
    before = np.cumsum(counts) - counts
    picked: Numbers = places[np.arange(total) + np.repeat(first - before, counts)]
    return picked


def _spread(values: Numbers, places: Numbers, count: int) -> Numbers:
    if len(places) == count:
        return values
    spread = np.zeros(count, np.int64)
    spread[places] = values
    return spread
