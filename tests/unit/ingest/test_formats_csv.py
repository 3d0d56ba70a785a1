"""Delimited text: against Python's csv module, headers that come late, again or not at all, and lines that are no record."""

import csv
import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import schema
from core.errors import UsageError
from ingest import formats
from ingest.formats import layouts
from ingest.formats.base import FormatOptions, Parsed, Stateful
from ingest.formats.csv_format import CSV, TSV, DelimitedFormat
from ingest.formats.json_lines import ECS_NAMES
from ingest.formats.synonyms import SYNONYMS
from ingest.lines import Lines

SECOND = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def rows_of(parsed: Parsed) -> list[dict[str, Any]]:
    """What is not null, labels as a dictionary where there are any."""
    found = [{name: value for name, value in row.items() if value is not None} for row in parsed.rows.to_pylist()]
    return [row | ({"labels": json.loads(row["labels"])} if "labels" in row else {}) for row in found]


def rows(*texts: str, form: DelimitedFormat = CSV) -> list[dict[str, Any]]:
    parsed = formats.parse(form, lines_of(*texts))
    assert parsed.reasons == []
    return rows_of(parsed)


def of(name: str, value: str) -> dict[str, Any]:
    """What one more column gives."""
    (row,) = rows(f"ts,{name},account", f"1,{value},x")
    assert (row.pop("event_time"), row.pop("account_id")) == (SECOND, "x")
    return row


def reasons(*texts: str, form: DelimitedFormat = CSV) -> list[str]:
    return formats.parse(form, lines_of(*texts)).reasons


def test_a_header_and_a_record() -> None:
    text = '2015-05-17T10:05:03+02:00,::1,"a ""b"", c",GET,/p?q=1,404,,-,eu'
    assert rows("Time,Client IP,User,Method,URL,Status,Bytes,User-Agent,Region", text) == [
        {
            "event_time": dt.datetime(2015, 5, 17, 8, 5, 3, tzinfo=dt.UTC),
            "source_address": "::1",
            "user_name": 'a "b", c',
            "http_request_method": "GET",
            "url_original": "/p?q=1",
            "http_response_status_code": 404,
            "labels": {"Region": "eu"},
        }
    ]


@pytest.mark.parametrize("column", [column for column in ECS_NAMES.values() if column not in ("event_time", "source_ip", "account_id")])
def test_names_of_the_schema_and_of_ecs(column: str) -> None:
    path = next(path for path, named in ECS_NAMES.items() if named == column)
    value = "200" if schema.input_type(column) != schema.input_type("user_name") else "h"
    assert of(path, value) == of(column, value) == {column: int(value) if value == "200" else value}


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("remote_addr", "10.0.0.1:55", {"source_address": "10.0.0.1", "source_port": 55}),
        ("source.ip", "::1", {"source_ip": "::1", "source_address": "::1"}),
        ("host", "h:81", {"url_domain": "h", "url_port": 81}),
        ("protocol", "HTTPS", {"url_scheme": "https"}),
        ("protocol", "HTTP/1.1", {"http_version": "1.1"}),
        ("protocol", "h2", {"http_version": "2"}),
        ("protocol", "TLSv1.3", {"labels": {"protocol": "TLSv1.3"}}),
        ("request", "GET /p HTTP/1.0", {"http_request_method": "GET", "url_original": "/p", "http_version": "1.0"}),
        ("query_string", "?a=b", {"url_query": "a=b"}),
        ("duration_ms", "1.5", {"event_duration": 1_500_000}),
        ("latency_us", "2", {"event_duration": 2000}),
        ("request_time", "0.25", {"event_duration": 250_000_000}),
        ("request_time", "soon", {"labels": {"request_time": "soon"}}),
        ("duration", "18ms", {"event_duration": 18_000_000}),
        ("duration", "1m2.5s", {"event_duration": 62_500_000_000}),
        ("duration", "18", {"labels": {"duration": "18"}}),
        ("size", "12 kB", {"labels": {"size": "12 kB"}}),
        ("size", "12", {"http_response_body_bytes": 12}),
        ("status", "000", {"labels": {"status": "000"}}),
        ("X-Forwarded-For", "::1", {"forwarded_for": "::1", "labels": {"X-Forwarded-For": "::1"}}),
        ("forwarded", "for=x", {"forwarded": "for=x", "labels": {"forwarded": "for=x"}}),
        ("x-real-ip", "::1", {"client_address": "::1", "labels": {"x-real-ip": "::1"}}),
        (
            "fwd",
            '"1.1.1.1, 2.2.2.2"',
            {"forwarded_for": "1.1.1.1, 2.2.2.2", "source_address": "2.2.2.2", "labels": {"fwd": "1.1.1.1, 2.2.2.2"}},
        ),
        ("", "v", {"labels": {"column_2": "v"}}),
        ("Ü", "v", {"labels": {"Ü": "v"}}),
        ("user", "-", {}),
        ("user", "", {}),
        ("user", '""', {}),
        ("user", '"-"', {}),
    ],
)
def test_what_people_call_a_field(name: str, value: str, wanted: dict[str, Any]) -> None:
    assert of(name, value) == wanted


