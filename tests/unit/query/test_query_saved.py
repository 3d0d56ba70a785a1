"""Saved queries as files: what a file must be, how values get into the statement, and what every shipped one promises."""

import datetime as dt
import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from core.schema import COLUMNS
from query import saved
from query.days import possible_days
from query.gate import examine
from query.lake import LakeView, open_lake
from query.literals import TYPES, literal
from query.needs import EVERY_COLUMN
from query.run import run
from query.saved import SavedQuery, every, find, read
from tests.unit.query.asked import NOW
from tools import queries as queries_page

SHIPPED = every()
ASKED_FOR = """
admin_out_of_hours egress_outliers failed_login_bursts false_browsers first_seen_countries first_seen_devices impossible_travel
injection_patterns password_spraying path_scanners rare_agents session_spread error_spikes subject_timeline token_reuse top_networks
"""
OWN = """\
-- own
-- Rows of a user.
--
-- More of it.
--
-- $who text: the user; or nobody
-- $least integer = 3: at least
-- $words text = 'it''s: a (b|c)': a pattern
SELECT user_name, '$who', "$who" -- $who: a comment
FROM requests WHERE user_name = $who AND ingest_row >= $least AND url_path <> $words;
"""


def own(folder: Path, text: str, name: str = "own") -> Path:
    path = folder / f"{name}.sql"
    path.write_text(text, encoding="utf-8")
    return path


def filled(query: SavedQuery) -> str:
    return query.statement({parameter.name: "x" for parameter in query.parameters if parameter.default is None})


# ------------------------------------------------------------------------------------------------------ those that come


def test_what_was_asked_for_is_there() -> None:
    assert set(ASKED_FOR.split()) <= set(SHIPPED)
    assert len(SHIPPED) >= 15
    assert list(SHIPPED) == sorted(SHIPPED)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A view of nothing, with the clock's macros."""
    connection = open_lake(LakeView(now=NOW, temp_dir=tmp_path_factory.mktemp("spill")))
    yield connection
    connection.close()


