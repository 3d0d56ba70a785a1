"""Requests in schemas for all logs: OCSF's HTTP Activity, OpenTelemetry's log records."""

from typing import Any

import pytest

from tests.unit.ingest.json_rows import labels, parsed, reason, row, sample

OCSF: dict[str, Any] = {
    "class_uid": 4002, "category_uid": 4, "activity_id": 6, "time": 971211336587, "time_dt": "2000-10-10T20:55:36.587Z", "severity_id": 1,
    "metadata": {"version": "1.3.0"}, "cloud": {"provider": "AWS"},
    "src_endpoint": {"ip": "2001:db8::1", "hostname": "client.example.com", "port": 52417, "svc_name": "-"},
    "dst_endpoint": {"ip": "10.0.0.9", "port": 8443},
    "actor": {"user": {"name": "frank", "uid": "7", "account": {"uid": "123456789012"}}},
    "http_request": {
        "http_method": "POST", "version": "HTTP/2", "uid": "8c3b1d", "referrer": "http://www.example.com/start.html",
        "user_agent": "curl/8.5.0", "x_forwarded_for": ["192.0.2.7", "198.51.100.2"], "body_length": 34, "length": 512,
        "url": {"url_string": "https://www.example.com/a?b=c", "path": "/a", "query_string": "b=c",
                "hostname": "www.example.com", "scheme": "HTTPS"},
        "http_headers": [{"name": "Accept", "value": "*/*"}, {"name": "X-Forwarded-For", "value": "192.0.2.7"}],
    },
    "http_response": {"code": 201, "length": 2600, "body_length": 2326, "latency": 9, "message": "Created"},
    "duration": 12, "tls": {"version": "1.3"},
}  # fmt: skip


def test_ocsf_every_column() -> None:
    assert row("ocsf", OCSF) == {
        "event_time": "2000-10-10T20:55:36.587000+00:00",
        "source_address": "2001:db8::1",
        "source_port": 52417,
        "user_name": "frank",
        "account_id": "123456789012",
        "http_request_method": "POST",
        "http_request_referrer": "http://www.example.com/start.html",
        "http_request_id": "8c3b1d",
        "http_request_body_bytes": 34,
        "http_version": "2",
        "http_response_status_code": 201,
        "http_response_body_bytes": 2326,
        "url_scheme": "https",
        "url_domain": "www.example.com",
        "url_port": 8443,
        "url_path": "/a",
        "url_query": "b=c",
        "url_original": "https://www.example.com/a?b=c",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 12_000_000,
        "forwarded_for": "192.0.2.7, 198.51.100.2",
    }
    kept = labels("ocsf", OCSF)
    assert (kept["src_endpoint.hostname"], kept["http_response.latency"], kept["http_request.length"]) == ("client.example.com", 9, 512)
    assert kept["http_request.x_forwarded_for"] == ["192.0.2.7", "198.51.100.2"]
    assert kept["http_request.http_headers.Accept"] == "*/*"
    assert kept["tls"] == {"version": "1.3"}


def test_ocsf_what_stands_in() -> None:
    document = {
        "class_uid": "4002", "time_dt": "2000-10-10T20:55:36Z", "src_endpoint": {"hostname": "h"}, "http_status": 404,
        "actor": {"user": {"uid": "7"}},
        "http_request": {
            "http_method": "GET", "http_version": "1.1", "url": {"text": "/a"},
            "http_headers": [{"name": "user-agent", "value": "curl"}, {"name": "x-forwarded-for", "value": "192.0.2.7"}],
        },
        "http_response": {"latency": 9, "length": 7},
    }  # fmt: skip
    assert row("ocsf", document) == {
        "event_time": "2000-10-10T20:55:36+00:00",
        "source_address": "h",
        "user_name": "7",
        "http_request_method": "GET",
        "http_version": "1.1",
        "http_response_status_code": 404,
        "http_response_body_bytes": 7,
        "url_original": "/a",
        "user_agent_original": "curl",
        "event_duration": 9_000_000,
        "forwarded_for": "192.0.2.7",
    }


def test_ocsf_other_classes() -> None:
    assert reason("ocsf", OCSF | {"class_uid": 4001}) == "class_uid is not of this format"
    assert reason("ocsf", {"time": 1}) == "no class_uid"


def record(*, resource: dict[str, Any] | None = None, **record: Any) -> dict[str, Any]:
    """A record with its attributes given plainly."""
    told = record | {"attributes": [attribute(name, value) for name, value in record.get("attributes", {}).items()]}
    return {"resource": {"attributes": [attribute(name, value) for name, value in (resource or {}).items()]}, "logRecord": told}


def attribute(name: str, value: Any) -> dict[str, Any]:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {"key": name, "value": {kinds[type(value)]: str(value) if type(value) is int else value}}