def test_every_name_stands_for_a_column() -> None:
    assert all(schema.input_type(column) is not None for fill in SYNONYMS.fills.values() for column in fill.columns)


def test_the_first_name_of_a_column_that_has_a_value_counts() -> None:
    header = "ts,ip,client_ip,bytes,body_bytes_sent"
    assert rows(header, "1,b,a,2,1", "1,b,,2,-") == [
        {"event_time": SECOND, "source_address": "a", "http_response_body_bytes": 1, "labels": {"ip": "b", "bytes": "2"}},
        {"event_time": SECOND, "source_address": "b", "http_response_body_bytes": 2},
    ]


@pytest.mark.parametrize("time", ["2015-05-17 10:05:03", "1431857103", "1431857103000", "1431857103.0", "17/May/2015:12:05:03 +0200"])
def test_forms_of_a_time(time: str) -> None:
    assert rows("time,ip", f"{time},::1")[0]["event_time"] == dt.datetime(2015, 5, 17, 10, 5, 3, tzinfo=dt.UTC)


def test_date_and_time_in_two_columns() -> None:
    assert rows("date,time,ip", "2015-05-17,10:05:03.5,h") == [
        {"event_time": dt.datetime(2015, 5, 17, 10, 5, 3, 500_000, tzinfo=dt.UTC), "source_address": "h"}
    ]
    assert reasons("date,time,ip", "2015-05-17,soon,h") == ["date and time are not a time"]
    assert rows("date,time,timestamp,ip", "d,t,1,h")[0]["labels"] == {"date": "d", "time": "t"}


def test_times_in_the_zone_of_the_source() -> None:
    form = CSV.configured(FormatOptions(zone="Europe/Berlin"))
    found = rows("time,ip", "2015-05-17 10:05:03,h", "date,time,ip", "2015-01-17,10:05:03,h", form=form)
    assert [row["event_time"].hour for row in found] == [8, 9]
    assert CSV.configured(FormatOptions()) is CSV


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,h", "not as many cells as the header has"),
        ("1,h,200,x", "not as many cells as the header has"),
        ('1,"h,200', "quotes do not pair within the line"),
        ('h",200', "quotes do not pair within the line"),
        ('1,a"b"c,200', "quotes do not pair within the line"),
        ('1,"a"b,200', "quotes do not pair within the line"),
        ('1,"a"b"",200', "quotes do not pair within the line"),
        ('1, "a",200', "quotes do not pair within the line"),
        ("soon,h,200", "event_time is not a time"),
        (",h,200", "no event_time"),
        ("1,h,99", "http_response_status_code is not a whole number from 100 to 999"),
    ],
)
def test_lines_that_are_rejected(line: str, reason: str) -> None:
    assert reasons("ts,host,status", line) == [reason]


@pytest.mark.parametrize(
    "header", ["a,b", "time,b", "ip,user", "time", "#time,ip", "time,ip,5xx", '"time,ip', "time;ip", "time,ip," + "x" * 17_000]
)
def test_what_is_no_header(header: str) -> None:
    assert reasons(header, "1,h")[-1] == "no header line before"


