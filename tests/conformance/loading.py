"""What the loaders share: the table of files, the mapping, and the cases they end in."""

from collections.abc import Iterable, Mapping

from tests.conformance.cases import DATA, Case, CaseFile, Value, numbers_of
from tests.conformance.files import FILES, TRUSTED
from tests.conformance.mapping import HOW, reason_not_compared, target_of

__all__ = ["Fields", "case_file", "is_read", "lines_of", "rows"]

Fields = Mapping[str, Value]
"""What a project says of one line: its name of a field -> value."""


def lines_of(data: bytes) -> list[str]:
    """The lines as text, without their ends."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")


def is_read(project: str, path: str, line: int) -> bool:
    """Whether some reading of the file takes that line."""
    return any(not reading.lines or line in numbers_of(reading.lines) for reading in FILES[project][path])


def case_file(project: str, path: str, scope: str, fields: Mapping[int, Fields], data: bytes | None = None) -> CaseFile:
    """The file with its cases.

    :param scope: the scope of the mapping.
    :param fields: number of a line, from 1 -> what is said of it.
    :param data: the bytes that are read, when not the file's own.
    """
    cases = [Case(line, _expected(project, scope, said)) for line, said in sorted(fields.items()) if is_read(project, path, line)]
    if data is None:
        data = (DATA / project / path).read_bytes()
    return CaseFile(project, path, FILES[project][path], tuple(cases), data, path in TRUSTED)


def _expected(project: str, scope: str, fields: Fields) -> dict[str, Value]:
    """Our columns; a column that several fields name is compared once, if they agree on it, and once for each if not."""
    expected: dict[str, Value] = {}
    for name, value in fields.items():
        target = target_of(project, scope, name)
        if target is None:
            if reason_not_compared(project, name) is None:
                raise KeyError(f"{project}: field {name!r} is neither mapped nor said not to be compared")
            continue
        ours = HOW[target.how](value)
        if expected.setdefault(target.column, ours) != ours:
            expected[f"{target.column} ({name})"] = ours
    return expected


def rows(lines: Iterable[str]) -> bytes:
    """Lines as the bytes of a file."""
    return "".join(f"{line}\n" for line in lines).encode()
