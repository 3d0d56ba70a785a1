"""Saved queries: files of SQL with a description and parameters, those that come with auditlake and one's own.

A file ``NAME.sql`` begins with a header of comments, and one SELECT over ``requests`` follows::

    -- many_errors
    -- Addresses that were answered with many errors.
    --
    -- What more there is to say, in as many lines as it takes.
    --
    -- $window interval = 24 hours: how far back to look
    -- $paths text = '^/(login|signin)': paths that count, a regular expression
    -- $least integer: errors, at least
    SELECT source_address, count(*) AS errors FROM requests
    WHERE event_time > ago($window) AND http_response_status_code >= 400 AND regexp_matches(url_path, $paths)
    GROUP BY ALL HAVING errors >= $least

A parameter without a default must be given. Values take the place of ``$name`` as SQL literals of the parameter's type, never
as text that is part of the statement; the whole then passes the gate (:mod:`query.gate`) like any other statement.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError
from query.literals import TYPES, literal

__all__ = ["Parameter", "SavedQuery", "every", "find", "read"]

_SHIPPED = Path(__file__).with_suffix("")
_LARGEST = 100_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_PARAMETER = re.compile(r"\$(?P<name>[a-z][a-z0-9_]*) (?P<kind>[a-z]+)(?: = (?P<default>'(?:[^']|'')*'|[^':]+))?: (?P<meaning>\S.*)\Z")
_TOKEN = re.compile(
    r"""(?P<skipped>--[^\n]*|'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<strange>(?<!\w)[eE]'|/\*|\$\w*\$)|(?<!\w)\$(?P<name>[A-Za-z_]\w*)"""
)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a saved query.

    :param kind: a name of ``query.literals.TYPES``.
    :param default: the value when none is given, as a person writes it; ``None``: one must be given.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class SavedQuery:
    """A saved query.

    :param summary: what it answers, in one line.
    :param details: what more there is to say of it; may be empty.
    :param body: the SELECT, with ``$name`` where values go.
    :param own: whether it is from the folder of one's own.
    """

    name: str
    summary: str
    details: str
    parameters: tuple[Parameter, ...]
    body: str
    own: bool = False

    def statement(self, given: Mapping[str, str]) -> str:
        """The SELECT with the values in it, to be passed through the gate.

        :param given: values by name of parameter, as a person writes them.
        :raises UsageError: a name is unknown, a value is of another type, or one is missing.
        """
        values = self._values(given)
        return _TOKEN.sub(lambda token: values[token["name"]] if token["name"] else token[0], self.body)

    def _values(self, given: Mapping[str, str]) -> dict[str, str]:
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise UsageError(f"query {self.name} has no parameter {name!r}", _instead(name, known, "it takes none"))
        return {name: self._value(parameter, given.get(name, parameter.default)) for name, parameter in known.items()}

    def _value(self, parameter: Parameter, value: str | None) -> str:
        if value is None:
            raise UsageError(f"query {self.name} needs {parameter.name}: {parameter.meaning}", f"write -p {parameter.name}=…")
        return literal(parameter.kind, value, f"parameter {parameter.name} of query {self.name}")


def every(folder: str = "") -> dict[str, SavedQuery]:
    """All saved queries by name, in the order of their names; one's own go before those that come with auditlake.

    :param folder: the folder of one's own; empty for none.
    :raises UsageError: the folder or a file in it cannot be read, or a file is no saved query.
    """
    found = {path.stem: read(path) for path in _files(_SHIPPED)}
    if folder:
        found |= {path.stem: read(path, own=True) for path in _files(Path(folder))}
    return dict(sorted(found.items()))


def find(name: str, folder: str = "") -> SavedQuery:
    """The saved query of that name.

    :raises UsageError: there is none, or as :func:`every`.
    """
    known = every(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        raise UsageError(f"there is no saved query {name!r}", f"use {' or '.join(near)}" if near else "see auditlake queries list")
    return known[name]


def read(path: Path, own: bool = False) -> SavedQuery:
    """The saved query of a file.

    :raises UsageError: the file cannot be read, or is no saved query; says which line and why.
    """
    lines = _text(path).splitlines()
    ends = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header = [line.removeprefix("--").strip() for line in lines[:ends]]
    name, summary = [*header, "", ""][:2]
    if not _NAME.match(path.stem) or name != path.stem or not summary or summary.startswith("$"):
        raise UsageError(f"{path} does not begin with its name and what it answers", f"begin it with -- {path.stem} and -- a sentence")
    parameters = tuple(_parameter(path, number, line) for number, line in enumerate(header, start=1) if line.startswith("$"))
    details = "\n".join(line for line in header[2:] if not line.startswith("$")).strip()
    body = "\n".join(lines[ends:]).strip().removesuffix(";").rstrip()
    _check(path, parameters, body)
    return SavedQuery(name, summary, details, parameters, body, own)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".sql" and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"folder of saved queries {folder} cannot be read: {error.strerror}", "mend [query] saved") from None


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"saved query {path} cannot be read: {why}", "mend or remove it") from None
    if len(text) > _LARGEST:
        raise UsageError(f"saved query {path} is longer than {_LARGEST} characters", "write it shorter")
    return text


def _parameter(path: Path, number: int, line: str) -> Parameter:
    found = _PARAMETER.match(line)
    if not found or found["kind"] not in TYPES:
        raise UsageError(f"{path}, line {number}: {line!r} is no parameter", f"write -- $name {'|'.join(TYPES)} = default: meaning")
    name, kind, default, meaning = found.groups()
    if default is not None:
        default = default[1:-1].replace("''", "'") if default.startswith("'") else default.strip()
        literal(kind, default, f"{path}, line {number}: the default of {name}")
    return Parameter(name, kind, default, meaning)


def _check(path: Path, parameters: tuple[Parameter, ...], body: str) -> None:
    tokens = [*_TOKEN.finditer(body)]
    strange = next((token[0] for token in tokens if token["strange"]), None)
    if strange:
        raise UsageError(f"{path}: {strange} is not allowed in a saved query", "write plain quotes, and comments with --")
    declared, used = [parameter.name for parameter in parameters], {token["name"] for token in tokens if token["name"]}
    wrong = sorted({name for name in declared if declared.count(name) > 1} | (used ^ set(declared)))
    if wrong:
        raise UsageError(f"{path}: ${wrong[0]} must stand once in the header and be used below", "mend the file")


def _instead(name: str, known: Mapping[str, Parameter], none: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"use {near[0]}" if near else f"it takes {', '.join(known)}" if known else none
