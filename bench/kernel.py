"""What a compiled kernel would save: cutting into lines, their digests, and the parse of ``combined``, in C (bench/kernel.c).

A prototype and no part of the product. In one run, on seeded lines of the combined format (bench/generate.py) and on real ones:

- its results beside the product's own: every chunk, with the digest of each line, and every parsed column must be equal;
- processor time a line of both, stage by stage, in one process. Of each chunk, and of each file, the best of several repeats;
- the whole ingest with the kernel in the place of those two stages, beside the ordinary ingest and the floor (bench/floor.py).
  What the two have stored must be equal: rows and content digest of each day, quarantine included.

The kernel is compiled by ``cc`` when the bench begins. Of each program the best of several runs counts, which take turns.

    python -m bench.kernel --lines 1000000 --seed 1 --repeats 3
    python -m bench.kernel --as-ingest kernel.so ARGUMENTS  # the command auditlake with the kernel
"""

# Nothing heavy may be imported here: the operating system counts the memory of the parent, as it was at the fork, as the child's.
import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.ingest import AUDITLAKE, REAL_LOGS, against, ingest, write_log
from bench.measure import HEAD, Run, run, stored_bytes, table

if TYPE_CHECKING:
    from bench.kernel_binding import Kernel
    from ingest.batches import Chunk, Chunker
    from ingest.formats import Format

__all__ = ["Stage", "cutting", "main", "parsing", "stored"]

_REPEATS = 3


@dataclass(frozen=True)
class Stage:
    """Seconds of CPU that the product and the kernel need for the same lines."""

    name: str
    lines: int
    product: float
    kernel: float

    def row(self) -> tuple[str, ...]:
        """A row of a table."""
        each = (f"{seconds / self.lines * 1e6:.3f} µs" for seconds in (self.product, self.kernel))
        return self.name, f"{self.lines:,}", *each, f"{self.product / self.kernel:.1f}"


