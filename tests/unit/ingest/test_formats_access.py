"""The access log formats against a plain parser of their own, line by line, and against what real logs do to them."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import formats
from ingest.formats.verdicts import BLOCK_LINES
from ingest.lines import Lines

LOGS = Path(__file__).parents[2] / "data" / "logs"
START = '1.2.3.4 - - [22/Jan/2019:03:56:14 +0330] "GET / HTTP/1.1" '
END = '200 5 "-" "agent"'
_SHAPE = re.compile(
    r'(\S+) (\S+) (\S+) \[([^\]]*)\] "((?:[^"\\]|\\.)*)" (\d+|-) (\d+|-)(?: "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)(?:"( .*)?|$))?',
    re.DOTALL,
)
_REQUEST = re.compile(r"([A-Za-z][\w-]{0,31}) (.+) HTTP/(\d(?:\.\d)?)", re.ASCII | re.DOTALL)
_BARE = re.compile(r"([A-Za-z][\w-]{0,31}) (/[^ ]*)", re.ASCII | re.DOTALL)


def lines_of(*texts: str | bytes) -> Lines:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def row(text: str, form: str = "combined") -> dict[str, Any]:
    parsed = formats.parse(formats.get(form), lines_of(text))
    assert parsed.reasons == []
    found: list[dict[str, Any]] = parsed.rows.to_pylist()
    return found[0]


def reason(text: str, form: str = "combined") -> str:
    parsed = formats.parse(formats.get(form), lines_of(text))
    assert len(parsed.numbers) == 0
    return parsed.reasons[0]


def oracle(line: str) -> dict[str, Any] | None:
    """The same row, worked out the plain way; ``None`` for a line that is not of the plain shape."""
    match = _SHAPE.fullmatch(line)
    if not match:
        return None
    address, ident, user, time, request, status, size, referrer, agent, trailing = match.groups()
    wanted = {
        "event_time": dt.datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z").astimezone(dt.UTC),
        "source_address": address,
        "user_name": user,
        "http_response_status_code": None if status == "-" else int(status),
        "http_response_body_bytes": None if size == "-" else int(size),
        "http_request_referrer": referrer,
        "user_agent_original": agent,
    }
    labels = {"ident": ident} if ident != "-" else {}
    full, bare = _REQUEST.fullmatch(request), _BARE.fullmatch(request)
    method, target, version = full.groups() if full else (*bare.groups(), None) if bare else (None, None, None)
    if not method and request != "-":
        labels["request"] = unescaped(request)
    if trailing and trailing != " ":
        labels["trailing"] = trailing[1:]
    wanted |= {"http_request_method": method, "url_original": target, "http_version": version}
    wanted = {name: unescaped(value) if isinstance(value, str) else value for name, value in wanted.items()}
    return {name: None if value == "-" else value for name, value in wanted.items()} | {"labels": labels or None}


def unescaped(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text)


def plain(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"labels": json.loads(found["labels"]) if found["labels"] else None}


@pytest.mark.parametrize(("folder", "form", "count"), [("apache-combined", "combined", 10_000), ("nasa-common", "common", 4_000)])
def test_every_real_line_parses_as_the_plain_parser_says(folder: str, form: str, count: int) -> None:
    texts = (LOGS / folder / "access.log").read_text().splitlines()
    parsed = formats.parse(formats.get(form), lines_of(*texts))
    assert (len(texts), len(parsed.numbers)) == (count, count)
    for text, found in zip(texts, parsed.rows.to_pylist(), strict=True):
        wanted = oracle(text)
        assert wanted is not None
        assert plain(found) == {name: wanted[name] for name in found}


def test_the_line_cut_off_within_its_agent_is_kept_with_what_is_there() -> None:
    text = (LOGS / "apache-combined" / "access.log").read_text().splitlines()[8898]
    assert text.count('"') % 2 == 1
    assert row(text)["user_agent_original"] == "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html"


def test_blocks_join_without_a_seam() -> None:
    texts = (LOGS / "apache-combined" / "access.log").read_text().splitlines()
    texts[7] = "bad"
    texts = texts + texts[: BLOCK_LINES - len(texts) + 10]
    parsed = formats.parse(formats.get("combined"), lines_of(*texts))
    assert parsed.rejected.tolist() == [7, 10_007]
    assert parsed.rows.slice(9_999, 6_000).equals(parsed.rows.slice(0, 6_000))


_PIECES = st.sampled_from([*list('"\\ -[]:'), '" ', '" "', "200", "GET ", "/a", " HTTP/1.1", "é", "\\x22", "\t", "\r", '\\"', "ab", "%20"])
_INSIDE = st.lists(_PIECES, max_size=8).map("".join)
_TOKEN = st.sampled_from(["-", "a", "::1", "bob", 'q"x', "[", "é"])
_NUMBER = st.sampled_from(["-", "200", "0", "9223372036854775807", "99", "404"])


@given(st.lists(st.tuples(_TOKEN, _TOKEN, _TOKEN, _INSIDE, _NUMBER, _NUMBER, _INSIDE, _INSIDE, _INSIDE), min_size=1, max_size=6))
def test_whatever_is_of_the_plain_shape_parses_as_the_plain_parser_says(parts: list[tuple[str, ...]]) -> None:
    texts = ['{} {} {} [22/Jan/2019:03:56:14 +0330] "{}" {} {} "{}" "{}"{}'.format(*p).rstrip("\r") for p in parts]
    parsed = formats.parse(formats.get("combined"), lines_of(*texts))
    found = dict(zip(parsed.numbers.tolist(), parsed.rows.to_pylist(), strict=True))
    for number, text in enumerate(texts):
        wanted = oracle(text)
        if wanted is None or text.endswith("\\") or not closed_as_written(text):
            continue
        if wanted["http_response_status_code"] in (0, 99) or (wanted["http_response_status_code"] or 0) > 999:
            assert number not in found
        else:
            assert plain(found[number]) == {name: wanted[name] for name in found[number]}


def closed_as_written(text: str) -> bool:
    """Whether the plain shape closes the agent: of an unclosed one the plain parser knows less than the slow road."""
    match = _SHAPE.fullmatch(text)
    return match is not None and text[match.end(9) : match.end(9) + 1] == '"'


def test_dash_is_null_and_ident_becomes_a_label() -> None:
    found = row('- joe bob [22/Jan/2019:03:56:14 +0330] "-" - - "-" "-"')
    values = {name: value for name, value in found.items() if value is not None}
    when = dt.datetime(2019, 1, 22, 0, 26, 14, tzinfo=dt.UTC)
    assert values == {"event_time": when, "user_name": "bob", "labels": '{"ident":"joe"}'}


@pytest.mark.parametrize(
    ("request_line", "method", "target", "version", "label"),
    [
        ("GET /a b  c HTTP/1.1", "GET", "/a b  c", "1.1", None),
        ("PROPFIND /x HTTP/2", "PROPFIND", "/x", "2", None),
        ("GET http://h/x HTTP/2.0", "GET", "http://h/x", "2.0", None),
        ("GET /", "GET", "/", None, None),
        ("-", None, None, None, None),
        ("", None, None, None, ""),
        ("GET", None, None, None, "GET"),
        ("GET  HTTP/1.1", None, None, None, "GET  HTTP/1.1"),
        ("GET /x HTTP/1.1x", None, None, None, "GET /x HTTP/1.1x"),
        ("GET /x HTTP/1x1", None, None, None, "GET /x HTTP/1x1"),
        ("GET /x HTTP/1.x", None, None, None, "GET /x HTTP/1.x"),
        ("GET /x HTTP/x", None, None, None, "GET /x HTTP/x"),
        ("GET /x HTTP/", None, None, None, "GET /x HTTP/"),
        (r"\x16\x03\x01\x02", None, None, None, r"\x16\x03\x01\x02"),
        ("1ET /x HTTP/1.1", None, None, None, "1ET /x HTTP/1.1"),
        ("hello world", None, None, None, "hello world"),
        (r"GET /\"q\\ HTTP/1.0", "GET", '/"q\\', "1.0", None),
        (r"a\"b" + "\t", None, None, None, 'a"b\t'),
    ],
)
def test_request_lines(request_line: str, method: str | None, target: str | None, version: str | None, label: str | None) -> None:
    found = plain(row(START.replace("GET / HTTP/1.1", request_line) + END))
    assert (found["http_request_method"], found["url_original"], found["http_version"]) == (method, target, version)
    assert found["labels"] == (None if label is None else {"request": label})


@pytest.mark.parametrize(
    ("logged", "value"),
    [
        (r"a \"b\" c", 'a "b" c'),
        (r"back\\", "back\\"),
        (r"a\\\"b", 'a\\"b'),
        (r"\\x41 \x41 \n", r"\x41 \x41 \n"),
        (r"\\\\", r"\\"),
        ("", ""),
        ("\\-", "\\-"),
    ],
)
def test_quote_and_backslash_are_decoded_once_and_nothing_else(logged: str, value: str) -> None:
    plain_line, escaped_line = START + END, START + f'200 5 "{logged}" "{logged}"'
    parsed = formats.parse(formats.get("combined"), lines_of(plain_line, escaped_line, plain_line))
    assert parsed.rows["user_agent_original"].to_pylist() == ["agent", value, "agent"]
    assert parsed.rows["http_request_referrer"].to_pylist() == [None, value, None]


@pytest.mark.parametrize(
    ("tail", "referrer", "agent", "trailing"),
    [
        ('200 5 "-" "agent" "-"', None, "agent", '"-"'),
        ('200 5 "-" "agent" 0.123 "x y"', None, "agent", '0.123 "x y"'),
        ('200 5 "-" "agent" ', None, "agent", None),
        ('200 5 "-" "a "b" c"', None, 'a "b" c', None),
        ('200 5 "-" "a"b" "1.1.1.1"', None, 'a"b" "1.1.1.1', None),
        ('200 5 "-" "a"b" 0.5', None, 'a"b', "0.5"),
        ('200 5 "http://h/?q="x"" "agent"', 'http://h/?q="x"', "agent", None),
        ('200 5 "-" "cut off', None, "cut off", None),
        ('200 5 "-" "', None, "", None),
        ('200 5 "-" "ends in a backslash\\"', None, "ends in a backslash\\", None),
    ],
)
def test_what_real_servers_write_after_the_size(tail: str, referrer: str | None, agent: str, trailing: str | None) -> None:
    found = plain(row(START + tail))
    assert (found["http_request_referrer"], found["user_agent_original"]) == (referrer, agent)
    assert found["labels"] == (None if trailing is None else {"trailing": trailing})


def test_a_request_with_a_quote_of_its_own() -> None:
    assert row(START.replace("/ HTTP", '/"x" HTTP') + END)["url_original"] == '/"x"'


def test_a_user_name_may_hold_spaces() -> None:
    assert row((START + END).replace(" - - ", " - Ann Other "))["user_name"] == "Ann Other"


@pytest.mark.parametrize("between", [" - - x y ", " - - - ", ", 5.6.7.8, 9.9.9.9 - - ", ", 5.6.7.8 - bob "])
def test_more_fields_before_the_time_do_not_become_a_user(between: str) -> None:
    assert reason((START + END).replace(" - - ", between)) == "not of this form"


def test_no_user_and_an_unescaped_quote() -> None:
    assert row(START + '200 5 "-" "a "b" c"')["user_name"] is None


def test_vhost_gives_domain_and_port() -> None:
    found = row("www.example.com:443 " + START + END, "vhost_combined")
    assert (found["url_domain"], found["url_port"], found["source_address"]) == ("www.example.com", 443, "1.2.3.4")
    found = row("[::1]:8080 " + START + END, "vhost_combined")
    assert (found["url_domain"], found["url_port"]) == ("[::1]", 8080)


@pytest.mark.parametrize(
    ("text", "form", "why"),
    [
        (START + "200 5", "combined", "it looks like format common"),
        (START + END, "common", "it looks like format combined"),
        ("h:80 " + START + END, "combined", "it looks like format vhost_combined"),
        (START + END, "vhost_combined", "it looks like format combined"),
        ("h:x " + START + END, "vhost_combined", "port is not a number"),
        ("h:65536 " + START + END, "vhost_combined", "port is out of range"),
        ("garbage", "combined", "no time in brackets"),
        (START + "x " + END, "combined", "no status after the request"),
        (START + '200 5 "http://cut', "combined", "no agent after the referrer"),
        (START, "combined", "no status after the request"),
        ((START + END).replace("03:56", "24:56"), "combined", "no such time"),
        ((START + END).replace("Jan", "Foo"), "combined", "time is not of the form 22/Jan/2019:03:56:14 +0330"),
        ((START + END).replace("22/Jan", "2/Jan"), "combined", "time is not of the form 22/Jan/2019:03:56:14 +0330"),
        (START + '99 5 "-" "-"', "combined", "status is out of range"),
        (START + '1000 5 "-" "-"', "combined", "status is out of range"),
        (START + '2x0 5 "-" "-"', "combined", "status is not a number"),
        (START + '200 -5 "-" "-"', "combined", "size is not a number"),
        (START + '200 9223372036854775808 "-" "-"', "combined", "size is out of range"),
        (START + "200 " + "9" * 400 + ' "-" "-"', "combined", "size is out of range"),
    ],
)
def test_rejected_with_a_reason(text: str, form: str, why: str) -> None:
    assert reason(text, form) == why


def test_the_largest_size_is_kept_whole() -> None:
    assert row(START + '200 9223372036854775807 "-" "-"')["http_response_body_bytes"] == 2**63 - 1


@pytest.mark.parametrize("filler", ['" 200 5 "', '\\"', "\\", '"', ' [22/Jan/2019:03:56:14 +0330] "', "[", ' "', '" "'])
def test_hostile_lines_cost_no_more_than_their_length(filler: str) -> None:
    """Quadratic work on a megabyte would run into the suite's time limit."""
    long = filler * (1_000_000 // len(filler))
    texts = [START + long, START.replace("GET", long) + END, "a b c" + long, START + '200 5 "' + long + '" "' + long]
    for form in ("common", "combined", "vhost_combined"):
        parsed = formats.parse(formats.get(form), lines_of(*texts))
        assert len(parsed.numbers) + len(parsed.rejected) == 4


def test_control_characters_in_labels_are_valid_json() -> None:
    found = row((START + END).replace(" - - ", " \x01\x1f\x7f\\ - "))
    assert json.loads(found["labels"]) == {"ident": "\x01\x1f\x7f\\"}


def test_lines_may_lie_apart_in_the_buffer() -> None:
    data = np.frombuffer(f'set " aside\\\n{START}{END}\n\\" "\n{START}{END}'.encode(), np.uint8)
    breaks = np.flatnonzero(data == 10)
    lines = Lines(data, np.array([breaks[0], breaks[2]]) + 1, np.array([breaks[1], len(data)]))
    parsed = formats.parse(formats.get("combined"), lines)
    assert parsed.rows["user_agent_original"] == pa.array(["agent", "agent"])
