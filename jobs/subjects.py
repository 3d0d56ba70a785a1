"""A data subject over all tiers: what is held, by day, and a look at everything that is left after an erasure.

Hot days are asked by DuckDB in their encrypted files, the archive's files are read (:mod:`storage.needles`), rejected lines, bodies that
wait in the spool and texts of the query log are looked through for the subject's values as words (:mod:`core.subject`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.policy import Hold, conflicts
from core.segment import Segment, SegmentState
from core.subject import Subject
from jobs.context import Context
from storage import needles, pointers, query_texts
from storage.archive import ArchivedFile
from storage.needles import Looked

__all__ = ["Found", "find", "held_days", "hot_rows", "lines_of", "look", "spooled"]

_IDS = ("ingest_batch", "ingest_row")
_BODIES = 1_000_000


@dataclass(frozen=True)
class Found:
    """What is held on a subject.

    :param hot: rows by day; days without any are left out, as in the others.
    :param archived: the same. :param files: the archive's files that have rows of the subject, with their number.
    :param quarantined: rejected lines that mention the subject, by the day they arrived.
    :param texts: events of queries whose texts name it. :param bodies: lines of bodies that wait.
    """

    hot: Mapping[Segment, int] = field(default_factory=dict)
    archived: Mapping[Segment, int] = field(default_factory=dict)
    files: Mapping[ArchivedFile, int] = field(default_factory=dict)
    quarantined: Mapping[Segment, int] = field(default_factory=dict)
    texts: tuple[int, ...] = ()
    bodies: int = 0

    @property
    def rows(self) -> dict[str, int]:
        """Rows by tier."""
        tiers = {"hot": self.hot, "archived": self.archived, "quarantined": self.quarantined}
        return {**{name: sum(days.values()) for name, days in tiers.items()}, "other": len(self.texts) + self.bodies}

    @property
    def days(self) -> list[dict[str, Any]]:
        """Rows by day and tier."""
        tiers = {"hot": self.hot, "archived": self.archived, "quarantined": self.quarantined}
        listed = [(segment, tier, rows) for tier, days in tiers.items() for segment, rows in days.items()]
        return [{"stream": s.stream, "day": s.day.isoformat(), "tier": tier, "rows": rows} for s, tier, rows in sorted(listed)]

    def conflicts(self, held: Mapping[Segment, Hold]) -> list[dict[str, Any]]:
        """Days with rows of the subject that a hold keeps, and it."""
        found = []
        for segment, hold in sorted(held.items()):
            rows = sum(days.get(segment, 0) for days in (self.hot, self.archived, self.quarantined))
            if rows:
                found.append({"stream": segment.stream, "day": segment.day.isoformat(), "hold": hold.number, "rows": rows})
        return found


def find(ctx: Context, subject: Subject) -> Found:
    """Look for the subject everywhere."""
    states = ctx.ledger.states()
    hot = {s: _hot_count(ctx, s, subject) for s in _with_rows(states, quarantine=False)}
    lines = {s: sum(batch.num_rows for batch in lines_of(ctx, s, subject)) for s in _with_rows(states, quarantine=True)}
    files = _archived(ctx, subject)
    archived: dict[Segment, int] = {}
    for file, rows in files.items():
        archived[file.segment] = archived.get(file.segment, 0) + rows
    hot, lines = ({segment: rows for segment, rows in days.items() if rows} for days in (hot, lines))
    texts = tuple(entry.seq for entry in query_texts.naming(ctx.query_log, subject))
    return Found(hot, archived, files, lines, texts, spooled(ctx, subject))


def held_days(ctx: Context) -> dict[Segment, Hold]:
    """Every day with rows that a hold keeps, and the first that does."""
    holds = ctx.holds
    covering = {s: conflicts(holds, s.stream, s.day) for s, state in ctx.ledger.states().items() if holds and state.present}
    return {segment: found[0] for segment, found in covering.items() if found}


def hot_rows(ctx: Context, segment: Segment, subject: Subject, columns: tuple[str, ...] = _IDS) -> Iterator[pa.RecordBatch]:
    """The subject's rows of a hot day."""
    condition, values = subject.condition()
    yield from ctx.hot.where(segment, ctx.key(segment), condition, values, columns)


