"""Writes docs/conformance.md: python -m tools.conformance > docs/conformance.md (a test compares the two).

The tables are those of ``tests/conformance``; the figures are counted by running every case.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.cases import CaseFile
from tests.conformance.differences import DIFFERENCES
from tests.conformance.files import CUSTOM, OUT_OF_SCOPE, TRUSTED, UNREAD_LINES
from tests.conformance.mapping import MAPPING, NOT_COMPARED
from tests.conformance.runner import compare, files, waits

__all__ = ["PAGE", "Figures", "document", "figures"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
_LONGEST_CELL = 100

_HEAD = """\
# Conformance

Made from `tests/conformance` by `python -m tools.conformance > docs/conformance.md`; a test compares the two.

Other projects publish logs with the output that their parsers are expected to give. Here the same logs go through our formats and
transforms, as bytes of a file, and the result is compared field by field: with `auditlake parse` anyone can do the same. The logs and the
expectations are copied unchanged into `tests/data/conformance`, each folder with its licence and its source:

- `elastic-beats`: the module tests of Filebeat (Apache-2.0), a flat ECS document for each line.
- `crowdsec-hub`: the parser tests of CrowdSec's hub (MIT), one assertion for each field of an event. Of its stages the parser's
  results count, and the time that the next one makes of them.
- `lnav`: regular expressions with named groups, sample lines and logs (BSD-2-Clause). Expected is what the expressions find.

Addresses are located with MaxMind's test databases. Parameters are not redacted here, as the others do not.
"""

_FIGURES = """\
## Figures

A field counts once for each line, also where several of theirs name the same column and agree. Every difference is listed below.
"""

_DIFFERENCES = """\
## Differences

Each with the reason why ours stays. Long values are cut.
"""

_READINGS = """\
## What is read as what

A file that mixes shapes is read once for each, every time only its lines of that shape. Formats in *italics* are given as a configuration
would give them, by the strings of the next table.
"""

_CUSTOM = """\
## Formats of the configuration

For shapes that no format has by itself. They serve as examples too.
"""

_MAPPING = """\
## Mapping

`url` is path and query together, or, when a request is none, its text (our label `request`). `labels.x` is the label `x`. A project's field
that is not listed here is in the last table. A field of one parser, module or format comes before the same field of all.
"""

_NOT_COMPARED = """\
## Fields that are not compared

The first pattern that fits, for a field that is not mapped.
"""

_SCOPES = {"elastic-beats": "Module", "crowdsec-hub": "Parser", "lnav": "Format"}


@dataclass(frozen=True)
class Figures:
    """How many fields were compared, and how many agree; files, and those of them that wait for a format."""

    files: int
    waiting: int
    lines: int
    compared: int
    agreeing: int


def figures() -> dict[str, Figures]:
    """For each project, and for ``all``."""
    projects = {project: [file for file in files() if file.project == project] for project in MAPPING}
    return {name: _figures(chosen) for name, chosen in {**projects, "all": list(files())}.items()}


def document() -> str:
    """The whole page."""
    parts = (_figure_rows(), _difference_rows(), _reading_rows(), _custom_rows(), _mapping_rows(), _unmapped_rows(), _unread_rows())
    return _HEAD + "".join("\n" + "\n".join(part) + "\n" for part in parts)


def _figures(chosen: Iterable[CaseFile]) -> Figures:
    chosen = list(chosen)
    fields = [field for file in chosen for field in compare(file)]
    lines = len({(field.file, field.line) for field in fields})
    return Figures(len(chosen), sum(bool(waits(file)) for file in chosen), lines, len(fields), sum(field.agrees for field in fields))


def _table(*heads: str) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]


def _figure_rows() -> Iterator[str]:
    yield _FIGURES
    yield from _table("project", "files", "lines", "fields compared", "agreeing", "differing", "agreement")
    for project, sums in figures().items():
        share = f"{sums.agreeing / sums.compared:.2%}" if sums.compared else "-"
        yield f"| {project} | {sums.files} | {sums.lines} | {sums.compared} | {sums.agreeing} | {sums.compared - sums.agreeing} | {share} |"
    waiting = {file.id: waits(file) for file in files() if waits(file)}
    if waiting:
        yield "\nNot all lines are compared yet; these formats do not exist:\n"
        yield from (f"- `{name}`: {', '.join(f'`{form}`' for form in needed)}" for name, needed in waiting.items())


def _difference_rows() -> Iterator[str]:
    yield _DIFFERENCES
    for number, kind in enumerate(DIFFERENCES, start=1):
        yield f"{number}. {kind.reason}\n"
        yield from (f"   {row}" for row in _table("file and line", "column", "ours", "theirs"))
        for file, line, column, ours, theirs in kind.rows:
            yield f"   | {_short(file)}:{line} | `{column}` | {_cell(ours)} | {_cell(theirs)} |"
        yield ""


def _reading_rows() -> Iterator[str]:
    yield _READINGS
    yield from _table("file", "lines", "read as")
    for file in files():
        for reading in file.readings:
            name = f"*{reading.format}*" if reading.format in CUSTOM else f"`{reading.format}`"
            yield f"| {_short(file.id)} | {reading.lines or 'all'} | {name} |"
    yield "\nWritten behind proxies with private addresses, which are trusted there:\n"
    yield from (f"- {_short(name)}" for name in sorted(TRUSTED))


def _custom_rows() -> Iterator[str]:
    yield _CUSTOM
    yield from _table("name", "kind", "definition")
    for name, settings in CUSTOM.items():
        for kind, text in settings.items():
            yield f"| {name} | {kind} | {_code(text)} |"


def _mapping_rows() -> Iterator[str]:
    yield _MAPPING
    for project, scopes in MAPPING.items():
        yield f"### {project}\n"
        yield from _table(_SCOPES[project], "field", "column", "value")
        for scope, fields in scopes.items():
            yield from (f"| {scope or 'all'} | `{name}` | `{target.column}` | {target.how} |" for name, target in fields.items())
        yield ""


def _unmapped_rows() -> Iterator[str]:
    yield _NOT_COMPARED
    yield from _table("project", "field", "why")
    for project, patterns in NOT_COMPARED.items():
        yield from (f"| {project} | `{pattern}` | {why} |" for pattern, why in patterns.items())


def _unread_rows() -> Iterator[str]:
    yield "## What is left out\n"
    yield from _table("file or folder", "lines", "why")
    yield from _left_out({name: ("all", why) for name, why in OUT_OF_SCOPE.items()})
    yield from _left_out(UNREAD_LINES)


def _left_out(entries: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    return (f"| {_short(name)} | {lines} | {why} |" for name, (lines, why) in entries.items())


def _short(file: str) -> str:
    return file.replace("filebeat/module/", "").replace("*", r"\*").replace("_", r"\_")


def _cell(text: str) -> str:
    return _code(text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…")


def _code(text: str) -> str:
    """Text as code in a table's cell: more backticks around it than it holds, and no bar that ends the cell."""
    fence = "`" * (max((len(run) for run in text.replace("`", " ` ").split() if set(run) == {"`"}), default=0) + 1)
    return f"{fence} {text} {fence}".replace("|", r"\|") if "`" in text else f"`{text}`".replace("|", r"\|")


if __name__ == "__main__":
    sys.stdout.write(document())
