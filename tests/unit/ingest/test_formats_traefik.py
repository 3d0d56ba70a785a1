"""Traefik's common log format. Lines of Elastic's Filebeat (module/traefik/access) and of crowdsec-hub (traefik_clf)."""

import pytest

from tests.unit.ingest.line_rows import outcomes, reason, row, utc

LINE = (
    '192.168.33.1 - bob [02/Oct/2017:20:22:07 +0200] "GET /ui/favicon.png?a=1 HTTP/1.1" 304 5 "http://example.com/login" '
    '"Mozilla/5.0 (X11; Linux x86_64)" 262 "Host-host-1" "http://172.19.0.3:5601" 2ms'
)
COLUMNS = {
    "event_time": utc("2017-10-02T18:22:07"),
    "source_address": "192.168.33.1",
    "user_name": "bob",
    "http_request_method": "GET",
    "url_original": "/ui/favicon.png?a=1",
    "http_version": "1.1",
    "http_response_status_code": 304,
    "http_response_body_bytes": 5,
    "http_request_referrer": "http://example.com/login",
    "user_agent_original": "Mozilla/5.0 (X11; Linux x86_64)",
    "event_duration": 2_000_000,
}
LABELS = {"request_count": "262", "router_name": "Host-host-1", "server_url": "http://172.19.0.3:5601"}
REFERRER, AGENT, ROUTE = '"http://example.com/login"', '"Mozilla/5.0 (X11; Linux x86_64)"', '"Host-host-1" "http://172.19.0.3:5601"'


def without(found: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in found.items() if name not in names}


def test_a_line_gives_all_its_fields() -> None:
    assert row("traefik", LINE) == (COLUMNS, LABELS)


@pytest.mark.parametrize("dash", ["-", '"-"'])
def test_a_dash_needs_no_quotes(dash: str) -> None:
    line = LINE.replace(REFERRER, dash)
    assert row("traefik", line) == (without(COLUMNS, "http_request_referrer"), LABELS)
    line = line.replace(AGENT, dash)
    assert row("traefik", line) == (without(COLUMNS, "http_request_referrer", "user_agent_original"), LABELS)
    line = line.replace(ROUTE, f"{dash} {dash}")
    assert row("traefik", line) == (without(COLUMNS, "http_request_referrer", "user_agent_original"), {"request_count": "262"})
    assert row("traefik", LINE.replace(AGENT, dash)) == (without(COLUMNS, "user_agent_original"), LABELS)
    assert row("traefik", LINE.replace(ROUTE, f"{dash} {dash}")) == (COLUMNS, {"request_count": "262"})


def test_nothing_was_answered() -> None:
    line = '172.17.1.1 - - [28/Sep/2022:13:38:04 +0000] "GET /mobileadmin/home.cs HTTP/1.1" - - "-" "Nikto (Test:006607)" 45640 "-" "-" 0ms'
    assert row("traefik", line) == (
        {
            "event_time": utc("2022-09-28T13:38:04"),
            "source_address": "172.17.1.1",
            "http_request_method": "GET",
            "url_original": "/mobileadmin/home.cs",
            "http_version": "1.1",
            "user_agent_original": "Nikto (Test:006607)",
            "event_duration": 0,
        },
        {"request_count": "45640"},
    )


def test_a_router_of_several_parts_and_an_ipv6_client() -> None:
    route = "root@docker -> intermediate1@docker -> leaf@docker"
    found, labels = row("traefik", LINE.replace("Host-host-1", route).replace("192.168.33.1", "::1"))
    assert (found["source_address"], labels["router_name"]) == ("::1", route)


def test_quotes_within_a_field() -> None:
    found, labels = row("traefik", LINE.replace("Mozilla/5.0", 'a "b" c'))
    assert (found["user_agent_original"], labels) == ('a "b" c (X11; Linux x86_64)', LABELS)
    found, labels = row("traefik", LINE.replace("(X11; Linux x86_64)", "ends so\\"))
    assert (found["user_agent_original"], labels) == ("Mozilla/5.0 ends so\\", LABELS)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (" 2ms", " 2s", "total time is not a duration"),
        (" 2ms", " ms", "total time is not a duration"),
        (" 2ms", "", "no total time after the server url"),
        (f" 262 {ROUTE} 2ms", "", "no request count after the agent"),
        (" 304 ", " 3 ", "status is out of range"),
    ],
)
def test_rejected_with_a_reason(old: str, new: str, why: str) -> None:
    assert reason("traefik", LINE.replace(old, new)) == why


def test_both_kinds_of_dash_in_one_file() -> None:
    assert outcomes("traefik", LINE, LINE.replace(REFERRER, "-"), "bad", LINE) == [True, True, False, True]
