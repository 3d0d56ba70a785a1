"""Ingest: sources -> chunks -> format -> transforms -> hot, each line exactly once.

``read == stored + quarantined + refused + repeated`` for every run; lines that hold no event of their own stand beside it, as
``eventless``. One source that cannot be read stops no other. While one batch is written, the next is enriched, the one after
it parsed, and the one after that read: each stage has a thread of its own, and keeps nothing of what it has handed on.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc
import sqlalchemy as sa

from core.clock import utc_day
from core.errors import AuditlakeError, UsageError
from ingest.batches import Chunk, Limits
from ingest.follow import Event, Fresh, Repeated, Unfinished, follow
from ingest.formats import Choice, Format, FormatOptions, UndetectedError, get
from ingest.identity import KnownSource, Span
from ingest.reading import AUTO, Reading
from ingest.sources import Source, expand, open_source, source_name
from jobs.batch import FUTURE, Batch, Road, Rows, enrich, read, sort, store
from jobs.context import Context
from jobs.purge import check_clock
from jobs.recovery import recover
from storage import intake
from storage.intake import SpanRecord
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["IngestOptions", "Tally", "ingest"]

T = TypeVar("T")


@dataclass(frozen=True)
class IngestOptions:
    """How to read: stream, format (``auto`` to look), limits, options of formats, transforms."""

    stream: str = "requests"
    format: str = AUTO
    limits: Limits = field(default_factory=Limits)
    formats: FormatOptions = field(default_factory=FormatOptions)
    transforms: TransformOptions = field(default_factory=TransformOptions)


@dataclass
class Tally:
    """What a run did with the lines it read.

    ``unfinished`` lines were begun in an earlier run and go on still. ``eventless`` ones are read for the first time and hold
    no event of their own; like all lines they are ``repeated`` in later runs. ``chosen``: for each source read with ``auto``
    that had new lines, the format and why.
    """

    read: int = 0
    stored: int = 0
    quarantined: int = 0
    refused: int = 0
    repeated: int = 0
    unfinished: int = 0
    eventless: int = 0
    batches: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    chosen: dict[str, Choice] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """The counts, as the command prints them."""
        names = ("read", "stored", "quarantined", "refused", "repeated", "unfinished", "eventless", "batches")
        figures: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {**figures, "seconds": round(self.seconds, 3), "warnings": self.warnings, "errors": self.errors}

    def count(self, batch: Batch) -> None:
        """Add a batch."""
        self.read += batch.lines
        self.stored += batch.stored
        self.quarantined += batch.rejected.num_rows
        self.refused += batch.refused
        self.eventless += batch.eventless
        self.batches += 1


def ingest(ctx: Context, names: Sequence[str], options: IngestOptions) -> Tally:
    """Read every source into hot storage.

    :param names: files, patterns, or ``-`` for standard input.
    :raises UsageError: the stream or format is unknown.
    :raises AuditlakeError: storage fails; what was counted as stored is durable.
    """
    began = time.perf_counter()
    if options.stream not in ctx.policies:
        raise UsageError(f"stream {options.stream!r} is not configured", f"add [streams.{options.stream}] with its limits")
    if options.format != AUTO:
        get(options.format, options.formats)
    recover(ctx)
    tally = Tally()
    pipeline = build(options.transforms)
    sources, problems = expand(names)
    tally.errors += map(str, problems)
    for source in sources:
        try:
            _ingest_source(ctx, source, options, pipeline, tally)
        except _SourceError as error:
            tally.errors.append(str(error.cause))
    tally.warnings += dict.fromkeys(pipeline.warnings)
    tally.seconds = time.perf_counter() - began
    return tally


class _SourceError(Exception):
    """A source cannot be read on; the others can."""

    def __init__(self, cause: AuditlakeError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True)
class _Work:
    """A fresh chunk without its bytes, on its way to be written.

    :param chunk: the part of it that is read for good; ``None`` when it is nothing but a fragment.
    :param rows: what is still to be enriched and put into the batch.
    :param fragment: key of a last line that is in the batch, rejected, and not read for good; empty when there is none.
    :param repeated: 1 when the fragment was met before, so that it is not in the batch.
    :param choice: which format was chosen and why, when that was done.
    """

    fresh: Fresh
    chunk: Chunk | None
    batch: Batch
    rows: Rows | None
    fragment: str = ""
    repeated: int = 0
    choice: Choice | None = None


def _ingest_source(ctx: Context, source: Source, options: IngestOptions, pipeline: Pipeline, tally: Tally) -> None:
    name = source_name(source)
    size = _size(source)
    preparer = _Preparer(ctx, source, options, pipeline)
    for item in _one_ahead(preparer.run()):
        if isinstance(item, Repeated):
            tally.read += item.lines
            tally.repeated += item.lines
        elif isinstance(item, Unfinished):
            tally.unfinished += item.lines
        else:
            tally.read += item.repeated
            tally.repeated += item.repeated
            if item.choice:
                tally.chosen[name] = item.choice
            if item.chunk is not None or item.batch.lines:
                _store(ctx, options.stream, item, pipeline)
                tally.count(item.batch)
            ctx.progress(f"reading {name}", min(item.fresh.chunk.end, size) if size else 0, size)
        del item  # before the next is waited for


def _size(source: Source) -> int:
    """Bytes of a file, for progress; 0 when that is unknown: opening it says why."""
    try:
        return source.stat().st_size if isinstance(source, Path) else 0
    except OSError:
        return 0


class _Preparer:
    """Reads one source and makes its chunks ready, beside the writer: three stages, each a chunk ahead of the next."""

    def __init__(self, ctx: Context, source: Source, options: IngestOptions, pipeline: Pipeline) -> None:
        self._ctx = ctx
        self._source = source
        self._options = options
        self._pipeline = pipeline

    def run(self) -> Iterator[Repeated | Unfinished | _Work]:
        """Everything the source brings, in order."""
        try:
            with open_source(self._source) as reader:
                reading = Reading(reader, self._options.format, self._options.formats, self._options.limits)
                events = _one_ahead(follow(reader, self._lookup, self._options.limits))
                yield from map(self._enriched, _one_ahead(map(partial(self._parsed, reading), events)))
        except UndetectedError as error:
            raise _SourceError(AuditlakeError(f"{source_name(self._source)!r}: {error.problem}", error.hint)) from error
        except AuditlakeError as error:
            raise _SourceError(error) from error

    def _parsed(self, reading: Reading, event: Event) -> Repeated | Unfinished | _Work:
        if isinstance(event, Repeated):
            reading.repeated(event)
            return replace(event, raw=None)
        if isinstance(event, Unfinished):
            return event
        road, chunk = self._road(reading.form(event.chunk)), event.chunk
        parsed = read(road, chunk, reading.state)
        reading.state = parsed.state
        told = sort(self._ctx, road, chunk, event.batch, parsed)
        work = _Work(event, chunk.without_last_line() if told.begun else chunk, told.batch, told.rows, choice=reading.choice)
        work = self._with_fragment(work) if _ends_in_fragment(chunk, work.batch) else work
        return replace(work, fresh=replace(event, chunk=chunk.bare()), chunk=work.chunk.bare() if work.chunk else None)

    def _enriched(self, item: Repeated | Unfinished | _Work) -> Repeated | Unfinished | _Work:
        if not isinstance(item, _Work) or item.rows is None:
            return item
        return replace(item, batch=enrich(self._pipeline, item.batch, item.rows), rows=None)

    def _road(self, form: Format) -> Road:
        return Road(self._options.stream, form, self._pipeline, source_name(self._source))

    def _with_fragment(self, work: _Work) -> _Work:
        """A last line that lacks its newline and does not parse may be still being written.

        It goes to quarantine, once, and is not read for good: when it has grown, the whole line is read.
        """
        batch, chunk = work.batch, work.fresh.chunk
        last = pc.equal(batch.rejected["ingest_row"], chunk.lines - 1)
        start = batch.rejected.filter(last)["source_offset"][0].as_py()
        text = chunk.good.line(len(chunk.good) - 1)
        key = hashlib.sha256(b"%d:%s" % (start, text)).hexdigest()
        with self._ctx.control.read() as connection:
            known = intake.is_known_fragment(connection, self._options.stream, key)
        work = replace(work, chunk=chunk.without_last_line(), fragment=key)
        if not known:
            return work
        rest = replace(batch, lines=batch.lines - 1, rejected=batch.rejected.filter(pc.invert(last)))
        return replace(work, batch=rest, fragment="", repeated=1)

    def _lookup(self, head: str) -> list[KnownSource]:
        stream = self._options.stream
        with self._ctx.control.read() as connection:
            counts = intake.known_sources(connection, stream, head)
        return [KnownSource(source, _Spans(self._ctx, stream, source, count)) for source, count in counts.items()]


class _Spans(Sequence[Span]):
    """The spans of a known source, each loaded when it is asked for: a large source has many line digests."""

    def __init__(self, ctx: Context, stream: str, source: str, count: int) -> None:
        self._ctx, self._stream, self._source, self._count = ctx, stream, source, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        with self._ctx.control.read() as connection:
            record = intake.span(connection, self._stream, self._source, number)
        return Span(record.start, record.end, record.digest, record.lines, record.line_digests, record.terminated)


def _ends_in_fragment(chunk: Chunk, batch: Batch) -> bool:
    """Whether the last line lacks its newline and the format rejected it."""
    if not chunk.unterminated or not len(chunk.numbers) or chunk.numbers[-1] != chunk.lines - 1:
        return False
    last = batch.rejected.filter(pc.equal(batch.rejected["ingest_row"], chunk.lines - 1))
    return last["reason"].to_pylist() not in ([], [FUTURE])


def _store(ctx: Context, stream: str, work: _Work, pipeline: Pipeline) -> None:
    batch, fresh, chunk = work.batch, work.fresh, work.fresh.chunk
    if batch.refused:
        check_clock(ctx)
    last_day = min(batch.newest, utc_day(ctx.policies[stream].keep.after(ctx.clock.now())))
    facts = {"source": fresh.source, "format": batch.formats, "bytes": chunk.end - chunk.start, "digest": chunk.digest}

    def record(connection: sa.Connection) -> None:
        if work.fragment:
            intake.record_fragment(connection, stream, work.fragment, last_day)
        if work.chunk is None:
            return
        if fresh.new and fresh.branch:
            partial = _record(fresh.branch.partial) if fresh.branch.partial else None
            intake.copy_spans(connection, stream, fresh.branch.parent, fresh.source, fresh.key, fresh.branch.spans, partial)
        intake.record_span(connection, stream, fresh.source, fresh.key, _record(Span.of(work.chunk)), batch.id, last_day)

    store(ctx, batch, {**facts, "transforms": pipeline.versions}, record)


def _record(span: Span) -> SpanRecord:
    return SpanRecord(span.start, span.end, span.digest, span.lines, span.line_digests, span.terminated)


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in another thread while the one before is used; an item given is not held any more."""
    with ThreadPoolExecutor(1, "ingest") as pool:
        coming = pool.submit(_next, items)
        while made := coming.result():
            coming = pool.submit(_next, items)
            yield made.pop()


def _next(items: Iterator[T]) -> list[T]:
    return list(islice(items, 1))
