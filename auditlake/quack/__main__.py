"""The process that listens for DuckDB clients: ``python -m auditlake.quack``, begun by the server alone.

It reads a line of JSON from standard input, ``{"data_dir", "settings"}``, and writes one to standard output when it listens, ``{}``,
or ``{"error", "hint"}`` when it cannot. It holds no key and opens no day file: statements run in processes of their own. Its memory
is bounded, it runs below the server's priority, and it ends with its standard input.
"""

import json
import os
import sys
import threading
from pathlib import Path

from auditlake.lake import open_lake
from auditlake.quack.desk import Desk
from auditlake.quack.workers import Workers
from auditlake.settings import Settings
from core.errors import AuditlakeError
from query.limits import cap_memory
from query.quack import Gateway

__all__ = ["main"]

_NICE = 10
_BYTES = 2 << 30
_LOOK_SECONDS = 1.0


def main() -> int:
    """Listen until standard input ends."""
    os.nice(_NICE)
    begun = json.loads(sys.stdin.buffer.readline())
    settings = Settings.model_validate_json(json.dumps(begun["settings"]))
    cap_memory(_BYTES)
    try:
        with open_lake(Path(begun["data_dir"]), settings) as lake:
            workers = Workers(Path(begun["data_dir"]), settings, settings.serve.queries)
            desk = Desk(lake, workers)
            with Gateway(settings.serve.quack, desk) as gateway:
                _say({})
                workers.warm()
                _look_until_end(gateway)
                desk.close()
            workers.close()
    except AuditlakeError as error:
        _say({"error": error.problem, "hint": error.hint})
        return 1
    return 0


def _look_until_end(gateway: Gateway) -> None:
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(_LOOK_SECONDS):
        gateway.look()


def _say(value: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
