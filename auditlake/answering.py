"""A process that answers the server's queries, one at a time (:mod:`auditlake.worker`).

It reads a line of JSON from standard input, first ``{"data_dir", "settings"}``, then for each query
``{"sql", "role", "form", "stream"}``, and writes frames to standard output: a letter, four bytes of length (big-endian), and so
many bytes. ``D`` is a piece of the answer, ``E`` its end with ``{"rows"}``, ``X`` an end by an error with
``{"error", "hint", "status", "refused", "rows"}``. Its memory is bounded as the role's limits say. It ends with its standard
input, whatever it is at.
"""

import io
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from auditlake.analyst import PROCESS_BYTES, begin, masked_for
from auditlake.lake import Lake, open_lake
from auditlake.settings import Settings, size_bytes
from core.errors import AuditlakeError, LockedError, UsageError
from core.roles import role
from query.gate import examine
from query.limits import capped_memory
from query.output import write_to
from query.run import Result

__all__ = ["FRAME_BYTES", "answer_all"]

FRAME_BYTES = 256 << 10
"""A frame is sent when it has so many bytes, or at the end."""


class _Frames(io.RawIOBase):
    """What is written becomes frames of data."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._held += piece
        if len(self._held) >= FRAME_BYTES:
            self.pass_on()
        return len(piece)

    def pass_on(self) -> None:
        """Send what is held."""
        if self._held:
            self.frame(b"D", bytes(self._held))
            self._held.clear()

    def frame(self, letter: bytes, payload: bytes) -> None:
        """Send a frame."""
        self._out.write(letter + len(payload).to_bytes(4, "big") + payload)
        self._out.flush()


class _Limited:
    """A result that ends with an error when it has more rows than it may."""

    def __init__(self, result: Result, most: int | None) -> None:
        self._result, self._most = result, most
        self.schema, self.rows = result.schema, 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._result.batches():
            self.rows += batch.num_rows
            if self._most is not None and self.rows > self._most:
                raise UsageError(f"the answer has more than {self._most} rows", "narrow it, or add a LIMIT")
            yield batch


def answer_all() -> None:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else gets between the frames
    asked: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    begun = json.loads(asked.get())
    settings = Settings.model_validate_json(json.dumps(begun["settings"]))
    with open_lake(Path(begun["data_dir"]), settings) as lake:
        while True:
            _answer(lake, json.loads(asked.get()), _Frames(out))


def _listen(asked: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(0)


def _answer(lake: Lake, asked: dict[str, str], frames: _Frames) -> None:
    rows, refused = 0, True
    try:
        who = role(asked["role"])
        limits = lake.settings.roles.limits(who)
        cap = 2 * size_bytes(limits.memory if limits else lake.settings.query.memory) + PROCESS_BYTES
        with capped_memory(cap):
            statement = examine(asked["sql"], who)
            refused = False
            seconds = limits.seconds if limits else None
            with begin(lake, statement, asked["stream"], seconds, lambda view: masked_for(lake, view, who)) as result:
                limited = _Limited(result, limits.rows if limits else None)
                try:
                    write_to(limited, asked["form"], cast("BinaryIO", frames))
                finally:
                    rows = limited.rows
        frames.pass_on()
        frames.frame(b"E", json.dumps({"rows": rows}).encode())
    except AuditlakeError as error:
        status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, LockedError) else 422
        told = {"error": error.problem, "hint": error.hint, "status": status, "refused": refused, "rows": rows}
        frames.frame(b"X", json.dumps(told).encode())
