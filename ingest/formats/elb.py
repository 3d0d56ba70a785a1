"""HTTP access logs of the AWS Classic Load Balancer: ``elb``.

What it promises beyond :mod:`ingest.formats.shapes`:

- Lines of before 2015, which end with the request, are read too; what follows the last field goes to ``labels`` as ``trailing``.
- ``event_time`` is when the request came. ``event_duration`` is the sum of the three processing times, null when one of them
  is ``-1``; the three are ``labels`` as well, as logged.
- The client's port stands after the last colon: IPv6 addresses are logged without brackets.
- ``backend_status_code`` is the label ``backend_status``, as in ``alb``.
- A request of ``- - -``, which listeners for TCP and SSL log, is no value.

Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html#access-log-entry-format.
"""

from ingest.formats.alb import AGENT, CLIENT, REQUEST, SENT_BYTES, STATUS, TIME, TimedShape
from ingest.formats.proxy_readers import label, separated
from ingest.formats.shapes import LineFormat

__all__ = ["ELB"]

_TIMES = ("request_processing_time", "backend_processing_time", "response_processing_time")
_BASE = (
    *separated([TIME, label("elb"), CLIENT, label("backend"), *map(label, _TIMES)], b" "),
    b" ",
    *separated([STATUS, label("backend_status"), label("received_bytes"), SENT_BYTES], b" "),
    *(b' "', REQUEST, b'"'),
)
_AGENT = (b' "', AGENT, b'" ', label("ssl_cipher"), b" ", label("ssl_protocol"))

ELB = LineFormat(
    "elb",
    "AWS Classic Load Balancer access log",
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html",
    "2000-10-10T20:55:36.000000Z my-loadbalancer 127.0.0.1:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 2326 "
    '"GET http://www.example.com:80/apache_pb.gif HTTP/1.0" "Mozilla/4.08 [en] (Win98; I ;Nav)" - -',
    (
        TimedShape((*_BASE[:-1], b'"' + _AGENT[0], *_AGENT[1:]), "trailing", times=_TIMES),
        TimedShape(_BASE, times=_TIMES),
    ),
)
