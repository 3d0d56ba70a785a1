"""What HAProxy logs of a request: ``haproxy``, the message without its syslog header.

What it promises beyond :mod:`ingest.formats.shapes`:

- ``option httplog`` and ``option httpslog`` are read, with none, one or two blocks of captured headers: one alone is taken for
  the request's. What a custom format appends goes to ``labels`` as ``trailing``; one more field after the server becomes the
  label ``destination``.
- ``option tcplog`` and the shorter lines of failed connections are read too: HAProxy writes them into the same log. They have
  no request; the failure is the label ``error``.
- Notices that a proxy has started or stopped hold no request and no time: they are passed over.
- Times name no zone. ``event_time`` is when the request (of TCP: the connection) began.
- ``event_duration`` is Ta (before 1.7: Tt). Timers are labels as logged, ``-1`` included: ``time_request`` (TR, before Tq),
  ``time_queue`` (Tw), ``time_connect`` (Tc), ``time_response`` (Tr).
- With ``option logasap`` a plus sign says that bytes and duration were still growing; the label ``logasap`` keeps it.
- ``http_response_body_bytes`` is bytes_read, headers included, which is all that is logged.
- A frontend that ends in ``~`` terminated TLS: ``url_scheme`` is ``https``.
- The client's port stands after the last colon. An address of ``-`` is none; nor is ``unix``, whose number names the socket
  that took the connection: both stay as the label ``client``.

Source: https://docs.haproxy.org/3.0/configuration.html#8.2 (8.2.2 TCP, 8.2.3 HTTP, 8.2.4 HTTPS, 8.2.5 errors).
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.proxy_readers import ProxyRequest, Status, Stripped, has_blank, joined, label, separated, word
from ingest.formats.readers import Cells, Duration, HostPort, Integer, PatternTime, Reader
from ingest.formats.shapes import LineFormat, Place, Shape
from ingest.formats.template import SPACE, Span
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Numbers

__all__ = ["HAPROXY"]

_MILLISECOND = 1_000_000
_TIME = PatternTime("%d/%b/%Y:%H:%M:%S.%L")


@dataclass(frozen=True)
class _Client:
    """``address:port``."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """Two columns, and a label where the address is none."""
        verdicts.reject(has_blank(cells), f"{cells.label} holds a blank")
        found = HostPort("source_address", "source_port", always=True).read(cells, verdicts)
        unix = pc.fill_null(pc.equal(found["source_address"], "unix"), False)
        none = pc.or_(unix, pc.fill_null(pc.equal(found["source_address"], "-"), False))
        if not pc.any(none).as_py():
            return found
        nothing = pa.scalar(None, pa.string())
        return {
            "source_address": pc.if_else(none, nothing, found["source_address"]),
            "source_port": pc.if_else(unix, pa.scalar(None, pa.int32()), found["source_port"]),
            "labels.client": pc.if_else(unix, cells.text(), nothing),
        }


@dataclass(frozen=True)
class _Frontend:
    """The frontend's name, with a tilde behind when it terminated TLS."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """``url_scheme`` and a label."""
        last = cells.marks.data.take(np.maximum(cells.span.ends - 1, 0), mode="clip")
        secure = (last == ord("~")) & (cells.span.ends > cells.span.starts)
        scheme = pc.if_else(pa.array(secure), pa.scalar("https"), pa.scalar(None, pa.string()))
        return {"url_scheme": scheme, "labels.frontend_name": cells.text()}


@dataclass(frozen=True)
class _Growing:
    """A number that a plus sign may stand before."""

    reader: Reader
    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The other reader's columns, and a label where there is a sign."""
        columns = Stripped(self.reader, "+", 1).read(cells, verdicts)
        plus = (cells.marks.data.take(cells.span.starts, mode="clip") == ord("+")) & (cells.span.ends > cells.span.starts)
        return columns | ({"labels.logasap": pa.array(np.where(plus, "+", ""), pa.string(), mask=~plus)} if plus.any() else {})


