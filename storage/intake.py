"""What has been read: sources by content, the spans of them that are done, and batches that are not.

A batch is announced before its first row is written and recorded, together with its ledger events, after its last. What
is announced and not recorded is undone on the next start.
"""

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from core.segment import Segment
from storage import control as db

__all__ = [
    "OpenBatch",
    "SpanRecord",
    "announce",
    "copy_spans",
    "end_of",
    "forget_until",
    "is_known_fragment",
    "keep_until",
    "known_sources",
    "mark_recorded",
    "open_batches",
    "record_fragment",
    "record_span",
    "settle",
    "span",
    "spans_from",
]


@dataclass(frozen=True)
class SpanRecord:
    """A range of a source's bytes that has been read whole.

    :param digest: SHA-256 of the bytes, hexadecimal.
    :param line_digests: four bytes for each line, in order.
    """

    start: int
    end: int
    digest: str
    lines: int
    line_digests: bytes
    terminated: bool


@dataclass(frozen=True)
class OpenBatch:
    """A batch that was begun: where its rows go, and, for a retry, which rejected lines it replaces."""

    batch: str
    stream: str
    segments: tuple[Segment, ...]
    replaces: tuple[Segment, tuple[tuple[str, int], ...]] | None = None
    recorded: bool = False


def known_sources(connection: sa.Connection, stream: str, head: str) -> dict[str, int]:
    """Sources of a stream whose first line has that fingerprint, each with the number of its spans."""
    same = sa.and_(db.sources.c.id == db.spans.c.source, db.sources.c.stream == db.spans.c.stream)
    query = sa.select(db.spans.c.source, sa.func.count().label("spans")).join(db.sources, same)
    query = query.where(db.sources.c.head == head, db.sources.c.stream == stream).group_by(db.spans.c.source)
    return {row.source: row.spans for row in connection.execute(query)}


def span(connection: sa.Connection, stream: str, source: str, number: int) -> SpanRecord:
    """The span of that number, from 0, in the order of the source's bytes.

    :raises IndexError: it has fewer.
    """
    query = sa.select(db.spans).where(db.spans.c.source == source, db.spans.c.stream == stream)
    row = connection.execute(query.order_by(db.spans.c.start).limit(1).offset(number)).first() if number >= 0 else None
    if row is None:
        raise IndexError(f"source {source} has no span {number}")
    return SpanRecord(row.start, row.end, row.digest, row.lines, row.line_digests, row.terminated)


def spans_from(connection: sa.Connection, stream: str, source: str, start: int, most: int) -> list[SpanRecord]:
    """The spans of a source from that offset on, in the order of its bytes, at most so many."""
    query = sa.select(db.spans).where(db.spans.c.source == source, db.spans.c.stream == stream, db.spans.c.start >= start)
    rows = connection.execute(query.order_by(db.spans.c.start).limit(most))
    return [SpanRecord(row.start, row.end, row.digest, row.lines, row.line_digests, row.terminated) for row in rows]


def end_of(connection: sa.Connection, stream: str, source: str) -> int | None:
    """Offset up to which a source has been read; ``None`` when it is not known."""
    query = sa.select(db.spans.c.end).where(db.spans.c.source == source, db.spans.c.stream == stream)
    end: int | None = connection.execute(query.order_by(db.spans.c.start.desc()).limit(1)).scalar()
    return end


def copy_spans(connection: sa.Connection, stream: str, parent: str, source: str, head: str, count: int, partial: SpanRecord | None) -> None:
    """Give a source that branches from another the spans they share: the first ``count`` whole, and a part of the next."""
    shared = sa.select(db.spans).where(db.spans.c.source == parent, db.spans.c.stream == stream).order_by(db.spans.c.start)
    rows = connection.execute(shared.limit(count + 1)).all()
    for row in rows[:count]:
        whole = SpanRecord(row.start, row.end, row.digest, row.lines, row.line_digests, row.terminated)
        record_span(connection, stream, source, head, whole, row.batch, row.last_day)
    if partial and len(rows) > count:
        record_span(connection, stream, source, head, partial, rows[count].batch, rows[count].last_day)


