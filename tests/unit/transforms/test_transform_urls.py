"""Request targets of every form, taken apart without loss."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.urls import Urls

PARTS = ("url_scheme", "url_domain", "url_port", "url_path", "url_query")


def split(target: str | None, method: str = "GET", **given: object) -> tuple[object, ...]:
    types = {"url_port": pa.int32()}
    own = {name: pa.array([value], types.get(name, pa.string())) for name, value in given.items()}
    columns = {"url_original": pa.array([target], pa.string()), "http_request_method": pa.array([method]), **own}
    (row,) = Urls().apply(pa.RecordBatch.from_pydict(columns)).to_pylist()
    assert "url_original" not in row
    return tuple(row[name] for name in PARTS)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, (None, None, None, None, None)),
        ("", (None, None, None, "", None)),
        ("*", (None, None, None, "*", None)),
        ("/", (None, None, None, "/", None)),
        ("/a/b?c=d?e#f", (None, None, None, "/a/b", "c=d?e#f")),
        ("/a?", (None, None, None, "/a", "")),
        ("//host/path", (None, None, None, "//host/path", None)),
        ("/to/http://other/x?y", (None, None, None, "/to/http://other/x", "y")),
        ("http://Host.example:8080/x?y=1", ("http", "Host.example", 8080, "/x", "y=1")),
        ("HTTPS://h", ("HTTPS", "h", None, None, None)),
        ("http://h:/", ("http", "h", None, "/", None)),
        ("http://h:00443/", ("http", "h", 443, "/", None)),
        ("http://h?x", ("http", "h", None, "", "x")),
        ("http://[2001:db8::1]:99/", ("http", "[2001:db8::1]", 99, "/", None)),
        ("http://user:pass@word@h/x", ("http", "h", None, "/x", None)),
        ("http://h:65535/", ("http", "h", 65535, "/", None)),
        ("http://h:65536/", (None, None, None, "http://h:65536/", None)),
        ("http:///x", (None, None, None, "http:///x", None)),
        ("h.example:443", (None, None, None, "h.example:443", None)),
    ],
)
def test_forms_of_target(target: str | None, expected: tuple[object, ...]) -> None:
    assert split(target) == expected


def test_connect_names_host_and_port() -> None:
    assert split("h.example:443", "CONNECT") == (None, "h.example", 443, None, None)
    assert split("u:p@[::1]:443", "connect") == (None, "[::1]", 443, None, None)
    assert split("/not-an-authority", "CONNECT") == (None, None, None, "/not-an-authority", None)


def test_what_the_log_says_stays() -> None:
    assert split("/x", url_domain="v.example", url_port=8443) == (None, "v.example", 8443, "/x", None)
    assert split("http://V.example/x", url_domain="v.example", url_port=80) == ("http", "v.example", 80, "/x", None)
    assert split("/a?b", url_path="/own", url_query=None) == (None, None, None, "/own", "b")


def test_a_url_for_another_host_than_the_logs_stays_whole() -> None:
    assert split("http://evil.example/x?y", url_domain="v.example") == (None, "v.example", None, "http://evil.example/x", "y")
    assert split("http://v.example:81/x", url_port=80) == (None, None, 80, "http://v.example:81/x", None)


def test_a_batch_without_targets_is_left_alone() -> None:
    batch = pa.RecordBatch.from_pydict({"url_path": ["/x"]})
    assert Urls().apply(batch) is batch


@given(st.lists(st.one_of(st.none(), st.text(), st.from_regex(r"(?s)(https?://)?[a-z.:\[\]@]*[/?#]?.*", fullmatch=True)), max_size=8))
def test_no_character_is_lost(targets: list[str | None]) -> None:
    batch = pa.RecordBatch.from_pydict({"url_original": pa.array(targets, pa.string())})
    rows = Urls().apply(batch).to_pylist()
    assert len(rows) == len(targets)
    for target, row in zip(targets, rows, strict=True):
        if target is None:
            assert set(row.values()) == {None}
            continue
        tail = (row["url_path"] or "") + ("" if row["url_query"] is None else "?" + row["url_query"])
        assert target.endswith(tail)
        if row["url_domain"] is None:
            assert target == tail
        else:
            assert row["url_domain"] in target.removesuffix(tail)
