"""What holds for every registered format, and the registry itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest import formats
from ingest.formats.access import COMBINED
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.json_lines import JsonLines
from ingest.lines import Lines

LOGS = Path(__file__).parents[2] / "data" / "logs"
every_format = pytest.mark.parametrize("name", formats.names())


def lines_of(*texts: str | bytes) -> Lines:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def sample_of(name: str) -> list[str]:
    """The lines of a format's sample: headers, where it has them, and one line that is an event."""
    return formats.get(name).sample.split("\n")


@every_format
def test_its_sample_parses(name: str) -> None:
    form = formats.get(name)
    parsed = formats.parse(form, lines_of(*sample_of(name)))
    assert parsed.numbers.tolist() == [len(sample_of(name)) - 1]
    assert parsed.reasons == []
    assert parsed.rows["event_time"].to_pylist()[0].isoformat() == "2000-10-10T20:55:36+00:00"
    assert parsed.rows["source_address"].to_pylist() == ["127.0.0.1"]
    assert form.name == name
    assert form.description
    assert form.source.startswith("https://")


@every_format
@pytest.mark.parametrize("folder", ["apache-combined", "nasa-common"])
def test_every_real_line_is_accounted_for(name: str, folder: str) -> None:
    texts = (LOGS / folder / "access.log").read_text().splitlines()
    parsed = formats.parse(formats.get(name), lines_of(*texts))
    assert len(parsed.numbers) + len(parsed.rejected) == len(texts)


@every_format
def test_no_line_at_all(name: str) -> None:
    parsed = formats.parse(formats.get(name), lines_of())
    assert parsed.rows.num_rows == 0
    assert parsed.rows.schema == formats.parse(formats.get(name), lines_of(*sample_of(name))).rows.schema


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=200)


@every_format
@given(texts=st.lists(_text, min_size=1, max_size=20))
@example(texts=['"', "\\", "[", "{", "{}", " ", "\r", "é"])
def test_any_text_is_accounted_for(name: str, texts: list[str]) -> None:
    formats.parse(formats.get(name), lines_of(*texts))


@every_format
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 126)), max_size=4), cut=st.integers(1, 400))
def test_damaged_samples_are_accounted_for(name: str, flips: list[tuple[int, int]], cut: int) -> None:
    *headers, whole = sample_of(name)
    line = bytearray(whole.encode())
    for place, byte in flips:
        line[place % len(line)] = byte if byte != ord("\n") else ord(" ")
    parsed = formats.parse(formats.get(name), lines_of(*headers, whole, bytes(line), bytes(line[:cut]), *headers, whole))
    assert {len(headers), 2 * len(headers) + 3} <= set(parsed.numbers.tolist())
    assert parsed.rows.slice(0, 1).equals(parsed.rows.slice(parsed.rows.num_rows - 1, 1))


@every_format
@given(
    cells=st.lists(st.sampled_from([*list('"\\ []{}:,-09a'), "HTTP/1.1", "null", '": ', "é", "[22/Jan/2019:03:56:14 +0330]"]), min_size=1)
)
def test_fragments_in_any_order_are_accounted_for(name: str, cells: list[str]) -> None:
    formats.parse(formats.get(name), lines_of("".join(cells)))


@every_format
def test_reasons_quote_nothing_of_the_line(name: str) -> None:
    secret = "Sup3rS3cret"
    *headers, line = sample_of(name)
    texts = [secret, *headers, line.replace("2000", secret), line.replace("200 ", secret)]
    assert not any(secret in reason for reason in formats.parse(formats.get(name), lines_of(*texts)).reasons)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'combined' is registered already"):
        formats.register(COMBINED)


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="'apache' is not a format; list them with: auditlake formats"):
        formats.get("apache")


def test_a_field_map_goes_to_json_alone() -> None:
    field_map = {"who": "user_name"}
    assert formats.get("json", FormatOptions(json_fields=field_map)) == JsonLines(field_map)
    assert formats.get("combined", FormatOptions(json_fields=field_map)) is COMBINED


class _Liar:
    """The combined format with its outcome falsified."""

    name, description, source, sample = "liar", "", "", ""

    def __init__(self, **lies: object) -> None:
        self.lies = lies

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002
        return replace(COMBINED.parse(lines), **self.lies)  # type: ignore[arg-type]


_SAMPLE_ROWS = COMBINED.parse(lines_of(COMBINED.sample)).rows


@pytest.mark.parametrize(
    ("lies", "broken"),
    [
        ({"rejected": np.array([], np.int64), "reasons": []}, "neither parsed nor rejected nor eventless"),
        ({"numbers": np.array([1])}, "missing or given twice"),
        ({"numbers": np.array([0, 1]), "rejected": np.array([], np.int64), "reasons": []}, "differ in count"),
        ({"reasons": [""]}, "has no reason"),
        ({"rows": _SAMPLE_ROWS.drop_columns(["event_time"])}, "no event_time"),
        ({"rows": _SAMPLE_ROWS.rename_columns([name.upper() for name in _SAMPLE_ROWS.schema.names])}, "schema's type"),
    ],
)
def test_a_format_that_breaks_its_promise_is_caught(lies: dict[str, object], broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        formats.parse(_Liar(**lies), lines_of(COMBINED.sample, "bad"))
