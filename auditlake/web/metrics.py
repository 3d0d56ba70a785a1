"""``GET /metrics``: the server's figures for Prometheus, in its text format
(https://prometheus.io/docs/instrumenting/exposition_formats/).

The registry is this server's own: the collectors that prometheus-client registers by itself, which tell of process and platform, are not
in it. No token is needed, and no figure is of a person: labels are names out of the settings, of jobs, formats and users that send.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol, runtime_checkable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auditlake.settings import size_bytes
from auditlake.vitals import Cached, Vitals
from auditlake.web.health import checks, readiness
from auditlake.web.site import Site
from auditlake.web.workers import Pool
from core.clock import parse_instant
from jobs.state import JobState

__all__ = ["FIGURES", "Answers", "Figure", "Lagging", "Metrics"]

_Samples = Iterable[tuple[tuple[str, ...], float]]


@runtime_checkable
class Lagging(Protocol):
    """A source that knows how far behind it is."""

    def lag(self) -> float:
        """Seconds for which the oldest of what it knows of has waited to be stored; 0 when nothing waits."""
        ...

    def behind(self) -> int:
        """Bytes that it knows of and that are not stored."""
        ...


@dataclass(frozen=True)
class Figure:
    """One figure: its labels, what it says, and whether it only grows."""

    labels: tuple[str, ...]
    text: str
    grows: bool = False


FIGURES = {
    "auditlake_info": Figure(("version",), "1, of the version that runs"),
    "auditlake_healthy": Figure((), "1 when /healthz answers 200"),
    "auditlake_ready": Figure((), "1 when /readyz answers 200"),
    "auditlake_check": Figure(("check",), "1 when that check of /healthz is well"),
    "auditlake_lines_total": Figure(
        ("source", "format", "result"), "lines since the server began: stored, quarantined, refused, repeated", True
    ),
    "auditlake_source_lag_seconds": Figure(("source",), "how long the oldest of what it has sent and is not stored has waited"),
    "auditlake_source_behind_bytes": Figure(("source",), "bytes that a followed source or bucket has seen and not stored"),
    "auditlake_syslog_lost_total": Figure(
        ("source", "cause"), "since the server began: dropped, by the kernel too, cut, cut off at the end, connections turned away", True
    ),
    "auditlake_source_trouble": Figure(("source",), "1 when a source of the settings cannot be read or stored"),
    "auditlake_rows": Figure(("stream", "tier"), "rows that are there: hot, archive; rejected lines: quarantine"),
    "auditlake_oldest_row_age_seconds": Figure(("stream", "tier"), "since the oldest day with rows began"),
    "auditlake_oldest_row_limit_seconds": Figure(
        ("stream", "tier"), "the age at which that day is due: hot to be rolled, else to be destroyed"
    ),
    "auditlake_overdue_days": Figure(("stream",), "days that a purge should have destroyed an hour ago or before"),
    "auditlake_held_days": Figure(("stream",), "days with rows or rejected lines that a hold keeps; ages and overdue days leave them out"),
    "auditlake_residue_things": Figure((), "files, objects and keys that a purge could not destroy"),
    "auditlake_quarantine_lines": Figure(("stream",), "rejected lines that are kept"),
    "auditlake_job_last_outcome": Figure(("job", "outcome"), "1, with the outcome of the newest run"),
    "auditlake_job_last_duration_seconds": Figure(("job",), "how long the newest finished run took"),
    "auditlake_job_last_success_timestamp_seconds": Figure(("job",), "when it last began a run that ended well; 0 for never"),
    "auditlake_job_next_run_timestamp_seconds": Figure(("job",), "its next regular time, or its next try when that comes first"),
    "auditlake_job_failures": Figure(("job",), "failed runs in a row, the newest last"),
    "auditlake_job_missed": Figure(("job",), "1 when it was due for more than an hour and has not begun"),
    "auditlake_spool_bytes": Figure((), "of bodies that are taken in and not stored yet"),
    "auditlake_spool_limit_bytes": Figure((), "beyond which requests are asked to come again"),
    "auditlake_spool_bodies": Figure((), "bodies that are taken in and not stored yet"),
    "auditlake_queries_running": Figure((), "queries over HTTP under way"),
    "auditlake_queries_limit": Figure((), "how many may be"),
    "auditlake_http_answers_total": Figure(("status",), "answers since the server began", True),
}
"""Every figure, in the order in which they are told."""


class Answers:
    """Counts the answers of an application by status.

    :ivar app: the application, which may be changed for another.
    """

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.counts: dict[int, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as the application does."""
        assert self.app is not None

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                self.counts[status] = self.counts.get(status, 0) + 1
            await send(message)

        await self.app(scope, receive, counted)


