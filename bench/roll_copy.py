"""What a roll is measured against, each in a process of its own: DuckDB's COPY of the same rows, and zstd of the raw log.

python -m bench.roll_copy rows DATA_DIR DATABASE      the hot day as one plain DuckDB table
python -m bench.roll_copy sorted DATABASE FILE        DuckDB's COPY to Parquet, in the archive's order
python -m bench.roll_copy unsorted DATABASE FILE      the same as the rows lie
python -m bench.roll_copy zstd LOG FILE               the log through zstd -19, whole
"""

import sys
from pathlib import Path

__all__ = ["main"]


def _rows(data: Path, database: Path) -> None:
    import duckdb

    from auditlake.lake import open_lake
    from auditlake.settings import Settings

    with open_lake(data, Settings()) as lake, duckdb.connect(str(database)) as connection:
        ctx = lake.context
        (segment,) = [segment for segment, _ in ctx.hot.segments() if not segment.is_quarantine]
        with ctx.hot.read(segment, ctx.key(segment)) as reader:
            connection.register("hot", reader)
            connection.execute("CREATE TABLE rows AS FROM hot")
        print(connection.execute("SELECT count(*) FROM rows").fetchall()[0][0])


def _copy(database: Path, file: Path, is_sorted: bool) -> None:
    import duckdb

    from storage.archive_files import ORDER, ZSTD_LEVEL

    order = f"ORDER BY {', '.join(ORDER)}" if is_sorted else ""
    with duckdb.connect(str(database), read_only=True, config={"temp_directory": str(file.parent / "spilled")}) as connection:
        connection.execute(f"COPY (FROM rows {order}) TO '{file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {ZSTD_LEVEL})")


def _zstd(log: Path, file: Path) -> None:
    import zstandard

    with log.open("rb") as source, file.open("wb") as target:
        zstandard.ZstdCompressor(level=19, threads=-1).copy_stream(source, target, size=log.stat().st_size)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    what, *paths = sys.argv[1:] if arguments is None else arguments
    one, other = map(Path, paths)
    if what == "rows":
        _rows(one, other)
    elif what == "zstd":
        _zstd(one, other)
    else:
        _copy(one, other, what == "sorted")


if __name__ == "__main__":
    main()
