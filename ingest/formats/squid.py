"""Squid's native ``access.log``: ``squid``.

What it promises beyond :mod:`ingest.formats.shapes`:

- ``event_time`` is when the request was finished. ``event_duration`` is the elapsed time, in milliseconds, which is padded
  with blanks to six signs.
- ``http_response_body_bytes`` is the size of the whole reply, headers included, which is all that is logged.
- The cache's result code is the label ``result_code``. A status of
  ``000`` (none was sent) is no value.
- ``user_name`` is the user, by whatever means known (once RFC 931).
- What follows the content type, such as the headers of ``log_mime_hdrs``, goes to ``labels`` as ``trailing``.

Source: https://wiki.squid-cache.org/Features/LogFormat#squid-native-accesslog-format-in-detail and
http://www.squid-cache.org/Doc/config/logformat/.
"""

from ingest.formats.proxy_readers import Status, Stripped, label, separated, word
from ingest.formats.readers import Duration, EpochTime, Integer, Text
from ingest.formats.shapes import LineFormat, Place, Shape

__all__ = ["SQUID"]

_MILLISECOND = 1_000_000
_PADDED = 6
_SECONDS = 6
_TIME = Place("time", "time", reader=EpochTime(_SECONDS))
_ELAPSED = Place("elapsed", "elapsed time", width=_PADDED, reader=Stripped(Duration(_MILLISECOND), " ", _PADDED))
_LONG = Place("elapsed", "elapsed time", numeric=True, reader=Duration(_MILLISECOND))
_MORE = (
    *(b" ", Place("client", "client", reader=Text("source_address")), b" "),
    *separated([word("result_code"), Place("status", "status", numeric=True, reader=Status())], b"/"),
    b" ",
    *separated(
        [
            Place("bytes", "size", numeric=True, reader=Integer("http_response_body_bytes")),
            Place("method", "method", reader=Text("http_request_method")),
            Place("url", "URL", reader=Text("url_original")),
            Place("user", "user", reader=Text("user_name")),
        ],
        b" ",
    ),
    *(b" ", word("peer_status"), b"/", label("peer_host"), b" ", label("content_type")),
)

SQUID = LineFormat(
    "squid",
    "Squid native access.log",
    "https://wiki.squid-cache.org/Features/LogFormat",
    "971211336.000    109 127.0.0.1 TCP_MISS/200 2326 GET http://www.example.com/apache_pb.gif frank HIER_DIRECT/192.0.2.10 image/gif",
    (Shape((_TIME, b" ", _ELAPSED, *_MORE), "trailing"), Shape((_TIME, b" ", _LONG, *_MORE), "trailing")),
)
