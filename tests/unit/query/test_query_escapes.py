"""Escapes from the gate: a written list of attempts, each refused with one line that says why, and the wall behind the gate."""

import importlib.util
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from core.errors import UsageError
from core.roles import ROLES, role
from query.gate import LONGEST, examine
from storage import extensions

ESCAPES = {
    "files, globs, addresses, replacement scans": [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        "SELECT * FROM READ_TEXT('/etc/passwd')",
        "SELECT * FROM \"read_blob\"('/etc/*')",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM parquet_scan('x.parquet')",
        "SELECT * FROM parquet_metadata('x.parquet')",
        "SELECT * FROM read_json('https://example.com/x.json')",
        "SELECT * FROM read_ndjson_objects('x')",
        "SELECT * FROM read_duckdb('data/hot/requests/2015-05-17.duckdb')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/**')",
        "SELECT * FROM iceberg_scan('s3://bucket/table')",
        "SELECT * FROM iceberg_metadata('file:///x')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/pass*'",
        'SELECT * FROM "data.csv"',
        'FROM "data.parquet" SELECT x',
        "SELECT * FROM 's3://bucket/x.csv'",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "SELECT * FROM 'hot/requests/2015-05-17.duckdb'",
        "DESCRIBE 'data.csv'",
        "SUMMARIZE 'data.csv'",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT 1 WHERE EXISTS (FROM '/etc/passwd')",
        "SELECT 1 ORDER BY (SELECT max(content) FROM read_text('x'))",
        "SELECT 1 LIMIT (SELECT count(*) FROM 'x.csv')",
        "VALUES ((SELECT max(content) FROM read_text('x')))",
        "SELECT [x FOR x IN (SELECT list(content) FROM read_text('x'))]",
        "SELECT sum(1) FILTER ((SELECT true FROM 'x.csv')) FROM requests",
        "SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM 'x.csv')) FROM requests",
        "SELECT 1 FROM requests JOIN 'x.csv' USING (source_ip)",
        "SELECT 1 FROM requests, LATERAL (SELECT * FROM 'x.csv')",
        "SELECT * FROM (PIVOT 'x.csv' ON a IN (1) USING sum(b))",
        "UNPIVOT 'x.csv' ON a",
        "SELECT 1 FROM requests UNION ALL BY NAME SELECT * FROM 'x.csv'",
        "WITH a AS MATERIALIZED (SELECT * FROM 'x.csv') SELECT 1",
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT * FROM a, 'x.csv') FROM a",
    ],
    "scope of WITH": [
        'WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"',
        "SELECT * FROM (WITH hidden AS (SELECT 1) FROM hidden) JOIN hidden ON true",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1) FROM a",
        "WITH a AS (SELECT * FROM a) FROM a",
        "WITH RECURSIVE a(n) AS (SELECT n FROM a UNION ALL SELECT 1) FROM a",
        "WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings",
        "WITH a AS (SELECT 1) SELECT * FROM main.a",
        "SELECT 1 FROM requests WHERE EXISTS (WITH k AS (SELECT 1) FROM k) AND EXISTS (FROM k)",
        "WITH \u212a AS (SELECT 1) FROM k",
    ],
    "other statements": [
        "COPY requests TO '/tmp/x.csv'",
        "COPY (SELECT * FROM requests) TO 's3://bucket/x.parquet'",
        "COPY requests FROM 'x.csv'",
        "ATTACH 'x.duckdb' AS x",
        "DETACH d20150517",
        "INSTALL httpfs",
        "LOAD spatial",
        "SET memory_limit = '100GB'",
        "SET VARIABLE x = 1",
        "RESET memory_limit",
        "PRAGMA database_list",
        "PRAGMA enable_profiling",
        "PRAGMA json_execute_serialized_sql('{}')",
        "CALL pragma_version()",
        "CALL enable_logging()",
        "CREATE SECRET x (TYPE s3)",
        "DROP SECRET archive",
        "CREATE TABLE x AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "CREATE OR REPLACE VIEW requests AS SELECT 1",
        "CREATE FUNCTION now() AS 1",
        "DROP VIEW requests",
        "ALTER VIEW requests RENAME TO x",
        "INSERT INTO d20150517.rows SELECT * FROM requests",
        "UPDATE requests SET source_ip = NULL",
        "DELETE FROM requests",
        "MERGE INTO requests USING requests r ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE requests",
        "EXPORT DATABASE '/tmp/x'",
        "IMPORT DATABASE '/tmp/x'",
        "CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "USE d20150517",
        "BEGIN",
        "COMMIT",
        "PREPARE q AS SELECT 1",
        "EXECUTE q",
        "DEALLOCATE q",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x'",
        "COMMENT ON VIEW requests IS 'x'",
        "SELECT 1 INTO x",
        "WITH a AS (DELETE FROM requests RETURNING *) FROM a",
    ],
    "several statements, comments, letters": [
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '/tmp/x'",
        "SELECT 1;;;DROP VIEW requests",
        "SELECT 1 /* */; -- \n DROP VIEW requests",
        "/* SELECT 1 */ DROP VIEW requests",
        "-- SELECT 1\nDROP VIEW requests",
        "SELECT * FROM/**/read_text/**/('/etc/passwd')",
        "SELECT * FROM rEaD_tExT('/etc/passwd')",
        'SELECT * FROM "READ_TEXT"($$/etc/passwd$$)',
        "SELECT\u00a0*\u2003FROM\u00a0read_text('/etc/passwd')",
        "SELECT * FROM \uff52ead_text('/etc/passwd')",
        "SELECT 1 \0; DROP VIEW requests",
        "SELECT '\ud800'",
        "",
        "  ; ",
        "-- nothing",
    ],
    "catalogues and hidden tables": [
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT * FROM pg_class",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_databases()",
        "SELECT * FROM duckdb_views()",
        "SELECT * FROM duckdb_logs",
        "SELECT * FROM system.main.duckdb_settings()",
        "SELECT * FROM pragma_table_info('requests')",
        "SELECT * FROM pragma_storage_info('d20150517.rows')",
        "SELECT * FROM which_secret('s3://bucket/x', 's3')",
        "SELECT * FROM d20150517.rows",
        "SELECT * FROM d20150517.main.rows",
        "SELECT * FROM rows",
        "SELECT * FROM memory.main.requests",
        "SELECT * FROM main.requests",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "SHOW DATABASES",
        "SHOW TABLES FROM d20150517",
        "DESCRIBE",
        "DESCRIBE d20150517.rows",
        "SUMMARIZE d20150517.rows",
        "SELECT * FROM (SHOW TABLES)",
        "SELECT * FROM (DESCRIBE d20150517.rows)",
        "SELECT * FROM requests AT (VERSION => 1)",
    ],
    "SQL in text, settings, environment, side effects": [
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('requests')",
        "SELECT * FROM query_table(['d20150517.rows'])",
        "SELECT * FROM histogram_values(requests, source_ip)",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "SELECT * FROM seq_scan('requests')",
        "SELECT * FROM python_map_function()",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM checkpoint()",
        "SELECT * FROM force_checkpoint()",
        "SELECT * FROM truncate_duckdb_logs()",
        "SELECT * FROM test_all_types()",
        "SELECT json_serialize_sql('SELECT 1')",
        "SELECT json_serialize_plan('SELECT 1')",
        "SELECT current_setting('temp_directory')",
        "SELECT getenv('HOME')",
        "SELECT getvariable('x')",
        "SELECT current_query()",
        "SELECT nextval('x')",
        "SELECT write_log('x')",
        "SELECT setseed(0.5)",
        "SELECT sleep_ms(100000)",
        "SELECT pg_sleep(100)",
        "SELECT pg_get_viewdef('requests')",
        "SELECT list_transform([1], lambda x: getenv('HOME'))",
        "SELECT max(x) OVER (ORDER BY getenv('HOME')) FROM (SELECT 1 AS x)",
        "SELECT CASE WHEN true THEN getenv('HOME') END",
        "SELECT system.main.getenv('HOME')",
        "SELECT pg_catalog.current_setting('temp_directory')",
        "SELECT system.main.now()",
        "SELECT COLUMNS(lambda c: getenv(c) = '') FROM requests",
        "SELECT * REPLACE (getenv('HOME') AS source_ip) FROM requests",
        "SELECT 1 FROM requests GROUP BY getenv('HOME')",
        "SELECT 1 FROM requests QUALIFY getenv('HOME') = ''",
        "SELECT 1 FROM requests a ASOF JOIN requests b ON a.event_time >= b.event_time AND getenv('HOME') = ''",
        "FROM unnest([getenv('HOME')])",
        "FROM range((SELECT length(getenv('HOME'))))",
        "SELECT $1",
        "SELECT ?",
        "SELECT $name",
    ],
    "what the memory limit does not count, and what nests without end": [
        "SELECT repeat('x', 4000000000)",
        "SELECT repeat('x', ingest_row * 1000000) FROM requests",
        "SELECT 'x'.repeat(4000000000)",
        "SELECT lpad('x', 4000000000, 'y')",
        "SELECT rpad('x', 1000 * 1000000, 'y')",
        "SELECT printf('%1000000000d', 1)",
        "SELECT printf('%*d', 1000000000, 1)",
        "SELECT format('{:>1000000000}', 'x')",
        "SELECT format('{:>{}}', 'x', 1000000000)",
        "SELECT format('{:>' || 1000000000 || '}', 'x')",
        "SELECT len(range(100000000000))",
        "SELECT unnest(generate_series(1, 100000000000))",
        "SELECT list_resize([1], 1000000000)",
        "SELECT bitstring('1', 2000000000)",
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
        "SELECT " + "[" * 5_000 + "]" * 5_000,
        "SELECT 1" + " + 1" * 20_000,
        "SELECT 1" + " EXCEPT SELECT 1 UNION SELECT 1" * 1_500,
        "SELECT '" + "x" * LONGEST + "'",
    ],
    "more of files and addresses": [
        "SELECT * FROM read_csv_auto(['/etc/passwd', '/etc/group'])",
        "SELECT * FROM read_csv('/proc/self/environ')",
        "SELECT * FROM read_text('/proc/self/mem')",
        "SELECT * FROM read_parquet('gcs://bucket/**')",
        "SELECT * FROM read_parquet('hf://datasets/x/y.parquet')",
        "FROM parquet_schema('x.parquet')",
        "FROM parquet_kv_metadata('s3://bucket/x')",
        "FROM parquet_bloom_probe('x', 'a', 1)",
        "FROM read_json_auto('http://169.254.169.254/latest/meta-data')",
        "FROM iceberg_snapshots('file:///x')",
        "FROM read_xlsx('x.xlsx')",
        "FROM delta_scan('x')",
        "FROM sqlite_scan('control.sqlite', 'tokens')",
        "FROM postgres_query('host=localhost', 'SELECT 1')",
        "FROM 'control.sqlite'",
        "FROM 'keys/master.key'",
        "SELECT * FROM '\\\\host\\share\\x.csv'",
        'SELECT * FROM "s3://bucket/*/x.parquet"',
        "SELECT * FROM requests SEMI JOIN '/etc/passwd' ON true",
        "SELECT * FROM requests WHERE source_ip IN (FROM '/etc/passwd')",
    ],
    "Quack": [
        "CALL quack_serve('quack:0.0.0.0:9999')",
        "FROM quack_serve('quack:0.0.0.0:9999')",
        "FROM quack_query('quack:host', 'SELECT 1')",
        "FROM quack_query_by_name('x', 'SELECT 1')",
        "SELECT quack_check_token('x')",
        "SELECT quack_nop_authorization('x', 'y')",
        "ATTACH 'quack:host:9494' AS other",
        "CREATE SECRET (TYPE quack, TOKEN 'x')",
        "SET quack_authorization_function = 'quack_nop_authorization'",
        "SET GLOBAL quack_authentication_function = 'x'",
        "FROM quack_stop('quack:host')",
        "USE other",
    ],
    "secrets and hidden tables of others": [
        "FROM duckdb_secrets(redact = false)",
        "SELECT secret_string FROM duckdb_secrets()",
        "FROM masking.keys",
        "SELECT (SELECT min(k) FROM masking.keys k)",
        "FROM users",
        "FROM tokens",
        "FROM query_texts",
        "FROM control.tokens",
        "FROM duckdb_variables()",
        "FROM duckdb_functions()",
        "FROM duckdb_columns()",
        "FROM duckdb_constraints()",
        "FROM duckdb_memory()",
        "FROM duckdb_temporary_files()",
        "FROM duckdb_external_file_cache()",
        "FROM duckdb_extensions()",
        "FROM duckdb_optimizers()",
        "FROM duckdb_log_contexts()",
        "FROM pragma_database_size()",
        "FROM pragma_metadata_info()",
        "FROM temp.information_schema.tables",
        "FROM system.information_schema.schemata",
    ],
    "settings and prepared statements": [
        "SET lock_configuration = false",
        "SET SESSION TimeZone = 'UTC'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET ALL",
        "PRAGMA memory_limit = '100GB'",
        "PRAGMA version",
        "PRAGMA add_parquet_key('k', 'x')",
        "PREPARE q AS SELECT ?",
        "EXECUTE q(1)",
        "SELECT $1::INTEGER",
        "SELECT * FROM requests LIMIT $n",
        "SET search_path = 'masking'",
        "SET schema = 'masking'",
    ],
    "letters": [
        'SELECT * FROM "REQUESTS\u200b"',
        "SELECT * FROM \u0280equests",
        "SELECT * FROM requests\u037e DROP VIEW requests",
        "SELECT 1\u2028; DROP VIEW requests",
        "\ufeffDROP VIEW requests",
        'SELECT * FROM U&"\\0072equests_x"',
        "SELECT E'\\x27'; DROP VIEW requests; --'",
        "SELECT $$ $$; DROP VIEW requests; $$ $$",
        "SELECT 1 --\r\n; DROP VIEW requests",
        "SELECT /* /* */ */ 1; COPY requests TO 'x'",
        "select getenv/**/('HOME')",
        "SELECT * FROM (((read_text('/etc/passwd'))))",
    ],
    "more of exhaustion": [
        "SELECT list_resize([1], 1000000000, 1)",
        "SELECT list_value(repeat('x', 1000000000))",
        "SELECT repeat([1], 1000000000)",
        "SELECT string_agg(repeat('x', 100000)) FROM requests",
        "SELECT bar(1, 0, 1, 1) FROM query('x')",
        "SELECT rpad('x', (SELECT 1000000000), 'y')",
        "SELECT lpad('x', CASE WHEN true THEN 1000000000 END, 'y')",
        "SELECT generate_series(1, 1000000000)",
        "SELECT array_resize([1], 1000000000)",
        "SELECT unnest(range(1000000000))",
    ],
}

