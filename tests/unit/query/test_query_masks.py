"""Masks: what an analyst sees, and that nothing else can be found out by asking."""

import dataclasses
import hmac
import json
from typing import Any

import duckdb
import pytest

from core.errors import UsageError
from core.roles import role
from core.schema import COLUMNS, MASKS, by_name, stored_schema
from query.gate import examine
from query.lake import LakeView, open_lake
from query.masks import Masks
from query.run import run

SECRET = bytes(range(32))
ANALYST = role("analyst")


@pytest.fixture
def masked(view: LakeView) -> LakeView:
    return dataclasses.replace(view, masks=Masks(SECRET))


def ask(view: LakeView, sql: str) -> list[dict[str, Any]]:
    with run(view, examine(sql, ANALYST)) as result:
        return [row for batch in result.batches() for row in batch.to_pylist()]


def seen(name: str, *values: Any) -> list[Any]:
    """The masked values of a column."""
    masks, column, connection = Masks(SECRET), by_name(name), duckdb.connect()
    try:
        keys = masks.install(connection, [column])
        connection.execute(f"CREATE TABLE t (n INTEGER, {name} {'DOUBLE' if column.mask == 'degree' else 'VARCHAR'})")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [[number, value] for number, value in enumerate(values)])
        return [value for (value,) in connection.execute(f"SELECT {masks.expression(column)} FROM t{keys} ORDER BY n").fetchall()]
    finally:
        connection.close()


def pseudonym(name: str, value: str) -> str:
    """By the definition of HMAC."""
    return "~" + hmac.digest(hmac.digest(SECRET, name.encode(), "sha256"), value.encode(), "sha256").hex()[:20]


NETWORKS = {
    "192.0.2.77": "192.0.2.0/24",
    "192.0.2.77:8080": "192.0.2.0/24",
    "::ffff:192.0.2.77": "192.0.2.0/24",
    "::FFFF:c000:024d": "192.0.2.0/24",
    "0:0:0:0:0:ffff:192.0.2.77": "192.0.2.0/24",
    "[::ffff:192.0.2.77]:443": "192.0.2.0/24",
    "2001:db8::77": "2001:db8::/48",
    "2001:DB8:00a1:2::77": "2001:db8:a1::/48",
    "[2001:db8:a1::77]:443": "2001:db8:a1::/48",
    "2001:db8:a1:0:0:0:0:77": "2001:db8:a1::/48",
    "1::3:4:5:6:7:77": "1:0:3::/48",
    "1:2:3:4:5:6:192.0.2.77": "1:2:3::/48",
    "fe80::77%eth0": "fe80::/48",
    "::1": "::/48",
    "::": "::/48",
    "0:0:1::77": "0:0:1::/48",
}


def test_addresses_are_cut() -> None:
    assert dict(zip(NETWORKS, seen("source_ip", *NETWORKS), strict=True)) == NETWORKS
    assert dict(zip(NETWORKS, seen("source_address", *NETWORKS), strict=True)) == NETWORKS


@pytest.mark.parametrize("text", ["host.example", "192.0.2.77, 192.0.2.78", "ann:secret", "dead:beef", "", "192.0.2.77\n", "x 192.0.2.77"])
def test_what_is_no_address_is_a_pseudonym(text: str) -> None:
    assert seen("source_address", text, None) == [pseudonym("source_address", text), None]


def test_a_pseudonym_is_an_hmac_under_a_key_of_its_column() -> None:
    for name in ("user_name", "account_id", "http_request_id", "user_agent_original"):
        assert seen(name, "ann", "é\n", None, "") == [pseudonym(name, "ann"), pseudonym(name, "é\n"), None, pseudonym(name, "")]
    assert len({pseudonym(name, "ann") for name in ("user_name", "account_id", "user_agent_original")}) == 3


def test_a_path_keeps_its_first_plain_word() -> None:
    kept = ["/", "/index.html", "/wp-login.php", "/.env", "/cart/"]
    assert seen("url_path", *kept, None) == [*kept, None]
    assert seen("url_path", "/users/ann") == ["/users/" + pseudonym("url_path", "/users/ann")]
    hidden = ["/ann.smith", "/a%40b", "/4711", "/Ann", "//users/ann", "users/ann", "*", "/" + "a" * 25]
    assert seen("url_path", *hidden) == ["/" + pseudonym("url_path", path) for path in hidden]


def test_a_referrer_keeps_scheme_and_host() -> None:
    given = ["https://Shop.example:8443/a?user=ann#x", "http://ann:pw@shop.example", "https://192.0.2.77/", "ann", "-", None]
    assert seen("http_request_referrer", *given) == ["https://shop.example", "http://shop.example", None, None, None, None]


def test_places_are_rounded() -> None:
    assert seen("source_geo_location_lat", 59.334, -33.6, None) == [59.0, -34.0, None]


def test_a_masked_view_has_the_same_columns_and_types(masked: LakeView) -> None:
    connection = open_lake(masked)
    assert connection.execute("FROM requests").to_arrow_table().schema.types == stored_schema().types
    connection.close()


def test_an_analyst_sees_no_personal_value(masked: LakeView) -> None:
    rows = ask(masked, "FROM requests")
    text = json.dumps(rows, default=str)
    assert len(rows) == 200
    assert not any(word in text for word in ("marker-of-a-person", "198.51.100.1", "198.51.100.6", "/page/1", "tier"))
    assert {row["source_ip"] for row in rows} == {"198.51.100.0/24"}
    assert {row["labels"] for row in rows} == {None}
    assert {row["user_name"] for row in rows} == {None, pseudonym("user_name", "marker-of-a-person")}


