"""Logs of content delivery networks in JSON: Cloudflare, Fastly, CloudFront. Documents are of their documentation and of lnav's tests."""

from typing import Any

import pytest

from tests.unit.ingest.json_rows import labels, parsed, reason, row, sample

# lnav, test/logfile_cloudflare.json, BSD-2-Clause: some of its fields.
CLOUDFLARE: dict[str, Any] = {
    "ClientIP": "87.226.160.250", "ClientRequestHost": "www.ripe.net", "ClientRequestMethod": "HEAD", "ClientRequestURI": "/",
    "EdgeEndTimestamp": "2022-10-30T00:00:02Z", "EdgeResponseBytes": 570, "EdgeResponseStatus": 301,
    "EdgeStartTimestamp": "2022-10-30T00:00:01Z", "RayID": "761fde4e984e5ab2", "CacheTieredFill": False, "FirewallMatchesActions": [],
    "OriginIP": "", "OriginResponseStatus": 0, "ClientASN": 12389, "ClientCountry": "ru", "ClientRequestBytes": 567,
    "ClientRequestPath": "/", "ClientRequestProtocol": "HTTP/1.1", "ClientRequestUserAgent": "", "ClientRequestReferer": "",
    "ClientRequestScheme": "http",
}  # fmt: skip


def test_cloudflare_a_real_line() -> None:
    assert row("cloudflare", CLOUDFLARE) == {
        "event_time": "2022-10-30T00:00:01+00:00",
        "source_address": "87.226.160.250",
        "http_request_method": "HEAD",
        "http_request_id": "761fde4e984e5ab2",
        "http_version": "1.1",
        "http_response_status_code": 301,
        "http_response_body_bytes": 570,
        "url_scheme": "http",
        "url_domain": "www.ripe.net",
        "url_original": "/",
    }
    assert labels("cloudflare", CLOUDFLARE) == {
        "EdgeEndTimestamp": "2022-10-30T00:00:02Z", "CacheTieredFill": False, "FirewallMatchesActions": [], "OriginIP": "",
        "OriginResponseStatus": 0, "ClientASN": 12389, "ClientCountry": "ru", "ClientRequestBytes": 567, "ClientRequestPath": "/",
    }  # fmt: skip


@pytest.mark.parametrize("value", ["2024-04-10T23:00:00.1Z", 1712790000.1, 1712790000100, 1712790000100000000])
def test_cloudflare_every_format_of_times(value: Any) -> None:
    assert row("cloudflare", CLOUDFLARE | {"EdgeStartTimestamp": value})["event_time"] == "2024-04-10T23:00:00.100000+00:00"


def test_cloudflare_the_rest_of_the_columns() -> None:
    document = sample("cloudflare") | {
        "ClientSrcPort": 52417, "EdgeResponseBodyBytes": 2000, "ClientRequestScheme": "HTTPS", "ClientRequestProtocol": "HTTP/3",
        "RequestHeaders": {"x-forwarded-for": "192.0.2.7", "accept": "*/*"}, "ClientSSLProtocol": "TLSv1.3",
    }  # fmt: skip
    found = row("cloudflare", document)
    assert (found["source_port"], found["http_response_body_bytes"], found["url_scheme"], found["http_version"]) == (
        52417,
        2000,
        "https",
        "3",
    )
    assert found["forwarded_for"] == "192.0.2.7"
    assert labels("cloudflare", document) == {
        "EdgeEndTimestamp": "2000-10-10T20:55:36Z",
        "EdgeResponseBytes": 2326,
        "RequestHeaders.x-forwarded-for": "192.0.2.7",
        "RequestHeaders.accept": "*/*",
        "ClientSSLProtocol": "TLSv1.3",
    }


def test_cloudflare_other_datasets_and_lines_without_a_time() -> None:
    assert reason("cloudflare", {"ClientRequestMethod": "GET", "Datetime": "2022-10-30T00:00:02Z"}) == "no event_time"
    assert reason("cloudflare", {"EdgeStartTimestamp": 1}) == "no ClientRequestMethod"
    assert row("cloudflare", {"ClientRequestMethod": "GET", "EdgeEndTimestamp": 1})["event_time"] == "1970-01-01T00:00:01+00:00"