def record_span(connection: sa.Connection, stream: str, source: str, head: str, span: SpanRecord, batch: str, last_day: dt.date) -> None:
    """Note that the span is done. ``last_day`` is when the newest of its lines happened: the span is kept no longer."""
    same = sa.and_(db.sources.c.id == source, db.sources.c.stream == stream)
    if connection.execute(sa.select(db.sources.c.id).where(same)).first() is None:
        connection.execute(db.sources.insert().values(id=source, stream=stream, head=head))
    connection.execute(
        db.spans.insert().values(
            source=source,
            stream=stream,
            start=span.start,
            end=span.end,
            digest=span.digest,
            lines=span.lines,
            line_digests=span.line_digests,
            terminated=span.terminated,
            batch=batch,
            last_day=last_day,
        )
    )


def is_known_fragment(connection: sa.Connection, stream: str, key: str) -> bool:
    """Whether that last line without a newline, at that place, is in quarantine already."""
    same = sa.and_(db.fragments.c.stream == stream, db.fragments.c.key == key)
    return connection.execute(sa.select(db.fragments.c.key).where(same)).first() is not None


def record_fragment(connection: sa.Connection, stream: str, key: str, last_day: dt.date) -> None:
    """Note that a last line without a newline went to quarantine, and may be met again, as it is or longer."""
    connection.execute(db.fragments.insert().values(stream=stream, key=key, last_day=last_day))


def forget_until(connection: sa.Connection, stream: str, day: dt.date) -> None:
    """Forget the sources whose newest line is not after ``day``: their lines would be refused by now.

    A source is forgotten whole, since a source that has lost its first span would be taken for a new one.
    """
    newest = sa.select(db.spans.c.source).where(db.spans.c.stream == stream).group_by(db.spans.c.source)
    old = newest.having(sa.func.max(db.spans.c.last_day) <= day)
    connection.execute(db.fragments.delete().where(db.fragments.c.stream == stream, db.fragments.c.last_day <= day))
    gone = [row.source for row in connection.execute(old)]
    for source in gone:
        connection.execute(db.spans.delete().where(db.spans.c.stream == stream, db.spans.c.source == source))
        connection.execute(db.sources.delete().where(db.sources.c.stream == stream, db.sources.c.id == source))


def keep_until(connection: sa.Connection, stream: str, batches: Iterable[str], day: dt.date) -> None:
    """Lines of these batches turned out to be of that day: their spans are not forgotten before it."""
    for batch in batches:
        older = sa.and_(db.spans.c.stream == stream, db.spans.c.batch == batch, db.spans.c.last_day < day)
        connection.execute(db.spans.update().where(older).values(last_day=day))


def announce(connection: sa.Connection, batch: OpenBatch) -> None:
    """Say that a batch begins."""
    body = {
        "segments": [[segment.stream, segment.day.isoformat()] for segment in batch.segments],
        "replaces": [[batch.replaces[0].stream, batch.replaces[0].day.isoformat()], batch.replaces[1]] if batch.replaces else None,
    }
    connection.execute(db.open_batches.insert().values(batch=batch.batch, stream=batch.stream, body=json.dumps(body), recorded=False))


def mark_recorded(connection: sa.Connection, batch: str) -> None:
    """Say that the batch's rows count, though something of it is still to be done."""
    connection.execute(db.open_batches.update().where(db.open_batches.c.batch == batch).values(recorded=True))


def settle(connection: sa.Connection, batch: str) -> None:
    """Say that nothing of the batch is left to do."""
    connection.execute(db.open_batches.delete().where(db.open_batches.c.batch == batch))


def open_batches(connection: sa.Connection) -> list[OpenBatch]:
    """Batches that were begun and not settled."""
    return [
        _open_batch(row.batch, row.stream, json.loads(row.body), row.recorded) for row in connection.execute(sa.select(db.open_batches))
    ]


def _open_batch(batch: str, stream: str, body: dict[str, list[list[str]]], recorded: bool) -> OpenBatch:
    replaces = None
    if body["replaces"]:
        place, lines = body["replaces"]
        replaces = (_segment(place), tuple((str(name), int(row)) for name, row in _pairs(lines)))
    return OpenBatch(batch, stream, tuple(map(_segment, body["segments"])), replaces, recorded)


def _pairs(lines: Iterable[Iterable[object]]) -> Iterable[tuple[object, int]]:
    return ((name, int(str(row))) for name, row in lines)


def _segment(pair: list[str]) -> Segment:
    return Segment(pair[0], dt.date.fromisoformat(pair[1]))
