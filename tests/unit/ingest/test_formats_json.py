"""JSON lines against Python's json module, and every way of naming, typing and spoiling a field."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import schema
from core.errors import UsageError
from ingest import formats
from ingest.formats._json_engine import MAX_DEPTH
from ingest.formats.base import FormatOptions
from ingest.formats.json_lines import COLUMNS, ECS_NAMES, JsonLines
from ingest.lines import Lines

SECOND = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)
VALUES: dict[str, Any] = {
    "event_time": "2019-01-22T03:56:14Z",
    "source_ip": "2001:db8::1",
    "source_port": 65535,
    "url_port": 0,
    "http_response_status_code": 999,
    "http_response_body_bytes": 2**63 - 1,
    "http_request_body_bytes": 0,
    "event_duration": 1_500_000,
}


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def row(document: str | dict[str, Any], **field_map: str) -> dict[str, Any]:
    """What is not null of the row."""
    text = document if isinstance(document, str) else json.dumps(document)
    parsed = formats.parse(formats.get("json", FormatOptions(json_fields=field_map)), lines_of(text))
    assert parsed.reasons == []
    return {name: value for name, value in parsed.rows.to_pylist()[0].items() if value is not None}


def reason(document: str | dict[str, Any], **field_map: str) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    parsed = formats.parse(formats.get("json", FormatOptions(json_fields=field_map)), lines_of(text))
    assert len(parsed.numbers) == 0
    return parsed.reasons[0]


def nested(path: str, value: Any) -> Any:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("path", "column"), ECS_NAMES.items())
def test_a_field_may_be_dotted_nested_or_underscored(path: str, column: str) -> None:
    value = VALUES.get(column, "text é")
    time = {} if column == "event_time" else {"@timestamp": 1}
    rows = [row(time | document) for document in ({path: value}, nested(path, value), {column: value})]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][column] == (value if column != "event_time" else dt.datetime(2019, 1, 22, 3, 56, 14, tzinfo=dt.UTC))
    assert set(rows[0]) <= {column, "event_time", "source_address"}


def test_columns_are_those_of_the_schema() -> None:
    assert all(schema.input_type(column) is not None for column in COLUMNS)
    assert set(COLUMNS) == set(ECS_NAMES.values())


def test_mixed_nesting() -> None:
    found = row({"@timestamp": 1, "http": {"request.method": "GET", "response": {"status_code": 200}}, "http.request": {"id": "r"}})
    assert (found["http_request_method"], found["http_response_status_code"], found["http_request_id"]) == ("GET", 200, "r")


def test_source_ip_stands_in_for_the_address() -> None:
    assert row({"@timestamp": 1, "source.ip": "::1"}) == {"event_time": SECOND, "source_ip": "::1", "source_address": "::1"}
    assert row({"@timestamp": 1, "source": {"ip": "::1", "address": "host"}})["source_address"] == "host"


def test_fallbacks_serve_only_where_the_field_is_absent() -> None:
    assert row({"@timestamp": 1, "http.response.bytes": 5, "url.full": "http://h/"}) == {
        "event_time": SECOND,
        "http_response_body_bytes": 5,
        "url_original": "http://h/",
    }
    found = row({"@timestamp": 1, "http": {"response": {"bytes": 5, "body": {"bytes": 4}}}})
    assert (found["http_response_body_bytes"], json.loads(found["labels"])) == (4, {"http.response.bytes": 5})


def test_the_field_map_adds_names_and_comes_first() -> None:
    document = {"ts": 1, "@timestamp": "shipped later", "client": {"addr": "h"}, "remote": "r"}
    found = row(document, **{"ts": "event_time", "client.addr": "source_address", "remote": "source_address"})
    labels = json.loads(found.pop("labels"))
    assert found == {"event_time": SECOND, "source_address": "h"}
    assert labels == {"@timestamp": "shipped later", "remote": "r"}


def test_a_mapped_name_may_be_both_value_and_object() -> None:
    assert row({"@timestamp": 1, "user": "bob"}, user="user_name")["user_name"] == "bob"
    assert row({"@timestamp": 1, "user": {"name": "bob"}}, user="user_name")["user_name"] == "bob"


@pytest.mark.parametrize(("path", "column"), [("a", "no_such"), ("a", "source_geo_city_name"), ("", "user_name"), ("a..b", "user_name")])
def test_a_wrong_field_map_is_refused(path: str, column: str) -> None:
    with pytest.raises(UsageError, match="field map: "):
        JsonLines({path: column})


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2015-05-17T10:05:03.25+02:00", "2015-05-17T08:05:03.25+00:00"),
        ("2015-05-17 10:05:03", "2015-05-17T10:05:03+00:00"),
        (1431857103, "2015-05-17T10:05:03+00:00"),
        (1431857103.25, "2015-05-17T10:05:03.25+00:00"),
        ("1431857103.25", "2015-05-17T10:05:03.25+00:00"),
        (1431857103250, "2015-05-17T10:05:03.25+00:00"),
        (1431857103250001, "2015-05-17T10:05:03.250001+00:00"),
        ("1431857103250001999", "2015-05-17T10:05:03.250001+00:00"),
        (1431857103250001999, "2015-05-17T10:05:03.250001+00:00"),
        (1.431857103e9, "2015-05-17T10:05:03+00:00"),
    ],
)
def test_times(value: Any, wanted: str) -> None:
    assert row({"@timestamp": value})["event_time"] == dt.datetime.fromisoformat(wanted)


@pytest.mark.parametrize("value", ["", "-", "soon", "2015-05-17", -1, 1e300, True, "12345678901234567890", "٣"])
def test_what_is_no_time(value: Any) -> None:
    assert reason({"@timestamp": value}) == "event_time is not a time"


@pytest.mark.parametrize(("value", "wanted"), [(5, 5), ("5", 5), ("007", 7), (5.0, 5), (1.5e9, 1_500_000_000), ("1e3", 1000)])
def test_whole_numbers_may_be_written_in_many_ways(value: Any, wanted: int) -> None:
    assert row({"@timestamp": 1, "event.duration": value})["event_duration"] == wanted


@pytest.mark.parametrize("value", [None, "", "-"])
def test_no_number_and_no_address(value: str | None) -> None:
    document = {"@timestamp": 1, "source.port": value, "source.ip": value, "http.response.status_code": value}
    assert row(document) == {"event_time": SECOND}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("http_response_body_bytes", -1),
        ("http_response_body_bytes", 2**63),
        ("http_response_body_bytes", 10**400),
        ("http_response_body_bytes", 1.5),
        ("http_response_body_bytes", 1e18),
        ("http_response_body_bytes", "12 "),
        ("http_response_body_bytes", "0x10"),
        ("http_response_body_bytes", "٣"),
        ("http_response_body_bytes", True),
        ("http_response_status_code", 99),
        ("http_response_status_code", 1000),
        ("source_port", 65536),
        ("url_port", 2**32 + 80),
    ],
)
def test_numbers_that_a_column_cannot_hold(column: str, value: Any) -> None:
    assert reason({"@timestamp": 1, column: value}).startswith(f"{column} is not a whole number from ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"@timestamp": 1} x', "not valid JSON"),
        ('{"@timestamp": 1, "a": NaN}', "not valid JSON"),
        ('{"@timestamp": 1, "a": [ -inf]}', "not valid JSON"),
        ('{"@timestamp": 1, "a": -Infinity}', "not valid JSON"),
        ('{"@timestamp": 1, }', "not valid JSON"),
        ('{"@timestamp": 1, "a": [1, ]}', "not valid JSON"),
        ('{"@timestamp": 1, "a": "\\ud800"}', "not valid JSON"),
        ('{"@timestamp": 1, "a": 01}', "not valid JSON"),
        ('{"@timestamp": 1, "a": "\t"}', "not valid JSON"),
        ('\ufeff{"@timestamp": 1}', "not valid JSON"),
        ("[1]", "not a JSON object"),
        (' "x"', "not a JSON object"),
        ("{}", "no event_time"),
        ('{"@timestamp": null}', "no event_time"),
        ('{"@timestamp": 1, "@timestamp": 1}', "a field is given more than once"),
        ('{"@timestamp": 1, "a": null, "a": 1}', "a field is given more than once"),
        ('{"@timestamp": 1, "http": {"x": 1, "x": 2}}', "a field is given more than once"),
        ('{"@timestamp": 1, "http": {}, "http": {}}', "a field is given more than once"),
        ('{"@timestamp": 1, "user.name": "a", "user": {"name": "a"}}', "a field is given more than once"),
        ('{"@timestamp": 1, "user.name": "a", "user_name": "a"}', "a field is given more than once"),
        ('{"@timestamp": 1, "source.ip": "300.1.1.1"}', "source_ip is not an IP address"),
        ('{"@timestamp": 1, "source.ip": ["1.1.1.1"]}', "source_ip is not a single value"),
        ('{"@timestamp": 1, "user.name": {}}', "user_name is not a single value"),
        ('{"@timestamp": 1, "user.name": "a\\u0000"}', "user_name holds a NUL"),
        ('{"@timestamp": 1, "a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "nested too deep"),
        ('{"a":' * 500_000 + "1" + "}" * 500_000, "nested too deep"),
        ("[" * 1_000_000, "nested too deep"),
    ],
)
def test_rejected_with_a_reason(text: str, why: str) -> None:
    good = '{"@timestamp": 1}'
    parsed = formats.parse(formats.get("json"), lines_of(good, text, good))
    assert (parsed.numbers.tolist(), parsed.reasons) == ([0, 2], [why])


@pytest.mark.parametrize(
    "value",
    [
        "[" * 100,
        'x"' + "{" * 100 + "\\",
        [[]] * 100,
        json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)),
        ":NaN,",
        ",]",
        [":inf", ", }"],
    ],
)
def test_what_only_looks_too_deep_or_lenient_is_kept(value: Any) -> None:
    assert json.loads(row({"@timestamp": 1, "a": value})["labels"]) == {"a": value}


def test_escapes_are_decoded() -> None:
    assert row('{"@timestamp": 1, "user.name": "\\u00e9\\/\\"\\\\n", "url": {"path": "/a"}}')["user_name"] == 'é/"\\n'
    found = row('{"\\u0040timestamp": 1, "k\\"\\u0000": "\\u0000"}')
    assert json.loads(found["labels"]) == {'k"\0': "\0"}


def test_numbers_become_text_where_text_belongs() -> None:
    found = row({"@timestamp": 1, "http.version": 1.1, "account_id": 123456789012345678901234567890, "user.name": True})
    assert (found["http_version"], found["account_id"], found["user_name"]) == ("1.1", "123456789012345678901234567890", "true")


def test_hostile_width_costs_no_more_than_its_length() -> None:
    """A path repeated for each of many elements would fill the memory."""
    key = "k" * 300_000
    wide = {"@timestamp": 1, key: {"a": list(range(100_000))}, "http": {key: 1, "b": list(range(100_000))}}
    labels = json.loads(row(wide)["labels"])
    assert labels == {key: wide[key], f"http.{key}": 1, "http.b": list(range(100_000))}
    assert reason({f"k{i}": i for i in range(50_000)}) == "no event_time"


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from(["a", "", "a.b", "source", "http", "trace", "é", '"', "\\", "\x01", "labels"])


@given(st.lists(st.tuples(st.dictionaries(_keys, _json, max_size=5), st.booleans(), st.sampled_from([None, 1])), min_size=1, max_size=5))
def test_whatever_has_no_column_is_in_labels(documents: list[tuple[dict[str, Any], bool, int | None]]) -> None:
    texts = [json.dumps({"@timestamp": 1} | d, ensure_ascii=ascii_, indent=indent).replace("\n", " ") for d, ascii_, indent in documents]
    parsed = formats.parse(formats.get("json"), lines_of(*texts))
    assert parsed.reasons == []
    for (document, _, _), found in zip(documents, parsed.rows["labels"].to_pylist(), strict=True):
        wanted = dict(flat(document))
        assert json.loads(found or "{}") == wanted


def flat(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """Members, those of the objects that known paths lead through by dotted path; nulls left out."""
    fields: list[tuple[str, Any]] = []
    for key, value in document.items():
        if key in ("source", "http") and isinstance(value, dict):
            fields += [(f"{key}.{inner}", deeper) for inner, deeper in value.items() if deeper is not None]
        elif value is not None:
            fields.append((key, value))
    return fields
