"""The formats that exist, by name; the checked way to parse with one; and which one a file's first lines are of.

A format is added by writing its module and registering it here: tests that hold for every format then hold for it too.
"""

import numpy as np

from core import schema
from core.errors import UsageError
from ingest.formats.access import COMBINED, COMMON, VHOST_COMBINED
from ingest.formats.base import Configurable, Format, FormatOptions, Parsed, State
from ingest.formats.json_lines import JsonLines
from ingest.lines import Lines

__all__ = ["DETECT_LINES", "DETECT_SHARE", "detect", "get", "names", "parse", "register"]

DETECT_LINES = 200
"""Lines that :func:`detect` looks at."""
DETECT_SHARE = 0.9
"""Share of them that must be of a format for it to be chosen."""

_formats: dict[str, Format] = {}


def register(form: Format) -> None:
    """Make a format known by its name.

    :raises ValueError: another format has that name.
    """
    if form.name in _formats:
        raise ValueError(f"format {form.name!r} is registered already")
    _formats[form.name] = form


def names() -> tuple[str, ...]:
    """Names of all formats, in the order they were registered."""
    return tuple(_formats)


def get(name: str, options: FormatOptions | None = None) -> Format:
    """The format of that name, under these options.

    :raises UsageError: there is no such format, or an option cannot be used.
    """
    if name not in _formats:
        raise UsageError(f"{name!r} is not a format", f"use one of {', '.join(_formats)}")
    form = _formats[name]
    return form.configured(options) if options and isinstance(form, Configurable) else form


def parse(form: Format, lines: Lines, state: State = None) -> Parsed:
    """What ``form`` makes of the lines, with its promises checked.

    :param state: what it made of the lines before left.

    :raises AssertionError: the format breaks a promise of :mod:`ingest.formats.base`; no line's content can cause it.
    """
    parsed = form.parse(lines, state)
    _check(
        len(parsed.numbers) + len(parsed.rejected) + len(parsed.eventless) == len(lines),
        "a line is neither parsed nor rejected nor eventless, or two of these",
    )
    _check(parsed.rows.num_rows == len(parsed.numbers), "rows and their line numbers differ in count")
    _check(len(parsed.reasons) == len(parsed.rejected) and all(parsed.reasons), "a rejected line has no reason")
    seen = np.sort(np.concatenate((parsed.numbers, parsed.rejected, parsed.eventless)))
    _check(np.array_equal(seen, np.arange(len(lines))), "a line number is missing or given twice")
    for column in parsed.rows.schema:
        _check(column.type == schema.input_type(column.name), f"column {column.name} is not of the schema's type")
    _check("event_time" in parsed.rows.schema.names and parsed.rows["event_time"].null_count == 0, "a row has no event_time")
    return parsed


def detect(lines: Lines, options: FormatOptions | None = None) -> str:
    """Name of the format that most of the first lines are of; of equals the one registered first.

    :raises UsageError: none takes at least :data:`DETECT_SHARE` of them, or there is no line.
    """
    sample = lines.take(np.arange(min(len(lines), DETECT_LINES)))
    if not len(sample):
        raise UsageError("no line to tell the format from", f"name it: {', '.join(_formats)}")
    shares = {name: len(get(name, options).parse(sample).numbers) / len(sample) for name in _formats}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < DETECT_SHARE:
        scores = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        raise UsageError(f"the lines are of no known format (taken by: {scores})", "name the format if it is one of these")
    return best


def _check(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


for _format in (COMBINED, COMMON, VHOST_COMBINED, JsonLines()):
    register(_format)
