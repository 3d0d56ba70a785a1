r"""logfmt: ``key=value`` pairs between blanks, as Heroku's router and many Go programs write them.

What it promises beyond :mod:`ingest.formats.base` and :mod:`ingest.formats.keyed`:

- A value is bare or in quotes, where ``\"`` and ``\\`` are decoded, once; other escapes stay as logged, and so does a backslash
  in a bare value. A key without ``=`` is ``true``, and a label whatever its name.
- Keys mean what :mod:`ingest.formats.synonyms` says; the others are labels. A key given twice makes the line ambiguous: it is rejected.
- A line without a time is rejected: lines that take theirs from what is around them (Heroku's drains) are those of a wrapper.
- Heroku's ``fwd`` is X-Forwarded-For with the client's own address at the end: ``source_address``. ``service`` is the duration;
  ``connect`` is a label.

Source: https://brandur.org/logfmt and https://devcenter.heroku.com/articles/http-routing#heroku-router-log-format.
"""

from dataclasses import dataclass, replace

import numpy as np

from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.keyed import Members, assemble
from ingest.formats.layouts import collect, good_columns
from ingest.formats.splitting import Cuts, Quotes, Split, split, without
from ingest.formats.synonyms import SYNONYMS, keys_of
from ingest.formats.template import BACKSLASH, QUOTE, Marks, Mask, Span
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Lines, Numbers

__all__ = ["LOGFMT", "Logfmt"]

_BLANKS, _EQUALS = b" \t", b"="
_UNPAIRED = "quotes do not pair"
_MOST_PAIRS = 4096
_DENSE = 8
"""Where a place for each key of each line is no more than so many times the pairs, it is looked at instead of sorted."""


@dataclass(frozen=True)
class Logfmt:
    """logfmt; see :class:`ingest.formats.base.Format`.

    :param zone: IANA name of the zone of times that name none.
    """

    name: str = "logfmt"
    description: str = "logfmt: key=value pairs, as Heroku's router and Go programs write them"
    source: str = "https://brandur.org/logfmt"
    sample: str = (
        'time=2000-10-10T20:55:36Z at=info method=GET path="/apache_pb.gif" host=www.example.com '
        'request_id=8601b555-6a83-4c12-8269-97c8e32cdb22 fwd="127.0.0.1" dyno=web.1 connect=1ms service=18ms status=200 bytes=2326 '
        "protocol=https"
    )
    zone: str = "UTC"

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, _: _Parse(self, block).run(), lines)

    def configured(self, options: FormatOptions) -> "Logfmt":
        """The format with times in the options' zone."""
        return replace(self, zone=options.zone) if options.zone != self.zone else self


class _Parse:
    """One parse: lines to pairs, pairs to columns and labels."""

    def __init__(self, form: Logfmt, lines: Lines) -> None:
        self.form, self.lines = form, lines
        self.marks = Marks(lines.data)
        self.verdicts = Verdicts(len(lines))

    def run(self) -> Parsed:
        pairs = self._pairs()
        self.verdicts.reject(pairs.unpaired, _UNPAIRED)
        self.verdicts.reject(pairs.counts == 0, "no key=value pairs, or too many")
        numbers = np.flatnonzero(pairs.counts > 0)
        verdicts = Verdicts(len(numbers))
        members = self._members(pairs, numbers, verdicts)
        columns = assemble(SYNONYMS, members, verdicts, len(numbers), self.form.zone)
        self.verdicts.adopt(numbers, verdicts)
        good = verdicts.good
        return collect(SYNONYMS.columns, self.verdicts, [(numbers[good], good_columns(columns, good))])

    def _pairs(self) -> Split:
        held = [self.marks.of(blank) for blank in _BLANKS]
        places = held[0] if not len(held[1]) else np.sort(np.concatenate(held))
        quotes = self.marks.of(QUOTE)
        self.quotes = Quotes(self.lines, quotes, _EQUALS, _BLANKS, cells=False) if len(quotes) else None
        return split(self.lines, Cuts(places, True, _MOST_PAIRS), self.quotes)

    def _members(self, pairs: Split, numbers: Numbers, verdicts: Verdicts) -> Members:
        rows = np.repeat(np.arange(len(numbers)), pairs.counts[numbers])
        data, span = self.lines.data, pairs.span
        equals = np.minimum(self.marks.next(_EQUALS[0], span.starts), span.ends)
        bare = equals == span.ends
        _reject(verdicts, rows, equals == span.starts, "a value without a key")
        keys = text(data, Span(span.starts, equals)).dictionary_encode()
        codes = keys.indices.to_numpy().astype(np.int64)
        _reject(verdicts, rows, _repeated(rows, codes, len(keys.dictionary)), "a field is given more than once")
        start = np.minimum(equals + 1, span.ends)
        quoted = (span.ends - start > 1) & (data.take(start, mode="clip") == QUOTE) if len(rows) else bare
        if self.quotes:
            # A quote that opens after another sign than the first = of its pair is none of its kind.
            verdicts.reject(self.quotes.counts[numbers] != 2 * np.bincount(rows[quoted], minlength=len(numbers)), _UNPAIRED)
        value = Span(start + quoted, span.ends - quoted)
        data, value = without(data, value, self._escapes(value, quoted))
        return Members(data, value, rows, keys.dictionary, keys_of(keys.dictionary), codes, bare if bare.any() else None)

    def _escapes(self, value: Span, quoted: Mask) -> Numbers:
        """Places of the backslashes in quoted values that stand for no sign of their own."""
        slashes = self.marks.of(BACKSLASH)
        if not len(slashes) or not quoted.any():
            return np.empty(0, np.int64)
        begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        length = np.diff(begins, append=len(slashes))
        first, after = slashes[begins], slashes[begins] + length
        before_quote = (length % 2 == 1) & (self.lines.data.take(after, mode="clip") == QUOTE)
        starts, ends = value.starts[quoted], value.ends[quoted]
        place = np.searchsorted(starts, first, side="right") - 1
        inside = (place >= 0) & (first < ends[np.maximum(place, 0)])
        count = np.where(inside, length // 2 + before_quote, 0)
        return np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))


def _reject(verdicts: Verdicts, rows: Numbers, wrong: Mask, reason: str) -> None:
    if wrong.any():
        verdicts.reject_numbers(np.unique(rows[wrong]), reason)


def _repeated(rows: Numbers, codes: Numbers, most: int) -> Mask:
    """Which members have a code that their row has had before or has again."""
    cells = rows * most + codes
    size = int(cells[-1]) + most if len(cells) else 0
    if size <= _DENSE * len(cells):
        last = np.empty(size, np.int64)
        last[cells] = np.arange(len(cells))
        first: Mask = last[cells] != np.arange(len(cells))
        return first
    order = np.argsort(cells, kind="stable")
    twice = np.zeros(len(cells), np.bool_)
    twice[order[1:]] = np.diff(cells[order]) == 0
    return twice


LOGFMT = Logfmt()
