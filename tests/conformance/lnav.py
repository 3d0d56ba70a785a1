"""lnav's formats: regular expressions with named groups, and sample lines; what the expressions find is expected of us.

A line that none of them takes has no expectation. lnav writes PCRE, which Python reads but for the spelling of named groups.
"""

import json
import re
from typing import Any

from tests.conformance.cases import DATA, CaseFile
from tests.conformance.files import FILES
from tests.conformance.loading import Fields, case_file, lines_of, rows

__all__ = ["PROJECT", "load"]

PROJECT = "lnav"
_NAMED_GROUP = re.compile(r"\(\?<(?=\w)")
_CADDY = "caddy_log"


def load() -> list[CaseFile]:
    """Its files, with what is expected of their lines."""
    return [_file(path) for path in FILES[PROJECT]]


def _file(path: str) -> CaseFile:
    file = DATA / PROJECT / path
    if file.suffix == ".json":
        name, definition = file.stem, _definition(file.stem)
        lines = [sample["line"] for sample in definition["sample"]]
        return case_file(PROJECT, path, name, _found(definition, lines), rows(lines))
    name = next(name for name in ("shop_access_log", "haproxy", "caddy_log", "access_log") if name in path)
    name = {"shop_access_log": "access_log", "haproxy": "haproxy_log"}.get(name, name)
    lines = lines_of(file.read_bytes())
    return case_file(PROJECT, path, name, _members(lines) if name == _CADDY else _found(_definition(name), lines))


def _definition(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((DATA / PROJECT / "src/formats" / f"{name}.json").read_text(encoding="utf-8"))[name]
    return definition


def _found(definition: dict[str, Any], lines: list[str]) -> dict[int, Fields]:
    """The named groups of the first expression that takes each line."""
    expressions = [re.compile(_NAMED_GROUP.sub("(?P<", entry["pattern"])) for entry in definition["regex"].values()]
    found: dict[int, Fields] = {}
    for number, line in enumerate(lines, start=1):
        match = next((match for expression in expressions if (match := expression.search(line))), None)
        if match:
            found[number] = {name: value for name, value in match.groupdict().items() if value is not None}
    return found


def _members(lines: list[str]) -> dict[int, Fields]:
    """The members that the JSON format names, with ``/`` between the levels and ``#`` for the first of a list."""
    names = [name for name, value in _definition(_CADDY)["value"].items() if value["kind"] != "json"]
    return {number: _pick(json.loads(line), ["ts", *names]) for number, line in enumerate(lines, start=1) if line}


def _pick(document: Any, names: list[str]) -> Fields:
    picked: dict[str, Any] = {}
    for name in names:
        value = document
        for key in name.removesuffix("#").split("/"):
            value = value.get(key) if isinstance(value, dict) else None
        picked[name] = value[0] if isinstance(value, list) and value else value
    return {name: value for name, value in picked.items() if value is not None}
