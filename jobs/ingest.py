"""Ingest: sources -> chunks -> format -> transforms -> hot, each line exactly once.

``read == stored + quarantined + refused + repeated`` for every run. One source that cannot be read stops no other. While
one batch is written the next is read and parsed.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc
import sqlalchemy as sa

from core.clock import utc_day
from core.errors import AuditlakeError, UsageError
from ingest.batches import Chunk, Limits
from ingest.follow import Fresh, Repeated, Unfinished, follow
from ingest.formats import Format, FormatOptions, detect, get
from ingest.identity import KnownSource, Span
from ingest.lines import Lines
from ingest.sources import Source, expand, open_source, source_name
from jobs.batch import FUTURE, Batch, Road, prepare, store
from jobs.context import Context
from jobs.purge import check_clock
from jobs.recovery import recover
from storage import intake
from storage.intake import SpanRecord
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["IngestOptions", "Tally", "ingest"]

AUTO = "auto"
T = TypeVar("T")
_FEW_LINES = 20
"""A sample smaller than this tells too little to refuse a file by it: what does not fit goes to quarantine."""


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
    """What a run did with the lines it read. ``unfinished`` lines were begun in an earlier run and go on still."""

    read: int = 0
    stored: int = 0
    quarantined: int = 0
    refused: int = 0
    repeated: int = 0
    unfinished: int = 0
    batches: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """The counts, as the command prints them."""
        names = ("read", "stored", "quarantined", "refused", "repeated", "unfinished", "batches")
        figures: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {**figures, "seconds": round(self.seconds, 3), "warnings": self.warnings, "errors": self.errors}

    def count(self, batch: Batch) -> None:
        """Add a batch."""
        self.read += batch.lines
        self.stored += batch.stored
        self.quarantined += batch.rejected.num_rows
        self.refused += batch.refused
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
    """A fresh chunk, made ready to be written.

    :param chunk: the part of it that is read for good; ``None`` when it is nothing but a fragment.
    :param fragment: key of a last line that is in the batch, rejected, and not read for good; empty when there is none.
    :param repeated: 1 when the fragment was met before, so that it is not in the batch.
    """

    fresh: Fresh
    chunk: Chunk | None
    batch: Batch
    form: str
    fragment: str = ""
    repeated: int = 0


def _ingest_source(ctx: Context, source: Source, options: IngestOptions, pipeline: Pipeline, tally: Tally) -> None:
    name = source_name(source)
    size = source.stat().st_size if isinstance(source, Path) else 0
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
            if item.chunk is not None or item.batch.lines:
                _store(ctx, options.stream, item, pipeline)
                tally.count(item.batch)
            ctx.progress(f"reading {name}", min(item.fresh.chunk.end, size) if size else 0, size)


class _Preparer:
    """Reads one source and makes its chunks ready; runs beside the writer."""

    def __init__(self, ctx: Context, source: Source, options: IngestOptions, pipeline: Pipeline) -> None:
        self._ctx = ctx
        self._source = source
        self._options = options
        self._pipeline = pipeline
        self._form: Format | None = None

    def run(self) -> Iterator[Repeated | Unfinished | _Work]:
        """Everything the source brings, in order."""
        try:
            with open_source(self._source) as reader:
                for event in follow(reader, self._lookup, self._options.limits):
                    yield self._prepared(event) if isinstance(event, Fresh) else event
        except AuditlakeError as error:
            raise _SourceError(error) from error

    def _prepared(self, fresh: Fresh) -> _Work:
        chunk = fresh.chunk
        road = Road(self._options.stream, self._format(chunk.good), self._pipeline, source_name(self._source))
        batch = prepare(self._ctx, road, chunk, fresh.batch)
        if _ends_in_fragment(chunk, batch):
            return self._with_fragment(fresh, batch, road.form.name)
        return _Work(fresh, chunk, batch, road.form.name)

    def _with_fragment(self, fresh: Fresh, batch: Batch, form: str) -> _Work:
        """A last line that lacks its newline and does not parse may be still being written.

        It goes to quarantine, once, and is not read for good: when it has grown, the whole line is read.
        """
        last = pc.equal(batch.rejected["ingest_row"], batch.lines - 1)
        start = batch.rejected.filter(last)["source_offset"][0].as_py()
        text = fresh.chunk.good.line(len(fresh.chunk.good) - 1)
        key = hashlib.sha256(b"%d:%s" % (start, text)).hexdigest()
        with self._ctx.control.read() as connection:
            known = intake.is_known_fragment(connection, self._options.stream, key)
        work = _Work(fresh, fresh.chunk.without_last_line(), batch, form, key)
        if not known:
            return work
        rest = replace(batch, lines=batch.lines - 1, rejected=batch.rejected.filter(pc.invert(last)))
        return replace(work, batch=rest, fragment="", repeated=1)

    def _format(self, sample: Lines) -> Format:
        if self._form is None:
            self._form = choose_format(sample, self._options.format, self._options.formats)
        return self._form

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


def choose_format(sample: Lines, name: str, options: FormatOptions) -> Format:
    """The named format, or the one the first lines are of.

    :raises UsageError: enough lines are there, and no format takes most of them.
    """
    if name != AUTO:
        return get(name, options)
    try:
        return get(detect(sample, options), options)
    except UsageError:
        if len(sample) >= _FEW_LINES:
            raise
        return get("combined")


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
    facts = {"source": fresh.source, "format": work.form, "bytes": chunk.end - chunk.start, "digest": chunk.digest}

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
    """The same items, each made in another thread while the one before is used."""
    with ThreadPoolExecutor(1, "ingest") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
