"""The one long process: takes lines in and stores them, runs the jobs by their schedule, and first what was missed while it did not run.

It takes the data directory's lock for each job and each turn of storing, so that files can be ingested by hand in between, and
waits for it when somebody else has it. Whatever it is doing may be lost at any moment; asked to stop, it ends what ends within
seconds, and leaves the rest to its next start.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from auditlake.console import say
from auditlake.feeds import feeds
from auditlake.intake import SWITCH_SECONDS
from auditlake.lake import Lake, create, exists, open_lake, serving
from auditlake.nightly import Nightly
from auditlake.quack.keeper import QuackServer
from auditlake.settings import Settings
from auditlake.signals import signals
from auditlake.syslog_source import SyslogSource
from auditlake.web.app import HttpServer
from auditlake.web.site import Rate, Site
from auditlake.writer import Writer
from core.errors import EXIT_DONE, UsageError
from storage.people import People

__all__ = ["Running", "running", "serve"]

_STOP_SECONDS = 8.0
"""How long what is under way may take once a stop is asked for."""


@dataclass
class Running:
    """What answers and stores beside the jobs.

    :param places: where it listens.
    :param told: are called with the directory under other settings when these change.
    :param under_way: what did not end in time, once it is asked to stop.
    """

    places: list[str] = field(default_factory=list)
    told: list[Callable[[Lake], None]] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)


def serve(data_dir: Path, settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
    """Run until SIGTERM or SIGINT.

    :param reread: reads the settings again, on SIGHUP.
    :raises UsageError: the directory's clock is simulated.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    with signals() as asked:
        if not exists(data_dir, settings):
            create(data_dir, settings, None)
        with serving(data_dir), open_lake(data_dir, settings) as lake:
            if lake.context.simulated:
                raise UsageError(f"data directory {data_dir} has a simulated clock", "run its jobs by hand with auditlake run")
            with running(lake) as others:
                nightly = Nightly(lake, others.told, reread)
                said = [*others.places, *(f"{name} at {schedule}" for name, schedule in settings.jobs.schedules().items())]
                say(f"ready: {', '.join(said)} (UTC)")
                nightly.run(asked)
                began = time.monotonic()
            if not nightly.wait(_STOP_SECONDS - (time.monotonic() - began)):
                others.under_way.append("a job")
            if others.under_way:
                _leave(others.under_way)
    say("stopped")


@contextmanager
def running(lake: Lake) -> Iterator[Running]:
    """Take lines in, and answer, as long as the block lasts.

    :raises AuditlakeError: it cannot listen there.
    """
    ctx = lake.context
    with ctx.control.read() as connection:
        ctx.spool.tidy(connection)
    writer = Writer(lake, feeds)
    syslog = [SyslogSource(lake, source, writer.wake) for source in lake.settings.sources if source.kind == "syslog"]
    lost = partial(_lost, syslog)
    site = Site(lake, People(ctx.control, ctx.ledger, ctx.clock), writer, Rate(lake.settings.serve.requests_per_second), lost)
    http = HttpServer(site, lake.settings.serve.http) if lake.settings.serve.http != "off" else None
    quack = QuackServer(lake) if lake.settings.serve.quack != "off" else None
    found = Running(told=[writer.renew])
    writer.start()
    try:
        if http:
            http.start()
            found.places.append(f"http on {lake.settings.serve.http}")
            found.told.append(http.renew)
        if quack:
            quack.start()
            found.places.append(f"quack on {lake.settings.serve.quack}")
            found.told.append(quack.renew)
        for source in syslog:
            source.start()
            found.places.append(f"syslog on {source.place}")
            found.told.append(source.renew)
        yield found
    finally:
        began = time.monotonic()
        if quack:
            quack.stop()
        for source in syslog:
            source.close()
        if http:
            http.stop()
        if not writer.stop(max(1.0, _STOP_SECONDS - (time.monotonic() - began))):
            found.under_way.append("storing")


def _lost(sources: Sequence[SyslogSource]) -> dict[tuple[str, str], int]:
    return {(source.name, cause): count for source in sources for cause, count in vars(source.counts).items()}


def _leave(under_way: list[str]) -> None:
    """End at once, whatever runs: nothing that is acknowledged is lost, and the next start goes on."""
    say(f"stopped; {' and '.join(under_way)} took longer than {_STOP_SECONDS:g} seconds: the next start finishes it or takes it back")
    sys.stderr.flush()
    os._exit(EXIT_DONE)
