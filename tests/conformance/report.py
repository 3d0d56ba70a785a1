"""What differs now, for those who work on a format: ``python -m tests.conformance.report [--rows] [PART]``.

PART is a part of a file's name or of a format's. It prints each difference of the files that match, the files that wait for a
format, and figures per project; with ``--rows`` only the rows that ``tests.conformance.differences`` does not list, as it holds them.
"""

import sys
from collections import Counter

from tests.conformance.cases import CaseFile
from tests.conformance.differences import DIFFERENCES
from tests.conformance.runner import compare, files, waits

__all__ = ["main", "rows"]


def main(part: str = "") -> None:
    """Print the differences of the files whose name, or one of whose formats, holds ``part``."""
    counts: Counter[tuple[str, str]] = Counter()
    for file in files():
        if part in file.id or any(part in reading.format for reading in file.readings):
            _report(file, counts)
    for project in sorted({project for project, _ in counts}):
        compared, agreeing, waiting = (counts[project, what] for what in ("compared", "agreeing", "waiting"))
        share = f"{agreeing / compared:.2%}" if compared else "-"
        print(f"{project}: {compared} fields compared, {agreeing} agree ({share}); {waiting} files wait for a format")


def _report(file: CaseFile, counts: Counter[tuple[str, str]]) -> None:
    waiting = waits(file)
    for name, why in waiting.items():
        print(f"{file.id}: waits for format {name}: {why.splitlines()[0][:150]}")
    compared = compare(file)
    counts[file.project, "waiting"] += bool(waiting)
    counts[file.project, "compared"] += len(compared)
    counts[file.project, "agreeing"] += sum(field.agrees for field in compared)
    for field in compared:
        if not field.agrees:
            print(f"{field.file}:{field.line} {field.column}\n    ours   {field.ours[:300]}\n    theirs {field.theirs[:300]}")


def rows(part: str = "") -> None:
    """Print the rows of the differences that are not listed."""
    listed = {row for kind in DIFFERENCES for row in kind.rows}
    for file in files():
        if part in file.id or any(part in reading.format for reading in file.readings):
            for field in compare(file):
                row = (field.file, field.line, field.column, field.ours, field.theirs)
                if not field.agrees and row not in listed:
                    print(f"            {row!r},")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        rows(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
