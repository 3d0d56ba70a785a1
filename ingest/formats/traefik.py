"""Access logs of Traefik in its common log format: ``traefik``.

What it promises beyond :mod:`ingest.formats.shapes`:

- It is ``combined`` with the number of the request, the router, the server's URL and the duration in whole milliseconds.
- Referrer and agent, and router and URL together, may be a dash without quotes, as versions before 2.0 wrote them.
- Traefik escapes no quotes: a line that has some within a field is read by what stands around it.

Traefik's generic CLF, which lacks these four, is ``combined``.

Source: https://doc.traefik.io/traefik/observability/access-logs/#format.
"""

from itertools import product

from ingest.formats.access import ADDRESS, AGENT, REFERRER, SIZE, TIME, USER
from ingest.formats.proxy_readers import ProxyRequest, Status, joined, label, quoted_label, separated
from ingest.formats.readers import Duration
from ingest.formats.shapes import LineFormat, Place, Shape

__all__ = ["TRAEFIK"]

_MILLISECOND = 1_000_000
_HEAD = (
    *(ADDRESS, b" ", Place("ident", "ident"), b" ", USER, b" [", TIME, b'] "', Place("request", "request", reader=ProxyRequest()), b'" '),
    *separated([Place("status", "status", numeric=True, reader=Status()), SIZE], b" "),
)
_END = (b" ", Place("duration", "total time", reader=Duration(_MILLISECOND, suffix="ms")))
_REFERRERS = ((b' "', REFERRER, b'"'), (b" -",))
_AGENTS = ((b' "', AGENT, b'"'), (b" -",))
_ROUTES = ((b' "', quoted_label("router_name"), b'" "', quoted_label("server_url"), b'"'), (b" - -",))

TRAEFIK = LineFormat(
    "traefik",
    "Traefik access log in common log format, with router, server and duration",
    "https://doc.traefik.io/traefik/observability/access-logs/#format",
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" '
    '"Mozilla/4.08 [en] (Win98; I ;Nav)" 271 "web@docker" "http://172.19.0.3:80" 3ms',
    tuple(
        Shape(joined(*_HEAD, *referrer, *agent, b" ", label("request_count"), *route, *_END))
        for route, agent, referrer in product(_ROUTES, _AGENTS, _REFERRERS)
    ),
)
