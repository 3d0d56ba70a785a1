"""``auditlake report``: one page for an auditor, and the evidence beside it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditlake.app import App, common
from auditlake.console import show_json, show_pairs, show_table
from core.clock import to_iso
from core.errors import AuditlakeError

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from compliance.report import Report

__all__ = ["report"]


@click.command()
@click.option("--from", "first", metavar="DAY", help="First day, like 2026-01-31 (UTC; default: thirty days before the last).")
@click.option("--to", "last", metavar="DAY", help="Last day, included (default: today).")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write to; made when absent.")
@click.option(
    "--quarantine-share",
    "percent",
    type=click.FloatRange(0, 100),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="Tell days of which more lines were rejected.",
)
@common
def report(app: App, first: str | None, last: str | None, output: Path, percent: float) -> None:
    """Write a report on some days: report.html, which stands alone and can be printed, and evidence.zip, which proves it.

    Exceptions come first; then the policy, how old what is held can be, nights, destructions, requests, holds, queries, rejected lines,
    accounts, and the place it is kept in. Nothing in it is personal data of those who are in the logs. Exceptions are no failure of the
    command: its exit code is 0.

    \b
    auditlake report --from 2026-01-01 --to 2026-03-31 -o first-quarter
    auditlake verify first-quarter/evidence.zip --trust FINGERPRINT
    """
    from auditlake.report_files import PACK_NAME, PAGE_NAME, refuse_others

    refuse_others(output)
    with app.changing() as lake:
        made, packed = _write(lake, first, last, percent / 100, output)
    exceptions = [vars(each) for each in made.exceptions]
    result = {
        "html": str(output / PAGE_NAME),
        "pack": str(output / PACK_NAME) if packed else None,
        "from": made.span.first.isoformat(),
        "to": made.span.last.isoformat(),
    }
    if app.as_json:
        show_json({**result, "exceptions": exceptions, "posture": made.unwell})
        return
    show_pairs({**result, "exceptions": len(exceptions) or "none"})
    if exceptions:
        show_table(("kind", "what", "where", "since", "open"), [[*list(each.values())[:4], each["open"]] for each in exceptions])


def _write(lake: Lake, first: str | None, last: str | None, share: float, output: Path) -> tuple[Report, bool]:
    """The report, and whether there is a pack beside it: there is none where nothing happened, or nothing can be signed."""
    from auditlake.report_facts import begun, gather
    from auditlake.report_files import PACK_NAME, PAGE_NAME, place
    from compliance.report import make, span
    from compliance.report_html import page

    ctx = lake.context
    asked = span(first, last, begun(ctx), ctx.clock.now())
    problem = _unsigned(lake)
    made = make(gather(lake, asked, share, problem))
    packed = not problem and not made.facts.chain.fault and made.fold.events > 0
    html = page(made, PACK_NAME if packed else "").encode()
    pack = {PACK_NAME: _pack(lake, made, html)} if packed else {}
    place(output, {**pack, PAGE_NAME: html})
    return made, packed


def _unsigned(lake: Lake) -> str:
    """Why the ledger cannot be signed as it is; empty when it is."""
    try:
        lake.context.checkpoints.sign()
    except AuditlakeError as error:
        return f"no checkpoint could be signed, so there is no pack: {error.problem}"
    return ""


def _pack(lake: Lake, made: Report, html: bytes) -> bytes:
    from auditlake.evidence_cli import evidence_of
    from auditlake.report_files import PAGE_NAME
    from compliance.packs import build

    lake.context.checkpoints.sign()  # a query may have been asked meanwhile
    since, until = made.span.first.isoformat(), (made.span.last + dt.timedelta(days=1)).isoformat()
    return build(evidence_of(lake), since, until, to_iso(made.facts.origin.now), {PAGE_NAME: html}).content
