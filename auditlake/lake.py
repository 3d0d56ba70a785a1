"""Opening a data directory: its clock, stores and policy, put together from the settings.

<data-dir>/control.sqlite   control database: ledger, keys, catalog (unless [control] url: then control.id says which)
<data-dir>/keys/            master key, 0600 (unless [keys] or AUDITLAKE_MASTER_KEY), and the key that signs evidence, 0600
<data-dir>/hot/             encrypted day files
<data-dir>/archive/         Iceberg tables (unless [archive] url); beside them _evidence/
<data-dir>/checkpoints/     what was signed over the ledger
<data-dir>/tmp/             DuckDB's spill, encrypted; empty between runs
<data-dir>/spool/           bodies that were sent and are not stored yet, encrypted
<data-dir>/lock             who is changing it; lock.next: who will next; serve.lock: who serves
"""

from __future__ import annotations

import datetime as dt
import functools
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from auditlake import binding
from auditlake.settings import MASTER_KEY_VARIABLE, Settings
from core.clock import Clock, FixedClock, WallClock, parse_instant, to_iso
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.policy import Period
from jobs.context import Context, Progress, silent
from storage.control import Control, check_path
from storage.keys import KeyRing, load_master_key
from storage.ledger import Ledger
from storage.lock import hold, is_held
from storage.objects import Access, LocalObjects, ObjectStore, S3Objects, path_to_url, resolve_s3, split_s3, url_to_path

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.hot import HotStore

__all__ = ["Lake", "advance_clock", "create", "exclusive", "exists", "open_lake", "renewed", "serving"]

SERVING = "serve.lock"
"""Held by the server of a data directory."""

_PATIENCE_SECONDS = 900.0
_CLOCK = "clock"
_NOW = "clock_now"


@dataclass(frozen=True)
class Lake:
    """An open data directory, its settings, and how to reach its bucket when it has one."""

    context: Context
    settings: Settings
    s3: Access | None


def create(data_dir: Path, settings: Settings, simulated: dt.datetime | None) -> str:
    """Make a data directory; says which clock it has. Nothing changes when it is one already, of the same kind.

    :raises UsageError: it exists with another kind of clock, the folder cannot be made, or its control database is another's.
    """
    kind = "simulated" if simulated else "real"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"data directory {data_dir} cannot be made: {error.strerror}", "choose another with --data-dir") from None
    exists(data_dir, settings)
    with exclusive(data_dir), closing(_control(data_dir, settings)) as control:
        with control.read() as connection:
            existing = control.get_meta(connection, _CLOCK)
            if settings.control.url:
                binding.check(data_dir, control, connection, existing is not None)
        load_master_key(os.environ.get(MASTER_KEY_VARIABLE), _key_file(data_dir, settings), make=existing is None)
        if existing is None:
            with control.write() as connection:
                if settings.control.url:
                    binding.claim(data_dir, control, connection)
                _begin(control, connection, kind, simulated)
        if settings.control.url:
            binding.settle(data_dir)
    if existing not in (None, kind):
        raise UsageError(f"data directory {data_dir} exists with a {existing} clock", "choose another with --data-dir")
    return kind


def _begin(control: Control, connection: sa.Connection, kind: str, simulated: dt.datetime | None) -> None:
    control.set_meta(connection, _CLOCK, kind)
    if simulated:
        control.set_meta(connection, _NOW, to_iso(simulated))
    clock: Clock = FixedClock(simulated) if simulated else WallClock()
    Ledger(control, clock).append(connection, Kind.DIRECTORY_CREATED, simulated=simulated is not None)


@contextmanager
def open_lake(data_dir: Path, settings: Settings, progress: Progress | None = None) -> Iterator[Lake]:
    """The data directory, opened; closed when the block ends.

    :raises UsageError: there is none.
    """
    if not exists(data_dir, settings):
        raise _absent(data_dir)
    with closing(_control(data_dir, settings)) as control:
        lake = _open(data_dir, settings, control, progress or silent)
        try:
            yield lake
        finally:
            lake.context.close()


def _open(data_dir: Path, settings: Settings, control: Control, progress: Progress) -> Lake:
    with control.read() as connection:
        kind, now = control.get_meta(connection, _CLOCK), control.get_meta(connection, _NOW)
        if settings.control.url:
            binding.check(data_dir, control, connection, kind is not None)
    if kind is None:
        raise UsageError(f"data directory {data_dir} is not finished", f"run: auditlake --data-dir {data_dir} init")
    clock: Clock = FixedClock(parse_instant(now)) if kind == "simulated" and now else WallClock()
    location, access, objects = _archive_place(data_dir, settings)
    context = Context(
        data_dir=data_dir,
        clock=clock,
        control=control,
        ledger=Ledger(control, clock),
        keys=KeyRing(load_master_key(os.environ.get(MASTER_KEY_VARIABLE), _key_file(data_dir, settings), make=False)),
        open_hot=lambda: _hot(data_dir, settings),
        open_archive=lambda: _archive(control.url, location, access, objects),
        policies=settings.policies(),
        max_clock_jump=Period.parse(settings.clock.max_jump),
        log_keep=Period.parse(settings.query.log_keep),
        simulated=kind == "simulated",
        progress=progress,
        downloads=settings.geo.downloads(),
        scrub_nights=settings.jobs.scrub.nights,
        evidence_lock=Period.parse(settings.evidence.lock),
        request_keep=Period.parse(settings.subjects.keep),
    )
    return Lake(context, settings, access)


