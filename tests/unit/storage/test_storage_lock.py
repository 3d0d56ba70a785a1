"""One process at a time."""

import os
import signal
from pathlib import Path

import pytest

from core.errors import LockedError
from storage.lock import hold
from tests.unit.storage.rows import child

HOLDER = """
import sys
from pathlib import Path
from storage.lock import hold
with hold(Path({path!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_it_and_gets_it_when_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with child(HOLDER.format(path=str(path))) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"data directory {tmp_path} is in use by process {holder.pid}; wait until"), hold(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_it_is_free_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold(path):
            _ = 1 / 0
    with hold(path):
        pass


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"), hold(path):
            pass
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_longer_pid_of_a_former_holder_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("99999999999\n")
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"
