"""Access logs of the AWS Application Load Balancer: ``alb``.

What it promises beyond :mod:`ingest.formats.shapes`:

- All versions of the log are read: fields were added at the end over the years, and what may yet be added goes to ``labels``
  as ``trailing``. So do the fields of a line that ends between two versions.
- ``event_time`` is when the response was made (for WebSockets, when the connection closed).
- ``event_duration`` is the sum of the three processing times, null when one of them is ``-1``: then the balancer could not
  hand the request on, or the connection broke. The three are ``labels`` as well, as logged.
- ``http_request_id`` is the ``Root`` of the trace id, without its name, or all of a trace id that has none; the whole is the
  label ``trace_id``.
- The client's port stands after the last colon: IPv6 addresses are logged without brackets.
- ``http_response_body_bytes`` is the size of the whole response, headers included, which is all that is logged.
- A request of ``- - -`` is no value.
- ``target_status_code`` and its list are the labels ``target_status`` and ``target_status_list``: redaction looks at documents with
  the word *code* in a name more closely, which costs more than the parse.

Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-entry-format.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.proxy_readers import ProxyRequest, Status, joined, label, quoted_label, separated
from ingest.formats.readers import Cells, Duration, HostPort, Integer, IsoTime, Quoted
from ingest.formats.shapes import LineFormat, Place, Shape
from ingest.formats.template import Marks, Span, Spans
from ingest.formats.values import spans_of, text
from ingest.formats.verdicts import Verdicts

__all__ = ["AGENT", "ALB", "CLIENT", "REQUEST", "SENT_BYTES", "STATUS", "TIME", "TimedShape"]

_SOURCE = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html"
_SECOND = 1_000_000_000
_ROOT = b"Root="
_BEFORE_ROOT = np.frombuffer(b'";', np.uint8)


@dataclass(frozen=True)
class TimedShape(Shape):
    """A shape whose request took as long as several of its fields together.

    :param times: names of the places that hold these times, in seconds; their values stay labels.
    """

    times: tuple[str, ...] = ()

    def read(self, marks: Marks, spans: Spans, verdicts: Verdicts) -> dict[str, pa.Array]:
        """The shape's columns and ``event_duration``."""
        read = [Duration(_SECOND).read(self._cells(name, marks, spans), verdicts)["event_duration"] for name in self.times]
        total = read[0]
        for more in read[1:]:
            total = pc.add(total, more)
        columns = super().read(marks, spans, verdicts)
        return columns | {"event_duration": total.filter(pa.array(verdicts.good))}


@dataclass(frozen=True)
class _Trace:
    """The header X-Amzn-Trace-Id."""

    rejects: ClassVar[bool] = False

    def read(self, cells: Cells, verdicts: Verdicts) -> dict[str, pa.Array]:  # noqa: ARG002 - the protocol's
        """``http_request_id`` and a label."""
        whole = cells.text()
        root = _only_root(cells, whole) or _root(cells)
        none = cells.null | (root.starts >= root.ends)
        return {"http_request_id": text(cells.marks.data, root, none), "labels.trace_id": whole}


def _only_root(cells: Cells, whole: pa.StringArray) -> Span | None:
    """What follows ``Root=`` when all fields begin so and hold nothing else, as they mostly do; else ``None``."""
    data, span = cells.marks.data, cells.span
    rooted = cells.null.copy()
    rooted |= np.logical_and.reduce([data.take(span.starts + place, mode="clip") == byte for place, byte in enumerate(_ROOT)])
    if not rooted.all() or (spans_of(whole)[0] == ord(";")).any():
        return None
    return Span(np.minimum(span.starts + len(_ROOT), span.ends), span.ends)


def _root(cells: Cells) -> Span:
    """What follows ``Root=`` at the start or after a semicolon, up to the next one; all of the field where there is none."""
    data, span = cells.marks.data, cells.span
    equals = cells.marks.of(ord("="))
    named = np.isin(data.take(equals - len(_ROOT), mode="clip"), _BEFORE_ROOT)
    for place, byte in enumerate(_ROOT[::-1]):
        named &= data.take(equals - place, mode="clip") == byte
    places = np.append(equals[named] + 1, len(data))
    start = places[np.searchsorted(places, span.starts)]
    has = start <= span.ends
    end = cells.marks.next(ord(";"), start)
    return Span(np.where(has, start, span.starts), np.where(has, np.minimum(end, span.ends), span.ends))


TIME = Place("time", "time", reader=IsoTime())
CLIENT = Place("client", "client", reader=HostPort("source_address", "source_port", always=True))
STATUS = Place("elb_status_code", "status", numeric=True, reader=Status())
SENT_BYTES = Place("sent_bytes", "size", numeric=True, reader=Integer("http_response_body_bytes"))
REQUEST = Place("request", "request", reader=ProxyRequest())
AGENT = Place("agent", "agent", reader=Quoted("user_agent_original"))

_TIMES = ("request_processing_time", "target_processing_time", "response_processing_time")
_BASE = (
    *separated([label("type"), TIME, label("elb"), CLIENT, label("target"), *map(label, _TIMES)], b" "),
    b" ",
    *separated([STATUS, label("target_status"), label("received_bytes"), SENT_BYTES], b" "),
    *(b' "', REQUEST, b'" "', AGENT, b'" '),
    *separated([label("ssl_cipher"), label("ssl_protocol"), label("target_group_arn")], b" "),
)
_VERSIONS = (
    (b' "', Place("trace_id", "trace id", reader=_Trace()), b'"'),
    (b' "', quoted_label("domain_name"), b'" "', quoted_label("chosen_cert_arn"), b'"'),
    (b" ", label("matched_rule_priority")),
    (b" ", label("request_creation_time"), b' "', quoted_label("actions_executed"), b'" "', quoted_label("redirect_url"), b'"'),
    (b' "', quoted_label("error_reason"), b'"'),
    (b' "', *separated([quoted_label("target_port_list"), quoted_label("target_status_list")], b'" "'), b'"'),
    (b' "', *separated([quoted_label("classification"), quoted_label("classification_reason")], b'" "'), b'"'),
    (b" ", label("conn_trace_id")),
    (b' "', *separated([*map(quoted_label, ("transformed_host", "transformed_uri", "request_transform_status"))], b'" "'), b'"'),
)
_UNQUOTED = (*_VERSIONS[0], b" ", label("domain_name"), b" ", label("chosen_cert_arn"))
"""As the documentation once showed the end of a line."""


def _shape(*more: bytes | Place, rest: str | None = None) -> Shape:
    return TimedShape(joined(*_BASE, *more), rest, times=_TIMES)


def _version(count: int) -> tuple[bytes | Place, ...]:
    return tuple(part for version in _VERSIONS[:count] for part in version)


_SAMPLE = (
    "http 2000-10-10T20:55:36.000000Z app/my-loadbalancer/50dc6c495c0c9188 127.0.0.1:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 2326 "
    '"GET http://www.example.com:80/apache_pb.gif HTTP/1.0" "Mozilla/4.08 [en] (Win98; I ;Nav)" - - '
    "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "
    '"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2000-10-10T20:55:35.999000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" '
    'TID_1234abcd5678ef90 "-" "-" "-"'
)

ALB = LineFormat(
    "alb",
    "AWS Application Load Balancer access log, all its versions",
    _SOURCE,
    _SAMPLE,
    (
        _shape(*_version(len(_VERSIONS)), rest="trailing"),
        *(_shape(*_version(count)) for count in range(len(_VERSIONS) - 1, 0, -1)),
        _shape(*_UNQUOTED),
        _shape(*_version(1), rest="trailing"),
        _shape(),
    ),
)
