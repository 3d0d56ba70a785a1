"""One statement's rows, from the process that makes them to the client, and what the query log says of it in the end."""

import io
import threading
import time
from collections.abc import Iterator
from typing import cast

import pyarrow as pa

from auditlake.quack.workers import Frames, Worker, Workers
from core.errors import AuditlakeError, UsageError
from query.quack import problem_column
from storage.query_log import Asked, QueryLog

__all__ = ["Answer"]

_FORGET_SECONDS = 600.0
_LEFT = "the client did not take all of it"


class Answer:
    """An answer; :meth:`begin` waits for its first rows. A :class:`query.quack.Stream`.

    :param worker: free, and taken from ``workers``.
    :param seconds: how long it may take altogether; ``None`` for ever.
    """

    def __init__(self, workers: Workers, worker: Worker, asked: Asked, log: QueryLog, seconds: float | None) -> None:
        self._workers, self._worker, self._asked, self._log = workers, worker, asked, log
        self._began, self._seconds = time.monotonic(), seconds
        self._touched, self._reading = self._began, True
        self._guard, self._ended, self._reason = threading.Lock(), False, ""
        self._closed, self._rows, self._frames = False, 0, Frames(worker)
        worker.tell({"sql": asked.statement, "role": asked.user.role.name, "form": "arrow", "stream": "requests"})

    @property
    def done(self) -> bool:
        """Whether nobody reads it any more; one that ended early may be asked for once more, to be told so."""
        return self._closed or (self._ended and time.monotonic() - self._touched > _FORGET_SECONDS)

    def begin(self) -> None:
        """Wait for the first rows.

        :raises AuditlakeError: the statement is refused, or failed before; the log has it.
        """
        try:
            self._rows_in = pa.ipc.open_stream(cast("io.BufferedIOBase", io.BufferedReader(self._frames)))
        except (pa.ArrowException, OSError):
            self._give_up()
        names = self._rows_in.schema.names
        self._schema = self._rows_in.schema.append(pa.field(problem_column(names), pa.string()))
        self._reading, self._touched = False, time.monotonic()
        self.reader = pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def end(self, reason: str) -> None:
        """End it early, whoever waits for it."""
        self._reason = self._reason or reason
        self._finish(reason)

    def overdue(self, idle_seconds: float) -> str:
        """Why it should end now: it takes too long, or nobody takes it; empty when it should not."""
        now = time.monotonic()
        if self._seconds is not None and now - self._began > self._seconds:
            return f"the query ran longer than {self._seconds:g} seconds"
        return "" if self._reading or now - self._touched < idle_seconds else _LEFT

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Never raises: what goes wrong is a text in the last column."""
        try:
            while (batch := self._next()) is not None:
                self._rows += batch.num_rows
                fine = pa.nulls(batch.num_rows, pa.string())
                yield pa.RecordBatch.from_arrays([*batch.columns, fine], schema=self._schema)
                self._touched = time.monotonic()
            if problem := self._problem():
                row = [pa.nulls(1, each.type) for each in self._schema][:-1]
                yield pa.RecordBatch.from_arrays([*row, pa.array([problem])], schema=self._schema)
        finally:
            self._finish(_LEFT)
            self._closed = True

    def _next(self) -> pa.RecordBatch | None:
        self._reading = True
        try:
            return None if self._ended else self._rows_in.read_next_batch()
        except (StopIteration, pa.ArrowException, OSError):
            while self._frames.readinto(bytearray(1)):  # what comes after the rows: how they ended
                pass
            return None
        finally:
            self._reading, self._touched = False, time.monotonic()

    def _problem(self) -> str:
        """What the client must be told at the end; empty when it has all rows, and the log says so."""
        if self._reason or not self._frames.told:
            return self._reason or "the answer broke off"
        if self._frames.failed:
            self._finish(str(self._frames.told["error"]))
            return "; ".join(filter(None, (str(self._frames.told["error"]), str(self._frames.told["hint"]))))
        try:
            self._finish("")
        except Exception as error:  # an answer that cannot be logged is none, whatever the reason
            return f"the query cannot be logged: {type(error).__name__}"
        return ""

    def _give_up(self) -> None:
        told = self._frames.told
        reason = self._reason or str(told.get("error", "the answer broke off"))
        self._finish(reason, bool(told.get("refused")))
        self._closed = True
        problem = UsageError if told.get("status") == 400 else AuditlakeError
        raise problem(reason, "" if self._reason else str(told.get("hint", "")))

    def _finish(self, reason: str, refused: bool = False) -> None:
        """Give the process back and log, once; no reason: the answer is whole."""
        with self._guard:
            if self._ended:
                return
            self._ended = True
        self._workers.give_back(self._worker, self._frames.whole)
        seconds = time.monotonic() - self._began
        if refused:
            self._log.refused(self._asked, reason)
        elif reason:
            self._log.failed(self._asked, self._rows, seconds, reason)
        else:
            self._log.answered(self._asked, self._rows, seconds)
