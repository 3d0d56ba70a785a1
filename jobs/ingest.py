"""Ingest: sources -> chunks -> format -> transforms -> hot, each line exactly once.

``read == stored + quarantined + refused + repeated`` for every run; lines that hold no event of their own stand beside it, as
``eventless``. One source that cannot be read stops no other. While one batch is written, the next is enriched, the one after
it parsed, and the one after that read: each stage has a thread of its own, and keeps nothing of what it has handed on.

Files of the command line, files that are followed and objects of a bucket go the same road, :func:`read_source`.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
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
from ingest.follow import Event, Fresh, Place, Repeated, Unfinished, follow, go_on
from ingest.formats import Choice, Format, FormatOptions, State, UndetectedError, get
from ingest.identity import KnownSource, Span
from ingest.reading import AUTO, Reading
from ingest.sources import Reader, Source, expand, open_source, source_name
from jobs.barred import without_barred
from jobs.batch import FUTURE, Batch, Road, Rows, enrich, read, sort, store
from jobs.context import Context
from jobs.purge import check_clock
from jobs.recovery import recover
from storage import intake
from storage.intake import SpanRecord
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["IngestOptions", "SourceError", "Standing", "Tally", "check_options", "ingest", "read_source"]

T = TypeVar("T")
_SPANS_HELD = 16


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
    check_options(ctx, options)
    recover(ctx)
    tally = Tally()
    pipeline = build(options.transforms)
    sources, problems = expand(names)
    tally.errors += map(str, problems)
    for source in sources:
        try:
            read_source(ctx, source_name(source), partial(open_source, source), options, pipeline, tally, _size(source))
        except SourceError as error:
            tally.errors.append(str(error.cause))
    tally.warnings += dict.fromkeys(pipeline.warnings)
    tally.seconds = time.perf_counter() - began
    return tally


def check_options(ctx: Context, options: IngestOptions) -> None:
    """Nothing, when lines can be read so.

    :raises UsageError: the stream or format is unknown.
    """
    if options.stream not in ctx.policies:
        raise UsageError(f"stream {options.stream!r} is not configured", f"add [streams.{options.stream}] with its limits")
    if options.format != AUTO:
        get(options.format, options.formats)


class SourceError(Exception):
    """A source cannot be read on; the others can."""

    def __init__(self, cause: AuditlakeError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True)
class Standing:
    """Where a source was left, and how it is read: it can be gone on with once, as long as its bytes before are the same.

    :param state: what the parse of the last lines left.
    """

    place: Place
    reading: Reading
    state: State


@dataclass(frozen=True)
class _Work:
    """A fresh chunk without its bytes, on its way to be written.

    :param chunk: the part of it that is read for good; ``None`` when it is nothing but a fragment.
    :param rows: what is still to be enriched and put into the batch.
    :param fragment: key of a last line that is in the batch, rejected, and not read for good; empty when there is none.
    :param repeated: 1 when the fragment was met before, so that it is not in the batch.
    :param choice: which format was chosen and why, when that was done.
    :param standing: where the source stands once it is written; ``None`` when its last line was not read for good.
    """

    fresh: Fresh
    chunk: Chunk | None
    batch: Batch
    rows: Rows | None
    fragment: str = ""
    repeated: int = 0
    choice: Choice | None = None
    standing: Standing | None = None


def read_source(
    ctx: Context,
    name: str,
    opened: Callable[[], Reader],
    options: IngestOptions,
    pipeline: Pipeline,
    tally: Tally,
    size: int = 0,
    left: Standing | None = None,
    found: Callable[[int], None] = lambda _: None,
    ahead: bool = True,
) -> Standing | None:
    """Store what a source brings.

    :param name: how quarantine calls it.
    :param opened: a reader at its first byte, or where it was left; closed at the end.
    :param size: its bytes, for progress; 0 when that is unknown.
    :param left: where it was left, to go on there.
    :param found: is told up to which offset it has been read before, ahead of what is new.
    :param ahead: whether each stage has a thread of its own; for a few lines that is not worth it.
    :returns: where it is left now; ``None`` when what is new of it can only be told by reading it from its first byte.
    :raises SourceError: it cannot be read on; what was counted is stored.
    """
    preparer = _Preparer(ctx, name, options, pipeline, found, _one_ahead if ahead else iter)
    stored = False
    standing = left
    for item in preparer.stage(preparer.run(opened, left)):
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
            standing, stored = item.standing, True
            ctx.progress(f"reading {name}", min(item.fresh.chunk.end, size) if size else 0, size)
        del item  # before the next is waited for
    return standing if stored or left else preparer.standing()


def _size(source: Source) -> int:
    """Bytes of a file, for progress; 0 when that is unknown: opening it says why."""
    try:
        return source.stat().st_size if isinstance(source, Path) else 0
    except OSError:
        return 0


class _Preparer:
    """Reads one source and makes its chunks ready, beside the writer: three stages, each a chunk ahead of the next.

    :param stage: takes what one stage makes to the next.
    """

    def __init__(
        self,
        ctx: Context,
        name: str,
        options: IngestOptions,
        pipeline: Pipeline,
        found: Callable[[int], None],
        stage: Callable[[Iterator[Any]], Iterator[Any]],
    ) -> None:
        self.stage = stage
        self._ctx = ctx
        self._name = name
        self._options = options
        self._pipeline = pipeline
        self._found = found
        self._place: Place | None = None
        self._reading: Reading | None = None

    def run(self, opened: Callable[[], Reader], left: Standing | None) -> Iterator[Repeated | Unfinished | _Work]:
        """Everything the source brings, in order."""
        try:
            with opened() as reader:
                events = self.stage(self._events(reader, left))
                yield from map(self._enriched, self.stage(map(self._parsed, events)))
        except UndetectedError as error:
            raise SourceError(AuditlakeError(f"{self._name!r}: {error.problem}", error.hint)) from error
        except AuditlakeError as error:
            raise SourceError(error) from error

    def standing(self) -> Standing | None:
        """Where a source is left that was read before, and brought nothing new."""
        return Standing(self._place, self._reading, self._reading.state) if self._place and self._reading else None

    def _events(self, reader: Reader, left: Standing | None) -> Iterator[Event]:
        limits = self._options.limits
        if left:
            self._reading, self._reading.state = left.reading, left.state
            return go_on(reader, left.place, limits)
        self._reading = Reading(reader, self._options.format, self._options.formats, limits)
        return follow(reader, self._lookup, limits, self._read_before)

    def _read_before(self, end: int, place: Place | None) -> None:
        self._place = place
        self._found(end)

    def _parsed(self, event: Event) -> Repeated | Unfinished | _Work:
        reading = self._reading
        assert reading is not None
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
        if work.chunk is chunk:
            place = Place(event.source, event.key, chunk.end, chunk.open_line)
            work = replace(work, standing=Standing(place, reading, parsed.state))
        return replace(work, fresh=replace(event, chunk=chunk.bare()), chunk=work.chunk.bare() if work.chunk else None)

    def _enriched(self, item: Repeated | Unfinished | _Work) -> Repeated | Unfinished | _Work:
        if not isinstance(item, _Work) or item.rows is None:
            return item
        return replace(item, batch=without_barred(self._ctx, enrich(self._pipeline, item.batch, item.rows)), rows=None)

    def _road(self, form: Format) -> Road:
        return Road(self._options.stream, form, self._pipeline, self._name)

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
    """The spans of a known source, a few loaded when one is asked for: a large source has many line digests."""

    def __init__(self, ctx: Context, stream: str, source: str, count: int) -> None:
        self._ctx, self._stream, self._source, self._count = ctx, stream, source, count
        self._first = 0
        self._held: list[Span] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not self._first <= number < self._first + len(self._held):
            self._load(number)
        return self._held[number - self._first]

    def _load(self, number: int) -> None:
        """From that span on; of the next ones it is known where they begin."""
        follows = self._held and number == self._first + len(self._held)
        with self._ctx.control.read() as connection:
            start = self._held[-1].end if follows else intake.span(connection, self._stream, self._source, number).start
            records = intake.spans_from(connection, self._stream, self._source, start, _SPANS_HELD)
        self._first, self._held = number, [Span(r.start, r.end, r.digest, r.lines, r.line_digests, r.terminated) for r in records]


def _ends_in_fragment(chunk: Chunk, batch: Batch) -> bool:
    """Whether the last line lacks its newline and the format rejected it."""
    if not chunk.unterminated or not len(chunk.numbers) or chunk.numbers[-1] != chunk.lines - 1:
        return False
    last = batch.rejected.filter(pc.equal(batch.rejected["ingest_row"], chunk.lines - 1))
    return last["reason"].to_pylist() not in ([], [FUTURE])


def _store(ctx: Context, stream: str, work: _Work, pipeline: Pipeline) -> None:
    batch, fresh, chunk = work.batch, work.fresh, work.fresh.chunk
    if batch.too_old:
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
