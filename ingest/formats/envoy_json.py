"""Envoy's access log in JSON, with the names of Istio's and Envoy Gateway's default formats.

What it promises beyond :mod:`ingest.formats.documents`:

- ``bytes_received`` and ``bytes_sent`` are bytes of bodies, ``duration`` is milliseconds, as the command operators say.
- The client is ``downstream_remote_address``: the peer, or whom Envoy takes for the client by its own count of trusted hops.
- A header may be named as it is (``user-agent``, ``:authority``) or with underscores (``user_agent``, ``authority``).

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, the names:
https://istio.io/latest/docs/tasks/observability/logs/access-log/ and
https://gateway.envoyproxy.io/docs/tasks/observability/proxy-accesslog/.
"""

from ingest.formats import fills
from ingest.formats.document_tables import HostOf, Status, named
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["ENVOY_JSON"]

ENVOY_JSON = DocumentFormat(
    name="envoy_json",
    description="Envoy's access log in JSON, as Istio and Envoy Gateway write it",
    source="https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage",
    sample=(
        '{":authority":"www.example.com","bytes_received":0,"bytes_sent":2326,"downstream_local_address":"10.42.0.77:10443",'
        '"downstream_remote_address":"127.0.0.1:59292","duration":11,"method":"GET","protocol":"HTTP/1.0","response_code":200,'
        '"response_flags":"-","start_time":"2000-10-10T20:55:36.000Z","referer":"http://www.example.com/start.html",'
        '"user-agent":"Mozilla/4.08 [en] (Win98; I ;Nav)","x-envoy-origin-path":"/apache_pb.gif","x-forwarded-for":null,'
        '"x-request-id":"3bbc0252-2d5c-49fe-bd89-104e9b61770b"}'
    ),
    places=(
        Place("start_time", fills.Time()),
        Place("downstream_remote_address", fills.HostPort("source_address", "source_port")),
        *named(HostOf("source_address"), "downstream_remote_address_without_port", "downstream_direct_remote_address"),
        *named(fills.Header("forwarded_for"), "x-forwarded-for", "x_forwarded_for"),
        *named(fills.Header("forwarded"), "forwarded"),
        *named(fills.Text("http_request_method"), "method", ":method"),
        *named(fills.Text("url_original"), "x-envoy-origin-path", "x-envoy-original-path", "x_envoy_original_path", "path", ":path"),
        Place("protocol", fills.Version()),
        *named(fills.HostPort("url_domain", "url_port"), ":authority", "authority"),
        Place("host", HostOf("url_domain")),
        *named(fills.Lower("url_scheme"), "scheme", ":scheme", "x-forwarded-proto", "x_forwarded_proto"),
        *named(fills.Text("http_request_referrer"), "referer", "referrer"),
        *named(fills.Text("user_agent_original"), "user-agent", "user_agent"),
        *named(fills.Text("http_request_id"), "x-request-id", "x_request_id", "request_id", "trace_id"),
        Place("bytes_received", fills.Integer("http_request_body_bytes")),
        Place("response_code", Status()),
        Place("bytes_sent", fills.Integer("http_response_body_bytes")),
        Place("duration", fills.Duration(1_000_000)),
    ),
    requires=("start_time", "response_code"),
)
