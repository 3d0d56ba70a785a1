"""The commands. Each opens what it needs, calls one room, and shows the result; nothing is decided here."""

import gc
import os
import sys
import time
from pathlib import Path

import click

from auditlake.app import AS_JSON, App, Ordered, common, show
from auditlake.console import json_was_shown, progress, say, show_json
from auditlake.doctor_cli import doctor
from auditlake.evidence_cli import GROUPS, verify_pack
from auditlake.formats_cli import formats, parse
from auditlake.hold_cli import hold
from auditlake.people_cli import user
from auditlake.queries_cli import queries
from auditlake.record_cli import record
from auditlake.report_cli import report
from auditlake.shell import sql
from auditlake.subjects_cli import subject
from core.clock import parse_instant, to_iso
from core.errors import EXIT_DONE, EXIT_USAGE, AuditlakeError, UsageError
from core.policy import Period
from jobs.schedule import NIGHT

__all__ = ["App", "cli", "main"]

_COLLECT_AFTER = 50_000
"""New objects between two collections: imports make many that live, and looking through them again and again costs a start 50 ms."""

_EXIT_CODES = """\b
Exit codes: 0 done; 1 the work failed or residue was found; 2 wrong usage or
configuration; 3 another process holds the data directory."""


@click.group(cls=Ordered, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("data"),
    envvar="AUDITLAKE_DATA_DIR",
    show_default=True,
    help="Data directory.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    envvar="AUDITLAKE_CONFIG",
    help="Settings (default: ./config.toml when there is one).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.version_option(package_name="auditlake")
@click.pass_context
def cli(context: click.Context, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Request logs that keep their privacy policy.

    Logs are ingested and enriched, kept hot in encrypted DuckDB files for a month, rolled into Parquet (Apache Iceberg)
    for the rest of a year, then destroyed, and every step is in a ledger that can be checked.

    \b
    Begin with:   auditlake demo
    Your own log: auditlake init
                  auditlake ingest /var/log/nginx/access.log*
                  auditlake query "SELECT source_geo_country_name, count(*) FROM requests GROUP BY ALL"
    Every night:  auditlake run purge; auditlake run roll   (or leave auditlake serve running)
    """
    context.obj = App(data_dir, config, as_json)
    context.meta[AS_JSON] = as_json


@cli.command()
@click.option("--simulated-clock", metavar="ISO", help="Start a clock that moves only by 'clock advance'.")
@common
def init(app: App, simulated_clock: str | None) -> None:
    """Make a data directory: control database, ledger, and (on first use) the master key."""
    from auditlake.lake import create

    instant = parse_instant(simulated_clock) if simulated_clock else None
    kind = create(app.data_dir, app.settings, instant)
    with app.reading() as lake:
        result = {"data_dir": str(app.data_dir), "clock": kind, "now": to_iso(lake.context.clock.now())}
    show(app, result)


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--format", "format_name", metavar="NAME", help="Form of the log; 'auto' looks at the first lines (default: config).")
@click.option("--timezone", "zone", metavar="ZONE", help="Zone of times that name none, like Europe/Berlin (default: config).")
@click.option("--stream", default="requests", show_default=True, help="Stream the rows go to.")
@common
def ingest(app: App, files: tuple[str, ...], format_name: str | None, zone: str | None, stream: str) -> None:
    """Read log files into hot storage, each line exactly once.

    FILE is a path, a glob, or - for standard input; plain, gzip, zstd or bzip2. A file that was read before, has grown,
    or was rotated or renamed is known by its content: only its new lines are stored. Lines that cannot be read go to
    quarantine, lines beyond the stream's limit are refused; both are counted.
    """
    from auditlake.intake import ingest_files
    from auditlake.lake import create, exists

    if not exists(app.data_dir, app.settings):
        create(app.data_dir, app.settings, None)
        say(f"made data directory {app.data_dir}")
    with progress() as report, app.changing(report) as lake:
        result = ingest_files(lake, files, format_name or app.settings.ingest.format, stream, zone)
    for name, choice in () if app.as_json else result.chosen.items():
        say(f"{name}: {choice.why}")
    for message in [*result.warnings, *result.errors]:
        say(f"auditlake: {message}")
    chosen = {name: {"format": choice.name, "why": choice.why} for name, choice in result.chosen.items()}
    show(app, {**result.figures(), "formats": chosen} if app.as_json else result.figures())
    if result.errors:
        raise AuditlakeError(f"{len(result.errors)} of the files could not be read", "see the messages above")


@cli.command()
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="Form of the result.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the result to a file.")
@click.option("--stream", default="requests", show_default=True, help="Stream that the view shows.")
@common
def query(app: App, sql: str, form: str, output: Path | None, stream: str) -> None:
    """Answer one SELECT over the view `requests`, which spans hot and archive.

    Read-only; files, network and settings are out of reach of the statement. `--json` is the same as `--format json`.

    \b
    auditlake query "SELECT user_agent_name, count(*) AS n FROM requests GROUP BY ALL ORDER BY n DESC LIMIT 10"
    auditlake query --format parquet -o may.parquet "SELECT * FROM requests WHERE event_day >= '2015-05-01'"
    """
    from auditlake.analyst import answer

    with app.reading() as lake:
        answer(lake, sql, "json" if app.as_json else form, output, stream)


@cli.command()
@common
def status(app: App) -> None:
    """Show every segment, what is due when, and the last and next runs of each job."""
    from auditlake import reports

    with app.reading() as lake:
        reports.show_status(reports.status(lake), app.as_json)


@cli.command()
@click.option("--at", metavar="ISO", help="Look ahead to this time.")
@common
def plan(app: App, at: str | None) -> None:
    """Say what is due, for which day, and why; change nothing."""
    from auditlake import reports

    with app.reading() as lake:
        decisions = lake.context.decisions(at=parse_instant(at) if at else None)
    reports.show_decisions(decisions, app.as_json)


@cli.command()
@click.argument("job", type=click.Choice(NIGHT))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@common
def run(app: App, job: str, dry_run: bool) -> None:
    """Run a job by hand: purge, checkpoint, roll, compact, upkeep, verify, geoip or scrub.

    Each can be repeated, and resumes what a crash left.
    """
    from auditlake import reports
    from jobs import runner

    began = time.perf_counter()
    with progress() as report, app.changing(report) as lake:
        outcome = runner.run(lake.context, job, dry_run)
    reports.show_outcome(outcome, time.perf_counter() - began, app.as_json)
    if outcome.problems:
        raise AuditlakeError(f"{job}: {len(outcome.problems)} problems, first: {outcome.problems[0]}", "mend the cause and run it again")


@cli.command()
@click.argument("pack", type=click.Path(path_type=Path), required=False)
@click.option("--full", is_flag=True, help="Also read every archived row again and compare content digests.")
@click.option("--trust", multiple=True, metavar="FINGERPRINT", help="With PACK: a signing key that you were told of elsewhere.")
@click.option("--checkpoint", "kept", multiple=True, type=click.Path(path_type=Path), help="With PACK: a checkpoint that you kept.")
@common
def verify(app: App, pack: Path | None, full: bool, trust: tuple[str, ...], kept: tuple[Path, ...]) -> None:
    """Prove that every row is accounted for, the ledger is whole, and nothing destroyed is left.

    With PACK, a pack of evidence or a certificate is checked instead, as its auditor does; no data directory is needed.
    """
    from auditlake import reports

    if pack is not None:
        verify_pack(app, pack, trust, kept)
        return
    if trust or kept:
        raise UsageError("--trust goes with a pack, as does --checkpoint", "name the pack or certificate")
    from jobs.verify import check

    with app.changing() as lake:
        report = check(lake.context, full)
    reports.show_verification(report, app.as_json)
    if not report.ok:
        raise AuditlakeError("verification failed", "see the faults and residue above")


@cli.group(cls=Ordered)
def clock() -> None:
    """The data directory's clock."""


@clock.command("advance")
@click.argument("duration")
@common
def clock_advance(app: App, duration: str) -> None:
    """Move a simulated clock forward, by 32d, 2w, '1 month' or 1y."""
    from auditlake.lake import advance_clock

    with app.changing() as lake:
        show(app, {"now": to_iso(advance_clock(lake, Period.parse(duration)))})


@clock.command("confirm")
@common
def clock_confirm(app: App) -> None:
    """Say that the clock is right, after it went forward by days and the purge stopped."""
    from jobs.purge import confirm_clock

    with app.changing() as lake:
        confirm_clock(lake.context)
        show(app, {"now": to_iso(lake.context.clock.now())})


@cli.group(cls=Ordered)
def quarantine() -> None:
    """Lines that could not be read."""


@quarantine.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Show at most so many.")
@common
def quarantine_list(app: App, limit: int) -> None:
    """List rejected lines: id, file, offset, reason."""
    from auditlake import rejected

    with app.reading() as lake:
        rejected.show_list(rejected.listing(lake.context, limit), app.as_json)


@quarantine.command("show")
@click.argument("line_id", metavar="ID")
@common
def quarantineshow(app: App, line_id: str) -> None:
    """Show one rejected line, control characters as escapes."""
    from auditlake import rejected

    with app.reading() as lake:
        rejected.show_one(rejected.find(lake.context, line_id), app.as_json)


@quarantine.command("retry")
@click.option("--format", "format_name", metavar="NAME", help="Read them as this format (default: the one they were read as).")
@common
def quarantine_retry(app: App, format_name: str | None) -> None:
    """Read rejected lines again, after a format or setting was mended; those that can be read become rows."""
    from auditlake.intake import retry_quarantine

    with progress() as report, app.changing(report) as lake:
        tally = retry_quarantine(lake, format_name)
    for message in tally.warnings:
        say(f"auditlake: {message}")
    show(app, tally.figures())


@cli.command()
@click.option("--data-dir", "folder", type=click.Path(path_type=Path), help="Use and keep this folder (default: a temporary one, removed).")
@click.option("--json", "as_json", is_flag=True, default=None, help="Print one JSON object and nothing else.")
@click.pass_obj
def demo(app: App, folder: Path | None, as_json: bool | None) -> None:
    """Live through a year with ten thousand real request lines, in about a minute."""
    from auditlake.demo import tour

    tour(folder, bool(as_json or app.as_json))


@cli.command()
@common
def serve(app: App) -> None:
    """Run the jobs by their schedule until stopped; what was missed is caught up first."""
    from auditlake.serve import serve as run_forever

    run_forever(app.data_dir, app.settings, app.reread)


@cli.command()
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind (may be repeated).")
@common
def ledger(app: App, kinds: tuple[str, ...]) -> None:
    """Print the ledger, oldest event first; with --json as {"events": [...]}."""
    from auditlake import reports

    with app.reading() as lake:
        reports.show_events(lake.context.ledger.events(*kinds), app.as_json)


cli.add_command(formats)
cli.add_command(parse)
cli.add_command(user)
cli.add_command(queries)
cli.add_command(sql)
cli.add_command(hold)
cli.add_command(doctor)
cli.add_command(record)
cli.add_command(report)
for _group in GROUPS:
    cli.add_command(_group)
cli.add_command(subject)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands and options.

    \b
    bash: auditlake completion bash > /etc/bash_completion.d/auditlake
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(cli, {}, "auditlake", "_AUDITLAKE_COMPLETE").source())


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    gc.set_threshold(_COLLECT_AFTER)
    context = None
    try:
        with cli.make_context("auditlake", list(sys.argv[1:] if arguments is None else arguments)) as context:
            cli.invoke(context)
        return EXIT_DONE
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        say("auditlake: interrupted; what was begun is resumed by the next run")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except AuditlakeError as error:
        return _fail(context, error)
    except _failures() as error:
        text = str(getattr(error, "orig", None) or error).splitlines()[0]
        return _fail(context, AuditlakeError(text, "check disk, path, permissions and control database"))


def _failures() -> tuple[type[Exception], ...]:
    """What disk and database raise; asked for only once something has gone wrong, since it takes a tenth of a second to import."""
    from sqlalchemy.exc import SQLAlchemyError

    return OSError, SQLAlchemyError


def _fail(context: click.Context | None, error: AuditlakeError) -> int:
    say(f"auditlake: {error}")
    if context is not None and context.meta.get(AS_JSON) and not json_was_shown():
        show_json({"error": error.problem, "hint": error.hint})
    return error.exit_code
