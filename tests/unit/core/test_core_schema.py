"""The list of columns: what stands in files must never change its number or its privacy by accident."""

import pyarrow as pa
import pytest

from core.schema import COLUMNS, INPUT_COLUMNS, MASKS, QUARANTINE_COLUMNS, Column, by_name, input_type, stored_schema

NAMES_BY_ID = """
event_time event_day source_address source_ip source_port source_geo_continent_code source_geo_country_iso_code
source_geo_country_name source_geo_region_iso_code source_geo_region_name source_geo_city_name source_geo_postal_code
source_geo_timezone source_geo_location_lat source_geo_location_lon source_as_number source_as_organization_name user_name
account_id http_request_method http_request_referrer http_request_id http_request_body_bytes http_version
http_response_status_code http_response_body_bytes url_scheme url_domain url_port url_path url_query user_agent_original
user_agent_name user_agent_version user_agent_os_name user_agent_os_version user_agent_device_name user_agent_device_type
event_duration labels ingest_batch ingest_row
"""


def test_a_columns_id_never_changes_and_new_columns_come_last() -> None:
    names = NAMES_BY_ID.split()
    assert [(column.id, column.name) for column in COLUMNS][: len(names)] == list(enumerate(names, start=1))
    assert [column.id for column in COLUMNS] == list(range(1, len(COLUMNS) + 1))


@pytest.mark.parametrize("columns", [COLUMNS, QUARANTINE_COLUMNS])
def test_names_are_distinct_and_every_column_has_a_meaning(columns: tuple[object, ...]) -> None:
    assert len({getattr(column, "name", "") for column in columns}) == len(columns)
    assert all(getattr(column, "meaning", "") for column in columns)


def test_what_tells_of_a_person_is_marked_personal() -> None:
    personal = {column.name for column in COLUMNS if column.personal}
    telling = {"source_address", "source_ip", "user_name", "account_id", "url_path", "url_query", "http_request_referrer", "labels"}
    assert telling | {"user_agent_original", "source_geo_city_name", "source_geo_location_lat", "http_request_id"} <= personal
    assert not personal & {"event_time", "event_day", "ingest_batch", "ingest_row", "http_response_status_code"}
    assert {column.name for column in QUARANTINE_COLUMNS if column.personal} == {"source_name", "raw"}


def test_the_arrow_schema_has_every_column_in_order_and_only_required_ones_refuse_null() -> None:
    schema = stored_schema()
    assert schema.names == [column.name for column in COLUMNS]
    assert {field.name for field in schema if not field.nullable} == {"event_time", "event_day", "ingest_batch", "ingest_row"}
    assert schema.field("event_time").type == pa.timestamp("us", tz="UTC")


def test_columns_are_found_by_name() -> None:
    assert by_name("source_ip").type == pa.string()
    with pytest.raises(KeyError):
        by_name("no_such_column")


def test_a_format_may_fill_stored_and_input_columns_only() -> None:
    assert input_type("http_response_status_code") == pa.int32()
    assert input_type("url_original") == INPUT_COLUMNS["url_original"] == pa.string()
    assert input_type("no_such_column") is None


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_is_masked_exactly_when_it_is_personal(column: Column) -> None:
    assert bool(column.mask) == column.personal
    assert column.mask in MASKS
