"""Writes docs/columns.md from ``core.schema``: python -m tools.columns > docs/columns.md (a test compares the two)."""

import sys
from collections.abc import Iterable

import pyarrow as pa

from core.schema import COLUMNS, INPUT_COLUMNS, MASKS, QUARANTINE_COLUMNS, Column

__all__ = ["document"]

_HEAD = """\
# Columns

Made from `core/schema.py` by `python -m tools.columns > docs/columns.md`; a test compares the two.

Names are those of the [Elastic Common Schema](https://www.elastic.co/guide/en/ecs/current/) with dots turned to underscores.
*Personal* says whether a column may hold personal data: the archive keeps no column bounds for those. *Needed* columns are
never null; every other may be. The number is the column's Iceberg field id and never changes.

*Mask* says what the role analyst sees of a personal column; other roles see it as it is, or not at all.

{masks}
"""

_REQUESTS = """\
## The view `requests`

What `auditlake query` sees, and what hot files and the archive hold.
"""

_INPUT = """\
## Columns that are never stored

A format may fill them; a transform turns them into others.
"""

_QUARANTINE = """\
## Rejected lines

What `auditlake quarantine list` and `auditlake quarantine show` read. They are in encrypted day files of their own, by the
day they arrived, and never in the archive.
"""

_NAMES: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.int32(): "integer, 32 bit",
    pa.int64(): "integer, 64 bit",
    pa.float64(): "floating point, 64 bit",
    pa.date32(): "date",
    pa.binary(): "bytes",
    pa.timestamp("us", tz="UTC"): "time, microseconds, UTC",
}


def document() -> str:
    """The whole page."""
    plain = [f"| `{name}` | {_NAMES[kind]} |" for name, kind in INPUT_COLUMNS.items()]
    masks = "\n".join(f"- *{name}*: {meaning}" for name, meaning in MASKS.items() if name)
    lines = [_HEAD.format(masks=masks), _REQUESTS, *_table(COLUMNS), "", _INPUT, "| column | type |", "|---|---|", *plain]
    return "\n".join([*lines, "", _QUARANTINE, *_table(QUARANTINE_COLUMNS), ""])


def _table(columns: Iterable[Column]) -> list[str]:
    return ["| # | column | type | meaning | personal | mask | needed |", "|---|---|---|---|---|---|---|", *map(_row, columns)]


def _row(column: Column) -> str:
    marks = ["yes" if column.personal else "", column.mask, "yes" if column.required else ""]
    return " | ".join([f"| {column.id}", f"`{column.name}`", _NAMES[column.type], column.meaning, *marks]) + " |"


if __name__ == "__main__":
    sys.stdout.write(document())