def test_fastly_the_longer_format_of_its_documentation() -> None:
    document = {
        "service_id": "3xmpl", "service_version": "12", "time_start": "2000-10-10T20:55:36Z", "time_end": "2000-10-10T20:55:37Z",
        "time_elapsed": 12345, "client_ip": "2001:db8::1", "request": "POST", "protocol": "HTTP/2", "host": "www.example.com",
        "origin_host": "origin.example.com", "url": "/a?b=c", "is_tls": True, "tls_client_protocol": "TLSv1.3",
        "request_referer": "", "request_user_agent": "curl/8.5.0", "request_x_forwarded_for": "192.0.2.7",
        "request_forwarded": "for=192.0.2.7", "status": "201", "content_type": "text/html", "geo_city": "boston",
        "geo_country_code": "US", "req_header_size": 200,
        "req_body_size": 34, "resp_header_size": 300, "resp_body_size": 2326,
    }  # fmt: skip
    assert row("fastly", document) == {
        "event_time": "2000-10-10T20:55:36+00:00",
        "source_address": "2001:db8::1",
        "http_request_method": "POST",
        "http_request_body_bytes": 34,
        "http_version": "2",
        "http_response_status_code": 201,
        "http_response_body_bytes": 2326,
        "url_domain": "www.example.com",
        "url_original": "/a?b=c",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 12_345_000,
        "forwarded_for": "192.0.2.7",
        "forwarded": "for=192.0.2.7",
    }
    kept = labels("fastly", document)
    assert (kept["geo_city"], kept["geo_country_code"], kept["request_x_forwarded_for"]) == ("boston", "US", "192.0.2.7")
    assert {"service_id", "time_end", "is_tls", "resp_header_size", "request_forwarded"} < set(kept)


def test_fastly_times_and_odd_values() -> None:
    document = sample("fastly")
    assert row("fastly", document | {"timestamp": 971211336587})["event_time"] == "2000-10-10T20:55:36.587000+00:00"
    found = row("fastly", document | {"host": "www.example.com:8443", "response_status": "-", "response_body_size": None})
    assert (found["url_domain"], found["url_port"]) == ("www.example.com", 8443)
    assert {"http_response_status_code", "http_response_body_bytes"} & set(found) == set()
    assert reason("fastly", document | {"response_body_size": "many"}).startswith("http_response_body_bytes is not a whole number")


CLOUDFRONT: dict[str, Any] = {
    "date": "2019-12-04", "time": "21:02:31", "x-edge-location": "LAX1", "sc-bytes": "392", "c-ip": "192.0.2.100", "cs-method": "GET",
    "cs(Host)": "d111111abcdef8.cloudfront.net", "cs-uri-stem": "/index%20a.html", "sc-status": "200", "cs(Referer)": "-",
    "cs(User-Agent)": "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)", "cs-uri-query": "a=%2F", "cs(Cookie)": "-",
    "x-edge-result-type": "Hit", "x-edge-request-id": "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==",
    "x-host-header": "www.example.com", "cs-protocol": "https", "cs-bytes": "23", "time-taken": "0.001",
    "x-forwarded-for": "198.51.100.2,%20192.0.2.9", "ssl-protocol": "TLSv1.2", "ssl-cipher": "ECDHE-RSA-AES128-GCM-SHA256",
    "x-edge-response-result-type": "Hit", "cs-protocol-version": "HTTP/2.0", "fle-status": "-", "fle-encrypted-fields": "-",
    "c-port": "11040", "time-to-first-byte": "0.001", "x-edge-detailed-result-type": "Hit", "sc-content-type": "text/html",
    "sc-content-len": "78", "sc-range-start": "-", "sc-range-end": "-",
}  # fmt: skip


