"""Lines of one fixed shape, taken apart all at once: fields are where the literals around them leave them.

A :class:`Template` is a sequence of literals (``bytes``) and :class:`Field`; what Apache's LogFormat or nginx's log_format
describes. The fast road looks once through the buffer for each delimiter byte and moves one cursor per line from field to
field; nothing is interpreted per line. Lines that do not fit it (an unescaped quote within a quoted field, a line cut off
within its last one, a user name with a space) are tried one by one on the slow road, in time linear in their length.

A field ends at the first byte of the literal that follows it; the last one at the first blank, or the end of the line. When
that byte is a quote, one that follows an odd number of backslashes does not end it. The result is places in the buffer, not
values: ``values`` and ``times`` make columns of them.

Source: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html (escaping: "Format Notes").
"""

import itertools
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ingest.bitmaps import Bitmap, places_of, words_at
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["NO_FORM", "NO_TIME", "Field", "Marks", "Mask", "Span", "Spans", "Template", "holds"]

Mask = npt.NDArray[np.bool_]
NO_FORM, NO_TIME = "not of this form", "no time in brackets"
"""Why a line fails before its first quoted field."""
SPACE, QUOTE, BACKSLASH, COMMA = b' "\\,'
_MOST_ELEMENTS = 200
_NO_WIDTH = 1 << 30
_ANYTHING = rb"(.*?)"
_WORD = 8


@dataclass(frozen=True)
class Field:
    """A piece of a line that has a value.

    :param name: the key of its span.
    :param label: what people call it, for reasons.
    :param width: its length in bytes when that never varies, else 0: saves the search for its end.
    :param numeric: only digits, or ``-``; helps the slow road to tell it from text.
    :param spaced: a list with blanks after its commas, which do not end it.
    :param open: the last field, blanks and all to the end of the line.
    """

    name: str
    label: str
    width: int = 0
    numeric: bool = False
    spaced: bool = False
    open: bool = False


@dataclass(frozen=True)
class Span:
    """Where one field is in each line: ``[start, end)``, int64[lines] both. Starts ascend; spans do not overlap."""

    starts: Numbers
    ends: Numbers

    def take(self, rows: Numbers | Mask) -> "Span":
        """The spans of these rows."""
        return Span(self.starts[rows], self.ends[rows])


@dataclass(frozen=True)
class Spans:
    """The fields of many lines.

    :param fields: span of each field by name; meaningless (yet within the buffer) for lines that do not fit.
    :param fits: whether the line is of the template's shape, bool[lines].
    """

    fields: dict[str, Span]
    fits: Mask


class Marks:
    """Positions of delimiter bytes in one buffer, each found once: shared by all templates tried on the same lines."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self._of: dict[int, Numbers] = {}
        self._bits: dict[int, Bitmap] = {}

    def of(self, byte: int) -> Numbers:
        """Positions of the byte, ascending, int64; of a quote only those that are not escaped."""
        if byte not in self._of:
            self._of[byte] = self._bitmap(byte).places() if byte == QUOTE else places_of(self.data, byte)
        return self._of[byte]

    def next(self, byte: int, cursor: Numbers) -> Numbers:
        """For each cursor, the position of the first such byte at or after it; the buffer's end when there is none."""
        return self._bitmap(byte).next(cursor)

    def last(self, byte: int, end: Numbers) -> Numbers:
        """For each end, the position of the last such byte before it; -1 when there is none."""
        return self._bitmap(byte).last(end)

    def _bitmap(self, byte: int) -> Bitmap:
        if byte not in self._bits:
            bits = Bitmap(self.data, byte)
            if byte == QUOTE:
                bits.clear(self._escaped())
            self._bits[byte] = bits
        return self._bits[byte]

    def _escaped(self) -> Numbers:
        """The places after runs of backslashes of odd length."""
        slashes = self.of(BACKSLASH)
        first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        length = np.diff(first, append=len(slashes))
        after: Numbers = slashes[first] + length
        odd: Numbers = after[length % 2 == 1]
        return odd


def holds(data: Bytes, starts: Numbers, literal: bytes) -> Mask:
    """At which of the starts the literal stands; says nothing where it would reach beyond the buffer."""
    good = np.ones(len(starts), np.bool_)
    for place in range(0, len(literal), _WORD):
        piece = literal[place : place + _WORD]
        if len(piece) < 3:
            for further, byte in enumerate(piece, place):
                good &= data.take(starts + further, mode="clip") == byte
            continue
        words = words_at(data, np.minimum(starts + place, len(data)))
        good &= words & np.uint64((1 << 8 * len(piece)) - 1) == np.uint64(int.from_bytes(piece, "little"))
    return good


