"""Other settings for a running server: what can be changed while it runs, and what keeps its value until it is started again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditlake.settings import Settings

__all__ = ["FIXED", "Change", "change"]

FIXED = ("serve.http", "serve.quack", "control", "keys", "archive", "resources")
"""Settings that need a restart: places to listen, where things are and under which key, what stores were opened with."""


@dataclass(frozen=True)
class Change:
    """What a reload does.

    :param settings: in force from now on.
    :param taken: names of the sections that changed.
    :param waiting: names of settings that changed and need a restart.
    """

    settings: Settings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]

    def __str__(self) -> str:
        said = (
            f"in force now: {', '.join(self.taken)}"
            if self.taken
            else "nothing else has changed"
            if self.waiting
            else "nothing has changed"
        )
        return f"{said}; needs a restart: {', '.join(self.waiting)}" if self.waiting else said


def change(old: Settings, new: Settings) -> Change:
    """The new settings, but for what is fixed while the server runs."""
    before, after = old.model_dump(by_alias=True), new.model_dump(by_alias=True)
    waiting = tuple(name for name in FIXED if _get(before, name) != _get(after, name))
    for name in waiting:
        _set(after, name, _get(before, name))
    taken = tuple(name for name in after if before[name] != after[name])
    return Change(Settings.model_validate(_without_none(after)), taken, waiting)


def _get(values: Mapping[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return values[section][key] if key else values[section]


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    section, _, key = name.partition(".")
    if key:
        values[section][key] = value
    else:
        values[section] = value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return [_without_none(part) for part in value] if isinstance(value, list) else value