@pytest.mark.parametrize("query", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_query_passes_the_gate_and_meets_few_days(query: SavedQuery, empty: duckdb.DuckDBPyConnection) -> None:
    statement = examine(filled(query))
    assert statement.columns, "it reads the view"
    assert statement.columns < EVERY_COLUMN, "and names its columns, so that no others are joined"
    days = [NOW.date() - dt.timedelta(days=number) for number in range(-3, 400)]
    back = max([2, *(int(p.default.split()[0]) + 1 for p in query.parameters if p.default and p.default.endswith("days"))])
    met = possible_days(empty, statement.days, days)
    assert max(met) == NOW.date(), "no day after the present"
    assert NOW.date() - min(met) <= dt.timedelta(days=back), "no day before what it looks back"
    assert {NOW.date(), NOW.date() - dt.timedelta(days=1)} <= met
    earlier = examine(query.statement({**{p.name: "x" for p in query.parameters if p.default is None}, "until": "2026-01-15T00:00:00Z"}))
    assert max(possible_days(empty, earlier.days, days)) == dt.date(2026, 1, 15)


@pytest.mark.parametrize("query", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_query_runs_on_nothing(query: SavedQuery, tmp_path: Path) -> None:
    with run(LakeView(now=NOW, temp_dir=tmp_path), filled(query)) as result:
        assert [batch for batch in result.batches() if batch.num_rows] == []
        assert len(result.schema.names) > 4
        assert not any(re.search(r"\W|_\d$", name) for name in result.schema.names), "every column has a name of its own"


@pytest.mark.parametrize("query", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_query_runs_on_the_test_lake(query: SavedQuery, view: LakeView) -> None:
    """Hot days and an Iceberg table; the window reaches back to all of it."""
    longest = {"window": "60 days", **{p.name: "90 days" for p in query.parameters if p.name in ("history", "baseline")}}
    needed = {p.name: "marker-of-a-person" for p in query.parameters if p.default is None}
    with run(view, query.statement({**longest, **needed})) as result:
        rows = sum(batch.num_rows for batch in result.batches())
    assert rows == {"subject_timeline": 5}.get(query.name, rows)


@pytest.mark.parametrize("query", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_query_has_window_present_and_a_sentence(query: SavedQuery) -> None:
    kinds = {parameter.name: (parameter.kind, parameter.default) for parameter in query.parameters}
    assert kinds["window"] == ("interval", "24 hours")
    assert kinds["until"] == ("timestamp", "now")
    assert query.summary.endswith(".")
    assert all(not parameter.meaning.endswith(".") for parameter in query.parameters)
    used = {column.name for column in COLUMNS if re.search(rf"\b{column.name}\b", query.body)}
    assert examine(filled(query)).columns == frozenset(used)


# --------------------------------------------------------------------------------------------------------------- a file


def test_a_file_is_read(tmp_path: Path) -> None:
    query = read(own(tmp_path, OWN), own=True)
    assert (query.name, query.summary, query.details, query.own) == ("own", "Rows of a user.", "More of it.", True)
    assert [(p.name, p.kind, p.default, p.meaning) for p in query.parameters] == [
        ("who", "text", None, "the user; or nobody"),
        ("least", "integer", "3", "at least"),
        ("words", "text", "it's: a (b|c)", "a pattern"),
    ]
    assert query.statement({"who": "$least"}) == (
        "SELECT user_name, '$who', \"$who\" -- $who: a comment\n"
        "FROM requests WHERE user_name = '$least' AND ingest_row >= (3) AND url_path <> 'it''s: a (b|c)'"
    )


def test_own_queries_are_added_and_go_before(tmp_path: Path) -> None:
    own(tmp_path, OWN)
    own(tmp_path, "-- top_networks\n-- Mine.\nSELECT 1", "top_networks")
    own(tmp_path, "no query", ".hidden")
    (tmp_path / "notes.txt").write_text("no query")
    known = every(str(tmp_path))
    assert set(known) == {*SHIPPED, "own"}
    assert (known["top_networks"].summary, known["top_networks"].own) == ("Mine.", True)
    assert known["path_scanners"].own is False
    assert find("own", str(tmp_path)).name == "own"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT 1", "does not begin with its name and what it answers; begin it with -- own"),
        ("-- other\n-- Sentence.\nSELECT 1", "does not begin with its name"),
        ("-- own\nSELECT 1", "does not begin with its name"),
        ("-- own\n-- $x integer = 1: a\nSELECT $x", "does not begin with its name"),
        ("-- own\n-- S.\n-- $x number\nSELECT $x", "line 3: '$x number' is no parameter; write -- $name text|integer"),
        ("-- own\n-- S.\n-- $x blob: a\nSELECT $x", "is no parameter"),
        ("-- own\n-- S.\n-- $x integer = many: a\nSELECT $x", "line 3: the default of x is 'many', which is not of type integer"),
        ("-- own\n-- S.\n-- $x integer = 1: a\nSELECT 1", r"$x must stand once in the header and be used below"),
        ("-- own\n-- S.\n-- $x text: a\n-- $x text: b\nSELECT $x", r"$x must stand once in the header"),
        ("-- own\n-- S.\nSELECT $y", r"$y must stand once"),
        ("-- own\n-- S.\n-- $x text: a\nSELECT '$x'", r"$x must stand once"),
        ("-- own\n-- S.\n-- $x text: a\nSELECT E'\\'$x'", "E' is not allowed in a saved query; write plain quotes"),
        ("-- own\n-- S.\n-- $x text: a\nSELECT $t$ ' $t$, $x", "$t$ is not allowed"),
        ("-- own\n-- S.\n-- $x text: a\nSELECT /* ' */ $x", "/* is not allowed"),
        ("-- own\n-- S.\n" + "x" * 100_001, "is longer than 100000 characters"),
    ],
)
def test_what_is_no_saved_query(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        read(own(tmp_path, text))
    assert str(tmp_path / "own.sql") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"folder of saved queries .*/none cannot be read: No such file.*; mend \[query\] saved"):
        every(str(tmp_path / "none"))
    (tmp_path / "own.sql").write_bytes(b"-- own\n-- \xff\nSELECT 1")
    with pytest.raises(UsageError, match="cannot be read: it is not UTF-8"):
        every(str(tmp_path))
    (tmp_path / "own.sql").unlink()
    (tmp_path / "own.sql").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        every(str(tmp_path))


def test_names_and_values_that_are_wrong(tmp_path: Path) -> None:
    query = read(own(tmp_path, OWN))
    for values, why in (
        ({"who": "a", "lest": "1"}, "query own has no parameter 'lest'; use least"),
        ({"who": "a", "zzz": "1"}, "query own has no parameter 'zzz'; it takes who, least, words"),
        ({}, "query own needs who: the user; or nobody; write -p who=…"),
        (
            {"who": "a", "least": "1 OR true"},
            "parameter least of query own is '1 OR true', which is not of type integer; write a whole number",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            query.statement(values)
        assert str(caught.value).startswith(why)
    with pytest.raises(UsageError, match=r"no saved query 'failed_logins'; use failed_login_bursts"):
        find("failed_logins")
    with pytest.raises(UsageError, match=r"no saved query 'qqqq'; see auditlake queries list"):
        find("qqqq")
    with pytest.raises(UsageError, match="has no parameter 'x'; it takes none"):
        read(own(tmp_path, "-- own\n-- S.\nSELECT 1")).statement({"x": "1"})


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("text", "it's", "'it''s'"),
        ("text", " a ", "' a '"),
        ("text", "", "''"),
        ("integer", " 042 ", "(42)"),
        ("integer", "-5", "(-5)"),
        ("number", "0.5", "(0.5)::DOUBLE"),
        ("number", "-1e3", "(-1000.0)::DOUBLE"),
        ("interval", "24 hours", "INTERVAL '24 hour'"),
        ("interval", "90min", "INTERVAL '90 minute'"),
        ("interval", "7d", "INTERVAL '7 day'"),
        ("interval", "2 Weeks", "INTERVAL '2 week'"),
        ("interval", "1 month", "INTERVAL '1 month'"),
        ("timestamp", "NOW", "lake_now()"),
        ("timestamp", "2015-05-20", "TIMESTAMPTZ '2015-05-20 00:00:00+00:00'"),
        ("timestamp", "2015-05-20T02:00:00+02:00", "TIMESTAMPTZ '2015-05-20 00:00:00+00:00'"),
    ],
)
def test_literals(kind: str, value: str, made: str) -> None:
    assert literal(kind, value, "it") == made
    assert examine(f"SELECT {made} FROM requests").columns == frozenset()


HOSTILE = [
    "1; DROP VIEW requests",
    "1)--",
    "1 OR 1=1",
    "'",
    "''",
    "1'",
    "now()",
    "١٢",
    "1e999",
    "nan",
    "0x10",
    "1_000",
    "\0",
    "\ud800",
    "1\n2",
    "$x",
]


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "text"])
@pytest.mark.parametrize("value", HOSTILE)
def test_what_is_not_of_a_type_never_gets_into_a_statement(kind: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"which is not of type {kind}; write a") as caught:
        literal(kind, value, "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["\0", "a\ud800b"])
def test_broken_text_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="which is not of type text; write UTF-8 text"):
        literal("text", value, "it")


