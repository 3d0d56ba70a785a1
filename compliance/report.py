"""The report for an auditor: what was promised, what was done, and first of all what was not as it should be. Pure: facts in, report out.

Every figure but the posture comes from the ledger's events. Requests, holds and users are known by their numbers alone, so that no report
holds what a person wrote or who anybody is.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from compliance.posture import Check
from compliance.report_findings import Chain, Finding, Limits, findings
from compliance.report_fold import Fold, Span
from core.errors import AuditlakeError, UsageError
from core.events import Event
from core.policy import StreamPolicy
from core.segment import Segment

__all__ = ["Facts", "Origin", "Report", "make", "span"]

_DEFAULT = dt.timedelta(days=30)


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: the program's version, the time, whether the clock is simulated, the checkpoint (empty: none)."""

    version: str
    now: dt.datetime
    simulated: bool
    checkpoint: str = ""


@dataclass(frozen=True)
class Facts:
    """What a report is made from.

    :param events: of the ledger, from the first one on, up to ``chain.events``.
    :param policies: by stream, quarantine companions included; :param others: further limits in words, by what they are for.
    :param dues: for each job the times at which it was due in the span, the first of each day.
    :param faulty: archived days with a fault when they were read last.
    :param posture: of the archive's place and the machine; ``None``: it was not looked at.
    """

    span: Span
    events: Iterable[Event]
    policies: Mapping[str, StreamPolicy]
    dues: Mapping[str, Sequence[dt.datetime]]
    chain: Chain
    origin: Origin
    faulty: Sequence[Segment] = ()
    limits: Limits = field(default_factory=Limits)
    others: Mapping[str, str] = field(default_factory=dict)
    posture: Sequence[Check] | None = None


@dataclass(frozen=True)
class Report:
    """A report: the facts, what they add up to, and the exceptions."""

    facts: Facts
    fold: Fold
    exceptions: tuple[Finding, ...]

    @property
    def span(self) -> Span:
        """The days it is about."""
        return self.facts.span

    @property
    def unwell(self) -> int | None:
        """How many checks of the posture are not well; ``None`` when it was not looked at."""
        return None if self.facts.posture is None else sum(check.ok is False for check in self.facts.posture)


def span(first: str | None, last: str | None, begun: dt.datetime, now: dt.datetime) -> Span:
    """The days that are asked for, as far as there are any: from the first day of the ledger to today.

    :param first: ISO 8601 day; ``None``: thirty days before the last. :param last: likewise; ``None``: today.
    :raises UsageError: one is no day, they are the wrong way round, or nothing was or is yet in that time.
    """
    today = now.date()
    until = _day(last) if last else today
    since = _day(first) if first else max(begun.date(), dt.date.fromordinal(max(1, until.toordinal() - _DEFAULT.days)))
    if since > until:
        raise UsageError(f"the last day, {until}, is before the first, {since}", "give --from and --to the other way round")
    if since > today or until < begun.date():
        raise UsageError(f"the ledger has events from {begun.date()} to {today}, none from {since} to {until}", "choose days of that time")
    since, until = max(since, begun.date()), min(until, today)
    return Span(since, until, min(now, Segment("", until).end))


def make(facts: Facts) -> Report:
    """The report.

    :raises AuditlakeError: with ``KeyError``, ``TypeError`` and ``ValueError``: an event is none, and yet the ledger's chain is whole.
    """
    fold = Fold(facts.span, facts.policies, facts.dues)
    try:
        for event in facts.events:
            if event.seq > facts.chain.events or not fold.take(event):
                break
    except (AuditlakeError, KeyError, TypeError, ValueError, AttributeError):
        if not facts.chain.fault:  # what a changed event says may be anything; the figures end there, and the fault is told
            raise
    return Report(facts, fold.close(), findings(fold, facts.chain, facts.faulty, facts.limits))


def _day(text: str) -> dt.date:
    try:
        if len(text) != len("2026-01-31"):
            raise ValueError
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a day", "write it like 2026-01-31") from None
