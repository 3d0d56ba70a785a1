"""How fast lines reach durable hot storage, in how much memory, and how much of that is enrichment.

In one run, on the same machine and on seeded lines of the combined format (bench/generate.py):

- the floor: DuckDB storing the same lines unparsed, checkpointed (bench/floor.py);
- the same ingest with nothing enriched (bench/plain.py): what it saves is the share of enrichment;
- the script a capable user writes (bench/script.py), beside ingest of the same lines. It is slow, so it gets fewer lines, of a
  file of their own: with as many distinct addresses and agents to a line. The memory that ingest takes there shows whether it
  grows with the file;
- real logs, as they are. They are so short that the start of the program is nearly all of it.

Each is a process of its own, timed from its start to its end; its file was written just before and is in the page cache for all.
Ratios are of wall time, which is what a user waits, and in parentheses of CPU time; shares are of CPU time.

    python -m bench.ingest --lines 5000000 --script-lines 1000000 --seed 1
"""

# Nothing heavy may be imported here: the kernel counts the memory of the parent, as it was at the fork, as the child's.
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from bench.measure import HEAD, Run, run, stored_bytes, table

__all__ = ["AUDITLAKE", "PLAIN", "against", "ingest", "main", "write_log"]

FIRST_DAY, DAYS, NOW = "2015-05-17", 4, "2015-05-21T00:00:00Z"
REAL_LOGS = Path(__file__).resolve().parent.parent / "tests" / "data" / "logs"
REAL = (("combined", "apache-combined", NOW), ("common", "nasa-common", "1995-07-02T00:00:00Z"))
"""Format, folder in :data:`REAL_LOGS`, and a time at which the lines are new."""

AUDITLAKE = (str(Path(sys.executable).parent / "auditlake"),)
PLAIN = (sys.executable, "-m", "bench.plain")


def write_log(log: Path, lines: int, seed: int) -> None:
    """Write so many lines, and say so."""
    run(sys.executable, "-m", "bench.generate", str(lines), f"--seed={seed}", f"--day={FIRST_DAY}", f"--days={DAYS}", f"--out={log}")
    size = f"{log.stat().st_size / 1e6:,.0f} MB"
    print(f"{lines:,} lines of the combined format, {size}, seed {seed}, {DAYS} days, {os.cpu_count()} cores", flush=True)


def ingest(log: Path, data: Path, lines: int, program: tuple[str, ...] = AUDITLAKE, form: str = "combined", now: str = NOW) -> Run:
    """Ingest the file into a new data directory.

    :raises SystemExit: it does not account for every line, or stores less than 99 of a hundred.
    """
    run(*program, "--data-dir", str(data), "init", "--simulated-clock", now, "--json")
    done = run(*program, "--data-dir", str(data), "ingest", str(log), "--format", form, "--json")
    report = json.loads(done.output)
    accounted = sum(report[key] for key in ("stored", "quarantined", "refused", "repeated"))
    if report["read"] != lines or accounted != lines or report["stored"] < 0.99 * lines:
        raise SystemExit(f"{lines} lines were written, and ingest reports {report}")
    return done


def against(one: Run, other: Run) -> str:
    """How many times the wall time of the other, and in parentheses the CPU time."""
    return f"{one.seconds / other.seconds:.2f} times ({one.cpu / other.cpu:.2f})"


def _counted(name: str, log: Path, database: Path, lines: int) -> Run:
    """A benchmark's own program, which prints how many lines it stored."""
    done = run(sys.executable, "-m", f"bench.{name}", str(log), str(database))
    if not 0.99 * lines <= int(done.output) <= lines:
        raise SystemExit(f"{lines} lines were written, and bench.{name} stored {done.output.strip()}")
    return done


def _show(rows: list[tuple[str, ...]]) -> None:
    print("\n".join(table(HEAD, rows)))


def _beside_the_floor(folder: Path, lines: int, seed: int) -> Run:
    log, database, data, bare = folder / "access.log", folder / "floor.duckdb", folder / "data", folder / "plain"
    write_log(log, lines, seed)
    floor = _counted("floor", log, database, lines)
    whole, plain = ingest(log, data, lines), ingest(log, bare, lines, PLAIN)
    rows = [("floor: raw lines in DuckDB", floor, database), ("ingest", whole, data), ("ingest, nothing enriched", plain, bare)]
    _show([done.row(name, lines, stored_bytes(path)) for name, done, path in rows])
    print(f"ingest takes {against(whole, floor)} that of the floor")
    share = f"{1 - plain.cpu / whole.cpu:.1%} of its CPU time, {1 - plain.seconds / whole.seconds:.1%} of its wall time"
    print(f"enrichment (places, networks, agents) is {share}", flush=True)
    return whole


def _beside_the_script(folder: Path, lines: int, seed: int) -> Run:
    log, database, data = folder / "fewer.log", folder / "script.duckdb", folder / "fewer"
    print()
    write_log(log, lines, seed)
    script, whole = _counted("script", log, database, lines), ingest(log, data, lines)
    rows = [("script of a user", script, database), ("ingest", whole, data)]
    _show([done.row(name, lines, stored_bytes(path)) for name, done, path in rows])
    print(f"the script takes {against(script, whole)} that of ingest", flush=True)
    return whole


def _real(folder: Path) -> None:
    rows = []
    for form, name, now in REAL:
        log, data = REAL_LOGS / name / "access.log", folder / name
        lines = log.read_bytes().count(b"\n")
        rows.append(ingest(log, data, lines, AUDITLAKE, form, now).row(name, lines, stored_bytes(data)))
    print("\nreal logs, as they are: nearly all of it is the start of the program")
    _show(rows)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description="Measure ingest end to end.")
    parser.add_argument("--lines", type=int, default=5_000_000, help="lines beside the floor (5,000,000)")
    parser.add_argument("--script-lines", type=int, default=1_000_000, help="lines beside the script of a user (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        many = _beside_the_floor(Path(folder), options.lines, options.seed)
        fewer = _beside_the_script(Path(folder), options.script_lines, options.seed)
        peaks = ", ".join(
            f"{done.peak_mib:,.0f} MiB at {lines:,} lines" for done, lines in ((many, options.lines), (fewer, options.script_lines))
        )
        print(f"peak memory of ingest: {peaks}")
        _real(Path(folder))


if __name__ == "__main__":
    main()
