"""``GET /healthz``, ``GET /readyz`` and ``GET /v1/status``: is all well, can lines come in, and what is so in detail.

The first two need no token, and name nobody. The last is for auditors, and for who may manage the server.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from auditlake.reports import status
from auditlake.settings import size_bytes
from auditlake.vitals import Cached, Vitals
from auditlake.web.site import ApiError, Site, answer, user_of
from core.roles import LEDGER
from jobs.state import JobState

__all__ = ["CHECKS", "Check", "Health", "checks", "readiness"]

CHECKS = ("control", "writer", "nights", "residue", "limits", "requests", "sources", "spool")
"""Names of everything that is looked at."""


@dataclass(frozen=True)
class Check:
    """One thing looked at, and what was seen."""

    name: str
    ok: bool
    detail: str


class Health:
    """The handlers."""

    def __init__(self, site: Site, vitals: Cached) -> None:
        self._site, self._vitals = site, vitals

    async def healthz(self, _request: Request) -> Response:
        """Whether all is well."""
        return _told(await run_in_threadpool(checks, self._site, self._vitals))

    async def readyz(self, _request: Request) -> Response:
        """Whether lines can come in."""
        return _told(await run_in_threadpool(readiness, self._site))

    async def status(self, request: Request) -> Response:
        """What ``auditlake status --json`` says."""
        user = await user_of(request, self._site)
        if not (user.role.may_manage or LEDGER in user.role.tables):
            raise ApiError(403, f"the role {user.role.name} may not see the server's state", "use a token of an auditor or admin")
        return answer(await run_in_threadpool(status, self._site.lake, False))


def checks(site: Site, vitals: Cached) -> list[Check]:
    """Everything that is looked at for health. What cannot be known while the control database does not answer is left out."""
    try:
        found = vitals.get()
    except Exception:  # whatever it is: its text may name hosts and users
        return [Check("control", False, "the control database does not answer"), _writer(site)]
    known = [_nights(found), _residue(found), _limits(found), _requests(found)]
    return [Check("control", True, "answers"), _writer(site), *known, _sources(site), _room(site)]


def readiness(site: Site) -> list[Check]:
    """What taking lines in depends on."""
    return [_control(site), _writer(site), _room(site)]


def _told(found: Iterable[Check]) -> Response:
    seen = list(found)
    ok = all(check.ok for check in seen)
    return answer({"ok": ok, "checks": [vars(check) for check in seen]}, 200 if ok else 503, {"Cache-Control": "no-store"})


def _control(site: Site) -> Check:
    try:
        with site.lake.context.control.read() as connection:
            connection.execute(sa.text("SELECT 1"))
    except Exception:  # as above
        return Check("control", False, "the control database does not answer")
    return Check("control", True, "answers")


def _writer(site: Site) -> Check:
    alive = site.writer.alive()
    return Check("writer", alive, "runs" if alive else "has ended: restart the server")


def _nights(found: Vitals) -> Check:
    red = [_night(job) for job in found.jobs if job.red]
    return Check("nights", not red, "; ".join(red) or "all ran")


def _night(job: JobState) -> str:
    if job.red == "failed":
        again = job.retry_at or job.next_run or "by hand"
        return f"{job.name} failed at {job.last_started}, next try {again}"
    return f"{job.name} was missed, last success {job.last_success or 'never'}"


def _residue(found: Vitals) -> Check:
    return Check("residue", not found.residue, f"{found.residue} things could not be destroyed" if found.residue else "none")


def _limits(found: Vitals) -> Check:
    late = [f"{days} days of {stream} are beyond their limit" for stream, days in found.overdue.items() if days]
    return Check("limits", not late, "; ".join(late) or "kept")


def _requests(found: Vitals) -> Check:
    late = f"{found.pressing} requests of data subjects must be done soon, or are late: see auditlake subject requests"
    return Check("requests", not found.pressing, late if found.pressing else "none is pressing")


def _sources(site: Site) -> Check:
    names = {source.name for source in site.lake.settings.sources}
    problems = set(dict(site.writer.problems))
    bad = [f"{name} is in trouble" for name in sorted(problems & names)]
    if bodies := len(problems - names - {"writer"}):
        bad.append(f"{bodies} bodies cannot be stored")
    if "writer" in problems:
        bad.append("storing fails and is tried again")
    return Check("sources", not bad, "; ".join(bad) or "none in trouble")


def _room(site: Site) -> Check:
    limit = size_bytes(site.lake.settings.serve.spool)
    try:
        size = site.lake.context.spool.size()
    except OSError:
        return Check("spool", False, "cannot be read")
    return Check("spool", size <= limit, f"{size} of {limit} bytes wait")
