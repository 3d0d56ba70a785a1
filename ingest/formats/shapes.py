"""Formats made of shapes: a line is literals and fields in turn, and each field has a reader that fills columns.

What :class:`LineFormat` promises beyond :mod:`ingest.formats.base`:

- A format may have several shapes (versions of a log, optional blocks). A line is of the first that takes it: that it fits,
  and whose readers set nothing aside. What none takes is tried once more on the slow road of each, then rejected for the
  reason that the first shape that it fitted gave.
- ``-`` is no value, wherever it is all of a field; so is nothing at all where ``Place.empty`` says so.
- A field without a reader goes to ``labels`` under its name, as logged; so does what a shape allows after its last literal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.base import Format, FormatOptions, Parsed, State
from ingest.formats.readers import Cells, Reader
from ingest.formats.template import NO_FORM, NO_TIME, Field, Marks, Mask, Spans, Template
from ingest.formats.values import is_dash, json_object
from ingest.formats.verdicts import UNDECIDED, Verdicts, parse_in_blocks
from ingest.lines import Lines, Numbers

__all__ = ["LineFormat", "Place", "Shape", "in_schema_order"]

_LABEL = "labels."
_MANY = 4


@dataclass(frozen=True)
class Place(Field):
    """A field with what becomes of it.

    :param reader: fills its columns; ``None`` for a label of the field's name.
    :param empty: whether nothing at all is no value, as ``-`` is.
    """

    reader: Reader | None = None
    empty: bool = False


@dataclass(frozen=True)
class Shape:
    """One shape of a line.

    :param parts: literals and places in turn.
    :param rest: label of what may follow the last literal after a blank, or the place for it; ``None`` when nothing may.
    :param constants: values of columns that are the same in each line.
    """

    parts: tuple[bytes | Place, ...]
    rest: str | Place | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def template(self) -> Template:
        """Takes lines apart."""
        return Template(*self.parts, rest=self.rest.name if isinstance(self.rest, Place) else self.rest)

    @cached_property
    def places(self) -> dict[str, Place]:
        """The places by name."""
        return {part.name: part for part in (*self.parts, self.rest) if isinstance(part, Place)}

    def in_zone(self, zone: str) -> "Shape":
        """The shape with times that name no zone in that one."""
        return replace(self, parts=tuple(_in_zone(part, zone) for part in self.parts))

    def read(self, marks: Marks, spans: Spans, verdicts: Verdicts) -> dict[str, pa.Array]:
        """Columns of the lines that stay good, ``labels`` among them."""
        cells = {name: self._cells(name, marks, spans) for name in spans.fields}
        columns: dict[str, pa.Array] = {}
        for name, place in self.places.items():
            if place.reader and place.reader.rejects:
                columns |= place.reader.read(cells[name], verdicts)
        good = verdicts.good
        if not good.all():
            columns = {name: column.filter(pa.array(good)) for name, column in columns.items()}
            cells = {name: Cells(marks, one.span.take(good), one.null[good], one.label) for name, one in cells.items()}
        for name, place in self.places.items():
            if place.reader and not place.reader.rejects:
                columns |= place.reader.read(cells[name], verdicts)
        count = int(good.sum())
        columns |= {name: pa.repeat(pa.scalar(value, schema.input_type(name)), count) for name, value in self.constants.items()}
        return self._with_labels(columns, cells, count)

    def _cells(self, name: str, marks: Marks, spans: Spans) -> Cells:
        span, place = spans.fields[name], self.places.get(name)
        null = is_dash(marks.data, span)
        if place is None or place.reader is None or place.empty:
            null |= span.starts >= span.ends
        return Cells(marks, span, null, place.label if place else name)

    def _with_labels(self, columns: dict[str, pa.Array], cells: dict[str, Cells], count: int) -> dict[str, pa.Array]:
        """The labels of all fields in one column: a member each, of the rows that have any."""
        parts = {name.removeprefix(_LABEL): columns.pop(name) for name in [*columns] if name.startswith(_LABEL)}
        parts = {name: column for name, column in parts.items() if column.null_count < count}
        unread = {name: one for name, one in cells.items() if not (name in self.places and self.places[name].reader)}
        present: list[Mask] = [~one.null for one in unread.values()] + [column.is_valid().to_numpy(False) for column in parts.values()]
        some = np.logical_or.reduce(present) if present else np.zeros(count, np.bool_)
        rows: Numbers = np.flatnonzero(some)
        if not len(rows):
            return columns | {"labels": pa.nulls(count, pa.string())}
        unread = {name: one for name, one in unread.items() if not one.null.all()}
        if len(rows) < count:
            parts = {name: column.take(pa.array(rows)) for name, column in parts.items()}
            unread = {name: replace(one, span=one.span.take(rows), null=one.null[rows]) for name, one in unread.items()}
        marks = next(iter(cells.values())).marks
        labels = json_object(parts, marks.data, {name: (one.span, one.null) for name, one in unread.items()})
        if len(rows) < count:
            labels = pc.replace_with_mask(pa.nulls(count, pa.string()), pa.array(some), labels)
        return columns | {"labels": labels}


def _in_zone(part: bytes | Place, zone: str) -> bytes | Place:
    if isinstance(part, Place) and hasattr(part.reader, "zone"):
        return replace(part, reader=replace(part.reader, zone=zone))  # type: ignore[type-var] # a reader that has a zone is a dataclass
    return part


@dataclass(frozen=True)
class LineFormat:
    """A format of such lines; see :class:`ingest.formats.base.Format`.

    :param shapes: tried in this order.
    :param notices: what a line wholly matches that holds no event of its own.
    :param relatives: names and templates of formats that people take for this one: a misfit of one of these shapes is told so.
    """

    name: str
    description: str
    source: str
    sample: str
    shapes: tuple[Shape, ...]
    relatives: Sequence[tuple[str, Template]] = ()
    notices: re.Pattern[bytes] | None = None

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, _: _Parse(self, block).run_fast(), lines, again=lambda block, _: _Parse(self, block).run())

    def configured(self, options: FormatOptions) -> Format:
        """The format with times that name no zone in the options' one."""
        return replace(self, shapes=tuple(shape.in_zone(options.zone) for shape in self.shapes)) if options.zone != "UTC" else self

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What it fills, in the schema's order."""
        nothing = Lines(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
        marks = Marks(nothing.data)
        found = [shape.read(marks, shape.template.spans(nothing, marks), Verdicts(0)) for shape in self.shapes]
        return in_schema_order(name for columns in found for name in columns)


class _Parse:
    """One parse: shape after shape, each on the lines that those before it left."""

    def __init__(self, form: LineFormat, lines: Lines) -> None:
        self.form, self.lines = form, lines
        self.marks = Marks(lines.data)
        self.verdicts = Verdicts(len(lines))
        self.left: Numbers = np.arange(len(lines))
        self.parts: list[tuple[Numbers, dict[str, pa.Array]]] = []
        self.hopeless: dict[bytes, Mask] = {}

    def run_fast(self) -> Parsed:
        """As :meth:`run`, but leave the few lines that no shape takes on the fast road undecided."""
        self._try_shapes()
        if len(self.left) * _MANY > len(self.lines):
            return self._finish()
        self.verdicts.reject_numbers(self.left, UNDECIDED)
        return self.verdicts.parsed(self._rows())

    def run(self) -> Parsed:
        self._try_shapes()
        return self._finish()

    def _try_shapes(self) -> None:
        for shape in self.form.shapes:
            if len(self.left):
                spans = shape.template.spans(self._lines_left(), self.marks)
                self._take(shape, spans, spans.fits)

    def _finish(self) -> Parsed:
        self._pass_over()
        for shape in self.form.shapes:
            if len(self.left):
                self._mend(shape)
        self._explain()
        return self.verdicts.parsed(self._rows())

    def _lines_left(self) -> Lines:
        return self.lines if len(self.left) == len(self.lines) else self.lines.take(self.left)

    def _take(self, shape: Shape, spans: Spans, fits: Mask) -> None:
        """Read the lines that fit; those that stay good are no longer left."""
        if not fits.any():
            return
        if not fits.all():
            spans = Spans({name: span.take(fits) for name, span in spans.fields.items()}, spans.fits[fits])
        numbers = self.left[fits]
        verdicts = Verdicts(len(numbers))
        columns = shape.read(self.marks, spans, verdicts)
        good = verdicts.good
        self.parts.append((numbers[good], columns))
        taken = np.zeros(len(self.lines), np.bool_)
        taken[numbers[good]] = True
        self.verdicts.take_back(numbers[good])
        self.verdicts.adopt(numbers, verdicts)
        self.left = self.left[~taken[self.left]]

    def _pass_over(self) -> None:
        """Of the lines that no shape takes those that are notices are no longer left."""
        if self.form.notices is None or not len(self.left):
            return
        matches = self.form.notices.fullmatch
        notice = np.array([matches(self.lines.line(number)) is not None for number in self.left.tolist()], np.bool_)
        eventless = np.zeros(len(self.lines), np.bool_)
        eventless[self.left[notice]] = True
        self.verdicts.pass_over(eventless)
        self.left = self.left[~notice]

    def _mend(self, shape: Shape) -> None:
        """The slow road, line by line; not for lines of which the front of another shape has told that they have not this one."""
        hopeless = self.hopeless.setdefault(shape.template.front, np.zeros(len(self.lines), np.bool_))
        tried = np.flatnonzero(~hopeless[self.left])
        if not len(tried):
            return
        lines = self._lines_left()
        spans = shape.template.spans(lines, self.marks)
        outcomes = list(shape.template.mend(lines, spans, tried).values())
        mended = np.zeros(len(lines), np.bool_)
        for reason in dict.fromkeys(outcomes):
            those = tried[[outcome == reason for outcome in outcomes]]
            if not reason:
                mended[those] = True
                continue
            wrong = np.zeros(len(self.lines), np.bool_)
            wrong[self.left[those]] = True
            self.verdicts.reject(wrong, reason)
            if reason in (NO_FORM, NO_TIME):
                hopeless |= wrong
        mended[mended] = self._plausible(lines, spans, np.flatnonzero(mended))
        self._take(shape, spans, mended & ~spans.fits)

    def _plausible(self, lines: Lines, spans: Spans, numbers: Numbers) -> Mask:
        """A user of several words may be one; a lone dash within it means that too many fields stand before the time."""
        if "user" not in spans.fields:
            return np.ones(len(numbers), np.bool_)
        span = spans.fields["user"].take(numbers)
        users = [lines.data[start:end].tobytes() for start, end in zip(span.starts, span.ends, strict=True)]
        return np.array([b" " not in user or b" - " not in b" " + user + b" " for user in users], np.bool_)

    def _explain(self) -> None:
        """A reason for each line that is left; where it is of a relative's shape, that one's name."""
        left = np.zeros(len(self.lines), np.bool_)
        left[self.left] = True
        self.verdicts.reject(left, NO_FORM)
        for name, template in self.form.relatives:
            if len(self.left):
                lines = self._lines_left()
                spans = template.spans(lines, self.marks)
                fits = spans.fits.copy()
                if "vhost" in spans.fields:
                    fits &= self.marks.next(ord(":"), spans.fields["vhost"].starts) < spans.fields["vhost"].ends
                self.verdicts.reject_numbers(self.left[fits], f"it looks like format {name}")

    def _rows(self) -> pa.RecordBatch:
        """The rows of all parts, in the order of the lines."""
        columns = self.form.columns
        if not self.parts:
            return pa.RecordBatch.from_arrays([pa.nulls(0, _type(name)) for name in columns], names=list(columns))
        batches = [
            pa.RecordBatch.from_arrays(
                [found[name] if name in found else pa.nulls(len(numbers), _type(name)) for name in columns], names=list(columns)
            )
            for numbers, found in self.parts
        ]
        if len(batches) == 1:
            return batches[0]
        order = np.argsort(np.concatenate([numbers for numbers, _ in self.parts]), kind="stable")
        return pa.concat_batches(batches).take(pa.array(order))


def _type(name: str) -> pa.DataType:
    kind = schema.input_type(name)
    assert kind is not None, name
    return kind


def in_schema_order(names: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    """The names once each, in the schema's order, input columns last."""
    wanted = dict.fromkeys(names)
    order = [column.name for column in schema.COLUMNS if column.name in wanted]
    return (*order, *(name for name in wanted if name not in order))
