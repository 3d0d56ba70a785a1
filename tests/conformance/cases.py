"""What a foreign case is: lines, the formats they are read as, and the values another project expects of each line."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DATA", "Case", "CaseFile", "Reading", "Value", "numbers_of"]

DATA = Path(__file__).resolve().parents[1] / "data" / "conformance"
"""Where the copied files are, a folder for each project."""

Value = str | int | float | dt.datetime | None


@dataclass(frozen=True)
class Reading:
    """Lines of a file that are of one shape, and the format that reads them.

    :param format: a format's name, or a name in ``tests.conformance.files.CUSTOM``.
    :param lines: numbers of the lines, from 1, as in ``1-3,7``; empty for all lines of the file.
    """

    format: str
    lines: str = ""


@dataclass(frozen=True)
class Case:
    """One line and what is expected of it.

    :param line: its number in the file, from 1.
    :param expected: our column -> value. Beside the columns of ``core.schema`` there are ``url`` (path and query together,
        or the request as it was logged when it is none) and ``labels.NAME``.
    """

    line: int
    expected: Mapping[str, Value]


@dataclass(frozen=True, eq=False)
class CaseFile:
    """A file of another project.

    :param project: folder under :data:`DATA`.
    :param path: of the file within that folder.
    :param readings: how its lines are read; no line is in two of them.
    :param cases: the lines that are compared, ascending.
    :param data: the file's bytes.
    :param trusted: whether private addresses are believed about the client they name.
    """

    project: str
    path: str
    readings: tuple[Reading, ...]
    cases: tuple[Case, ...] = field(repr=False)
    data: bytes = field(repr=False)
    trusted: bool = False

    @property
    def id(self) -> str:
        """How tests and tables call it."""
        return f"{self.project}/{self.path}"


def numbers_of(lines: str) -> Iterator[int]:
    """``1-3,7`` -> 1, 2, 3, 7."""
    for part in lines.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
