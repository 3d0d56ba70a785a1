"""What every format is: a name, where it is defined, and a vectorised parse of many lines.

- A bad line is a value, never an exception: every line is parsed, rejected or eventless, and only one of these.
- A parse is a pure function of the lines and of the **state** that the lines before them left: header fields in force, the
  first parts of a record that goes on. Most formats have none. A state is an immutable value that only its format understands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from ingest.lines import Lines, Numbers

__all__ = ["Configurable", "Format", "FormatOptions", "Parsed", "State", "no_numbers"]

State = Any
"""What a format must know of the lines before; ``None`` at a source's first line."""


def no_numbers() -> Numbers:
    """No line."""
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Parsed:
    """The outcome of a parse.

    :param rows: one row for each parsed line, in the order of the lines. Columns are those of ``core.schema`` (stored or
        input) that the format can fill, with exactly the types of ``core.schema.input_type``; ``event_time`` is present and
        never null; columns the format cannot fill are absent.
    :param numbers: for each row, the number of its line, ascending, int64.
    :param rejected: numbers of the lines that are not of this format, ascending, int64.
    :param reasons: for each rejected line, why: a short constant phrase that quotes nothing of the line.
    :param eventless: numbers of the lines that are of this format and hold no event of their own, ascending, int64: headers,
        directives, comments, and all but the last part of a record that was split over several lines.
    :param state: for the lines that come after these.
    """

    rows: pa.RecordBatch
    numbers: Numbers
    rejected: Numbers
    reasons: list[str] = field(default_factory=list)
    eventless: Numbers = field(default_factory=no_numbers)
    state: State = None


@dataclass(frozen=True)
class FormatOptions:
    """What the configuration says of formats.

    :param zone: IANA name of the zone of times that name none.
    :param json_fields: for ``json``: dotted path -> column, for names of its own.
    :param custom: formats of the configuration: name -> kind (``apache``, ``nginx``, ``w3c``, ``csv``, ``json``) and its settings.
    """

    zone: str = "UTC"
    json_fields: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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
        """A line of it; where it needs header lines, these before it."""
        ...

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """A format that the options change."""

    def configured(self, options: FormatOptions) -> Format:
        """The format under these options.

        :raises UsageError: an option cannot be used.
        """
        ...
