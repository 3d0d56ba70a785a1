"""An export of OpenTelemetry logs in protobuf as the same export in JSON, which :mod:`ingest.formats.otlp` reads.

The JSON is that of the OTLP/JSON encoding: names in lowerCamelCase, 64-bit integers as strings, enumerations as numbers, the ids of traces
and spans in hexadecimal; everything else is protobuf's own JSON mapping (bytes in base64). Fields that have their default are left out.
Ids that are not 16 and 8 bytes long are no ids, and are left out.

Resources and scopes are few and go through protobuf's own writer; log records are many, and are written here, in a fifth of its time.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and https://protobuf.dev/programming-guides/json/; the
messages: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/logs/v1/logs.proto.
"""

import base64
import json
import math
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring as quoted

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

__all__ = ["DecodeError", "count_records", "export_of", "json_of"]

_TRACE_BYTES, _SPAN_BYTES = 16, 8


def export_of(body: bytes) -> ExportLogsServiceRequest:
    """The export that a body holds.

    :raises DecodeError: it is none.
    """
    export = ExportLogsServiceRequest()
    export.ParseFromString(body)
    return export


def count_records(export: ExportLogsServiceRequest) -> int:
    """Log records in it."""
    return sum(len(scope.log_records) for resource in export.resource_logs for scope in resource.scope_logs)


def json_of(export: ExportLogsServiceRequest) -> bytes:
    """It as JSON, in UTF-8, without a newline."""
    return f'{{"resourceLogs":[{",".join(_resource(one) for one in export.resource_logs)}]}}'.encode()


def _resource(logs: ResourceLogs) -> str:
    scopes = ",".join(_scope(one) for one in logs.scope_logs)
    head = f'"resource":{_whole(logs.resource)},' if logs.HasField("resource") else ""
    return f'{{{head}"scopeLogs":[{scopes}]{_schema(logs.schema_url)}}}'


def _scope(logs: ScopeLogs) -> str:
    records = ",".join(_record(one) for one in logs.log_records)
    head = f'"scope":{_whole(logs.scope)},' if logs.HasField("scope") else ""
    return f'{{{head}"logRecords":[{records}]{_schema(logs.schema_url)}}}'


def _schema(url: str) -> str:
    return f',"schemaUrl":{quoted(url)}' if url else ""


def _whole(message: Message) -> str:
    text: str = json_format.MessageToJson(message, indent=None, use_integers_for_enums=True, ensure_ascii=False)
    return text


def _record(record: LogRecord) -> str:
    return f"{{{','.join(_members(record))}}}"


def _members(record: LogRecord) -> Iterator[str]:
    if record.time_unix_nano:
        yield f'"timeUnixNano":"{record.time_unix_nano}"'
    if record.observed_time_unix_nano:
        yield f'"observedTimeUnixNano":"{record.observed_time_unix_nano}"'
    if record.severity_number:
        yield f'"severityNumber":{record.severity_number}'
    if record.severity_text:
        yield f'"severityText":{quoted(record.severity_text)}'
    if record.HasField("body"):
        yield f'"body":{_value(record.body)}'
    if record.attributes:
        yield f'"attributes":{_pairs(record.attributes)}'
    yield from _rare_members(record)


def _rare_members(record: LogRecord) -> Iterator[str]:
    if record.dropped_attributes_count:
        yield f'"droppedAttributesCount":{record.dropped_attributes_count}'
    if record.flags:
        yield f'"flags":{record.flags}'
    if len(record.trace_id) == _TRACE_BYTES:
        yield f'"traceId":"{record.trace_id.hex()}"'
    if len(record.span_id) == _SPAN_BYTES:
        yield f'"spanId":"{record.span_id.hex()}"'
    if record.event_name:
        yield f'"eventName":{quoted(record.event_name)}'


def _pairs(pairs: Sequence[KeyValue]) -> str:
    return f"[{','.join([_pair(pair) for pair in pairs])}]"


def _pair(pair: KeyValue) -> str:
    return f'{{"key":{quoted(pair.key)},"value":{_value(pair.value)}}}'


def _value(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return f'{{"stringValue":{quoted(value.string_value)}}}'
    if kind == "int_value":
        return f'{{"intValue":"{value.int_value}"}}'
    return _rare_value(value, kind)


def _rare_value(value: AnyValue, kind: str | None) -> str:
    if kind == "bool_value":
        return f'{{"boolValue":{"true" if value.bool_value else "false"}}}'
    if kind == "double_value":
        return f'{{"doubleValue":{_double(value.double_value)}}}'
    if kind == "bytes_value":
        return f'{{"bytesValue":"{base64.b64encode(value.bytes_value).decode()}"}}'
    if kind == "array_value":
        return f'{{"arrayValue":{{"values":[{",".join(_value(one) for one in value.array_value.values)}]}}}}'
    if kind == "kvlist_value":
        return f'{{"kvlistValue":{{"values":{_pairs(value.kvlist_value.values)}}}}}'
    return "{}"


def _double(number: float) -> str:
    if math.isfinite(number):
        return json.dumps(number)
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'
