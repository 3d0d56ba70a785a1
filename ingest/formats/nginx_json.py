r"""nginx's access log in JSON: a ``log_format`` with ``escape=json`` that writes one object per line.

The names are whoever's wrote the ``log_format``. Read are the names of nginx's variables, and those of the example that
ingress-nginx's users copy (``vhost``, ``method``, ``path``, ``request_proto``, ``request_query``, ``duration``). What it promises
beyond :mod:`ingest.formats.documents`:

- ``remote_addr`` must be there, by which the format is told from others; it may be empty.
- The time is the most exact of ``msec``, ``time_iso8601``, ``time_local`` and, last, ``timestamp``, ``@timestamp`` and ``time``.
- ``request`` counts before its parts; one that is no request stays in ``labels``.
- ``body_bytes_sent`` counts before ``bytes_sent``; ``request_length`` holds headers too and is a label.

Source: https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format, the variables:
https://nginx.org/en/docs/varindex.html, the other names:
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/configmap/#log-format-upstream.
"""

from ingest.formats import fills
from ingest.formats.document_tables import PORT, HostOf, Says, Status, named
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["NGINX_JSON"]

_TIMES = (
    Place("msec", fills.Time(unit="s")),
    *named(fills.Time(), "time_iso8601", "time_local", "timestamp", "@timestamp", "time", "ts"),
)
_CLIENT = (
    Place("remote_addr", fills.Text("source_address")),
    Place("remote_port", fills.Integer("source_port", 0, PORT)),
    *named(fills.Text("user_name"), "remote_user", "user"),
    *named(fills.Header("forwarded_for"), "http_x_forwarded_for", "x_forwarded_for", "x-forwarded-for", "x_forward_for", "x-forward-for"),
    *named(fills.Header("forwarded"), "http_forwarded", "forwarded"),
    *named(fills.Header("client_address"), "http_cf_connecting_ip", "http_true_client_ip", "true-client-ip", "http_x_real_ip", "x_real_ip"),
)
_REQUEST = (
    Place("request", fills.Request()),
    *named(fills.Text("http_request_method"), "request_method", "method"),
    *named(fills.Text("url_original"), "request_uri", "uri", "path", "url"),
    *named(fills.Text("url_query"), "args", "query_string", "request_query"),
    *named(fills.Version(), "server_protocol", "request_proto", "protocol"),
    *named(fills.Text("http_request_referrer"), "http_referer", "http_referrer", "referer", "referrer"),
    *named(fills.Text("user_agent_original"), "http_user_agent", "user_agent", "agent"),
    *named(fills.Text("http_request_id"), "request_id", "req_id", "http_x_request_id", "x_request_id"),
    *named(fills.Integer("http_request_body_bytes"), "content_length", "http_content_length"),
    Place("http_host", fills.HostPort("url_domain", "url_port")),
    *named(HostOf("url_domain"), "host", "vhost", "server_name"),
    Place("server_port", fills.Integer("url_port", 0, PORT)),
    *named(fills.Lower("url_scheme"), "scheme", "request_scheme"),
    Place("ssl_protocol", Says("url_scheme", "https")),
)
_RESPONSE = (
    Place("status", Status()),
    *named(fills.Integer("http_response_body_bytes"), "body_bytes_sent", "bytes_sent"),
    *named(fills.Duration(1_000_000_000), "request_time", "duration"),
)

NGINX_JSON = DocumentFormat(
    name="nginx_json",
    description="nginx's access log as JSON (escape=json), its fields named like nginx's variables",
    source="https://nginx.org/en/docs/http/ngx_http_log_module.html",
    sample=(
        '{"time_iso8601":"2000-10-10T13:55:36-07:00","remote_addr":"127.0.0.1","remote_user":"frank",'
        '"request":"GET /apache_pb.gif HTTP/1.0","status":"200","body_bytes_sent":"2326","request_time":"0.012","http_referer":"http://www.example.com/start.html",'
        '"http_user_agent":"Mozilla/4.08 [en] (Win98; I ;Nav)","http_x_forwarded_for":""}'
    ),
    places=(*_TIMES, *_CLIENT, *_REQUEST, *_RESPONSE),
    requires=("remote_addr",),
)
