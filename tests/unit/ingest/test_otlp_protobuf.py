"""Exports in protobuf become the JSON of the OTLP/JSON encoding, and rows."""

import base64
import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ingest import formats
from ingest.otlp_protobuf import DecodeError, count_records, export_of, json_of
from tests.unit.ingest.test_formats_registry import lines_of

TRACE, SPAN = bytes(range(16)), bytes(range(8))


def an_export() -> ExportLogsServiceRequest:
    """Every field and kind of value once."""
    export = ExportLogsServiceRequest()
    resource = export.resource_logs.add(schema_url="https://opentelemetry.io/schemas/1.26.0")
    resource.resource.attributes.add(key="service.name").value.string_value = "wéb"
    resource.resource.dropped_attributes_count = 1
    scope = resource.scope_logs.add(schema_url="u")
    scope.scope.name, scope.scope.version = "access", "1"
    record = scope.log_records.add(time_unix_nano=971211336000000000, observed_time_unix_nano=7, severity_number=9, severity_text='I"\n')
    record.body.string_value = "handled\u2028"
    record.dropped_attributes_count, record.flags, record.event_name = 3, 1, "request"
    record.attributes.add(key="http.request.method").value.string_value = "GET"
    record.attributes.add(key="http.response.status_code").value.int_value = 200
    record.attributes.add(key="yes").value.bool_value = True
    record.attributes.add(key="no").value.bool_value = False
    record.attributes.add(key="raw").value.bytes_value = b"\xff\x00"
    for number in (0.5, 1e300, math.inf, -math.inf, math.nan):
        record.attributes.add(key="d").value.double_value = number
    record.attributes.add(key="list").value.array_value.values.add().int_value = -1
    record.attributes.add(key="map").value.kvlist_value.values.add(key="k").value.string_value = "v"
    record.attributes.add(key="empty").value.SetInParent()
    record.attributes.add(key="none")
    scope.log_records.add()
    export.resource_logs.add().scope_logs.add()
    return export


def as_protobuf_says(export: ExportLogsServiceRequest) -> Any:
    found = json.loads(json_format.MessageToJson(export, use_integers_for_enums=True))
    return json.loads(json.dumps(found))


def without_empty(value: Any) -> Any:
    """Lists and objects that are empty say no more than their absence."""
    if isinstance(value, dict):
        return {key: without_empty(part) for key, part in value.items() if part not in ([], {})}
    return [without_empty(part) for part in value] if isinstance(value, list) else value


def test_it_is_what_protobuf_writes_itself() -> None:
    export = an_export()
    written = json_of(export_of(export.SerializeToString()))
    assert b"\n" not in written
    assert without_empty(json.loads(written)) == without_empty(as_protobuf_says(export))
    assert count_records(export) == 2


def test_ids_are_in_hexadecimal_and_ids_of_another_length_are_none() -> None:
    export = an_export()
    first, second = export.resource_logs[0].scope_logs[0].log_records
    first.trace_id, first.span_id = TRACE, SPAN
    second.trace_id, second.span_id = TRACE[:15], SPAN + b"x"
    found = json.loads(json_of(export))["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (found[0]["traceId"], found[0]["spanId"]) == (TRACE.hex(), SPAN.hex())
    assert base64.b64encode(TRACE).decode() not in json.dumps(found)
    assert found[1] == {}


def test_its_records_are_rows() -> None:
    record = json.loads(json_of(an_export()))["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    row = formats.parse(formats.get("otlp"), lines_of(json.dumps({"logRecord": record}))).rows.to_pylist()[0]
    assert (row["http_request_method"], row["http_response_status_code"]) == ("GET", 200)
    assert row["event_time"].isoformat() == "2000-10-10T20:55:36+00:00"


@pytest.mark.parametrize("body", [b"\xff", b"GET / HTTP/1.1", an_export().SerializeToString()[:-3]])
def test_what_is_no_export(body: bytes) -> None:
    with pytest.raises(DecodeError):
        export_of(body)
