"""Ingest and retry as the settings say."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from auditlake.lake import Lake
from auditlake.settings import Settings, size_bytes
from ingest.batches import Limits
from ingest.formats import FormatOptions, get
from ingest.formats.times_zone import check_zone
from jobs.ingest import IngestOptions, Tally, ingest
from jobs.retry import retry
from transforms.pipeline import EMBEDDED, Embedded, TransformOptions

__all__ = ["SWITCH_SECONDS", "format_options", "ingest_files", "ingest_options", "limits", "retry_quarantine", "transform_options"]


SWITCH_SECONDS = 0.0005
"""How long a thread that runs Python may keep the others waiting: the stages of an ingest are short calls into libraries."""
_SPARING = "jemalloc"
"""The allocator of Arrow's that gives back what one thread took and another let go: a twentieth of the peak memory."""


def ingest_files(lake: Lake, names: Sequence[str], form: str, stream: str, zone: str | None = None) -> Tally:
    """Read files into the stream's hot storage.

    :param zone: of times that name none; as the settings say when ``None``.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    if _SPARING in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    return ingest(lake.context, names, ingest_options(lake.settings, form, stream, zone))


def retry_quarantine(lake: Lake, form: str | None) -> Tally:
    """Read rejected lines again."""
    return retry(lake.context, ingest_options(lake.settings, form or "", ""))


def ingest_options(settings: Settings, form: str, stream: str, zone: str | None = None) -> IngestOptions:
    """The settings that concern ingest."""
    return IngestOptions(stream, form, limits(settings), format_options(settings, zone), transform_options(settings))


def limits(settings: Settings) -> Limits:
    """How files are cut into batches and lines."""
    return Limits(batch_bytes=size_bytes(settings.ingest.batch), line_bytes=size_bytes(settings.ingest.max_line))


def format_options(settings: Settings, zone: str | None = None) -> FormatOptions:
    """The settings that concern formats.

    :param zone: of times that name none; as the settings say when ``None``.
    :raises UsageError: there is no such zone, or a format of the configuration cannot be compiled.
    """
    if zone:
        check_zone(zone)
    custom = {name: form.spec() for name, form in settings.formats.items()}
    options = FormatOptions(zone or settings.ingest.timezone, settings.ingest.json_fields, custom)
    for name in custom:
        get(name, options)
    return options


def transform_options(settings: Settings) -> TransformOptions:
    """The settings that concern transforms."""
    return TransformOptions(
        geo_city=_database(settings.geo.city),
        geo_asn=_database(settings.geo.asn),
        redact=tuple(settings.redact.parameters),
        trusted_proxies=tuple(settings.ingest.trusted_proxies),
        proxy_headers=tuple(settings.ingest.proxy_headers),
    )


def _database(setting: str) -> Path | Embedded | None:
    return EMBEDDED if setting == EMBEDDED else None if setting == "off" else Path(setting)