EVERY = [sql for group in ESCAPES.values() for sql in group]

DOORS = [
    "ATTACH '/etc/passwd' AS x (TYPE sqlite)",
    "ATTACH '{folder}/x.duckdb' AS x",
    "COPY requests TO '{folder}/escape.csv'",
    "COPY (SELECT 1) TO '{folder}/escape.parquet'",
    "EXPORT DATABASE '{folder}/escape'",
    "IMPORT DATABASE '/etc'",
    "INSTALL httpfs",
    "LOAD spatial",
    "LOAD '{folder}/x.duckdb_extension'",
    "SET memory_limit = '100GB'",
    "SET threads = 64",
    "SET lock_configuration = false",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['/etc/passwd']",
    "SET temp_directory = '{folder}'",
    "RESET enable_external_access",
    "PRAGMA enable_external_access = true",
    "INSERT INTO d20150517.rows SELECT * FROM d20150517.rows",
    "DELETE FROM d20150517.rows",
    "CREATE TABLE d20150517.x AS SELECT 1",
    "DROP TABLE d20150517.rows",
    "CREATE PERSISTENT SECRET x (TYPE s3)",
]
"""What the wall refuses too; the gate refuses each because it is no SELECT."""


@pytest.mark.parametrize("sql", EVERY, ids=lambda sql: ascii(sql)[:90])
def test_refused(sql: str) -> None:
    with pytest.raises(UsageError) as caught:
        examine(sql)
    message = str(caught.value)
    assert "\n" not in message
    assert 10 < len(message) < 300