class Template:
    """A shape of lines.

    :param parts: literals and fields in turn; a field that touches the next has a width.
    :param rest: name of a further field for what follows the last literal, when that begins with a space; ``None`` when
        nothing may follow.
    """

    def __init__(self, *parts: bytes | Field, rest: str | None = None) -> None:
        self.parts = parts
        self.rest = rest
        if any(isinstance(a, Field) and isinstance(b, Field) and not a.width for a, b in itertools.pairwise(parts)):
            raise ValueError("two fields touch: nothing says where the first ends")

    def stop(self, number: int) -> int:
        """The byte that ends the field at that place among the parts."""
        following = self.parts[number + 1] if number + 1 < len(self.parts) else b" "
        return following[0] if isinstance(following, bytes) else SPACE

    def spans(self, lines: Lines, marks: Marks | None = None) -> Spans:
        """Where each field is in each line, on the fast road only."""
        return _Walk(self, lines, marks or Marks(lines.data)).run()

    def mend(self, lines: Lines, spans: Spans, numbers: Numbers) -> dict[int, str]:
        """Try these lines on the slow road and correct their spans.

        :returns: for each of them why it is not of this shape, or an empty text when it is.
        """
        long = numbers[lines.ends[numbers] - lines.starts[numbers] >= self._loose.least]
        outcomes = dict.fromkeys(numbers.tolist(), self._loose.reason_at_start(b""))
        return outcomes | {number: self._mend_line(lines, spans, number) for number in long.tolist()}

    def _mend_line(self, lines: Lines, spans: Spans, number: int) -> str:
        outcome = self._loose.match(lines.line(number))
        if isinstance(outcome, str):
            return outcome
        for name, (start, end) in outcome.items():
            spans.fields[name].starts[number] = lines.starts[number] + start
            spans.fields[name].ends[number] = lines.starts[number] + end
        return ""

    @property
    def front(self) -> bytes:
        """What must stand before the first quoted field, as an expression: a line that lacks it has none of these shapes."""
        return self._loose.glue[0][0].pattern

    @cached_property
    def _loose(self) -> "_Loose":
        return _Loose(self)


class _Walk:
    """One pass of one cursor per line over the parts of a template."""

    def __init__(self, template: Template, lines: Lines, marks: Marks) -> None:
        self.template, self.lines, self.marks = template, lines, marks
        # Copies: the slow road corrects spans in place.
        self.cursor, self.ends = lines.starts.copy(), lines.ends.copy()
        self.fits = np.ones(len(lines), np.bool_)
        self.fields: dict[str, Span] = {}
        self.searched = False
        """Whether the cursor is at the byte that was looked for, so that it need not be compared."""

    def run(self) -> Spans:
        if len(self.lines):
            for number, part in enumerate(self.template.parts):
                if isinstance(part, Field):
                    self._field(part, number)
                else:
                    self._literal(part)
            self._rest()
        else:
            self.fields = {name: Span(self.cursor, self.cursor) for name in self._names()}
        return Spans(self.fields, self.fits)

    def _names(self) -> list[str]:
        names = [part.name for part in self.template.parts if isinstance(part, Field)]
        return [*names, self.template.rest] if self.template.rest else names

    def _field(self, part: Field, number: int) -> None:
        if part.width:
            end = self.cursor + part.width
        elif part.open:
            end = self.ends
        else:
            end = self.marks.next(self.template.stop(number), self.cursor)
            if part.spaced and self.template.stop(number) == SPACE:
                end = self._past_commas(end)
        # Kept within the line whatever happens, so that spans of lines that do not fit are harmless.
        end = np.minimum(end, self.ends)
        self.searched = not (part.width or part.open)
        self.fields[part.name] = Span(self.cursor, end)
        self.cursor = end

    def _past_commas(self, end: Numbers) -> Numbers:
        """The first blank that does not follow a comma; of a list of hundreds of elements, one of its own."""
        for _ in range(_MOST_ELEMENTS):
            more = (end > self.cursor) & (end < self.ends) & (self.lines.data.take(end - 1, mode="clip") == COMMA)
            if not more.any():
                break
            end = end.copy()
            end[more] = self.marks.next(SPACE, end[more] + 1)
        return end

    def _literal(self, literal: bytes) -> None:
        after = self.cursor + len(literal)
        self.fits &= after <= self.ends
        known = int(self.searched)
        if len(literal) > known:
            self.fits &= holds(self.lines.data, self.cursor + known, literal[known:])
        self.searched = False
        self.cursor = np.minimum(after, self.ends)

    def _rest(self) -> None:
        if self.template.rest is None:
            self.fits &= self.cursor == self.ends
            return
        beyond = self.cursor < self.ends
        self.fits &= ~beyond | (self.lines.data.take(self.cursor, mode="clip") == SPACE)
        self.fields[self.template.rest] = Span(self.cursor + beyond, self.ends)


