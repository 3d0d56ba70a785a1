r"""Apache's ``LogFormat`` and nginx's ``log_format`` strings, compiled to a format.

- A string may be given as it stands in the server's configuration: with ``\"`` and ``\t`` (Apache), or as several quoted pieces
  over several lines and ``escape=`` before them (nginx).
- Between two fields there must be something that tells where the first ends; what servers are known to write without
  (``%U%q``, ``$scheme://$host$request_uri``, ``$uri$is_args$args``, a time in several parts) is one field.
- Of several fields for one column the one that says most fills it (``directives``), and the others become labels, as does every
  field that has no column.
- nginx with ``escape=json``: the string is a JSON object whose values are variables.

Sources: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html and https://nginx.org/en/docs/http/ngx_http_log_module.html.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from core.errors import UsageError
from ingest.formats import fills
from ingest.formats.base import Format
from ingest.formats.directives import Directive, apache, nginx
from ingest.formats.documents import DocumentFormat
from ingest.formats.documents import Place as Member
from ingest.formats.readers import ClfTime, EpochTime, IsoTime, PatternTime, Quoted
from ingest.formats.shapes import LineFormat, Place, Shape

__all__ = ["APACHE_PAGE", "NGINX_PAGE", "apache_shape", "compile_apache", "compile_nginx", "nginx_shape"]

APACHE_PAGE = "https://httpd.apache.org/docs/2.4/mod/mod_log_config.html"
NGINX_PAGE = "https://nginx.org/en/docs/http/ngx_http_log_module.html"

_DIRECTIVE = re.compile(r"%(?:!?[0-9]{3}(?:,[0-9]{3})*)?(?P<redirected>[<>]?)(?:\{(?P<name>[^}]*)\})?(?P<letter>\^[A-Za-z]{2}|[A-Za-z%])|%")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))|\$")
_PIECE = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""", re.DOTALL)
_ESCAPE = re.compile(r"\s*escape=(\w+)\s+")
_FRACTIONS = {"msec_frac": "%3N", "usec_frac": "%6N"}
_URL = Directive("url", Quoted("url_original"), ("url_original",))
_NGINX_URL = re.compile(r"(\$scheme://\$(?:host|http_host|server_name)\$request_uri|\$uri\$is_args\$args)")
_DETAILS_OF_URL = {"url_path", "url_query"}


@dataclass(frozen=True)
class _Pattern:
    """A time, or a part of one, as a strftime pattern."""

    pattern: str
    rank: int = 1


Token = str | Directive | _Pattern


def compile_apache(name: str, text: str, description: str = "") -> Format:
    """The format of a ``LogFormat`` string.

    :raises UsageError: a sign that begins a directive has none, two fields touch, or no field tells the time.
    """
    return _line_format(name, text, description, APACHE_PAGE, apache_shape(text, name))


def compile_nginx(name: str, text: str, description: str = "", escape: str = "") -> Format:
    """The format of a ``log_format`` string.

    :param escape: ``default``, ``json`` or ``none``; empty for what the string itself says.
    :raises UsageError: as for Apache's; or ``escape=json`` and it is not a JSON object of variables.
    """
    text, said = _nginx_text(text)
    if (escape or said) == "json" and text.lstrip().startswith("{"):
        return _json_format(name, text, description)
    return _line_format(name, text, description, NGINX_PAGE, nginx_shape(text, name))


def apache_shape(text: str, name: str = "apache", **more: Any) -> Shape:
    """The shape of a ``LogFormat`` string; ``more``: further fields of the :class:`Shape`."""
    plain = text.replace("\\\\", "\0").replace('\\"', '"').replace("\\t", "\t").replace("\0", "\\")
    return _shape(name, _joined(_apache_tokens(name, plain)), **more)


def nginx_shape(text: str, name: str = "nginx", **more: Any) -> Shape:
    """The shape of a ``log_format`` string; ``more``: further fields of the :class:`Shape`."""
    tokens: list[Token] = []
    for piece in _NGINX_URL.split(text):
        tokens += [_URL] if _NGINX_URL.fullmatch(piece) else _nginx_tokens(name, piece)
    return _shape(name, tokens, **more)


