"""What Apache's LogFormat directives and nginx's variables mean: the label of each, and what reads it.

Sources: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats, mod_logio.html and mod_ssl.html#logformats beside it;
https://nginx.org/en/docs/varindex.html and https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format.

Every directive of Apache's own modules has an entry here; one of another module's, and a variable of nginx's that has none, is a
label of its own name, which is right for most of them. A directive is also given a rank: of two that fill one column the one of the
lower rank does, the other is a label.
"""

import re
from dataclasses import dataclass

from ingest.formats.readers import (
    ClfTime,
    Duration,
    EpochTime,
    Header,
    Integer,
    IsoTime,
    Quoted,
    Reader,
    Request,
    Text,
    Version,
    VirtualHost,
)
from ingest.formats.times import CLF_WIDTH

__all__ = ["Directive", "apache", "label_of", "nginx"]

SECOND, MILLISECOND, MICROSECOND = 1_000_000_000, 1_000_000, 1_000
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Directive:
    """A field of a configured format.

    :param label: name of its label, should it become one.
    :param reader: fills its columns; ``None`` for a label.
    :param fills: these columns.
    :param rank: the lower goes first where two fill one column.
    :param width: its bytes, when they never vary.
    :param numeric: digits or ``-``.
    :param brackets: whether it is written within brackets (``%t``).
    :param spaced: whether it may be a list with blanks after its commas.
    """

    label: str
    reader: Reader | None = None
    fills: tuple[str, ...] = ()
    rank: int = 1
    width: int = 0
    numeric: bool = False
    brackets: bool = False
    spaced: bool = False