def test_the_list_is_long_and_nothing_is_there_twice() -> None:
    assert len(EVERY) >= 60
    assert len(set(EVERY)) == len(EVERY)


@pytest.mark.parametrize("name", [each.name for each in ROLES])
def test_no_role_passes_any(name: str) -> None:
    for sql in EVERY:
        with pytest.raises(UsageError):
            examine(sql, role(name))


def test_files_and_addresses_are_behind_the_wall_too(locked: duckdb.DuckDBPyConnection) -> None:
    passed = []
    for sql in ESCAPES["files, globs, addresses, replacement scans"] + ESCAPES["more of files and addresses"]:
        with suppress(duckdb.Error):
            passed.append((sql, locked.execute(sql).fetchall()))
    assert passed == [("WITH a AS MATERIALIZED (SELECT * FROM 'x.csv') SELECT 1", [(1,)])], "which reads nothing"


def test_doors_are_shut_in_both_walls(locked: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for sql in (door.replace("{folder}", str(tmp_path)) for door in DOORS):
        with pytest.raises(UsageError, match="is not allowed"):
            examine(sql)
        with pytest.raises(duckdb.Error):
            locked.execute(sql).fetchall()
    assert [*tmp_path.iterdir()] == []
    assert locked.execute("SELECT count(*) FROM requests").fetchone() == (200,)


def test_every_function_of_quack_is_refused() -> None:
    package = importlib.util.find_spec("duckdb_extension_quack")
    assert package is not None
    (file,) = (file for folder in package.submodule_search_locations or [] for file in Path(folder).rglob("quack.duckdb_extension"))
    listed = "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
    with extensions.connect() as connection:
        before = set(connection.execute(listed).fetchall())
        connection.execute(f"LOAD '{file}'")
        names = sorted(name for (name,) in set(connection.execute(listed).fetchall()) - before)
    assert "quack_serve" in names
    for name in names:
        for sql in (f"SELECT {name}('x')", f"FROM {name}('x')", f"CALL {name}('x')"):
            with pytest.raises(UsageError, match="is not allowed"):
                examine(sql)


@pytest.mark.parametrize(
    ("name", "sql", "message"),
    [
        ("analyst", "FROM ledger", "table ledger is not for this role; query requests"),
        ("analyst", "FROM QUERY_LOG", "table query_log is not for this role; query requests"),
        ("investigator", "SELECT 1 FROM requests, ledger", "table ledger is not for this role; query requests"),
        ("auditor", "FROM requests", "table requests is not for this role; query ledger"),
        ("auditor", "FROM ledger WHERE seq IN (SELECT ingest_row FROM Requests)", "table requests is not for this role; query ledger"),
        ("auditor", "WITH requests AS (FROM requests) FROM requests", "table requests is not for this role; query ledger"),
        ("auditor", "DESCRIBE requests", "table requests is not for this role; query ledger"),
        ("auditor", "SUMMARIZE requests", "table requests is not for this role; query ledger"),
        ("auditor", "FROM main.ledger", "table 'main.ledger' is not allowed; query ledger, or a name that WITH gives before"),
        ("auditor", "SHOW TABLES", "listing tables, databases or settings is not allowed; write DESCRIBE ledger"),
        ("ingest", "SELECT 1", "the role ingest may not query; ask for a token of another role"),
    ],
)
def test_a_view_of_another_role_is_refused_with_the_reason(name: str, sql: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        examine(sql, role(name))
    assert str(caught.value) == message


def test_what_a_statement_reads_is_told() -> None:
    admin = examine("SELECT l.seq, r.source_ip FROM ledger l JOIN requests r ON l.seq = r.ingest_row", role("admin"))
    assert admin.tables == {"ledger"}
    assert admin.columns is not None
    assert {"source_ip", "ingest_row"} <= admin.columns
    auditor = examine("WITH requests AS (FROM query_log) SELECT count(*) FROM requests", role("auditor"))
    assert auditor.columns is None
    assert auditor.tables == {"query_log"}
