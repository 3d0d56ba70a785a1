"""What holds for every JSON format that is a table, and the fills that tables share."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from ingest import formats
from ingest.formats import fills
from ingest.formats.document_tables import DemandingFormat, HostOf, Says, Status, named, texts
from ingest.formats.documents import DocumentFormat, Place
from ingest.formats.json_formats import JSON_FORMATS
from tests.unit.ingest.json_rows import labels, lines_of, parsed, reason, row, sample

NAMES = [form.name for form in JSON_FORMATS]
every_table = pytest.mark.parametrize("form", JSON_FORMATS, ids=NAMES)
FRANK = {"caddy", "nginx_json", "traefik_json", "api_gateway", "cloudtrail", "ocsf", "otlp"}
HIDDEN = {"cloudtrail": {"http_request_method", "http_response_status_code", "http_version"}}


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in members:
        yield from leaves(value, (*path, key)) if isinstance(value, dict | list) and value else [(*path, key)]


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = copy.deepcopy(document)
    inside: Any = result
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return result


def test_they_are_registered_in_this_order() -> None:
    assert [name for name in formats.names() if name in NAMES] == NAMES
    assert len(NAMES) == 14


@every_table
def test_its_sample_tells_of_the_request_that_all_samples_tell_of(form: DocumentFormat) -> None:
    found = row(form.name, form.sample)
    told = {
        "event_time": "2000-10-10T20:55:36+00:00",
        "source_address": "127.0.0.1",
        "http_request_method": "GET",
        "http_version": "1.0",
        "http_response_status_code": 200,
        "http_response_body_bytes": 2326,
        "user_agent_original": "Mozilla/4.08 [en] (Win98; I ;Nav)",
    }
    hidden = HIDDEN.get(form.name, set())
    assert {name: found[name] for name in told if name not in hidden} == {k: v for k, v in told.items() if k not in hidden}
    assert found.get("user_name") == ("frank" if form.name in FRANK else None)
    assert found.get("http_request_referrer") in (None, "http://www.example.com/start.html")
    target = found.get("url_original", found.get("url_path"))
    assert (target is None) == (form.name == "cloudtrail")
    assert target is None or target.endswith("/apache_pb.gif")


@every_table
def test_no_other_table_reads_its_sample(form: DocumentFormat) -> None:
    others = [other.name for other in JSON_FORMATS if other is not form and not parsed(other.name, form.sample).reasons]
    assert others == []


@every_table
def test_any_one_value_may_be_null_but_those_it_is_told_by(form: DocumentFormat) -> None:
    document = json.loads(form.sample)
    paths = [path for path in leaves(document) if path[-1] != "key"]
    found = parsed(form.name, *(changed(document, path, None) for path in paths))
    required = {*form.requires, *form.expects}
    for number, said in zip(found.rejected.tolist(), found.reasons, strict=True):
        path = ".".join(str(key) for key in paths[number])
        assert said == "no event_time" or said.removeprefix("no ") in {*required, *getattr(form, "demands", ())}, path
    assert len(found.rejected) <= 1 + len(required) + len(getattr(form, "demands", ()))


@every_table
def test_a_value_that_no_column_can_hold_rejects_the_line_and_names_the_column(form: DocumentFormat) -> None:
    document = json.loads(form.sample)
    found = parsed(form.name, *(changed(document, path, {"an": ["object"]}) for path in leaves(document)))
    assert found.reasons
    assert all(said.startswith("no ") or said.endswith(("is not a single value", "is not of this format")) for said in found.reasons)


@every_table
def test_unknown_fields_are_labels(form: DocumentFormat) -> None:
    document = json.loads(form.sample)
    more = {"quite_unknown": {"deep": [1, None]}, 'and "this"': "é"}
    assert row(form.name, document | more) == row(form.name, document)
    assert labels(form.name, document | more) == labels(form.name, document) | more


@every_table
def test_an_empty_object_and_what_is_no_json(form: DocumentFormat) -> None:
    assert reason(form.name, "{}").startswith("no ")
    assert reason(form.name, form.sample[:-1]) == "not valid JSON"


_TABLE = DemandingFormat(
    name="t",
    description="",
    source="",
    sample="",
    places=(
        *named(fills.Time(), "t"),
        *named(Status(), "status"),
        *named(Says("url_scheme", "https"), "tls"),
        *texts({"user": "user_name", "ip": "source_address"}),
    ),
    demands=("user_name", "source_address"),
)


def test_a_line_that_leaves_a_demanded_column_empty_is_rejected_among_others() -> None:
    documents = ['{"t":1,"user":"a","ip":"h"}', '{"t":1,"ip":"h"}', "[]", '{"t":1,"user":"-","ip":""}', '{"t":1,"user":"b"}', '{"ip":"h"}']
    found = formats.parse(_TABLE, lines_of(*documents, documents[0]))
    assert found.numbers.tolist() == [0, 6]
    assert found.rejected.tolist() == [1, 2, 3, 4, 5]
    assert found.reasons == ["no user_name", "not a JSON object", "no user_name", "no source_address", "no event_time"]
    assert found.rows["user_name"].to_pylist() == ["a", "a"]


def test_a_configured_zone_keeps_the_demands() -> None:
    options = formats.base.FormatOptions(zone="Asia/Tokyo")
    found = formats.parse(_TABLE.configured(options), lines_of('{"t":"2000-10-11T05:55:36","user":"a","ip":"h"}', '{"t":1}'))
    assert found.rows["event_time"].to_pylist()[0].isoformat() == "2000-10-10T20:55:36+00:00"
    assert found.reasons == ["no user_name"]


@pytest.mark.parametrize(
    ("value", "status", "kept"),
    [
        (200, 200, False),
        ("404", 404, False),
        (100, 100, False),
        (999, 999, False),
        (0, None, True),
        ("000", None, True),
        ("200.0", 200, False),
    ],
)
def test_a_status(value: Any, status: int | None, kept: bool) -> None:
    found = formats.parse(_TABLE, lines_of(json.dumps({"t": 1, "user": "a", "ip": "h", "status": value})))
    assert found.rows["http_response_status_code"].to_pylist() == [status]
    assert json.loads(found.rows["labels"].to_pylist()[0] or "{}") == ({"status": value} if kept else {})


@pytest.mark.parametrize("value", [99, 1, 1000, -1, "OK", 200.5, True])
def test_what_is_no_status(value: Any) -> None:
    found = formats.parse(_TABLE, lines_of(json.dumps({"t": 1, "user": "a", "ip": "h", "status": value})))
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith("http_response_status_code is ")


def test_what_is_there_says_something_of_another_column_and_stays_a_label() -> None:
    documents = ['{"t":1,"user":"a","ip":"h","tls":771}', '{"t":1,"user":"a","ip":"h","tls":"-"}']
    found = formats.parse(_TABLE, lines_of(*documents))
    assert found.rows["url_scheme"].to_pylist() == ["https", None]
    assert found.rows["labels"].to_pylist() == ['{"tls":771}', None]


@pytest.mark.parametrize(
    ("members", "domain", "port", "kept"),
    [
        ({"host": "a:80", "stand_in": "b:8080"}, "a", 80, {"stand_in": "b:8080"}),
        ({"host": "a", "stand_in": "b:8080"}, "a", None, {"stand_in": "b:8080"}),
        ({"stand_in": "b:8080"}, "b", None, {"stand_in": "b:8080"}),
        ({"stand_in": "[::1]"}, "::1", None, {}),
        ({"host": "-", "stand_in": "b"}, "b", None, {}),
    ],
)
def test_a_host_that_stands_in_gives_no_port_to_another(
    members: dict[str, str], domain: str, port: int | None, kept: dict[str, str]
) -> None:
    places = (Place("t", fills.Time()), Place("host", fills.HostPort("url_domain", "url_port")), Place("stand_in", HostOf("url_domain")))
    found = formats.parse(DocumentFormat("t", "", "", "", places), lines_of(json.dumps({"t": 1} | members)))
    assert (found.rows["url_domain"].to_pylist(), found.rows["url_port"].to_pylist()) == ([domain], [port])
    assert json.loads(found.rows["labels"].to_pylist()[0] or "{}") == kept


def test_named_places_are_in_order() -> None:
    assert [place.path for place in named(fills.Text("user_name"), "a", "b")] == ["a", "b"]
    assert texts({"p": "user_name"}) == (Place("p", fills.Text("user_name")),)


def test_many_blocks_of_mixed_lines_are_accounted_for() -> None:
    good, bad = formats.get("cloudfront_json").sample, '{"date":"2000-10-10","time":"20:55:36"}'
    found = parsed("cloudfront_json", *([good, bad] * 6000))
    assert np.array_equal(found.numbers, np.arange(0, 12_000, 2))
    assert found.reasons == ["no source_address"] * 6000
    assert pc.count_distinct(found.rows["event_time"]).as_py() == 1


def test_samples_are_objects_on_one_line() -> None:
    assert all("\n" not in form.sample and isinstance(sample(form.name), dict) for form in JSON_FORMATS)