def _line_format(name: str, text: str, description: str, page: str, shape: Shape) -> Format:
    if not any(isinstance(place.reader, ClfTime | EpochTime | IsoTime | PatternTime) for place in shape.places.values()):
        raise UsageError(f"format {name}: no field of {text!r} tells the time", "add %t, $time_local or another time to what is logged")
    return LineFormat(name, description or "format of the configuration", page, text, (shape,))


def _apache_tokens(name: str, text: str) -> Iterator[Token]:
    at = 0
    for match in _DIRECTIVE.finditer(text):
        if match.start() > at:
            yield text[at : match.start()]
        at = match.end()
        if match["letter"] == "%":
            yield "%"
            continue
        yield _apache_directive(name, match)
    if at < len(text):
        yield text[at:]


def _apache_directive(name: str, match: re.Match[str]) -> Directive | _Pattern:
    letter, inner = match["letter"] or "", match["name"]
    found = apache(letter, inner, match["redirected"]) if letter else None
    if found is None and letter == "t" and inner:
        pattern = inner.removeprefix("begin:").removeprefix("end:")
        return _Pattern(_FRACTIONS.get(pattern, pattern), 2 if inner.startswith("end:") else 1)
    if found is None:
        raise UsageError(f"format {name}: a '%' without a directive", f"write %% for the sign itself; see {APACHE_PAGE}")
    return found


def _joined(tokens: Iterable[Token]) -> list[Token]:
    """A time in parts (``%{%T}t.%{msec_frac}t``) as one; path and query (``%U%q``) as one URL."""
    held: list[Token] = []
    for token in tokens:
        match held, token:
            case [*_, _Pattern() as first, str() as between], _Pattern():
                held[-2:] = [_Pattern(first.pattern + between.replace("%", "%%") + token.pattern, first.rank)]
            case [*_, _Pattern() as first], _Pattern():
                held[-1] = _Pattern(first.pattern + token.pattern, first.rank)
            case [*_, Directive(label="path")], Directive(label="query_string"):
                held[-1] = _URL
            case _:
                held.append(token)
    return held


def _time(name: str, token: _Pattern) -> Directive:
    try:
        reader = PatternTime(token.pattern)
    except UsageError as error:
        raise UsageError(f"format {name}: {error.problem}", error.hint) from None
    return Directive("time", reader, ("event_time",), token.rank, reader.width)


def _nginx_text(text: str) -> tuple[str, str]:
    """The string without the quotes and line ends of nginx's configuration, and the escaping it names."""
    said = _ESCAPE.match(text)
    bare = text[said.end() :] if said else text
    stripped = bare.strip().removesuffix(";").strip()
    pieces, at = [], 0
    while match := _PIECE.match(stripped, at):
        pieces.append(re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2]))
        at = match.end()
    whole = "".join(pieces) if pieces and at == len(stripped) else bare
    return whole, said[1] if said else ""


def _nginx_tokens(name: str, text: str) -> Iterator[Token]:
    at = 0
    for match in _VARIABLE.finditer(text):
        if match.start() > at:
            yield text[at : match.start()]
        at = match.end()
        variable = match["braced"] or match["bare"]
        if not variable:
            raise UsageError(f"format {name}: a '$' without a variable's name", f"see {NGINX_PAGE}")
        yield nginx(variable)
    if at < len(text):
        yield text[at:]


def _shape(name: str, given: list[Token], **more: Any) -> Shape:
    """Literals and places in turn, each column filled once."""
    tokens = [_time(name, token) if isinstance(token, _Pattern) else token for token in given]
    directives = [token for token in tokens if isinstance(token, Directive)]
    taken: set[str] = set()
    filling: list[Directive] = []
    for one in sorted(directives, key=lambda directive: directive.rank):
        if one.reader and not taken & set(one.fills) and not ("url_original" in taken and _DETAILS_OF_URL & set(one.fills)):
            taken |= set(one.fills)
            filling.append(one)
    parts: list[bytes | Place] = []
    used: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if isinstance(token, Directive):
            place = _place(token, any(token is one for one in filling), used)
            if number == len(tokens) and not (place.numeric or place.width):
                place = replace(place, open=True)
            _add(parts, *((b"[", place, b"]") if token.brackets else (place,)), name=name)
        else:
            _add(parts, token.encode(), name=name)
    return Shape(tuple(parts), **more)