def lines_of(ctx: Context, segment: Segment, subject: Subject) -> Iterator[pa.RecordBatch]:
    """Rejected lines of a day that mention the subject."""
    with ctx.hot.read(segment, ctx.key(segment)) as batches:
        for batch in batches:
            found = batch.filter(subject.named_in(batch["raw"], batch["arrived"]))
            if found.num_rows:
                yield found


def spooled(ctx: Context, subject: Subject, before: str = "9") -> int:
    """Lines that mention the subject, of bodies that wait and came before that time."""
    with ctx.control.read() as connection:
        waiting = [each for each in ctx.spool.waiting(connection, _BODIES) if each.arrived < before]
        bodies = (ctx.spool.load(connection, receipt) for receipt in waiting)
        return sum(int(pc.sum(subject.named_in(pa.array(body.split(b"\n"), pa.binary()))).as_py() or 0) for body in bodies)


def look(ctx: Context, subject: Subject, before: str, held: Mapping[Segment, Hold]) -> Looked:
    """Look through all that is left, but for days that a hold keeps.

    Rows that came since the erasure began, and bodies, are not looked for: they are new.
    """
    total = Looked()
    for segment in _with_rows(ctx.ledger.states(), quarantine=False):
        if segment not in held:
            ctx.progress(f"looking through {segment}", 0, 0)
            total += _look_hot(ctx, segment, subject)
    for segment in _with_rows(ctx.ledger.states(), quarantine=True):
        if segment not in held:
            total += _look_lines(ctx, segment, subject)
    for stream, metadata in _pointers(ctx).items():
        ctx.progress(f"looking through the archive of {stream}", 0, 0)
        files = [file for file in ctx.archive.files(stream, metadata) if file.segment not in held]
        total += needles.look(ctx.archive, files, subject)
    texts = sum(1 for _ in query_texts.naming(ctx.query_log, subject))
    return total + Looked(0, texts + spooled(ctx, subject, before))


def _look_hot(ctx: Context, segment: Segment, subject: Subject) -> Looked:
    """Every row with all its columns; and every table as it is stored, unless a row of another time is the subject's."""
    total, later = Looked(), 0
    with ctx.hot.read(segment, ctx.key(segment)) as batches:
        for batch in batches:
            belongs, mentions = _count(subject.mask(batch)), _count(subject.mentions(batch))
            total += Looked(batch.nbytes, belongs, mentions - belongs)
            later += _count(subject.at_any_time().mask(batch))
    if not later:
        total += Looked(0, sum(_count(subject.at_any_time().mask(batch)) for batch in ctx.hot.tables(segment, ctx.key(segment))))
    return total


def _look_lines(ctx: Context, segment: Segment, subject: Subject) -> Looked:
    total = Looked()
    with ctx.hot.read(segment, ctx.key(segment)) as batches:
        for batch in batches:
            total += Looked(batch["raw"].nbytes, _count(subject.named_in(batch["raw"], batch["arrived"])))
    return total


def _hot_count(ctx: Context, segment: Segment, subject: Subject) -> int:
    return sum(batch.num_rows for batch in hot_rows(ctx, segment, subject))


def _archived(ctx: Context, subject: Subject) -> dict[ArchivedFile, int]:
    found: dict[ArchivedFile, int] = {}
    for stream, metadata in _pointers(ctx).items():
        files = ctx.archive.files(stream, metadata)
        ctx.progress(f"looking through the archive of {stream}", 0, 0)
        rows = needles.counts(ctx.archive, files, subject)
        found |= {file: rows[file.path] for file in files if file.path in rows}
    return found


def _pointers(ctx: Context) -> dict[str, str]:
    with ctx.control.read() as connection:
        return pointers.every(connection)


def _with_rows(states: Mapping[Segment, SegmentState], quarantine: bool) -> list[Segment]:
    """Days with hot rows that are not being destroyed."""
    return sorted(s for s, state in states.items() if state.hot and s.is_quarantine == quarantine and state.open_action != "purge")


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
