"""The gate: what analysts need passes and runs; what is refused is in test_query_escapes."""

import duckdb
import pytest

from core.errors import UsageError
from query.functions import SCALARS, TABLE_FUNCTIONS
from query.gate import check
from query.lake import LakeView
from query.run import run
from storage import extensions

ALLOWED = [
    "SELECT 1",
    "select count(*) from requests;",
    "FROM requests",
    "TABLE requests",
    "FROM REQUESTS SELECT source_ip LIMIT 5",
    'SELECT * FROM "Requests" LIMIT 1 OFFSET 2',
    "SELECT requests.source_ip, r.url_path FROM requests, requests r LIMIT 1",
    "VALUES (1, 'a'), (2, 'b')",
    "DESCRIBE requests",
    "SHOW requests",
    "SUMMARIZE requests",
    "DESCRIBE SELECT source_ip FROM requests",
    "SELECT * FROM (DESCRIBE requests)",
    "WITH a AS (SELECT source_ip FROM requests), b AS (FROM a) SELECT count(*) FROM b JOIN a USING (source_ip)",
    "WITH requests AS (SELECT * FROM requests WHERE http_response_status_code >= 400) SELECT count(*) FROM requests",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t",
    "SELECT * FROM (WITH a AS (SELECT 1 AS x) FROM a) UNION ALL (WITH a AS (SELECT 2 AS x) FROM a)",
    "SELECT source_ip, count(*) AS n FROM requests GROUP BY ALL ORDER BY ALL LIMIT 10",
    "SELECT source_ip, n, rank() OVER (ORDER BY n DESC) FROM (SELECT source_ip, count(*) n FROM requests GROUP BY 1)",
    "SELECT *, row_number() OVER w FROM requests WINDOW w AS (PARTITION BY source_ip ORDER BY event_time) QUALIFY row_number() OVER w = 1",
    "SELECT sum(ingest_row) OVER (ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM requests",
    "SELECT lag(event_time) OVER (PARTITION BY source_ip ORDER BY event_time), first(url_path IGNORE NULLS) OVER () FROM requests",
    "PIVOT requests ON http_request_method IN ('GET', 'POST') USING count(*) GROUP BY event_day",
    "FROM (SELECT ingest_row AS a, ingest_row AS b FROM requests) UNPIVOT (v FOR n IN (a, b))",
    "SELECT regexp_extract(url_path, '/page/(\\d+)', 1), regexp_matches(url_path, 'p.ge'), url_path SIMILAR TO '/.*' FROM requests",
    "SELECT date_trunc('hour', event_time), time_bucket(INTERVAL 15 MINUTE, event_time), extract(dow FROM event_time) FROM requests",
    "SELECT event_time AT TIME ZONE 'Europe/Stockholm', strftime(event_time, '%H'), epoch(event_time) FROM requests",
    "SELECT * FROM requests WHERE event_time > now() - INTERVAL 7 DAYS AND event_day <= current_date",
    "SELECT count(*) FROM requests WHERE event_time BETWEEN TIMESTAMPTZ '2015-05-17 00:00:00Z' AND lake_now()",
    "SELECT list(DISTINCT url_path ORDER BY url_path)[1:3], string_agg(source_ip, ', ' ORDER BY source_ip) FROM requests",
    "SELECT list_transform(list(ingest_row), lambda x: x + 1), [x * 2 FOR x IN [1, 2] IF x > 1] FROM requests",
    "SELECT list_filter([1, 2], x -> x > 1), list_sum(list_value(1, 2)), list_sort([2, 1]) FROM requests",
    "SELECT a.source_ip, count(*) FROM requests a JOIN requests b ON a.source_ip = b.source_ip AND a.event_day < b.event_day GROUP BY 1",
    "SELECT * FROM requests WHERE source_ip NOT IN (SELECT source_ip FROM requests WHERE http_response_status_code = 301)",
    "SELECT * FROM requests r WHERE EXISTS (FROM requests x WHERE x.source_ip = r.source_ip AND x.ingest_row > r.ingest_row)",
    "SELECT source_ip FROM requests UNION SELECT source_address FROM requests EXCEPT SELECT '10.0.0.1'",
    "SELECT source_ip FROM requests UNION ALL BY NAME SELECT url_path FROM requests",
    "SELECT r.source_ip, t.tag FROM requests r, unnest(from_json(r.labels->'tags', '[\"VARCHAR\"]')) t(tag)",
    "SELECT r.ingest_row, e.key FROM requests r, json_each(r.labels) e",
    "SELECT labels->>'$.tier', json_extract_string(labels, '$.tags[0]'), json_keys(labels), labels::JSON FROM requests",
    "SELECT event_day, count(*) FILTER (WHERE http_response_status_code >= 500) AS errors, avg(ingest_row) FROM requests GROUP BY 1",
    "SELECT event_day, source_ip, count(*), grouping(event_day) FROM requests GROUP BY GROUPING SETS ((event_day), (source_ip), ())",
    "SELECT event_day, source_ip, count(*) FROM requests GROUP BY ROLLUP (event_day, source_ip) HAVING count(*) > 1",
    "SELECT CASE WHEN http_response_status_code < 400 THEN 'fine' ELSE 'bad' END AS kind, count(*) FROM requests GROUP BY kind",
    "SELECT * FROM requests WHERE url_path LIKE '/page/1%' OR user_agent_name ILIKE 'fire%' OR url_path GLOB '/page/?'",
    "SELECT split_part(source_ip, '.', 1) || '.*' AS net, count(DISTINCT source_ip) FROM requests GROUP BY net",
    "SELECT quantile_cont(ingest_row, [0.5, 0.99]), percentile_cont(0.5) WITHIN GROUP (ORDER BY ingest_row) FROM requests",
    "SELECT mode(source_ip), arg_max(url_path, event_time), approx_count_distinct(source_ip), histogram(http_request_method) FROM requests",
    "SELECT h, count(r.event_time) FROM generate_series(TIMESTAMPTZ '2015-05-17', TIMESTAMPTZ '2015-05-18', INTERVAL 1 HOUR) g(h)"
    " LEFT JOIN requests r ON date_trunc('hour', r.event_time) = h GROUP BY ALL",
    "SELECT d.range FROM range(10) d POSITIONAL JOIN range(3)",
    "SELECT a.event_time FROM requests a ASOF JOIN requests b ON a.source_ip = b.source_ip AND a.event_time > b.event_time",
    "SELECT COLUMNS('url_.*') FROM requests LIMIT 1",
    "SELECT COLUMNS(c -> c LIKE 'url%') FROM requests LIMIT 1",
    "SELECT * EXCLUDE (labels) REPLACE (upper(url_path) AS url_path) FROM requests LIMIT 1",
    "SELECT coalesce(user_name, '-'), ifnull(user_name, '-'), nullif(user_name, ''), if(true, 1, 2), try(1 // 0) FROM requests",
    "SELECT TRY_CAST(url_path AS INTEGER), url_path::VARCHAR(3), ingest_row::DECIMAL(10, 2), -ingest_row, 5!, @ingest_row FROM requests",
    "SELECT {'ip': source_ip}.ip, struct_pack(a := 1), map {'k': 1}['k'], row(1, 2) FROM requests",
    "SELECT DISTINCT ON (source_ip) source_ip, event_time FROM requests ORDER BY source_ip, event_time DESC NULLS LAST",
    "SELECT * FROM requests USING SAMPLE 5 ROWS",
    "SELECT source_ip COLLATE NOCASE, trim(BOTH '/' FROM 'x'), substring(url_path FROM 1 FOR 3), position('/' IN url_path) FROM requests",
    "SELECT format('{:,}', ingest_row), printf('%05d', ingest_row::INT), lpad(source_ip, 20, ' '), repeat('=', 20) FROM requests",
    "SELECT current_date, current_timestamp, localtimestamp, today(), age(event_time) FROM requests",
    "SELECT ingest_row FROM requests WHERE ingest_row = ANY (SELECT 1) OR ingest_row >= ALL (SELECT 5) OR ingest_row = ANY ([1, 2])",
    "SELECT (SELECT max(x.event_time) FROM requests x WHERE x.source_ip = r.source_ip) FROM requests r",
    "SELECT /* ; DROP VIEW requests */ 1 -- ; COPY\n",
    "SELECT '; read_text(''/etc/passwd'')', 'FROM ''x.csv'''",
    "SELECT sha256(source_ip), md5(source_ip), base64(encode(url_path)), url_decode('%41') FROM requests",
    "SELECT " + " + ".join(["1"] * 100),
]


