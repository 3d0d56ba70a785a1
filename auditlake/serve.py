"""The one long process: runs the jobs by their schedule, and first what was missed while it was not running.

It takes the data directory's lock for each job only, so that files can be ingested by hand between two jobs, and waits
for it when somebody else has it.
"""

import time
from pathlib import Path

from auditlake.console import say
from auditlake.lake import create, exclusive, exists, open_lake
from auditlake.settings import Settings
from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError, LockedError, UsageError
from core.events import Kind
from jobs import runner
from jobs.context import Context
from jobs.schedule import missed, run_until_stopped

__all__ = ["missed_jobs", "run_when_free", "serve"]

_PATIENCE_SECONDS = 900.0


def serve(data_dir: Path, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    :raises UsageError: the directory's clock is simulated.
    """
    if not exists(data_dir, settings):
        create(data_dir, settings, None)
    schedules = {name: getattr(settings.jobs, name).schedule for name in runner.JOBS}
    with open_lake(data_dir, settings) as lake:
        if lake.context.simulated:
            raise UsageError(f"data directory {data_dir} has a simulated clock", "run its jobs by hand with auditlake run")
        first = missed_jobs(lake.context, schedules)
    say(f"ready: {', '.join(f'{name} at {schedule}' for name, schedule in schedules.items())} (UTC)")
    run_until_stopped(schedules, first, lambda name: run_when_free(data_dir, settings, name))
    say("stopped")


def missed_jobs(ctx: Context, schedules: dict[str, str]) -> list[str]:
    """Jobs that were due since they last ended well (or since the directory was made), in the order of a night."""
    created = next(ctx.ledger.events(Kind.DIRECTORY_CREATED)).at
    now = ctx.clock.now()
    return [name for name, schedule in schedules.items() if missed(schedule, parse_instant(runner.last_success(ctx, name) or created), now)]


def run_when_free(data_dir: Path, settings: Settings, name: str) -> None:
    """Run one job as soon as nobody else holds the directory; a failure is said and kept in the history, never raised."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with exclusive(data_dir), open_lake(data_dir, settings) as lake:
                outcome = runner.run(lake.context, name)
                say(f"{to_iso(lake.context.clock.now())} {name}: {outcome.outcome} {dict(outcome.figures)}")
                for problem in outcome.problems:
                    say(f"{name}: {problem}")
            return
        except LockedError as error:
            if time.monotonic() > give_up:
                say(f"auditlake: {name} could not run: {error}")
                return
            time.sleep(1.0)
        except AuditlakeError as error:
            say(f"auditlake: {name} failed: {error}")
            return
        except Exception as error:  # the schedule must outlive whatever a job meets
            say(f"auditlake: {name} failed: {type(error).__name__}: {error}")
            return
