"""The formats that exist, by name, and the checked way to parse with one.

A format is added by writing its module and registering it here: tests that hold for every format then hold for it too.
``wrapper+format`` is a format wrapped as the wrapper says; the formats of the configuration are known by the options.
"""

import numpy as np

from core import schema
from core.errors import UsageError
from ingest.formats.access import COMBINED, COMMON, VHOST_COMBINED
from ingest.formats.alb import ALB
from ingest.formats.base import Configurable, Format, FormatOptions, Parsed, State, Wrapper
from ingest.formats.cloudfront import CLOUDFRONT
from ingest.formats.csv_format import CSV, TSV
from ingest.formats.elb import ELB
from ingest.formats.envoy import ENVOY
from ingest.formats.haproxy import HAPROXY
from ingest.formats.json_formats import JSON_FORMATS
from ingest.formats.json_lines import JsonLines
from ingest.formats.logfmt import LOGFMT
from ingest.formats.nginx import COMBINED_TIMED, INGRESS_NGINX, NGINX_MAIN
from ingest.formats.s3_access import S3_ACCESS
from ingest.formats.squid import SQUID
from ingest.formats.traefik import TRAEFIK
from ingest.formats.w3c import W3C
from ingest.lines import Lines

__all__ = ["custom_names", "get", "names", "parse", "register", "wrappers"]

_formats: dict[str, Format] = {}


def register(form: Format) -> None:
    """Make a format known by its name.

    :raises ValueError: another format has that name.
    """
    if form.name in _formats:
        raise ValueError(f"format {form.name!r} is registered already")
    _formats[form.name] = form


def names() -> tuple[str, ...]:
    """Names of all formats but those of the configuration, in the order they were registered."""
    return tuple(_formats)


def custom_names(options: FormatOptions | None) -> tuple[str, ...]:
    """Names of the formats of the configuration, in its order."""
    return tuple(options.custom) if options else ()


def wrappers() -> tuple[Wrapper, ...]:
    """What may stand before a plus sign."""
    from ingest.formats.wrappers import WRAPPERS  # it imports formats

    return WRAPPERS


def get(name: str, options: FormatOptions | None = None) -> Format:
    """The format of that name, under these options.

    :raises UsageError: there is no such format, or an option cannot be used.
    """
    outer, plus, inner = name.partition("+")
    if plus:
        return _wrapped(outer, inner, options)
    if options and name in options.custom:
        from ingest.formats.custom import compile_custom

        return compile_custom(name, options.custom[name], options)
    if name not in _formats:
        raise UsageError(f"{name!r} is not a format", "list them with: auditlake formats")
    form = _formats[name]
    return form.configured(options) if options and isinstance(form, Configurable) else form


def _wrapped(outer: str, inner: str, options: FormatOptions | None) -> Format:
    from ingest.formats.wrappers import wrap

    known = [wrapper.name for wrapper in wrappers()]
    if outer not in known:
        raise UsageError(f"{outer!r} is not a wrapper", f"use one of {', '.join(known)} before the plus sign")
    return wrap(outer, get(inner, options))


def parse(form: Format, lines: Lines, state: State = None) -> Parsed:
    """What ``form`` makes of the lines, with its promises checked.

    :param state: what it made of the lines before left.

    :raises AssertionError: the format breaks a promise of :mod:`ingest.formats.base`; no line's content can cause it.
    """
    parsed = form.parse(lines, state)
    _check(
        len(parsed.numbers) + len(parsed.rejected) + len(parsed.eventless) == len(lines),
        "a line is neither parsed nor rejected nor eventless, or two of these",
    )
    _check(parsed.rows.num_rows == len(parsed.numbers), "rows and their line numbers differ in count")
    _check(len(parsed.reasons) == len(parsed.rejected) and all(parsed.reasons), "a rejected line has no reason")
    seen = np.sort(np.concatenate((parsed.numbers, parsed.rejected, parsed.eventless)))
    _check(np.array_equal(seen, np.arange(len(lines))), "a line number is missing or given twice")
    for column in parsed.rows.schema:
        _check(column.type == schema.input_type(column.name), f"column {column.name} is not of the schema's type")
    _check("event_time" in parsed.rows.schema.names and parsed.rows["event_time"].null_count == 0, "a row has no event_time")
    return parsed


def _check(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


_LINES: tuple[Format, ...] = (
    COMBINED,
    COMMON,
    VHOST_COMBINED,
    NGINX_MAIN,
    COMBINED_TIMED,
    INGRESS_NGINX,
    JsonLines(),
    ALB,
    ELB,
    S3_ACCESS,
    HAPROXY,
    ENVOY,
    TRAEFIK,
    SQUID,
    *JSON_FORMATS,
)
_NAMED: tuple[Format, ...] = (W3C, CLOUDFRONT, CSV, TSV, LOGFMT)
for _format in (*_LINES, *_NAMED):
    register(_format)
