"""What people call the fields of a request, for formats whose names are free: ``csv``, ``tsv`` and ``logfmt``.

A name is looked up in lower case, with ``_`` for every run of other signs: ``@timestamp``, ``User-Agent`` and ``user.name`` are
``timestamp``, ``user_agent`` and ``user_name``. So the schema's columns and ECS's dotted names are there, and these beside them:

- ``event_time``: timestamp, time, ts, datetime, date_time, date, t, time_local, time_iso8601.
- ``source_address``: client_ip, clientip, remote_addr, remote_address, remote_ip, client_address, client_addr, c_ip,
  src_ip, ip, ip_address, remote_host, client, remote; a port behind it is ``source_port``.
- ``source_port``: client_port, remote_port, src_port.
- ``user_name``: user, username, remote_user, auth_user; ``account_id``: account.
- ``http_request_method``: method, request_method, http_method, verb.
- ``url_original``: url, uri, path, request_uri, request_path, target, url_full, http_target, http_url.
- ``url_query``: query, query_string, querystring, args.
- ``url_domain``: host, domain, vhost, server_name, http_host, request_host, authority; a port behind it is ``url_port``, as
  server_port is.
- ``url_scheme``: scheme; protocol, proto and server_protocol are it, or ``http_version``.
- ``http_response_status_code``: status, status_code, http_status, http_status_code, response_code, response_status,
  sc_status.
- ``http_response_body_bytes``: body_bytes_sent, bytes, bytes_sent, response_size, response_bytes, content_length; size and
  length where they are numbers.
- ``http_request_body_bytes``: request_body_bytes.
- ``user_agent_original``: user_agent, useragent, http_user_agent, agent, ua.
- ``http_request_referrer``: referrer, referer, http_referer, http_referrer.
- ``http_request_id``: request_id, requestid, req_id, x_request_id, trace_id.
- ``event_duration``: duration, latency, elapsed, response_time, time_taken, took with _ns, _us, _ms or _s behind them, or
  bare, as service, where they say their unit (``18ms``); request_time in seconds.
- ``forwarded_for``: x_forwarded_for, xff, http_x_forwarded_for; fwd, whose last address is also the client.
- ``client_address``: true_client_ip, cf_connecting_ip, x_real_ip, of the input columns.

``request`` is a whole request line. ``fwd`` is Heroku's: its router puts the address of whoever called it at the end of the header.

Source: https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html; https://devcenter.heroku.com/articles/http-routing.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import fills
from ingest.formats.fills import Fill, Items, Read, Values
from ingest.formats.header_fills import Host, Status
from ingest.formats.keyed import Known, Table

__all__ = ["SYNONYMS", "key_of", "keys_of"]

_UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}
_MEASURES = ("duration", "latency", "elapsed", "response_time", "time_taken", "took")
_SECOND = ord("s")
_OTHER = "[^a-z0-9]+"


def key_of(name: str) -> str:
    """The name as the table has it."""
    return re.sub(_OTHER, "_", name.lower()).strip("_")


def keys_of(names: pa.StringArray) -> pa.StringArray:
    """The names as the table has them: for very many."""
    return pc.utf8_trim(pc.replace_substring_regex(pc.utf8_lower(names), _OTHER, "_"), "_")


@dataclass(frozen=True)
class _IfFits:
    """Another fill; what does not fit its column is a label.

    :param measured: only a value that says its unit fits.
    """

    fill: Fill
    measured: bool = False
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The other's."""
        return self.fill.columns

    def read(self, values: Values) -> Read:
        """The other's columns."""
        read = self.fill.read(values)
        misfit = np.logical_or.reduce([wrong for wrong, _ in read.wrong])
        if self.measured:
            misfit |= values.data.take(values.span.ends - 1, mode="clip") != _SECOND
        fits = pa.array(~misfit)
        return Read({name: pc.if_else(fits, column, pa.scalar(None, column.type)) for name, column in read.columns.items()}, (), misfit)


@dataclass(frozen=True)
class _Protocol:
    """``https`` -> ``url_scheme``; ``HTTP/1.1`` -> ``http_version``; another is a label."""

    either: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("url_scheme", "http_version")
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    def read(self, values: Values) -> Read:
        """Two columns."""
        found = values.strings.dictionary_encode()
        low = pc.utf8_lower(found.dictionary)
        nothing = pa.scalar(None, pa.string())
        scheme = pc.if_else(pc.match_substring_regex(low, "^(https?|wss?)$"), low, nothing)
        version = pc.if_else(pc.match_substring_regex(low, "^(http/[0-9.]+|h[23]c?)$"), found.dictionary, nothing)
        version = pc.replace_substring_regex(version, "^(?:(?i:http)/|[hH]([23])c?$)", r"\1")
        neither = pc.and_(pc.is_null(scheme), pc.is_null(version)).take(found.indices)
        return Read(
            {"url_scheme": scheme.take(found.indices), "http_version": version.take(found.indices)}, (), np.array(neither, np.bool_)
        )


