"""OpenTelemetry logs of HTTP requests: OTLP/JSON, one log record to a line, beside its resource and its scope.

A line is ``{"resource": ..., "scope": ..., "logRecord": ...}``, as the unfolding of an export (``resourceLogs``) makes it. What it
promises beyond :mod:`ingest.formats.documents`:

- Attributes are read by the names of the semantic conventions for HTTP, the stable ones before those that they replaced.
- A record without a method is none of a request, and is rejected.
- ``timeUnixNano`` is the time; where it is absent or 0, which means unknown, ``observedTimeUnixNano`` is.
- ``client.address`` is what X-Forwarded-For says when there is one. So the client is ``network.peer.address``, the peer, and
  ``client.address`` is believed like a header; where a record has no peer, it is the client.
- Attributes of the resource and the record are labels under their dotted names.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, the names:
https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and
https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats import fills
from ingest.formats.document_tables import PORT, DemandingFormat, HostOf, Status, named
from ingest.formats.documents import Pairs, Place

__all__ = ["OTLP"]

_RECORD = "logRecord"


@dataclass(frozen=True)
class _UnixNano(fills.Time):
    """Nanoseconds since 1970; 0 is no value."""

    unit: str | None = "ns"

    def read(self, values: fills.Values) -> fills.Read:
        """The column."""
        read = super().read(values)
        known = pc.if_else(pc.equal(values.strings, "0"), pa.scalar(None, schema.EVENT_TIME), read.columns["event_time"])
        return fills.Read({"event_time": known}, read.wrong)


def _attributes(fill: fills.Fill, *names: str) -> tuple[Place, ...]:
    return named(fill, *(f"{_RECORD}.attributes.{name}" for name in names))


OTLP = DemandingFormat(
    name="otlp",
    description="OpenTelemetry log records of HTTP requests (OTLP/JSON, one record to a line)",
    source="https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding",
    sample=(
        '{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scope":{"name":"access"},"logRecord":{'
        '"timeUnixNano":"971211336000000000","severityNumber":9,"body":{"stringValue":"handled request"},"attributes":['
        '{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.path","value":{"stringValue":"/apache_pb.gif"}},'
        '{"key":"url.scheme","value":{"stringValue":"http"}},{"key":"http.response.status_code","value":{"intValue":"200"}},'
        '{"key":"http.response.body.size","value":{"intValue":"2326"}},{"key":"client.address","value":{"stringValue":"127.0.0.1"}},'
        '{"key":"network.protocol.version","value":{"stringValue":"1.0"}},{"key":"enduser.id","value":{"stringValue":"frank"}},'
        '{"key":"http.request.header.referer","value":{"stringValue":"http://www.example.com/start.html"}},'
        '{"key":"user_agent.original","value":{"stringValue":"Mozilla/4.08 [en] (Win98; I ;Nav)"}}],'
        '"traceId":"5b8efff798038103d269b633813fc60c"}}'
    ),
    places=(
        *named(_UnixNano(), f"{_RECORD}.timeUnixNano", f"{_RECORD}.observedTimeUnixNano"),
        *_attributes(fills.Text("source_address"), "network.peer.address", "net.sock.peer.addr"),
        *_attributes(fills.Both(fills.Header("client_address"), fills.Text("source_address")), "client.address", "http.client_ip"),
        *_attributes(fills.Text("source_address"), "net.peer.ip"),
        *_attributes(fills.Integer("source_port", 0, PORT), "network.peer.port", "client.port", "net.sock.peer.port", "net.peer.port"),
        *_attributes(fills.Text("user_name"), "enduser.id", "user.name", "user.id"),
        *_attributes(fills.Text("http_request_method"), "http.request.method_original", "http.request.method", "http.method"),
        *_attributes(fills.Text("url_original"), "url.original", "url.full", "http.target", "http.url"),
        *_attributes(fills.Text("url_path"), "url.path"),
        *_attributes(fills.Text("url_query"), "url.query"),
        *_attributes(fills.Lower("url_scheme"), "url.scheme", "http.scheme"),
        *_attributes(HostOf("url_domain"), "server.address", "http.host", "net.host.name", "http.server_name"),
        *_attributes(fills.Integer("url_port", 0, PORT), "server.port", "net.host.port"),
        *_attributes(fills.Version(), "network.protocol.version", "net.protocol.version", "http.flavor"),
        *_attributes(fills.Text("http_request_referrer"), "http.request.header.referer"),
        *_attributes(fills.Text("user_agent_original"), "user_agent.original", "http.user_agent"),
        *_attributes(fills.Text("http_request_id"), "http.request.id"),
        Place(f"{_RECORD}.traceId", fills.Text("http_request_id")),
        *_attributes(fills.Integer("http_request_body_bytes"), "http.request.body.size", "http.request_content_length"),
        *_attributes(Status(), "http.response.status_code", "http.status_code"),
        *_attributes(fills.Integer("http_response_body_bytes"), "http.response.body.size", "http.response_content_length"),
        *_attributes(fills.Duration(1_000_000_000), "http.server.request.duration"),
    ),
    requires=(_RECORD,),
    lists=(Pairs(f"{_RECORD}.attributes"), Pairs("resource.attributes")),
    demands=("http_request_method",),
)