def renewed(lake: Lake, settings: Settings) -> Lake:
    """The same directory under other settings: what is open stays open, and is closed with the first."""
    context = replace(
        lake.context,
        policies=settings.policies(),
        max_clock_jump=Period.parse(settings.clock.max_jump),
        log_keep=Period.parse(settings.query.log_keep),
        downloads=settings.geo.downloads(),
        scrub_nights=settings.jobs.scrub.nights,
        evidence_lock=Period.parse(settings.evidence.lock),
        request_keep=Period.parse(settings.subjects.keep),
    )
    for name in ("hot", "archive", "spool", "query_log"):
        vars(context)[name] = getattr(lake.context, name)
    return Lake(context, settings, lake.s3)


def _hot(data_dir: Path, settings: Settings) -> HotStore:
    from storage.hot import HotStore

    resources = settings.resources
    return HotStore(data_dir / "hot", data_dir / "tmp", resources.memory, resources.threads, resources.spill)


def _archive(control_url: str, location: str, access: Access | None, objects: ObjectStore) -> Archive:
    from storage.archive import Archive

    return Archive(control_url, location, access, objects)


@contextmanager
def exclusive(data_dir: Path, patience: float | None = None) -> Iterator[None]:
    """Hold the data directory's lock as long as the block lasts.

    :param patience: seconds to wait for it; ``None``: as long as a turn of the server's may last when one runs, else none.
    :raises LockedError: another process holds it.
    """
    if not data_dir.is_dir():
        raise _absent(data_dir)
    try:
        if patience is None:
            patience = _PATIENCE_SECONDS if is_held(data_dir / SERVING) else 0.0
        with hold(data_dir / "lock", patience):
            yield
    except PermissionError as error:
        raise UsageError(f"data directory {data_dir} cannot be written: {error.strerror}", "run as its owner") from None


@contextmanager
def serving(data_dir: Path) -> Iterator[None]:
    """Be the directory's one server as long as the block lasts.

    :raises LockedError: another process is.
    """
    with hold(data_dir / SERVING):
        yield


def exists(data_dir: Path, settings: Settings) -> bool:
    """Whether the folder is a data directory.

    :raises UsageError: it is one, and its control database is not where the settings say.
    """
    inside, elsewhere = (data_dir / "control.sqlite").exists(), (data_dir / binding.FILE).exists()
    if settings.control.url and inside and not elsewhere:
        raise UsageError(f"data directory {data_dir} has a control database of its own, control.sqlite", "leave [control] url empty")
    if not settings.control.url and elsewhere and not inside:
        raise UsageError(f"data directory {data_dir} has its control database elsewhere", "set [control] url as before")
    return elsewhere if settings.control.url else inside


def advance_clock(lake: Lake, by: Period) -> dt.datetime:
    """Move a simulated clock forward; returns the new time.

    :raises UsageError: the clock is the machine's.
    """
    ctx = lake.context
    if not ctx.simulated:
        raise UsageError(
            f"data directory {ctx.data_dir} has a real clock", "only a directory made with init --simulated-clock can be advanced"
        )
    before = ctx.clock.now()
    after = by.after(before)
    if after.year == dt.MAXYEAR:
        raise AuditlakeError(f"the clock cannot go {by} past {to_iso(before)}", "advance it by less")
    with ctx.control.write() as connection:
        ctx.control.set_meta(connection, _NOW, to_iso(after))
        Ledger(ctx.control, FixedClock(after)).append(connection, Kind.CLOCK_ADVANCED, before=to_iso(before), after=to_iso(after))
    return after


def _absent(data_dir: Path) -> UsageError:
    return UsageError(f"there is no data directory at {data_dir}", f"make one with: auditlake --data-dir {data_dir} init")


def _control(data_dir: Path, settings: Settings) -> Control:
    path = check_path(data_dir.absolute()) / "control.sqlite"
    if settings.control.url:
        return Control(settings.control.url)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return Control.in_file(path)


def _key_file(data_dir: Path, settings: Settings) -> Path:
    return Path(settings.keys.master_key_file) if settings.keys.master_key_file else data_dir / "keys" / "master.key"


def _archive_place(data_dir: Path, settings: Settings) -> tuple[str, Access | None, ObjectStore]:
    archive = settings.archive
    if archive.url.startswith("s3://"):
        access = functools.cache(lambda: resolve_s3(archive.endpoint, archive.region, archive.path_style))
        bucket, prefix = split_s3(archive.url)
        return f"s3://{bucket}/{prefix}".rstrip("/"), access, S3Objects(bucket, access)
    folder = check_path(url_to_path(archive.url) if archive.url else (data_dir / "archive").absolute())
    return path_to_url(folder), None, LocalObjects(folder)
