"""Cloudflare's Logpush and Logpull, dataset ``http_requests``.

What it promises beyond :mod:`ingest.formats.documents`:

- Timestamps may be of any of Logpush's formats: RFC 3339, and seconds, milliseconds or nanoseconds since 1970.
- ``EdgeResponseBodyBytes`` counts before ``EdgeResponseBytes``; ``ClientRequestBytes`` holds headers too and is a label. So is where
  Cloudflare takes the client to be (``ClientCountry``, ``ClientCity``).
- Request headers are there when the job was told to log them (``RequestHeaders``).

Source: https://developers.cloudflare.com/logs/reference/log-fields/zone/http_requests/, the formats of times:
https://developers.cloudflare.com/logs/logpush/logpush-job/log-output-options/.
"""

from ingest.formats import fills
from ingest.formats.document_tables import PORT, Status, named, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["CLOUDFLARE"]

CLOUDFLARE = DocumentFormat(
    name="cloudflare",
    description="Cloudflare Logpush, dataset http_requests",
    source="https://developers.cloudflare.com/logs/reference/log-fields/zone/http_requests/",
    sample=(
        '{"ClientIP":"127.0.0.1","ClientRequestHost":"www.example.com","ClientRequestMethod":"GET","ClientRequestURI":"/apache_pb.gif",'
        '"ClientRequestProtocol":"HTTP/1.0","ClientRequestReferer":"http://www.example.com/start.html",'
        '"ClientRequestUserAgent":"Mozilla/4.08 [en] (Win98; I ;Nav)","EdgeStartTimestamp":"2000-10-10T20:55:36Z",'
        '"EdgeEndTimestamp":"2000-10-10T20:55:36Z","EdgeResponseBytes":2326,"EdgeResponseStatus":200,"RayID":"761fde4e984e5ab2"}'
    ),
    places=(
        *named(fills.Time(), "EdgeStartTimestamp", "EdgeEndTimestamp"),
        Place("ClientIP", fills.Text("source_address")),
        Place("ClientSrcPort", fills.Integer("source_port", 0, PORT)),
        *named(fills.Header("forwarded_for"), "RequestHeaders.x-forwarded-for"),
        *named(fills.HostPort("url_domain", "url_port"), "ClientRequestHost"),
        *texts(
            {
                "ClientRequestMethod": "http_request_method",
                "ClientRequestURI": "url_original",
                "ClientRequestPath": "url_original",
                "ClientRequestReferer": "http_request_referrer",
                "ClientRequestUserAgent": "user_agent_original",
                "RayID": "http_request_id",
            }
        ),
        Place("ClientRequestProtocol", fills.Version()),
        Place("ClientRequestScheme", fills.Lower("url_scheme")),
        Place("EdgeResponseStatus", Status()),
        *named(fills.Integer("http_response_body_bytes"), "EdgeResponseBodyBytes", "EdgeResponseBytes"),
    ),
    requires=("ClientRequestMethod",),
)
