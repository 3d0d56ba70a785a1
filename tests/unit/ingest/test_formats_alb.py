"""AWS load balancers' access logs. Lines of AWS' documentation as lnav (src/formats/alb_log.json) and crowdsec-hub
(aws-alb-logs) have them; the one of an IPv6 client is of goaccess issue 2557."""

from typing import Any

import pytest

from tests.unit.ingest.line_rows import outcomes, reason, row, utc

GROUP = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
BASE = (
    "https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 201 "
    f'3 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {GROUP}'
)
VERSIONS = (
    ' "Root=1-58337281-1d84f3d73c47ec4e58577259"',
    ' "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678"',
    " 1",
    ' 2018-07-02T22:22:48.364000Z "authenticate,forward" "https://example.com:80/"',
    ' "LambdaInvalidResponse"',
    ' "10.0.0.1:80" "201"',
    ' "Acceptable" "SpaceInUri"',
    " TID_1234abcd5678ef90",
    ' "m.example.com" "/new" "TransformSuccess"',
)
COLUMNS = {
    "event_time": utc("2018-07-02T22:23:00.186641"),
    "source_address": "192.168.131.39",
    "source_port": 2817,
    "http_request_method": "GET",
    "url_original": "https://www.example.com:443/",
    "http_version": "1.1",
    "http_response_status_code": 200,
    "http_response_body_bytes": 57,
    "user_agent_original": "curl/7.46.0",
    "event_duration": 171_000_000,
}
LABELS = {
    "type": "https",
    "elb": "app/my-loadbalancer/50dc6c495c0c9188",
    "target": "10.0.0.1:80",
    "request_processing_time": "0.086",
    "target_processing_time": "0.048",
    "response_processing_time": "0.037",
    "target_status": "201",
    "received_bytes": "3",
    "ssl_cipher": "ECDHE-RSA-AES128-GCM-SHA256",
    "ssl_protocol": "TLSv1.2",
    "target_group_arn": GROUP,
}
MORE: tuple[dict[str, str], ...] = (
    {"trace_id": "Root=1-58337281-1d84f3d73c47ec4e58577259"},
    {"domain_name": "www.example.com", "chosen_cert_arn": "arn:aws:acm:us-east-2:123456789012:certificate/12345678"},
    {"matched_rule_priority": "1"},
    {
        "request_creation_time": "2018-07-02T22:22:48.364000Z",
        "actions_executed": "authenticate,forward",
        "redirect_url": "https://example.com:80/",
    },
    {"error_reason": "LambdaInvalidResponse"},
    {"target_port_list": "10.0.0.1:80", "target_status_list": "201"},
    {"classification": "Acceptable", "classification_reason": "SpaceInUri"},
    {"conn_trace_id": "TID_1234abcd5678ef90"},
    {"transformed_host": "m.example.com", "transformed_uri": "/new", "request_transform_status": "TransformSuccess"},
)


@pytest.mark.parametrize("count", range(len(VERSIONS) + 1))
def test_every_version_gives_all_its_fields(count: int) -> None:
    labels = LABELS.copy()
    for more in MORE[:count]:
        labels |= more
    request_id = {"http_request_id": "1-58337281-1d84f3d73c47ec4e58577259"} if count else {}
    assert row("alb", BASE + "".join(VERSIONS[:count])) == (COLUMNS | request_id, labels)


def test_what_is_yet_to_come_and_what_ends_between_versions_is_trailing() -> None:
    assert row("alb", BASE + "".join(VERSIONS) + ' new "x y"')[1]["trailing"] == 'new "x y"'
    _, labels = row("alb", BASE + "".join(VERSIONS[:2]) + " 1 2018-07-02T22:22:48.364000Z")
    assert labels["trailing"] == '"www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678" 1 2018-07-02T22:22:48.364000Z'


