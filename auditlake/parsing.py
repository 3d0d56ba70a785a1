"""What ``formats``, ``formats test`` and ``parse`` show.

A row is one JSON object: the schema's names, in its order, without those that name a batch; columns without a value are left
out; times are ISO 8601 in UTC; ``labels`` is an object. Control characters of every kind are escapes.
"""

import heapq
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from auditlake.console import say, show_json_text, show_pairs, show_table
from core.errors import AuditlakeError, UsageError
from ingest.batches import Chunker
from ingest.formats import FormatOptions, Score, UndetectedError, choose, get, names
from ingest.formats.detection import DETECT_LINES, score
from ingest.formats.registry import wrappers
from ingest.lines import Lines, Numbers
from ingest.reading import AUTO, UNKNOWN
from ingest.recall import head_lines
from ingest.sources import Source, expand, open_source, source_name
from jobs.ingest import IngestOptions
from jobs.parse import Outcome, outcome_of, parse_source
from query.cells import plain_column
from query.texts import as_json, harmless
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["Examination", "examine", "known_formats", "pipeline_for", "print_rows", "rendered", "show_examination"]

_AT_ONCE = 2048


def known_formats(options: FormatOptions) -> list[dict[str, str]]:
    """Name, description and source of the definition: the configuration's formats, all others, the wrappers."""
    own = [get(name, options) for name in options.custom]
    listed = [{"name": form.name, "description": form.description, "source": form.source} for form in (*own, *map(get, names()))]
    around = [{"name": f"{one.name}+…", "description": one.description, "source": one.source} for one in wrappers()]
    return listed + around


# ---------------------------------------------------------------------------------------------------------------- parse


def pipeline_for(options: TransformOptions, geo_city: Path | None, geo_asn: Path | None) -> Pipeline:
    """The transforms, with these databases in place of the configured ones.

    :raises UsageError: a database that was asked for cannot be used.
    """
    problems = build(TransformOptions(geo_city=geo_city, geo_asn=geo_asn)).warnings
    if problems:
        raise UsageError(problems[0])
    return build(replace(options, geo_city=geo_city or options.geo_city, geo_asn=geo_asn or options.geo_asn))


def print_rows(files: Sequence[str], options: IngestOptions, pipeline: Pipeline) -> int:
    """Every line of the files that holds an event, on standard output, as it becomes known; messages on standard error.

    :returns: how many of the files could not be read.
    :raises UsageError: the named format does not exist.
    """
    if options.format != AUTO:
        get(options.format, options.formats)
    sources, problems = expand(files)
    for source in sources:
        said = False
        try:
            for outcome in parse_source(source, options, pipeline):
                if outcome.choice and not said:
                    say(f"{source_name(source)}: {outcome.choice.why}")
                    said = True
                for texts in _pieces(text for _, text in rendered(outcome)):
                    sys.stdout.write("\n".join((*texts, "")))
        except AuditlakeError as error:
            problems.append(error)
        sys.stdout.flush()
    for problem in problems:
        say(f"auditlake: {problem}")
    return len(problems)


def _pieces(texts: Iterator[str]) -> Iterator[tuple[str, ...]]:
    while piece := tuple(itertools.islice(texts, _AT_ONCE)):
        yield piece


def rendered(outcome: Outcome) -> Iterator[tuple[int, str]]:
    """Number and JSON text of each line that is a row or rejected, in order."""
    lost = zip(*(outcome.rejected[name].to_pylist() for name in ("ingest_row", "reason", "source_offset")), strict=True)
    rejected = ((number, as_json({"rejected": reason, "offset": offset})) for number, reason, offset in lost)
    return heapq.merge(_rows(outcome), rejected, key=itemgetter(0))


def _rows(outcome: Outcome) -> Iterator[tuple[int, str]]:
    for start in range(0, outcome.rows.num_rows, _AT_ONCE):
        rows = outcome.rows.slice(start, _AT_ONCE)
        yield from zip(outcome.numbers[start : start + _AT_ONCE].tolist(), _texts(rows), strict=True)


