"""Bodies that are sent: taken in durably, then stored, each line once.

A body is in the spool before it is acknowledged (:func:`accept`), and its lines are stored in the order of arrival (:func:`store_body`),
a chunk a batch; the receipt says in the transaction of each batch how far that has come. A crash in between leaves a batch that
is taken back and a receipt that waits. The same body of the same sender is taken in once, as long as its receipt is kept.

Of a body that no format is seen in, every line is quarantined: what has been acknowledged is not lost.
"""

import datetime as dt
import hashlib
import io
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core.clock import to_iso
from core.errors import UsageError
from ingest.batches import Chunk, Chunker
from ingest.formats import UndetectedError, get
from ingest.identity import batch_id
from ingest.reading import AUTO, Reading, Unseen
from ingest.sources import Reader
from jobs.barred import without_barred
from jobs.batch import Batch, Road, enrich, read, sort, store
from jobs.context import Context
from jobs.ingest import IngestOptions
from jobs.purge import check_clock
from storage.spool import Receipt
from transforms.pipeline import Pipeline

__all__ = ["FIGURES", "accept", "forget_old", "repeated", "store_body"]

FIGURES = ("read", "stored", "quarantined", "refused", "repeated", "eventless")
"""What is counted of a body; ``read`` is the sum of the next four."""

KEPT = dt.timedelta(days=7)
"""How long a request that is repeated is known again."""


def accept(
    ctx: Context, body: bytes, sender: str, options: IngestOptions, source: str, key: str = "", zone: str | None = None
) -> tuple[Receipt, bool]:
    """Take a body in: when this returns it is durable. Also whether it was taken in before.

    :param sender: whose repeated requests are the same.
    :param source: how quarantine calls it.
    :param key: what makes a request the same; empty for its content.
    :param zone: of times that name none; as the settings say when ``None``.
    :raises UsageError: the stream or format is unknown.
    :raises AuditlakeError: the spool cannot be written.
    """
    if options.stream not in ctx.policies:
        raise UsageError(f"stream {options.stream!r} is not configured", f"add [streams.{options.stream}] with its limits")
    if options.format != AUTO:
        get(options.format, options.formats)
    same = hashlib.sha256(json.dumps([options.format, zone, key, "" if key else hashlib.sha256(body).hexdigest()]).encode()).hexdigest()
    with ctx.control.read() as connection:
        known = ctx.spool.known(connection, options.stream, sender, same)
    if known:
        return known, True
    receipt = Receipt(secrets.token_hex(16), options.stream, sender, options.format, source, to_iso(ctx.clock.now()), zone=zone)
    wrapped = ctx.spool.put(body, receipt)
    try:
        with ctx.control.write() as connection:
            ctx.spool.announce(connection, receipt, wrapped, same)
    except IntegrityError:  # sent twice at once
        ctx.spool.remove(receipt)
        with ctx.control.read() as connection:
            known = ctx.spool.known(connection, options.stream, sender, same)
        if known is None:
            raise
        return known, True
    return receipt, False


def repeated(figures: dict[str, int]) -> dict[str, int]:
    """What a request that was stored before has come to."""
    return {**dict.fromkeys(FIGURES, 0), "read": figures["read"], "repeated": figures["read"], "eventless": figures["eventless"]}


def store_body(ctx: Context, receipt: Receipt, options: IngestOptions, pipeline: Pipeline) -> dict[str, int]:
    """Store the lines of a body that waits; the figures of all of it.

    :param options: limits and formats; stream and format are the receipt's.
    :raises AuditlakeError: the body cannot be read, or storage fails; it waits on.
    """
    with ctx.control.read() as connection:
        body = ctx.spool.load(connection, receipt)
    figures = {**dict.fromkeys(FIGURES, 0), **receipt.figures}
    chunks = receipt.chunks
    for batch, chunk, last in _with_last(_batches(ctx, receipt, body, options, pipeline)):
        figures = _added(figures, batch)
        chunks += 1
        _store(ctx, replace(receipt, chunks=chunks, figures=figures, done=last), batch, chunk, pipeline)
    if not receipt.done and chunks == receipt.chunks:  # nothing was left of it
        with ctx.control.write() as connection:
            ctx.spool.advance(connection, receipt, chunks, figures, done=True)
    ctx.spool.remove(receipt)
    return figures


def forget_old(ctx: Context) -> int:
    """Forget receipts of bodies that were stored long ago; returns how many."""
    with ctx.control.write() as connection:
        return ctx.spool.forget(connection, to_iso(ctx.clock.now() - KEPT))


def _batches(ctx: Context, receipt: Receipt, body: bytes, options: IngestOptions, pipeline: Pipeline) -> Iterator[tuple[Batch, Chunk]]:
    """The chunks that are not stored yet, each as a batch."""
    raw = io.BytesIO(body if body.endswith(b"\n") or not body else body + b"\n")  # what is sent is whole: its last line is one
    reader = Reader(receipt.source, raw, lines=False)
    reading = Reading(reader, receipt.format, options.formats, options.limits)
    for number, chunk in enumerate(Chunker(reader, options.limits)):
        try:
            form = reading.form(chunk)
        except UndetectedError:
            form = Unseen()
        road = Road(receipt.stream, form, pipeline, receipt.source)
        parsed = read(road, chunk, reading.state)
        reading.state = parsed.state
        if number >= receipt.chunks:
            told = sort(ctx, road, chunk, batch_id(f"spool/{receipt.id}", chunk.start, chunk.end, chunk.digest), parsed)
            yield without_barred(ctx, enrich(pipeline, told.batch, told.rows)), chunk.bare()


def _with_last(items: Iterator[tuple[Batch, Chunk]]) -> Iterator[tuple[Batch, Chunk, bool]]:
    held = next(items, None)
    while held is not None:
        following = next(items, None)
        yield *held, following is None
        held = following


def _added(figures: dict[str, int], batch: Batch) -> dict[str, int]:
    counts = {
        "read": batch.lines,
        "stored": batch.stored,
        "quarantined": batch.rejected.num_rows,
        "refused": batch.refused,
        "eventless": batch.eventless,
    }
    return {name: figures[name] + counts.get(name, 0) for name in FIGURES}


def _store(ctx: Context, receipt: Receipt, batch: Batch, chunk: Chunk, pipeline: Pipeline) -> None:
    if batch.too_old:
        check_clock(ctx)
    facts = {"source": f"spool/{receipt.id}", "format": batch.formats, "bytes": chunk.end - chunk.start, "digest": chunk.digest}

    def record(connection: sa.Connection) -> None:
        ctx.spool.advance(connection, receipt, receipt.chunks, receipt.figures, receipt.done)

    store(ctx, batch, {**facts, "transforms": pipeline.versions}, record)
