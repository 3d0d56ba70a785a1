"""What a statement needs of the view: told from its tree, and never too little."""

import datetime as dt
from dataclasses import replace

import pyarrow as pa
import pytest

from core.schema import COLUMNS
from query.gate import examine
from query.lake import LakeView, open_lake
from query.needs import EVERY_COLUMN
from query.run import run

DAYS = [dt.date(2015, 5, day) for day in range(15, 22)]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT 1", None),
        ("WITH w AS (SELECT 1 AS source_ip) SELECT source_ip FROM w", None),
        ("SELECT count(*) FROM requests", set()),
        ("SELECT Source_IP, count(*) AS n FROM requests GROUP BY ALL ORDER BY n", {"source_ip"}),
        (
            "SELECT r.source_ip FROM requests AS r WHERE requests.url_path = 'x' OR r.http_version = ''",
            {"source_ip", "url_path", "http_version"},
        ),
        ("WITH w AS (SELECT url_path AS p FROM requests) SELECT p FROM w", {"url_path"}),
        ("SELECT count(*) FROM requests JOIN (SELECT 'x' AS user_name) AS other USING (user_name)", {"user_name"}),
        ("SELECT current_date - event_day FROM requests", {"event_day"}),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM requests WHERE event_day = DATE '2015-05-17')", {"event_day"}),
    ],
)
def test_the_columns_that_are_named(sql: str, columns: set[str] | None) -> None:
    assert examine(sql).columns == columns


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM requests",
        "FROM requests",
        "SELECT count(COLUMNS('source_.*')) FROM requests",
        "SELECT requests FROM requests",
        "SELECT r FROM requests AS r",
        "SELECT (r).source_ip FROM requests AS r",
        "SELECT #2 FROM requests",
        "SELECT a FROM requests AS r(a)",
        "SELECT count(*) FROM requests NATURAL JOIN (SELECT 'x' AS user_name)",
        "DESCRIBE requests",
        "SUMMARIZE requests",
        "SELECT no_such_column FROM requests",
        "PIVOT requests ON http_version IN ('1.1') USING count(*)",
        "SELECT list_transform([1], lambda x: x + 1) FROM requests",
    ],
)
def test_whatever_may_stand_for_all_columns_asks_for_all(sql: str) -> None:
    assert examine(sql).columns == EVERY_COLUMN


def _possible(view: LakeView, where: str) -> list[int]:
    """Days of May that are left when days are told from a WHERE."""
    from query.days import possible_days

    with open_lake(replace(view, hot=(), archive=None)) as connection:
        return sorted(day.day for day in possible_days(connection, examine(f"SELECT 1 FROM requests {where}").days, DAYS))


@pytest.mark.parametrize(
    ("where", "days"),
    [
        ("WHERE event_time >= '2015-05-19'", [19, 20, 21]),
        ("WHERE '2015-05-19 23:59:59.999999+00' <= event_time", [19, 20, 21]),
        ("WHERE event_time > '2015-05-19 23:59:59.999999+00'", [20, 21]),
        ("WHERE event_time < TIMESTAMPTZ '2015-05-17 00:00:00+00'", [15, 16]),
        ("WHERE event_time <= TIMESTAMPTZ '2015-05-17 00:00:00+00'", [15, 16, 17]),
        ("WHERE event_time = '2015-05-17 12:00:00+02'", [17]),
        ("AS r WHERE r.event_time BETWEEN '2015-05-17' AND '2015-05-18 01:00:00' AND status_is_not_looked_at", [17, 18]),
        ("WHERE event_day = DATE '2015-05-16'", [16]),
        ("WHERE event_day >= '2015-05-20' AND http_version = '1.1'", [20, 21]),
        ("WHERE event_day < DATE '2015-05-18' - 2", [15]),
        ("WHERE event_day = '2015-05-01'", []),
        ("WHERE event_time >= '2015-05-19' AND (event_time < '2015-05-20' OR http_version = '1.1')", [19, 20, 21]),
    ],
)
def test_days_that_a_statement_cannot_meet_are_left_out(view: LakeView, where: str, days: list[int]) -> None:
    assert _possible(view, where) == days


@pytest.mark.parametrize("moment", ["now() - INTERVAL 24 HOURS", "current_timestamp - INTERVAL '1 day'", "ago(INTERVAL 1 DAY)"])
def test_the_present_is_that_of_the_view(view: LakeView, moment: str) -> None:
    later = replace(view, now=dt.datetime(2015, 5, 21, 6, tzinfo=dt.UTC))
    assert _possible(later, f"WHERE event_time >= {moment}") == [20, 21]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM requests WHERE event_time >= '2015-05-19' OR http_version = '1.1'",
        "SELECT 1 FROM requests WHERE NOT (event_time >= '2015-05-19' AND http_version = '1.1')",
        "SELECT url_path AS event_time FROM requests WHERE event_time >= '2015-05-19'",
        "SELECT DATE '2015-05-16' AS current_date FROM requests WHERE event_day = current_date",
        "SELECT 1 FROM requests WHERE event_time::VARCHAR >= '2015-05-19'",
        "SELECT 1 FROM requests WHERE event_time >= event_day",
        "SELECT 1 FROM requests WHERE event_time >= (SELECT TIMESTAMPTZ '2015-05-19')",
        "SELECT 1 FROM requests WHERE event_day >= '2015-05-01'::DATE + random()::INTEGER",
        "SELECT 1 FROM requests WHERE event_time >= 'no time'",
        "SELECT 1 FROM requests TABLESAMPLE 50 PERCENT WHERE event_time >= '2015-05-19'",
        "SELECT count(*) FILTER (event_time >= '2015-05-19') FROM requests",
        "SELECT 1 FROM requests HAVING max(event_time) >= '2015-05-19'",
        "SELECT 1 FROM requests WHERE event_time >= '2015-05-19' UNION ALL SELECT 1 FROM requests",
        "SELECT 1 FROM (SELECT 1) AS one LEFT JOIN requests ON event_time >= '2015-05-19'",
    ],
)
def test_what_is_not_certain_leaves_out_no_day(view: LakeView, sql: str) -> None:
    from query.days import possible_days

    with open_lake(replace(view, hot=(), archive=None)) as connection:
        assert possible_days(connection, examine(sql).days, DAYS) == set(DAYS)


def test_a_day_that_cannot_be_met_is_not_opened(view: LakeView) -> None:
    gone = tuple(file for file in view.hot if file.day > dt.date(2015, 5, 17))
    missing = tuple(replace(file, path=file.path.with_name("gone.duckdb")) for file in view.hot if file not in gone)
    assert gone
    assert missing
    with run(
        replace(view, hot=(*missing, *gone), archive=None), "SELECT min(event_day) AS d FROM requests WHERE event_day > '2015-05-17'"
    ) as result:
        assert pa.Table.from_batches(result.batches())["d"].to_pylist() == [min(file.day for file in gone)]


@pytest.mark.parametrize("column", [column.name for column in COLUMNS])
def test_each_column_alone_is_what_it_is_among_all(view: LakeView, column: str) -> None:
    with open_lake(view) as connection:
        whole = connection.execute(f"SELECT {column}, count(*) AS n FROM requests GROUP BY ALL ORDER BY ALL").to_arrow_table()
    statement = f"SELECT {column}, count(*) AS n FROM requests GROUP BY ALL ORDER BY ALL"
    with run(view, statement) as result:
        assert pa.Table.from_batches(result.batches()) == whole
