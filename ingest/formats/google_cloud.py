"""Requests in Google Cloud Logging: entries with an ``httpRequest``, as its load balancers write them.

What it promises beyond :mod:`ingest.formats.documents`:

- ``requestUrl`` is a whole URL; ``latency`` has its unit (``"0.123s"``); sizes are numbers in strings.
- ``responseSize`` counts headers too, and is the only size there is; ``requestSize`` does so too and is a label.
- The request's id is ``trace``. ``insertId``, ``resource`` and ``jsonPayload`` are labels.

Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest and
https://cloud.google.com/load-balancing/docs/https/https-logging-monitoring#what_is_logged.
"""

from ingest.formats import fills
from ingest.formats.document_tables import HostOf, Status, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["GCP_LB"]

GCP_LB = DocumentFormat(
    name="gcp_lb",
    description="requests in Google Cloud Logging (LogEntry with httpRequest): load balancers, Cloud Run",
    source="https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest",
    sample=(
        '{"insertId":"1vzs264g1u90hp5","timestamp":"2000-10-10T20:55:36Z","trace":"projects/p/traces/4bf92f35","httpRequest":{'
        '"requestMethod":"GET","requestUrl":"http://www.example.com/apache_pb.gif","requestSize":"257","status":200,"responseSize":"2326",'
        '"userAgent":"Mozilla/4.08 [en] (Win98; I ;Nav)","remoteIp":"127.0.0.1","referer":"http://www.example.com/start.html",'
        '"latency":"0.058927s","protocol":"HTTP/1.0"},"jsonPayload":{"statusDetails":"response_sent_by_backend"},'
        '"resource":{"type":"http_load_balancer","labels":{"zone":"global"}},"severity":"INFO"}'
    ),
    places=(
        Place("timestamp", fills.Time()),
        Place("httpRequest.remoteIp", fills.HostPort("source_address", "source_port")),
        Place("jsonPayload.remoteIp", HostOf("source_address")),
        *texts(
            {
                "httpRequest.requestMethod": "http_request_method",
                "httpRequest.requestUrl": "url_original",
                "httpRequest.referer": "http_request_referrer",
                "httpRequest.userAgent": "user_agent_original",
                "trace": "http_request_id",
            }
        ),
        Place("httpRequest.protocol", fills.Version()),
        Place("httpRequest.status", Status()),
        Place("httpRequest.responseSize", fills.Integer("http_response_body_bytes")),
        Place("httpRequest.latency", fills.Duration(1_000_000_000)),
    ),
    requires=("httpRequest.requestMethod",),
)
