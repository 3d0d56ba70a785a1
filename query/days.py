"""Which days a statement can meet, told from its WHERE: a day file that it cannot meet need not be opened.

Only what is certain is used: of a SELECT straight from the view, the view being read nowhere else, those conditions joined by AND
that compare ``event_time`` or ``event_day`` with something made of constants and the present. DuckDB itself evaluates them, by its
own rules of conversion, over one row for each day: ``event_day`` as it is, ``event_time`` as the day's last instant where it must
be late, and its first where it must be early.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from core.segment import Segment
from query.needs import PRESENT, VIEW, defined_names, fold, nodes_of

__all__ = ["conditions", "possible_days"]

_PURE = {"+", "-", "ago", "current_date", "current_timestamp", "date_trunc", "get_current_timestamp", "lake_now", "now", "today"}
_PURE |= {"trunc", *(f"to_{unit}s" for unit in ("second", "minute", "hour", "day", "week", "month", "year"))}
_KINDS = {"CAST", "COLUMN_REF", "COMPARISON", "BETWEEN", "CONSTANT", "FUNCTION"}
_LATE, _EARLY = ("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO"), ("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO")
_MIRRORED = dict(zip((*_LATE, *_EARLY, "COMPARE_EQUAL"), (*_EARLY, *_LATE, "COMPARE_EQUAL"), strict=True))
_COLUMNS = ("event_time", "event_day")

Tree = dict[str, Any]


def conditions(tree: Any) -> tuple[Tree, ...]:
    """The conditions on a day's ``event_day``, ``begins`` and ``ends`` that every row the statement can meet fulfils."""
    nodes = [*nodes_of(tree)]
    if sum(_is_view(node) for node in nodes) != 1 or defined_names(nodes) & {*_COLUMNS, *PRESENT}:
        return ()
    for node in nodes:
        table = node.get("from_table")
        if isinstance(table, dict) and _is_view(table) and not table.get("sample") and not table.get("column_name_alias"):
            return tuple(found for part in _conjuncts(node.get("where_clause")) for found in _of_days(part))
    return ()


def possible_days(connection: duckdb.DuckDBPyConnection, wanted: Sequence[Tree], days: Sequence[dt.date]) -> set[dt.date]:
    """Those of the days on which all conditions can hold; all of them when that cannot be told."""
    if not wanted or not days:
        return set(days)
    try:
        template = json.loads(_text(connection, "SELECT json_serialize_sql('SELECT event_day FROM days WHERE true AND true')"))
        where = template["statements"][0]["node"]["where_clause"]
        template["statements"][0]["node"]["where_clause"] = {**where, "children": [where["children"][0], *wanted]}
        sql = _text(connection, "SELECT json_deserialize_sql(?::JSON)", json.dumps(template))
        found = connection.execute(f"WITH days(event_day, begins, ends) AS (VALUES {', '.join(map(_row, days))}) {sql}").fetchall()
    except (duckdb.Error, KeyError, TypeError, ValueError):  # the statement itself will say what is wrong with it
        return set(days)
    return {row[0] for row in found}


def _text(connection: duckdb.DuckDBPyConnection, sql: str, *given: str) -> str:
    return str(connection.execute(sql, list(given)).fetchall()[0][0])


def _row(day: dt.date) -> str:
    segment = Segment(VIEW, day)
    last = segment.end - dt.timedelta(microseconds=1)
    return f"(DATE '{day}', TIMESTAMPTZ '{segment.start.isoformat(sep=' ')}', TIMESTAMPTZ '{last.isoformat(sep=' ')}')"


def _is_view(node: Tree) -> bool:
    return node.get("type") == "BASE_TABLE" and fold(node["table_name"]) == VIEW


def _conjuncts(where: Tree | None) -> Iterator[Tree]:
    if where and where.get("type") == "CONJUNCTION_AND":
        for child in where["children"]:
            yield from _conjuncts(child)
    elif where:
        yield where


def _of_days(part: Tree) -> Iterator[Tree]:
    """The condition as one or two on a day; nothing when it says nothing certain of days."""
    if not all(_is_pure(node) for node in nodes_of(part)):
        return
    if part.get("class") == "BETWEEN" and (name := _column(part["input"])) and not _has_column(part["lower"], part["upper"]):
        yield from _compared(name, _LATE[1], part["lower"])
        yield from _compared(name, _EARLY[1], part["upper"])
    elif part.get("class") == "COMPARISON" and part["type"] in _MIRRORED:
        if (name := _column(part["left"])) and not _has_column(part["right"]):
            yield from _compared(name, part["type"], part["right"])
        elif (name := _column(part["right"])) and not _has_column(part["left"]):
            yield from _compared(name, _MIRRORED[part["type"]], part["left"])


def _compared(name: str, kind: str, value: Tree) -> Iterator[Tree]:
    if name == "event_day":
        yield _comparison(name, kind, value)
        return
    if kind not in _EARLY:
        yield _comparison("ends", _LATE[1] if kind == "COMPARE_EQUAL" else kind, value)
    if kind not in _LATE:
        yield _comparison("begins", _EARLY[1] if kind == "COMPARE_EQUAL" else kind, value)


def _comparison(name: str, kind: str, value: Tree) -> Tree:
    column = {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": [name]}
    return {"class": "COMPARISON", "type": kind, "alias": "", "left": column, "right": value}


def _is_pure(node: Tree) -> bool:
    if node.get("class") == "FUNCTION":
        return fold(node["function_name"]) in _PURE
    return "class" not in node or node["class"] in _KINDS


def _column(node: Tree) -> str:
    """``event_time`` or ``event_day`` when the node is that column, else nothing."""
    name = fold(node["column_names"][-1]) if node.get("class") == "COLUMN_REF" else ""
    return name if name in _COLUMNS and len(node["column_names"]) <= 2 else ""


def _has_column(*parts: Tree) -> bool:
    references = (node["column_names"] for part in parts for node in nodes_of(part) if node.get("class") == "COLUMN_REF")
    return any(len(names) > 1 or fold(names[0]) not in PRESENT for names in references)
