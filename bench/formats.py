"""How fast the lines of each format become columns, beside those of ``combined`` in the same run.

The same seeded requests are written in every registered format, and in ``combined`` within every wrapper (bench/render.py), and go
the road a batch takes before storage: the format's parse, then all transforms. Writing the lines is not measured. Of several
rounds, in each of which every format has its turn, the best counts, so that what else the machine does falls on all alike.

A text format that takes more than three times as long as ``combined`` is marked ``!``, and the exit code is 1; so it is for any
that rejects a line. Formats of JSON documents are measured and not judged: their lines are two to four times as long.

    python -m bench.formats --lines 100000 --seed 1
"""

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass

import pyarrow as pa

from bench.generate import generate
from bench.render import Renderer, lines_of, renderer, requests_of, subjects
from ingest.formats import Format, State, get, parse
from ingest.formats.access import COMBINED
from ingest.formats.base import begins_with_brace
from transforms.pipeline import Pipeline, build

__all__ = ["Result", "main", "measure", "table"]

BATCH_LINES = 100_000
ROUNDS = 3
SLOWEST = 3
"""How many times as long as ``combined`` a format may take."""
_SPARE = 1.1
"""Requests that only some formats can tell are left out: so many more lines are generated."""
_FIRST_DAY, _DAYS = dt.date(2015, 5, 17), 4


@dataclass(frozen=True)
class Result:
    """One format's turn, or the best of several.

    :param parse: seconds of the parse alone; :param whole: of parse and transforms.
    """

    name: str
    lines: int
    bytes: int
    rejected: int
    parse: float
    whole: float
    is_json: bool = False

    def best(self, other: "Result") -> "Result":
        """The lesser times of both."""
        return Result(
            self.name,
            self.lines,
            self.bytes,
            max(self.rejected, other.rejected),
            min(self.parse, other.parse),
            min(self.whole, other.whole),
            self.is_json,
        )

    def fails(self, combined: "Result") -> bool:
        """Whether it did not take all its lines, or is text and too slow: a JSON document is several lines' worth of bytes."""
        return (self.whole > SLOWEST * combined.whole and not self.is_json) or self.rejected > 0


def measure(form: Format, requests: pa.RecordBatch, pipeline: Pipeline) -> Result:
    """The requests written in that format, then parsed and transformed, batch by batch."""
    writer = renderer(form)
    state = parse(form, lines_of(writer.headers)).state
    total = Result(form.name, 0, 0, 0, 0.0, 0.0, begins_with_brace(form))
    for first in range(0, len(requests), BATCH_LINES):
        total, state = _turn(form, writer, requests.slice(first, BATCH_LINES), pipeline, total, state)
    return total


def _turn(
    form: Format, writer: Renderer, requests: pa.RecordBatch, pipeline: Pipeline, so_far: Result, state: State
) -> tuple[Result, State]:
    lines = writer.render(requests)
    start = time.perf_counter()
    parsed = parse(form, lines, state)
    parsed_at = time.perf_counter()
    pipeline.apply(parsed.rows)
    end = time.perf_counter()
    size = int(lines.ends[-1] - lines.starts[0]) + 1
    rejected = so_far.rejected + len(lines) - len(parsed.numbers)
    times = so_far.parse + parsed_at - start, so_far.whole + end - start
    return Result(so_far.name, so_far.lines + len(lines), so_far.bytes + size, rejected, *times, so_far.is_json), parsed.state


def table(results: list[Result]) -> list[str]:
    """The lines of the table; the first result is that of ``combined``."""
    combined = results[0]
    head = f"{'':<2}{'format':<20}{'parse':>12}{'':>7}{'and transforms':>16}{'':>7}{'bytes/line':>12}{'rejected':>10}"
    return [head, *(_row(result, combined) for result in results)]


def _row(result: Result, combined: Result) -> str:
    mark = "!" if result.fails(combined) else ""
    alone, whole = result.lines / result.parse, result.lines / result.whole
    speeds = f"{alone:>10,.0f}/s{combined.parse / result.parse:>6.2f}x{whole:>14,.0f}/s{combined.whole / result.whole:>6.2f}x"
    return f"{mark:<2}{result.name:<20}{speeds}{result.bytes / result.lines:>12,.0f}{result.rejected:>10,}"


def _rounds(forms: list[Format], requests: pa.RecordBatch) -> list[Result]:
    pipeline = build()
    best: dict[str, Result] = {}
    for _ in range(ROUNDS):
        for form in forms:
            result = measure(form, requests, pipeline)
            best[form.name] = result.best(best.get(form.name, result))
    return list(best.values())


def _requests(lines: int, seed: int) -> pa.RecordBatch:
    """Exactly so many, as one batch."""
    text = b"".join(generate(int(lines * _SPARE) + 100, seed, _FIRST_DAY, _DAYS))
    return requests_of(memoryview(text)).slice(0, lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when a format is too slow or rejects a line."""
    parser = argparse.ArgumentParser(prog="python -m bench.formats", description="Measure parse and transforms of every format.")
    parser.add_argument("--lines", type=int, default=100_000, help="lines of each format (100,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these formats, beside combined")
    options = parser.parse_args(arguments)
    if options.lines < 1:
        parser.error("lines must be 1 or more")
    chosen = [COMBINED, *(get(name) for name in options.only if name != COMBINED.name)] if options.only else subjects()
    print(f"{options.lines:,} lines of each format, seed {options.seed}, best of {ROUNDS} rounds; x: beside combined", flush=True)
    results = _rounds(chosen, _requests(options.lines, options.seed))
    print("\n".join(table(results)))
    return int(any(result.fails(results[0]) for result in results))


if __name__ == "__main__":
    sys.exit(main())