class Metrics(Collector):
    """The handler, and what it collects.

    :param answers: counts by status, read when asked.
    """

    def __init__(self, site: Site, pool: Pool, vitals: Cached, answers: dict[int, int]) -> None:
        self._site, self._pool, self._vitals, self._answers = site, pool, vitals, answers
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def get(self, _request: Request) -> Response:
        """All figures."""
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry is no one else's."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every figure; those that the control database would have to tell have no samples while it does not answer."""
        found = self._of_server()
        with suppress(Exception):  # whatever it is: health says that the control database does not answer
            found |= _of_vitals(self._vitals.get())
        for name, figure in FIGURES.items():
            family = CounterMetricFamily if figure.grows else GaugeMetricFamily
            told = family(name, figure.text, labels=figure.labels)
            for labels, value in found.get(name, ()):
                told.add_metric(labels, value)
            yield told

    def _of_server(self) -> dict[str, _Samples]:
        site, seen = self._site, checks(self._site, self._vitals)
        names = [source.name for source in site.lake.settings.sources]
        lines = dict(site.writer.counts.lines)
        return {
            "auditlake_info": [((version("auditlake"),), 1)],
            "auditlake_healthy": [((), all(check.ok for check in seen))],
            "auditlake_ready": [((), all(check.ok for check in readiness(site)))],
            "auditlake_check": [((check.name,), check.ok) for check in seen],
            "auditlake_lines_total": [(labels, count) for labels, count in sorted(lines.items())],
            "auditlake_source_lag_seconds": [((name,), lag) for name, lag in sorted(self._lags().items())],
            "auditlake_source_behind_bytes": [((feed.name,), feed.behind()) for feed in site.writer.feeds if isinstance(feed, Lagging)],
            "auditlake_syslog_lost_total": [(labels, count) for labels, count in sorted(site.lost().items())],
            "auditlake_source_trouble": [((name,), name in site.writer.problems) for name in names],
            "auditlake_spool_limit_bytes": [((), size_bytes(site.lake.settings.serve.spool))],
            "auditlake_queries_running": [((), self._pool.running)],
            "auditlake_queries_limit": [((), self._pool.most)],
            "auditlake_http_answers_total": [((str(status),), count) for status, count in sorted(self._answers.items())],
        }

    def _lags(self) -> dict[str, float]:
        """Of every source that has sent something, and of those that know theirs."""
        lags = {source: 0.0 for source, _, _ in dict(self._site.writer.counts.lines)}
        with suppress(Exception):  # as above
            lags |= self._vitals.get().waited
        return lags | {feed.name: feed.lag() for feed in self._site.writer.feeds if isinstance(feed, Lagging)}


def _of_vitals(found: Vitals) -> dict[str, _Samples]:
    return {
        "auditlake_rows": [(labels, count) for labels, count in sorted(found.rows.items())],
        "auditlake_quarantine_lines": [((stream,), count) for (stream, tier), count in found.rows.items() if tier == "quarantine"],
        "auditlake_oldest_row_age_seconds": [((age.stream, age.tier), age.age) for age in found.ages],
        "auditlake_oldest_row_limit_seconds": [((age.stream, age.tier), age.limit) for age in found.ages],
        "auditlake_overdue_days": [((stream,), days) for stream, days in sorted(found.overdue.items())],
        "auditlake_held_days": [((stream,), days) for stream, days in sorted(found.held.items())],
        "auditlake_residue_things": [((), found.residue)],
        "auditlake_spool_bytes": [((), found.spooled)],
        "auditlake_spool_bodies": [((), found.bodies)],
        "auditlake_job_last_outcome": [((job.name, job.last_outcome), 1) for job in found.jobs if job.last_outcome],
        "auditlake_job_last_duration_seconds": [((job.name,), job.seconds) for job in found.jobs if job.seconds is not None],
        "auditlake_job_last_success_timestamp_seconds": [((job.name,), _seconds(job.last_success)) for job in found.jobs],
        "auditlake_job_next_run_timestamp_seconds": [((job.name,), _next(job)) for job in found.jobs],
        "auditlake_job_failures": [((job.name,), job.failures) for job in found.jobs],
        "auditlake_job_missed": [((job.name,), job.missed) for job in found.jobs],
    }


def _next(job: JobState) -> float:
    return _seconds(job.retry_at or job.next_run)


def _seconds(instant: str | None) -> float:
    return parse_instant(instant).timestamp() if instant else 0.0
