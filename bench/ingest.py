"""How fast lines reach durable hot storage, and in how much memory, beside the floor in the same run.

Both are processes of their own, timed from their start to their end; the file was written just before and is in the page
cache for both. The floor is DuckDB storing the same lines unparsed (bench/floor.py).

    python -m bench.ingest --lines 1000000 --seed 1
"""

# Nothing heavy may be imported here: the kernel counts the memory of the parent, as it was at the fork, as the child's.
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["main"]

FIRST_DAY, DAYS, NOW = "2015-05-17", 4, "2015-05-21T00:00:00Z"
MIB = 1024


@dataclass(frozen=True)
class Run:
    """A finished process: wall time in seconds, peak resident memory in MiB, its standard output."""

    seconds: float
    peak_mib: float
    output: str

    def row(self, name: str, lines: int, stored_bytes: int) -> str:
        """The run as a line of the table."""
        speed, size = lines / self.seconds, stored_bytes / 1e6
        return f"{name:<22}{self.seconds:>8.2f} s{speed:>12,.0f} rows/s{self.peak_mib:>8,.0f} MiB peak{size:>8,.0f} MB stored"


def _run(*command: str) -> Run:
    """Run to the end, measured; standard error passes through.

    :raises SystemExit: it failed.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        return Run(seconds, usage.ru_maxrss / MIB, output.read().decode())


def _ingest(log: Path, data: Path, lines: int) -> Run:
    auditlake = str(Path(sys.executable).parent / "auditlake")
    _run(auditlake, "--data-dir", str(data), "init", "--simulated-clock", NOW, "--json")
    run = _run(auditlake, "--data-dir", str(data), "ingest", str(log), "--format", "combined", "--json")
    report = json.loads(run.output)
    accounted = sum(report[key] for key in ("stored", "quarantined", "refused", "repeated"))
    if report["read"] != lines or accounted != lines or report["stored"] < 0.99 * lines:
        raise SystemExit(f"{lines} lines were written, and ingest reports {report}")
    return run


def _floor(log: Path, database: Path, lines: int) -> Run:
    run = _run(sys.executable, "-m", "bench.floor", str(log), str(database))
    if int(run.output) != lines:
        raise SystemExit(f"{lines} lines were written, and the floor stored {run.output.strip()}")
    return run


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _measure(folder: Path, lines: int, seed: int) -> None:
    log, data, database = folder / "access.log", folder / "data", folder / "floor.duckdb"
    _run(sys.executable, "-m", "bench.generate", str(lines), f"--seed={seed}", f"--day={FIRST_DAY}", f"--days={DAYS}", f"--out={log}")
    print(f"{lines:,} lines of combined format, {log.stat().st_size / 1e6:,.0f} MB, seed {seed}, {DAYS} days, {os.cpu_count()} cores")
    floor = _floor(log, database, lines)
    print(floor.row("floor: raw in DuckDB", lines, _bytes(database)), flush=True)
    ingest = _ingest(log, data, lines)
    print(ingest.row("auditlake ingest", lines, _bytes(data)))
    print(f"ingest takes {ingest.seconds / floor.seconds:.2f} times the floor")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description="Measure ingest end to end.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        _measure(Path(folder), options.lines, options.seed)


if __name__ == "__main__":
    main()
