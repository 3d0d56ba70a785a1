"""Envoy's and Istio's text logs. Lines of their documentation, and of crowdsec-hub (envoy-logs)."""

import pytest

from tests.unit.ingest.line_rows import outcomes, reason, row, utc

LINE = (
    '[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" '
    '"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"'
)
COLUMNS = {
    "event_time": utc("2016-04-15T20:17:00.310"),
    "source_address": "10.0.35.28",
    "http_request_method": "POST",
    "url_original": "/api/v1/locations",
    "http_version": "2",
    "http_response_status_code": 204,
    "http_request_body_bytes": 154,
    "http_response_body_bytes": 0,
    "event_duration": 226_000_000,
    "http_request_id": "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2",
    "url_domain": "locations",
    "user_agent_original": "nsq2http",
    "forwarded_for": "10.0.35.28",
}
LABELS = {"upstream_service_time": "100", "x_forwarded_for": "10.0.35.28", "upstream_host": "tcp://10.0.2.1:80"}
ISTIO_END = "inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default"
ISTIO = (
    '[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - {}0 135 4 3 "-" "curl/7.73.0-DEV" '
    '"84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" ' + ISTIO_END
)
ISTIO_COLUMNS = {
    "event_time": utc("2020-11-25T21:26:18.409"),
    "source_address": "10.44.1.23",
    "source_port": 37652,
    "http_request_method": "GET",
    "url_original": "/status/418",
    "http_version": "1.1",
    "http_response_status_code": 418,
    "http_request_body_bytes": 0,
    "http_response_body_bytes": 135,
    "event_duration": 4_000_000,
    "http_request_id": "84961386-6d84-929d-98bd-c5aee93b5c88",
    "url_domain": "httpbin",
    "url_port": 8000,
    "user_agent_original": "curl/7.73.0-DEV",
}
ISTIO_LABELS = {
    "upstream_service_time": "3",
    "upstream_host": "127.0.0.1:80",
    "upstream_cluster": "inbound|8000||",
    "upstream_local_address": "127.0.0.1:41854",
    "downstream_local_address": "10.44.1.27:80",
    "requested_server_name": "outbound_.8000_._.httpbin.foo.svc.cluster.local",
    "route_name": "default",
}


def test_the_default_format_gives_all_its_fields() -> None:
    assert row("envoy", LINE) == (COLUMNS, LABELS)


@pytest.mark.parametrize(
    ("between", "labels"),
    [
        ('via_upstream - "-" ', {"response_code_details": "via_upstream"}),
        (
            'a b "c d" ',
            {"response_code_details": "a", "connection_termination_details": "b", "upstream_transport_failure_reason": "c d"},
        ),
        ('"-" ', {}),
        ('"x" ', {"upstream_transport_failure_reason": "x"}),
        ('"ok" "x" ', {"mixer_status": "ok", "upstream_transport_failure_reason": "x"}),
    ],
)
def test_the_default_formats_of_istio_give_all_their_fields(between: str, labels: dict[str, str]) -> None:
    assert row("envoy", ISTIO.format(between)) == (ISTIO_COLUMNS, ISTIO_LABELS | labels)


@pytest.mark.parametrize(
    ("header", "last"),
    [
        ("192.168.1.100, 10.42.0.1", "10.42.0.1"),
        ("fd00:1234:5678::5a24, [fd00:1234:5678::1]:54321", "[fd00:1234:5678::1]:54321"),
        ("1.1.1.1,2.2.2.2", "2.2.2.2"),
        ("1.1.1.1, ", None),
        ("-", None),
    ],
)
def test_the_last_forwarded_address_is_the_source(header: str, last: str | None) -> None:
    found, labels = row("envoy", LINE.replace("10.0.35.28", header))
    assert found.get("source_address") == last
    assert found.get("forwarded_for") == labels.get("x_forwarded_for") == (None if header == "-" else header)


def test_in_istios_format_the_peer_is_the_source_and_the_header_is_kept() -> None:
    found, labels = row("envoy", ISTIO.format('via_upstream - "-" ').replace('3 "-"', '3 "1.1.1.1,10.44.1.23"'))
    assert (found["source_address"], found["forwarded_for"]) == ("10.44.1.23", "1.1.1.1,10.44.1.23")
    assert labels["x_forwarded_for"] == "1.1.1.1,10.44.1.23"


def test_an_ipv6_authority_keeps_its_brackets_and_a_peer_loses_them() -> None:
    line = ISTIO.format('via_upstream - "-" ').replace("httpbin:8000", "[fd00::1]:8000").replace("10.44.1.23:37652", "[fd00::2]:37652")
    found, _ = row("envoy", line)
    assert (found["url_domain"], found["url_port"]) == ("[fd00::1]", 8000)
    assert (found["source_address"], found["source_port"]) == ("fd00::2", 37652)
    found, _ = row("envoy", LINE.replace('"locations"', '"[fd00::1]"'))
    assert (found["url_domain"], found.get("url_port")) == ("[fd00::1]", None)


@pytest.mark.parametrize(("authority", "port"), [("a:99999", None), ("a:b", None), ("a:", None), ("x y:80", 80)])
def test_no_authority_rejects(authority: str, port: int | None) -> None:
    found, _ = row("envoy", LINE.replace('"locations"', f'"{authority}"'))
    assert (found["url_domain"], found.get("url_port")) == (authority if port is None else "x y", port)


def test_nothing_was_asked_and_nothing_answered() -> None:
    line = '[2016-04-15T20:17:00.310Z] "- - -" 0 DC 0 0 0 - "-" "-" "-" "-" "-"'
    found, labels = row("envoy", line)
    assert found == {
        "event_time": utc("2016-04-15T20:17:00.310"),
        "http_request_body_bytes": 0,
        "http_response_body_bytes": 0,
        "event_duration": 0,
    }
    assert labels == {"response_flags": "DC"}


def test_quotes_within_the_agent_and_more_at_the_end() -> None:
    found, labels = row("envoy", LINE.replace("nsq2http", 'a "b" c') + " more")
    assert (found["user_agent_original"], labels["trailing"]) == ('a "b" c', "more")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("2016-04-15", "2016-04-31", "time is not a time of ISO 8601"),
        (" 204 ", " 2040 ", "status is out of range"),
        (" 226 ", " 2x6 ", "total time is not a duration"),
        (' "nsq2http"', "", "no upstream host after the authority"),
        ("[", "", "not of this form"),
    ],
)
def test_rejected_with_a_reason(old: str, new: str, why: str) -> None:
    assert reason("envoy", LINE.replace(old, new)) == why


def test_formats_may_be_mixed() -> None:
    assert outcomes("envoy", LINE, ISTIO.format('via_upstream - "-" '), "bad", ISTIO.format('"-" '), LINE) == [
        True,
        True,
        False,
        True,
        True,
    ]
