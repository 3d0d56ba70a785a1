"""Fastly's log streaming with the JSON formats of its documentation.

Fastly writes what its users' format string says. Read are the names of the format that its endpoints have by default
(``request_method``, ``response_status``) and of the longer one of its guide to comprehensive logging (``request``, ``status``,
``time_elapsed`` in microseconds). What it promises beyond :mod:`ingest.formats.documents`:

- The time is ``timestamp``, else ``time_start``: ISO 8601, or milliseconds since 1970.
- Where Fastly takes the client to be (``geo_country``, ``geo_city``) is a label.

Source: https://www.fastly.com/documentation/guides/integrations/logging-endpoints/log-streaming-https/ and
https://www.fastly.com/documentation/guides/integrations/streaming-logs/custom-log-formats/.
"""

from ingest.formats import fills
from ingest.formats.document_tables import HostOf, Status, named, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["FASTLY"]

FASTLY = DocumentFormat(
    name="fastly",
    description="Fastly's log streaming in JSON, with the names of Fastly's documentation",
    source="https://www.fastly.com/documentation/guides/integrations/logging-endpoints/log-streaming-https/",
    sample=(
        '{"timestamp":"2000-10-10T20:55:36+0000","client_ip":"127.0.0.1","geo_country":"united states","geo_city":"boston",'
        '"host":"www.example.com","url":"/apache_pb.gif","request_method":"GET","request_protocol":"HTTP/1.0",'
        '"request_referer":"http://www.example.com/start.html","request_user_agent":"Mozilla/4.08 [en] (Win98; I ;Nav)",'
        '"response_state":"HIT","response_status":200,"response_reason":"OK","response_body_size":2326,'
        '"fastly_server":"cache-bos-1","fastly_is_edge":true}'
    ),
    places=(
        *named(fills.Time(), "timestamp", "time_start"),
        *texts({"client_ip": "source_address", "url": "url_original"}),
        *named(fills.Header("forwarded_for"), "request_x_forwarded_for"),
        *named(fills.Header("forwarded"), "request_forwarded"),
        Place("host", fills.HostPort("url_domain", "url_port")),
        Place("origin_host", HostOf("url_domain")),
        *named(fills.Text("http_request_method"), "request_method", "request"),
        *named(fills.Version(), "request_protocol", "protocol"),
        *texts({"request_referer": "http_request_referrer", "request_user_agent": "user_agent_original"}),
        *named(fills.Integer("http_request_body_bytes"), "request_body_size", "req_body_size"),
        *named(Status(), "response_status", "status"),
        *named(fills.Integer("http_response_body_bytes"), "response_body_size", "resp_body_size"),
        Place("time_elapsed", fills.Duration(1000)),
    ),
    requires=("client_ip", "host", "url"),
)
