"""Scrub: each night a part of the archive is read again and compared with the ledger, so that decay of what nobody reads is seen.

The parts go round: after ``[jobs.scrub] nights`` nights every archived day has been read. How far it has come is in the control
database, and which days had a fault: these are read by every run until they have none. A day that changes while it is read (rolled,
compacted, destroyed) is left to the next turn.
"""

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

from compliance.accounts import Stores, archived_files, expected_digests
from compliance.scrub import fault, part
from core.clock import utc_day
from core.segment import Segment
from jobs.context import Context, Outcome
from storage.archive import ArchivedFile

__all__ = ["faulty", "scrub"]

_KEY = "scrub"


@dataclass
class _Course:
    """How far the reading has come.

    :param day: on which a part was read last.
    :param after: the last day that was read; ``None`` at the beginning.
    :param faulty: days with a fault.
    """

    day: str = ""
    after: Segment | None = None
    faulty: set[Segment] = field(default_factory=set)


def scrub(ctx: Context, dry_run: bool = False) -> Outcome:
    """Read tonight's part, once a day, and again what had a fault."""
    stores = Stores(ctx.control, ctx.ledger, ctx.keys, ctx.hot, ctx.archive)
    course, today = _load(ctx), utc_day(ctx.clock.now()).isoformat()
    days = archived_files(stores)
    sizes = {segment: sum(file.bytes for file in files) for segment, files in days.items()}
    tonight = part(sizes, course.after, ctx.scrub_nights) if course.day != today else []
    wanted = sorted(course.faulty & days.keys()) + [segment for segment in tonight if segment not in course.faulty]
    figures = {"days": len(wanted), "bytes": sum(sizes[segment] for segment in wanted), "of_days": len(days)}
    if dry_run:
        return Outcome("scrub", "planned", (), figures)
    faults = _read(ctx, stores, wanted, days)
    course = _Course(today, tonight[-1] if tonight else course.after, set(faults))
    _save(ctx, course)
    problems = tuple(f"{segment}: {text}" for segment, text in sorted(faults.items()))
    return Outcome("scrub", "failed" if problems else "done" if wanted else "nothing due", (), figures, problems)


def faulty(ctx: Context) -> tuple[Segment, ...]:
    """The days that had a fault when they were read last."""
    return tuple(sorted(_load(ctx).faulty))


def _read(ctx: Context, stores: Stores, wanted: list[Segment], days: dict[Segment, list[ArchivedFile]]) -> dict[Segment, str]:
    """The days with a fault, and which."""
    expected = expected_digests(stores)
    faults: dict[Segment, str] = {}
    for number, segment in enumerate(wanted):
        ctx.progress(f"reading {segment}", number, len(wanted))
        found = fault(stores, days[segment], expected.get(segment, ""))
        if found and not _changed(stores, segment, days[segment], expected.get(segment, "")):
            faults[segment] = found
    return faults


def _changed(stores: Stores, segment: Segment, files: list[ArchivedFile], expected: str) -> bool:
    """Whether the day is another than when reading began."""
    return archived_files(stores).get(segment) != files or expected_digests(stores).get(segment, "") != expected


def _load(ctx: Context) -> _Course:
    with ctx.control.read() as connection:
        text = ctx.control.get_meta(connection, _KEY)
    if text is None:
        return _Course()
    said: dict[str, Any] = json.loads(text)
    return _Course(said["day"], _segment(said["after"]) if said["after"] else None, {_segment(name) for name in said["faulty"]})


def _save(ctx: Context, course: _Course) -> None:
    said = {
        "day": course.day,
        "after": _named(course.after) if course.after else None,
        "faulty": [_named(segment) for segment in sorted(course.faulty)],
    }
    with ctx.control.write() as connection:
        ctx.control.set_meta(connection, _KEY, json.dumps(said))


def _named(segment: Segment) -> list[str]:
    return [segment.stream, segment.day.isoformat()]


def _segment(named: list[str]) -> Segment:
    return Segment(named[0], dt.date.fromisoformat(named[1]))