@dataclass(frozen=True)
class _Captures:
    """Captured headers: ``{a|b} {c} `` with the blank behind, ``{a|b} ``, or nothing."""

    rejects: ClassVar[bool] = True

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:
        """Two labels."""
        data, span = cells.marks.data, cells.span
        some = span.ends > span.starts
        if not some.any():
            return {}
        inner = Span(np.minimum(span.starts + 1, span.ends), np.maximum(span.ends - 2, span.starts))
        braces = (data.take(span.starts, mode="clip") == ord("{")) & (inner.starts <= inner.ends)
        braces &= (data.take(inner.ends, mode="clip") == ord("}")) & (data.take(inner.ends + 1, mode="clip") == SPACE)
        verdicts.reject(some & ~braces, f"{cells.label} are not in braces")
        inner = Span(inner.starts, np.maximum(inner.starts, inner.ends))
        between = np.minimum(_between(cells, inner.starts), inner.ends)
        request, response = Span(inner.starts, between), Span(np.minimum(between + 3, inner.ends), inner.ends)
        return {
            "labels.captured_request_headers": text(data, request, ~braces | (request.starts == request.ends)),
            "labels.captured_response_headers": text(data, response, ~braces | (response.starts == response.ends)),
        }


def _between(cells: Cells, starts: Numbers) -> Numbers:
    """Where the first ``} {`` at or after each of these places begins, or the buffer's end."""
    data, closing = cells.marks.data, cells.marks.of(ord("}"))
    followed = (data.take(closing + 1, mode="clip") == SPACE) & (data.take(closing + 2, mode="clip") == ord("{"))
    places = np.append(closing[followed], len(data))
    return places[np.searchsorted(places, starts)]


_CONNECTION = (
    Place("client", "client", reader=_Client()),
    b" [",
    Place("time", "time", width=_TIME.width, reader=_TIME),
    b"] ",
    Place("frontend_name", "frontend", reader=_Frontend()),
)
_SERVER = (b" ", word("backend_name"), b"/", label("server_name"))
_SIZE = Place("bytes_read", "size", reader=_Growing(Integer("http_response_body_bytes")))
_DURATION = Place("time_active", "total time", reader=_Growing(Duration(_MILLISECOND)))
_LOAD = (
    *separated([word("actconn"), *map(label, ("feconn", "beconn", "srv_conn", "retries"))], b"/"),
    *(b" ", word("srv_queue"), b"/", label("backend_queue")),
)
_HTTP = (
    *(b" ", *separated([word("time_request"), *map(label, ("time_queue", "time_connect", "time_response")), _DURATION], b"/"), b" "),
    *separated([Place("status", "status", reader=Status()), _SIZE], b" "),
    *(b" ", label("captured_request_cookie"), b" ", label("captured_response_cookie"), b" ", label("termination_state"), b" "),
    *_LOAD,
    *(b" ", Place("captures", "captured headers", reader=_Captures(), empty=True), b'"'),
    *(Place("request", "request", reader=ProxyRequest()), b'"'),
)
_TLS = (
    b" ",
    *separated([word("fc_err"), *map(label, ("ssl_fc_err", "ssl_c_err", "ssl_c_ca_err", "ssl_fc_is_resumed"))], b"/"),
    *(b" ", *separated([word("ssl_fc_sni"), label("ssl_version"), label("ssl_ciphers")], b"/")),
)
_TCP = (
    *(b" ", *separated([word("time_queue"), label("time_connect"), _DURATION], b"/"), b" "),
    *(_SIZE, b" ", label("termination_state"), b" ", *_LOAD),
)
_FAILED = (b"/", word("bind_name"), b":")
_NOTICES = re.compile(rb"Proxy \S+ (?:started|stopped \([^()]*\))\.|Stopping \S+ \S+ in \d+ ms\.")

HAPROXY = LineFormat(
    "haproxy",
    "HAProxy log of HTTP and HTTPS requests, and of TCP connections and failed ones between them",
    "https://docs.haproxy.org/3.0/configuration.html#8.2.3",
    "127.0.0.1:33317 [10/Oct/2000:20:55:36.000] http-in static/srv1 10/0/30/69/109 200 2326 - - ---- 1/1/1/1/0 0/0 {www.example.com} {} "
    '"GET /apache_pb.gif HTTP/1.0"',
    (
        Shape(joined(*_CONNECTION, *_SERVER, *_HTTP)),
        Shape(joined(*_CONNECTION, *_SERVER, *_HTTP, *_TLS)),
        Shape(joined(*_CONNECTION, *_SERVER, *_HTTP), "trailing"),
        Shape(joined(*_CONNECTION, *_SERVER, b" ", label("destination"), *_HTTP), "trailing"),
        Shape(joined(*_CONNECTION, *_SERVER, *_TCP)),
        Shape(joined(*_CONNECTION, *_FAILED), "error"),
    ),
    notices=_NOTICES,
)
