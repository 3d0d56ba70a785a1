"""Announced steps."""

import pytest

from core.steps import observe, step


def test_an_observer_sees_every_step_until_it_is_taken_away() -> None:
    seen: list[str] = []
    observe(seen.append)
    try:
        step("roll.write")
        step("roll.commit")
    finally:
        observe(None)
    step("unseen")
    assert seen == ["roll.write", "roll.commit"]


def test_what_the_observer_raises_stops_the_work() -> None:
    def stop(name: str) -> None:
        raise InterruptedError(name)

    observe(stop)
    try:
        with pytest.raises(InterruptedError, match=r"purge\.delete"):
            step("purge.delete")
    finally:
        observe(None)
