"""What a format of lines makes of one line: for the tests of each such format."""

import datetime as dt
import json
from typing import Any

import numpy as np

from ingest import formats
from ingest.formats.base import FormatOptions
from ingest.lines import Lines

__all__ = ["lines_of", "outcomes", "reason", "row", "utc"]


def lines_of(*texts: str | bytes) -> Lines:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def row(form: str, text: str | bytes, zone: str = "UTC") -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns that are not null, without labels; and the labels."""
    parsed = formats.parse(formats.get(form, FormatOptions(zone=zone)), lines_of(text))
    assert parsed.reasons == []
    found = {name: value for name, value in parsed.rows.to_pylist()[0].items() if value is not None}
    return found, json.loads(found.pop("labels", "{}"))


def reason(form: str, text: str | bytes) -> str:
    parsed = formats.parse(formats.get(form), lines_of(text))
    assert (len(parsed.numbers), len(parsed.eventless)) == (0, 0)
    return parsed.reasons[0]


def outcomes(form: str, *texts: str) -> list[bool]:
    """For each line whether it was read."""
    parsed = formats.parse(formats.get(form), lines_of(*texts))
    return [number in parsed.numbers for number in range(len(texts))]


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