def _place(directive: Directive, fills: bool, used: dict[str, int]) -> Place:
    label = directive.label
    used[label] = used.get(label, 0) + 1
    label = label if used[label] == 1 else f"{label}_{used[label]}"
    reader = directive.reader if fills else None
    spoken = label.replace("_", " ")
    return Place(label, spoken, directive.width, directive.numeric, directive.spaced, reader=reader, empty=True)


def _add(parts: list[bytes | Place], *more: bytes | Place, name: str) -> None:
    for part in more:
        last = parts[-1] if parts else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            parts[-1] = last + part
        elif isinstance(part, Place) and isinstance(last, Place) and not last.width:
            raise UsageError(
                f"format {name}: nothing tells where {last.name!r} ends and {part.name!r} begins",
                "put a blank, a quote or another sign between them in the server's configuration",
            )
        else:
            parts.append(part)


_FILLS: dict[str, fills.Fill] = {
    "args": fills.Text("url_query"),
    "body_bytes_sent": fills.Integer("http_response_body_bytes"),
    "host": fills.HostPort("url_domain", "url_port"),
    "http_host": fills.HostPort("url_domain", "url_port"),
    "http_referer": fills.Text("http_request_referrer"),
    "http_user_agent": fills.Text("user_agent_original"),
    "http_x_forwarded_for": fills.Header("forwarded_for"),
    "http_x_real_ip": fills.Header("client_address"),
    "http_cf_connecting_ip": fills.Header("client_address"),
    "http_forwarded": fills.Header("forwarded"),
    "msec": fills.Time(unit="s"),
    "query_string": fills.Text("url_query"),
    "remote_addr": fills.Text("source_address"),
    "remote_port": fills.Integer("source_port", 0, 65535),
    "remote_user": fills.Text("user_name"),
    "request": fills.Request(),
    "request_id": fills.Text("http_request_id"),
    "request_method": fills.Text("http_request_method"),
    "request_time": fills.Duration(1_000_000_000),
    "request_uri": fills.Text("url_original"),
    "scheme": fills.Text("url_scheme"),
    "server_name": fills.HostPort("url_domain", "url_port"),
    "server_port": fills.Integer("url_port", 0, 65535),
    "server_protocol": fills.Version(),
    "status": fills.Integer("http_response_status_code", 100, 999),
    "time_iso8601": fills.Time(),
    "time_local": fills.Time(),
    "uri": fills.Text("url_path"),
}
_ORDER = ("request", "request_uri", "time_iso8601", "time_local")
"""Of two variables that fill one column the one named here goes first."""


def _json_format(name: str, text: str, description: str) -> Format:
    """``{"time": "$time_iso8601", "status": $status, ...}``."""
    quoted = re.sub(r"(?<=[:\[,\s])(\$\{?\w+\}?)(?=\s*[,}\]])", r'"\1"', text)
    try:
        document = json.loads(quoted)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError(f"format {name}: the string is not a JSON object", "write it as nginx would log it, with variables as values")
    found = {path: variable for path, variable in _leaves(document) if variable in _FILLS}
    if not any("event_time" in _FILLS[variable].columns for variable in found.values()):
        raise UsageError(f"format {name}: no member of the object tells the time", "add $time_iso8601, $time_local or $msec to it")
    order = sorted(found, key=lambda path: _ORDER.index(found[path]) if found[path] in _ORDER else len(_ORDER))
    places = tuple(Member(path, _FILLS[found[path]]) for path in order)
    requires = tuple(path for path in found if "event_time" in _FILLS[found[path]].columns)
    return DocumentFormat(name, description or "format of the configuration", NGINX_PAGE, text, places, requires=requires)


def _leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
            yield prefix + key, match["braced"] or match["bare"] or ""