def test_cloudfront_every_column() -> None:
    assert row("cloudfront_json", CLOUDFRONT) == {
        "event_time": "2019-12-04T21:02:31+00:00",
        "source_address": "192.0.2.100",
        "source_port": 11040,
        "http_request_method": "GET",
        "http_request_id": "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==",
        "http_version": "2.0",
        "http_response_status_code": 200,
        "http_response_body_bytes": 392,
        "url_scheme": "https",
        "url_domain": "www.example.com",
        "url_path": "/index%20a.html",
        "url_query": "a=%2F",
        "user_agent_original": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
        "event_duration": 1_000_000,
        "forwarded_for": "198.51.100.2, 192.0.2.9",
    }
    kept = labels("cloudfront_json", CLOUDFRONT)
    assert (kept["cs-bytes"], kept["sc-content-len"], kept["cs(Host)"]) == ("23", "78", "d111111abcdef8.cloudfront.net")
    assert kept["x-forwarded-for"] == "198.51.100.2,%20192.0.2.9"
    assert {"date", "time", "c-ip"} & set(kept) == set()


def test_cloudfront_in_parquet_has_other_names_for_the_same() -> None:
    flat = {name.replace("-", "_").replace("(", "_").rstrip(")"): value for name, value in CLOUDFRONT.items()}
    assert row("cloudfront_json", flat) == row("cloudfront_json", CLOUDFRONT)
    assert row("cloudfront_json", {name.lower(): value for name, value in flat.items()}) == row("cloudfront_json", CLOUDFRONT)


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ({"timestamp(ms)": "971211336587"}, "2000-10-10T20:55:36.587000+00:00"),
        ({"timestamp(ms)": 971211336587, "date": "1999-01-01", "time": "01:02:03"}, "2000-10-10T20:55:36.587000+00:00"),
        ({"timestamp_ms": "971211336587"}, "2000-10-10T20:55:36.587000+00:00"),
        ({"time": "20:55:36", "x": 1, "date": "2000-10-10"}, "2000-10-10T20:55:36+00:00"),
        ({"time": "20:55:36.5", "date": "2000-10-10"}, "2000-10-10T20:55:36.500000+00:00"),
        ({"date": "2000-10-10"}, "2000-10-10T00:00:00+00:00"),
        ({"date": "2000-10-10", "time": "-"}, "2000-10-10T00:00:00+00:00"),
        ({"date": "2000-10-10", "time": "00:00:00"}, "2000-10-10T00:00:00+00:00"),
    ],
)
def test_cloudfront_times(times: dict[str, Any], wanted: str) -> None:
    assert row("cloudfront_json", times | {"c-ip": "h"}, zone="Asia/Tokyo") == {"event_time": wanted, "source_address": "h"}


@pytest.mark.parametrize(
    "times",
    [
        {"date": "2000-13-10", "time": "20:55:36"}, {"date": "2000-10-10", "time": "25:55:36"}, {"date": "10/10/2000", "time": "20:55:36"},
        {"date": "2000-10-10T20:55:36", "time": "20:55:36"}, {"date": "2000-10-10", "time": "soon"}, {"timestamp(ms)": "now"},
    ],
)  # fmt: skip
def test_cloudfront_what_is_no_time(times: dict[str, Any]) -> None:
    assert reason("cloudfront_json", times | {"c-ip": "h"}) == "event_time is not a time"


def test_cloudfront_a_viewer_that_left() -> None:
    found = row("cloudfront_json", CLOUDFRONT | {"sc-status": "000", "cs-uri-query": "-", "x-host-header": "-", "c-port": "-"})
    assert {"http_response_status_code", "url_query", "source_port"} & set(found) == set()
    assert found["url_domain"] == "d111111abcdef8.cloudfront.net"
    assert reason("cloudfront_json", {"date": "2000-10-10", "time": "20:55:36"}) == "no source_address"


def test_cloudfront_times_of_many_lines() -> None:
    documents = [CLOUDFRONT | {"time": f"{hour:02d}:00:{hour:02d}"} for hour in range(24)]
    found = parsed("cloudfront_json", *documents)
    assert [time.hour * 100 + time.second for time in found.rows["event_time"].to_pylist()] == [hour * 101 for hour in range(24)]
    assert "ingest_row" not in found.rows.schema.names
