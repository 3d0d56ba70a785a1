"""W3C extended log files: real ones of five programs, fields that change half-way, and lines that do not keep to the rules."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest import formats
from ingest.formats import layouts
from ingest.formats.base import FormatOptions, Parsed, Stateful
from ingest.formats.w3c import W3C, W3cFormat
from ingest.lines import Lines

DATA = Path(__file__).parents[2] / "data"
IIS = DATA / "conformance" / "elastic-beats" / "filebeat" / "module" / "iis"
FIELDS = "#Fields: date time c-ip cs-method"


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def lines_of_file(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8", "backslashreplace").split("\n") if line]


def rows_of(parsed: Parsed) -> list[dict[str, Any]]:
    """What is not null, labels as a dictionary."""
    rows = [{name: value for name, value in row.items() if value is not None} for row in parsed.rows.to_pylist()]
    return [row | {"labels": json.loads(row.get("labels", "{}"))} for row in rows]


def rows(*texts: str, form: W3cFormat = W3C) -> list[dict[str, Any]]:
    parsed = formats.parse(form, lines_of(*texts))
    assert parsed.reasons == []
    return rows_of(parsed)


def row(fields: str, line: str) -> dict[str, Any]:
    return rows(f"#Fields: date time {fields}", f"2015-05-17 10:05:03 {line}")[0]


def reasons(*texts: str, form: W3cFormat = W3C) -> list[str]:
    parsed = formats.parse(form, lines_of(*texts))
    assert len(parsed.numbers) == 0
    return parsed.reasons


@pytest.mark.parametrize(
    ("file", "events", "rejected"),
    [("0", 1, 0), ("1", 1, 0), ("2", 14, 0), ("3", 3, 0), ("4", 2, 0), ("5", 0, 1), ("6", 1, 0)],
)
def test_real_files_are_read(file: str, events: int, rejected: int) -> None:
    texts = lines_of_file(DATA / "logs" / "w3c" / f"logfile_w3c.{file}")
    parsed = formats.parse(W3C, lines_of(*texts))
    assert (len(parsed.numbers), len(parsed.rejected)) == (events, rejected)
    assert len(parsed.eventless) == sum(text.startswith("#") for text in texts)
    assert set(parsed.reasons) <= {"not as many fields as #Fields: names"}


def test_a_real_file_with_many_headers() -> None:
    parsed = formats.parse(W3C, lines_of(*lines_of_file(DATA / "logs" / "w3c" / "logfile_w3c_big.0")))
    assert (len(parsed.numbers), len(parsed.eventless), parsed.reasons) == (210, 44, [])
    assert set(parsed.rows["http_request_method"].to_pylist()) == {"GET"}


def test_a_line_of_iis() -> None:
    found = rows(*lines_of_file(IIS / "access" / "test" / "test-ipv6zone.log"))[0]
    assert found == {
        "event_time": dt.datetime(2018, 1, 1, 10, 11, 12, tzinfo=dt.UTC),
        "source_address": "::1%0",
        "http_request_method": "GET",
        "http_version": "1.1",
        "http_response_status_code": 200,
        "http_response_body_bytes": 123,
        "url_domain": "example.com",
        "url_port": 80,
        "url_path": "/",
        "user_agent_original": (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.102 Safari/537.36"
        ),
        "event_duration": 789_000_000,
        "labels": {
            "s_sitename": "W3SVC1",
            "s_computername": "MACHINE-NAME",
            "s_ip": "::1%0",
            "sc_substatus": "0",
            "sc_win32_status": "0",
            "cs_bytes": "456",
        },
    }


def test_fields_that_change_half_way() -> None:
    parsed = formats.parse(W3C, lines_of(*lines_of_file(IIS / "access" / "test" / "test.log")))
    assert [found["labels"].get("s_computername") for found in rows_of(parsed)] == [None, None, "MACHINE-NAME"]
    assert [found.get("url_domain") for found in rows_of(parsed)] == [None, "example.com", "example.com"]
    assert parsed.reasons == ["not as many fields as #Fields: names"] * 2


def test_errors_of_http_sys() -> None:
    found = rows(*lines_of_file(IIS / "error" / "test" / "test.log"))
    assert [one.get("url_original") for one in found] == ["/qos/1kbfile.txt", "/ThisIsMyUrl.htm", "/", None]
    assert [one["labels"]["s_reason"] for one in found] == ["ConnLimit", "Hostname", "Version_N/S", "Timer_MinBytesPerSecond"]
    assert [one["source_port"] for one in found] == [2094, 2780, 2894, 64388]
    assert found[2]["http_version"] == "2.0"


def test_given_fields_serve_files_without_a_header() -> None:
    names = "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status s-siteid s-reason s-queuename"
    form = W3cFormat(name="httperr", fields=tuple(names.split()))
    parsed = formats.parse(form, lines_of(*lines_of_file(IIS / "error" / "test" / "iis_error_url.log")))
    assert len(parsed.numbers) == 8
    assert rows_of(parsed)[0]["url_original"] == "12.2.1"
    assert rows("2015-05-17 10:05:03 1.2.3.4", form=W3cFormat(fields=("date", "time", "c-ip")))[0]["source_address"] == "1.2.3.4"


def test_a_header_ends_what_was_given() -> None:
    form = W3cFormat(fields=("date", "time", "c-ip"))
    found = rows("2015-05-17 10:05:03 h", "#Fields: date time cs-username", "2015-05-17 10:05:03 bob", form=form)
    assert (found[0]["source_address"], found[1]["user_name"]) == ("h", "bob")


@pytest.mark.parametrize("fields", [("c-ip",), ("date", "c-ip"), ("time",) * 257, ("date", "time", "x-edge-location")])
def test_fields_that_cannot_be_used_are_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="fields cannot be used"):
        W3cFormat(fields=fields)


@pytest.mark.parametrize(
    ("fields", "line", "column", "value"),
    [
        ("cs(User-Agent)", "Mozilla/4.0+(compatible;+x)", "user_agent_original", "Mozilla/4.0 (compatible; x)"),
        ("cs(User-Agent)", '"C++ client (a b)"', "user_agent_original", "C++ client (a b)"),
        ("cs(Referer)", "http://h/?q=a+b", "http_request_referrer", "http://h/?q=a+b"),
        ("cs-uri-stem", "/a+b", "url_path", "/a+b"),
        ("cs-uri-query", "q=a+b", "url_query", "q=a+b"),
        ("cs-uri-query", "?q", "url_query", "q"),
        ("cs-uri", "http://h/p?q", "url_original", "http://h/p?q"),
        ("c-dns", "host.example", "source_address", "host.example"),
        ("c-port", "65535", "source_port", 65535),
        ("s-port", "8443", "url_port", 8443),
        ("cs-host", "h:8080", "url_port", 8080),
        ("cs(Host)", "[::1]:8080", "url_domain", "::1"),
        ("cs-username", '"DOM\\a b"', "user_name", "DOM\\a b"),
        ("cs-method", '"a ""b"""', "http_request_method", 'a "b"'),
        ("cs-version", "HTTP/2.0", "http_version", "2.0"),
        ("time-taken", "15", "event_duration", 15_000_000),
        ("time-taken", "0.015", "event_duration", 15_000_000),
        ("time-taken", "12.", "event_duration", 12_000_000_000),
        ("TimeTakenMS", "109", "event_duration", 109_000_000),
        ("bytes", "7", "http_response_body_bytes", 7),
        ("X-Forwarded-For", "1.1.1.1,+2.2.2.2", "forwarded_for", "1.1.1.1, 2.2.2.2"),
        ("OriginalIP", "1.1.1.1", "forwarded_for", "1.1.1.1"),
        ("cs(CF-Connecting-IP)", "1.1.1.1", "client_address", "1.1.1.1"),
        ("cs(Forwarded)", "for=1.1.1.1", "forwarded", "for=1.1.1.1"),
        ("sc-status", "404", "http_response_status_code", 404),
        ("C-IP", "1.1.1.1", "source_address", "1.1.1.1"),
    ],
)
def test_what_a_field_becomes(fields: str, line: str, column: str, value: object) -> None:
    assert row(fields, line)[column] == value


