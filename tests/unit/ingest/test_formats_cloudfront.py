"""CloudFront's standard logs: real lines, what is decoded and what is not, and how they are told from other W3C logs."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import formats
from ingest.formats.base import FormatOptions
from ingest.formats.cloudfront import CLOUDFRONT, FIELDS
from ingest.lines import Lines

REAL = Path(__file__).parents[2] / "data" / "conformance" / "crowdsec-hub" / "aws-cloudfront-logs" / "aws-cloudfront-logs.log"


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def row(*texts: str) -> dict[str, Any]:
    """What is not null of the only row, labels as a dictionary."""
    parsed = formats.parse(CLOUDFRONT, lines_of(*texts))
    assert parsed.reasons == []
    (found,) = parsed.rows.to_pylist()
    return {name: value for name, value in found.items() if value is not None} | {"labels": json.loads(found["labels"] or "{}")}


def of(field: str, value: str) -> dict[str, Any]:
    return row(f"#Fields: date time x-edge-location {field}", f"2015-05-17\t10:05:03\t-\t{value}")


def test_real_lines_without_a_header() -> None:
    texts = REAL.read_text().splitlines()
    parsed = formats.parse(CLOUDFRONT, lines_of(*texts))
    assert (parsed.numbers.tolist(), parsed.reasons) == ([0, 1], [])
    assert row(texts[0]) == {
        "event_time": dt.datetime(2024, 3, 12, 15, 22, 28, tzinfo=dt.UTC),
        "source_address": "1.2.3.4",
        "source_port": 51754,
        "http_request_method": "GET",
        "http_request_id": "375WZmnR4hhhnlZKNn0D_LvkWhAqvWvBsUqySq8f_GOoAPP3k8R8fw==",
        "http_version": "2.0",
        "http_response_status_code": 400,
        "http_response_body_bytes": 703,
        "url_scheme": "https",
        "url_domain": "hub-cdn.crowdsec.net",
        "url_path": "/testseb",
        "url_query": "query_param=42",
        "user_agent_original": "curl/7.81.0",
        "event_duration": 113_000_000,
        "labels": {
            "x_edge_location": "CDG50-P2",
            "cs_host": "d6rcaj0q1hys9.cloudfront.net",
            "x_edge_result_type": "Error",
            "cs_bytes": "62",
            "ssl_protocol": "TLSv1.3",
            "ssl_cipher": "TLS_AES_128_GCM_SHA256",
            "x_edge_response_result_type": "Error",
            "time_to_first_byte": "0.113",
            "x_edge_detailed_result_type": "Error",
            "sc_content_type": "text/plain;%20charset=utf-8",
            "sc_content_len": "20",
        },
    }


def test_there_are_33_standard_fields() -> None:
    assert len(set(FIELDS)) == 33


@pytest.mark.parametrize(
    ("logged", "agent"),
    [
        ("Mozilla/5.0%20(X11;%20Linux)", "Mozilla/5.0 (X11; Linux)"),
        ("Mozilla/5.0%2520(X11;%2520Linux)", "Mozilla/5.0 (X11; Linux)"),
        ("My%2520App/1%20CFNetwork", "My%20App/1 CFNetwork"),
        ("a%22b%5C%7B", 'a"b\\{'),
        ("caf%C3%A9%20x", "café x"),
        ("%1B[31m%0Aforged", "%1B[31m%0Aforged"),
        ("a%09b%7F", "a%09b%7F"),
        ("%C2%85%20x", "%C2%85 x"),
        ("%E2%80%AE", "%E2%80%AE"),
        ("%00", "%00"),
        ("%FF%20x%C3", "%FF x%C3"),
        ("100%", "100%"),
        ("%zz%2", "%zz%2"),
        ("%2500", "%00"),
        ("%250A%20", "%0A "),
        ("a+b", "a+b"),
        ("-", None),
    ],
)
def test_escapes_are_decoded_once_and_controls_never(logged: str, agent: str | None) -> None:
    assert of("cs(User-Agent)", logged).get("user_agent_original") == agent


def test_what_else_is_decoded_and_what_is_not() -> None:
    assert of("cs(Referer)", "http://h/%20%2520")["http_request_referrer"] == "http://h/ %20"
    assert of("x-host-header", "h%C3%A9:8080")["url_domain"] == "hé"
    assert of("x-host-header", "h:8080")["url_port"] == 8080
    assert of("cs-uri-stem", "/a%20b")["url_path"] == "/a%20b"
    assert of("cs-uri-query", "a=%2520")["url_query"] == "a=%2520"
    found = of("x-forwarded-for", "1.1.1.1,%202.2.2.2")
    assert (found["forwarded_for"], found["labels"]) == ("1.1.1.1, 2.2.2.2", {"x_forwarded_for": "1.1.1.1,%202.2.2.2"})


def test_the_distribution_serves_where_the_viewer_named_no_host() -> None:
    assert of("cs(Host)", "d1.cloudfront.net")["url_domain"] == "d1.cloudfront.net"


def test_no_answer_and_whole_seconds() -> None:
    assert of("sc-status", "000")["labels"] == {"sc_status": "000"}
    assert of("time-taken", "2")["event_duration"] == 2_000_000_000


def test_quotes_and_blanks_are_text() -> None:
    assert of("cs-uri-stem", '"a b')["url_path"] == '"a b'
    assert of("cs-uri-stem", "")["labels"] == {}


def test_times_are_utc_in_every_zone() -> None:
    assert CLOUDFRONT.configured(FormatOptions(zone="Europe/Berlin")) is CLOUDFRONT


def test_times_of_the_newer_logs() -> None:
    assert (
        row("#Fields: timestamp(ms) x-edge-location", "1431857103250\tFRA")["event_time"].isoformat() == "2015-05-17T10:05:03.250000+00:00"
    )


def test_another_programs_fields_are_not_its_own() -> None:
    texts = ("#Fields: date time c-ip", "2015-05-17\t10:05:03\t::1")
    assert formats.parse(CLOUDFRONT, lines_of(*texts)).reasons == ["it looks like format w3c"]
    sample = CLOUDFRONT.sample.split("\n")
    assert formats.parse(formats.get("w3c"), lines_of(*sample)).reasons == ["it looks like format cloudfront"]
    assert formats.parse(formats.get("tsv"), lines_of(*sample)).reasons == ["no header line before"] * 3


@pytest.mark.parametrize("line", ["2015-05-17\t10:05:03", "2015-05-17 10:05:03 -", "\t" * 40, "x"])
def test_lines_of_other_fields_are_rejected(line: str) -> None:
    assert formats.parse(CLOUDFRONT, lines_of(line)).reasons == ["not as many fields as #Fields: names"]


def test_detection_tells_it() -> None:
    assert formats.detect(lines_of(*CLOUDFRONT.sample.split("\n"))).name == "cloudfront"
    assert formats.detect(lines_of(*REAL.read_text().splitlines())).name == "cloudfront"


@given(agents=st.lists(st.text(st.sampled_from('%2502%0A%1bé \\"x'), min_size=1, max_size=12), min_size=1, max_size=6))
def test_agents_hold_no_control_character(agents: list[str]) -> None:
    texts = [f"2015-05-17\t10:05:03\t-\t{agent}" for agent in agents]
    parsed = formats.parse(CLOUDFRONT, lines_of("#Fields: date time x-edge-location cs(User-Agent)", *texts))
    assert len(parsed.numbers) == len(agents)
    assert all(agent is None or agent.isprintable() for agent in parsed.rows["user_agent_original"].to_pylist())