def test_pseudonyms_count_and_join_over_hot_and_archive(masked: LakeView) -> None:
    counted = ask(
        masked, "SELECT user_name, count(*) AS n, count(DISTINCT event_day) AS days FROM requests WHERE user_name IS NOT NULL GROUP BY 1"
    )
    assert counted == [{"user_name": pseudonym("user_name", "marker-of-a-person"), "n": 5, "days": 5}]
    joined = "SELECT count(*) AS n FROM requests a JOIN requests b ON a.user_name = b.user_name AND a.event_day < b.event_day"
    assert ask(masked, joined) == [{"n": 10}]
    assert ask(masked, "SELECT count(DISTINCT url_path) AS n FROM requests") == [{"n": 40}]


@pytest.mark.parametrize(
    "condition",
    [
        "source_ip = '198.51.100.3'",
        "source_ip LIKE '%.3'",
        "regexp_matches(source_ip, '[1-9]$') AND NOT source_ip LIKE '%/24'",
        "source_ip[-1:] = '3'",
        "md5(source_ip) = md5('198.51.100.3')",
        "source_ip IN (SELECT '198.51.100.' || n FROM range(256) t(n))",
        "source_address BETWEEN '198.51.100.1' AND '198.51.100.6'",
        "TRY_CAST(split_part(source_ip, '.', 4) AS INTEGER) = 3",
        "user_name = 'marker-of-a-person'",
        "starts_with(user_name, 'marker')",
        "requests.user_name ILIKE '%person%'",
        "contains(requests::VARCHAR, 'marker')",
        "contains(to_json(requests)::VARCHAR, '198.51.100.3')",
        "labels IS NOT NULL",
        "labels->>'tier' = '1'",
        "url_path = '/page/7'",
        "url_path SIMILAR TO '/page/[0-9]+'",
    ],
)
def test_a_condition_meets_the_masked_value(masked: LakeView, condition: str) -> None:
    assert ask(masked, f"SELECT count(*) AS n FROM requests WHERE {condition}") == [{"n": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT user_name::INTEGER FROM requests",
        "SELECT user_name::INET FROM requests",
        "SELECT source_ip::DATE FROM requests",
        "SELECT strptime(url_path, '%Y') FROM requests",
        "SELECT CASE WHEN source_ip = '198.51.100.3' THEN 1 ELSE source_ip::INTEGER END FROM requests",
        "SELECT from_base64(user_name || '!') FROM requests",
        "SELECT list_sum(user_name) FROM requests",
        "SELECT user_name FROM requests GROUP BY url_path",
        "SELECT user_nam FROM requests",
        "SELECT user_name_inner FROM requests",
        "SELECT keys.user_name_inner FROM requests",
        "SELECT masking.keys.user_name_inner, user_name FROM requests",
    ],
)
def test_an_error_tells_no_value_and_no_key(masked: LakeView, sql: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(masked, sql)
    message = str(caught.value)
    assert not any(word in message for word in ("marker-of", "198.51.100.3'", "198.51.100.1'", "/page/1", "sha256"))
    assert not any(pad.hex() in message or str(pad)[2:12] in message for pad in Masks(SECRET)._pads("user_name"))


@pytest.mark.parametrize(
    "sql", ["SUMMARIZE requests", "SELECT min(source_ip), max(user_name), histogram(url_path), any_value(labels) FROM requests"]
)
def test_aggregates_meet_the_masked_value(masked: LakeView, sql: str) -> None:
    assert "marker-of-a-person" not in (text := json.dumps(ask(masked, sql), default=str))
    assert "198.51.100.1" not in text


def test_no_text_of_the_connection_holds_a_key(masked: LakeView) -> None:
    """The wall behind the gate: what shows SQL shows none, though the gate refuses to show it."""
    connection = open_lake(masked)
    shown = [
        connection.execute(sql).fetchall()
        for sql in (
            "SELECT sql FROM duckdb_views()",
            "EXPLAIN SELECT user_name FROM requests",
            "SELECT * FROM duckdb_functions()",
            "SELECT * FROM duckdb_variables()",
            "SELECT * FROM duckdb_settings()",
        )
    ]
    connection.close()
    text = str(shown).lower()
    assert "masking.keys" in text
    for pad in Masks(SECRET)._pads("user_name"):
        assert pad.hex() not in text
        assert "".join(f"\\x{byte:02x}" for byte in pad[:8]) not in text


@pytest.mark.parametrize(
    "sql",
    [
        "FROM masking.keys",
        "FROM keys",
        "SELECT (FROM masking.keys)",
        "WITH masking AS (SELECT 1) FROM masking.keys",
        "DESCRIBE masking.keys",
        "SUMMARIZE masking.keys",
    ],
)
def test_the_keys_have_no_name_for_an_analyst(sql: str) -> None:
    with pytest.raises(UsageError, match=r"table '(masking\.)?keys' is not allowed"):
        examine(sql, ANALYST)


def test_only_keys_of_columns_that_are_read_are_there(masked: LakeView) -> None:
    connection = open_lake(masked, frozenset({"user_name", "event_day"}))
    names = [row[0] for row in connection.execute("DESCRIBE masking.keys").fetchall()]
    connection.close()
    assert names == ["user_name_inner", "user_name_outer"]
    connection = open_lake(masked, frozenset({"event_day", "labels"}))
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'masking'").fetchone() == (0,)
    connection.close()


def test_every_kind_of_mask_is_known() -> None:
    masks = Masks(SECRET)
    for column in COLUMNS:
        assert (masks.expression(column) == column.name) == (not column.mask)
    assert {column.mask for column in COLUMNS} == set(MASKS)