def test_headers_that_name_the_client_stay_labels_as_logged() -> None:
    assert row("X-Forwarded-For", "1.1.1.1,+2.2.2.2")["labels"] == {"x_forwarded_for": "1.1.1.1,+2.2.2.2"}


def test_the_first_of_two_fields_of_one_column_counts() -> None:
    found = row("c-dns c-ip cs(Host) s-port", "name 1.1.1.1 h:81 80")
    assert (found["source_address"], found["url_port"]) == ("1.1.1.1", 81)
    assert found["labels"] == {"c_dns": "name", "s_port": "80"}
    assert row("c-ip c-dns", "- name")["source_address"] == "name"


def test_a_field_named_twice_is_a_label_with_a_number() -> None:
    found = row("c-ip c-ip x x x_2", "a b c d e")
    assert found["source_address"] == "a"
    assert found["labels"] == {"c_ip_2": "b", "x": "c", "x_2": "d", "x_2_2": "e"}


@pytest.mark.parametrize("status", ["0", "000"])
def test_no_status_is_a_label(status: str) -> None:
    assert row("sc-status", status)["labels"] == {"sc_status": status}


@pytest.mark.parametrize(
    ("fields", "line", "reason"),
    [
        ("sc-status", "99", "http_response_status_code is not a whole number from 100 to 999"),
        ("sc-status", "-1", "http_response_status_code is not a whole number from 100 to 999"),
        ("c-port", "65536", "source_port is not a whole number from 0 to 65535"),
        ("sc-bytes", "1.5", "http_response_body_bytes is not a whole number from 0 to 9223372036854775807"),
        ("time-taken", "soon", "event_duration is not a duration"),
        ("time-taken", "99999999999999999999", "event_duration is not a duration"),
        ("c-ip", "a b", "not as many fields as #Fields: names"),
        ("c-ip", "", "not as many fields as #Fields: names"),
    ],
)
def test_what_a_column_cannot_hold_is_rejected(fields: str, line: str, reason: str) -> None:
    assert reasons(f"#Fields: date time {fields}", f"2015-05-17 10:05:03 {line}") == [reason]


