"""JSON-lines formats made of a table: which path of a document fills which columns.

What every such format promises beyond :mod:`ingest.formats.base`:

- A path is written nested or with dotted keys: ``{"a": {"b": 1}}`` and ``{"a.b": 1}`` are the same. A path given more than once
  (a repeated key too) makes the line ambiguous: it is rejected.
- Of the places of one column the first in the table that gives a value counts. A place whose (first) column has its value
  already is not read: it goes to ``labels``, as does every field that has no place, as JSON text as logged, under its dotted
  path, in the order of the document. Objects are entered only where a place's path leads through them.
- ``null`` is absent. So are ``""`` and ``-`` in a place, unless its fill says otherwise; and these are in no label.
- What a column cannot hold rejects the line; the reason names the column.
- Where ``source_address`` has no value, ``source_ip`` stands in for it.

Formats are instances of :class:`DocumentFormat`, and are of the road of :mod:`ingest.formats.json_structure`.

Source: https://www.rfc-editor.org/rfc/rfc8259 and https://jsonlines.org.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats import _json_engine as engine
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.fills import Fill, Values
from ingest.formats.json_structure import Pairs, Structure
from ingest.formats.template import QUOTE, Mask, Span
from ingest.formats.values import json_string, text
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Lines, Numbers

__all__ = ["DocumentFormat", "Pairs", "Place"]

_OBJECT, _LIST, _NULL, _DASH = b"{[n-"
_TWICE = "a field is given more than once"


@dataclass(frozen=True)
class Place:
    """Where in a document a value is, and what becomes of it.

    :param path: keys with dots between them; :param fill: what fills columns from it.
    :param aliases: other paths of the same meaning: a document that has two of them is ambiguous.
    """

    path: str
    fill: Fill
    aliases: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The path and its aliases."""
        return (self.path, *self.aliases)


@dataclass(frozen=True)
class DocumentFormat:
    """A format of JSON documents; see :class:`ingest.formats.base.Format`.

    :param places: the table, best first.
    :param requires: paths that must be there and not be null, as value or object.
    :param expects: path -> the texts it may say.
    :param constants: column -> its value (text or number) where no place gave one.
    :param lists: lists of pairs to be read as members.
    :param zone: IANA name of the zone of times that name none.
    :raises ValueError: a path is given twice or has an empty part, or a column is not one that a format can fill: faults of a table.
    """

    name: str
    description: str
    source: str
    sample: str
    places: tuple[Place, ...]
    requires: tuple[str, ...] = ()
    expects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constants: Mapping[str, str | int] = field(default_factory=dict)
    lists: tuple[Pairs, ...] = ()
    zone: str = "UTC"
    is_json: ClassVar[bool] = True

    def __post_init__(self) -> None:
        paths = [path for place in self.places for path in place.paths]
        wrong = [path for path in paths if not all(path.split(".")) or paths.count(path) > 1]
        wrong += [column for column in self.columns if schema.input_type(column) is None]
        if wrong:
            raise ValueError(f"format {self.name}: {wrong[0]!r} is given twice, or is no path or column")

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, _: _Parse(self, block).run(), lines)

    def configured(self, options: FormatOptions) -> "DocumentFormat":
        """The format with the options' zone."""
        return self if options.zone == self.zone else replace(self, zone=options.zone)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that it may fill, in the schema's order, the input columns last."""
        filled = {column for place in self.places for column in place.fill.columns} | set(self.constants) | {"event_time", "labels"}
        filled |= {"source_address"} if "source_ip" in filled else set()
        known = [column.name for column in schema.COLUMNS] + list(schema.INPUT_COLUMNS)
        return tuple(name for name in known if name in filled) + tuple(filled - set(known))

    @cached_property
    def known(self) -> "_Known":
        """What the paths mean."""
        return _Known(self)


class _Known:
    """The paths of a format: which place each is of, and the objects that lead to them."""

    def __init__(self, form: DocumentFormat) -> None:
        named = {path: number for number, place in enumerate(form.places) for path in place.paths}
        self.paths = pa.array(list(named), pa.string())
        self.places = np.array([*named.values(), -1], np.int64)
        parts = [path.split(".") for path in (*named, *form.requires, *form.expects, *(f"{pair.path}.x" for pair in form.lists))]
        lists = {pair.path for pair in form.lists}
        prefixes = {".".join(p[:i]) for p in parts for i in range(1, len(p))} - lists
        self.prefixes = pa.array(sorted(prefixes), pa.string())


