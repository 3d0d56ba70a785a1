"""A segment is one UTC day of one stream: the unit of rolling, purging, encrypting, verifying, holding and proving."""

import datetime as dt
import re
from dataclasses import dataclass

from core.clock import UTC
from core.errors import UsageError

__all__ = ["QUARANTINE_SUFFIX", "Segment", "SegmentState", "check_stream_name"]

QUARANTINE_SUFFIX = ".quarantine"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


def check_stream_name(name: str) -> str:
    """The name itself, when it may name a stream: lower-case letters, digits and underscores, a letter first.

    :raises UsageError: it may not.
    """
    if not _NAME.match(name):
        raise UsageError(f"stream name {name!r} is not allowed", "use a letter, then letters, digits and underscores, all lower-case")
    return name


@dataclass(frozen=True, order=True)
class Segment:
    """One UTC day of one stream.

    A stream's rejected lines live in a companion stream, ``<stream>.quarantine``, by the day they arrived.
    """

    stream: str
    day: dt.date

    def __str__(self) -> str:
        return f"{self.stream}/{self.day.isoformat()}"

    @property
    def start(self) -> dt.datetime:
        """Its first instant."""
        return dt.datetime.combine(self.day, dt.time.min, UTC)

    @property
    def end(self) -> dt.datetime:
        """The first instant after it; the calendar's last instant for its last day."""
        if self.day == dt.date.max:
            return dt.datetime.max.replace(tzinfo=UTC)
        return self.start + dt.timedelta(days=1)

    @property
    def is_quarantine(self) -> bool:
        """Whether it holds rejected lines rather than rows."""
        return self.stream.endswith(QUARANTINE_SUFFIX)


@dataclass(frozen=True)
class SegmentState:
    """What the ledger says of a segment: row counts since its beginning, and where its rows are now.

    ``stored - erased - purged == hot + archived`` at all times.
    """

    segment: Segment
    stored: int = 0
    erased: int = 0
    purged: int = 0
    hot: int = 0
    archived: int = 0
    open_action: str = ""
    """``roll``, ``purge`` or ``erase`` (of some of its rows) while one has begun and not ended, else empty."""

    @property
    def present(self) -> int:
        """Rows that can be read now."""
        return self.hot + self.archived

    @property
    def state(self) -> str:
        """``hot``, ``archived``, ``hot+archived``, or ``destroyed``; ``rolling``, ``purging`` and ``erasing`` while under way."""
        if self.open_action:
            return {"roll": "rolling", "purge": "purging", "erase": "erasing"}[self.open_action]
        places = [name for name, rows in (("hot", self.hot), ("archived", self.archived)) if rows]
        return "+".join(places) or "destroyed"