def test_headers_again_and_others_half_way() -> None:
    texts = ["\ufefftime,ip", "1,a", '"time","ip"', "1,b", "ip,time,user", "c,1,u", "time,ip", "1,d"]
    parsed = formats.parse(CSV, lines_of(*texts))
    assert parsed.eventless.tolist() == [0, 2, 4, 6]
    assert [row["source_address"] for row in rows_of(parsed)] == ["a", "b", "c", "d"]


def test_a_line_that_tells_a_time_is_no_header() -> None:
    found = rows("date,user,query", "1,date,ip", "1431857103,time,user")
    assert [row["url_query"] for row in found] == ["ip", "user"]


def test_a_column_named_twice() -> None:
    assert reasons("time,ip,x,x", "1,h,a,b") == ["under a header that names a column twice"]


def test_a_source_may_have_so_many_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MOST_LAYOUTS", 2)
    texts = [part for name in ("a", "b", "c", "b") for part in (f"time,ip,{name}", "1,h,v")]
    parsed = formats.parse(CSV, lines_of(*texts))
    assert [list(row["labels"]) for row in rows_of(parsed)] == [["a"], ["b"], ["b"]]
    assert parsed.reasons == ["under one header too many"]


def test_files_without_a_header() -> None:
    form = DelimitedFormat(name="mine", columns=("time", "client_ip", "", "note"), delimiter=";")
    assert rows('1;::1;a,b;"x;y"', form=form) == [
        {"event_time": SECOND, "source_address": "::1", "labels": {"column_3": "a,b", "note": "x;y"}}
    ]
    assert reasons("time;client_ip;x;note", form=form) == ["event_time is not a time"]


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n", "é", "\0"])
def test_delimiters_that_cannot_be_used(delimiter: str) -> None:
    with pytest.raises(UsageError, match="cannot be a delimiter"):
        DelimitedFormat(delimiter=delimiter)


@pytest.mark.parametrize("columns", [("ip", "user"), ("time", "ip", "ip")])
def test_columns_that_cannot_be_used(columns: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="columns name no time, or one of them twice"):
        DelimitedFormat(columns=columns)


_cells = st.text(st.sampled_from('a,"; \t\\é-1'), max_size=6)


@given(
    records=st.lists(st.tuples(_cells, _cells, _cells), min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@pytest.mark.parametrize("form", [CSV, TSV, DelimitedFormat(delimiter=";")], ids=["comma", "tab", "semicolon"])
def test_it_reads_what_pythons_module_writes(form: DelimitedFormat, records: list[tuple[str, ...]], quoting: Any) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=form.delimiter, lineterminator="\n", quoting=quoting)
    writer.writerow(("time", "user", "a", "b"))
    writer.writerows([("1", *record) for record in records])
    parsed = formats.parse(form, lines_of(*written.getvalue().splitlines()))
    assert parsed.reasons == []
    found = [{"user": row.get("user_name", "")} | row.get("labels", {}) for row in rows_of(parsed)]
    wanted = [dict(zip(("user", "a", "b"), record, strict=True)) for record in records]
    nothing = ("", "-")
    assert found == [
        {name: "" if value == "-" else value for name, value in one.items() if name == "user" or value not in nothing} for one in wanted
    ]


_pieces = st.sampled_from(["time,ip", '"time","ip"', "ip,time,x", "time,ip,ip", "a,b", "1,h", '1,"h"', "h,1,v", '1,"', "time,user", ",,"])


@given(before=st.lists(_pieces, max_size=8), after=st.lists(_pieces, min_size=1, max_size=8))
def test_a_state_stands_for_the_lines_before(before: list[str], after: list[str]) -> None:
    whole = formats.parse(CSV, lines_of(*before, *after))
    first = formats.parse(CSV, lines_of(*before))
    second = formats.parse(CSV, lines_of(*after), first.state)
    assert rows_of(first) + rows_of(second) == rows_of(whole)
    assert [*first.reasons, *second.reasons] == whole.reasons
    assert [*first.eventless, *(second.eventless + len(before))] == whole.eventless.tolist()
    assert second.state == whole.state == CSV.skim(lines_of(*after), CSV.skim(lines_of(*before)))


def test_it_is_stateful() -> None:
    assert isinstance(CSV, Stateful)
    assert formats.is_stateful(TSV)