@functools.cache
def plain_duckdb() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_a_text_arrives_as_it_is(value: str) -> None:
    """DuckDB reads from the literal exactly the text that went in, whatever it holds; and nothing else becomes of the statement."""
    sql = f"SELECT {literal('text', value, 'it')}"
    connection = plain_duckdb()
    assert connection.execute(sql).fetchall() == [(value,)]
    tree = json.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0])
    (statement,) = tree["statements"]
    assert [part["class"] for part in statement["node"]["select_list"]] == ["CONSTANT"]


@pytest.mark.parametrize(
    "value", ["' OR true --", "'; DROP VIEW requests; --", "\\' OR 1=1 --", "$window", "*/ '", "'||user_name||'", "x" * 5000]
)
def test_hostile_text_is_a_text(view: LakeView, value: str) -> None:
    query = find("subject_timeline")
    with run(view, query.statement({"subject": value, "window": "1 year"})) as result:
        assert [batch.num_rows for batch in result.batches() if batch.num_rows] == []
    with run(view, query.statement({"subject": "marker-of-a-person", "window": "1 year"})) as result:
        assert sum(batch.num_rows for batch in result.batches()) == 5


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("subject_timeline", {"subject": "x" * 100_000}, "too long"),
        ("subject_timeline", {"subject": "x", "window": "999999 years"}, "cannot be run: "),
        ("failed_login_bursts", {"login": "(unclosed"}, "cannot be run: Invalid Input Error: missing )"),
        ("admin_out_of_hours", {"zone": "Nowhere/Land", "paths": "."}, "cannot be run: "),
        ("token_reuse", {"token": "$.["}, "cannot be run: "),
    ],
)
def test_values_that_no_query_can_take_are_an_error_of_one_line(view: LakeView, name: str, values: dict[str, str], why: str) -> None:
    statement = find(name).statement({"until": "2015-05-20", "window": "30 days", **values})
    with pytest.raises(UsageError, match=re.escape(why)) as caught, run(view, statement) as result:
        list(result.batches())
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- the page


def test_queries_md_is_current(root: Path, tmp_path: Path) -> None:
    page = (root / "docs" / "queries.md").read_text(encoding="utf-8")
    assert page == queries_page.document(), "run: python -m tools.queries > docs/queries.md"
    (example,) = re.findall(r"(?ms)^```sql\n(.*?)^```$", page)
    query = read(own(tmp_path, example, "many_errors"))
    assert examine(query.statement({"least": "3"})).days


def test_the_docstring_shows_a_saved_query(tmp_path: Path) -> None:
    example = "\n".join(line.removeprefix("    ") for line in str(saved.__doc__).splitlines() if line.startswith("    "))
    assert examine(read(own(tmp_path, example, "many_errors")).statement({"least": "3"})).days


def test_the_files_are_package_data(root: Path) -> None:
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["query"]
    assert {path.stem for pattern in data for path in (root / "query").glob(pattern)} == set(SHIPPED)
