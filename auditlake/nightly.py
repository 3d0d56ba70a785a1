"""The nights of a server: which jobs run when, under which settings, and what happens when the settings change."""

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from auditlake.console import say
from auditlake.intake import ingest_options
from auditlake.lake import Lake, exclusive, open_lake, renewed
from auditlake.reload import change
from auditlake.settings import Settings
from auditlake.signals import Signals
from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError, LockedError
from core.events import Kind
from jobs import runner
from jobs.context import Context, Outcome, Progress, StoppedError
from jobs.nights import Nights
from jobs.schedule import Retry, missed
from jobs.state import states

__all__ = ["Nightly", "missed_jobs", "run_when_free"]

_PATIENCE_SECONDS = 900.0
_LOOK_SECONDS = 5.0


class Nightly:
    """The jobs of a server, and its settings.

    :param lake: open as long as it runs.
    :param others: are told of other settings, with the directory under these.
    :param reread: reads the settings again.
    """

    def __init__(self, lake: Lake, others: Sequence[Callable[[Lake], None]], reread: Callable[[], Settings] | None = None) -> None:
        self._lake, self._others, self._reread = lake, others, reread
        self._guard = threading.Lock()
        self._nights = Nights(lake.settings.jobs.schedules(), self._run, self._failed)

    def run(self, asked: Signals) -> None:
        """Run the jobs, first those that were missed, until asked to stop; then begin no further one."""
        self._nights.start(missed_jobs(self._lake.context, self._lake.settings.jobs.schedules()))
        while not asked.stop:
            asked.wait(min(_LOOK_SECONDS, self._lake.settings.jobs.retry / 2))
            if asked.reload:
                asked.reload = False
                self.reload()
            if not asked.stop:
                self._nights.look()
        self._nights.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for the job under way; whether there is none any more."""
        return self._nights.wait(seconds)

    def reload(self) -> None:
        """Take other settings, or keep the old ones; says which, in one line."""
        try:
            found = change(self._lake.settings, self._reread() if self._reread else self._lake.settings)
            for stream in found.settings.streams:
                ingest_options(found.settings, "auto", stream)
        except AuditlakeError as error:
            say(f"auditlake: settings are not reloaded, the old ones stay in force: {error}")
            return
        self._take(found.settings)
        say(f"settings reloaded; {found}")

    def _take(self, settings: Settings) -> None:
        with self._guard:
            self._lake = renewed(self._lake, settings)
            self._nights.change(settings.jobs.schedules())
            for told in self._others:
                told(self._lake)

    def _run(self, name: str) -> None:
        outcome = run_when_free(self._lake.context.data_dir, self._lake.settings, name, self._nights.watch)
        if outcome and name == "geoip" and outcome.figures.get("updated"):
            self._take(self._lake.settings)

    def _failed(self) -> list[str]:
        ctx, jobs = self._lake.context, self._lake.settings.jobs
        try:
            found = states(ctx, jobs.schedules(), Retry(jobs.retry, jobs.retry_longest))
        except Exception:  # the control database does not answer: whoever asks for health is told, and the next look sees
            return []
        return [job.name for job in found if job.retry_at and parse_instant(job.retry_at) <= ctx.clock.now()]


def missed_jobs(ctx: Context, schedules: dict[str, str]) -> list[str]:
    """Jobs that were due since they last ended well (or since the directory was made), in the order of a night."""
    created = next(ctx.ledger.events(Kind.DIRECTORY_CREATED)).at
    now = ctx.clock.now()
    return [name for name, schedule in schedules.items() if missed(schedule, parse_instant(runner.last_success(ctx, name) or created), now)]


def run_when_free(data_dir: Path, settings: Settings, name: str, progress: Progress | None = None) -> Outcome | None:
    """Run one job as soon as nobody else holds the directory; a failure is said and kept in the history, never raised."""
    try:
        with nullcontext() if name in runner.BESIDE else exclusive(data_dir, _PATIENCE_SECONDS):
            return _ran(data_dir, settings, name, progress)
    except LockedError as error:
        say(f"auditlake: {name} could not run: {error}")
        _note(data_dir, settings, name, str(error))
    except AuditlakeError as error:
        say(f"auditlake: {name} could not run: {error}")
    return None


def _ran(data_dir: Path, settings: Settings, name: str, progress: Progress | None) -> Outcome | None:
    try:
        with open_lake(data_dir, settings, progress) as lake:
            outcome = runner.run(lake.context, name)
            say(f"{to_iso(lake.context.clock.now())} {name}: {outcome.outcome} {dict(outcome.figures)}")
            for problem in outcome.problems:
                say(f"{name}: {problem}")
            return outcome
    except StoppedError:
        say(f"{name}: ended where it is safe; the next start goes on")
    except AuditlakeError as error:
        say(f"auditlake: {name} failed: {error}")
    except Exception as error:  # the schedule must outlive whatever a job meets
        say(f"auditlake: {name} failed: {type(error).__name__}: {error}")
    return None


def _note(data_dir: Path, settings: Settings, name: str, problem: str) -> None:
    try:
        with open_lake(data_dir, settings) as lake:
            runner.note_failure(lake.context, name, problem)
    except Exception as error:
        say(f"auditlake: the history cannot be written: {type(error).__name__}: {error}")
