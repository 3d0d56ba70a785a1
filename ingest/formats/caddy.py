"""Caddy's access log: JSON by Caddy's default encoder.

What it promises beyond :mod:`ingest.formats.documents`:

- ``ts`` may be of any of Caddy's formats but those of its own making: seconds (the default), milliseconds and nanoseconds since
  1970, ISO 8601, RFC 3339, ``common_log`` and ``wall``, ``2006/01/02 15:04:05``, which is of the configured zone.
- ``duration`` is seconds, or text with a unit. Caddy 2.0 called it ``latency``, and wrote ``remote_addr`` as ``ip:port``.
- The client is ``client_ip``, which Caddy tells by its own trusted proxies, else ``remote_ip``.
- Only lines of requests are read: those of errors (they repeat a request) and of Caddy itself have no ``size``.

Source: https://caddyserver.com/docs/caddyfile/directives/log and https://caddyserver.com/docs/logging#structured-logs.
"""

from dataclasses import dataclass, replace

import numpy as np

from ingest.formats import fills
from ingest.formats.document_tables import CLIENT_HEADERS, PORT, Says, Status, named, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["CADDY"]

_SLASH, _DASH = ord("/"), ord("-")


@dataclass(frozen=True)
class _Time(fills.Time):
    """A time, also one written ``2006/01/02 15:04:05``."""

    def read(self, values: fills.Values) -> fills.Read:
        """The column."""
        wall = (values.byte(4) == _SLASH) & (values.byte(7) == _SLASH)
        if wall.any():
            data, starts = values.data.copy(), values.span.starts[wall]
            data[np.concatenate((starts + 4, starts + 7))] = _DASH
            values = replace(values, data=data)
        return super().read(values)


def _header(name: str) -> str:
    return f"request.headers.{name}"


CADDY = DocumentFormat(
    name="caddy",
    description="Caddy's access log in JSON",
    source="https://caddyserver.com/docs/caddyfile/directives/log",
    sample=(
        '{"level":"info","ts":971211336.0,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"127.0.0.1",'
        '"remote_port":"50876","client_ip":"127.0.0.1","proto":"HTTP/1.0","method":"GET","host":"www.example.com","uri":"/apache_pb.gif",'
        '"headers":{"User-Agent":["Mozilla/4.08 [en] (Win98; I ;Nav)"],"Referer":["http://www.example.com/start.html"]}},"bytes_read":0,'
        '"user_id":"frank","duration":0.000929675,"size":2326,"status":200,"resp_headers":{"Server":["Caddy"]}}'
    ),
    places=(
        Place("ts", _Time()),
        *texts({"request.client_ip": "source_address", "request.remote_ip": "source_address"}),
        Place("request.remote_port", fills.Integer("source_port", 0, PORT)),
        Place("request.remote_addr", fills.HostPort("source_address", "source_port")),
        Place("user_id", fills.Text("user_name")),
        Place("request.method", fills.Text("http_request_method")),
        Place("request.uri", fills.Text("url_original")),
        Place("request.proto", fills.Version()),
        Place("request.host", fills.HostPort("url_domain", "url_port")),
        Place("request.tls.version", Says("url_scheme", "https")),
        Place(_header("Referer"), fills.First(fills.Text("http_request_referrer"))),
        Place(_header("User-Agent"), fills.First(fills.Text("user_agent_original"))),
        Place(_header("X-Request-Id"), fills.First(fills.Text("http_request_id"))),
        Place(_header("X-Forwarded-For"), fills.Joined(fills.Header("forwarded_for"))),
        Place(_header("Forwarded"), fills.Joined(fills.Header("forwarded"))),
        *named(fills.First(fills.Header("client_address")), *(_header(name) for name in CLIENT_HEADERS)),
        Place("bytes_read", fills.Integer("http_request_body_bytes")),
        Place("status", Status()),
        Place("size", fills.Integer("http_response_body_bytes")),
        *named(fills.Duration(1_000_000_000), "duration", "latency"),
    ),
    requires=("request.method", "request.uri", "size"),
)
