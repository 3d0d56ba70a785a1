"""CloudFront standard logs (version 2) in JSON, and those in Parquet read as JSON.

What it promises beyond :mod:`ingest.formats.documents`:

- A field is named as in the log's header (``cs-uri-stem``, ``cs(User-Agent)``), or as in Parquet (``cs_uri_stem``, ``cs_user_agent``).
- The time is ``timestamp(ms)``, else ``date`` and ``time``, in UTC.
- The host is what the client asked for (``x-host-header``); ``cs(Host)`` is the distribution's and stands in for it.
- ``sc-bytes`` counts headers too, and is the size of the response; ``cs-bytes`` does so too and is a label. ``time-taken`` is seconds.
- What CloudFront percent-encodes is decoded as in :mod:`ingest.formats.cloudfront`.

Source: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html, the formats:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logging.html, the names in Parquet:
https://docs.aws.amazon.com/athena/latest/ug/create-cloudfront-table-manual-parquet.html.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats import fills
from ingest.formats.base import Parsed, State
from ingest.formats.cloudfront import Decoded, DecodedHost
from ingest.formats.document_tables import PORT, DemandingFormat, HostOf, Status, named
from ingest.formats.documents import Place
from ingest.formats.template import Mask, Span
from ingest.formats.times import date_and_time
from ingest.lines import Lines, Numbers

__all__ = ["CLOUDFRONT_JSON"]

_CLOCK = "ingest_row"
"""The column that holds ``time`` until it is added to the day, microseconds: one that no format fills."""
_DAY = 86_400_000_000
_EPOCH = b"1970-01-0100:00:00"


@dataclass(frozen=True)
class _Day:
    """``2018-08-28`` -> ``event_time``, its midnight."""

    columns: ClassVar[tuple[str, ...]] = ("event_time",)
    blank: ClassVar[bool] = True
    items: ClassVar[fills.Items] = ""

    def read(self, values: fills.Values) -> fills.Read:
        """The column."""
        micros, good = _since_1970(values, is_day=True)
        return fills.Read({"event_time": pa.array(micros).cast(schema.EVENT_TIME)}, ((~good, "event_time is not a time"),))


@dataclass(frozen=True)
class _Clock:
    """``18:24:25`` -> microseconds since midnight."""

    columns: ClassVar[tuple[str, ...]] = (_CLOCK,)
    blank: ClassVar[bool] = True
    items: ClassVar[fills.Items] = ""

    def read(self, values: fills.Values) -> fills.Read:
        """The column."""
        micros, good = _since_1970(values, is_day=False)
        return fills.Read({_CLOCK: pa.array(micros)}, ((~good, "event_time is not a time"),))


def _since_1970(values: fills.Values, is_day: bool) -> tuple[Numbers, Mask]:
    """Days at midnight, or times of the first day."""
    data = np.concatenate((values.data, np.frombuffer(_EPOCH, np.uint8)))
    first, count = len(values.data), len(values)
    day = Span(np.full(count, first), np.full(count, first + 10))
    clock = Span(np.full(count, first + 10), np.full(count, len(data)))
    return date_and_time(data, values.span, clock) if is_day else date_and_time(data, day, values.span)


@dataclass(frozen=True)
class _CloudFront(DemandingFormat):
    """Adds the time of day to the day."""

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        parsed = super().parse(lines, state)
        rows, times = parsed.rows, parsed.rows.column("event_time").cast(pa.int64())
        is_day = pc.equal(pc.subtract(times, pc.multiply(pc.divide(times, _DAY), _DAY)), 0)
        clock = pc.if_else(is_day, pc.fill_null(rows.column(_CLOCK), 0), 0)
        place = rows.schema.get_field_index("event_time")
        rows = rows.set_column(place, rows.schema.field(place), pc.add(times, clock).cast(schema.EVENT_TIME))
        return replace(parsed, rows=rows.drop_columns([_CLOCK]))


def _field(name: str, fill: fills.Fill) -> tuple[Place, ...]:
    """A field under its name in the log and in Parquet."""
    flat = name.replace("-", "_").replace("(", "_").rstrip(")")
    return named(fill, *dict.fromkeys((name, flat, flat.lower())))


CLOUDFRONT_JSON = _CloudFront(
    name="cloudfront_json",
    description="CloudFront standard logs in JSON, or in Parquet",
    source="https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html",
    sample=(
        '{"date":"2000-10-10","time":"20:55:36","x-edge-location":"SEA19-C1","sc-bytes":"2326","c-ip":"127.0.0.1","cs-method":"GET",'
        '"cs(Host)":"d111111abcdef8.cloudfront.net","cs-uri-stem":"/apache_pb.gif","sc-status":"200",'
        '"cs(Referer)":"http://www.example.com/start.html","cs(User-Agent)":"Mozilla/4.08%20%5Ben%5D%20(Win98;%20I%20;Nav)",'
        '"cs-uri-query":"-","cs(Cookie)":"-","x-edge-result-type":"Hit","x-edge-request-id":"MRVMF7KydIvxMWfJIglgwHQwZsbG2IhRJ07sn9AkKUFSHS9EXAMPLE==",'
        '"x-host-header":"www.example.com","cs-protocol":"http","cs-bytes":"39","time-taken":"0.001","x-forwarded-for":"-",'
        '"ssl-protocol":"-","cs-protocol-version":"HTTP/1.0","c-port":"52417"}'
    ),
    places=(
        *named(fills.Time(unit="ms"), "timestamp(ms)", "timestamp_ms"),
        Place("date", _Day()),
        Place("time", _Clock()),
        *_field("c-ip", fills.Text("source_address")),
        *_field("c-port", fills.Integer("source_port", 0, PORT)),
        *_field("x-forwarded-for", Decoded("forwarded_for", keep=True)),
        *_field("cs-method", fills.Text("http_request_method")),
        *_field("cs-uri-stem", fills.Text("url_path")),
        *_field("cs-uri-query", fills.Text("url_query")),
        *_field("x-host-header", DecodedHost()),
        *_field("cs(Host)", HostOf("url_domain")),
        *_field("cs-protocol", fills.Lower("url_scheme")),
        *_field("cs-protocol-version", fills.Version()),
        *_field("cs(Referer)", Decoded("http_request_referrer")),
        *_field("cs(User-Agent)", Decoded("user_agent_original", agent=True)),
        *_field("x-edge-request-id", fills.Text("http_request_id")),
        *_field("sc-status", Status()),
        *_field("sc-bytes", fills.Integer("http_response_body_bytes")),
        *_field("time-taken", fills.Duration(1_000_000_000)),
    ),
    demands=("source_address",),
)
