"""Formats made of a table: which place fills which column, what each fill reads, and what goes to labels."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest

from ingest import formats
from ingest.formats import fills
from ingest.formats.base import FormatOptions, Parsed
from ingest.formats.documents import DocumentFormat, Pairs, Place
from ingest.formats.fills import Fill
from ingest.lines import Lines

TIME = Place("t", fills.Time())
NOW = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def form(*places: Place, **more: Any) -> DocumentFormat:
    return DocumentFormat("test", "", "", "", (TIME, *places), **more)


def parse(table: DocumentFormat, *documents: Any) -> Parsed:
    return formats.parse(table, lines_of(*(d if isinstance(d, str) else json.dumps(d) for d in documents)))


def rows(table: DocumentFormat, *documents: Any) -> list[dict[str, Any]]:
    """What is not null of each row, but for a time of one second; labels decoded."""
    parsed = parse(table, *documents)
    assert parsed.reasons == []
    found = [{name: value for name, value in row.items() if value not in (None, NOW)} for row in parsed.rows.to_pylist()]
    return [row | ({"labels": json.loads(row["labels"])} if "labels" in row else {}) for row in found]


def read(fill: Fill, value: Any) -> dict[str, Any]:
    (row,) = rows(form(Place("a.v", fill)), {"t": 1, "a": {"v": value}})
    return row


def reason(fill: Fill, value: Any) -> str:
    good = json.dumps({"t": 1})
    parsed = parse(form(Place("a.v", fill)), good, {"t": 1, "a": {"v": value}}, good)
    assert parsed.rejected.tolist() == [1]
    return parsed.reasons[0]


def test_the_first_place_that_gives_a_value_counts() -> None:
    table = form(
        Place("a", fills.HostPort("source_address", "source_port")),
        Place("b", fills.Text("source_address")),
        Place("p", fills.Integer("source_port")),
    )
    assert rows(
        table,
        {"t": 1, "b": "b", "p": 5, "a": "h:80"},
        {"p": 5, "t": 1, "a": "h", "b": "b"},
        {"t": 1, "a": "-", "b": "b"},
        {"t": 1, "p": "x", "a": "h:1"},
    ) == [
        {"source_address": "h", "source_port": 80, "labels": {"b": "b", "p": 5}},
        {"source_address": "h", "source_port": 5, "labels": {"b": "b"}},
        {"source_address": "b"},
        {"source_address": "h", "source_port": 1, "labels": {"p": "x"}},
    ]


def test_a_time_may_be_in_one_of_several_places() -> None:
    table = DocumentFormat("test", "", "", "", (Place("start", fills.Time("ms")), Place("end", fills.Time())))
    parsed = parse(table, {"end": "1970-01-01T00:00:02Z"}, {"start": 1000, "end": "x"}, {"start": "-", "x": 1}, {"end": "x"})
    assert parsed.rows["event_time"].to_pylist() == [NOW + dt.timedelta(seconds=1), NOW]
    assert parsed.reasons == ["no event_time", "event_time is not a time"]


def test_labels_are_json_as_logged_in_the_order_of_the_document() -> None:
    text = '{"z": 1.00000000000000000001, "t":1, "a":{"y" : [1, {"q":1}] ,"v":"x"}, "\\u0062":"\\u00e9\\/", "n":null}'
    (row,) = parse(form(Place("a.v", fills.Text("user_name"))), text).rows.to_pylist()
    assert row["labels"] == '{"z":1.00000000000000000001,"a.y":[1, {"q":1}],"b":"\\u00e9\\/"}'


def test_aliases_are_ambiguous_together() -> None:
    table = form(Place("a", fills.Text("user_name"), aliases=("b.c",)))
    assert rows(table, {"t": 1, "b": {"c": "x"}}, {"t": 1, "b.c": "y"}, {"t": 1, "a": "z", "b": {"c": None}}) == [
        {"user_name": "x"},
        {"user_name": "y"},
        {"user_name": "z"},
    ]
    assert parse(table, {"t": 1, "a": "x", "b": {"c": "x"}}).reasons == ["a field is given more than once"]


def test_requires_and_expects() -> None:
    table = form(requires=("r", "o.x"), expects={"kind": ("access", "4002")})
    good = {"t": 1, "r": {"x": 1}, "o": {"x": ""}, "kind": "access"}
    assert [row["labels"] for row in rows(table, good, good | {"kind": 4002})] == [
        {"r": {"x": 1}, "o.x": "", "kind": "access"},
        {"r": {"x": 1}, "o.x": "", "kind": 4002},
    ]
    wrong = [good | {"r": None}, good | {"o": {}}, good | {"kind": "other"}, {"t": 1, "r": 1, "o.x": 1}, good | {"kind": ["access"]}]
    assert parse(table, *wrong).reasons == [
        "no r",
        "no o.x",
        "kind is not of this format",
        "no kind",
        "kind is not a single value",
    ]


def test_constants_and_source_ip_stand_in() -> None:
    table = form(
        Place("ip", fills.Address("source_ip")), Place("s", fills.Lower("url_scheme")), constants={"url_scheme": "https", "url_port": 443}
    )
    assert rows(table, {"t": 1, "ip": "::1"}, {"t": 1, "s": "HTTP"}) == [
        {"source_ip": "::1", "source_address": "::1", "url_scheme": "https", "url_port": 443},
        {"url_scheme": "http", "url_port": 443},
    ]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("1.2.3.4:567", {"source_address": "1.2.3.4", "source_port": 567}),
        ("[::1]:567", {"source_address": "::1", "source_port": 567}),
        ("[::1]", {"source_address": "::1"}),
        ("::1", {"source_address": "::1"}),
        ("host", {"source_address": "host"}),
        ("host:99999", {"source_address": "host:99999"}),
        ("", {}),
    ],
)
def test_hosts_with_ports(value: str, wanted: dict[str, Any]) -> None:
    assert read(fills.HostPort("source_address", "source_port"), value) == wanted


@pytest.mark.parametrize(
    "value", ["1.2.3.4", "255.255.255.255", "::", "1::", "fe80::1%eth0", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "A::b:C"]
)
def test_addresses(value: str) -> None:
    assert read(fills.Address("source_ip"), value) == {"source_ip": value, "source_address": value}


@pytest.mark.parametrize(
    "value", ["1.2.3", "256.1.1.1", "01.2.3.4", "1:2:3:4:5:6:7", "1::2::3", "1:2:3:4:5:6:7:8::", ":1", "host", "1.2.3.4:5"]
)
def test_what_is_no_address(value: str) -> None:
    assert reason(fills.Address("source_ip"), value) == "source_ip is not an IP address"


@pytest.mark.parametrize(
    ("unit", "value", "wanted"),
    [
        ("s", 1585597114.7687502, "2020-03-30T19:38:34.768750+00:00"),
        ("s", 1.5855971145e9, "2020-03-30T19:38:34.500000+00:00"),
        ("ms", "1585597114768", "2020-03-30T19:38:34.768000+00:00"),
        ("ms", 5, "1970-01-01T00:00:00.005000+00:00"),
        ("us", 1585597114768750, "2020-03-30T19:38:34.768750+00:00"),
        ("ns", 1585597114768750999, "2020-03-30T19:38:34.768750+00:00"),
        (None, 1585597114768, "2020-03-30T19:38:34.768000+00:00"),
        ("ms", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36+00:00"),
        ("ms", "2000-10-10T13:55:36.5-07:00", "2000-10-10T20:55:36.500000+00:00"),
    ],
)
def test_times(unit: str | None, value: Any, wanted: str) -> None:
    table = DocumentFormat("test", "", "", "", (Place("t", fills.Time(unit)),))
    assert parse(table, {"t": value}).rows["event_time"].to_pylist() == [dt.datetime.fromisoformat(wanted)]


@pytest.mark.parametrize("value", ["soon", "10/Okt/2000:13:55:36 -0700", "2000-13-01T00:00:00Z", -1, 1e300, True])
def test_what_is_no_time(value: Any) -> None:
    for unit in (None, "s", "ns"):
        assert parse(DocumentFormat("test", "", "", "", (Place("t", fills.Time(unit)),)), {"t": value}).reasons == [
            "event_time is not a time"
        ]


def test_times_without_a_zone_are_of_the_configured_one() -> None:
    table = form().configured(FormatOptions(zone="Europe/Berlin"))
    texts = ["2024-07-01 12:00:00", "2024-07-01T12:00:00.25Z", "2024-01-01T12:00:00", "2024-01-01T12:00:00-01:00", "2024-10-27T02:30:00"]
    wanted = ["2024-07-01T10:00:00", "2024-07-01T12:00:00.250000", "2024-01-01T11:00:00", "2024-01-01T13:00:00", "2024-10-27T00:30:00"]
    found = parse(table, *({"t": text} for text in texts)).rows["event_time"].to_pylist()
    assert [time.replace(tzinfo=None).isoformat() for time in found] == wanted


@pytest.mark.parametrize(
    ("unit", "value", "wanted"),
    [
        (10**9, "0.000078583", 78_583),
        (10**9, 7.8583e-05, 78_583),
        (10**9, "0.123s", 123_000_000),
        (10**9, "1m2.5s", 62_500_000_000),
        (10**9, "1h0m0s", 3600 * 10**9),
        (10**9, "1.5µs", 1500),
        (10**6, 12, 12_000_000),
        (10**6, "12.5", 12_500_000),
        (1, "12ms", 12_000_000),
        (1, 12, 12),
        (1, -1, None),
        (1, "-1.5s", None),
        (1, "-", None),
    ],
)
def test_durations(unit: int, value: Any, wanted: int | None) -> None:
    assert read(fills.Duration(unit), value).get("event_duration") == wanted


@pytest.mark.parametrize("value", ["s", "1x", "1 s", "1..5s", True, "1e400"])
def test_what_is_no_duration(value: Any) -> None:
    assert reason(fills.Duration(10**9), value) == "event_duration is not a duration"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("HTTP/1.1", "1.1"),
        ("http/2", "2"),
        ("HTTP/2.0", "2.0"),
        ("h2", "2"),
        ("h2c", "2"),
        ("h3", "3"),
        ("1.0", "1.0"),
        (1.1, "1.1"),
        ("SPDY", "SPDY"),
    ],
)
def test_versions(value: Any, wanted: str) -> None:
    assert read(fills.Version(), value) == {"http_version": wanted}


def test_request_lines() -> None:
    assert read(fills.Request(), 'GET /a\\"b c HTTP/1.1') == {
        "http_request_method": "GET",
        "url_original": '/a\\"b c',
        "http_version": "1.1",
    }
    assert read(fills.Request(), "\x16\x03") == {"labels": {"a.v": "\x16\x03"}}


def test_headers_stay_in_labels() -> None:
    fill = fills.Joined(fills.Header("forwarded_for"))
    wanted = {"forwarded_for": '1.1.1.1, "2"'}
    assert read(fill, '1.1.1.1, "2"') == wanted | {"labels": {"a.v": '1.1.1.1, "2"'}}
    assert read(fill, ["1.1.1.1", '"2"']) == wanted | {"labels": {"a.v": ["1.1.1.1", '"2"']}}


@pytest.mark.parametrize(
    ("value", "first", "all_of_them"),
    [
        (["x"], "x", "x"),
        ([' é"\\ ', "b", 3], ' é"\\ ', ' é"\\ , b, 3'),
        ("plain", "plain", "plain"),
        ([], None, None),
        ([""], None, None),
        ([None], None, None),
        ([5], "5", "5"),
        ([True, False], "true", "true, false"),
    ],
)
def test_lists(value: Any, first: str | None, all_of_them: str | None) -> None:
    assert read(fills.First(fills.Text("user_agent_original")), value).get("user_agent_original") == first
    assert read(fills.Joined(fills.Text("user_agent_original")), value).get("user_agent_original") == all_of_them


def test_a_list_where_none_belongs() -> None:
    assert reason(fills.Text("user_name"), ["x"]) == "user_name is not a single value"
    assert reason(fills.First(fills.Text("user_name")), [["x"]]) == "user_name is not a single value"
    assert reason(fills.First(fills.Text("user_name")), {"x": 1}) == "user_name is not a single value"
    assert reason(fills.First(fills.Text("user_name")), ["\0"]) == "user_name holds a NUL"


def test_cut_and_both() -> None:
    cut = fills.Cut(fills.Text("user_name"), prefix="users/é/", suffix="@x")
    assert [read(cut, value).get("user_name") for value in ("users/é/bob@x", "bob", "users/é/@x", "@")] == ["bob", "bob", "", "@"]
    both = fills.Both(fills.Text("user_name"), fills.Integer("source_port"), fills.Header("client_address"))
    assert read(both, "5") == {"user_name": "5", "source_port": 5, "client_address": "5", "labels": {"a.v": "5"}}
    assert reason(both, "x") == f"source_port is not a whole number from 0 to {2**63 - 1}"


def test_pairs() -> None:
    table = form(
        Place("attributes.http.route", fills.Text("url_path")),
        Place("attributes.http.response.status_code", fills.Integer("http_response_status_code")),
        lists=(Pairs("attributes"),),
    )
    attributes = [
        {"key": "http.route", "value": {"stringValue": '/a"b'}},
        {"key": "http.response.status_code", "value": {"intValue": "204"}},
        {"key": "x", "value": {"boolValue": True}},
    ]
    assert rows(table, {"t": 1, "attributes": attributes}, {"t": 1, "attributes": 5}) == [
        {"url_path": '/a"b', "http_response_status_code": 204, "labels": {"attributes.x": True}},
        {"labels": {"attributes": 5}},
    ]


def test_values_over_many_blocks_and_spoiled_lines_between() -> None:
    documents: list[dict[str, Any]] = [{"t": number, "a": {"v": f"é{number}" if number % 3 else '"'}} for number in range(9000)]
    texts = [json.dumps(document, ensure_ascii=bool(document["t"] % 2)) if document["t"] % 7 else '{"a":"' for document in documents]
    parsed = parse(form(Place("a.v", fills.Text("user_name"))), *texts)
    assert parsed.rejected.tolist() == list(range(0, 9000, 7))
    wanted = [f"é{number}" if int(number) % 3 else '"' for number in range(9000) if number % 7]
    assert parsed.rows["user_name"].to_pylist() == wanted


@pytest.mark.parametrize(
    "places",
    [
        (Place("a", fills.Text("user_name")), Place("a", fills.Text("url_path"))),
        (Place("a..b", fills.Text("user_name")),),
        (Place("a", fills.Text("no_such_column")),),
    ],
)
def test_a_faulty_table_is_refused(places: tuple[Place, ...]) -> None:
    with pytest.raises(ValueError, match="format test: "):
        form(*places)


def test_a_host_does_not_lend_another_its_port() -> None:
    host = fills.HostPort("url_domain", "url_port")
    table = form(Place("a", host), Place("b", host))
    found = rows(table, {"t": 1, "a": "one.example", "b": "two.example:8080"})[0]
    assert (found["url_domain"], found.get("url_port"), found["labels"]) == ("one.example", None, {"b": "two.example:8080"})
