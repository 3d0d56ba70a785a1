r"""logfmt: against a reader of one line at a time, escapes, and lines that are not of it."""

import datetime as dt
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest import formats
from ingest.formats.base import FormatOptions, Parsed
from ingest.formats.logfmt import LOGFMT
from ingest.lines import Lines

SECOND = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def rows_of(parsed: Parsed) -> list[dict[str, Any]]:
    """What is not null, labels as a list of pairs."""
    found = [{name: value for name, value in row.items() if value is not None} for row in parsed.rows.to_pylist()]
    return [row | ({"labels": json.loads(row["labels"], object_pairs_hook=list)} if "labels" in row else {}) for row in found]


def row(text: str) -> dict[str, Any]:
    """What is there beside the time."""
    parsed = formats.parse(LOGFMT, lines_of(text))
    assert parsed.reasons == []
    (found,) = rows_of(parsed)
    assert found.pop("event_time") == SECOND
    return found


def test_herokus_router() -> None:
    text = (
        'ts=1 at=info method=GET path="/a?b=c" host=myapp.herokuapp.com request_id=8601b555 fwd="6.6.6.6, 204.204.204.204" '
        "dyno=web.1 connect=1ms service=18ms status=200 bytes=13 protocol=https"
    )
    assert row(text) == {
        "source_address": "204.204.204.204",
        "http_request_method": "GET",
        "http_request_id": "8601b555",
        "http_response_status_code": 200,
        "http_response_body_bytes": 13,
        "url_scheme": "https",
        "url_domain": "myapp.herokuapp.com",
        "url_original": "/a?b=c",
        "event_duration": 18_000_000,
        "forwarded_for": "6.6.6.6, 204.204.204.204",
        "labels": [("at", "info"), ("fwd", "6.6.6.6, 204.204.204.204"), ("dyno", "web.1"), ("connect", "1ms")],
    }


def test_an_error_of_herokus_router() -> None:
    found = row('ts=1 at=error code=H12 desc="Request timeout" method=GET path=/ connect= service=30000ms status=503 bytes=0')
    assert found["event_duration"] == 30_000_000_000
    assert found["labels"] == [("at", "error"), ("code", "H12"), ("desc", "Request timeout")]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (r'm="a \"b\" c"', [("m", 'a "b" c')]),
        (r'm="a\\"', [("m", "a\\")]),
        (r'm="\\\"" n=1', [("m", '\\"'), ("n", "1")]),
        (r'm="\\\\" n="\n\u001b"', [("m", "\\\\"), ("n", r"\n\u001b")]),
        (r"m=c:\\x\n", [("m", r"c:\\x\n")]),
        ('m="a=b c=d"', [("m", "a=b c=d")]),
        ("m=a=b", [("m", "a=b")]),
        ('m="" n= o=-', []),
        ("bare m=1 other", [("bare", "true"), ("m", "1"), ("other", "true")]),
        ("status secure", [("status", "true"), ("secure", "true")]),
        ("z=1\ta=2", [("z", "1"), ("a", "2")]),
        ("  a=1   b=2  ", [("a", "1"), ("b", "2")]),
        ("service=api duration=long", [("service", "api"), ("duration", "long")]),
        ("é=ü", [("é", "ü")]),
        ("a.b=1 A_B=2", [("a.b", "1"), ("A_B", "2")]),
    ],
)
def test_values_and_labels_in_order(text: str, labels: list[tuple[str, str]]) -> None:
    assert row(f"t=1 {text}").get("labels", []) == labels


def test_the_first_name_of_a_column_counts() -> None:
    found = row("time=1 t=soon remote=[::1]:5 client_ip=h fwd=f")
    assert (found["source_address"], found["forwarded_for"]) == ("h", "f")
    assert found["labels"] == [("t", "soon"), ("remote", "[::1]:5"), ("fwd", "f")]


@pytest.mark.parametrize("key", ["time", "ts", "timestamp", "@timestamp", "t", "date", "Time"])
def test_keys_of_the_time(key: str) -> None:
    assert row(f"a=1 {key}=1970-01-01T00:00:01Z")["labels"] == [("a", "1")]


