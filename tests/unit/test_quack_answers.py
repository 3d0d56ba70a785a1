"""An answer over Quack, from scripted frames of a process: what the client gets, and what the log says."""

import io
import json
from typing import Any, cast

import pyarrow as pa
import pytest

from auditlake.quack.answers import Answer
from auditlake.quack.workers import Worker, Workers
from core.errors import AuditlakeError, UsageError
from core.roles import role
from storage.people import User
from storage.query_log import Asked, QueryLog

ASKED = Asked(User(7, "ann", role("analyst")), "FROM requests")
END = (b"E", json.dumps({"rows": 4}).encode())
FAULT = (b"X", json.dumps({"error": "too many", "hint": "narrow it", "status": 400, "refused": False, "rows": 2}).encode())
REFUSED = (b"X", json.dumps({"error": "COPY is not allowed", "hint": "", "status": 400, "refused": True, "rows": 0}).encode())
DIED = (b"X", json.dumps({"error": "ended", "hint": "", "refused": False, "rows": 0}).encode())


class Script:
    """A process, the others that it came from, and a log, in one."""

    def __init__(self, *frames: tuple[bytes, bytes]) -> None:
        self.frames, self.returned, self.said = list(frames), list[bool](), list[tuple[Any, ...]]()
        self.told: dict[str, str] = {}
        self.breaks = False

    def tell(self, value: dict[str, str]) -> None:
        self.told = value

    def frame(self) -> tuple[bytes, bytes]:
        return self.frames.pop(0)

    def give_back(self, worker: object, whole: bool) -> None:
        assert worker is self
        self.returned.append(whole)

    def answered(self, asked: Asked, rows: int, seconds: float) -> None:
        assert (asked, seconds >= 0) == (ASKED, True)
        if self.breaks:
            raise OSError("the disk is full")
        self.said.append(("answered", rows))

    def failed(self, asked: Asked, rows: int, seconds: float, reason: str) -> None:
        assert (asked, seconds >= 0) == (ASKED, True)
        self.said.append(("failed", rows, reason))

    def refused(self, asked: Asked, reason: str) -> None:
        assert asked == ASKED
        self.said.append(("refused", reason))

    def answer(self, seconds: float | None = None) -> Answer:
        return Answer(cast("Workers", self), cast("Worker", self), ASKED, cast("QueryLog", self), seconds)


def rows() -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Two batches of two rows, as a stream in two frames that part anywhere."""
    out = io.BytesIO()
    batch = pa.record_batch({"n": [1, 2]})
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    data = out.getvalue()
    return (b"D", data[:100]), (b"D", data[100:])


def test_a_whole_answer_is_logged_once_its_last_row_is_taken() -> None:
    script = Script(*rows(), END)
    answer = script.answer()
    answer.begin()
    assert script.told == {"sql": "FROM requests", "role": "analyst", "form": "arrow", "stream": "requests"}
    assert (script.said, answer.done) == ([], False)
    assert answer.reader.read_all().to_pydict() == {"n": [1, 2, 1, 2], "problem": [None] * 4}
    assert (script.said, script.returned, answer.done) == ([("answered", 4)], [True], True)


@pytest.mark.parametrize(("last", "problem", "whole"), [(FAULT, "too many; narrow it", True), (DIED, "ended", False)])
def test_what_goes_wrong_on_the_way_comes_as_the_last_row(last: tuple[bytes, bytes], problem: str, whole: bool) -> None:
    script = Script(*rows(), last)
    answer = script.answer()
    answer.begin()
    assert answer.reader.read_all().to_pylist()[-1] == {"n": None, "problem": problem}
    assert (script.said, script.returned) == ([("failed", 4, problem.partition(";")[0])], [whole])


def test_an_answer_that_cannot_be_logged_is_none() -> None:
    script = Script(*rows(), END)
    script.breaks = True
    answer = script.answer()
    answer.begin()
    assert answer.reader.read_all().to_pylist()[-1]["problem"] == "the query cannot be logged: OSError"
    assert script.returned == [True]


def test_a_refusal_and_an_early_failure_are_errors_of_the_beginning() -> None:
    refused, failed = Script(REFUSED), Script(DIED)
    with pytest.raises(UsageError, match="COPY is not allowed"):
        refused.answer().begin()
    assert (refused.said, refused.returned) == ([("refused", "COPY is not allowed")], [True])
    with pytest.raises(AuditlakeError, match="ended"):
        failed.answer().begin()
    assert (failed.said, failed.returned) == ([("failed", 0, "ended")], [False])


def test_an_answer_that_nobody_takes_or_that_lasts_too_long_is_ended() -> None:
    script = Script(*rows(), END)
    answer = script.answer()
    assert answer.overdue(0.0) == ""
    answer.begin()
    assert answer.overdue(60.0) == ""
    assert answer.overdue(0.0) == "the client did not take all of it"
    answer.end("the client went away")
    answer.end("again")
    assert (script.said, script.returned) == ([("failed", 0, "the client went away")], [False])
    assert answer.reader.read_all().to_pylist() == [{"n": None, "problem": "the client went away"}]
    assert Script().answer(seconds=0.0).overdue(60.0) == "the query ran longer than 0 seconds"
