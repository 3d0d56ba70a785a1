"""HAProxy's log. Lines of its manual, of lnav (test/logfile_haproxy.0), Elastic's Filebeat (module/haproxy) and crowdsec-hub."""

from typing import Any

import pytest

from ingest import formats
from tests.unit.ingest.line_rows import lines_of, outcomes, reason, row, utc

CLIENT = "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] "
LINE = CLIENT + 'http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/2/3/4/5 6/7 {1wt.eu|x} {} "GET /index.html HTTP/1.1"'
COLUMNS: dict[str, Any] = {
    "event_time": utc("2009-02-06T12:14:14.655"),
    "source_address": "10.0.1.2",
    "source_port": 33317,
    "http_request_method": "GET",
    "url_original": "/index.html",
    "http_version": "1.1",
    "http_response_status_code": 200,
    "http_response_body_bytes": 2750,
    "event_duration": 109_000_000,
}
SERVER = {"frontend_name": "http-in", "backend_name": "static", "server_name": "srv1", "termination_state": "----"}
TIMERS = {"time_request": "10", "time_queue": "0", "time_connect": "30", "time_response": "69"}
LOAD = {"actconn": "1", "feconn": "2", "beconn": "3", "srv_conn": "4", "retries": "5", "srv_queue": "6", "backend_queue": "7"}
LABELS = SERVER | TIMERS | LOAD


def test_an_http_line_gives_all_its_fields() -> None:
    assert row("haproxy", LINE) == (COLUMNS, LABELS | {"captured_request_headers": "1wt.eu|x"})


def test_an_https_line_gives_its_further_fields() -> None:
    line = LINE.replace("http-in", "https-in~") + " 1/2/3/4/0 1wt.eu/TLSv1.3/TLS_AES_256_GCM_SHA384"
    tls = {"fc_err": "1", "ssl_fc_err": "2", "ssl_c_err": "3", "ssl_c_ca_err": "4", "ssl_fc_is_resumed": "0"}
    tls |= {"ssl_fc_sni": "1wt.eu", "ssl_version": "TLSv1.3", "ssl_ciphers": "TLS_AES_256_GCM_SHA384"}
    captured = {"captured_request_headers": "1wt.eu|x", "frontend_name": "https-in~"}
    assert row("haproxy", line) == (COLUMNS | {"url_scheme": "https"}, LABELS | captured | tls)


@pytest.mark.parametrize(
    ("blocks", "captured"),
    [
        ("", (None, None)),
        ("{} ", (None, None)),
        ("{a|b} ", ("a|b", None)),
        ("{} {} ", (None, None)),
        ("{a b} {|c|} ", ("a b", "|c|")),
        ("{} {c} ", (None, "c")),
        ("{a {b} c} {d} ", ("a {b} c", "d")),
    ],
)
def test_blocks_of_captured_headers(blocks: str, captured: tuple[str | None, str | None]) -> None:
    found, labels = row("haproxy", LINE.replace("{1wt.eu|x} {} ", blocks))
    assert (labels.pop("captured_request_headers", None), labels.pop("captured_response_headers", None)) == captured
    assert (found, labels) == (COLUMNS, LABELS)


@pytest.mark.parametrize("blocks", ["x ", "{a ", "{a}", "a} ", "} ", "{ "])
def test_what_is_no_such_block_rejects(blocks: str) -> None:
    assert reason("haproxy", LINE.replace("{1wt.eu|x} {} ", blocks)) == "captured headers are not in braces"


def test_a_real_line() -> None:
    line = (
        "141.35.244.171:53332 [25/Feb/2019:16:19:48.143] prod_http_in~ bk_admin/nginx_sonst 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 "
        "0/0 {Mozilla/5.0 (Windows NT 6.1; Win64; x64; rv:65.0) Gecko/20100101 Firefox/65.0} {} "
        '"GET /admin/colt/administration?survey=130 HTTP/1.1"'
    )
    found, labels = row("haproxy", line)
    assert found == {
        "event_time": utc("2019-02-25T16:19:48.143"),
        "source_address": "141.35.244.171",
        "source_port": 53332,
        "http_request_method": "GET",
        "url_original": "/admin/colt/administration?survey=130",
        "url_scheme": "https",
        "http_version": "1.1",
        "http_response_status_code": 200,
        "http_response_body_bytes": 11394,
        "event_duration": 1_487_000_000,
    }
    assert labels["captured_request_headers"] == "Mozilla/5.0 (Windows NT 6.1; Win64; x64; rv:65.0) Gecko/20100101 Firefox/65.0"


def test_a_time_is_of_the_zone() -> None:
    assert row("haproxy", LINE, "Europe/Berlin")[0]["event_time"] == utc("2009-02-06T11:14:14.655")


def test_no_server_was_found() -> None:
    line = CLIENT + 'http-in http-in/<NOSRV> 0/-1/-1/-1/0 503 213 - - SC-- 1/2/3/4/5 6/7 "GET /foo HTTP/1.1"'
    found, labels = row("haproxy", line)
    assert (found["http_response_status_code"], found["event_duration"]) == (503, 0)
    timers = {"time_request": "0", "time_queue": "-1", "time_connect": "-1", "time_response": "-1"}
    assert labels == LABELS | timers | {"backend_name": "http-in", "server_name": "<NOSRV>", "termination_state": "SC--"}


