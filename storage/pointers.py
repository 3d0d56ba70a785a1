"""What readers see of the archive: one Iceberg metadata file for each stream.

The catalog says what is committed, the pointer what is visible; a roll moves it in the same transaction that gives up
the hot file, which is why no reader meets a row twice or not at all.
"""

import sqlalchemy as sa

from storage import control as db

__all__ = ["every", "get", "move", "put"]


def get(control: db.Control, stream: str) -> str | None:
    """The metadata file that readers of the stream see, or ``None``."""
    with control.read() as connection:
        return every(connection).get(stream)


def every(connection: sa.Connection) -> dict[str, str]:
    """All pointers by stream, within the caller's transaction."""
    return {row.stream: row.metadata for row in connection.execute(sa.select(db.archive_pointers))}


def put(connection: sa.Connection, stream: str, metadata: str | None) -> None:
    """Let readers see that metadata file, within the caller's transaction."""
    connection.execute(db.archive_pointers.delete().where(db.archive_pointers.c.stream == stream))
    if metadata:
        connection.execute(db.archive_pointers.insert().values(stream=stream, metadata=metadata))


def move(control: db.Control, stream: str, metadata: str | None) -> None:
    """Let readers see that metadata file from now on."""
    if get(control, stream) != metadata:
        with control.write() as connection:
            put(connection, stream, metadata)
