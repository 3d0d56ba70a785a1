"""How long the roll of a day takes, verified, in how much memory, and how large the archive is.

In one run, on the same machine, on one day of seeded lines of the combined format (bench/generate.py), ingested with all that is
enriched:

- the roll: ``auditlake run roll`` on a clock a month later, from its start to its end: the rows are counted and digested where
  they are hot, sorted, written, read back, committed, and the hot file is destroyed;
- DuckDB's own COPY of the same rows, from one plain unencrypted table, to Parquet: in the same order at the same level of zstd
  and, for honesty, as the rows lie, unsorted. DuckDB has its default limits, nothing is verified;
- the raw log through zstd -19, whole, beside the bytes of the archive's data files.

Ratios are of wall time and in parentheses of CPU time.

    python -m bench.roll --rows 10000000 --seed 1
"""

# Nothing heavy may be imported here: the kernel counts the memory of the parent, as it was at the fork, as the child's.
import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.ingest import AUDITLAKE, against, ingest
from bench.measure import HEAD, Run, run, stored_bytes, table

__all__ = ["main"]

DAY, NOW = "2015-05-17", "2015-05-18T00:00:00Z"
HEAD_ROWS = tuple(name.replace("lines", "rows") for name in HEAD)


def _ingest(folder: Path, rows: int, seed: int) -> int:
    """Make the hot day, and the same rows as a plain table; returns how many they are."""
    log, data = folder / "access.log", folder / "data"
    run(sys.executable, "-m", "bench.generate", str(rows), f"--seed={seed}", f"--day={DAY}", "--days=1", f"--out={log}")
    ingest(log, data, rows, now=NOW)
    stored = int(run(sys.executable, "-m", "bench.roll_copy", "rows", str(data), str(folder / "rows.duckdb")).output)
    print(
        f"{stored:,} rows of one day, from {log.stat().st_size / 1e6:,.0f} MB of log, {stored_bytes(data / 'hot') / 1e6:,.0f} MB hot",
        flush=True,
    )
    return stored


def _copy(folder: Path, how: str) -> Run:
    return run(sys.executable, "-m", "bench.roll_copy", how, str(folder / "rows.duckdb"), str(folder / f"{how}.parquet"))


def _roll(data: Path, rows: int) -> Run:
    """Roll the day.

    :raises SystemExit: it did not roll every row.
    """
    run(*AUDITLAKE, "--data-dir", str(data), "clock", "advance", "40d", "--json")
    done = run(*AUDITLAKE, "--data-dir", str(data), "run", "roll", "--json")
    report = json.loads(done.output)
    if report["outcome"] != "done" or report["figures"]["rows"] != rows:
        raise SystemExit(f"{rows} rows were hot, and the roll reports {report}")
    return done


def _measure(folder: Path, rows: int, seed: int) -> None:
    stored = _ingest(folder, rows, seed)
    copied, unsorted = _copy(folder, "sorted"), _copy(folder, "unsorted")
    rolled = _roll(folder / "data", stored)
    files = sorted((folder / "data" / "archive").rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    shown = [
        ("DuckDB's COPY, sorted", copied, stored_bytes(folder / "sorted.parquet")),
        ("DuckDB's COPY, unsorted", unsorted, stored_bytes(folder / "unsorted.parquet")),
        ("roll, verified", rolled, size),
    ]
    print("\n".join(table(HEAD_ROWS, [done.row(name, stored, held) for name, done, held in shown])))
    print(f"the roll takes {against(rolled, copied)} that of COPY, {against(rolled, unsorted)} that of COPY unsorted", flush=True)
    print(f"files of {', '.join(f'{file.stat().st_size / 2**20:,.0f}' for file in files)} MiB, {size / stored:.1f} bytes a row", flush=True)
    run(sys.executable, "-m", "bench.roll_copy", "zstd", str(folder / "access.log"), str(folder / "log.zst"))
    raw = stored_bytes(folder / "log.zst")
    print(f"the raw log through zstd -19: {raw / 1e6:,.1f} MB; the archive is {size / raw:.2f} of it")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.roll", description="Measure the roll of a day, and its size.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the day (10,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        _measure(Path(folder), options.rows, options.seed)


if __name__ == "__main__":
    main()