@pytest.mark.parametrize("line", ["2015-02-30 10:05:03", "2015-05-17 24:05:03", "2015-05-17 now", "- 10:05:03", "17/05/2015 10:05:03"])
def test_what_is_no_time_is_rejected(line: str) -> None:
    assert reasons("#Fields: date time", line) == ["date and time are not a time"]


@pytest.mark.parametrize("clock", ["10:05", "10:05:03", "10:05:03.25"])
def test_the_date_of_a_directive_is_that_of_the_lines_after_it(clock: str) -> None:
    found = rows("#Fields: time", "#Date: 2015-05-17 09:00:00", clock, "#DATE:2015-05-18", clock)
    assert [one["event_time"].isoformat()[:16] for one in found] == ["2015-05-17T10:05", "2015-05-18T10:05"]


@pytest.mark.parametrize("directive", ["#Software: x", "#Date: 28/Jun/2017 07:28:59", "#Date: 2015-05-171", "#Date:"])
def test_a_time_without_a_date_is_rejected(directive: str) -> None:
    assert reasons("#Fields: time", directive, "10:05:03") == ["no date: neither a field nor a #Date: line"]


def test_times_in_the_zone_of_the_source() -> None:
    form = W3C.configured(FormatOptions(zone="Europe/Berlin"))
    found = rows("#Fields: date time", "2015-05-17 10:05:03", "#Fields: date-local time-local", "2015-01-17 10:05:03", form=form)
    assert [one["event_time"].hour for one in found] == [8, 9]
    assert W3C.configured(FormatOptions()) is W3C


def test_utc_comes_before_local_time() -> None:
    found = rows("#Fields: date-local time-local date time", "2015-05-17 12:05:03 2015-05-17 10:05:03")[0]
    assert (found["event_time"].hour, found["labels"]) == (10, {"date_local": "2015-05-17", "time_local": "12:05:03"})


def test_blanks_and_tabs_in_any_number_separate() -> None:
    assert row("c-ip  \t cs-method", " 1.1.1.1 \t\t GET  ")["http_request_method"] == "GET"


