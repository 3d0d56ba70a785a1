"""Wrapped formats: ``wrapper+format``, such as ``docker+combined``. Any format may be within any wrapper.

- Each line of the wrapper has one outcome: its message is parsed or rejected by the inner format, or is eventless for one of the two,
  or the line is not of the wrapper at all.
- What the wrapper says beside the message goes to ``labels``, under names that begin with the wrapper's and a dot. Should the message
  itself bring a label of such a name, the wrapper's counts: what surrounds the server is not for a client to forge.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.base import Format, Parsed, State, Unwrapped, Wrapper, begins_with_brace, is_stateful, skim
from ingest.formats.containers import CRI, DOCKER
from ingest.formats.journald import JOURNALD
from ingest.formats.shapes import in_schema_order
from ingest.formats.shippers import SHIPPER
from ingest.formats.syslog import SYSLOG
from ingest.formats.verdicts import parse_in_blocks
from ingest.lines import Lines

__all__ = ["WRAPPERS", "Wrapped", "wrap"]

WRAPPERS: tuple[Wrapper, ...] = (SYSLOG, DOCKER, CRI, JOURNALD, SHIPPER)


@dataclass(frozen=True)
class Wrapped:
    """A format within a wrapper; see :class:`ingest.formats.base.Format`."""

    wrapper: Wrapper
    inner: Format

    @property
    def name(self) -> str:
        """``wrapper+format``."""
        return f"{self.wrapper.name}+{self.inner.name}"

    @property
    def description(self) -> str:
        """One line."""
        return f"{self.inner.description}; within {self.wrapper.name}"

    @property
    def source(self) -> str:
        """Address of the page that defines the wrapper."""
        return self.wrapper.source

    @property
    def sample(self) -> str:
        """The wrapper's, around a line of ``combined``."""
        return self.wrapper.sample

    @property
    def is_json(self) -> bool:
        """Whether its lines are JSON objects."""
        return begins_with_brace(self.wrapper)

    @property
    def stateful(self) -> bool:
        """Whether the lines before matter: to the wrapper or to the format."""
        return is_stateful(self.wrapper) or is_stateful(self.inner)

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(self._parse, lines, state)

    def skim(self, lines: Lines, state: State = None) -> State:
        """The state that a parse would leave."""
        outer, inner = state or (None, None)
        unwrapped = self.wrapper.unwrap(lines, outer)
        return _state(unwrapped.state, skim(self.inner, unwrapped.lines, inner))

    def _parse(self, lines: Lines, state: State) -> Parsed:
        outer, inner = state or (None, None)
        unwrapped = self.wrapper.unwrap(lines, outer)
        parsed = self.inner.parse(unwrapped.lines, inner)
        rows = self._with_labels(parsed, unwrapped)
        rejected = np.concatenate((unwrapped.rejected, unwrapped.numbers[parsed.rejected]))
        order = np.argsort(rejected, kind="stable")
        reasons = [*unwrapped.reasons, *parsed.reasons]
        return Parsed(
            rows,
            unwrapped.numbers[parsed.numbers],
            rejected[order],
            [reasons[number] for number in order.tolist()],
            np.sort(np.concatenate((unwrapped.eventless, unwrapped.numbers[parsed.eventless]))),
            _state(unwrapped.state, parsed.state),
        )

    def _with_labels(self, parsed: Parsed, unwrapped: Unwrapped) -> pa.RecordBatch:
        rows = parsed.rows
        if unwrapped.labels is None:
            return rows
        outer = unwrapped.labels.take(pa.array(parsed.numbers))
        own = rows["labels"] if "labels" in rows.schema.names else pa.nulls(len(rows), pa.string())
        columns = {name: rows[name] for name in rows.schema.names} | {"labels": self._merged(outer, own)}
        names = in_schema_order(list(columns))
        return pa.RecordBatch.from_arrays([columns[name] for name in names], names=list(names))

    def _merged(self, outer: pa.StringArray, inner: pa.StringArray) -> pa.StringArray:
        """One object of both, the wrapper's names first."""
        both = pc.and_(pc.is_valid(outer), pc.is_valid(inner))
        joined = pc.binary_join_element_wise(pc.utf8_slice_codeunits(outer, 0, -1), pc.utf8_slice_codeunits(inner, 1), ",")
        merged = pc.if_else(both, joined, pc.coalesce(outer, inner))
        forged = pc.and_(both, pc.fill_null(pc.match_substring(inner, f'"{self.wrapper.name}.'), False))
        if not pc.any(forged).as_py():
            return merged
        pairs = zip(outer.filter(forged).to_pylist(), inner.filter(forged).to_pylist(), strict=True)
        return pc.replace_with_mask(merged, forged, pa.array([_one(first, second) for first, second in pairs], pa.string()))


def _one(outer: str, inner: str) -> str:
    wrapper = json.loads(outer)
    return json.dumps(wrapper | {name: value for name, value in json.loads(inner).items() if name not in wrapper}, ensure_ascii=False)


def _state(outer: State, inner: State) -> State:
    return None if outer is None and inner is None else (outer, inner)


def wrap(wrapper_name: str, inner: Format) -> Format:
    """The format within the wrapper of that name.

    :raises KeyError: there is no such wrapper.
    """
    return Wrapped({wrapper.name: wrapper for wrapper in WRAPPERS}[wrapper_name], inner)
