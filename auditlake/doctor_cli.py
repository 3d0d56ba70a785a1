"""``auditlake doctor``: looks at bucket, machine and data directory, and says what does not fit the promises, and what mends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditlake.app import App, common
from auditlake.console import show_json, show_table
from core.errors import AuditlakeError

if TYPE_CHECKING:
    import datetime as dt

    from auditlake.lake import Lake
    from auditlake.settings import Settings
    from compliance.posture import Check, LocalFacts
    from core.segment import SegmentState

__all__ = ["doctor", "examine"]

_MARKS = {True: "well", False: "NOT WELL", None: "not known"}


@click.command()
@common
def doctor(app: App) -> None:
    """Check bucket, machine and data directory; say what is not well, and what mends it.

    Nothing is changed. What cannot be looked at, because the credentials may not or the server cannot tell, is told as not known and
    never as well. Exit code 1 when anything is not well.
    """
    with app.reading() as lake:
        checks = examine(lake)
    bad = [check for check in checks if check.ok is False]
    if app.as_json:
        show_json({"ok": not bad, "checks": [vars(check) for check in checks]})
    else:
        show_table(("check", "state", "found", "remedy"), [(each.name, _MARKS[each.ok], each.detail, each.remedy) for each in checks])
    if bad:
        raise AuditlakeError(f"{len(bad)} checks are not well: {', '.join(check.name for check in bad)}", "see the remedies above")


def examine(lake: Lake) -> list[Check]:
    """Every check, of the archive's place first."""
    from compliance.posture import local_checks

    return [*_archive(lake), *local_checks(_local(lake))]


def _archive(lake: Lake) -> list[Check]:
    from compliance.posture import Check, bucket_checks, unreachable
    from storage.bucket_facts import bucket_facts
    from storage.lock import is_held
    from storage.objects import split_s3

    if lake.s3 is None:
        said = "not known: the archive is a folder, and whether its disk is encrypted cannot be seen"
        return [
            Check("encryption", None, said, "keep it on an encrypted disk, such as LUKS"),
            Check("clock", None, "not known: there is no server to compare this machine's clock with", "timedatectl"),
        ]
    bucket, prefix = split_s3(lake.settings.archive.url)
    try:
        found = bucket_facts(bucket, prefix, lake.s3)
    except AuditlakeError as error:
        return unreachable(error.problem, error.hint)
    policies = [policy for name, policy in lake.context.policies.items() if name == policy.name]
    return bucket_checks(found, policies, is_held(lake.context.data_dir / "lock"))


def _local(lake: Lake) -> LocalFacts:
    from auditlake.lake import SERVING
    from auditlake.vitals import gather
    from compliance.posture import LocalFacts
    from storage.lock import is_held

    ctx, found = lake.context, gather(lake)
    disk, now = shutil.disk_usage(ctx.data_dir), ctx.clock.now()
    rejected = [state for state in ctx.ledger.states().values() if state.segment.is_quarantine and state.hot]
    key = _key_path(lake)
    return LocalFacts(
        modes=_modes(lake, key),
        free=disk.free,
        total=disk.total,
        databases=_databases(lake.settings),
        key=str(key or ""),
        key_beside=bool(key and _is_beside(lake, key)),
        now=now,
        rejected_lines=sum(state.hot for state in rejected),
        rejected_oldest=min((state.segment.day for state in rejected), default=None),
        rejected_late=_late(lake, rejected, now),
        serving=is_held(ctx.data_dir / SERVING),
        red={job.name: f"{job.red}, last success {job.last_success or 'never'}" for job in found.jobs if job.red},
        overdue=found.overdue,
        residue=found.residue,
    )


def _late(lake: Lake, rejected: list[SegmentState], now: dt.datetime) -> int:
    from core.policy import conflicts, purge_due

    ctx, holds = lake.context, lake.context.holds
    days = [state.segment for state in rejected if state.segment.stream in ctx.policies]
    return sum(purge_due(day, ctx.policies[day.stream]) <= now and not conflicts(holds, day.stream, day.day) for day in days)


def _key_path(lake: Lake) -> Path | None:
    """Where the master key is; ``None`` when it comes from the environment."""
    import os

    from auditlake.settings import MASTER_KEY_VARIABLE

    if os.environ.get(MASTER_KEY_VARIABLE):
        return None
    given = lake.settings.keys.master_key_file
    return (Path(given) if given else lake.context.data_dir / "keys" / "master.key").absolute()


def _is_beside(lake: Lake, key: Path) -> bool:
    from storage.objects import url_to_path

    if lake.s3 is not None:
        return False
    url = lake.settings.archive.url
    data = lake.context.data_dir.absolute()
    archive = url_to_path(url) if url else data / "archive"
    return key.is_relative_to(archive) or (key.is_relative_to(data) and archive.is_relative_to(data))


def _modes(lake: Lake, key: Path | None) -> dict[str, int]:
    data = lake.context.data_dir
    control = [] if lake.settings.control.url else [data / "control.sqlite"]
    paths = [data, *control, *([key, key.parent] if key else [])]
    return {str(path): path.stat().st_mode & 0o777 for path in paths if path.exists()}


def _databases(settings: Settings) -> dict[str, str]:
    from auditlake.intake import transform_options
    from transforms.pipeline import locator

    kinds = [kind for kind in ("city", "asn") if getattr(settings.geo, kind) != "off"]
    if not kinds:
        return {}
    found = locator(transform_options(settings))
    builds = {kind: found.version.get(f"{kind}.build") for kind in kinds}
    return {kind: build or "; ".join(found.warnings)[:200] or "absent" for kind, build in builds.items()}
