"""The command ``auditlake`` with nothing enriched: its transforms lack geolocate and agents, whose columns stay empty.

What enrichment costs, reading of databases and storing of columns included, is what this saves. Arguments are those of ``auditlake``.
"""

from dataclasses import replace
from unittest import mock

from auditlake import cli
from transforms import pipeline
from transforms.pipeline import Pipeline, TransformOptions

__all__ = ["ENRICHERS", "main", "plain"]

ENRICHERS = ("geolocate", "agents")


def plain(options: TransformOptions | None = None) -> Pipeline:
    """The pipeline of these options without its enrichers."""
    whole = pipeline.build(replace(options or TransformOptions(), geo=False))
    return Pipeline([transform for transform in whole.transforms if transform.name not in ENRICHERS])


def main() -> None:
    """The command."""
    with mock.patch("jobs.ingest.build", plain):
        cli.main()


if __name__ == "__main__":
    main()
