"""What readers see of the archive."""

from pathlib import Path

import pytest

from storage import pointers
from storage.control import Control


def test_a_pointer_is_put_moved_and_taken_away(tmp_path: Path) -> None:
    control = Control.in_file(tmp_path / "control.sqlite")
    assert pointers.get(control, "requests") is None
    pointers.move(control, "requests", "file:///a/1.json")
    with control.write() as connection:
        pointers.put(connection, "mail", "file:///b/1.json")
        pointers.put(connection, "requests", "file:///a/2.json")
        assert pointers.every(connection) == {"mail": "file:///b/1.json", "requests": "file:///a/2.json"}
    pointers.move(control, "requests", None)
    assert pointers.get(control, "requests") is None
    assert pointers.get(control, "mail") == "file:///b/1.json"
    control.close()


def test_a_pointer_moves_with_its_transaction_or_not_at_all(tmp_path: Path) -> None:
    control = Control.in_file(tmp_path / "control.sqlite")
    pointers.move(control, "requests", "file:///a/1.json")

    def fail() -> None:
        with control.write() as connection:
            pointers.put(connection, "requests", "file:///a/2.json")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert pointers.get(control, "requests") == "file:///a/1.json"
    control.close()
