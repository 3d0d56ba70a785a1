"""Access: everything that is held on a data subject, in one zip that a person and a program can read.

``summary.html``                            what this is, what the law wants said beside it, and how much of what there is
``requests.parquet``, ``.csv``, ``.json``   the rows of all streams, in the columns of ``core.schema`` with the stream in front
``rejected_lines.json``                     lines that could not be read and mention the subject
``queries.json``                            texts of the query log that name the subject
``subject_requests.json``                   what the subject has asked for before, as far as it is remembered

The rows are found once and held as Parquet in a file without a name; the other forms are made of it.
"""

import html
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from core.clock import to_iso
from core.schema import COLUMNS, stored_schema
from core.segment import QUARANTINE_SUFFIX, Segment
from core.subject import Subject
from jobs.context import Context
from jobs.recovery import recover
from jobs.subjects import Found, find, hot_rows, lines_of
from query.output import whole_file, write_to
from storage import needles, query_texts
from storage.requests import Request

__all__ = ["SECTIONS", "Pack", "Texts", "access_pack"]

SECTIONS = {
    "controller": "Who is responsible",
    "contact": "Where to turn to",
    "officer": "Data protection officer",
    "purposes": "What the data is kept for",
    "legal_basis": "What allows it",
    "categories": "What kinds of data",
    "recipients": "Who else receives it",
    "transfers": "Countries outside the EEA that it goes to",
    "rights": "Your rights",
}
"""What Art. 15 (1) of the GDPR wants said, by the names of the texts in ``[privacy]``."""

_SCHEMA = pa.schema([pa.field("stream", pa.string()), *stored_schema()])
_NAMES = tuple(column.name for column in COLUMNS)
_FORMS = ("csv", "json")
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2em 1em .2em 0}"
)


@dataclass(frozen=True)
class Texts:
    """What only the controller knows.

    :param said: texts by the names of :data:`SECTIONS`. :param limits: how long each stream is kept, in words.
    """

    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """What was written: rows by tier."""

    rows: dict[str, int]


def access_pack(ctx: Context, request: Request, subject: Subject, out: Path, texts: Texts) -> Pack:
    """Write the zip, and note that the request is done.

    :raises UsageError: the file is no ordinary one, or cannot be made.
    :raises AuditlakeError: a store is out of reach; no file is left.
    """
    recover(ctx)
    found = find(ctx, subject)
    with whole_file(out) as stream, zipfile.ZipFile(cast(IO[bytes], stream), "w", zipfile.ZIP_DEFLATED) as pack:
        _write_rows(ctx, subject, found, pack, out.parent)
        _write_json(pack, "rejected_lines.json", _rejected(ctx, subject, found))
        _write_json(pack, "queries.json", _queries(ctx, subject))
        _write_json(pack, "subject_requests.json", [_remembered(each) for each in ctx.requests.of(subject)])
        pack.writestr("summary.html", _summary(ctx, request, subject, found, texts))
    with ctx.control.write() as connection:
        ctx.requests.done(connection, request, {"rows": found.rows}, rows=found.rows)
    return Pack(found.rows)


class _Held:
    """Rows of a Parquet file, as ``query.output`` wants them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.schema = _SCHEMA

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        self._file.seek(0)
        for batch in pq.ParquetFile(self._file).iter_batches(16_384):
            yield batch.cast(_SCHEMA)


def _write_rows(ctx: Context, subject: Subject, found: Found, pack: zipfile.ZipFile, folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as held:
        with pq.ParquetWriter(held, _SCHEMA, compression="zstd") as writer:
            for table in _rows(ctx, subject, found):
                writer.write_table(table)
        with _entry(pack, "requests.parquet") as stream:
            held.seek(0)
            while piece := held.read(1 << 20):
                stream.write(piece)
        for form in _FORMS:
            with _entry(pack, f"requests.{form}") as stream:
                write_to(_Held(cast(BinaryIO, held)), form, stream)


@contextmanager
def _entry(pack: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    with pack.open(name, "w", force_zip64=True) as stream:
        yield cast(BinaryIO, stream)


def _rows(ctx: Context, subject: Subject, found: Found) -> Iterator[pa.Table]:
    for file in sorted(found.files):
        for table in needles.rows_of(ctx.archive, [file.path], subject):
            yield _with_stream(table, file.segment)
    for segment in sorted(found.hot):
        for batch in hot_rows(ctx, segment, subject, _NAMES):
            yield _with_stream(pa.Table.from_batches([batch]), segment)


def _with_stream(table: pa.Table, segment: Segment) -> pa.Table:
    columns = [table[column.name].cast(column.type) for column in COLUMNS]
    return pa.table([pa.repeat(pa.scalar(segment.stream), table.num_rows), *columns], schema=_SCHEMA)


def _rejected(ctx: Context, subject: Subject, found: Found) -> list[dict[str, Any]]:
    lines = []
    for segment in sorted(found.quarantined):
        for batch in lines_of(ctx, segment, subject):
            for row in batch.to_pylist():
                told = {name: row[name] for name in ("source_name", "source_offset", "format", "reason")}
                text = row["raw"].decode("utf-8", "backslashreplace")
                stream = segment.stream.removesuffix(QUARANTINE_SUFFIX)
                lines.append({"stream": stream, "arrived": to_iso(row["arrived"]), **told, "line": text})
    return lines


def _queries(ctx: Context, subject: Subject) -> list[dict[str, Any]]:
    """What was asked that names the subject; who asked is not the subject's to know."""
    names = ("at", "role", "outcome", "rows", "statement", "purpose")
    return [{name: getattr(entry, name) for name in names} for entry in query_texts.naming(ctx.query_log, subject)]


def _remembered(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("id", "right", "state", "received", "deadline", "finished")}


def _write_json(pack: zipfile.ZipFile, name: str, value: list[dict[str, Any]]) -> None:
    pack.writestr(name, json.dumps(value, ensure_ascii=False, indent=1))


def _summary(ctx: Context, request: Request, subject: Subject, found: Found, texts: Texts) -> str:
    """A page without anything from elsewhere: no script, no picture, no address that is fetched."""
    known = [f"{each.kind}: {each.value}{_times(each.since, each.until)}" for each in subject.selectors]
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>Data held on you</title>"
    parts = [head, f"<style>{_STYLE}</style>", "<h1>Data held on you</h1>"]
    about = f"Answer to request {request.id}, received {request.received}, written {to_iso(ctx.clock.now())}. Looked for:"
    parts += [f"<p>{about}</p>", _list(known), "<h2>What is held</h2>", _table(("place", "entries"), list(found.rows.items()))]
    days = [(day["stream"], day["day"], day["tier"], day["rows"]) for day in found.days]
    parts += [_table(("stream", "day", "place", "entries"), days), "<h2>How long it is kept</h2>", _list(texts.limits)]
    for name, title in SECTIONS.items():
        parts += [f"<h2>{html.escape(title)}</h2>", _list(texts.said.get(name, ()))]
    columns = [(column.name, column.meaning) for column in COLUMNS]
    return "\n".join([*parts, "<h2>What the columns mean</h2>", _table(("column", "meaning"), columns), "</html>\n"])


def _times(since: Any, until: Any) -> str:
    return (f" from {to_iso(since)}" if since else "") + (f" before {to_iso(until)}" if until else "")


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if rows else "<p>nothing</p>"