def test_domain_and_certificate_without_quotes() -> None:
    _, labels = row("alb", BASE + VERSIONS[0] + " www.example.com arn:aws:acm:us-east-2:1:certificate/1")
    assert (labels["domain_name"], labels["chosen_cert_arn"]) == ("www.example.com", "arn:aws:acm:us-east-2:1:certificate/1")


def test_a_request_that_reached_no_target() -> None:
    line = (
        "https 2023-04-26T19:53:46.679895Z app/546213e5-apiexamplecom-api-94aa/490d68edf04676fe 192.168.1.13:44740 - -1 -1 -1 404 - 204 "
        '167 "GET https://api.example.com:443/%%32%65%%32%65/ HTTP/1.1" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 - "-" "-" "-" 0 '
        '2023-04-26T19:53:46.678000Z "waf,fixed-response" "-" "-" "-" "-" "-" "-"'
    )
    assert row("alb", line) == (
        {
            "event_time": utc("2023-04-26T19:53:46.679895"),
            "source_address": "192.168.1.13",
            "source_port": 44740,
            "http_request_method": "GET",
            "url_original": "https://api.example.com:443/%%32%65%%32%65/",
            "http_version": "1.1",
            "http_response_status_code": 404,
            "http_response_body_bytes": 167,
        },
        {
            "type": "https",
            "elb": "app/546213e5-apiexamplecom-api-94aa/490d68edf04676fe",
            "request_processing_time": "-1",
            "target_processing_time": "-1",
            "response_processing_time": "-1",
            "received_bytes": "204",
            "ssl_cipher": "ECDHE-RSA-AES128-GCM-SHA256",
            "ssl_protocol": "TLSv1.2",
            "matched_rule_priority": "0",
            "request_creation_time": "2023-04-26T19:53:46.678000Z",
            "actions_executed": "waf,fixed-response",
        },
    )


def test_an_ipv6_client_is_logged_without_brackets() -> None:
    found, _ = row("alb", BASE.replace("192.168.131.39:2817", "2a02:a33c:4538:1:bcf4:5264:e01c:f215:50718"))
    assert (found["source_address"], found["source_port"]) == ("2a02:a33c:4538:1:bcf4:5264:e01c:f215", 50718)
    found, _ = row("alb", BASE.replace("192.168.131.39:2817", "[2001:db8::1]:50718"))
    assert (found["source_address"], found["source_port"]) == ("2001:db8::1", 50718)


@pytest.mark.parametrize(
    ("trace", "request_id"),
    [
        (
            "Self=1-67891233-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;CalledFrom=app",
            "1-67891233-abcdef012345678912345678",
        ),
        ("Self=1-67891233-12456789abcdef012345678", "Self=1-67891233-12456789abcdef012345678"),
        ("XRoot=1-2", "XRoot=1-2"),
        ("Root=", None),
        ("Root=;Self=1-2", None),
        ("Self=1-2;Root=", None),
        ("Self=1-2;Root=3", "3"),
    ],
)
def test_the_root_of_the_trace_is_the_request_id(trace: str, request_id: str | None) -> None:
    found, labels = row("alb", BASE + f' "{trace}"' + "".join(VERSIONS[1:]))
    assert (found.get("http_request_id"), labels["trace_id"]) == (request_id, trace)


@pytest.mark.parametrize(
    ("times", "duration"),
    [("0.086 -1 0.037", None), ("0.086 0.048 -1", None), ("-1 0.048 0.037", None), ("0 0 0", 0), ("10 0.000001 2.5", 12_500_001_000)],
)
def test_the_duration_is_the_sum_of_the_three_times(times: str, duration: int | None) -> None:
    assert row("alb", BASE.replace("0.086 0.048 0.037", times))[0].get("event_duration") == duration


