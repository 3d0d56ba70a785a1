"""JSON lines: one object per line, its fields named as the Elastic Common Schema names them, or by a map.

What it promises beyond :mod:`ingest.formats.documents`:

- A field may be written ``{"source": {"ip": ...}}``, ``{"source.ip": ...}`` or ``{"source_ip": ...}``; ``@timestamp`` is
  ``event_time``.
- The field map adds names, and they come before ECS's. ``http.response.bytes``, ``http.request.bytes`` and ``url.full`` serve where
  the field proper is absent.
- ``""`` and ``-`` are absent where a number or an address belongs; elsewhere they are text.
- Times: see :func:`ingest.formats.times.iso_times` and, for numbers (also as strings), :func:`ingest.formats.times.epoch_times`.
- Whole numbers may be strings.

Source: https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html and https://jsonlines.org.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from core import schema
from core.errors import UsageError
from ingest.formats.base import FormatOptions, Parsed, State
from ingest.formats.documents import DocumentFormat, Place
from ingest.formats.fills import Address, Fill, Integer, Text, Time
from ingest.lines import Lines

__all__ = ["JsonLines"]

ECS_NAMES = {
    "@timestamp": "event_time",
    "source.address": "source_address",
    "source.ip": "source_ip",
    "source.port": "source_port",
    "user.name": "user_name",
    "account.id": "account_id",
    "http.request.method": "http_request_method",
    "http.request.referrer": "http_request_referrer",
    "http.request.id": "http_request_id",
    "http.request.body.bytes": "http_request_body_bytes",
    "http.version": "http_version",
    "http.response.status_code": "http_response_status_code",
    "http.response.body.bytes": "http_response_body_bytes",
    "url.original": "url_original",
    "url.scheme": "url_scheme",
    "url.domain": "url_domain",
    "url.port": "url_port",
    "url.path": "url_path",
    "url.query": "url_query",
    "user_agent.original": "user_agent_original",
    "event.duration": "event_duration",
}
FALLBACKS = {
    "http.response.bytes": "http_response_body_bytes",
    "http.request.bytes": "http_request_body_bytes",
    "url.full": "url_original",
}
COLUMNS = tuple(dict.fromkeys(ECS_NAMES.values()))
RANGES = {"http_response_status_code": (100, 999), "source_port": (0, 65535), "url_port": (0, 65535)}
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class JsonLines:
    """JSON lines; see :class:`ingest.formats.base.Format`.

    :param field_map: dotted path in the document -> column, for names that are not ECS's; of two paths to one column the first
        that is present counts.
    :param zone: IANA name of the zone of times that name none.
    :raises UsageError: a path is empty, or a column is not one that a document can fill.
    """

    field_map: Mapping[str, str] = field(default_factory=dict)
    name: str = "json"
    description: str = "JSON lines with ECS field names, or others by a field map"
    source: str = "https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html"
    sample: str = (
        '{"@timestamp": "2000-10-10T13:55:36-07:00", "source.ip": "127.0.0.1", "user": {"name": "frank"}, '
        '"http": {"request": {"method": "GET"}, "response": {"status_code": 200, "body": {"bytes": 2326}}}, '
        '"url": {"original": "/apache_pb.gif"}, "trace": {"id": "4bf92f35"}}'
    )
    zone: str = "UTC"
    is_json: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for path, column in self.field_map.items():
            if column not in COLUMNS:
                raise UsageError(f"field map: {path!r} -> {column!r} is not a column to fill", f"use one of {', '.join(COLUMNS)}")
            if not all(path.split(".")):
                raise UsageError(f"field map: {path!r} is not a path", "write names with dots between them, like request.client")

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        return self.documents.parse(lines, state)

    def configured(self, options: FormatOptions) -> "JsonLines":
        """The format with the options' names and zone.

        :raises UsageError: a path is empty, or a column is not one that a document can fill.
        """
        changed = options.json_fields or options.zone != self.zone
        return JsonLines(options.json_fields, zone=options.zone) if changed else self

    @cached_property
    def documents(self) -> DocumentFormat:
        """The table: names of the map, then ECS's, then what serves in their stead."""
        places = [Place(path, _fill(column)) for path, column in self.field_map.items()]
        for path, column in ECS_NAMES.items():
            names = [name for name in (path, column) if name not in self.field_map]
            if names:
                places.append(Place(names[0], _fill(column), tuple(names[1:])))
        places += [Place(path, _fill(column)) for path, column in FALLBACKS.items() if path not in self.field_map]
        return DocumentFormat(self.name, self.description, self.source, self.sample, tuple(places), zone=self.zone)


def _fill(column: str) -> Fill:
    if column == "event_time":
        return Time(blank=False)
    if column == "source_ip":
        return Address(column)
    if schema.input_type(column) == pa.string():
        return Text(column, blank=False)
    return Integer(column, *RANGES.get(column, (0, _LARGEST)))
