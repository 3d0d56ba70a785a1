"""Formats of the configuration, each compiled from what ``[formats.NAME]`` says.

================  ======================================================================================================
``apache = "…"``  a LogFormat string (:mod:`ingest.formats.log_format`)
``nginx = "…"``   a log_format string; ``escape`` may be ``default``, ``json`` or ``none``
``w3c = "…"``     names of fields with blanks between them, as in ``#Fields:``, for files without that line
``csv = "…"``     names of columns with commas between them, for files without a header; ``delimiter`` is one sign, a comma if absent
``json = {…}``    dotted path -> column of the schema, before the names of ECS
================  ======================================================================================================
"""

from collections.abc import Mapping
from typing import Any

from core.errors import UsageError
from ingest.formats.base import Configurable, Format, FormatOptions
from ingest.formats.csv_format import DelimitedFormat
from ingest.formats.json_lines import JsonLines
from ingest.formats.log_format import compile_apache, compile_nginx
from ingest.formats.w3c import W3cFormat

__all__ = ["KINDS", "compile_custom"]

KINDS = ("apache", "nginx", "w3c", "csv", "json")


def compile_custom(name: str, spec: Mapping[str, Any], options: FormatOptions | None = None) -> Format:
    """The format that a table of the configuration describes.

    :param spec: one of :data:`KINDS`, and what goes with it: ``description``, ``escape`` (nginx), ``delimiter`` (csv), ``zone``.
    :raises UsageError: it does not describe one.
    """
    kinds = [kind for kind in KINDS if kind in spec]
    if len(kinds) != 1:
        raise UsageError(f"format {name}: {' and '.join(kinds) or 'nothing'} says what its lines are", f"give one of {', '.join(KINDS)}")
    form = _compile(name, kinds[0], spec)
    zone = spec.get("zone") or (options.zone if options else "UTC")
    return form.configured(FormatOptions(zone=zone)) if isinstance(form, Configurable) and zone != "UTC" else form


def _compile(name: str, kind: str, spec: Mapping[str, Any]) -> Format:
    description = spec.get("description") or f"{kind} format of the configuration"
    match kind:
        case "apache":
            return compile_apache(name, spec["apache"], description)
        case "nginx":
            return compile_nginx(name, spec["nginx"], description, spec.get("escape") or "")
        case "w3c":
            return W3cFormat(name=name, description=description, fields=tuple(spec["w3c"].split()))
        case "csv":
            columns = tuple(column.strip() for column in spec["csv"].split(","))
            return DelimitedFormat(name=name, description=description, columns=columns, delimiter=spec.get("delimiter") or ",")
        case _:
            return JsonLines(spec["json"], name=name, description=description)
