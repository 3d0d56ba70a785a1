"""Commands in processes of their own, which a test may really kill at any announced step.

Every command runs in a fresh process that is forked from a server in which everything is imported and nothing is opened
yet (multiprocessing's forkserver), since starting Python and importing costs more than the commands do.
"""

import contextlib
import io
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyiceberg.io.pyarrow  # noqa: F401 - these are for the server: commands import them only when they need them
import pytest

import auditlake.analyst
import auditlake.intake
import auditlake.rejected
from auditlake import lake as lakes
from auditlake.cli import App, main
from core.errors import AuditlakeError
from core.steps import observe
from query.lake import open_lake
from query.run import run_on
from tests.simulation.support import quick_extensions, snapshot
from transforms.agents import Agents

__all__ = ["Driver", "Run"]

_HERE = "tests.simulation.driver"
_ENOUGH = 60.0


@dataclass(frozen=True)
class Run:
    """What became of a command: its exit code (-9 when killed), the steps it announced, its JSON, its messages, the state after it."""

    code: int
    steps: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    messages: str = ""
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


class Reader:
    """A process that has opened the view, has begun a first statement, and finishes it and asks another when told to."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe

    def begun(self) -> Any:
        """The first rows of the first statement, or the name of the error that kept the view from being opened."""
        return _receive(self._pipe)

    def finish(self) -> Any:
        """All rows of the first statement, and all of the other (or the name of its error)."""
        self._pipe.send("go")
        found = _receive(self._pipe)
        self._process.join(_ENOUGH)
        return found


class Driver:
    """Starts the processes.

    :param data_dir: the data directory of every command.
    :param config: its settings.
    :param root: the project's folder.
    """

    def __init__(self, data_dir: Path, config: Path, root: Path) -> None:
        self._place = (str(data_dir), str(config))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_HERE])
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("AUDITLAKE_", "AWS_"))]:
                patch.delenv(name)
            patch.setenv("PYTHONPATH", str(root))
            patch.setenv("OPENBLAS_NUM_THREADS", "1")  # nothing but allocators' own threads may run when a process is forked
            multiprocessing.forkserver.ensure_running()

    def command(self, *arguments: str, kill: int = 0, look: bool = False) -> Run:
        """Run ``auditlake ARGUMENTS --json`` to its end.

        :param kill: the number of the step, from 1, at which SIGKILL ends it; 0 for none.
        :param look: return the state that it leaves, too.
        """
        process, pipe = self._start(_command, arguments, kill, look)
        found = _receive(pipe, missing={})
        process.join(_ENOUGH)
        assert process.exitcode is not None, f"{arguments} did not end"
        return Run(**found) if found else Run(process.exitcode)

    def reader(self, first: str, then: str, patience: float = 5.0) -> Reader:
        """Open the view as ``auditlake query`` does, ask ``first`` at once, ``then`` later.

        :param patience: how long to wait for a writer to let go of a day file, seconds.
        """
        return Reader(*self._start(_reader, first, then, patience))

    def _start(self, work: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, *self._place, *arguments))
        process.start()
        theirs.close()
        return process, mine


def _receive(pipe: Connection, missing: Any = None) -> Any:
    try:
        assert pipe.poll(_ENOUGH), "no answer from the process"
        return pipe.recv()
    except EOFError:
        return missing


def _command(pipe: Connection, data_dir: str, config: str, arguments: tuple[str, ...], kill: int, look: bool) -> None:
    steps: list[str] = []

    def hook(name: str) -> None:
        steps.append(name)
        if len(steps) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    output, messages, code = io.StringIO(), io.StringIO(), 0
    observe(hook)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
        try:
            main(["--data-dir", data_dir, "--config", config, "--json", *arguments])
        except SystemExit as done:
            code = int(done.code or 0)
    observe(None)
    state = {}
    if look:
        with _opened(data_dir, config) as lake:
            state = snapshot(lake)
    pipe.send({"code": code, "steps": tuple(steps), "figures": _json(output.getvalue()), "messages": messages.getvalue(), "state": state})


def _reader(pipe: Connection, data_dir: str, config: str, first: str, then: str, patience: float) -> None:
    try:
        with _opened(data_dir, config) as lake:
            connection = open_lake(replace(auditlake.analyst.build_view(lake), patience=patience))
        with run_on(connection, first) as result:
            begun = result.batches()
            rows = _tuples(next(begun))
            pipe.send(rows)
            pipe.recv()
            pipe.send((rows + [row for batch in begun for row in _tuples(batch)], _rows(connection, then)))
    except AuditlakeError as error:
        pipe.send(type(error).__name__)


def _rows(connection: Any, sql: str) -> Any:
    try:
        with run_on(connection, sql) as result:
            return [row for batch in result.batches() for row in _tuples(batch)]
    except AuditlakeError as error:
        return type(error).__name__


def _tuples(batch: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in batch.to_pylist()]


@contextlib.contextmanager
def _opened(data_dir: str, config: str) -> Iterator[lakes.Lake]:
    with lakes.open_lake(Path(data_dir), App(config=Path(config)).settings) as lake:
        yield lake


def _json(text: str) -> Any:
    return json.loads(text) if text.strip() else {}


quick_extensions()
Agents()  # makes ua-parser's engine, once for all processes
