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

__all__ = [
    "Configurable",
    "Described",
    "Format",
    "FormatOptions",
    "Parsed",
    "State",
    "Stateful",
    "Unwrapped",
    "Wrapper",
    "announced_by",
    "begins_with_brace",
    "is_stateful",
    "no_numbers",
    "skim",
]

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


class Described(Protocol):
    """What people are told of a format or wrapper."""

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


class Format(Described, Protocol):
    """One form of request log.

    Attributes that may be there beside these, false or empty when they are not: ``stateful``, for a format that is also
    :class:`Stateful`; ``is_json``, for one whose lines are JSON objects: detection tries it on such lines only, and the others
    on other lines only; ``announced_by``, bytes with which a line begins that says for certain that what follows is of this
    format (``#Fields:``), for one whose state such lines alone make, and other lines that begin with ``#``.
    """

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


@runtime_checkable
class Stateful(Protocol):
    """A format whose parse depends on the lines before: it is shown those of an earlier run again, without being asked for rows."""

    @property
    def stateful(self) -> bool:
        """Whether it does; false is said by a format that takes others in and has none that does."""
        ...

    def skim(self, lines: Lines, state: State = None) -> State:
        """The state that :meth:`Format.parse` of these lines would leave, at less cost when that can be."""
        ...


def is_stateful(form: "Format | Wrapper") -> bool:
    """Whether the lines before must be known to parse with this format."""
    return bool(getattr(form, "stateful", False))


def skim(form: Format, lines: Lines, state: State) -> State:
    """The state that these lines leave; nothing is done for a format that has none."""
    return form.skim(lines, state) if isinstance(form, Stateful) else state


def announced_by(form: Format) -> bytes:
    """How a line begins that says that the lines after it are of this format; empty when there is no such line."""
    return bytes(getattr(form, "announced_by", b""))


def begins_with_brace(form: "Format | Wrapper") -> bool:
    """Whether its lines are JSON objects."""
    return bool(getattr(form, "is_json", False))


@dataclass(frozen=True)
class Unwrapped:
    """What lines of a wrapper carry.

    :param lines: the messages, none of them empty, with the promises of :mod:`ingest.lines`: over the same buffer or a new one.
    :param numbers: for each message the number of the outer line that completes it, ascending, each at most once, int64.
    :param rejected: numbers of the outer lines that are not of the wrapper, or carry what no line can be (an empty message, a
        newline or NUL within it), ascending, int64.
    :param reasons: for each of them, why: a short constant phrase.
    :param eventless: numbers of the outer lines that are only a part of a message that a later line completes, ascending, int64.
    :param labels: for each message what the wrapper says beside it, as the text of one flat JSON object, or null. Its names
        begin with the wrapper's and a dot: ``docker.stream``, ``syslog.host``. ``None`` when there is nothing in any.
    :param state: for the lines that come after these.
    """

    lines: Lines
    numbers: Numbers
    rejected: Numbers
    reasons: list[str] = field(default_factory=list)
    eventless: Numbers = field(default_factory=no_numbers)
    labels: pa.StringArray | None = None
    state: State = None


class Wrapper(Described, Protocol):
    """What programs put around the lines of other logs. ``wrapper+format`` names a wrapped format.

    Like a format it may have ``is_json`` and ``stateful`` (it joins messages that were split).
    """

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:
        """Take every line apart; total, never raises for what a line holds. Each line has one of the three outcomes."""
        ...
