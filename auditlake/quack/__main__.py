"""The process that listens for DuckDB clients: ``python -m auditlake.quack``, begun by the server alone.

It reads a line of JSON from standard input, ``{"data_dir", "settings"}``, and writes one to standard output when it listens, ``{}``,
or ``{"error", "hint"}`` when it cannot. Each further line is ``{"settings"}``, by which it answers from then on. It opens no
day file: statements run in processes of their own. Its memory is bounded, it runs below the server's priority, and
it ends with its standard input.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from auditlake.console import say
from auditlake.lake import open_lake
from auditlake.quack.desk import Desk
from auditlake.quack.workers import Workers
from auditlake.settings import Settings
from core.errors import AuditlakeError
from query.limits import cap_memory
from query.quack import Gateway

__all__ = ["main"]

_NICE = 10
_BYTES = 3 << 30
"""A gibibyte of it is stacks of Quack's threads, which are hardly ever used."""
_LOOK_SECONDS = 1.0
_LAST_SECONDS = 0.2
"""Within which clients get to know that it ends."""


def main() -> int:
    """Listen until standard input ends."""
    os.nice(_NICE)
    begun = json.loads(sys.stdin.buffer.readline())
    settings = _settings(begun)
    cap_memory(_BYTES)
    try:
        with open_lake(Path(begun["data_dir"]), settings) as lake:
            workers = Workers(Path(begun["data_dir"]), settings)
            desk = Desk(lake, workers)
            with Gateway(settings.serve.quack, desk) as gateway:
                _say({})
                workers.warm()
                _look_until_end(gateway, desk)
                desk.close()
                workers.close()
                time.sleep(_LAST_SECONDS)
                os._exit(0)  # to end Quack's threads in order, while they answer, aborts the process
    except AuditlakeError as error:
        _say({"error": error.problem, "hint": error.hint})
        return 1


def _look_until_end(gateway: Gateway, desk: Desk) -> None:
    ended = threading.Event()

    def listen() -> None:
        try:
            for line in sys.stdin.buffer:
                desk.renew(_settings(json.loads(line)))
        finally:
            ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(_LOOK_SECONDS):
        try:
            gateway.look()
        except Exception as error:  # one look that fails must not end every connection
            say(f"auditlake: Quack: {type(error).__name__}: {error}")


def _settings(told: dict[str, Any]) -> Settings:
    return Settings.model_validate_json(json.dumps(told["settings"]))


def _say(value: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
