"""Hot days whose files are about to be replaced by one: said together with the day's new key, so that readers find what it opens."""

import sqlalchemy as sa

from core.segment import Segment
from storage import control as db

__all__ = ["every", "put", "settle"]


def put(connection: sa.Connection, segment: Segment, file: str) -> None:
    """Say that the file of that name takes the place of all of the day's; of none when it is empty."""
    settle(connection, segment)
    connection.execute(db.hot_swaps.insert().values(stream=segment.stream, day=segment.day, file=file))


def every(connection: sa.Connection) -> dict[Segment, str]:
    """The days whose files are not replaced yet."""
    return {Segment(row.stream, row.day): row.file for row in connection.execute(sa.select(db.hot_swaps))}


def settle(connection: sa.Connection, segment: Segment) -> None:
    """Say that they are."""
    connection.execute(db.hot_swaps.delete().where(db.hot_swaps.c.stream == segment.stream, db.hot_swaps.c.day == segment.day))
