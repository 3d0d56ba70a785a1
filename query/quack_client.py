"""What a DuckDB client sends over Quack by itself, and what it is told.

A client that attaches a server asks it twice what there is; its own BEGIN, COMMIT and ROLLBACK stand around what it believes to be a
change. Each of these is known by its exact text, as the quack extension of DuckDB 1.5.5 sends it, and answered with a constant
that names what the role may read, and nothing that exists here. A scan of an attached table names columns by number; the
numbers are those of the table as it was told. Whatever else comes is a statement for the gate.
"""

import re
from collections.abc import Mapping

import pyarrow as pa

from core.roles import LEDGER, QUERY_LOG, REQUESTS
from core.schema import COLUMNS
from query.books import LEDGER_SCHEMA, QUERY_LOG_SCHEMA

__all__ = ["SCHEMAS_ASKED", "TABLES_ASKED", "constant_answer", "purpose_of", "scan_by_name"]

SCHEMAS_ASKED = """
SELECT catalog_name, schema_name
FROM information_schema.schemata
WHERE catalog_name NOT IN ('system', 'temp')
ORDER BY ALL
\t"""
TABLES_ASKED = """
SELECT schema_name, sql, 'table'
FROM duckdb_tables()
UNION ALL
SELECT schema_name, view_name, 'view'
FROM duckdb_views()
\t"""
_TRANSACTIONS = frozenset({"BEGIN TRANSACTION", "COMMIT", "ROLLBACK"})
_REQUESTS = pa.schema([(column.name, column.type) for column in COLUMNS])
_COLUMNS: Mapping[str, pa.Schema] = {REQUESTS: _REQUESTS, LEDGER: LEDGER_SCHEMA, QUERY_LOG: QUERY_LOG_SCHEMA}
_SCAN = re.compile(rf"SELECT (#\d{{1,4}}(?:, #\d{{1,4}})*) FROM ({'|'.join(_COLUMNS)})")
_PURPOSE = re.compile(r"\s*/\*\s*purpose:(.*?)\*/", re.DOTALL | re.IGNORECASE)


def constant_answer(sql: str, tables: frozenset[str]) -> str | None:
    """The statement to run instead of one that clients send by themselves; ``None`` for any other.

    :param tables: what the role may read.
    """
    if sql in _TRANSACTIONS:
        return 'SELECT true AS "Success"'
    if sql == SCHEMAS_ASKED:
        return "SELECT 'lake' AS catalog_name, 'main' AS schema_name"
    if sql == TABLES_ASKED:
        rows = ", ".join(f"('main', '{_definition(name)}', 'table')" for name in sorted(tables))
        return f"SELECT * FROM (VALUES {rows}) given(schema_name, sql, kind)"
    return None


def scan_by_name(sql: str) -> str:
    """A client's scan with the columns by name, so that only these are read; any other statement as it is."""
    scan = _SCAN.fullmatch(sql)
    if not scan:
        return sql
    names = _COLUMNS[scan[2]].names
    numbers = [int(number) for number in scan[1].replace("#", "").split(", ")]
    if not all(1 <= number <= len(names) for number in numbers):
        return sql
    return f"SELECT {', '.join(names[number - 1] for number in numbers)} FROM {scan[2]}"


def purpose_of(sql: str) -> str:
    """What a statement says it is for, in a comment that it begins with: ``/* purpose: … */``; empty when it does not."""
    said = _PURPOSE.match(sql)
    return said[1].strip() if said else ""


def _definition(name: str) -> str:
    """A client learns the columns from the statement that would make the table."""
    from storage.day_tables import SQL_TYPES

    types = {**SQL_TYPES, pa.bool_(): "BOOLEAN"}
    columns = ", ".join(f"{column.name} {types[column.type]}" for column in _COLUMNS[name])
    return f"CREATE TABLE {name}({columns});"
