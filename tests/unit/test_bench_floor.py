"""The floor must store every byte, or the comparison lies."""

from pathlib import Path

import duckdb

from bench.floor import store_raw


def test_the_floor_keeps_each_line_as_it_is(tmp_path: Path) -> None:
    lines = ['a "b\\" c', "", " x\ty, z;'|", "é" * 70_000, "last"]
    log, database = tmp_path / "it's.log", tmp_path / "floor.duckdb"
    log.write_text("\n".join(lines) + "\n")
    assert store_raw(log, database) == len(lines)
    with duckdb.connect(database, read_only=True) as connection:
        stored = [line or "" for (line,) in connection.execute("SELECT line FROM lines ORDER BY rowid").fetchall()]
    assert stored == lines