STABLE = {
    "http.request.method": "POST", "url.path": "/a", "url.query": "b=c", "url.scheme": "https", "server.address": "www.example.com",
    "server.port": 8443, "client.address": "192.0.2.7", "network.peer.address": "198.51.100.2", "network.peer.port": 52417,
    "user_agent.original": "curl/8.5.0", "network.protocol.version": "2", "http.response.status_code": 201, "http.route": "/{x}",
    "http.request.body.size": 34, "http.response.body.size": 2326, "http.server.request.duration": 0.012, "user.name": "frank",
}  # fmt: skip
OLD = {
    "http.method": "POST", "http.target": "/a?b=c", "http.scheme": "https", "net.host.name": "www.example.com", "net.host.port": 8443,
    "http.client_ip": "192.0.2.7", "net.sock.peer.addr": "198.51.100.2", "net.sock.peer.port": 52417, "http.user_agent": "curl/8.5.0",
    "http.flavor": "2", "http.status_code": 201, "http.route": "/{x}", "http.request_content_length": 34,
    "http.response_content_length": 2326, "http.server.request.duration": 0.012, "enduser.id": "frank",
}  # fmt: skip
WANTED = {
    "event_time": "2000-10-10T20:55:36.587000+00:00",
    "source_address": "198.51.100.2",
    "source_port": 52417,
    "user_name": "frank",
    "http_request_method": "POST",
    "http_request_id": "5b8efff798038103d269b633813fc60c",
    "http_request_body_bytes": 34,
    "http_version": "2",
    "http_response_status_code": 201,
    "http_response_body_bytes": 2326,
    "url_scheme": "https",
    "url_domain": "www.example.com",
    "url_port": 8443,
    "user_agent_original": "curl/8.5.0",
    "event_duration": 12_000_000,
    "client_address": "192.0.2.7",
}


@pytest.mark.parametrize(
    ("attributes", "target", "client"),
    [(STABLE, {"url_path": "/a", "url_query": "b=c"}, "client.address"), (OLD, {"url_original": "/a?b=c"}, "http.client_ip")],
    ids=["stable", "old"],
)
def test_otlp_every_column(attributes: dict[str, Any], target: dict[str, str], client: str) -> None:
    document = record(
        resource={"service.name": "web", "k": True}, attributes=attributes, timeUnixNano="971211336587000000",
        traceId="5b8efff798038103d269b633813fc60c", spanId="eee1", body={"stringValue": "handled"},
    )  # fmt: skip
    assert row("otlp", document) == WANTED | target
    assert labels("otlp", document) == {
        "resource.attributes.service.name": "web",
        "resource.attributes.k": True,
        "logRecord.spanId": "eee1",
        "logRecord.body": {"stringValue": "handled"},
        "logRecord.attributes.http.route": "/{x}",
        f"logRecord.attributes.{client}": "192.0.2.7",
    }


def test_otlp_both_generations_in_one_record() -> None:
    found = row("otlp", record(attributes=OLD | STABLE, timeUnixNano=1, traceId="5b8efff798038103d269b633813fc60c"))
    assert found["http_response_status_code"] == 201
    assert (found["url_path"], found["url_original"]) == ("/a", "/a?b=c")


def test_otlp_a_client_without_a_peer() -> None:
    found = row("otlp", record(attributes={"http.request.method": "GET", "client.address": "192.0.2.7"}, timeUnixNano="1000"))
    assert (found["source_address"], found["client_address"]) == ("192.0.2.7", "192.0.2.7")


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ({"timeUnixNano": "971211336000000999"}, "2000-10-10T20:55:36+00:00"),
        ({"timeUnixNano": 971211336000000000, "observedTimeUnixNano": "1"}, "2000-10-10T20:55:36+00:00"),
        ({"timeUnixNano": "0", "observedTimeUnixNano": "971211336000000000"}, "2000-10-10T20:55:36+00:00"),
        ({"timeUnixNano": 0, "observedTimeUnixNano": "971211336000000000"}, "2000-10-10T20:55:36+00:00"),
        ({"observedTimeUnixNano": "971211336000000000"}, "2000-10-10T20:55:36+00:00"),
    ],
)
def test_otlp_times(times: dict[str, Any], wanted: str) -> None:
    assert row("otlp", record(attributes={"http.method": "GET"}, **times))["event_time"] == wanted


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (record(attributes={"http.method": "GET"}, timeUnixNano="0"), "no event_time"),
        (record(attributes={"http.method": "GET"}), "no event_time"),
        (record(attributes={"db.system": "x"}, timeUnixNano="1"), "no http_request_method"),
        (record(timeUnixNano="1"), "no http_request_method"),
        (record(attributes={"http.method": "GET"}, timeUnixNano="soon"), "event_time is not a time"),
        ({"resource": {}, "timeUnixNano": "1"}, "no logRecord"),
        ({"logRecord": "x"}, "no event_time"),
    ],
)
def test_otlp_what_is_no_request(document: dict[str, Any], said: str) -> None:
    assert reason("otlp", document) == said


def test_otlp_attributes_of_other_kinds_are_labels() -> None:
    document = record(attributes={"http.method": "GET"}, timeUnixNano="1000")
    document["logRecord"]["attributes"].append(
        {"key": "http.request.header.accept", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}}
    )
    assert row("otlp", document)["http_request_method"] == "GET"
    assert labels("otlp", document) == {
        "resource.attributes": [],
        "logRecord.attributes.http.request.header.accept": {"values": [{"stringValue": "a"}]},
    }


def test_one_bad_record_among_good_ones() -> None:
    good = sample("otlp")
    found = parsed("otlp", good, record(timeUnixNano="1"), good)
    assert (found.numbers.tolist(), found.rejected.tolist()) == ([0, 2], [1])