def label_of(name: str) -> str:
    """A header's, cookie's or variable's name as a label: lower case, ``_`` for what is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "value"


def _text(label: str, column: str, rank: int = 1) -> Directive:
    return Directive(label, Text(column), (column,), rank)


def _quoted(label: str, column: str, rank: int = 1) -> Directive:
    return Directive(label, Quoted(column), (column,), rank)


def _whole(label: str, column: str, least: int = 0, most: int | None = None, rank: int = 1) -> Directive:
    return Directive(label, Integer(column, least, most), (column,), rank, numeric=True)


def _lasted(label: str, unit: int, rank: int = 1) -> Directive:
    return Directive(label, Duration(unit), ("event_duration",), rank)


def _time(label: str, reader: Reader, width: int = 0, rank: int = 1, brackets: bool = False) -> Directive:
    return Directive(label, reader, ("event_time",), rank, width, brackets=brackets)


_STATUS = _whole("status", "http_response_status_code", 100, 999)
_REQUEST = Directive("request", Request(), ("http_request_method", "url_original", "http_version"), 0)
_HOST = Directive("host", VirtualHost(), ("url_domain", "url_port"))
_VERSION = Directive("protocol", Version(), ("http_version",))
_CLF = _time("time", ClfTime(), CLF_WIDTH)

_HEADERS = {
    "referer": _quoted("referrer", "http_request_referrer"),
    "user-agent": _quoted("agent", "user_agent_original"),
    "host": _HOST,
    "x-request-id": _quoted("x_request_id", "http_request_id", 2),
    "x-forwarded-for": Directive("x_forwarded_for", Header("forwarded_for", "x_forwarded_for"), ("forwarded_for",), spaced=True),
    "forwarded": Directive("forwarded", Header("forwarded", "forwarded"), ("forwarded",), spaced=True),
    **{
        name: Directive(label_of(name), Header("client_address", label_of(name)), ("client_address",), rank)
        for rank, name in enumerate(("cf-connecting-ip", "true-client-ip", "x-real-ip"), start=1)
    },
}

_APACHE = {
    "a": _text("client_ip", "source_address"),
    "A": Directive("local_ip"),
    "b": _whole("size", "http_response_body_bytes"),
    "B": _whole("size", "http_response_body_bytes"),
    "D": _lasted("duration_us", MICROSECOND),
    "f": Directive("filename"),
    "h": _text("remote_host", "source_address", 2),
    "H": _VERSION,
    "I": Directive("bytes_received"),
    "k": Directive("keepalive_requests"),
    "l": Directive("ident"),
    "L": Directive("log_id"),
    "m": _text("method", "http_request_method"),
    "O": _whole("bytes_sent", "http_response_body_bytes", rank=3),
    "p": _whole("port", "url_port", 0, _LARGEST_PORT, 2),
    "P": Directive("pid"),
    "q": Directive("query_string"),
    "r": _REQUEST,
    "R": Directive("handler"),
    "s": _STATUS,
    "S": Directive("bytes_transferred"),
    "t": _time("time", ClfTime(), CLF_WIDTH, brackets=True),
    "T": _lasted("duration_s", SECOND, 2),
    "u": _quoted("user", "user_name"),
    "U": _quoted("path", "url_path"),
    "v": _text("server_name", "url_domain", 2),
    "V": _text("canonical_name", "url_domain", 3),
    "X": Directive("connection_status"),
    "^FB": Directive("time_to_first_byte_us"),
}
_APACHE_TIMES = {"sec": EpochTime(6), "msec": EpochTime(3), "usec": EpochTime(0)}
_APACHE_DURATIONS = {"ms": MILLISECOND, "us": MICROSECOND, "s": SECOND}
_APACHE_NAMED = {"C": "cookie", "e": "env", "n": "note", "o": "response", "x": "ssl", "^ti": "trailer", "^to": "response_trailer"}


def apache(letter: str, name: str | None = None, redirected: str = "") -> Directive | None:
    """The directive of a letter (``^ti`` and its like count as one), with what stands in its braces; ``None`` for a time's pattern.

    :param redirected: ``<`` or ``>``; only ``%>s`` and ``%s`` differ, and the last status counts where both are logged.
    """
    if name is None:
        found = _APACHE.get(letter) or Directive(f"directive_{label_of(letter)}")
        return _quiet(found, "original_status") if found is _STATUS and redirected != ">" else found
    if letter == "i":
        return _HEADERS.get(name.lower()) or Directive(label_of(name))
    if letter == "t" and name.removeprefix("begin:").removeprefix("end:") in _APACHE_TIMES:
        return _time("time_" + label_of(name), _APACHE_TIMES[name.rpartition(":")[2]], rank=2 if name.startswith("end:") else 1)
    if letter == "T" and name in _APACHE_DURATIONS:
        return _lasted(f"duration_{name}", _APACHE_DURATIONS[name])
    if letter in ("a", "h") and name == "c":
        return _text("peer_address", "source_address", 3)
    if letter == "p" and name in ("canonical", "local", "remote"):
        remote = _whole("remote_port", "source_port", 0, _LARGEST_PORT)
        return remote if name == "remote" else _whole(f"{name}_port", "url_port", 0, _LARGEST_PORT, 2)
    if letter == "P" and name in ("pid", "tid", "hextid"):
        return Directive(name)
    if letter == "x" and name == "REMOTE_USER":
        return _quoted("ssl_user", "user_name", 2)
    if letter == "t":
        return None
    if letter not in _APACHE_NAMED:
        return Directive(label_of(f"{name}_{letter}"))
    prefix = f"{_APACHE_NAMED[letter]}_"
    return Directive(prefix + label_of(name).removeprefix(prefix))


def _quiet(directive: Directive, label: str) -> Directive:
    """The same with a rank behind its like."""
    return Directive(label, directive.reader, directive.fills, 2, directive.width, directive.numeric)


_NGINX = {
    "args": _quoted("args", "url_query"),
    "body_bytes_sent": _whole("body_bytes_sent", "http_response_body_bytes"),
    "bytes_sent": _whole("bytes_sent", "http_response_body_bytes", rank=3),
    "document_uri": _quoted("uri", "url_path", 2),
    "host": _text("host", "url_domain", 2),
    "msec": _time("msec", EpochTime(6), rank=2),
    "proxy_add_x_forwarded_for": Directive("proxy_add_x_forwarded_for", Text("source_address"), ("source_address",), 4, spaced=True),
    "query_string": _quoted("args", "url_query", 2),
    "realip_remote_addr": _text("peer_address", "source_address", 3),
    "remote_addr": _text("remote_addr", "source_address"),
    "remote_port": _whole("remote_port", "source_port", 0, _LARGEST_PORT),
    "remote_user": _quoted("user", "user_name"),
    "request": _REQUEST,
    "request_id": _text("request_id", "http_request_id"),
    "request_method": _text("method", "http_request_method"),
    "request_time": _lasted("request_time", SECOND),
    "request_uri": _quoted("request_uri", "url_original"),
    "scheme": _text("scheme", "url_scheme"),
    "server_name": _text("server_name", "url_domain", 3),
    "server_port": _whole("server_port", "url_port", 0, _LARGEST_PORT, 2),
    "server_protocol": _VERSION,
    "status": _STATUS,
    "time_iso8601": _time("time_iso8601", IsoTime()),
    "time_local": _CLF,
    "uri": _quoted("uri", "url_path"),
}


def nginx(name: str) -> Directive:
    """The variable of that name, without its ``$``."""
    if name.startswith("http_"):
        return _HEADERS.get(name.removeprefix("http_").replace("_", "-")) or Directive(name.removeprefix("http_"))
    return _NGINX.get(name) or Directive(name, spaced=name.startswith("upstream_"))
