"""The commands about forms of logs: ``formats``, ``formats test`` and ``parse``. None needs a data directory."""

from pathlib import Path

import click

from auditlake.app import App, Ordered, common
from auditlake.console import say, show_json, show_table
from core.errors import AuditlakeError

__all__ = ["formats", "parse"]

_FORMAT = click.option(
    "--format", "format_name", metavar="NAME", help="Form of the log; 'auto' looks at the first lines (default: config)."
)
_ZONE = click.option("--timezone", "zone", metavar="ZONE", help="Zone of times that name none, like Europe/Berlin (default: config).")


@click.group(cls=Ordered, invoke_without_command=True)
@common
def formats(app: App) -> None:
    """List the forms of log that can be read, or test a file.

    The configuration's own are among them; any may stand behind a wrapper and a plus sign, like docker+combined.
    """
    context = click.get_current_context()
    if context.invoked_subcommand:
        context.obj = app
        return
    from auditlake.intake import format_options
    from auditlake.parsing import known_formats

    known = known_formats(format_options(app.settings))
    if app.as_json:
        show_json({"formats": known})
    else:
        show_table(tuple(known[0]), [tuple(entry.values()) for entry in known])


@formats.command("test")
@click.argument("file", metavar="FILE")
@_FORMAT
@_ZONE
@click.option("--lines", type=click.IntRange(0, 200), default=5, show_default=True, help="Show so many lines as rows.")
@common
def formats_test(app: App, file: str, format_name: str | None, zone: str | None, lines: int) -> None:
    """Show which format a file is of, why, and how its first lines map to columns; store nothing."""
    from auditlake.intake import ingest_options
    from auditlake.parsing import examine, show_examination

    options = ingest_options(app.settings, format_name or app.settings.ingest.format, "", zone)
    found = examine(file, options, lines)
    show_examination(found, app.as_json)
    if found.problem:
        raise found.problem


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@_FORMAT
@_ZONE
@click.option("--geo-city", type=click.Path(path_type=Path), help="City or country database (default: config).")
@click.option("--geo-asn", type=click.Path(path_type=Path), help="Database of autonomous systems (default: config).")
@common
def parse(app: App, files: tuple[str, ...], format_name: str | None, zone: str | None, geo_city: Path | None, geo_asn: Path | None) -> None:
    """Print what ingest would store, one JSON object for each line that holds a request; store nothing.

    Columns without a value are left out. A line that cannot be read is {"rejected": reason, "offset": its first byte}.
    """
    from auditlake.intake import ingest_options
    from auditlake.parsing import pipeline_for, print_rows

    options = ingest_options(app.settings, format_name or app.settings.ingest.format, "", zone)
    pipeline = pipeline_for(options.transforms, geo_city, geo_asn)
    failed = print_rows(files, options, pipeline)
    for warning in dict.fromkeys(pipeline.warnings):
        say(f"auditlake: {warning}")
    if failed:
        raise AuditlakeError(f"{failed} of the files could not be read", "see the messages above")