@dataclass(frozen=True, eq=False)
class _Cells:
    """Values of one place: ``rows`` the documents, each once, ascending; ``members`` their members."""

    rows: Numbers
    members: Numbers
    values: Values


class _Parse:
    """One parse: documents to members, members to columns and labels, lines set aside on the way."""

    def __init__(self, form: DocumentFormat, lines: Lines) -> None:
        self.form, self.lines = form, lines
        self.verdicts = Verdicts(len(lines))

    def run(self) -> Parsed:
        """All of it."""
        self.numbers, self.structure = self._documents()
        self.count = len(self.numbers)
        self.members = self.structure.members(self.form.known.prefixes, self.form.lists)
        self.columns: dict[str, pa.Array] = {}
        self.filled: dict[str, Mask] = {}
        self.is_label = ~self.members.entered & (self.members.kinds != _NULL)
        self._reject_repeated()
        self._check_presence()
        self._places()
        self._finish()
        return self.verdicts.parsed(self._batch())

    def _documents(self) -> tuple[Numbers, Structure]:
        """Numbers of the lines that are documents of a sane depth, and their structure."""
        docs = text(self.lines.data, Span(self.lines.starts, self.lines.ends))
        valid = engine.are_valid(docs)
        if not valid.all():
            bad = np.flatnonzero(~valid)
            self.verdicts.reject_numbers(bad[engine.too_deep(self.lines.take(bad))], "nested too deep")
            self.verdicts.reject(~valid, "not valid JSON")
        numbers = np.flatnonzero(valid)
        structure = Structure(self.lines if len(numbers) == len(valid) else self.lines.take(numbers))
        deep = structure.deeper_than(engine.MAX_DEPTH)
        wrong = structure.looks_lenient() & ~deep
        wrong[wrong] = ~engine.are_strict(docs.take(pa.array(numbers[wrong])))
        outcomes = ((deep, "nested too deep"), (wrong, "not valid JSON"))
        for mask, reason in (*outcomes, (~structure.is_object(), "not a JSON object")):
            if mask.any():
                self.verdicts.reject_numbers(numbers[mask & self.verdicts.good[numbers]], reason)
        good = self.verdicts.good[numbers]
        return (numbers, structure) if good.all() else (numbers[good], Structure(self.lines.take(numbers[good])))

    def _reject(self, rows: Numbers, wrong: Mask, reason: str) -> None:
        if wrong.any():
            mask = np.zeros(len(self.lines), np.bool_)
            mask[self.numbers[rows[wrong]]] = True
            self.verdicts.reject(mask, reason)

    def _reject_repeated(self) -> None:
        members = self.members
        cells = members.rows * len(members.paths) + members.codes
        if self.count * len(members.paths) <= 8 * len(cells):
            place = np.empty(self.count * len(members.paths), np.int64)
            place[cells] = np.arange(len(cells))
            twice = place[cells] != np.arange(len(cells))
        else:
            order = np.argsort(cells, kind="stable")
            twice = np.zeros(len(cells), np.bool_)
            twice[order[1:]] = np.diff(cells[order]) == 0
        self._reject(members.rows, twice, _TWICE)

    def _check_presence(self) -> None:
        for path in self.form.requires:
            self._reject_without(self._of_path(path), f"no {path}")
        for path, said in self.form.expects.items():
            found = self._of_path(path) & ~self.members.entered
            self._reject_without(found, f"no {path}")
            cells, _ = self._cells(np.flatnonzero(found), "", blank=False, name=path)
            wrong = ~np.array(pc.is_in(cells.values.strings, pa.array(said, pa.string())), np.bool_)
            self._reject(cells.rows, wrong, f"{path} is not of this format")

    def _of_path(self, path: str) -> Mask:
        """The members of that path that are not null."""
        is_path = np.array(pc.equal(self.members.paths, path), np.bool_)
        found: Mask = is_path[self.members.codes] & (self.members.kinds != _NULL) if len(is_path) else np.zeros(0, np.bool_)
        return found

    def _reject_without(self, found: Mask, reason: str) -> None:
        missing = np.ones(self.count, np.bool_)
        missing[self.members.rows[found]] = False
        self._reject(np.arange(self.count), missing, reason)

    def _places(self) -> None:
        """Read every place, in the order of the table."""
        known, members = self.form.known, self.members
        place_of = known.places[pc.fill_null(pc.index_in(members.paths, known.paths), -1).to_numpy()]
        places = np.where(self.is_label, place_of[members.codes] if len(place_of) else -1, -1).astype(np.int16)
        order = np.argsort(places, kind="stable")
        bounds = np.searchsorted(places[order], np.arange(len(self.form.places) + 1))
        for place, first, last in zip(self.form.places, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if last > first:
                self._place(place, order[first:last])

    def _place(self, place: Place, found: Numbers) -> None:
        fill = place.fill
        cells, absent = self._cells(found, fill.items, fill.blank, fill.columns[0], self._wanted(fill))
        self.is_label[absent] = False
        if not len(cells.rows):
            return
        self.is_label[cells.members] = False
        read = fill.read(cells.values)
        for wrong, reason in read.wrong:
            self._reject(cells.rows, wrong, reason)
        if read.keep is not None:
            self.is_label[cells.members[read.keep]] = True
        for column in fill.columns:
            self._put(column, cells.rows, read.columns[column])

    def _wanted(self, fill: Fill) -> Mask | None:
        """Documents in which the fill's first column has no value yet; ``None``: all. The port of another host, say, would not do."""
        filled = self.filled.get(fill.columns[0])
        return None if filled is None else ~filled

    def _cells(self, found: Numbers, items: str, blank: bool, name: str, wanted: Mask | None = None) -> tuple[_Cells, Numbers]:
        """The values of these members, and those of them that are no value."""
        rows = self.members.rows[found]
        twice = np.diff(rows, prepend=-1) == 0
        if twice.any():
            self._reject(rows, twice, _TWICE)
            found, rows = found[~twice], rows[~twice]
        values, lists = self._plain(found, items)
        nothing = np.zeros(len(found), np.bool_)
        lengths = values.span.ends - values.span.starts
        if blank:
            nothing = (lengths == 0) | ((lengths == 1) & (values.data.take(values.span.starts, mode="clip") == _DASH))
        nothing |= lists & (values.kinds == 0)
        keep = ~nothing if wanted is None else ~nothing & wanted[rows]
        absent = found[nothing]
        if not keep.all():
            found, rows, values = found[keep], rows[keep], values.take(keep)
        self._reject(rows, (values.kinds == _OBJECT) | (values.kinds == _LIST), f"{name} is not a single value")
        return _Cells(rows, found, self._decoded(rows, found, values, name)), absent

    def _plain(self, found: Numbers, items: str) -> tuple[Values, Mask]:
        """What the members say, escapes as logged, and which are lists of which elements are read (of an empty one the kind is 0)."""
        data, span, kinds = self.structure.data, self.members.span.take(found), self.members.kinds[found]
        lists = kinds == _LIST if items else np.zeros(len(found), np.bool_)
        if lists.any():
            first = self.structure.first_elements(self.members.colons[found[lists]])
            span.starts[lists], span.ends[lists] = first.starts, first.ends
            kinds[lists] = np.where(first.starts < first.ends, data.take(first.starts, mode="clip"), 0)
            kinds[lists & (kinds == _NULL)] = 0
        quoted = kinds == QUOTE
        values = Values(data, Span(span.starts + quoted, span.ends - quoted), kinds, self.form.zone)
        return (self._joined(found, lists, values), lists) if items == "all" and lists.any() else (values, lists)

    def _joined(self, found: Numbers, lists: Mask, values: Values) -> Values:
        """Lists of more than one element in place of their first elements."""
        many = lists.copy()
        many[lists] = ~self.structure.is_single(self.members.colons[found[lists]])
        if not many.any():
            return values
        span = self.members.span.take(found[many])
        # Quoted again, so that escapes are decoded once, below, as in all others.
        said = json_string(engine.joined(text(self.structure.data, span)))
        inner = pc.utf8_slice_codeunits(said, 1, -1)
        kinds = values.kinds.copy()
        kinds[many] = np.where(np.array(pc.binary_length(inner)) > 0, QUOTE, 0)
        return Values.of(pc.replace_with_mask(values.strings, pa.array(many), inner), kinds, values.zone)

    def _decoded(self, rows: Numbers, found: Numbers, values: Values, name: str) -> Values:
        """With the escapes of strings decoded."""
        if values.data is self.structure.data:
            escaped = (values.kinds == QUOTE) & self.members.escaped[found]
        else:
            escaped = (values.kinds == QUOTE) & np.array(pc.match_substring(values.strings, "\\"), np.bool_)
        if not escaped.any():
            return values
        mask = pa.array(escaped)
        literals = pc.binary_join_element_wise('"', values.strings.filter(mask), '"', "")
        said = pc.replace_with_mask(values.strings, mask, engine.string_values(literals))
        self._reject(rows, np.array(pc.match_substring(said, "\0"), np.bool_), f"{name} holds a NUL")
        return Values.of(said, values.kinds, values.zone)

    def _put(self, column: str, rows: Numbers, values: pa.Array) -> None:
        """Give the column these values where it has none yet."""
        dense = values if len(rows) == self.count else self._spread(rows, values)
        if column in self.columns:
            dense = pc.coalesce(self.columns[column], dense)
        self.columns[column] = dense
        self.filled[column] = np.array(pc.is_valid(dense), np.bool_)

    def _spread(self, rows: Numbers, values: pa.Array) -> pa.Array:
        """The values at these rows, null at all others."""
        place = np.full(self.count, -1, np.int64)
        place[rows] = np.arange(len(rows))
        return values.take(pa.array(place, mask=place < 0))

    def _finish(self) -> None:
        """What stands in for what is missing, and the labels."""
        everywhere = np.arange(self.count)
        for column, value in self.form.constants.items():
            self._put(column, everywhere, pa.repeat(pa.scalar(value, schema.input_type(column)), self.count))
        if "source_ip" in self.columns:
            self._put("source_address", everywhere, self.columns["source_ip"])
        self._reject(everywhere, ~self.filled.get("event_time", np.zeros(self.count, np.bool_)), "no event_time")
        self.columns["labels"] = self._labels(np.flatnonzero(self.is_label))

    def _labels(self, which: Numbers) -> pa.StringArray:
        """JSON objects of these members."""
        if not len(which):
            return pa.nulls(self.count, pa.string())
        names = pc.binary_join_element_wise(json_string(self.members.paths), ":", "")
        values = self._texts(self.members.span.take(which))
        fields = pc.binary_join_element_wise(names.take(pa.array(self.members.codes[which])), values, "")
        counts = np.bincount(self.members.rows[which], minlength=self.count)
        offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
        objects = pc.binary_join_element_wise("{", pc.binary_join(pa.ListArray.from_arrays(offsets, fields), ","), "}", "")
        return pc.if_else(pa.array(counts > 0), objects, pa.scalar(None, pa.string()))

    def _texts(self, span: Span) -> pa.StringArray:
        """Values as logged. A list that is read as members and stays one too, for a key given twice, is around some of these."""
        around = np.append(span.starts[1:] < span.ends[:-1], False)
        if not around.any():
            return text(self.structure.data, span)
        parts = [text(self.structure.data, span.take(which)) for which in (around, ~around)]
        order = np.argsort(np.concatenate((np.flatnonzero(around), np.flatnonzero(~around))))
        return pa.concat_arrays(parts).take(pa.array(order))

    def _batch(self) -> pa.RecordBatch:
        good = self.verdicts.good[self.numbers]
        names = list(self.form.columns)
        found = [self.columns.get(name, pa.nulls(0)) for name in names]
        columns = [
            column if len(column) == self.count and name in self.columns else pa.nulls(self.count, schema.input_type(name))
            for name, column in zip(names, found, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(columns, names=names)
        return batch if good.all() else batch.filter(pa.array(good))
