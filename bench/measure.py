"""What the benchmarks have in common: a process measured from its start to its end, and a table.

Nothing heavy may be imported here, nor by a benchmark that measures processes: the kernel counts the memory of the parent, as it
was at the fork, as the child's. Wall time says what a user waits; CPU time, of all threads together, is what other work on the
machine disturbs less.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HEAD", "Run", "run", "stored_bytes", "table"]

HEAD = ("", "lines", "wall", "lines/s", "CPU", "peak memory", "stored")
"""Of a table of :meth:`Run.row`."""

_KIB_IN_MIB = 1024


@dataclass(frozen=True)
class Run:
    """A finished process.

    :param seconds: wall time; :param cpu: seconds of CPU, user and system, all threads and awaited children.
    :param peak_mib: peak resident memory in MiB; :param output: what it wrote to standard output.
    """

    seconds: float
    cpu: float
    peak_mib: float
    output: str

    def row(self, name: str, lines: int, stored: int) -> tuple[str, ...]:
        """The run as a row of a table: how long it took for so many lines, and the bytes it left."""
        times = f"{self.seconds:,.2f} s", f"{lines / self.seconds:,.0f}", f"{self.cpu:,.2f} s"
        return name, f"{lines:,}", *times, f"{self.peak_mib:,.0f} MiB", f"{stored / 1e6:,.1f} MB"


def run(*command: str) -> Run:
    """Run to the end, measured; standard error passes through.

    :raises SystemExit: it failed.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _KIB_IN_MIB, output.read().decode())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: the first column to the left, all others to the right."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in every]


def stored_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