def test_a_bad_request_and_an_aborted_one() -> None:
    line = CLIENT + 'http-in http-in/<NOSRV> -1/-1/-1/-1/15 {} 0 - - CR-- 1/2/3/4/5 6/7 "<BADREQ>"'
    found, labels = row("haproxy", line.format("-1"))
    assert found == {
        "event_time": utc("2009-02-06T12:14:14.655"),
        "source_address": "10.0.1.2",
        "source_port": 33317,
        "http_response_body_bytes": 0,
        "event_duration": 15_000_000,
    }
    assert labels["request"] == "<BADREQ>"
    assert row("haproxy", line.format("400"))[0]["http_response_status_code"] == 400


def test_a_request_cut_off() -> None:
    assert row("haproxy", LINE.removesuffix(' HTTP/1.1"'))[0]["url_original"] == "/index.html"


def test_numbers_that_were_still_growing() -> None:
    found, labels = row("haproxy", LINE.replace("/109 200 2750", "/+109 200 +2750"))
    assert found == COLUMNS
    assert labels["logasap"] == "+"
    assert reason("haproxy", LINE.replace("2750", "++2750")) == "size is not a number"


@pytest.mark.parametrize(
    ("client", "address", "port", "label"),
    [
        ("2001:db8::1:33317", "2001:db8::1", 33317, None),
        ("::ffff:10.0.1.2:33317", "::ffff:10.0.1.2", 33317, None),
        ("-:22222", None, 22222, None),
        ("unix:1", None, None, "unix:1"),
        ("-", None, None, None),
    ],
)
def test_clients(client: str, address: str | None, port: int | None, label: str | None) -> None:
    found, labels = row("haproxy", LINE.replace("10.0.1.2:33317", client))
    assert (found.get("source_address"), found.get("source_port"), labels.get("client")) == (address, port, label)


def test_one_more_field_after_the_server() -> None:
    _, labels = row("haproxy", LINE.replace("/srv1 ", "/srv1 site.domain.com "))
    assert labels == LABELS | {"captured_request_headers": "1wt.eu|x", "destination": "site.domain.com"}


def test_what_a_custom_format_appends_is_trailing() -> None:
    assert row("haproxy", LINE + " 5 b")[1]["trailing"] == "5 b"


def test_a_tcp_connection() -> None:
    line = "127.0.0.1:40962 [20/Sep/2018:15:44:23.285] main app/<NOSRV> -1/-1/1 212 SC 1/2/3/4/5 6/7"
    server = {"frontend_name": "main", "backend_name": "app", "server_name": "<NOSRV>", "termination_state": "SC"}
    assert row("haproxy", line) == (
        {
            "event_time": utc("2018-09-20T15:44:23.285"),
            "source_address": "127.0.0.1",
            "source_port": 40962,
            "http_response_body_bytes": 212,
            "event_duration": 1_000_000,
        },
        server | {"time_queue": "-1", "time_connect": "-1"} | LOAD,
    )


def test_a_failed_connection() -> None:
    line = "95.216.197.33:56224 [25/Feb/2019:16:20:10.111] prod_http_in/sktst2: SSL handshake failure (error:0A0000C1:SSL)"
    assert row("haproxy", line) == (
        {"event_time": utc("2019-02-25T16:20:10.111"), "source_address": "95.216.197.33", "source_port": 56224},
        {"frontend_name": "prod_http_in", "bind_name": "sktst2", "error": "SSL handshake failure (error:0A0000C1:SSL)"},
    )


def test_notices_are_passed_over() -> None:
    notices = (
        "Proxy prod_http_in started.",
        "Stopping frontend prod_http_in in 0 ms.",
        "Proxy prod_http_in stopped (FE: 847876 conns, BE: 0 conns).",
    )
    parsed = formats.parse(formats.get("haproxy"), lines_of(LINE, *notices, "Proxy x started. really", LINE))
    assert (parsed.numbers.tolist(), parsed.eventless.tolist(), parsed.rejected.tolist()) == ([0, 5], [1, 2, 3], [4])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Feb  6 12:14:14 localhost haproxy[14389]: " + LINE, "client holds a blank"),
        (LINE.replace("06/Feb", "30/Feb"), "time is not of the form %d/%b/%Y:%H:%M:%S.%L"),
        (LINE.replace(".655", ""), "time is not of the form %d/%b/%Y:%H:%M:%S.%L"),
        (LINE.replace(" 200 ", " 20 "), "status is out of range"),
        (LINE.replace("/109 ", "/x "), "total time is not a duration"),
        (LINE.replace(" 1/2/3/4/5", " x 1/2/3/4/5"), "actconn holds a blank"),
        ("Connect from 1.128.3.4:40780 to 1.128.3.4:5000 (main/HTTP)", "no time in brackets"),
    ],
)
def test_rejected_with_a_reason(line: str, why: str) -> None:
    assert reason("haproxy", line) == why


def test_lines_of_all_kinds_side_by_side() -> None:
    lines = [LINE, CLIENT + "a/b: no", LINE + " 0/0/0/0/0 a/b/c", "bad", CLIENT + "main app/x 0/0/1 2 -- 1/1/0/0/0 0/0", LINE]
    assert outcomes("haproxy", *lines) == [True, True, True, False, True, True]
