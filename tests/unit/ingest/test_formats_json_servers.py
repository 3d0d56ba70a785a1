"""Logs of servers and proxies in JSON: nginx, Caddy, Traefik, Envoy. Documents are of their documentation and of real logs."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.ingest.json_rows import labels, parsed, reason, row, sample

CONFORMANCE = Path(__file__).parents[2] / "data" / "conformance"


def lines(path: str) -> list[str]:
    return (CONFORMANCE / path).read_text().splitlines()


NGINX: dict[str, Any] = {
    "msec": "971211336.587",
    "time_iso8601": "2000-10-10T13:55:36-07:00",
    "remote_addr": "2001:db8::1",
    "remote_port": "52417",
    "remote_user": "frank",
    "request": "POST /a?b=c HTTP/2.0",
    "request_length": "512",
    "content_length": "34",
    "status": "201",
    "body_bytes_sent": "2326",
    "bytes_sent": "2601",
    "http_referer": "http://www.example.com/start.html",
    "http_user_agent": 'a "quoted" \\ agent',
    "http_x_forwarded_for": "192.0.2.7, 198.51.100.2",
    "http_x_real_ip": "192.0.2.7",
    "http_host": "www.example.com:8443",
    "scheme": "https",
    "request_id": "8c3b1d",
    "request_time": "0.012",
    "upstream_response_time": "0.003, 0.004",
    "ssl_protocol": "TLSv1.3",
    "ssl_cipher": "TLS_AES_128_GCM_SHA256",
}


def test_nginx_every_column() -> None:
    assert row("nginx_json", NGINX) == {
        "event_time": "2000-10-10T20:55:36.587000+00:00",
        "source_address": "2001:db8::1",
        "source_port": 52417,
        "user_name": "frank",
        "http_request_method": "POST",
        "http_request_referrer": "http://www.example.com/start.html",
        "http_request_id": "8c3b1d",
        "http_request_body_bytes": 34,
        "http_version": "2.0",
        "http_response_status_code": 201,
        "http_response_body_bytes": 2326,
        "url_scheme": "https",
        "url_domain": "www.example.com",
        "url_port": 8443,
        "url_original": "/a?b=c",
        "user_agent_original": 'a "quoted" \\ agent',
        "event_duration": 12_000_000,
        "forwarded_for": "192.0.2.7, 198.51.100.2",
        "client_address": "192.0.2.7",
    }
    assert labels("nginx_json", NGINX) == {
        "time_iso8601": "2000-10-10T13:55:36-07:00",
        "request_length": "512",
        "bytes_sent": "2601",
        "http_x_forwarded_for": "192.0.2.7, 198.51.100.2",
        "http_x_real_ip": "192.0.2.7",
        "upstream_response_time": "0.003, 0.004",
        "ssl_protocol": "TLSv1.3",
        "ssl_cipher": "TLS_AES_128_GCM_SHA256",
    }


def test_nginx_with_the_names_that_users_of_ingress_nginx_copy() -> None:
    document = {
        "time": "2000-10-10T20:55:36+00:00", "remote_addr": "", "x_forward_for": "192.0.2.7, 10.0.0.1", "request_id": "8c3b1d",
        "remote_user": "", "bytes_sent": 2601, "request_time": 0.012, "status": 200, "vhost": "www.example.com",
        "request_proto": "HTTP/1.1", "path": "/a", "request_query": "b=c", "request_length": 512, "duration": 0.013,
        "method": "GET", "http_referrer": "", "http_user_agent": "curl/8.5.0",
    }  # fmt: skip
    assert row("nginx_json", document) == {
        "event_time": "2000-10-10T20:55:36+00:00",
        "http_request_method": "GET",
        "http_request_id": "8c3b1d",
        "http_version": "1.1",
        "http_response_status_code": 200,
        "http_response_body_bytes": 2601,
        "url_domain": "www.example.com",
        "url_original": "/a",
        "url_query": "b=c",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 12_000_000,
        "forwarded_for": "192.0.2.7, 10.0.0.1",
    }
    assert labels("nginx_json", document) == {"x_forward_for": "192.0.2.7, 10.0.0.1", "request_length": 512, "duration": 0.013}


def test_nginx_times() -> None:
    for name, value in (
        ("time_local", "10/Oct/2000:13:55:36 -0700"),
        ("@timestamp", "2000-10-10T20:55:36Z"),
        ("timestamp", 971211336),
        ("msec", 971211336),
        ("time", "10/Oct/2000:20:55:36 +0000"),
    ):
        assert row("nginx_json", {name: value, "remote_addr": "h"})["event_time"] == "2000-10-10T20:55:36+00:00", name
    assert row("nginx_json", {"ts": "2000-10-10T22:55:36", "remote_addr": "h"}, zone="Europe/Berlin")["event_time"].endswith(
        "20:55:36+00:00"
    )


def test_nginx_a_request_that_is_none() -> None:
    document = {"msec": 1, "remote_addr": "h", "request": "\x16\x03\x01", "request_method": "", "request_uri": "", "status": "000"}
    assert row("nginx_json", document) == {"event_time": "1970-01-01T00:00:01+00:00", "source_address": "h"}
    assert labels("nginx_json", document) == {"request": "\x16\x03\x01", "status": "000"}


def test_nginx_parts_of_the_request_serve_where_it_is_absent() -> None:
    document = {
        "msec": 1,
        "remote_addr": "h",
        "request_method": "GET",
        "request_uri": "/a?b",
        "uri": "/a",
        "args": "b",
        "server_protocol": "HTTP/3.0",
    }
    found = row("nginx_json", document)
    assert (found["http_request_method"], found["url_original"], found["http_version"]) == ("GET", "/a?b", "3.0")
    assert found["url_query"] == "b"
    assert labels("nginx_json", document) == {"uri": "/a"}


def test_nginx_forwarded_and_the_surest_header_of_one_address() -> None:
    document = {"msec": 1, "remote_addr": "h", "http_forwarded": "for=192.0.2.7", "http_x_real_ip": "b", "http_cf_connecting_ip": "a"}
    found = row("nginx_json", document)
    assert (found["forwarded"], found["client_address"]) == ("for=192.0.2.7", "a")
    assert labels("nginx_json", document) == {"http_forwarded": "for=192.0.2.7", "http_x_real_ip": "b", "http_cf_connecting_ip": "a"}


def test_nginx_tls_says_https() -> None:
    assert row("nginx_json", {"msec": 1, "remote_addr": "h", "ssl_protocol": "TLSv1.2"})["url_scheme"] == "https"
    assert "url_scheme" not in row("nginx_json", {"msec": 1, "remote_addr": "h", "ssl_protocol": ""})


CADDY_DOCUMENTED: dict[str, Any] = {
    "level": "info", "ts": 1646861401.5241024, "logger": "http.log.access", "msg": "handled request",
    "request": {
        "remote_ip": "127.0.0.1", "remote_port": "41342", "client_ip": "127.0.0.1", "proto": "HTTP/2.0", "method": "GET",
        "host": "localhost", "uri": "/",
        "headers": {
            "User-Agent": ["curl/7.82.0"], "Accept": ["*/*"], "Accept-Encoding": ["gzip, deflate, br"],
        },
        "tls": {"resumed": False, "version": 772, "cipher_suite": 4865, "proto": "h2", "server_name": "example.com"},
    },
    "bytes_read": 0, "user_id": "", "duration": 0.000929675, "size": 10900, "status": 200,
    "resp_headers": {"Server": ["Caddy"], "Content-Encoding": ["gzip"]},
}  # fmt: skip


def test_caddy_the_example_of_its_documentation() -> None:
    assert row("caddy", CADDY_DOCUMENTED) == {
        "event_time": "2022-03-09T21:30:01.524102+00:00",
        "source_address": "127.0.0.1",
        "source_port": 41342,
        "http_request_method": "GET",
        "http_request_body_bytes": 0,
        "http_version": "2.0",
        "http_response_status_code": 200,
        "http_response_body_bytes": 10900,
        "url_scheme": "https",
        "url_domain": "localhost",
        "url_original": "/",
        "user_agent_original": "curl/7.82.0",
        "event_duration": 929_675,
    }
    assert labels("caddy", CADDY_DOCUMENTED) == {
        "level": "info",
        "logger": "http.log.access",
        "msg": "handled request",
        "request.remote_ip": "127.0.0.1",
        "request.headers.Accept": ["*/*"],
        "request.headers.Accept-Encoding": ["gzip, deflate, br"],
        "request.tls.resumed": False,
        "request.tls.version": 772,
        "request.tls.cipher_suite": 4865,
        "request.tls.proto": "h2",
        "request.tls.server_name": "example.com",
        "resp_headers": {"Server": ["Caddy"], "Content-Encoding": ["gzip"]},
    }


def test_caddy_of_its_first_versions() -> None:
    document = {
        "ts": 971211336, "logger": "http.log.access.log0", "latency": "12ms", "size": 2326, "status": 200, "user_id": "frank",
        "common_log": '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET / HTTP/2.0" 200 2326',
        "request": {"method": "GET", "uri": "/", "proto": "HTTP/2.0", "remote_addr": "[::1]:50876", "host": "[::1]:8443"},
    }  # fmt: skip
    found = row("caddy", document)
    assert (found["source_address"], found["source_port"], found["user_name"]) == ("::1", 50876, "frank")
    assert (found["url_domain"], found["url_port"], found["event_duration"]) == ("::1", 8443, 12_000_000)
    assert set(labels("caddy", document)) == {"logger", "common_log"}


def test_caddy_forwarded_headers() -> None:
    document = sample("caddy")
    document["request"]["headers"] |= {
        "X-Forwarded-For": ["192.0.2.7", "198.51.100.2"],
        "Forwarded": ["for=192.0.2.7"],
        "X-Real-Ip": ["192.0.2.7"],
        "X-Request-Id": ["8c3b1d"],
        "Authorization": [],
    }
    found = row("caddy", document)
    assert (found["forwarded_for"], found["forwarded"], found["client_address"]) == (
        "192.0.2.7, 198.51.100.2",
        "for=192.0.2.7",
        "192.0.2.7",
    )
    assert (found["source_address"], found["http_request_id"]) == ("127.0.0.1", "8c3b1d")
    kept = labels("caddy", document)
    assert kept["request.headers.X-Forwarded-For"] == ["192.0.2.7", "198.51.100.2"]
    assert kept["request.headers.Forwarded"] == ["for=192.0.2.7"]
    assert kept["request.headers.X-Real-Ip"] == ["192.0.2.7"]
    document["request"]["headers"] |= {"X-Forwarded-For": [], "User-Agent": []}
    assert {"forwarded_for", "user_agent_original"} & set(row("caddy", document)) == set()


@pytest.mark.parametrize(
    "ts",
    [971211336, 971211336000, 971211336000000000, 971211336.0, "2000-10-10T20:55:36.000Z", "2000-10-10T13:55:36-0700",
     "2000/10/10 20:55:36", "2000/10/10 20:55:36.000000000", "10/Oct/2000:13:55:36 -0700"],
)  # fmt: skip
def test_caddy_every_format_of_times(ts: Any) -> None:
    assert row("caddy", sample("caddy") | {"ts": ts})["event_time"] == "2000-10-10T20:55:36+00:00"


def test_caddy_wall_time_is_of_the_configured_zone_and_others_beside_it_stay() -> None:
    found = parsed("caddy", sample("caddy") | {"ts": "2000/10/11 05:55:36"}, sample("caddy"), zone="Asia/Tokyo")
    assert [time.isoformat() for time in found.rows["event_time"].to_pylist()] == ["2000-10-10T20:55:36+00:00"] * 2


def test_caddy_lines_of_errors_and_of_caddy_itself_are_no_requests() -> None:
    error = sample("caddy") | {"logger": "http.log.error", "err_id": "x"}
    del error["size"]
    assert reason("caddy", error) == "no size"
    assert reason("caddy", {"level": "info", "ts": 1761019822.3, "msg": "using config from file"}) == "no request.method"


def test_caddy_real_lines() -> None:
    found = parsed("caddy", *[line for line in lines("crowdsec-hub/caddy-logs/caddy-logs.log") if line])
    assert found.rejected.tolist() == [10]
    assert found.rows["user_name"].to_pylist() == [None] * 9 + ["Bob"]
    assert found.rows["http_response_status_code"].to_pylist() == [None] * 7 + [401, 401, 200]
    found = parsed("caddy", *lines("lnav/test/logfile_caddy_log.1"))
    assert found.reasons == []
    assert sorted(found.rows["url_port"].to_pylist(), key=str) == [400, 400, 400, None]
    assert set(found.rows["url_domain"].to_pylist()) == {"mirrors.tnonline.net"}
    assert found.rows["forwarded_for"].to_pylist() == [*found.rows["source_address"].to_pylist()[:3], None]


def test_traefik_every_column() -> None:
    document = sample("traefik_json") | {
        "ClientAddr": "198.51.100.2:39496", "ClientHost": "192.0.2.7, 198.51.100.9", "RequestScheme": "HTTPS", "TLSVersion": "1.3",
        "RequestAddr": "www.example.com:8443", "RequestPort": "8443", "RequestContentSize": 34, "TraceId": "4bf92f35",
        "request_Forwarded": "for=192.0.2.7", "request_X-Real-Ip": "192.0.2.7", "StartLocal": "2000-10-10T13:55:36-07:00",
    }  # fmt: skip
    assert row("traefik_json", document) == {
        "event_time": "2000-10-10T20:55:36+00:00",
        "source_address": "198.51.100.2",
        "source_port": 39496,
        "user_name": "frank",
        "http_request_method": "GET",
        "http_request_referrer": "http://www.example.com/start.html",
        "http_request_id": "4bf92f35",
        "http_request_body_bytes": 34,
        "http_version": "1.0",
        "http_response_status_code": 200,
        "http_response_body_bytes": 2326,
        "url_scheme": "https",
        "url_domain": "www.example.com",
        "url_port": 8443,
        "url_original": "/apache_pb.gif",
        "user_agent_original": "Mozilla/4.08 [en] (Win98; I ;Nav)",
        "event_duration": 357_313,
        "forwarded_for": "192.0.2.7, 198.51.100.9",
        "forwarded": "for=192.0.2.7",
        "client_address": "192.0.2.7",
    }
    kept = labels("traefik_json", document)
    assert kept["ClientHost"] == "192.0.2.7, 198.51.100.9"
    assert {"StartLocal", "time", "RouterName", "TLSVersion", "ClientPort", "RequestAddr"} < set(kept)


def test_traefik_without_the_peer_and_without_the_start() -> None:
    document = sample("traefik_json")
    for name in ("ClientAddr", "ClientPort", "StartUTC"):
        del document[name]
    document |= {"ClientHost": "192.0.2.7", "time": "2000-10-10T20:55:37Z", "DownstreamStatus": 0}
    found = row("traefik_json", document)
    assert (found["source_address"], found["event_time"]) == ("192.0.2.7", "2000-10-10T20:55:37+00:00")
    assert "source_port" not in found
    assert "http_response_status_code" not in found


def test_traefik_real_lines() -> None:
    found = parsed("traefik_json", *lines("crowdsec-hub/traefik_json/traefik_json.log"))
    assert [found.rejected.tolist(), found.reasons] == [[5], ["not valid JSON"]]
    assert found.rows["url_original"].to_pylist()[:2] == ["/594VAEoi.save", "/594VAEoi.local"]
    assert found.rows["event_time"].to_pylist()[0].isoformat() == "2021-12-08T14:02:43.587782+00:00"
    assert found.rows["event_duration"].to_pylist()[0] == 357_313
    assert found.rows["source_address"].to_pylist()[-1] == "172.71.122.85"


ISTIO: dict[str, Any] = {
    "authority": "www.example.com:8443", "bytes_received": 34, "bytes_sent": 2326, "connection_termination_details": None,
    "downstream_local_address": "10.42.0.77:8443", "downstream_remote_address": "[2001:db8::1]:59292", "duration": 11,
    "method": "POST", "path": "/a?b=c", "protocol": "HTTP/2", "request_id": "8c3b1d", "requested_server_name": None,
    "response_code": 201, "response_code_details": "via_upstream", "response_flags": "-", "route_name": "default",
    "start_time": "2000-10-10T20:55:36.479Z", "upstream_cluster": "inbound|8080||", "upstream_service_time": "10",
    "user_agent": "curl/8.5.0", "x_forwarded_for": "192.0.2.7",
}  # fmt: skip


def test_envoy_with_istios_names() -> None:
    assert row("envoy_json", ISTIO) == {
        "event_time": "2000-10-10T20:55:36.479000+00:00",
        "source_address": "2001:db8::1",
        "source_port": 59292,
        "http_request_method": "POST",
        "http_request_id": "8c3b1d",
        "http_request_body_bytes": 34,
        "http_version": "2",
        "http_response_status_code": 201,
        "http_response_body_bytes": 2326,
        "url_domain": "www.example.com",
        "url_port": 8443,
        "url_original": "/a?b=c",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 11_000_000,
        "forwarded_for": "192.0.2.7",
    }
    assert labels("envoy_json", ISTIO) == {
        "downstream_local_address": "10.42.0.77:8443", "response_code_details": "via_upstream", "response_flags": "-",
        "route_name": "default", "upstream_cluster": "inbound|8080||", "upstream_service_time": "10", "x_forwarded_for": "192.0.2.7",
    }  # fmt: skip


def test_envoy_a_request_without_an_answer_and_a_connection_without_a_request() -> None:
    found = row("envoy_json", ISTIO | {"response_code": 0, "method": None, "path": None, "protocol": None, "user_agent": "-"})
    assert {"http_response_status_code", "http_request_method", "url_original", "http_version", "user_agent_original"} & set(found) == set()


def test_envoy_real_lines_of_its_gateway() -> None:
    texts = [line[line.index("{") :] for line in lines("crowdsec-hub/envoy-logs/envoy.log") if "{" in line]
    found = parsed("envoy_json", *texts)
    assert found.reasons == []
    assert found.rows["source_address"].to_pylist()[:3] == ["10.0.0.12", "192.168.1.45", "172.16.2.33"]
    assert found.rows["url_original"].to_pylist()[0] == "/assets/image.webp"
    assert found.rows["url_domain"].to_pylist()[:2] == ["www.example.com", "10.0.0.13"]
    assert found.rows["http_request_id"].to_pylist()[0] == "3bbc0252-2d5c-49fe-bd89-104e9b61770b"
