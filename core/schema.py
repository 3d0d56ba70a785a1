"""The one list of columns: tables, masks, bounds, erasure and documents all read it from here.

Names are those of the Elastic Common Schema with dots turned to underscores (https://www.elastic.co/guide/en/ecs/current/),
but for ``event_time`` (ECS ``@timestamp``), ``event_day``, ``account_id``, ``user_agent_device_type`` and the ``ingest_``
columns, which ECS lacks. A column's id is its Iceberg field id and never changes: new columns are added at the end.
"""

from dataclasses import dataclass

import pyarrow as pa

__all__ = ["COLUMNS", "INPUT_COLUMNS", "MASKS", "QUARANTINE_COLUMNS", "Column", "by_name", "input_type", "stored_schema"]

EVENT_TIME = pa.timestamp("us", tz="UTC")

MASKS = {
    "": "as it is",
    "network": "its network: /24 of IPv4, /48 of IPv6; a host name as a pseudonym",
    "pseudonym": "a keyed pseudonym, the same for the same value",
    "origin": "scheme and host alone",
    "path": "the first step when it is a plain word, the rest as a keyed pseudonym",
    "degree": "whole degrees",
    "nothing": "null",
}
"""What an analyst sees of a column, by :attr:`Column.mask`."""


@dataclass(frozen=True)
class Column:
    """One column: its Iceberg field id, name, Arrow type, meaning, whether it may hold personal data, and how that is masked.

    ``mask`` is a name in ``MASKS``; every personal column of the view has one.
    """

    id: int
    name: str
    type: pa.DataType
    meaning: str
    personal: bool = False
    required: bool = False
    mask: str = ""


_Row = tuple[str, pa.DataType, str, bool] | tuple[str, pa.DataType, str, bool, bool] | tuple[str, pa.DataType, str, bool, bool, str]


def _columns(*rows: _Row) -> tuple[Column, ...]:
    return tuple(Column(number, *row) for number, row in enumerate(rows, start=1))


_S, _I, _L, _D = pa.string(), pa.int32(), pa.int64(), pa.float64()

COLUMNS = _columns(
    ("event_time", EVENT_TIME, "When the request was made, UTC", False, True),
    ("event_day", pa.date32(), "The UTC day of event_time: the segment the row belongs to", False, True),
    ("source_address", _S, "The client as the log names it: an address or a host name", True, False, "network"),
    ("source_ip", _S, "The client's IP address, when source_address is one", True, False, "network"),
    ("source_port", _I, "The client's port", True, False, "nothing"),
    ("source_geo_continent_code", _S, "Continent of the address, two letters", False),
    ("source_geo_country_iso_code", _S, "Country of the address, ISO 3166-1 alpha-2", False),
    ("source_geo_country_name", _S, "Country of the address, English name", False),
    ("source_geo_region_iso_code", _S, "First subdivision of the country, ISO 3166-2 with the country in front", True, False, "nothing"),
    ("source_geo_region_name", _S, "First subdivision of the country, English name", True, False, "nothing"),
    ("source_geo_city_name", _S, "City of the address, English name", True, False, "nothing"),
    ("source_geo_postal_code", _S, "Postal code of the address", True, False, "nothing"),
    ("source_geo_timezone", _S, "IANA time zone of the address", True, False, "nothing"),
    ("source_geo_location_lat", _D, "Latitude of the address, degrees", True, False, "degree"),
    ("source_geo_location_lon", _D, "Longitude of the address, degrees", True, False, "degree"),
    ("source_as_number", _L, "Number of the autonomous system that announces the address", False),
    ("source_as_organization_name", _S, "Organisation that runs the autonomous system", False),
    ("user_name", _S, "The user the server authenticated", True, False, "pseudonym"),
    ("account_id", _S, "The account the request belongs to", True, False, "pseudonym"),
    ("http_request_method", _S, "HTTP method as sent", False),
    ("http_request_referrer", _S, "Referer header, secrets redacted", True, False, "origin"),
    ("http_request_id", _S, "The request's id, given by server or client", True, False, "pseudonym"),
    ("http_request_body_bytes", _L, "Size of the request's body, bytes", False),
    ("http_version", _S, "HTTP version without its name: 1.0, 1.1, 2.0", False),
    ("http_response_status_code", _I, "HTTP status", False),
    ("http_response_body_bytes", _L, "Size of the response as the log counts it, bytes", False),
    ("url_scheme", _S, "Scheme of the URL", False),
    ("url_domain", _S, "Host the request was for: from the URL or the virtual host", False),
    ("url_port", _I, "Port the request was for", False),
    ("url_path", _S, "Path of the URL, as sent, e-mail addresses redacted", True, False, "path"),
    ("url_query", _S, "Query of the URL without the question mark, secrets redacted", True, False, "nothing"),
    ("user_agent_original", _S, "User-Agent header as sent", True, False, "pseudonym"),
    ("user_agent_name", _S, "Browser or program", False),
    ("user_agent_version", _S, "Its version", False),
    ("user_agent_os_name", _S, "Operating system", False),
    ("user_agent_os_version", _S, "Its version", False),
    ("user_agent_device_name", _S, "Device, as ua-parser names it", False),
    ("user_agent_device_type", _S, "desktop, mobile, tablet, bot or other", False),
    ("event_duration", _L, "Time the request took, nanoseconds", False),
    ("labels", _S, "JSON object of the fields that have no column here", True, False, "nothing"),
    ("ingest_batch", _S, "The batch that brought the row", False, True),
    ("ingest_row", _L, "Number of its line within the batch, from 0", False, True),
)

INPUT_COLUMNS = {"url_original": _S, "forwarded_for": _S, "forwarded": _S, "client_address": _S}
"""Columns that a format may fill and a transform consumes: never stored. ``url_original``: the request target.
``forwarded_for``: an X-Forwarded-For header, addresses with commas between them, the nearest last. ``forwarded``: a Forwarded
header (RFC 7239). ``client_address``: a header that names one address, such as CF-Connecting-IP, True-Client-IP or X-Real-IP."""

QUARANTINE_COLUMNS = _columns(
    ("ingest_batch", _S, "The batch that met the line", False, True),
    ("ingest_row", _L, "Number of the line within the batch, from 0", False, True),
    ("source_name", _S, "File the line came from, or - for standard input", True, True),
    ("source_offset", _L, "Where the line begins in the uncompressed file, bytes", False, True),
    ("format", _S, "Format it was read as", False, True),
    ("reason", _S, "Why it was rejected", False, True),
    ("raw", pa.binary(), "The line's bytes, cut at 64 KiB", True, True),
    ("raw_bytes", _L, "The line's whole length, bytes", False, True),
    ("arrived", EVENT_TIME, "When it was rejected, UTC", False, True),
)

_BY_NAME = {column.name: column for column in COLUMNS}


def by_name(name: str) -> Column:
    """The stored column of that name.

    :raises KeyError: there is none.
    """
    return _BY_NAME[name]


def input_type(name: str) -> pa.DataType | None:
    """Type of a column that a format may produce; ``None`` when the schema has no such column."""
    column = _BY_NAME.get(name)
    return column.type if column else INPUT_COLUMNS.get(name)


def stored_schema() -> pa.Schema:
    """The rows of a segment, as Arrow."""
    return pa.schema([pa.field(c.name, c.type, nullable=not c.required) for c in COLUMNS])
