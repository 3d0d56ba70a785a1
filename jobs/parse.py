"""Parse: sources -> chunks -> format -> transforms, and nothing stored. What ingest would make of each line."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import AuditlakeError
from ingest.batches import Chunk, chunks
from ingest.formats import Choice, Format, State, UndetectedError
from ingest.formats import parse as parse_lines
from ingest.lines import Numbers
from ingest.reading import Reading
from ingest.sources import Source, open_source, source_name
from jobs.ingest import IngestOptions
from transforms.pipeline import Pipeline

__all__ = ["Outcome", "outcome_of", "parse_source"]


@dataclass(frozen=True)
class Outcome:
    """What becomes of the lines of a chunk; those that hold no event are in neither table.

    :param rows: every stored column but those that name the batch.
    :param numbers: for each row the number of its line in the chunk, ascending, int64.
    :param rejected: ``ingest_row`` (a line's number in the chunk), ``source_offset`` and ``reason``, ascending by the first.
    :param choice: which format was chosen and why, with ``auto``.
    """

    rows: pa.RecordBatch
    numbers: Numbers
    rejected: pa.Table
    choice: Choice | None = None


def parse_source(source: Source, options: IngestOptions, pipeline: Pipeline) -> Iterator[Outcome]:
    """The outcome of every chunk of a source, in order.

    :raises AuditlakeError: it cannot be read on, or no format can be told from its first lines; after everything before.
    """
    with open_source(source) as reader:
        reading = Reading(reader, options.format, options.formats, options.limits)
        try:
            for chunk in chunks(reader, options.limits):
                outcome, reading.state = outcome_of(chunk, reading.form(chunk), reading.state, pipeline)
                yield replace(outcome, choice=reading.choice)
        except UndetectedError as error:
            raise AuditlakeError(f"{source_name(source)!r}: {error.problem}", error.hint) from error


def outcome_of(chunk: Chunk, form: Format, state: State, pipeline: Pipeline) -> tuple[Outcome, State]:
    """The outcome of one chunk, and the state for the next one."""
    parsed = parse_lines(form, chunk.good, state)
    rows = pipeline.apply(parsed.rows)
    rows = rows.add_column(1, "event_day", pc.cast(rows["event_time"], pa.date32()))
    aside = pa.Table.from_batches([chunk.set_aside, chunk.rejected(parsed.rejected, parsed.reasons)])
    rejected = aside.select(["ingest_row", "source_offset", "reason"]).sort_by("ingest_row")
    return Outcome(rows, chunk.numbers[parsed.numbers], rejected), parsed.state
