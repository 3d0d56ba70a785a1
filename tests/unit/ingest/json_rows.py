"""What a JSON format makes of one document, for the tests of such formats."""

import json
from typing import Any

import numpy as np

from ingest import formats
from ingest.formats.base import FormatOptions, Parsed
from ingest.lines import Lines

__all__ = ["labels", "lines_of", "parsed", "reason", "row", "sample"]

Document = dict[str, Any] | str


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def parsed(name: str, *documents: Document, zone: str = "UTC") -> Parsed:
    texts = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    return formats.parse(formats.get(name, FormatOptions(zone=zone)), lines_of(*texts))


def row(name: str, document: Document, zone: str = "UTC") -> dict[str, Any]:
    """What is not null of the row but its labels; the time as ISO 8601."""
    found = parsed(name, document, zone=zone)
    assert found.reasons == []
    values = {column: value for column, value in found.rows.to_pylist()[0].items() if value is not None}
    values.pop("labels", None)
    return values | {"event_time": values["event_time"].isoformat()}


def labels(name: str, document: Document) -> dict[str, Any]:
    found = parsed(name, document)
    assert found.reasons == []
    said = found.rows.to_pylist()[0]["labels"]
    return json.loads(said) if said else {}


def reason(name: str, document: Document) -> str:
    found = parsed(name, document)
    assert found.rows.num_rows == 0
    return found.reasons[0]


def sample(name: str) -> dict[str, Any]:
    """The format's sample, to be changed."""
    document: dict[str, Any] = json.loads(formats.get(name).sample)
    return document