@dataclass(frozen=True)
class _Forwarded:
    """X-Forwarded-For as a router wrote it that sees the client itself: its last address is the client's."""

    columns: ClassVar[tuple[str, ...]] = ("forwarded_for", "source_address")
    blank: ClassVar[bool] = True
    items: ClassVar[Items] = ""

    def read(self, values: Values) -> Read:
        """The header, and the last address in it."""
        said = values.strings
        found = said.dictionary_encode()
        last = pc.replace_substring_regex(found.dictionary, r"(?s)^.*,[ \t]*", "").take(found.indices)
        return Read({"forwarded_for": said, "source_address": last}, (), np.ones(len(values), np.bool_))


def _text(column: str, *names: str) -> Known:
    return Known((column, *names), fills.Text(column))


SYNONYMS = Table(
    Known(("event_time", "timestamp", "time", "ts", "datetime", "date_time", "date", "t", "time_local", "time_iso8601"), fills.Time()),
    Known(("source_ip",), fills.Address("source_ip")),
    Known(
        (
            *("source_address", "client_ip", "clientip", "remote_addr", "remote_address", "remote_ip", "client_address", "client_addr"),
            *("c_ip", "src_ip", "ip", "ip_address", "remote_host", "client", "remote"),
        ),
        fills.HostPort("source_address", "source_port"),
    ),
    Known(("source_port", "client_port", "remote_port", "src_port"), fills.Integer("source_port", 0, 65535)),
    _text("user_name", "user", "username", "remote_user", "auth_user"),
    _text("account_id", "account"),
    _text("http_request_method", "method", "request_method", "http_method", "verb"),
    _text("url_original", "url", "uri", "path", "request_uri", "request_path", "target", "url_full", "http_target", "http_url"),
    _text("url_path"),
    Known(("url_query", "query", "query_string", "querystring", "args"), fills.Cut(fills.Text("url_query"), prefix="?")),
    Known(("url_domain", "host", "domain", "vhost", "server_name", "http_host", "request_host", "authority"), Host()),
    Known(("url_port", "server_port"), fills.Integer("url_port", 0, 65535)),
    Known(("url_scheme", "scheme"), fills.Lower("url_scheme")),
    Known(("http_version", "http_protocol", "protocol_version"), fills.Version()),
    Known(("protocol", "proto", "server_protocol"), _Protocol()),
    Known(("request", "request_line"), fills.Request()),
    Known(
        (
            *("http_response_status_code", "status", "status_code", "http_status", "http_status_code", "response_code"),
            *("response_status", "sc_status"),
        ),
        Status(),
    ),
    Known(
        (
            *("http_response_body_bytes", "http_response_bytes", "body_bytes_sent", "bytes", "bytes_sent", "response_size"),
            *("response_bytes", "content_length"),
        ),
        fills.Integer("http_response_body_bytes"),
    ),
    Known(("size", "length"), _IfFits(fills.Integer("http_response_body_bytes"))),
    Known(("http_request_body_bytes", "http_request_bytes", "request_body_bytes"), fills.Integer("http_request_body_bytes")),
    _text("user_agent_original", "user_agent", "useragent", "http_user_agent", "agent", "ua"),
    _text("http_request_referrer", "referrer", "referer", "http_referer", "http_referrer"),
    _text("http_request_id", "request_id", "requestid", "req_id", "x_request_id", "trace_id"),
    Known(("event_duration",), fills.Duration(1)),
    *(Known(tuple(f"{name}_{unit}" for name in _MEASURES), fills.Duration(size)) for unit, size in _UNITS.items()),
    Known(("duration_seconds",), fills.Duration(1_000_000_000)),
    Known(("request_time",), _IfFits(fills.Duration(1_000_000_000))),
    Known((*_MEASURES, "service"), _IfFits(fills.Duration(1), measured=True)),
    Known(("fwd",), _Forwarded()),
    Known(("x_forwarded_for", "forwarded_for", "xff", "http_x_forwarded_for"), fills.Header("forwarded_for")),
    Known(("forwarded", "http_forwarded"), fills.Header("forwarded")),
    Known(("true_client_ip", "cf_connecting_ip", "x_real_ip", "http_x_real_ip"), fills.Header("client_address")),
)
"""The names, best first."""
