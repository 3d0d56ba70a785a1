"""Where the time of ingest goes: seconds of CPU of each stage, all in one process and one after the other.

It is the ingest of the program itself: its functions are wrapped, so that the clock knows which stage runs, and what it hands to
threads of its own runs at once instead. A stage that begins within another counts for itself alone. Threads that Arrow and DuckDB
start within a stage count for that stage.

    python -m bench.stages --lines 1000000 --seed 1
    python -m bench.stages --log access.log --format combined --now 2015-05-21T00:00:00Z
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from auditlake.intake import ingest_options
from auditlake.lake import create, exclusive, open_lake
from auditlake.settings import Settings
from bench.ingest import NOW, write_log
from bench.measure import table
from bench.plain import ENRICHERS
from core.clock import parse_instant
from ingest.follow import follow
from ingest.formats import parse
from jobs import batch, ingest
from storage.hot import HotStore
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["BUILD", "PARSE", "READ", "REST", "TOGETHER", "WRITE", "Stages", "main", "profile", "report"]

START, BUILD, REST = "start: imports", "start: databases, rules", "all else: days, ledger"
READ, PARSE, TOGETHER, WRITE = "read and cut into lines", "parse", "put columns together", "write to hot storage"
_LAST = (TOGETHER, WRITE, REST)
_ROOMS = ("auditlake", "jobs", "storage", "transforms", "ingest", "core")


@dataclass
class Stages:
    """A clock that knows which stage runs.

    :param cpu: seconds of CPU of all threads by stage, in the order in which stages were first begun.
    """

    cpu: dict[str, float] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs until the block ends is that stage, but for stages within."""
        self._charge()
        self._running.append(name)
        self.cpu.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def _charge(self) -> None:
        now = time.process_time()
        if self._running:
            self.cpu[self._running[-1]] += now - self._since
        self._since = now

    def within(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as that stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def each(self, name: str, items: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The generator function, each of whose steps is that stage."""

        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            begun = items(*args, **kwargs)
            end = object()
            while True:
                with self.stage(name):
                    item = next(begun, end)
                if item is end:
                    return
                yield item

        return steps


class _AtOnce(Executor):
    """Runs what it is given before it returns."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def profile(log: Path, data: Path, form: str = "combined", now: str = NOW) -> tuple[Stages, int]:
    """Ingest the file into a new data directory; the stages, and how many lines were read."""
    stages, settings = Stages(), Settings()
    create(data, settings, parse_instant(now))
    with ExitStack() as stack:
        stack.enter_context(stages.stage(REST))
        for place, name, wrapped in _places(stages, stack):
            stack.enter_context(mock.patch.object(place, name, wrapped))
        lake = stack.enter_context(open_lake(data, settings))
        stack.enter_context(exclusive(data))
        tally = ingest.ingest(lake.context, [str(log)], ingest_options(settings, form, "requests"))
    if tally.errors or tally.stored < 0.99 * tally.read:
        raise SystemExit(f"ingest reports {tally.figures()}")
    return stages, tally.read


def _places(stages: Stages, stack: ExitStack) -> Iterator[tuple[Any, str, Any]]:
    """What is wrapped as long as the stack lasts: where, its name, and the wrapped one."""
    yield ingest, "follow", stages.each(READ, follow)
    yield batch, "parse", stages.within(PARSE, parse)
    yield ingest, "build", _building(stages, stack)
    _wrap(stages, stack, Pipeline, TOGETHER, "apply", "star")
    _wrap(stages, stack, HotStore, WRITE, *(name for name in vars(HotStore) if not name.startswith("_")))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _ROOMS and hasattr(module, "ThreadPoolExecutor"):
            yield module, "ThreadPoolExecutor", _AtOnce


def _building(stages: Stages, stack: ExitStack) -> Callable[[TransformOptions], Pipeline]:
    """Builds the pipeline, each of whose transforms is a stage."""

    def build_timed(options: TransformOptions) -> Pipeline:
        with stages.stage(BUILD):
            built = build(options)
        for transform in built.transforms:
            _wrap(stages, stack, type(transform), transform.name, "apply", "columns")
        return built

    return build_timed


def _wrap(stages: Stages, stack: ExitStack, kind: type, stage: str, *names: str) -> None:
    """Those of its methods that it has, as that stage."""
    for name in names:
        if function := getattr(kind, name, None):
            stack.enter_context(mock.patch.object(kind, name, stages.within(stage, function)))


def report(stages: Stages, lines: int) -> list[str]:
    """The lines of a table, and below it the share of enrichment."""
    whole = sum(stages.cpu.values())
    ordered = sorted(stages.cpu.items(), key=lambda item: _LAST.index(item[0]) if item[0] in _LAST else -1)
    rows = [_row(name, cpu, whole, lines) for name, cpu in [*ordered, ("in all", whole)]]
    share = sum(stages.cpu.get(name, 0.0) for name in ENRICHERS) / whole
    return [*table(("stage", "CPU", "share", "a line"), rows), f"{' and '.join(ENRICHERS)} are {share:.1%} of the CPU time"]


def _row(name: str, cpu: float, whole: float, lines: int) -> tuple[str, ...]:
    return name, f"{cpu:.2f} s", f"{cpu / whole:.1%}", f"{cpu / lines * 1e6:.2f} µs"


def _measure(folder: Path, log: Path, form: str, now: str, start: float) -> None:
    stages, lines = profile(log, folder / "data", form, now)
    print(f"{lines:,} lines, one stage after the other")
    print("\n".join(report(Stages({START: start, **stages.cpu}), lines)))


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    start = time.process_time()
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description="Profile ingest stage by stage.")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines, when no log is given (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, help="a log of your own")
    parser.add_argument("--format", default="combined", help="its format (combined)")
    parser.add_argument("--now", default=NOW, help=f"a time at which its lines are new ({NOW})")
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        log = options.log or Path(folder) / "access.log"
        if options.log is None:
            write_log(log, options.lines, options.seed)
        _measure(Path(folder), log, options.format, options.now, start)


if __name__ == "__main__":
    main()