class _Loose:
    """The slow road: one line at a time, quoted fields may hold anything.

    What stands before, between and after the quoted fields is an expression that cannot run past a quote, and is looked
    for from left to right, never backwards: the work is linear in the line's length. The last quoted field reaches to the
    line's last quote, or to its end when it was cut off.
    """

    def __init__(self, template: Template) -> None:
        self.rest = template.rest
        self.glue: list[tuple[re.Pattern[bytes], list[Field]]] = []
        self.quoted: list[Field] = []
        self.labels: list[str] = []
        self.open_end = False
        pattern, fields = _Pattern(), list[Field]()
        for number, part in enumerate(template.parts):
            if isinstance(part, bytes):
                pattern.text += re.escape(part)
            elif template.stop(number) == QUOTE:
                self._close(pattern, fields, part.label)
                self.quoted.append(part)
                pattern, fields = _Pattern(), []
            else:
                pattern.add(self._group(template, number, part), bounded=part.numeric or bool(part.width))
                fields.append(part)
        self.open_end = pattern.text == b'"' and bool(self.quoted)
        if not self.open_end:
            pattern.text += rb"\Z" if self.rest is None else rb"(?= |\Z)"
            self._close(pattern, fields, "end")
        self.bracketed = _bracketed(template)
        # A shorter line fails at its start, for the reason that an empty one does: a flood of such lines is told at once.
        self.least = min(_front_bytes(template), _bracketed_width(template) + 2)

    def _close(self, pattern: "_Pattern", fields: list[Field], label: str) -> None:
        self.glue.append((pattern.compiled(), fields))
        self.labels.append(fields[0].label if fields else label)

    def _group(self, template: Template, number: int, part: Field) -> bytes:
        following = template.parts[number + 1] if number + 1 < len(template.parts) else b""
        if part.numeric:
            return rb"([0-9]{1,20}|-)"
        if isinstance(following, bytes) and len(following) > 1 and not self.quoted and not part.width:
            return _ANYTHING
        if isinstance(following, Field):
            return rb"(.{%d})" % part.width
        if part.open:
            return rb"(.*)"
        if part.spaced and template.stop(number) == SPACE:
            return rb"([^ \"]*+(?:(?<=,) [^ \"]*+)*+)"
        limit = b"{1,64}+" if part.width else b"*+"
        return rb"([^\x%02x\"]" % template.stop(number) + limit + b")"

    def match(self, line: bytes) -> dict[str, tuple[int, int]] | str:
        """Places of the fields within the line, or why it is not of this shape."""
        found: dict[str, tuple[int, int]] = {}
        position = 0
        for number, (pattern, fields) in enumerate(self.glue):
            hit = pattern.search(line, position) if number else pattern.match(line)
            if hit is None:
                return self._reason(line, number)
            if number:
                found[self.quoted[number - 1].name] = (position, hit.start())
            found.update((part.name, hit.span(place)) for place, part in enumerate(fields, start=1))
            position = hit.end()
        if self.open_end:
            self._finish(line, position, found)
        elif self.rest is not None:
            found[self.rest] = (min(position + 1, len(line)), len(line))
        return found

    def _reason(self, line: bytes, number: int) -> str:
        return f"no {self.labels[number]} after the {self.quoted[number - 1].label}" if number else self.reason_at_start(line)

    def reason_at_start(self, line: bytes) -> str:
        """Why a line does not begin as it should."""
        return NO_TIME if self.bracketed and not self.bracketed.search(line) else NO_FORM

    def _finish(self, line: bytes, position: int, found: dict[str, tuple[int, int]]) -> None:
        end = line.rfind(b'"', position)
        closed = end >= 0 and (end + 1 == len(line) or (self.rest is not None and line[end + 1] == SPACE))
        if not closed:
            end = len(line)
        found[self.quoted[-1].name] = (position, end)
        if self.rest is not None:
            found[self.rest] = (min(end + 2, len(line)), len(line))


@dataclass
class _Pattern:
    """An expression while it is being made.

    Where a field that may hold anything ends is tried place by place, but no longer than up to the next field without a
    bound: once what stands between the two is found, it stays so. Else the work would grow with the square of a line's length.
    """

    text: bytes = b""
    trying: bool = False

    def add(self, group: bytes, *, bounded: bool) -> None:
        """A field."""
        if self.trying and not bounded:
            self.text, self.trying = self.text + b")", False
        if group == _ANYTHING:
            self.text, self.trying = self.text + rb"(?>", True
        self.text += group

    def compiled(self) -> re.Pattern[bytes]:
        """The expression."""
        return re.compile(self.text + b")" * self.trying, re.DOTALL)


def _front_bytes(template: Template) -> int:
    """Bytes of the literals before the first quoted field."""
    quoted = (number for number, part in enumerate(template.parts) if isinstance(part, Field) and template.stop(number) == QUOTE)
    return sum(len(part) for part in template.parts[: next(quoted, None)] if isinstance(part, bytes))


def _bracketed_width(template: Template) -> int:
    """Bytes of a time in brackets, when that never varies; more than any line has when the template has none."""
    pairs = itertools.pairwise(template.parts)
    widths = (part.width for before, part in pairs if isinstance(part, Field) and isinstance(before, bytes) and before.endswith(b"["))
    return next(filter(None, widths), _NO_WIDTH)


def _bracketed(template: Template) -> re.Pattern[bytes] | None:
    """What a time in brackets looks like; ``None`` when the template has none."""
    width = _bracketed_width(template)
    return re.compile(rb"\[[^\]]{%d}\]" % width) if width < _NO_WIDTH else None
