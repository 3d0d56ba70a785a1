"""The floor: DuckDB stores the lines of a file as they are, unparsed, in a checkpointed database. Nothing durable is cheaper.

Run it by ``python -m bench.floor access.log out.duckdb``.
"""

import sys
from pathlib import Path

import duckdb

__all__ = ["store_raw"]


def store_raw(lines: Path, database: Path) -> int:
    """Store each line of ``lines`` in a new ``database``; the number of rows."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{_quoted(database)}' AS floor (STORAGE_VERSION 'latest')")
        connection.execute(
            f"CREATE TABLE floor.lines AS SELECT line FROM read_csv('{_quoted(lines)}', auto_detect = false, header = false, "
            "columns = {'line': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', new_line = '\\n', max_line_size = 16777216)"
        )
        connection.execute("CHECKPOINT floor")
        found = connection.execute("SELECT count(*) FROM floor.lines").fetchone()
    return int(found[0]) if found else 0


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


if __name__ == "__main__":
    print(store_raw(Path(sys.argv[1]), Path(sys.argv[2])))