def _best(repeats: int, work: Callable[[], Any]) -> float:
    """Seconds of CPU, the fewest of several repeats."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def _cut(log: Path, kind: "type[Chunker]") -> None:
    from ingest.batches import Limits
    from ingest.sources import open_source

    with open_source(log) as reader:
        for _ in kind(reader, Limits()):
            pass


class _NoDigest:
    """In the place of a digest that both take the same time for."""

    def __init__(self, _data: object) -> None:
        pass

    def hexdigest(self) -> str:
        return ""


def _same(what: str, equal: bool) -> None:
    if not equal:
        raise SystemExit(f"the kernel's {what} are not the product's")


def _check_chunk(ours: "Chunk", theirs: "Chunk") -> None:
    names = ("start", "end", "digest", "line_digests", "lines", "unterminated", "ends_open_line", "open_line")
    _same("chunks", all(getattr(ours, name) == getattr(theirs, name) for name in names))
    _same("reasons to set lines aside", bool(ours.set_aside.equals(theirs.set_aside)))
    pairs = [(ours.numbers, theirs.numbers), (ours.offsets, theirs.offsets)]
    pairs += [(getattr(ours.good, name), getattr(theirs.good, name)) for name in ("data", "starts", "ends")]
    _same("lines", all(one.tolist() == other.tolist() if one.size < 2 else bool((one == other).all()) for one, other in pairs))


def cutting(log: Path, kernel: "Kernel", repeats: int = _REPEATS) -> list[Stage]:
    """Cut the file with both, compare every chunk, and measure.

    :raises SystemExit: the chunks differ.
    """
    from bench.kernel_binding import chunker
    from ingest.batches import Chunker, Limits
    from ingest.sources import open_source

    fast, lines = chunker(kernel), 0
    with open_source(log) as one, open_source(log) as other:
        for ours, theirs in zip(Chunker(one, Limits()), fast(other, Limits()), strict=True):
            _check_chunk(ours, theirs)
            lines += ours.lines
    whole = Stage("read, cut, digest", lines, *(_best(repeats, partial(_cut, log, kind)) for kind in (Chunker, fast)))
    with mock.patch("hashlib.sha256", _NoDigest):
        bare = Stage("  without the SHA-256 of each chunk", lines, *(_best(repeats, partial(_cut, log, kind)) for kind in (Chunker, fast)))
    return [whole, bare]


def parsing(log: Path, kernel: "Kernel", repeats: int = _REPEATS) -> list[Stage]:
    """Parse the file's lines with both, compare every column, and measure.

    :raises SystemExit: the outcomes differ.
    """
    from bench.kernel_binding import kernel_format
    from ingest.batches import Chunker, Limits
    from ingest.formats.access import COMBINED
    from ingest.sources import open_source

    fast = kernel_format(kernel)
    whole, alone = Stage("parse", 0, 0.0, 0.0), Stage("  without the lines handed over", 0, 0.0, 0.0)
    with open_source(log) as reader:
        for chunk in Chunker(reader, Limits()):
            _check_parse(COMBINED, fast, chunk)
            product = _best(repeats, partial(COMBINED.parse, chunk.good))
            kernels = _best(repeats, partial(fast.parse, chunk.good))
            bare = _best(repeats, partial(kernel.parse, chunk.good))
            whole, alone = (_added(one, chunk, product, took) for one, took in ((whole, kernels), (alone, bare)))
    return [whole, alone]


def _added(stage: Stage, chunk: "Chunk", product: float, kernel: float) -> Stage:
    return Stage(stage.name, stage.lines + len(chunk.good), stage.product + product, stage.kernel + kernel)


def _check_parse(product: "Format", kernel: "Format", chunk: "Chunk") -> None:
    ours, theirs = product.parse(chunk.good), kernel.parse(chunk.good)
    _same("columns", ours.rows.schema.equals(theirs.rows.schema) and bool(ours.rows.equals(theirs.rows)))
    theirs.rows.validate(full=True)
    for name in ("numbers", "rejected", "eventless"):
        _same(name, getattr(ours, name).tolist() == getattr(theirs, name).tolist())
    _same("reasons", ours.reasons == theirs.reasons)


def _stages(library: Path, log: Path, repeats: int) -> None:
    """Compare and measure the stages of one file, and say so."""
    from bench.kernel_binding import Kernel

    kernel = Kernel(library)
    found = cutting(log, kernel, repeats)
    found += parsing(log, kernel, repeats)
    handed = kernel.odd * found[-1].lines // kernel.lines
    print("\n".join(table(("CPU a line", "lines", "product", "kernel", "times"), [stage.row() for stage in found])))
    share = f"{handed:,} of {found[-1].lines:,} lines"
    print(f"all chunks, line digests and parsed columns are equal; the kernel left {share} to the product's parse", flush=True)


def stored(data: Path) -> dict[str, tuple[int, str]]:
    """Rows and content digest of each hot segment of a data directory."""
    from auditlake.lake import open_lake
    from auditlake.settings import Settings

    with open_lake(data, Settings()) as lake:
        ctx = lake.context
        digests = {str(one): ctx.hot.digest(one, ctx.key(one)) for one, _ in ctx.hot.segments()}
    return {segment: (digest.rows, digest.sum) for segment, digest in digests.items()}


def _floor(log: Path, database: Path) -> Run:
    database.unlink(missing_ok=True)
    return run(sys.executable, "-m", "bench.floor", str(log), str(database))


def _ingest(log: Path, data: Path, lines: int, program: tuple[str, ...]) -> Run:
    shutil.rmtree(data, ignore_errors=True)
    return ingest(log, data, lines, program)


def _whole(library: Path, log: Path, folder: Path, lines: int, repeats: int) -> None:
    """Whole runs of the three programs in turn, their best beside each other."""
    program = (sys.executable, "-m", "bench.kernel", "--as-ingest", str(library))
    database, ordinary, fast = folder / "floor.duckdb", folder / "ordinary", folder / "kernel"
    runs: dict[Path, list[Run]] = {database: [], ordinary: [], fast: []}
    for _ in range(repeats):
        runs[database].append(_floor(log, database))
        runs[ordinary].append(_ingest(log, ordinary, lines, AUDITLAKE))
        runs[fast].append(_ingest(log, fast, lines, program))
    best = {path: _fewest(found) for path, found in runs.items()}
    names = ("floor: raw lines in DuckDB", "ingest", "ingest with the kernel")
    print(
        "\n".join(table(HEAD, [done.row(name, lines, stored_bytes(path)) for name, (path, done) in zip(names, best.items(), strict=True)]))
    )
    print(f"ingest takes {against(best[ordinary], best[database])} that of the floor")
    print(f"ingest with the kernel takes {against(best[fast], best[database])} that of the floor")
    print(f"ingest with the kernel takes {against(best[fast], best[ordinary])} that of ingest", flush=True)
    ours, theirs = stored(ordinary), stored(fast)
    _same("stored rows", ours == theirs)
    print(f"what is stored is equal: {sum(rows for rows, _ in ours.values()):,} rows in {len(ours)} segments, by their content digests")


def _fewest(runs: list[Run]) -> Run:
    """The shortest run, with the least CPU time of all."""
    return replace(min(runs, key=lambda done: done.seconds), cpu=min(done.cpu for done in runs))


def _as_ingest(library: Path, arguments: list[str]) -> None:
    from auditlake import cli
    from bench.kernel_binding import Kernel, in_place

    sys.argv = ["auditlake", *arguments]
    with in_place(Kernel(library)):
        cli.main()


def _measure(folder: Path, options: argparse.Namespace) -> None:
    # Compiled by a process of its own, which imports what this one may not.
    compile_it = "import sys, pathlib, bench.kernel_binding as b; print(b.compile_kernel(pathlib.Path(sys.argv[1])))"
    library, log = run(sys.executable, "-c", compile_it, str(folder)).output.strip(), folder / "access.log"
    write_log(log, options.lines, options.seed)
    stages = (sys.executable, "-m", "bench.kernel", "--repeats", str(options.repeats), "--stages", library)
    print(run(*stages, str(log)).output)
    real = REAL_LOGS / "apache-combined" / "access.log"
    print(f"real lines\n{run(*stages, str(real)).output}", flush=True)
    _whole(Path(library), log, folder, options.lines, options.repeats)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--as-ingest"]:
        _as_ingest(Path(given[1]), given[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m bench.kernel", description="Measure what a compiled kernel would save.")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=_REPEATS, help=f"runs of which the best counts ({_REPEATS})")
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    parser.add_argument("--stages", nargs=2, type=Path, metavar=("LIBRARY", "LOG"), help="only the stages, with a compiled kernel")
    options = parser.parse_args(arguments)
    if options.stages:
        library, log = options.stages
        _stages(library, log, options.repeats)
        return
    if shutil.which("cc") is None:
        raise SystemExit("bench.kernel needs a C compiler, and there is no cc on the path")
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        print(f"{os.cpu_count()} cores")
        _measure(Path(folder), options)


if __name__ == "__main__":
    main()
