"""What may pass: one SELECT over the views that a role may read, and nothing that reads or changes anything else.

DuckDB's own parser makes the tree (``json_serialize_sql``, which takes no statement but SELECT), so the gate sees what DuckDB
will run, whatever comments, quotes or letters the text plays with. The whole tree is walked, and everything in it must be
known and allowed: kinds of node, tables (the role's views and the statement's own WITH names, each where it is in scope) and
functions (``query.functions``). What the gate does not know it refuses, so a new DuckDB opens nothing by itself.

The gate is the first of two walls: the connection that runs the statement has files, network and settings shut
(``query.lake``), which on its own would still allow writing below the archive, dropping views and creating secrets.
"""

import difflib
import functools
import json
import re
import threading
from dataclasses import dataclass
from typing import Any

import duckdb

from core.errors import UsageError
from core.roles import OWNER, TABLES, Role
from query.days import conditions
from query.errors import one_line
from query.functions import FORMATS, SCALARS, SIZED, TABLE_FUNCTIONS
from query.needs import VIEW, columns_of, fold, nodes_of
from storage import extensions

__all__ = ["LONGEST", "VIEW", "Statement", "check", "examine"]

LONGEST = 100_000
"""Longest statement, in characters."""

LARGEST = 10_000
"""Greatest size that a literal may give to a function that fills memory (``query.functions.SIZED``)."""

