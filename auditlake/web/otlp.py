"""``POST /v1/logs``: logs as OpenTelemetry's exporters send them (OTLP/HTTP), in JSON or protobuf.

The records are durable before the answer and stored as the format ``otlp``. Those that were quarantined or refused are told as rejected
when that is known in time: an exporter does not send them again, and quarantine keeps them. What may be sent again is answered with
429 or 503 and ``Retry-After``, everything else as an error for good.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp; the error is ``google.rpc.Status``:
https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto.
"""

import asyncio
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from auditlake.web.ingest import Ingest
from auditlake.web.site import ApiError, as_api_error
from core.errors import AuditlakeError
from ingest.otlp_protobuf import DecodeError, count_records, export_of, json_of
from ingest.unfold import HEAD_BYTES, kind_of

__all__ = ["JSON", "PROTOBUF", "Otlp"]

JSON, PROTOBUF = "application/json", "application/x-protobuf"
"""The media types."""

_WITHIN_SECONDS = 5.0
_AT_ONCE = 2  # taken apart, an export of many small records takes much more room
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 415: 3, 429: 8, 503: 14}
_UNKNOWN = 2
_SLOW = 408
_LONGEST_MESSAGE = 100


class Otlp:
    """The handler."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def post(self, request: Request) -> Response:
        """Take log records in; errors are answers in the request's encoding."""
        try:
            return await self._export(request)
        except (ApiError, AuditlakeError) as error:
            return _refused(request, as_api_error(error))

    async def _export(self, request: Request) -> Response:
        user = await self._ingest.sender(request)
        kind = _kind(request)
        if kind not in (JSON, PROTOBUF):
            raise ApiError(415, f"content type {kind[:40]!r} is not known", f"send {PROTOBUF} or {JSON}")
        async with self._ingest.turn:
            body = await self._ingest.received(request)
            async with self._reading:
                export, records = await run_in_threadpool(_read_protobuf if kind == PROTOBUF else _read_json, body)
            if not records:
                return _accepted(kind)
            receipt, _ = await self._ingest.taken(user, export, request.query_params.get("stream", "requests"), "otlp")
        figures = await self._ingest.figures(receipt, _WITHIN_SECONDS)
        return _accepted(kind, figures["quarantined"], figures["refused"]) if figures else _accepted(kind)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _read_protobuf(body: bytes) -> tuple[bytes, int]:
    """An export as JSON, and how many records it has.

    :raises ApiError: it is none.
    """
    try:
        export = export_of(body)
    except DecodeError:
        raise ApiError(400, "the body is no ExportLogsServiceRequest in protobuf", "send logs, not traces or metrics") from None
    return json_of(export), count_records(export)


def _read_json(body: bytes) -> tuple[bytes, int]:
    """The same for JSON; one that begins as exports do is kept as it came."""
    wrong = ApiError(400, "the body is no ExportLogsServiceRequest in JSON", "send logs, not traces or metrics")
    try:
        export = json.loads(body)
        resources = export.get("resourceLogs", [])
        records = sum(len(scope.get("logRecords", [])) for resource in resources for scope in resource.get("scopeLogs", []))
        usual = kind_of(body[:HEAD_BYTES]) == "json"
        return body if usual else json.dumps({"resourceLogs": resources}).encode(), records
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise wrong from None


def _accepted(kind: str, quarantined: int = 0, refused: int = 0) -> Response:
    message = ExportLogsServiceResponse()
    if quarantined + refused:
        message.partial_success.rejected_log_records = quarantined + refused
        message.partial_success.error_message = f"{quarantined} went to quarantine, {refused} are older than the stream keeps"
    if kind == PROTOBUF:
        return Response(message.SerializeToString(), media_type=PROTOBUF)
    return Response(json_format.MessageToJson(message, indent=None), media_type=JSON)


def _refused(request: Request, error: ApiError) -> Response:
    """The error; a body that came too slowly may be sent again."""
    status, headers = (503, {"Retry-After": "5"}) if error.status == _SLOW else (error.status, error.headers)
    code, message = _CODES.get(status, _UNKNOWN), f"{error.problem}; {error.hint}"
    if _kind(request) == PROTOBUF:
        return Response(_status(code, message), status, headers, media_type=PROTOBUF)
    told: dict[str, Any] = {"code": code, "message": message}
    return Response(json.dumps(told), status, headers, media_type=JSON)


def _status(code: int, message: str) -> bytes:
    """``google.rpc.Status`` on the wire: field 1 is the code, field 2 the message."""
    text = message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore").encode()
    return bytes((0x08, code, 0x12, len(text))) + text
