"""Which data directory a control database elsewhere belongs to: both hold the same random id.

Two data directories on one database would take each other's days for their own, and one directory on a second, empty
database would begin again beside the rows it has. Either is refused.

<data-dir>/control.id       the id; control.id.new while the directory is being made
"""

import os
import secrets
from pathlib import Path

import sqlalchemy as sa

from core.errors import UsageError
from core.steps import step
from storage.control import Control

__all__ = ["FILE", "check", "claim", "settle"]

FILE = "control.id"
_KEY = "data_directory"


def check(data_dir: Path, control: Control, connection: sa.Connection, made: bool) -> None:
    """Refuse a database that is not this directory's; an empty one passes for a directory that has none.

    :param made: whether a data directory was begun in the database.
    :raises UsageError: it is another's, or the directory has another.
    """
    if not made and (data_dir / FILE).exists():
        raise UsageError(f"control database {control.name} is not the one of data directory {data_dir}", "set [control] url as before")
    if made and control.get_meta(connection, _KEY) != (_id(data_dir) or "none"):
        raise _foreign(data_dir, control)


def claim(data_dir: Path, control: Control, connection: sa.Connection) -> None:
    """Make the database this directory's, within the write transaction that fills it; :func:`settle` follows.

    :raises UsageError: another directory was faster.
    """
    if control.get_meta(connection, _KEY) is not None:
        raise _foreign(data_dir, control)
    identity = secrets.token_hex(16)
    step("control.claim")
    with os.fdopen(os.open(data_dir / f"{FILE}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(identity)
        file.flush()
        os.fsync(file.fileno())
    control.set_meta(connection, _KEY, identity)


def settle(data_dir: Path) -> None:
    """The database is made: from now on the directory has it, and no other."""
    if not (data_dir / FILE).exists():
        (data_dir / f"{FILE}.new").rename(data_dir / FILE)


def _foreign(data_dir: Path, control: Control) -> UsageError:
    return UsageError(
        f"control database {control.name} belongs to another data directory than {data_dir}",
        "give each data directory a database of its own",
    )


def _id(data_dir: Path) -> str | None:
    for name in (FILE, f"{FILE}.new"):
        if (data_dir / name).exists():
            return (data_dir / name).read_text(encoding="ascii", errors="replace").strip() or None
    return None
