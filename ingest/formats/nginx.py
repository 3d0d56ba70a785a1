"""Formats that nginx's users and packages configure most, beyond ``combined``.

- ``nginx_main``: the ``main`` format of nginx's own ``nginx.conf``: combined with the X-Forwarded-For header as a last quoted field.
- ``combined_timed``: combined (or ``main``) with the time of the request and of the upstream: ``0.123 0.120``, or named as
  ``rt=0.123 uct="0.000" uht="0.010" urt="0.010"``. The time must have decimals, which nginx always writes: a whole number after
  the agent may be anything.
- ``ingress_nginx``: what the Kubernetes ingress controller writes. Where several upstreams were tried their values are lists.

Sources: https://nginx.org/en/docs/http/ngx_http_log_module.html,
https://docs.nginx.com/nginx/admin-guide/monitoring/logging/ (timing values) and
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.access import COMBINED
from ingest.formats.readers import AddressList, Cells, Duration, Text
from ingest.formats.shapes import LineFormat, Place, Shape
from ingest.formats.verdicts import Verdicts

__all__ = ["COMBINED_TIMED", "INGRESS_NGINX", "NGINX_MAIN"]

_PAGE = "https://nginx.org/en/docs/http/ngx_http_log_module.html"
_INGRESS_PAGE = "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/"
_SECOND = 1_000_000_000
_PARTS = COMBINED.shapes[0].parts
_REQUEST_TIME = Place("request_time", "request time", reader=Duration(_SECOND, point=True))
_FORWARDED = (b' "', Place("x_forwarded_for", "X-Forwarded-For", reader=AddressList("forwarded_for", "x_forwarded_for")), b'"')


def _then(*parts: bytes | Place, before: tuple[bytes | Place, ...] = _PARTS) -> tuple[bytes | Place, ...]:
    """Parts after the quote that ends others."""
    joined = list(before)
    for part in parts:
        if isinstance(part, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


NGINX_MAIN = LineFormat(
    "nginx_main",
    "nginx's packaged format: combined with the X-Forwarded-For header",
    _PAGE,
    f'{COMBINED.sample} "-"',
    (Shape(_then(*_FORWARDED)),),
)

COMBINED_TIMED = LineFormat(
    "combined_timed",
    "combined, or nginx_main, with request and upstream times",
    _PAGE,
    f"{COMBINED.sample} 0.123 0.120",
    (
        Shape(_then(b" ", _REQUEST_TIME), rest="upstream_response_time"),
        Shape(_then(b" ", _REQUEST_TIME, before=_then(*_FORWARDED)), rest="upstream_response_time"),
        Shape(
            _then(
                b" rt=",
                _REQUEST_TIME,
                b' uct="',
                Place("upstream_connect_time", "upstream connect time"),
                b'" uht="',
                Place("upstream_header_time", "upstream header time"),
                b'" urt="',
                Place("upstream_response_time", "upstream response time"),
                b'"',
            )
        ),
    ),
)


@dataclass(frozen=True)
class _Upstreams:
    """What follows the upstream's names: four values, each a list when several upstreams were tried, and the request's id."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """Labels and ``http_request_id``."""
        found = pc.extract_regex(cells.text(), _UPSTREAMS)
        verdicts.reject(np.array(pc.is_null(found), np.bool_), "no upstream values after its name")
        columns = {f"labels.{name}": _present(found.field(name)) for name in _UPSTREAM_LABELS}
        return columns | {"http_request_id": found.field("request_id")}


def _present(values: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pc.equal(values, "-"), pa.scalar(None, pa.string()), values)


_UPSTREAM_LABELS = ("upstream_addr", "upstream_response_length", "upstream_response_time", "upstream_status")
_LIST = r"[^ ,]+(?:(?:, | : )[^ ,]+)*"
_UPSTREAMS = "^" + " ".join(f"(?P<{name}>{_LIST})" for name in _UPSTREAM_LABELS) + " (?P<request_id>[^ ]+)$"
_INGRESS = _then(
    b" ",
    Place("request_length", "request length", numeric=True),
    b" ",
    _REQUEST_TIME,
    b" [",
    Place("proxy_upstream_name", "upstream's name"),
    b"] [",
    Place("proxy_alternative_upstream_name", "alternative upstream's name"),
    b"]",
)
_PLAIN = [part for name in _UPSTREAM_LABELS for part in (b" ", Place(name, name.replace("_", " ")))]

INGRESS_NGINX = LineFormat(
    "ingress_nginx",
    "access log of the Kubernetes ingress-nginx controller",
    _INGRESS_PAGE,
    f"{COMBINED.sample} 412 0.123 [default-web-8080] [] 172.17.0.5:8080 2326 0.120 200 529a007902362a5f51385a5fa7049884",
    (
        Shape(_then(*_PLAIN, b" ", Place("request_id", "request id", reader=Text("http_request_id")), before=_INGRESS)),
        Shape(_INGRESS, rest=Place("upstreams", "upstream values", reader=_Upstreams())),
    ),
)
