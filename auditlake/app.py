"""What every command shares: the global options, where they may stand, how the data directory is opened, and a result shown.

Nothing heavy is imported before a command needs it: ``--help`` and the completion of a shell are answered at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditlake.console import show_json, show_pairs

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from auditlake.settings import Settings
    from jobs.context import Progress

__all__ = ["AS_JSON", "App", "Ordered", "common", "show"]

AS_JSON = "auditlake.as_json"
"""Where a command's context keeps whether its answer is JSON."""


@dataclass(frozen=True)
class App:
    """What the global options say."""

    data_dir: Path = Path("data")
    config: Path | None = None
    as_json: bool = False

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.reread()

    @functools.cached_property
    def config_file(self) -> Path | None:
        """The file of the settings, ``None`` when there is none."""
        return self.config or (Path("config.toml") if Path("config.toml").exists() else None)

    def reread(self) -> Settings:
        """The settings, read from the same file again.

        :raises UsageError: it cannot be read, or a key or value is refused.
        """
        from auditlake.settings import load

        return load(self.config_file)

    @contextmanager
    def reading(self) -> Iterator[Lake]:
        """The data directory, open; another process may be changing it.

        :raises UsageError: there is none.
        """
        from auditlake.lake import open_lake

        with open_lake(self.data_dir, self.settings) as lake:
            yield lake

    @contextmanager
    def changing(self, report: Progress | None = None) -> Iterator[Lake]:
        """The data directory, open and locked.

        :param report: is told how far long work has come.
        :raises LockedError: another process holds it.
        """
        from auditlake.lake import exclusive, open_lake

        with exclusive(self.data_dir), open_lake(self.data_dir, self.settings, report) as lake:
            yield lake


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the global options after its name too; the later place wins."""

    @click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Data directory (default: ./data).")
    @click.option("--config", type=click.Path(path_type=Path), default=None, help="Settings (default: ./config.toml when there is one).")
    @click.option("--json", "as_json", is_flag=True, default=None, help="Print one JSON object and nothing else.")
    @functools.wraps(command)
    def wrapped(*, data_dir: Path | None, config: Path | None, as_json: bool | None, **rest: Any) -> None:
        context = click.get_current_context()
        given = {"data_dir": data_dir, "config": config, "as_json": as_json}
        app = replace(context.obj, **{name: value for name, value in given.items() if value is not None})
        context.meta[AS_JSON] = app.as_json
        command(app, **rest)

    return wrapped


class Ordered(click.Group):
    """A group that lists its commands in the order in which they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, in that order."""
        return list(self.commands)


def show(app: App, result: dict[str, Any]) -> None:
    """A result: one JSON object, or names and values."""
    if app.as_json:
        show_json(result)
    else:
        show_pairs(result)
