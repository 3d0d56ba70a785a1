"""Foreign cases through the same code as an ingest: chunks of bytes, a format, the transforms; then field by field."""

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import UsageError
from ingest import formats
from ingest.batches import Chunk, chunks
from ingest.formats.base import Format, FormatOptions
from ingest.sources import Reader
from tests.conformance import crowdsec, elastic, lnav
from tests.conformance.cases import CaseFile, Reading, Value, numbers_of
from tests.conformance.files import CUSTOM
from transforms.pipeline import Pipeline, TransformOptions, build

__all__ = ["Compared", "compare", "files", "waits"]

_GEO = Path(__file__).resolve().parents[1] / "data" / "geoip" / "test-data"
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """One field of one line.

    :param file: :attr:`tests.conformance.cases.CaseFile.id`.
    :param column: our column, ``url`` or ``labels.NAME``; with the foreign field in brackets where two disagree about it.
    :param ours: our value, as text; of a rejected line the reason, ``null`` for none.
    :param theirs: the expected value, likewise.
    """

    file: str
    line: int
    column: str
    ours: str
    theirs: str

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.ours == self.theirs


@cache
def files() -> tuple[CaseFile, ...]:
    """Every file of every project."""
    return tuple(file for project in (elastic, crowdsec, lnav) for file in project.load())


@cache
def compare(file: CaseFile) -> tuple[Compared, ...]:
    """Every expected field of the file beside ours, but for lines whose format does not exist."""
    found = {line: row for reading in file.readings if _exists(reading) for line, row in _read(file, reading)}
    return tuple(
        Compared(file.id, case.line, column, _text(_ours(found[case.line], column)), _text(value))
        for case in file.cases
        if case.line in found
        for column, value in case.expected.items()
    )


def waits(file: CaseFile) -> dict[str, str]:
    """Formats that the file needs and that cannot be had -> why."""
    return {reading.format: form for reading in file.readings if isinstance(form := _format(reading.format), str)}


def _read(file: CaseFile, reading: Reading) -> Iterator[tuple[int, Row]]:
    """Number of each line that the reading takes, and its row."""
    pieces = file.data.split(b"\n")
    numbers = list(numbers_of(reading.lines)) if reading.lines else list(range(1, len(pieces) + 1))
    data = b"\n".join(pieces[number - 1] for number in numbers)
    form, state = _format(reading.format), None
    assert not isinstance(form, str)
    for chunk in chunks(Reader(file.path, io.BytesIO(data))):
        parsed = formats.parse(form, chunk.good, state)
        state = parsed.state
        for number, row in zip(parsed.numbers, _pipeline(file.trusted).apply(parsed.rows).to_pylist(), strict=True):
            yield numbers[int(chunk.numbers[number])], row
        for number in parsed.eventless:
            yield numbers[int(chunk.numbers[number])], _rejected("no event of its own")
        for number, reason in zip(parsed.rejected, parsed.reasons, strict=True):
            yield numbers[int(chunk.numbers[number])], _rejected(reason)
        yield from _set_aside(chunk, numbers)


def _set_aside(chunk: Chunk, numbers: list[int]) -> Iterator[tuple[int, Row]]:
    for line in chunk.set_aside.to_pylist():
        yield numbers[line["ingest_row"]], _rejected(line["reason"])


def _rejected(reason: str) -> Row:
    return {"rejected": reason}


def _exists(reading: Reading) -> bool:
    return not isinstance(_format(reading.format), str)


@cache
def _format(name: str) -> Format | str:
    """The format of that name, or why it cannot be had."""
    try:
        return formats.get(name, FormatOptions(custom=CUSTOM))
    except UsageError as error:
        return str(error)


@cache
def _pipeline(trusted: bool) -> Pipeline:
    options: dict[str, Any] = {"geo_city": _GEO / "GeoLite2-City-Test.mmdb", "geo_asn": _GEO / "GeoLite2-ASN-Test.mmdb"}
    if trusted and "trusted_proxies" in {field.name for field in dataclasses.fields(TransformOptions)}:
        options["trusted_proxies"] = _PRIVATE
    return Pipeline([transform for transform in build(TransformOptions(**options)).transforms if transform.name != "redact"])


def _ours(row: Row, column: str) -> Any:
    """Our value of a column."""
    if "rejected" in row:
        return f"rejected: {row['rejected']}"
    column = column.partition(" (")[0]
    labels = json.loads(row["labels"] or "{}")
    if column.startswith("labels."):
        return labels.get(column.removeprefix("labels."))
    return _url(row, labels) if column == "url" else row[column]


def _url(row: Row, labels: Mapping[str, Any]) -> Any:
    """What was asked for: path and query, or the request that is none."""
    if row["url_path"] is None and row["url_query"] is None:
        return labels.get("request")
    return (row["url_path"] or "") + ("" if row["url_query"] is None else f"?{row['url_query']}")


def _text(value: Value) -> str:
    """A value as tables show it: numbers that are equal are the same text."""
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
