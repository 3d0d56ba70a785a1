"""Lines that are names with values: what a table says of each name, and labels for the rest.

What formats of this road promise beyond :mod:`ingest.formats.base`:

- Of the names of one column the first in the table that has a value counts. What another says goes to ``labels``, as do names
  that the table does not know, as text, in the order of the line. Of a name that fills several columns the first one decides.
- Nothing at all and ``-`` are no value, and in no label.
- What a column cannot hold rejects the line; the reason names the column.
- Where ``source_address`` has no value, ``source_ip`` stands in for it.

The table's fills are those of :mod:`ingest.formats.fills`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.fills import Fill, Read, Values
from ingest.formats.template import QUOTE, Mask, Span
from ingest.formats.values import is_dash, json_string, text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Bytes, Numbers

__all__ = ["Known", "Members", "Table", "assemble"]


@dataclass(frozen=True)
class Known:
    """Names that mean the same.

    :param names: best first; :param fill: what becomes of their values.
    """

    names: tuple[str, ...]
    fill: Fill


class Table:
    """What names mean.

    :param known: best first.
    """

    def __init__(self, *known: Known) -> None:
        self.fills = {name: entry.fill for entry in known for name in entry.names}
        filled = {column for fill in self.fills.values() for column in fill.columns} | {"event_time", "labels"}
        filled |= {"source_address"} if "source_ip" in filled else set()
        order = [column.name for column in schema.COLUMNS] + list(schema.INPUT_COLUMNS)
        self.columns = tuple(name for name in order if name in filled)
        self.times = frozenset(name for name, fill in self.fills.items() if "event_time" in fill.columns)


@dataclass(frozen=True, eq=False)
class Members:
    """Names and values of many lines, in their order.

    :param data: a buffer; :param span: of each value, plain text, ascending; :param rows: the line of each, ascending.
    :param names: distinct names, as labels call them; :param keys: the same as the table calls them.
    :param codes: for each member its name's number; ``None`` when every line has all of the names once, in order.
    :param bare: names without a value; ``None``: none. They are ``true``, in labels only.
    """

    data: Bytes
    span: Span
    rows: Numbers
    names: pa.StringArray
    keys: pa.StringArray
    codes: Numbers | None = None
    bare: Mask | None = None

    def without(self, codes: list[int]) -> "Members":
        """The members, those of these names without a value; every line must have all names."""
        ends = self.span.ends.copy()
        for code in codes:
            ends[code :: len(self.names)] = self.span.starts[code :: len(self.names)]
        return replace(self, span=Span(self.span.starts, ends))

    def groups(self, table: Table) -> Iterator[tuple[Fill, Numbers]]:
        """For each name that the table knows, in its order, the numbers of its members."""
        fills = list(table.fills.values())
        found = pc.index_in(self.keys, pa.array(list(table.fills), pa.string()))
        ranks = pc.fill_null(found, len(fills)).to_numpy().astype(np.int16)
        known = np.unique(ranks[ranks < len(fills)])
        if self.codes is None:
            for code in np.argsort(ranks, kind="stable")[: int((ranks < len(fills)).sum())].tolist():
                yield fills[ranks[code]], np.arange(code, len(self.rows), len(ranks))
        elif len(known):
            places = ranks[self.codes]
            order = np.argsort(places, kind="stable")
            first, last = (np.searchsorted(places[order], known, side=side) for side in ("left", "right"))
            for rank, begin, end in zip(known.tolist(), first.tolist(), last.tolist(), strict=True):
                yield fills[rank], order[begin:end]


def assemble(
    table: Table, members: Members, verdicts: Verdicts, count: int, zone: str, event_time: pa.Array | None = None
) -> dict[str, pa.Array]:
    """The columns of ``count`` lines; those of lines set aside are meaningless.

    :param event_time: when it is known already.
    """
    return _Assembly(table, members, verdicts, count, zone).run(event_time)


class _Assembly:
    """Columns while they are being filled."""

    def __init__(self, table: Table, members: Members, verdicts: Verdicts, count: int, zone: str) -> None:
        self.table, self.members, self.verdicts, self.count, self.zone = table, members, verdicts, count, zone
        self.columns: dict[str, pa.Array] = {}
        self.filled: dict[str, Mask] = {}
        span = members.span
        self.present: Mask = (span.ends > span.starts) & ~is_dash(members.data, span)
        self.is_label: Mask = self.present if members.bare is None else self.present | members.bare

    def run(self, event_time: pa.Array | None) -> dict[str, pa.Array]:
        self.is_label = self.is_label.copy()
        if event_time is not None:
            self._put("event_time", np.arange(self.count), event_time)
        for fill, found in self.members.groups(self.table):
            self._read(fill, found)
        everywhere = np.arange(self.count)
        if "source_ip" in self.columns:
            self._put("source_address", everywhere, self.columns["source_ip"])
        self._reject(everywhere, ~self.filled.get("event_time", np.zeros(self.count, np.bool_)), "no event_time")
        self.columns["labels"] = self._labels(np.flatnonzero(self.is_label))
        return {name: self._column(name) for name in self.table.columns}

    def _column(self, name: str) -> pa.Array:
        return self.columns[name] if name in self.columns else pa.nulls(self.count, schema.input_type(name))

    def _read(self, fill: Fill, found: Numbers) -> None:
        wanted, rows = self.present[found], self.members.rows[found]
        first = fill.columns[0]
        if first in self.filled and not getattr(fill, "either", False):
            wanted &= ~self.filled[first][rows]
        wanted[1:] &= np.diff(rows) != 0
        if not wanted.all():
            found, rows = found[wanted], rows[wanted]
        if not len(found):
            return
        span = self.members.span.take(found)
        read = fill.read(Values(self.members.data, span, np.full(len(found), QUOTE, np.uint8), self.zone))
        for wrong, reason in read.wrong:
            self._reject(rows, wrong, reason)
        self.is_label[found] = self._unused(fill, rows, read)
        for column in fill.columns:
            self._put(column, rows, read.columns[column])

    def _unused(self, fill: Fill, rows: Numbers, read: Read) -> Mask:
        """Which values say something that goes to no column."""
        unused, used = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        for column in fill.columns:
            says = np.array(pc.is_valid(read.columns[column]), np.bool_)
            before = self.filled[column][rows] if column in self.filled else unused & False
            unused |= says & before
            used |= says & ~before
        return unused | ~used if read.keep is None else unused | ~used | read.keep

    def _reject(self, rows: Numbers, wrong: Mask, reason: str) -> None:
        if wrong.any():
            mask = np.zeros(self.count, np.bool_)
            mask[rows[wrong]] = True
            self.verdicts.reject(mask, reason)

    def _put(self, column: str, rows: Numbers, values: pa.Array) -> None:
        """Give the column these values where it has none yet."""
        dense = values
        if len(rows) < self.count:
            place = np.full(self.count, -1, np.int64)
            place[rows] = np.arange(len(rows))
            dense = values.take(pa.array(place, mask=place < 0))
        if column in self.columns:
            dense = pc.coalesce(self.columns[column], dense)
        self.columns[column] = dense
        self.filled[column] = np.array(pc.is_valid(dense), np.bool_)

    def _labels(self, which: Numbers) -> pa.StringArray:
        """JSON objects of these members."""
        if not len(which):
            return pa.nulls(self.count, pa.string())
        members, rows = self.members, self.members.rows[which]
        names = pc.binary_join_element_wise(json_string(members.names), ":", "")
        codes = which % len(members.names) if members.codes is None else members.codes[which]
        values = text(members.data, members.span.take(which))
        if members.bare is not None and members.bare.any():
            values = pc.if_else(pa.array(members.bare[which]), "true", values)
        fields = pc.binary_join_element_wise(names.take(pa.array(codes)), json_string(values), "")
        counts = np.bincount(rows, minlength=self.count)
        offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
        objects = pc.binary_join_element_wise("{", pc.binary_join(pa.ListArray.from_arrays(offsets, fields), ","), "}", "")
        return pc.if_else(pa.array(counts > 0), objects, pa.scalar(None, pa.string()))
