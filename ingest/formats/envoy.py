"""Access logs of Envoy in its default text format, and in Istio's: ``envoy``.

What it promises beyond :mod:`ingest.formats.shapes`:

- Envoy's default format has no peer address: ``source_address`` is the last of X-Forwarded-For, which the nearest proxy has
  seen for itself; as an edge proxy that is Envoy, of its own peer. Whether it is believed, or one before it, is for
  whoever trusts proxies: the whole header is ``forwarded_for``, and the label ``x_forwarded_for``.
- Istio's default format, of its versions from 1.0 on, ends with the peer's address: that is ``source_address``.
- ``http_request_id`` is X-Request-ID, ``url_domain`` and ``url_port`` the authority, with an IPv6 address in its brackets.
- Body sizes are body bytes; ``event_duration`` is the total duration.
- A response code of ``0`` (nothing was sent) and a request of ``- - -`` are no values.
- What follows the default format goes to ``labels`` as ``trailing``.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string and
https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format.
"""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.access import AGENT
from ingest.formats.proxy_readers import ProxyRequest, Status, joined, label, quoted_label, separated
from ingest.formats.readers import Cells, Duration, Header, HostPort, Integer, IsoTime, Quoted, Reader
from ingest.formats.shapes import LineFormat, Place, Shape
from ingest.formats.verdicts import Verdicts

__all__ = ["ENVOY"]

_MILLISECOND = 1_000_000
_FORWARDED = Header("forwarded_for", "x_forwarded_for")


@dataclass(frozen=True)
class _LastForwarded:
    """X-Forwarded-For where nothing else names the client."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """``source_address`` and what the header itself gives."""
        columns = _FORWARDED.read(cells, verdicts)
        last = pc.utf8_trim_whitespace(pc.replace_substring_regex(columns["forwarded_for"], r"(?s)^.*,", ""))
        return columns | {"source_address": pc.if_else(pc.equal(last, ""), pa.scalar(None, pa.string()), last)}


_START = (
    *(b"[", Place("start_time", "time", reader=IsoTime()), b'] "', Place("request", "request", reader=ProxyRequest()), b'" '),
    *separated([Place("response_code", "status", numeric=True, reader=Status()), label("response_flags")], b" "),
)
_FAILURE = (b' "', quoted_label("upstream_transport_failure_reason"), b'"')
_MIXER = (b' "', quoted_label("mixer_status"), b'"')
_DETAILS = (b" ", label("response_code_details"), b" ", label("connection_termination_details"))


def _middle(forwarded: Reader) -> tuple[bytes | Place, ...]:
    return (
        *(b" ", Place("bytes_received", "request size", numeric=True, reader=Integer("http_request_body_bytes"))),
        *(b" ", Place("bytes_sent", "size", numeric=True, reader=Integer("http_response_body_bytes"))),
        *(b" ", Place("duration", "total time", numeric=True, reader=Duration(_MILLISECOND))),
        *(b" ", label("upstream_service_time")),
        *(b' "', Place("x_forwarded_for", "forwarded addresses", reader=forwarded), b'" "', AGENT, b'" "'),
        *(Place("request_id", "request id", reader=Quoted("http_request_id")), b'" "'),
        *(Place("authority", "authority", reader=HostPort("url_domain", "url_port", brackets=True)), b'" "'),
        *(quoted_label("upstream_host"), b'"'),
    )


_PEER = Place("downstream_remote_address", "peer address", reader=HostPort("source_address", "source_port"))
_ISTIO_END = (
    b" ",
    *separated([*map(label, ("upstream_cluster", "upstream_local_address", "downstream_local_address")), _PEER], b" "),
    *(b" ", label("requested_server_name"), b" ", label("route_name")),
)


def _istio(*between: bytes | Place) -> Shape:
    return Shape(joined(*_START, *between, *_middle(_FORWARDED), *_ISTIO_END))


ENVOY = LineFormat(
    "envoy",
    "Envoy access log in its default text format or Istio's",
    "https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string",
    '[2000-10-10T20:55:36.000Z] "GET /apache_pb.gif HTTP/1.0" 200 - 0 2326 226 100 "127.0.0.1" "Mozilla/4.08 [en] (Win98; I ;Nav)" '
    '"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "www.example.com" "10.0.2.1:80"',
    (
        Shape(joined(*_START, *_middle(_LastForwarded())), "trailing"),
        _istio(*_DETAILS, *_FAILURE),
        _istio(*_FAILURE),
        _istio(*_MIXER, *_FAILURE),
    ),
)