@pytest.mark.parametrize("sql", ALLOWED, ids=lambda sql: ascii(sql)[:90])
def test_allowed_and_runs(sql: str, view: LakeView) -> None:
    assert check(sql) == sql
    with run(view, sql) as result:
        assert sum(batch.num_rows for batch in result.batches()) > 0


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FROM read_csv('x')", "reading files is not allowed: read_csv; query requests"),
        ("FROM '/etc/passwd'", "table '/etc/passwd' is not allowed; query requests, or a name that WITH gives before"),
        ("FROM d20150517.rows", "table 'd20150517.rows' is not allowed; query requests, or a name that WITH gives before"),
        ("SELECT uper('x')", "function uper is not allowed; use upper"),
        ("SELECT getenv('x')", "function getenv is not allowed"),
        ("SELECT range(5)", "range is allowed only in FROM; write FROM range(…)"),
        ("COPY requests TO 'x'", "COPY is not allowed; write one SELECT"),
        ("/* a */ -- b\n attach 'x'", "ATTACH is not allowed; write one SELECT"),
        ("SELECT 1; SELECT 2", "2 statements are not allowed; write one SELECT"),
        ("", "0 statements are not allowed; write one SELECT"),
        ("PIVOT requests ON source_ip", "a PIVOT must name its values; write PIVOT … ON column IN (value, …)"),
        ("SELECT 1; DROP VIEW requests", "something in the statement is not part of a SELECT; write one SELECT"),
        ("SELECT " + "abs(" * 400 + "1" + ")" * 400, "the statement is nested too deeply; write it flatter, with WITH"),
        ("SELEC 1", 'the statement cannot be parsed: syntax error at or near "SELEC"'),
        ("SELECT repeat('x', 10001)", "the size given to repeat is not allowed; write a number up to 10000"),
    ],
)
def test_the_reason_is_said(sql: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(sql)
    assert str(caught.value) == message


def test_every_allowed_function_exists() -> None:
    """A name that DuckDB does not know would be a gap in the list's review, or be taken by a macro of somebody's."""
    with extensions.connect() as connection:
        rows = connection.execute("SELECT lower(function_name), function_type FROM duckdb_functions()").fetchall()
    known = {name for name, kind in rows if kind in {"scalar", "aggregate", "macro"}}
    ours = {"lake_now", "current_time", "current_timestamp", "unnest"}
    assert sorted(SCALARS - known - ours) == []
    assert sorted(TABLE_FUNCTIONS - {name for name, kind in rows if kind == "table"}) == []


def test_no_allowed_name_is_also_a_table_function_that_reads() -> None:
    """A name may mean a scalar and a table function at once: only listed ones may stand in FROM."""
    with extensions.connect() as connection:
        rows = connection.execute("SELECT lower(function_name) FROM duckdb_functions() WHERE function_type LIKE 'table%'").fetchall()
    for (name,) in rows:
        if name not in TABLE_FUNCTIONS:
            with pytest.raises(UsageError):
                check(f"FROM \"{name}\"('x')")


def test_the_gate_holds_what_duckdb_knows_beyond_the_list() -> None:
    with extensions.connect() as connection:
        extensions.load(connection, "iceberg")
        rows = connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    refused = 0
    for (name,) in rows:
        if name.isidentifier() and name not in SCALARS:
            with pytest.raises(UsageError):
                check(f'SELECT "{name}"(1)')
            refused += 1
    assert refused > 100


def test_parsing_happens_in_a_locked_database() -> None:
    from query.gate import _parser

    with pytest.raises(duckdb.Error, match="locked"):
        _parser().execute("SET enable_external_access = true")
