"""Selectors: their normal form, what each matches, and that SQL and Arrow say the same of the same rows."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from core.clock import UTC
from core.errors import UsageError
from core.schema import COLUMNS, stored_schema
from core.subject import Selector, Subject, selector
from storage import extensions

NOON = dt.datetime(2026, 1, 30, 12, tzinfo=UTC)
HOUR = dt.timedelta(hours=1)


def rows_of(*rows: dict[str, Any]) -> pa.Table:
    required = {"event_time": NOON, "event_day": NOON.date(), "ingest_batch": "b", "ingest_row": 0}
    filled = [required | row for row in rows]
    return pa.table([pa.array([row.get(c.name) for row in filled], c.type) for c in COLUMNS], schema=stored_schema())


def matched(subject: Subject, table: pa.Table) -> list[bool]:
    """What both ways to ask say, which must be the same; also when texts are dictionaries."""
    condition, values = subject.condition()
    with extensions.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", table)
        by_sql = [row[0] for row in connection.execute(f"SELECT {condition} FROM given", values).fetchall()]
    by_arrow: list[bool] = subject.mask(table).to_pylist()
    coded = table
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            coded = coded.set_column(number, field.name, coded[field.name].dictionary_encode())
    assert by_sql == by_arrow == subject.mask(coded).to_pylist()
    return by_arrow


def one(kind: str, value: str, since: dt.datetime | None = None, until: dt.datetime | None = None) -> Subject:
    return Subject.of([selector(kind, value, since, until)])


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("source_ip", "::ffff:10.0.0.1", "10.0.0.1"),
        ("source_ip", "[2001:DB8:0:0:0:0:0:7]", "2001:db8::7"),
        ("source_ip", " 10.0.0.1 ", "10.0.0.1"),
        ("email", "Alice@Example.ORG", "alice@example.org"),
        ("user_name", " Alice ", " Alice "),
    ],
)
def test_a_value_has_one_normal_form(kind: str, given: str, kept: str) -> None:
    assert selector(kind, given) == Selector(kind, kept)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("source_ip", "10.0.0.256"),
        ("source_ip", "10.0.0.01"),
        ("source_ip", "host"),
        ("email", "alice"),
        ("email", "a b@c"),
        ("user_name", ""),
        ("user_name", "a\0b"),
        ("name", "alice"),
    ],
)
def test_what_is_no_value_is_refused(kind: str, value: str) -> None:
    with pytest.raises(UsageError):
        selector(kind, value)


def test_times_go_with_addresses_and_in_order() -> None:
    with pytest.raises(UsageError, match="has no times"):
        selector("user_name", "alice", NOON)
    with pytest.raises(UsageError, match="before it begins"):
        selector("source_ip", "10.0.0.1", NOON, NOON)
    with pytest.raises(UsageError, match="nobody"):
        Subject.of([])


def test_a_user_is_matched_whole() -> None:
    table = rows_of(*({"user_name": name} for name in ("alice", "alice2", "Alice", "malice", None)), {"account_id": "alice"})
    assert matched(one("user_name", "alice"), table) == [True, False, False, False, False, False]
    assert matched(one("account_id", "alice"), table) == [False] * 5 + [True]


def test_an_address_is_matched_by_value_and_time() -> None:
    table = rows_of(
        {"source_ip": "10.0.0.1"},
        {"source_ip": "10.0.0.10"},
        {"source_address": "10.0.0.1"},
        {"source_ip": "10.0.0.1", "event_time": NOON - HOUR},
        {"source_ip": "10.0.0.1", "event_time": NOON + HOUR},
        {"labels": '{"forwarded_for":"10.0.0.1, 10.0.0.2"}'},
        {"labels": '{"forwarded_for":"10.0.0.10, 110.0.0.1"}'},
        {"user_agent_original": "Chrome/10.0.0.1"},
    )
    assert matched(one("source_ip", "::ffff:a00:1"), table) == [True, False, True, True, True, True, False, False]
    assert matched(one("source_ip", "10.0.0.1", NOON, NOON + HOUR), table) == [True, False, True, False, False, True, False, False]


def test_an_email_is_matched_as_user_account_or_word() -> None:
    table = rows_of(
        {"user_name": "Alice@example.org"},
        {"account_id": "alice@example.org"},
        {"url_query": "to=alice%40Example.org&x=1"},
        {"http_request_referrer": "https://x.example/?m=alice@example.org"},
        {"labels": '{"mail":"alice@example.org"}'},
        {"url_query": "to=malice%40example.org"},
        {"url_query": "to=alice@example.org.uk"},
        {"user_name": "alice"},
    )
    assert matched(one("email", "ALICE@example.org"), table) == [True] * 5 + [False] * 3


def test_a_label_that_is_the_value_belongs_and_a_word_only_mentions() -> None:
    table = rows_of(
        {"labels": '{"owner":"alice"}'},
        {"labels": '{"owner":"alice b"}'},
        {"url_path": "/u/alice/x", "user_name": "bob"},
        {"url_path": "/u/alice-b"},
    )
    person = one("user_name", "alice")
    assert matched(person, table) == [True, False, False, False]
    assert person.mentions(table).to_pylist() == [True, True, True, False]
    assert matched(Subject.of(person.selectors, mentioned=True), table) == [True, True, True, False]


def test_any_selector_is_enough() -> None:
    table = rows_of({"user_name": "alice"}, {"source_ip": "10.0.0.1"}, {"user_name": "bob"})
    assert matched(Subject.of([selector("user_name", "alice"), selector("source_ip", "10.0.0.1")]), table) == [True, True, False]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"10.0.0.1 - - [x]", True),
        (b"client=10.0.0.1:443", True),
        (b"for=::ffff:10.0.0.1;", True),
        (b"\xff\xfe 10.0.0.1 \xff", True),
        (b"10.0.0.10 - -", False),
        (b"110.0.0.1 - -", False),
        (b"10.0.0.1.example", False),
        (b"1.10.0.0.1", False),
    ],
)
def test_lines_are_searched_for_words(line: bytes, named: bool) -> None:
    assert one("source_ip", "10.0.0.1").named_in(pa.array([line], pa.binary())).to_pylist() == [named]


@pytest.mark.parametrize("text", ["2001:db8::7", "2001:DB8:0:0:0:0:0:7 x", "[2001:0db8:0000:0000:0000:0000:0000:0007]:80"])
def test_an_ipv6_address_is_found_in_any_spelling(text: str) -> None:
    assert one("source_ip", "2001:db8::7").is_named_in(text)
    assert not one("source_ip", "2001:db8::7").is_named_in("2001:db8::70")
    assert not one("source_ip", "2001:db8::7").is_named_in("1:2001:db8::7")


def test_signs_that_mean_something_in_patterns_mean_themselves() -> None:
    for name in ("a.b", "a+b", "(x)", "a|b", "[a]", "a\\b", "$a", "ä.ö"):
        assert one("user_name", name).is_named_in(f'x "{name}" y'), name
    assert not one("user_name", "a.b").is_named_in("axb")


def test_lines_of_before_the_time_of_an_address_are_not_of_the_subject() -> None:
    lines, arrived = pa.array([b"10.0.0.1", b"10.0.0.1"], pa.binary()), pa.array([NOON - HOUR, NOON], pa.timestamp("us", tz="UTC"))
    assert one("source_ip", "10.0.0.1", NOON).named_in(lines, arrived).to_pylist() == [False, True]


def test_a_subject_survives_being_written_down() -> None:
    person = Subject.of([selector("source_ip", "10.0.0.1", NOON, NOON + HOUR), selector("email", "a@b.c"), selector("email", "a@b.c")])
    assert Subject.from_json(person.as_json()) == person
    assert len(person.selectors) == 2
    assert matched(person.until(NOON), rows_of({"source_ip": "10.0.0.1"}, {"user_name": "a@b.c"})) == [False, False]
    assert person.at_any_time().selectors[0].since is None
