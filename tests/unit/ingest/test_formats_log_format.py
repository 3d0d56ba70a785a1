"""LogFormat and log_format strings: what each directive and variable becomes, and what cannot be compiled."""

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest import formats
from ingest.formats.access import COMBINED, COMMON, VHOST_COMBINED
from ingest.formats.base import Format, FormatOptions
from ingest.formats.directives import nginx
from ingest.formats.log_format import compile_apache, compile_nginx
from tests.unit.ingest.test_formats_registry import lines_of

TIME = dt.datetime(2000, 10, 10, 20, 55, 36, tzinfo=dt.UTC)
STAMP = "[10/Oct/2000:13:55:36 -0700]"


def row(form: Format, line: str) -> dict[str, Any]:
    """What is not null of the row, its labels read."""
    parsed = formats.parse(form, lines_of(line))
    assert parsed.reasons == []
    found = {name: value for name, value in parsed.rows.to_pylist()[0].items() if value is not None}
    return found | ({"labels": json.loads(found["labels"])} if "labels" in found else {})


def reason(form: Format, line: str) -> str:
    parsed = formats.parse(form, lines_of(line))
    assert len(parsed.numbers) == 0
    return parsed.reasons[0]


@pytest.mark.parametrize(
    ("text", "built_in"),
    [
        (r"%h %l %u %t \"%r\" %>s %b", COMMON),
        (r"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"", COMBINED),
        ('%v:%p %h %l %u %t "%r" %>s %B "%{Referer}i" "%{User-agent}i"', VHOST_COMBINED),
    ],
)
def test_the_built_in_formats_can_be_written_as_strings(text: str, built_in: Format) -> None:
    assert row(compile_apache("mine", text), built_in.sample) == row(built_in, built_in.sample)


def test_nginx_combined_as_its_configuration_has_it() -> None:
    text = """'$remote_addr - $remote_user [$time_local] '
              '"$request" $status $body_bytes_sent '
              '"$http_referer" "$http_user_agent"';"""
    assert row(compile_nginx("mine", text), COMBINED.sample) == row(COMBINED, COMBINED.sample)
    assert row(compile_nginx("mine", "escape=default " + text), COMBINED.sample) == row(COMBINED, COMBINED.sample)


@pytest.mark.parametrize(
    ("directive", "logged", "columns"),
    [
        ("%a", "1.2.3.4", {"source_address": "1.2.3.4"}),
        ("%{c}a", "10.0.0.1", {"source_address": "10.0.0.1"}),
        ("%A", "10.0.0.2", {"labels": {"local_ip": "10.0.0.2"}}),
        ("%B", "0", {"http_response_body_bytes": 0}),
        ("%b", "-", {}),
        ("%{SESSION}C", "abc", {"labels": {"cookie_session": "abc"}}),
        ("%D", "1234", {"event_duration": 1_234_000}),
        ("%{UNIQUE_ID}e", "x", {"labels": {"env_unique_id": "x"}}),
        ("%f", "/var/www/a", {"labels": {"filename": "/var/www/a"}}),
        ("%H", "HTTP/2.0", {"http_version": "2.0"}),
        ("%{Accept}i", "*/*", {"labels": {"accept": "*/*"}}),
        ("%{Host}i", "example.com:8080", {"url_domain": "example.com", "url_port": 8080}),
        ("%{X-Forwarded-For}i", "1.1.1.1", {"forwarded_for": "1.1.1.1", "labels": {"x_forwarded_for": "1.1.1.1"}}),
        ("%{CF-Connecting-IP}i", "1.1.1.1", {"client_address": "1.1.1.1", "labels": {"cf_connecting_ip": "1.1.1.1"}}),
        ("%{Forwarded}i", "for=1.1.1.1", {"forwarded": "for=1.1.1.1", "labels": {"forwarded": "for=1.1.1.1"}}),
        ("%I", "500", {"labels": {"bytes_received": "500"}}),
        ("%k", "3", {"labels": {"keepalive_requests": "3"}}),
        ("%l", "joe", {"labels": {"ident": "joe"}}),
        ("%L", "Xy", {"labels": {"log_id": "Xy"}}),
        ("%m", "POST", {"http_request_method": "POST"}),
        ("%{note}n", "x", {"labels": {"note_note": "x"}}),
        ("%{Content-Type}o", "text/html", {"labels": {"response_content_type": "text/html"}}),
        ("%O", "700", {"http_response_body_bytes": 700}),
        ("%p", "443", {"url_port": 443}),
        ("%{remote}p", "50000", {"source_port": 50000}),
        ("%P", "123", {"labels": {"pid": "123"}}),
        ("%{tid}P", "123", {"labels": {"tid": "123"}}),
        ("%q", "?a=b", {"labels": {"query_string": "?a=b"}}),
        ("%R", "cgi-script", {"labels": {"handler": "cgi-script"}}),
        ("%s", "404", {"http_response_status_code": 404}),
        ("%>s", "404", {"http_response_status_code": 404}),
        ("%400,501{User-agent}i", "curl/8", {"user_agent_original": "curl/8"}),
        ("%!200,304{Referer}i", "http://a/", {"http_request_referrer": "http://a/"}),
        ("%S", "900", {"labels": {"bytes_transferred": "900"}}),
        ("%T", "3", {"event_duration": 3_000_000_000}),
        ("%{ms}T", "3", {"event_duration": 3_000_000}),
        ("%{us}T", "3", {"event_duration": 3_000}),
        ("%u", "frank", {"user_name": "frank"}),
        ("%U", "/a", {"url_path": "/a"}),
        ("%U%q", "/a?b=c", {"url_original": "/a?b=c"}),
        ("%v", "example.com", {"url_domain": "example.com"}),
        ("%X", "+", {"labels": {"connection_status": "+"}}),
        ("%{SSL_PROTOCOL}x", "TLSv1.3", {"labels": {"ssl_protocol": "TLSv1.3"}}),
        ("%{REMOTE_USER}x", "eve", {"user_name": "eve"}),
        ("%{X}^ti", "x", {"labels": {"trailer_x": "x"}}),
        ("%^FB", "1234", {"labels": {"time_to_first_byte_us": "1234"}}),
        ("%Q", "x", {"labels": {"directive_q": "x"}}),
        ("%^XY", "x", {"labels": {"directive_xy": "x"}}),
        ("%{Some-Thing}y", "x", {"labels": {"some_thing_y": "x"}}),
        ("100%%", "100%", {}),
    ],
)
def test_each_directive_of_apache(directive: str, logged: str, columns: dict[str, Any]) -> None:
    form = compile_apache("mine", f'%t "{directive}"')
    assert row(form, f'{STAMP} "{logged}"') == {"event_time": TIME} | columns
    if directive != "100%%":
        assert row(form, f'{STAMP} "-"') == {"event_time": TIME}


@pytest.mark.parametrize(
    ("variable", "logged", "columns"),
    [
        ("args", "a=b", {"url_query": "a=b"}),
        ("body_bytes_sent", "12", {"http_response_body_bytes": 12}),
        ("bytes_sent", "300", {"http_response_body_bytes": 300}),
        ("connection", "7", {"labels": {"connection": "7"}}),
        ("host", "example.com", {"url_domain": "example.com"}),
        ("http_host", "example.com:80", {"url_domain": "example.com", "url_port": 80}),
        ("http_x_forwarded_for", "1.1.1.1", {"forwarded_for": "1.1.1.1", "labels": {"x_forwarded_for": "1.1.1.1"}}),
        ("http_x_real_ip", "1.1.1.1", {"client_address": "1.1.1.1", "labels": {"x_real_ip": "1.1.1.1"}}),
        ("http_accept_language", "de", {"labels": {"accept_language": "de"}}),
        ("realip_remote_addr", "10.0.0.1", {"source_address": "10.0.0.1"}),
        ("remote_port", "50000", {"source_port": 50000}),
        ("request_id", "abc", {"http_request_id": "abc"}),
        ("request_length", "90", {"labels": {"request_length": "90"}}),
        ("request_method", "GET", {"http_request_method": "GET"}),
        ("request_time", "0.123", {"event_duration": 123_000_000}),
        ("request_uri", "/a?b", {"url_original": "/a?b"}),
        ("scheme", "https", {"url_scheme": "https"}),
        ("server_port", "443", {"url_port": 443}),
        ("server_protocol", "HTTP/1.1", {"http_version": "1.1"}),
        ("ssl_cipher", "AES", {"labels": {"ssl_cipher": "AES"}}),
        ("upstream_response_time", "0.1, 0.2", {"labels": {"upstream_response_time": "0.1, 0.2"}}),
        ("never_heard_of", "x", {"labels": {"never_heard_of": "x"}}),
        ("uri", "/a", {"url_path": "/a"}),
    ],
)
def test_variables_of_nginx(variable: str, logged: str, columns: dict[str, Any]) -> None:
    form = compile_nginx("mine", f'[$time_local] "${{{variable}}}"')
    assert row(form, f'{STAMP} "{logged}"') == {"event_time": TIME} | columns


@pytest.mark.parametrize(
    ("directive", "logged"),
    [
        ("%t", STAMP),
        ("[%{%Y-%m-%dT%H:%M:%S%z}t]", "[2000-10-10T13:55:36-0700]"),
        ("%{sec}t", "971211336"),
        ("%{begin:msec}t", "971211336000"),
        ("%{usec}t", "971211336000000"),
        ("%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t", "10/Oct/2000 13:55:36.000 -0700"),
        ("%{%F}t%{T%T}t", "2000-10-10T20:55:36"),
    ],
)
def test_times_of_apache(directive: str, logged: str) -> None:
    assert row(compile_apache("mine", directive + " %a"), f"{logged} 1.2.3.4") == {"event_time": TIME, "source_address": "1.2.3.4"}


@pytest.mark.parametrize(
    ("variable", "logged"), [("time_iso8601", "2000-10-10T13:55:36-07:00"), ("msec", "971211336.000"), ("time_local", STAMP[1:-1])]
)
def test_times_of_nginx(variable: str, logged: str) -> None:
    assert row(compile_nginx("mine", f"${variable}|$remote_addr"), f"{logged}|::1") == {"event_time": TIME, "source_address": "::1"}


def test_a_time_without_a_zone_is_in_the_configured_one() -> None:
    spec = {"apache": "%{%F %T}t %a"}
    for options in (
        FormatOptions(zone="Europe/Berlin", custom={"mine": spec}),
        FormatOptions(custom={"mine": spec | {"zone": "Europe/Berlin"}}),
    ):
        found = row(formats.get("mine", options), "2000-10-10 22:55:36 1.2.3.4")
        assert found["event_time"] == TIME


def test_of_two_fields_for_a_column_the_one_that_says_more_fills_it() -> None:
    form = compile_apache("mine", '%t %h %a %s %>s %b %O "%r" "%U" "%q" %p "%{Host}i"')
    found = row(form, f'{STAMP} host.example 1.2.3.4 302 200 10 99 "GET /a?b HTTP/1.1" "/a" "?b" 443 "example.com"')
    assert found["source_address"] == "1.2.3.4"
    assert (found["http_response_status_code"], found["http_response_body_bytes"]) == (200, 10)
    assert (found["url_original"], found["url_domain"]) == ("/a?b", "example.com")
    assert found["labels"] == {
        "remote_host": "host.example",
        "original_status": "302",
        "bytes_sent": "99",
        "path": "/a",
        "query_string": "?b",
        "port": "443",
    }


def test_the_same_field_twice_has_two_labels() -> None:
    assert row(compile_apache("mine", "%t %L %L"), f"{STAMP} a b")["labels"] == {"log_id": "a", "log_id_2": "b"}


def test_a_list_does_not_end_at_the_blank_after_a_comma() -> None:
    form = compile_nginx("mine", "$http_x_forwarded_for $remote_addr [$time_local] $upstream_addr $upstream_status $status")
    found = row(form, f"1.1.1.1, 2.2.2.2 3.3.3.3 {STAMP} 10.0.0.1:80, 10.0.0.2:80 502, 200 200")
    assert (found["forwarded_for"], found["source_address"], found["http_response_status_code"]) == ("1.1.1.1, 2.2.2.2", "3.3.3.3", 200)
    assert (found["labels"]["upstream_addr"], found["labels"]["upstream_status"]) == ("10.0.0.1:80, 10.0.0.2:80", "502, 200")
    assert row(form, f"- 3.3.3.3 {STAMP} - - 200") == {"event_time": TIME, "source_address": "3.3.3.3", "http_response_status_code": 200}


def test_the_last_field_reaches_to_the_end_of_the_line() -> None:
    form = compile_nginx("mine", "[$time_local] $status $http_user_agent")
    assert row(form, f"{STAMP} 200 Mozilla/5.0 (X11; Linux)")["user_agent_original"] == "Mozilla/5.0 (X11; Linux)"
    assert row(form, f"{STAMP} 200 ") == {"event_time": TIME, "http_response_status_code": 200}


def test_what_follows_a_time_of_fixed_width_may_touch_it() -> None:
    form = compile_nginx("mine", '$time_local$status "$http_user_agent"')
    assert row(form, f'{STAMP[1:-1]}200 "a"')["http_response_status_code"] == 200
    assert row(form, f'{STAMP[1:-1]}200 "a "b" c"')["user_agent_original"] == 'a "b" c'


def test_urls_that_nginx_users_put_together() -> None:
    found = row(compile_nginx("mine", "[$time_local] $scheme://$host$request_uri $status"), f"{STAMP} https://ex.com/a?b 200")
    assert (found["url_original"], found["http_response_status_code"]) == ("https://ex.com/a?b", 200)


def test_nginx_json() -> None:
    text = """escape=json '{"t":"$time_iso8601","ip":"$remote_addr","st":$status,'
                          '"r":"$request","q":{"ua":"$http_user_agent","up":"$upstream_addr"}}'"""
    logged = '{"t":"2000-10-10T13:55:36-07:00","ip":"127.0.0.1","st":200,"r":"GET / HTTP/1.1","q":{"ua":"x \\"y\\"","up":"1.1.1.1:80"}}'
    assert row(compile_nginx("mine", text), logged) == {
        "event_time": TIME,
        "source_address": "127.0.0.1",
        "http_response_status_code": 200,
        "http_request_method": "GET",
        "url_original": "/",
        "http_version": "1.1",
        "user_agent_original": 'x "y"',
        "labels": {"q.up": "1.1.1.1:80"},
    }


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("apache", "%t %h%l", "nothing tells where 'remote_host' ends and 'ident' begins"),
        ("apache", "%t %", "a '%' without a directive"),
        ("apache", "%t %{x}", "a '%' without a directive"),
        ("apache", "%h %r", "no field of '%h %r' tells the time"),
        ("apache", "%h %{%T}t", "has no day"),
        ("apache", "%h %{%Q}t", "directive %Q is not known"),
        ("apache", "", "tells the time"),
        ("nginx", "[$time_local] $remote_addr$host", "nothing tells where 'remote_addr' ends and 'host' begins"),
        ("nginx", "[$time_local] $ $host", "a '\\$' without a variable's name"),
        ("nginx", "$remote_addr", "tells the time"),
        ("nginx", 'escape=json {"a": $status', "not a JSON object"),
        ("nginx", 'escape=json {"a": "$status"}', "no member of the object tells the time"),
    ],
)
def test_what_cannot_be_compiled(kind: str, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        formats.get("mine", FormatOptions(custom={"mine": {kind: text}}))


def test_a_line_of_another_form_is_rejected_with_a_reason() -> None:
    form = compile_apache("mine", '%t "%r" %>s %D')
    assert reason(form, "nonsense") == "no time in brackets"
    assert reason(form, f'{STAMP} "GET / HTTP/1.1" 200 x') == "duration us is not a duration"
    assert reason(form, f'{STAMP} "GET / HTTP/1.1" 99 5') == "status is out of range"


@given(
    text=st.lists(st.sampled_from([*'%{}"[] <>!,^$', *"hrtsuibDTvU", "%h", "%t", "%r", '"%r"', "$status", "$time_local"]), max_size=20).map(
        "".join
    )
)
def test_any_string_is_compiled_or_refused(text: str) -> None:
    for compiled in (compile_apache, compile_nginx):
        try:
            form = compiled("mine", text)
        except UsageError:
            continue
        formats.parse(form, lines_of(f"{STAMP} x", COMBINED.sample, '"', " "))


def test_a_variable_without_a_column_is_a_label_of_its_name() -> None:
    assert (nginx("tcpinfo_rtt").label, nginx("tcpinfo_rtt").reader) == ("tcpinfo_rtt", None)
