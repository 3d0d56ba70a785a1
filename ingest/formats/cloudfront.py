"""CloudFront standard logs: cells between tabs, their names in a ``#Fields:`` line.

What it promises beyond :mod:`ingest.formats.base` and :mod:`ingest.formats.keyed`:

- Lines that begin with ``#`` hold no event. Before the first ``#Fields:`` the 33 fields of the standard log are assumed; one that
  names no ``x-edge-`` field is another program's.
- CloudFront writes white space, control characters and a few signs as ``%hh``. That is undone, once, in the user agent, the
  referrer, the forwarded addresses and the viewer's Host header; in agents of years when all blanks were written as ``%2520``,
  twice. What would become a control character or no valid UTF-8 stays as it was logged. URLs are as logged.
- ``x-host-header`` is the domain; ``cs(Host)``, the distribution's own name, is a label. ``sc-bytes`` is the response's size.
- Times are UTC, whatever the zone of the source. ``time-taken`` counts seconds. A status ``000`` means that the viewer left
  before there was an answer: a label.
- All other fields are labels, under their names with ``_`` for other signs: ``x_edge_location``, ``ssl_protocol``.

Source: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import fills
from ingest.formats.fills import Read, Text, Values
from ingest.formats.header_fills import Host, Status
from ingest.formats.keyed import Known, Table
from ingest.formats.values import spans_of
from ingest.formats.w3c import Dialect, W3cFormat

__all__ = ["CLOUDFRONT", "FIELDS"]

FIELDS = (
    *("date", "time", "x-edge-location", "sc-bytes", "c-ip", "cs-method", "cs(Host)", "cs-uri-stem", "sc-status", "cs(Referer)"),
    *("cs(User-Agent)", "cs-uri-query", "cs(Cookie)", "x-edge-result-type", "x-edge-request-id", "x-host-header", "cs-protocol"),
    *("cs-bytes", "time-taken", "x-forwarded-for", "ssl-protocol", "ssl-cipher", "x-edge-response-result-type", "cs-protocol-version"),
    *("fle-status", "fle-encrypted-fields", "c-port", "time-to-first-byte", "x-edge-detailed-result-type", "sc-content-type"),
    *("sc-content-len", "sc-range-start", "sc-range-end"),
)
"""Of a standard log, in order."""
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_TWICE = re.compile(r"%25(?=[0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Decoded(Text):
    """Text with ``%hh`` decoded, once; each distinct text is looked at once.

    :param agent: whether blanks written as ``%2520`` throughout are decoded, too.
    :param keep: whether it stays a label as it was logged.
    """

    agent: bool = False
    keep: bool = False

    def read(self, values: Values) -> Read:
        """The column."""
        return Read({self.column: _decoded(values.strings, self.agent)}, keep=np.ones(len(values), np.bool_) if self.keep else None)


@dataclass(frozen=True)
class DecodedHost(Host):
    """The same of a host."""

    def read(self, values: Values) -> Read:
        """Two columns."""
        data, span = spans_of(_decoded(values.strings, agent=False))
        return super().read(Values(data, span, values.kinds, values.zone))


def _decoded(strings: pa.StringArray, agent: bool) -> pa.StringArray:
    found = strings.dictionary_encode()
    texts = found.dictionary
    if agent:
        twice = pc.and_(pc.match_substring(texts, "%2520"), pc.invert(pc.match_substring(texts, "%20")))
        texts = pc.if_else(twice, pc.replace_substring(texts, "%2520", "%20"), texts)
    # What most have is decoded for all at once. A %25 before it is a sign of its own.
    blanks = pc.and_(pc.match_substring(texts, "%20"), pc.invert(pc.match_substring(texts, "%25")))
    texts = pc.if_else(blanks, pc.replace_substring(texts, "%20", " "), texts)
    odd = pc.match_substring(texts, "%")
    if pc.any(odd).as_py():
        decoded = [_ESCAPES.sub(_escape, one) for one in texts.filter(odd).to_pylist()]
        texts = pc.replace_with_mask(texts, odd, pa.array(decoded, pa.string()))
    return texts.take(found.indices)


def _escape(run: "re.Match[str]") -> str:
    """What a run of escapes says; as it is where it holds a control character or is no UTF-8."""
    try:
        said = bytes.fromhex(run[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return run[0]
    return said if said.isprintable() else "".join(_printable(sign) for sign in said)


def _printable(sign: str) -> str:
    return sign if sign.isprintable() else "".join(f"%{byte:02X}" for byte in sign.encode())


def _is_other(names: tuple[str, ...]) -> str:
    return "" if any(name.startswith("x_edge_") for name in names) else "it looks like format w3c"


_TABLE = Table(
    Known(("timestamp_ms",), fills.Time("ms")),
    Known(("c_ip",), fills.Text("source_address")),
    Known(("c_port",), fills.Integer("source_port", 0, 65535)),
    Known(("cs_method",), fills.Text("http_request_method")),
    Known(("cs_uri_stem",), fills.Text("url_path")),
    Known(("cs_uri_query",), fills.Text("url_query")),
    Known(("cs_protocol",), fills.Lower("url_scheme")),
    Known(("x_host_header", "cs_host"), DecodedHost()),
    Known(("cs_protocol_version",), fills.Version()),
    Known(("sc_status",), Status()),
    Known(("sc_bytes",), fills.Integer("http_response_body_bytes")),
    Known(("cs_user_agent",), Decoded("user_agent_original", agent=True)),
    Known(("cs_referer",), Decoded("http_request_referrer")),
    Known(("x_edge_request_id",), fills.Text("http_request_id")),
    Known(("time_taken",), fills.Duration(1_000_000_000)),
    Known(("x_forwarded_for",), Decoded("forwarded_for", keep=True)),
)
_CELLS = (
    "2000-10-10 20:55:36 FRA56-P1 2326 127.0.0.1 GET d111111abcdef8.cloudfront.net /apache_pb.gif 200 "
    "http://www.example.com/start.html Mozilla/4.08%20[en]%20(Win98;%20I%20;Nav) - - Hit SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4Q== "
    "www.example.com https 310 0.015 - TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 Hit HTTP/1.1 - - 49152 0.015 Hit image/gif 2326 - -"
)

CLOUDFRONT = W3cFormat(
    name="cloudfront",
    description="Amazon CloudFront standard log, tab-separated",
    source="https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html",
    sample="\n".join(("#Version: 1.0", f"#Fields: {' '.join(FIELDS)}", _CELLS.replace(" ", "\t"))),
    dialect=Dialect(_TABLE, b"\t", False, False, _is_other, FIELDS, utc=True),
)