def test_times_in_the_zone_of_the_source() -> None:
    form = LOGFMT.configured(FormatOptions(zone="Europe/Berlin"))
    parsed = formats.parse(form, lines_of('time="2015-05-17 10:05:03"'))
    assert parsed.rows["event_time"].to_pylist()[0].hour == 8
    assert LOGFMT.configured(FormatOptions()) is LOGFMT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a=1 b=2", "no event_time"),
        ("t", "no event_time"),
        ("t=", "no event_time"),
        ("t=soon", "event_time is not a time"),
        ("t=1 a=1 b=2 a=1", "a field is given more than once"),
        ("t=1 a a", "a field is given more than once"),
        ("t=1 =2", "a value without a key"),
        ('"t=1', "quotes do not pair"),
        ('"t"', "quotes do not pair"),
        ('"t"=1', "quotes do not pair"),
        ('t=1 m=="a"', "quotes do not pair"),
        ('t=1 m="open', "quotes do not pair"),
        ('t=1 m=a"b', "quotes do not pair"),
        ('t=1 m="a"b', "quotes do not pair"),
        ('t=1 m="a""b"', "quotes do not pair"),
        (r't=1 m="a\"', "quotes do not pair"),
        ("  ", "no key=value pairs, or too many"),
        ("t=1 status=ok", "http_response_status_code is not a whole number from 100 to 999"),
        ("t=1 " + " ".join(f"k{number}=" for number in range(5000)), "no key=value pairs, or too many"),
    ],
)
def test_lines_that_are_rejected(text: str, reason: str) -> None:
    parsed = formats.parse(LOGFMT, lines_of("t=1", text, "t=1"))
    assert (parsed.numbers.tolist(), parsed.reasons) == ([0, 2], [reason])


def test_many_keys_of_few_lines() -> None:
    texts = [f"t=1 {' '.join(f'k{number}x{line}={number}' for number in range(200))}" for line in range(3)]
    found = rows_of(formats.parse(LOGFMT, lines_of(*texts)))
    assert [found[2]["labels"][number] for number in (0, 199)] == [("k0x2", "0"), ("k199x2", "199")]


_BARE = r'(?:[^\s"\\]|\\["\\]|\\(?![\\"]))*'
_PAIR = re.compile(rf'([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|{_BARE}))?(?:[ \t]+|\Z)', re.DOTALL)


def read_one(text: str) -> list[tuple[str, str]] | None:
    """The pairs of a line, or nothing when it is none: one at a time."""
    position, pairs = len(text) - len(text.lstrip(" \t")), []
    while position < len(text):
        found = _PAIR.match(text, position)
        if found is None:
            return None
        key, value = found[1], found[2]
        if value is None:
            pairs.append((key, "true"))
        elif value[:1] == '"':
            pairs.append((key, re.sub(r'\\(["\\])', r"\1", value[1:-1])))
        else:
            pairs.append((key, value))
        position = found.end()
    return pairs if len({key for key, _ in pairs}) == len(pairs) else None


_values = st.text(st.sampled_from('ab\\=" é'), max_size=5)
_quoted = _values.map(lambda value: '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')
_pairs = st.tuples(st.sampled_from(["a", "b", "c.d", "É"]), st.one_of(st.none(), _quoted, _quoted, _values))


@example(lines=[[("a", '\\"')]])
@example(lines=[[("a", '\\\\"')]])
@given(lines=st.lists(st.lists(_pairs, min_size=1, max_size=4), min_size=1, max_size=6))
def test_against_a_reader_of_one_line(lines: list[list[tuple[str, str | None]]]) -> None:
    texts = ["t=1 " + " ".join(key if value is None else f"{key}={value}" for key, value in pairs) for pairs in lines]
    parsed = formats.parse(LOGFMT, lines_of(*texts))
    read = {number: pairs for number, text in enumerate(texts) if (pairs := read_one(text)) is not None}
    assert parsed.numbers.tolist() == list(read)
    wanted = [[(key, value) for key, value in pairs[1:] if value not in ("", "-")] for pairs in read.values()]
    assert [row.get("labels", []) for row in rows_of(parsed)] == wanted
