"""Ingest and retry as the settings say."""

from collections.abc import Sequence
from pathlib import Path

from auditlake.lake import Lake
from auditlake.settings import Settings, size_bytes
from ingest.batches import Limits
from ingest.formats import FormatOptions
from jobs.ingest import IngestOptions, Tally, ingest
from jobs.retry import retry
from transforms.pipeline import EMBEDDED, Embedded, TransformOptions

__all__ = ["ingest_files", "ingest_options", "retry_quarantine"]


def ingest_files(lake: Lake, names: Sequence[str], form: str, stream: str) -> Tally:
    """Read files into the stream's hot storage."""
    return ingest(lake.context, names, ingest_options(lake.settings, form, stream))


def retry_quarantine(lake: Lake, form: str | None) -> Tally:
    """Read rejected lines again."""
    return retry(lake.context, ingest_options(lake.settings, form or "", ""))


def ingest_options(settings: Settings, form: str, stream: str) -> IngestOptions:
    """The settings that concern ingest."""
    limits = Limits(batch_bytes=size_bytes(settings.ingest.batch), line_bytes=size_bytes(settings.ingest.max_line))
    return IngestOptions(stream, form, limits, FormatOptions(json_fields=settings.ingest.json_fields), transform_options(settings))


def transform_options(settings: Settings) -> TransformOptions:
    """The settings that concern transforms."""
    return TransformOptions(
        geo_city=_database(settings.geo.city),
        geo_asn=_database(settings.geo.asn),
        redact=tuple(settings.redact.parameters),
    )


def _database(setting: str) -> Path | Embedded | None:
    return EMBEDDED if setting == EMBEDDED else None if setting == "off" else Path(setting)
