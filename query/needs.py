"""Which columns of the view a statement can see, told from its tree; too many rather than too few.

A day file holds what its rows share in tables of their own, and the view joins to each row what is asked for. DuckDB does not leave
out a join whose columns nobody reads, so the view is made with those columns alone that the statement names. A name that is no
column and that the statement does not define itself, and whatever stands for all columns (``*``, ``COLUMNS``, the table's own name
as a value, NATURAL, a list of new names for columns, ``#1``), asks for every column.
"""

from collections.abc import Iterator
from typing import Any

from core.schema import COLUMNS

__all__ = ["EVERY_COLUMN", "PRESENT", "VIEW", "columns_of", "defined_names", "fold", "nodes_of"]

VIEW = "requests"
"""The one table."""

EVERY_COLUMN = frozenset(column.name for column in COLUMNS)

PRESENT = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Words for the present, which stand in the tree as if they were columns."""

_WHOLE_ROWS = {"STAR", "POSITIONAL_REFERENCE", "PIVOT", "SHOW_REF"}


def columns_of(tree: Any) -> frozenset[str] | None:
    """The columns of the view that a parsed statement can see; ``None`` when it does not read the view at all."""
    nodes = [*nodes_of(tree)]
    if not any(node.get("type") == "BASE_TABLE" and fold(node["table_name"]) == VIEW for node in nodes):
        return None
    names, tables = {fold(name) for node in nodes for name in _names(node)}, _tables(nodes)
    if names - EVERY_COLUMN - PRESENT - defined_names(nodes) or any(_is_whole(node) or _is_row(node, tables) for node in nodes):
        return EVERY_COLUMN
    return frozenset(names & EVERY_COLUMN)


def fold(name: str) -> str:
    """Lower case as DuckDB has it: of ASCII letters only."""
    return name.encode().lower().decode()


def nodes_of(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree."""
    rest = [part]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            yield part
            rest += part.values()
        elif isinstance(part, list):
            rest += part


def _names(node: dict[str, Any]) -> list[str]:
    """The names that a node looks up among columns."""
    if node.get("class") == "COLUMN_REF":
        return list(node["column_names"])
    return list(node.get("using_columns") or ())


def _is_whole(node: dict[str, Any]) -> bool:
    kind = node.get("type")
    known = isinstance(kind, str) and kind in _WHOLE_ROWS
    return known or node.get("ref_type") == "NATURAL" or bool(node.get("column_name_alias"))


def _is_row(node: dict[str, Any], tables: set[str]) -> bool:
    return node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1 and fold(node["column_names"][0]) in tables


def _tables(nodes: list[dict[str, Any]]) -> set[str]:
    return {VIEW, *(fold(node["alias"]) for node in nodes if node.get("alias") and "class" not in node)}


def defined_names(nodes: list[dict[str, Any]]) -> set[str]:
    """Names that the statement gives: to columns and tables, and to WITH queries."""
    given = {VIEW, *(fold(node["alias"]) for node in nodes if node.get("alias"))}
    return given | {fold(node["table_name"]) for node in nodes if node.get("table_name")}
