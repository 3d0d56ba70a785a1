"""What every format is: a name, where it is defined, and a vectorised parse of many lines.

A bad line is a value, never an exception: ``len(lines) == len(parsed.numbers) + len(parsed.rejected)``, always.
"""

from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ingest.lines import Lines, Numbers

__all__ = ["Format", "Parsed"]


@dataclass(frozen=True)
class Parsed:
    """The outcome of a parse.

    :param rows: one row for each parsed line, in the order of the lines. Columns are those of ``core.schema`` (stored or
        input) that the format can fill, with exactly the types of ``core.schema.input_type``; ``event_time`` is present and
        never null; columns the format cannot fill are absent.
    :param numbers: for each row, the number of its line, ascending, int64.
    :param rejected: numbers of the lines that are not of this format, ascending, int64.
    :param reasons: for each rejected line, why: a short constant phrase that quotes nothing of the line.
    """

    rows: pa.RecordBatch
    numbers: Numbers
    rejected: Numbers
    reasons: list[str] = field(default_factory=list)


class Format(Protocol):
    """One form of request log."""

    @property
    def name(self) -> str:
        """How people and config call it."""
        ...

    @property
    def description(self) -> str:
        """One line for ``auditlake formats``."""
        ...

    @property
    def source(self) -> str:
        """Address of the page that defines it."""
        ...

    @property
    def sample(self) -> str:
        """A line of it."""
        ...

    def parse(self, lines: Lines) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        ...