@pytest.mark.parametrize(
    ("request_line", "columns", "label"),
    [
        ("- - - ", (None, None, None), None),
        ("- - -", (None, None, None), None),
        ("-", (None, None, None), None),
        ("GET http://h:80/a b HTTP/1.1 ", ("GET", "http://h:80/a b", "1.1"), None),
        ("- http://h:80- -", (None, None, None), "- http://h:80- -"),
    ],
)
def test_requests(request_line: str, columns: tuple[str | None, ...], label: str | None) -> None:
    found, labels = row("alb", BASE.replace("GET https://www.example.com:443/ HTTP/1.1", request_line))
    assert tuple(found.get(name) for name in ("http_request_method", "url_original", "http_version")) == columns
    assert labels.get("request") == label


def test_quotes_within_the_agent() -> None:
    assert row("alb", BASE.replace("curl/7.46.0", r"a \"b\" c"))[0]["user_agent_original"] == 'a "b" c'
    assert row("alb", BASE.replace("curl/7.46.0", 'a "b" c') + "".join(VERSIONS))[0]["user_agent_original"] == 'a "b" c'


def test_versions_may_be_mixed() -> None:
    lines = [BASE + "".join(VERSIONS[:count]) for count in (9, 2, 0, 9, 7)]
    assert outcomes("alb", *lines, "bad") == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("0.086", "x", "request processing time is not a duration"),
        ("2018-07-02T", "2018-13-02T", "time is not a time of ISO 8601"),
        (" 200 ", " 20 ", "status is out of range"),
        (" 57 ", " 99999999999999999999 ", "size is out of range"),
        ("57 ", "", "not of this form"),
        (' "curl/7.46.0"', "", "no agent after the request"),
    ],
)
def test_rejected_with_a_reason(old: str, new: str, why: str) -> None:
    assert reason("alb", BASE.replace(old, new)) == why


ELB = (
    "2015-05-13T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 201 3 29 "
    '"GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" DHE-RSA-AES128-SHA TLSv1.2'
)
ELB_COLUMNS: dict[str, Any] = {
    "event_time": utc("2015-05-13T23:39:43.945958"),
    "source_address": "192.168.131.39",
    "source_port": 2817,
    "http_request_method": "GET",
    "url_original": "http://www.example.com:80/",
    "http_version": "1.1",
    "http_response_status_code": 200,
    "http_response_body_bytes": 29,
    "event_duration": 1_178_000,
}
ELB_LABELS = {
    "elb": "my-loadbalancer",
    "backend": "10.0.0.1:80",
    "request_processing_time": "0.000073",
    "backend_processing_time": "0.001048",
    "response_processing_time": "0.000057",
    "backend_status": "201",
    "received_bytes": "3",
}
TLS = {"ssl_cipher": "DHE-RSA-AES128-SHA", "ssl_protocol": "TLSv1.2"}


def test_a_classic_line_gives_all_its_fields() -> None:
    assert row("elb", ELB) == (ELB_COLUMNS | {"user_agent_original": "curl/7.38.0"}, ELB_LABELS | TLS)
    assert row("elb", ELB + " more")[1] == ELB_LABELS | TLS | {"trailing": "more"}


def test_a_classic_line_may_end_with_the_request() -> None:
    assert row("elb", ELB.partition(' "curl')[0]) == (ELB_COLUMNS, ELB_LABELS)


def test_a_classic_listener_for_tcp() -> None:
    line = '2015-05-13T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 - -1 -1 0.000041 - - 82 305 "- - - " "-" - -'
    assert row("elb", line) == (
        {
            "event_time": utc("2015-05-13T23:39:43.945958"),
            "source_address": "192.168.131.39",
            "source_port": 2817,
            "http_response_body_bytes": 305,
        },
        {
            "elb": "my-loadbalancer",
            "request_processing_time": "-1",
            "backend_processing_time": "-1",
            "response_processing_time": "0.000041",
            "received_bytes": "82",
        },
    )


def test_the_two_are_told_apart() -> None:
    assert reason("elb", BASE) == "not of this form"
    assert reason("alb", ELB) == "not of this form"
    assert reason("elb", ELB.replace("0.001048", "1.2.3")) == "backend processing time is not a duration"