@pytest.mark.parametrize(
    ("agent", "wanted"),
    [('Mozilla/5.0+"x', 'Mozilla/5.0 "x'), ('"x', '"x'), ('a"b"c', 'a"b"c'), ('"a"b', '"a"b'), ('"""', '"""'), ('"a+""b"', 'a "b')],
)
def test_quotes_that_do_not_pair_are_text(agent: str, wanted: str) -> None:
    found = rows(f"{FIELDS} cs(User-Agent)", f"2015-05-17 10:05:03 ::1 GET {agent}", '2015-05-17 10:05:03 ::1 "G E" x')
    assert [one["user_agent_original"] for one in found] == [wanted, "x"]
    assert found[1]["http_request_method"] == "G E"


def test_lines_before_a_header_are_rejected() -> None:
    assert reasons("2015-05-17 10:05:03 h GET", "#Version: 1.0", "x") == ["no #Fields: line before"] * 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("#Fields:", "#Fields: names no time"),
        ("#Fields: c-ip x", "#Fields: names no time"),
        ("#Fields: date time " + "x " * 300, "#Fields: names too many fields"),
        ("#Fields: date time " + "x" * 20_000, "under a header that is too long"),
        ("#Fields: date time x-edge-location", "it looks like format cloudfront"),
    ],
)
def test_headers_that_cannot_be_used(header: str, reason: str) -> None:
    assert reasons(FIELDS, header, "2015-05-17 10:05:03 h") == [reason]


def test_a_source_may_have_so_many_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MOST_LAYOUTS", 2)
    texts = [part for name in ("a", "b", "a", "c", "b") for part in (f"#Fields: date time {name}", "2015-05-17 10:05:03 v")]
    parsed = formats.parse(W3C, lines_of(*texts))
    assert [list(one["labels"]) for one in rows_of(parsed)] == [["a"], ["b"], ["a"], ["b"]]
    assert parsed.reasons == ["under one header too many"]


def test_a_byte_order_mark_before_the_first_directive() -> None:
    assert len(rows("\ufeff#Fields: date time", "2015-05-17 10:05:03")) == 1


def test_times_since_1970() -> None:
    assert rows("#Fields: x-timestamp c-ip", "1431857103 h")[0]["event_time"] == dt.datetime(2015, 5, 17, 10, 5, 3, tzinfo=dt.UTC)


_pieces = st.sampled_from(
    [
        *("#Fields: date time c-ip", "#Fields: time cs-method x", "#Fields: c-ip", "#fields: date time x-edge-location", "#Software: x"),
        *(
            "#Date: 2015-05-17",
            "#Date: 2015-05-18 00:00:00",
            "#Date: soon",
            "#",
            "2015-05-17 10:05:03 ::1",
            "10:05:03 GET y",
            '"10:05" "a b" -',
        ),
        *("2015-05-17 25:05:03 ::1", "x"),
    ]
)


@given(before=st.lists(_pieces, max_size=8), after=st.lists(_pieces, min_size=1, max_size=8))
def test_a_state_stands_for_the_lines_before(before: list[str], after: list[str]) -> None:
    whole = formats.parse(W3C, lines_of(*before, *after))
    first = formats.parse(W3C, lines_of(*before))
    second = formats.parse(W3C, lines_of(*after), first.state)
    assert rows_of(first) + rows_of(second) == rows_of(whole)
    assert [*first.reasons, *second.reasons] == whole.reasons
    assert [*first.eventless, *(second.eventless + len(before))] == whole.eventless.tolist()
    assert second.state == whole.state == W3C.skim(lines_of(*after), W3C.skim(lines_of(*before)))


def test_blocks_hand_on_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.formats.verdicts.parse_in_blocks.__defaults__", (None, 2))
    found = rows(FIELDS, *["2015-05-17 10:05:03 h GET"] * 4, "#Fields: date time cs-username", "2015-05-17 10:05:03 bob")
    assert [one.get("user_name") for one in found] == [None] * 4 + ["bob"]


def test_it_is_stateful_and_announced() -> None:
    assert isinstance(W3C, Stateful)
    assert formats.is_stateful(W3C)
    assert W3C.announced_by == b"#Fields:"