_Scope = frozenset[str]
_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}
_TABLES = {"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION"}
_PARTS = {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
_PARTS |= {"ORDER_DEFAULT", "ORDER_ASCENDING", "ORDER_DESCENDING", "ASCENDING", "DESCENDING"}
_EXPRESSIONS = {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA"}
_EXPRESSIONS |= {"OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "WINDOW"}
_CTE_NAME = re.compile(r"(?!duckdb_|pragma_|pg_|sqlite_)[^\W\d]\w*\Z", re.IGNORECASE)
_WIDE = re.compile(r"\d{5}|\*|\{[^}]*\{")
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(\w+)", re.DOTALL)
_FILES = re.compile(r"read_|parquet_|glob\Z|sniff_|iceberg_")
_parser_lock = threading.Lock()


@dataclass(frozen=True)
class Statement:
    """A statement that may run.

    :param columns: the columns of the view that it can see; ``None`` when it does not read the view.
    :param days: conditions that every day it can meet fulfils (:mod:`query.days`).
    :param tables: the other views that it can see (``core.roles.TABLES``).
    """

    text: str
    columns: frozenset[str] | None
    days: tuple[dict[str, Any], ...] = ()
    tables: frozenset[str] = frozenset()


def check(sql: str, role: Role = OWNER) -> str:
    """The statement itself, when it may run.

    :raises UsageError: it is not one SELECT over what the role may read, or uses what is not allowed; says which.
    """
    return examine(sql, role).text


def examine(sql: str, role: Role = OWNER) -> Statement:
    """The statement, when it may run, and what it needs of the views.

    :raises UsageError: as :func:`check`.
    """
    if not role.may_query:
        raise UsageError(f"the role {role.name} may not query", "ask for a token of another role")
    statements = _parse(_plain_text(sql))
    if len(statements) != 1:
        raise UsageError(f"{len(statements)} statements are not allowed", "write one SELECT")
    try:
        _walk(statements[0], role.tables)
    except RecursionError:
        raise UsageError("the statement is nested too deeply", "write it flatter, with WITH") from None
    tree, named = statements[0], _tables_named(statements[0]) & role.tables
    return Statement(sql, columns_of(tree) if VIEW in named else None, conditions(tree), named - {VIEW})


def _tables_named(tree: Any) -> frozenset[str]:
    return frozenset(fold(node["table_name"]) for node in nodes_of(tree) if node.get("type") == "BASE_TABLE")


def _plain_text(sql: str) -> str:
    if len(sql) > LONGEST:
        raise UsageError(f"a statement of {len(sql)} characters is too long", f"write at most {LONGEST}")
    if "\0" in sql or any("\ud800" <= character <= "\udfff" for character in sql):
        raise UsageError("the statement holds a NUL or a broken character", "write it as UTF-8 text")
    return sql


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    connection = extensions.connect(enable_external_access=False, threads=1)
    connection.execute("SET lock_configuration = true")
    return connection


def _parse(sql: str) -> list[Any]:
    with _parser_lock:
        try:
            row = _parser().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
            parsed = json.loads(row[0]) if row else {}
        except (duckdb.Error, RecursionError) as error:
            raise UsageError(f"the statement cannot be parsed: {one_line(error)}") from None
    if parsed.get("error", True):
        raise _parse_error(sql, parsed)
    statements = parsed["statements"]
    return statements if isinstance(statements, list) else []


def _parse_error(sql: str, parsed: dict[str, Any]) -> UsageError:
    message = " ".join(str(parsed.get("error_message")).split())
    if not message.startswith("Only SELECT"):
        return UsageError(f"the statement cannot be parsed: {message}")
    word = _FIRST_WORD.match(sql)
    verb = word[1].upper() if word else "this"
    if "PIVOT" in sql.upper() and verb in {"PIVOT", "FROM", "SELECT", "WITH"}:
        return UsageError("a PIVOT must name its values", "write PIVOT … ON column IN (value, …)")
    if verb in {"SELECT", "FROM", "WITH", "VALUES"}:
        return UsageError("something in the statement is not part of a SELECT", "write one SELECT")
    return UsageError(f"{verb} is not allowed", "write one SELECT")


def _walk(part: Any, scope: _Scope) -> None:
    """Check one part of the tree and all below it; ``scope`` holds the views and the WITH names that may be used here."""
    if isinstance(part, list):
        for each in part:
            _walk(each, scope)
    elif isinstance(part, dict):
        _walk_part(part, scope)


def _walk_part(part: dict[str, Any], scope: _Scope) -> None:
    kind = part.get("type") if isinstance(part.get("type"), str) else ""
    if part.get("named_param_map"):
        raise UsageError("parameters are not allowed", "write the values into the statement")
    if "cte_map" in part:
        _walk_query(part, scope)
    elif "class" in part:
        _check_expression(part)
        _walk_values(part, scope)
    elif kind in _TABLES:
        _walk_table(part, scope)
    elif kind and kind not in _PARTS and not kind.endswith("_TYPE_INFO"):
        raise UsageError(f"{kind} is not allowed", "write a plain SELECT")
    else:
        _walk_values(part, scope)


def _walk_values(part: dict[str, Any], scope: _Scope, leave_out: tuple[str, ...] = ()) -> None:
    for key, value in part.items():
        if key not in leave_out:
            _walk(value, scope)


def _walk_query(node: dict[str, Any], scope: _Scope) -> None:
    """A query node: its WITH names come into scope one after the other, each without itself unless it is recursive."""
    if node.get("type") not in _NODES:
        raise UsageError(f"{node.get('type')} is not allowed", "write a plain SELECT")
    for entry in node["cte_map"]["map"]:
        if not _CTE_NAME.match(entry["key"]):
            raise UsageError(f"a WITH may not be named {entry['key']!r}", "use letters, digits and underscores")
        _walk(entry["value"], scope)
        scope |= {fold(entry["key"])}
    if node["type"] == "RECURSIVE_CTE_NODE":
        _walk(node["left"], scope)
        _walk_values(node, scope | {fold(node["cte_name"])}, ("cte_map", "left"))
    else:
        _walk_values(node, scope, ("cte_map",))


def _walk_table(table: dict[str, Any], scope: _Scope) -> None:
    kind = table["type"]
    if kind == "BASE_TABLE":
        _check_table(table, scope)
    elif kind == "SHOW_REF" and (table.get("query") is None or table.get("show_type") not in {"DESCRIBE", "SUMMARY"}):
        raise UsageError("listing tables, databases or settings is not allowed", f"write DESCRIBE {_first(scope)}")
    elif kind == "TABLE_FUNCTION":
        function = table["function"]
        _check_name(function, TABLE_FUNCTIONS, "table function", _first(scope))
        _walk_values(function, scope)
        _walk_values(table, scope, ("function",))
    else:
        _walk_values(table, scope)


def _check_table(table: dict[str, Any], scope: _Scope) -> None:
    name = table["table_name"]
    if table.get("catalog_name") or table.get("schema_name"):
        name = ".".join(filter(None, (table.get("catalog_name"), table.get("schema_name"), name)))
    elif table.get("at_clause"):
        raise UsageError("AT (VERSION or TIMESTAMP) is not allowed", f"query {name} as it is now")
    elif fold(name) in scope:
        return
    elif fold(name) in TABLES:
        raise UsageError(f"table {fold(name)} is not for this role", f"query {_first(scope)}")
    raise UsageError(f"table {name!r} is not allowed", f"query {_first(scope)}, or a name that WITH gives before")


def _first(scope: _Scope) -> str:
    """What to query instead."""
    return VIEW if VIEW in scope else min(scope & TABLES)


def _check_expression(part: dict[str, Any]) -> None:
    kind = part["class"]
    if kind == "PARAMETER":
        raise UsageError("parameters are not allowed", "write the values into the statement")
    if kind not in _EXPRESSIONS:
        raise UsageError(f"the expression {kind} is not allowed", "write a plain SELECT")
    if kind in {"FUNCTION", "WINDOW"}:
        _check_name(part, SCALARS, "function", VIEW)
        _check_size(part)


def _check_name(function: dict[str, Any], allowed: frozenset[str], what: str, instead: str) -> None:
    name = fold(function["function_name"])
    if function.get("catalog") or function.get("schema", "") not in {"", "main"}:
        raise UsageError(f"a {what} may not be named through a schema: {name}", "write its plain name")
    if name in allowed:
        return
    if _FILES.match(name):
        raise UsageError(f"reading files is not allowed: {name}", f"query {instead}")
    if name in TABLE_FUNCTIONS:
        raise UsageError(f"{name} is allowed only in FROM", f"write FROM {name}(…)")
    near = difflib.get_close_matches(name, sorted(allowed), 1, 0.8)
    raise UsageError(f"{what} {name} is not allowed", f"use {near[0]}" if near else "")


def _check_size(function: dict[str, Any]) -> None:
    name, arguments = fold(function["function_name"]), function.get("children", [])
    if name in SIZED and len(arguments) > SIZED[name]:
        size = _literal(arguments[SIZED[name]])
        if not isinstance(size, int) or size > LARGEST:
            raise UsageError(f"the size given to {name} is not allowed", f"write a number up to {LARGEST}")
    if name in FORMATS and arguments:
        pattern = _literal(arguments[0])
        if not isinstance(pattern, str) or _WIDE.search(pattern):
            raise UsageError(f"the pattern given to {name} is not allowed", "write a text without great or computed widths")


def _literal(expression: dict[str, Any]) -> Any:
    return expression["value"].get("value") if expression.get("class") == "CONSTANT" else None