def _texts(rows: pa.RecordBatch) -> Iterator[str]:
    """One JSON object for each row. ``labels`` is such text already: it is put in as it is."""
    held = [name for name in rows.schema.names if name != "labels" and rows[name].null_count < rows.num_rows]
    columns = [plain_column(name, rows[name]) for name in held]
    for labels, *values in zip(rows["labels"].to_pylist(), *columns, strict=True):
        text = as_json({name: value for name, value in zip(held, values, strict=True) if value is not None})
        yield text if labels is None else f'{text[:-1]},"labels":{harmless(labels)}}}'


# ---------------------------------------------------------------------------------------------------------- formats test


@dataclass(frozen=True)
class Examination:
    """What a file's first lines say.

    :param form: the format they are read as; :data:`UNKNOWN` when there is none.
    :param lines: number in the file and JSON text of each line shown: a row, or why it is rejected.
    :param problem: why no format could be told.
    """

    file: str
    form: str
    why: str
    scores: tuple[Score, ...]
    lines: list[tuple[int, str]] = field(default_factory=list)
    problem: UndetectedError | None = None


def examine(file: str, options: IngestOptions, most: int) -> Examination:
    """Look at a file's first lines.

    :param most: how many of them to show.
    :raises AuditlakeError: it cannot be read, or there is no such format.
    """
    source = _one_source(file)
    with open_source(source) as reader:
        lines, numbers = head_lines(reader, options.limits, DETECT_LINES)
        found = _chosen(source_name(source), options, lines, numbers)
        chunk = next(Chunker(reader, replace(options.limits, batch_lines=DETECT_LINES)), None)
    if found.problem or chunk is None:
        return found
    outcome, _ = outcome_of(chunk, get(found.form, options.formats), None, build(options.transforms))
    return replace(found, lines=[(number + 1, text) for number, text in itertools.islice(rendered(outcome), most)])


def _one_source(file: str) -> Source:
    sources, problems = expand([file])
    if problems:
        raise problems[0]
    if len(sources) != 1:
        raise UsageError(f"{file!r} is {len(sources)} files", "name one")
    return sources[0]


def _chosen(name: str, options: IngestOptions, lines: Lines, numbers: Numbers) -> Examination:
    if options.format != AUTO:
        scored = score(get(options.format, options.formats), lines)
        return Examination(name, options.format, f"{scored} lines; it was named", (scored,))
    try:
        choice = choose(lines, options.formats, numbers)
    except UndetectedError as problem:
        return Examination(name, UNKNOWN, problem.problem, problem.scores, problem=problem)
    return Examination(name, choice.name, choice.why, choice.scores)


def show_examination(found: Examination, as_object: bool) -> None:
    """The same, for a machine or for eyes."""
    if as_object:
        scores = as_json([_score_row(one) for one in found.scores])
        lines = ",".join(f'{{"line":{number},{text[1:]}' for number, text in found.lines)
        facts = {"file": found.file, "format": found.form if not found.problem else None, "why": found.why}
        failed = {"error": found.problem.problem, "hint": found.problem.hint} if found.problem else {}
        show_json_text(f'{as_json({**facts, **failed})[:-1]},"scores":{scores},"lines":[{lines}]}}')
        return
    show_pairs({"file": found.file, "format": found.form, "why": found.why})
    if found.scores:
        shown = [one for one in found.scores if one.taken] or found.scores[:1]
        show_table(("format", "lines", "of", "share", "columns"), [_score_cells(one) for one in shown])
        if len(shown) < len(found.scores):
            show_pairs({"others": f"{len(found.scores) - len(shown)} formats read none of them"})
    for number, text in found.lines:
        show_table(("column", "value"), _cells(json.loads(text)), title=f"line {number}")


def _score_row(one: Score) -> dict[str, Any]:
    return {"name": one.name, "taken": one.taken, "of": one.of, "share": round(one.share, 4), "columns": round(one.columns, 2)}


def _score_cells(one: Score) -> tuple[Any, ...]:
    return one.name, one.taken, one.of, f"{one.share:.0%}", f"{one.columns:.1f}"


def _cells(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values; what is in labels one by one."""
    labels = row.pop("labels", {})
    return [(name, _text(value)) for name, value in row.items()] + [(f"labels: {name}", _text(value)) for name, value in labels.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
