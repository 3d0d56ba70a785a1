"""The scheduler of the one long process: jobs one at a time, by their schedules, and again when they failed.

When something is tried again follows from the history in the control database (:mod:`jobs.state`), not from what this process
remembers: a restart changes nothing, and a job that somebody has run by hand in between is not run again.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from core.clock import UTC
from jobs.context import StoppedError
from jobs.schedule import trigger

__all__ = ["Nights"]


class Nights:
    """The jobs of a server.

    :param schedules: by the jobs' names, in the order of a night.
    :param run: runs a job by its name; it must not raise.
    :param failed: says which jobs should be tried again at this moment.
    """

    def __init__(self, schedules: Mapping[str, str], run: Callable[[str], None], failed: Callable[[], Collection[str]]) -> None:
        self._schedules = dict(schedules)
        self._run, self._failed = run, failed
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._changed = threading.Condition()
        self._under_way = ""
        self._stopping = False

    def start(self, first: Sequence[str] = ()) -> None:
        """Run the jobs ``first``, then each by its schedule. Runs that pile up behind a long one are run once."""
        for name in first:
            self._scheduler.add_job(self._turn, args=[name], id=f"{name} (missed)")
        for name, schedule in self._schedules.items():
            self._scheduler.add_job(self._turn, trigger(schedule), args=[name], id=name)
        self._scheduler.start()

    def change(self, schedules: Mapping[str, str]) -> None:
        """Other schedules from now on."""
        for name, schedule in schedules.items():
            if schedule != self._schedules.get(name):
                self._scheduler.reschedule_job(name, trigger=trigger(schedule))
        self._schedules = dict(schedules)

    def look(self) -> None:
        """Try again what should be by now. To be called every few seconds."""
        for name in self._failed():
            if name != self._under_way and not self._scheduler.get_job(f"{name} (again)"):
                self._scheduler.add_job(self._again, args=[name], id=f"{name} (again)")

    def watch(self, _what: str, _done: int, _whole: int) -> None:
        """Progress of a job, which ends at the next safe point once this is asked to stop.

        :raises StoppedError: it is.
        """
        if self._stopping:
            raise StoppedError("the server is being stopped", "its next start goes on")

    def stop(self) -> None:
        """Begin no further job, and let the one under way end where it is safe."""
        with self._changed:
            self._stopping = True
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()  # else the scheduler's thread may meet a store that is shut
        self._scheduler.shutdown(wait=False)

    def wait(self, seconds: float) -> bool:
        """Wait for the job under way; whether there is none any more."""
        deadline = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, max(0.0, deadline - time.monotonic()))

    def next_run(self, name: str) -> dt.datetime | None:
        """When the scheduler will run it by its schedule."""
        job = self._scheduler.get_job(name)
        return job.next_run_time if job else None

    def _again(self, name: str) -> None:
        if name in self._failed():  # it may have run since
            self._turn(name)

    def _turn(self, name: str) -> None:
        with self._changed:
            if self._stopping:
                return
            self._under_way = name
        try:
            self._run(name)
        finally:
            with self._changed:
                self._under_way = ""
                self._changed.notify_all()
