"""Rejected lines, for people: which there are, why, and what one of them says."""

import base64
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from auditlake.console import show_json, show_pairs, show_table, visible
from core.clock import to_iso
from core.errors import UsageError
from core.segment import QUARANTINE_SUFFIX, Segment
from jobs.context import Context

__all__ = ["find", "listing", "show_list", "show_one"]

_SHOWN = ("id", "stream", "source_name", "source_offset", "format", "reason", "raw_bytes", "arrived")


def listing(ctx: Context, limit: int) -> dict[str, Any]:
    """The newest ``limit`` rejected lines, the number of all, and how many for each reason."""
    reasons: Counter[str] = Counter()
    lines: list[dict[str, Any]] = []
    for segment in _segments(ctx):
        for batch in _batches(ctx, segment):
            reasons.update({counted["values"]: counted["counts"] for counted in pc.value_counts(batch["reason"]).to_pylist()})
            lines += [{name: row[name] for name in _SHOWN} for row in _rows(segment, batch.slice(0, limit - len(lines)))]
    return {"quarantined": sum(reasons.values()), "reasons": dict(reasons.most_common()), "lines": lines}


def find(ctx: Context, line_id: str) -> dict[str, Any]:
    """One rejected line with its bytes.

    :param line_id: ``<batch>:<row>``, as the listing shows it.
    :raises UsageError: there is none.
    """
    for segment in _segments(ctx):
        for batch in _batches(ctx, segment):
            ids = pc.binary_join_element_wise(batch["ingest_batch"], batch["ingest_row"].cast(pa.string()), ":")
            for row in _rows(segment, batch.filter(pc.equal(ids, line_id))):
                return row
    raise UsageError(f"no rejected line has the id {line_id!r}", "see: auditlake quarantine list")


def show_list(found: dict[str, Any], as_json: bool) -> None:
    """The listing, for a machine or for eyes."""
    if as_json:
        show_json(found)
        return
    show_pairs({"quarantined": found["quarantined"], **{f"  {reason}": count for reason, count in found["reasons"].items()}})
    if found["lines"]:
        show_table(_SHOWN, [[line[name] for name in _SHOWN] for line in found["lines"]])


def show_one(row: dict[str, Any], as_json: bool) -> None:
    """One line, for a machine (its bytes in base64) or for eyes."""
    raw = row["raw"]
    if as_json:
        show_json({**row, "raw": base64.b64encode(raw).decode(), "text": raw.decode("utf-8", "backslashreplace")})
        return
    show_pairs({**{name: row[name] for name in _SHOWN}, "line": visible(raw.decode("utf-8", "backslashreplace"))})


def _segments(ctx: Context) -> list[Segment]:
    states = ctx.ledger.states().values()
    return sorted((state.segment for state in states if state.segment.is_quarantine and state.hot), key=lambda s: s.day, reverse=True)


def _batches(ctx: Context, segment: Segment) -> Iterator[pa.RecordBatch]:
    """The segment's lines, the newest first; there may be millions."""
    with ctx.hot.read(segment, ctx.key(segment), "arrived DESC, ingest_batch, ingest_row", batch_rows=2048) as batches:
        yield from batches


def _rows(segment: Segment, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    for row in batch.to_pylist():
        yield {
            **row,
            "id": f"{row['ingest_batch']}:{row['ingest_row']}",
            "stream": segment.stream.removesuffix(QUARANTINE_SUFFIX),
            "arrived": to_iso(row["arrived"]),
        }
