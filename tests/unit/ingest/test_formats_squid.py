"""Squid's native access.log. Lines as Squid's wiki and the documentation of log analysers show them."""

import pytest

from tests.unit.ingest.line_rows import outcomes, reason, row, utc

LINE = "1157689312.049   5006 10.105.21.199 TCP_MISS/200 19763 CONNECT login.yahoo.com:443 badeyek DIRECT/209.73.177.115 -"
COLUMNS = {
    "event_time": utc("2006-09-08T04:21:52.049"),
    "source_address": "10.105.21.199",
    "user_name": "badeyek",
    "http_request_method": "CONNECT",
    "url_original": "login.yahoo.com:443",
    "http_response_status_code": 200,
    "http_response_body_bytes": 19763,
    "event_duration": 5_006_000_000,
}
LABELS = {"result_code": "TCP_MISS", "peer_status": "DIRECT", "peer_host": "209.73.177.115"}


def test_a_line_gives_all_its_fields() -> None:
    assert row("squid", LINE) == (COLUMNS, LABELS)


@pytest.mark.parametrize(
    ("elapsed", "milliseconds"), [("     0", 0), ("     1", 1), ("123456", 123456), ("1234567", 1234567), ("5006", 5006), ("0", 0)]
)
def test_the_elapsed_time_may_be_padded_or_longer(elapsed: str, milliseconds: int) -> None:
    assert row("squid", LINE.replace("  5006", elapsed))[0]["event_duration"] == milliseconds * 1_000_000


def test_no_status_no_peer_and_no_user() -> None:
    line = "1286536309.586    921 ::1 TCP_MISS_ABORTED/000 0 GET http://example.com/a?b=%20 - HIER_NONE/- text/html;charset=utf-8"
    assert row("squid", line) == (
        {
            "event_time": utc("2010-10-08T11:11:49.586"),
            "source_address": "::1",
            "http_request_method": "GET",
            "url_original": "http://example.com/a?b=%20",
            "http_response_body_bytes": 0,
            "event_duration": 921_000_000,
        },
        {"result_code": "TCP_MISS_ABORTED", "peer_status": "HIER_NONE", "content_type": "text/html;charset=utf-8"},
    )


def test_what_follows_is_trailing() -> None:
    _, labels = row("squid", LINE + ' [Host: a\\r\\n] "x"')
    assert labels == LABELS | {"trailing": '[Host: a\\r\\n] "x"'}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("1157689312.049", "11576x9312.049", "time is not a number of the time since 1970"),
        ("  5006", "  50x6", "elapsed time is not a duration"),
        ("/200", "/20", "status is out of range"),
        (" TCP", " more TCP", "result code holds a blank"),
        (" -", "", "not of this form"),
        ("DIRECT/", "DIRECT", "not of this form"),
    ],
)
def test_rejected_with_a_reason(old: str, new: str, why: str) -> None:
    assert reason("squid", LINE.replace(old, new)) == why


def test_padded_and_longer_times_in_one_file() -> None:
    assert outcomes("squid", LINE, LINE.replace("  5006", "1234567"), "bad", LINE) == [True, True, False, True]
