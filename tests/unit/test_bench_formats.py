"""The benchmark of formats: it writes every format, and the same requests in each."""

import datetime as dt
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench import formats as bench
from bench.formats import Result, measure, table
from bench.generate import generate
from bench.render import lines_of, renderer, requests_of, subjects
from core.errors import UsageError
from ingest import formats
from ingest.formats.base import Format
from ingest.formats.registry import wrappers
from transforms.pipeline import TransformOptions, build

LINES = 200
SAME = ("event_time", "source_address", "http_request_method", "http_version", "http_response_status_code", "http_response_body_bytes")
SAME_OR_ABSENT = ("http_request_referrer", "user_agent_original")
NEEDED = {"event_time", "source_address"}
NO_FACTS_OF_HTTP = {"cloudtrail"}
"""Calls of an API: neither method nor status of HTTP are in them."""
PIPELINE = build(TransformOptions(geo=False, redact=()))


@pytest.fixture(scope="module")
def requests() -> pa.RecordBatch:
    """Requests with what is hard to write: quotes, backslashes and commas in an agent, IPv6 addresses, no referrer."""
    found = requests_of(memoryview(b"".join(generate(LINES * 2, 1, dt.date(2015, 5, 17))))).slice(0, LINES)
    agents = ['odd "quoted", with \\ and %', *found["user_agent_original"].to_pylist()[1:]]
    names = found.schema.names
    return found.set_column(names.index("user_agent_original"), "user_agent_original", pa.array(agents, pa.string()))


@pytest.fixture(scope="module", params=[form.name for form in subjects()])
def form(request: pytest.FixtureRequest) -> Format:
    return formats.get(request.param)


def test_every_format_and_wrapper_has_its_turn() -> None:
    named = [form.name for form in subjects()]
    assert named[0] == "combined"
    assert sorted(named) == sorted([*formats.names(), *(f"{wrapper.name}+combined" for wrapper in wrappers())])


def test_the_requests_are_of_all_kinds(requests: pa.RecordBatch) -> None:
    assert len(requests) == LINES
    assert {":" in address for address in requests["source_address"].to_pylist()} == {True, False}
    assert {"?" in target for target in requests["url_original"].to_pylist()} == {True, False}
    assert 0 < requests["http_request_referrer"].null_count < LINES


def test_a_line_tells_the_request_it_was_made_from(form: Format, requests: pa.RecordBatch) -> None:
    writer = renderer(form)
    rows = _parsed(form, requests)
    told = set(rows.schema.names)
    assert told >= (NEEDED if form.name in NO_FACTS_OF_HTTP else NEEDED | {"http_request_method", "http_response_status_code"})
    for name in SAME:
        if name in told and not (name == "http_version" and "version" not in writer.marks) and form.name not in NO_FACTS_OF_HTTP:
            assert rows[name].to_pylist() == pc.fill_null(requests[name], 0 if name.endswith("bytes") else None).to_pylist(), name
    for name in SAME_OR_ABSENT:
        if name in told and writer.marks & ({"referrer", "referrer_percent"} if name.endswith("referrer") else {"agent"}):
            assert [text or None for text in rows[name].to_pylist()] == requests[name].to_pylist(), name


def test_a_line_tells_path_and_query(form: Format, requests: pa.RecordBatch) -> None:
    expected, found = PIPELINE.apply(requests), PIPELINE.apply(_parsed(form, requests))
    if not renderer(form).marks & {"target"}:
        assert form.name in NO_FACTS_OF_HTTP
        return
    assert found["url_path"].to_pylist() == expected["url_path"].to_pylist()
    assert [text or None for text in found["url_query"].to_pylist()] == [text or None for text in expected["url_query"].to_pylist()]


def test_agents_are_written_as_the_format_writes_them(requests: pa.RecordBatch) -> None:
    for name, spelled in (("w3c", lambda agent: agent.replace("+", " ")), ("cloudfront", str), ("cloudfront_json", str)):
        rows = _parsed(formats.get(name), requests)
        assert rows["user_agent_original"].to_pylist()[1:] == [spelled(agent) for agent in requests["user_agent_original"].to_pylist()[1:]]


def _parsed(form: Format, requests: pa.RecordBatch) -> pa.RecordBatch:
    writer = renderer(form)
    parsed = formats.parse(form, writer.render(requests), formats.parse(form, lines_of(writer.headers)).state)
    assert parsed.reasons == []
    assert len(parsed.numbers) == len(requests)
    return parsed.rows


def test_ids_differ_from_line_to_line(requests: pa.RecordBatch) -> None:
    labels = _parsed(formats.get("alb"), requests)["labels"]
    assert len(labels.unique()) == LINES


def test_batches_are_counted_together(requests: pa.RecordBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BATCH_LINES", 64)
    result = measure(formats.get("w3c"), requests, PIPELINE)
    assert (result.lines, result.rejected) == (LINES, 0)
    assert result.bytes > 100 * LINES
    assert 0 < result.parse < result.whole


def test_the_table_marks_what_is_slow_or_rejects() -> None:
    combined = Result("combined", 1000, 200_000, 0, 1.0, 2.0)
    third, slow = Result("third", 1000, 100_000, 0, 4.0, 6.0), Result("slow", 1000, 100_000, 0, 1.0, 6.1)
    lossy = Result("lossy", 1000, 100_000, 1, 1.0, 2.0)
    document = replace(slow, name="document", is_json=True)
    rows = [re.split(r"\s+", line.strip()) for line in table([combined, third, slow, lossy, document])[1:]]
    assert rows[0] == ["combined", "1,000/s", "1.00x", "500/s", "1.00x", "200", "0"]
    assert rows[1] == ["third", "250/s", "0.25x", "167/s", "0.33x", "100", "0"]
    assert [row[0] for row in rows[2:]] == ["!", "!", "document"]


def test_the_command_says_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--lines", "50", "--only", "common"]) in (0, 1)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("50 lines of each format")
    assert [re.split(r"\s+", line[2:])[0] for line in said[2:]] == ["combined", "common"]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="'nonsense' is not a format"):
        bench.main(["--lines", "50", "--only", "nonsense"])
