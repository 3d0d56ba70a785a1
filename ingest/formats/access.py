r"""Access logs of Apache, nginx and all who imitate them: ``common``, ``combined`` and ``vhost_combined``.

What each promises beyond :mod:`ingest.formats.shapes`:

- The ident field, which nobody fills, goes to ``labels`` as ``ident`` when it is not ``-``.
- In quoted fields ``\"`` and ``\\`` are decoded, once; ``\xhh`` and the like stay as the server wrote them.
- A request that is not ``METHOD target HTTP/version`` (TLS bytes, nonsense, nothing) is no reason to reject the line: what
  is not known is null, and the text goes to ``labels`` as ``request``. ``GET /path`` alone is HTTP/0.9: all of it is in
  its columns, the version null, and no label.
- ``combined`` and ``vhost_combined`` take further fields after the agent as ``labels`` ``trailing``, as logged. ``common`` does not.
- A line cut off within its agent is taken with what is there of it; one cut off before is rejected.

Source: https://httpd.apache.org/docs/2.4/logs.html#accesslog and https://nginx.org/en/docs/http/ngx_http_log_module.html.
"""

from ingest.formats.readers import ClfTime, Integer, Quoted, Request, Text, VirtualHost
from ingest.formats.shapes import LineFormat, Place, Shape
from ingest.formats.times import CLF_WIDTH

__all__ = ["COMBINED", "COMMON", "VHOST_COMBINED"]

APACHE = "https://httpd.apache.org/docs/2.4/logs.html"
TIME = Place("time", "time", width=CLF_WIDTH, reader=ClfTime())
STATUS = Place("status", "status", numeric=True, reader=Integer("http_response_status_code", 100, 999))
SIZE = Place("size", "size", numeric=True, reader=Integer("http_response_body_bytes"))
REQUEST = Place("request", "request", reader=Request())
ADDRESS = Place("address", "address", reader=Text("source_address"))
USER = Place("user", "user", reader=Quoted("user_name"))
REFERRER = Place("referrer", "referrer", reader=Quoted("http_request_referrer"))
AGENT = Place("agent", "agent", reader=Quoted("user_agent_original"))

_PREFIX = (ADDRESS, b" ", Place("ident", "ident"), b" ", USER, b" [", TIME, b'] "', REQUEST, b'" ', STATUS, b" ", SIZE)
_SUFFIX = (b' "', REFERRER, b'" "', AGENT, b'"')
_VHOST = (Place("vhost", "virtual host", reader=VirtualHost()), b" ")
_SHAPES = {
    "common": Shape(_PREFIX),
    "combined": Shape((*_PREFIX, *_SUFFIX), rest="trailing"),
    "vhost_combined": Shape((*_VHOST, *_PREFIX, *_SUFFIX), rest="trailing"),
}
_SAMPLE_TIME = '[10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
_SAMPLE_AGENT = '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'


def _format(name: str, description: str, sample: str) -> LineFormat:
    relatives = [(other, shape.template) for other, shape in _SHAPES.items() if other != name]
    return LineFormat(name, description, APACHE, sample, (_SHAPES[name],), relatives)


COMMON = _format("common", "Apache common log: no referrer, no user agent", f"127.0.0.1 - frank {_SAMPLE_TIME}")
COMBINED = _format(
    "combined", "Apache and nginx combined log: common with referrer and user agent", f"127.0.0.1 - frank {_SAMPLE_TIME} {_SAMPLE_AGENT}"
)
VHOST_COMBINED = _format(
    "vhost_combined",
    "combined log with the virtual host in front, with or without its port, as Debian's Apache writes it",
    f"www.example.com:80 127.0.0.1 - frank {_SAMPLE_TIME} {_SAMPLE_AGENT}",
)
