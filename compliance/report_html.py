"""The report as one HTML file: it needs no other file, no script and no network, reads well on paper and to a screen reader.

Exceptions stand first. Everything in it is escaped (:mod:`compliance.markup`); the file itself forbids whatever it does not need by a
Content-Security-Policy (https://www.w3.org/TR/CSP3/).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from compliance import report_charts
from compliance.markup import items, paragraph, section, table, text
from compliance.report import Report
from compliance.report_findings import Finding
from compliance.report_fold import Age, Held, Right
from core.clock import to_iso
from core.schema import COLUMNS, MASKS, QUARANTINE_COLUMNS, Column

__all__ = ["GENERATOR", "page"]

GENERATOR = '<meta name="generator" content="auditlake report">'
"""By this a report is known as one."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 10.5pt/1.45 Georgia, "Times New Roman", serif; color: #111; background: #fff }
body { max-width: 60em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 20pt; font-weight: normal; margin: 0 }
h2 { font-size: 14pt; font-weight: normal; border-bottom: 1px solid #999; margin: 2em 0 .6em }
.days { color: #444; margin: .2em 0 1.5em }
.verdict { font-size: 12.5pt; border-left: 4px solid #1f4e79; padding-left: .7em }
.verdict.open { border-color: #b5502f }
.none { font-style: italic }
table { border-collapse: collapse; width: 100%; margin: .8em 0 1.4em; font-size: 9pt }
caption { text-align: left; color: #444; padding-bottom: .3em }
th, td { text-align: left; vertical-align: top; font-weight: normal; padding: .15em .7em .15em 0; overflow-wrap: anywhere }
thead th { border-bottom: 1px solid #888; color: #444 }
tbody tr { border-bottom: 1px solid #eee }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bad th, .bad td { background: #f7e6df; font-weight: bold }
svg { width: 100%; height: auto; font: 10px Helvetica, Arial, sans-serif; fill: #333; margin: .4em 0; break-inside: avoid }
nav ol { columns: 2; padding-left: 1.5em }
a { color: #1f4e79 }
code { font: 9pt "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere }
@page { size: A4; margin: 1.8cm }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr { break-inside: avoid } }
"""


def page(report: Report, pack: str = "") -> str:
    """The document.

    :param pack: name of the pack of evidence beside it; empty for none.
    """
    parts = [*_parts(report, pack)]
    links = "".join(f'<li><a href="#{name}">{text(title)}</a></li>' for name, title, _ in parts)
    title = f"Report on {', '.join(sorted({policy.name for policy in report.facts.policies.values()})) or 'a data directory'}"
    span = report.span
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">{GENERATOR}<meta http-equiv="Content-Security-Policy"'
        f' content="{_POLICY}"><meta name="viewport" content="width=device-width"><title>{text(title)}, {span.first} to {span.last}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<header><h1>{text(title)}</h1>\n"
        f'<p class="days">{span.first} to {span.last}, days in UTC; as of {text(to_iso(span.until))}</p></header>\n<main>\n'
        f'{section(*parts[0][:2], parts[0][2])}<nav aria-label="Contents"><ol>{links}</ol></nav>\n'
        f"{''.join(section(*part[:2], part[2]) for part in parts[1:])}</main>\n</body>\n</html>\n"
    )


def _parts(report: Report, pack: str) -> Iterator[tuple[str, str, str]]:
    """The anchor, title and content of each part, in their order."""
    yield "exceptions", "Exceptions", _exceptions(report)
    yield "policy", "The policy", _policy(report)
    yield "age", "How old what is held can be", _ages(report)
    yield "nights", "Nights", _nights(report)
    yield "purges", "Destruction", _purges(report)
    yield "requests", "Requests of data subjects", _requests(report)
    yield "holds", "Holds", _holds(report)
    yield "queries", "Queries", _queries(report)
    yield "quarantine", "Rejected and refused lines", _quarantine(report)
    yield "accounts", "Accounts", _accounts(report)
    if report.facts.posture is not None:
        yield "posture", "The place it is kept in", _posture(report)
    yield "origin", "Where the figures come from", _origin(report, pack)


# ------------------------------------------------------------------------------------------------------------- exceptions


def _exceptions(report: Report) -> str:
    found = report.exceptions
    still = sum(each.open for each in found)
    if not found:
        said = paragraph("There are no exceptions: nothing that is looked for below was found in these days.", "verdict")
    else:
        words = f"{len(found)} exception{'s' * (len(found) != 1)}; still so at the end of these days: {still}."
        said = paragraph(words, "verdict open" if still else "verdict")
        columns = ("What", "Where", "Since", "State", "What to do")
        marked = [number for number, each in enumerate(found) if each.open]
        said += table("Exceptions, what is still so first", columns, (_finding(each) for each in found), marked)
    looked = (
        "Looked for: nights on which a job did not run, jobs that failed, residue after a purge, days beyond their limit or destroyed late,"
        " days hot for too long, streams without limits, requests past or near their deadline, rejected lines above"
        f" {report.facts.limits.quarantine:.0%} of a day's lines, holds that expired and are not ended, faults of the ledger's chain and of"
        " its checkpoints, archived days that disagree with their digest, accounts that do not balance, jumps of the clock."
    )
    unwell = report.unwell
    place = f" {unwell} checks of the place it is kept in are not well: see there." if unwell else ""
    return said + paragraph(looked + place)


def _finding(each: Finding) -> tuple[str, ...]:
    return f"{each.kind}: {each.what}", each.where, each.since or "not known", "still so" if each.open else "over", each.remedy


# ----------------------------------------------------------------------------------------------------------------- policy


def _policy(report: Report) -> str:
    policies = {policy.name: policy for policy in report.facts.policies.values()}
    words = [
        f"Rows of the stream {policy.name} are at hand for at least {policy.hot} after their day, in encrypted files of a day each; then"
        f" they are moved to the archive. They are destroyed {policy.keep} after their day began, in the night of that limit."
        f" Lines of it that could not be read are destroyed {policy.quarantine} after the day on which they arrived began."
        for policy in policies.values()
    ]
    limits = table(
        "How long each stream may be kept, as the settings say now",
        ("Stream", "At hand for at least", "Destroyed after", "Rejected lines destroyed after"),
        ((policy.name, str(policy.hot), str(policy.keep), str(policy.quarantine)) for policy in policies.values()),
        none="no stream is configured",
    )
    others = table("Further limits", ("What", "Destroyed after"), report.facts.others.items()) if report.facts.others else ""
    rows = (
        "Every stream may hold the same columns. A row whose day has reached its limit is never stored. What follows is personal data:"
        f" {sum(column.personal for column in COLUMNS)} of {len(COLUMNS)} columns."
    )
    columns = ("Column", "Meaning", "What an analyst sees")
    return (
        items(words)
        + limits
        + others
        + paragraph(rows)
        + table("Columns that hold personal data", columns, _personal(COLUMNS))
        + table(
            "Personal data in rejected lines, which analysts do not see",
            ("Column", "Meaning"),
            (r[:2] for r in _personal(QUARANTINE_COLUMNS)),
        )
    )


def _personal(columns: Sequence[Column]) -> list[tuple[str, str, str]]:
    return [(column.name, column.meaning, MASKS[column.mask]) for column in columns if column.personal]


# -------------------------------------------------------------------------------------------------------------------- ages


def _ages(report: Report) -> str:
    told = (
        "A row belongs to the day of its event, so it is not older than the first instant of that day. The age of the oldest day that still"
        " has rows therefore bounds the age of all of them. It is taken from the ledger at the end of each day (UTC);"
        " a day is beyond its limit when it is still there a whole day after it was due. The limits are those of the settings now."
    )
    seen = {age.stream for age in report.fold.ages if age.oldest}
    empty = sorted({age.stream for age in report.fold.ages} - seen)
    shown = [age for age in report.fold.ages if age.stream in seen]
    beyond, held = sum(bool(age.beyond) for age in shown), sum(bool(age.held) for age in shown)
    verdict = f"In {beyond} of the lines below days were beyond their limit." if beyond else "No day was beyond its limit at any day's end."
    verdict += f" In {held} a hold kept days past their limit." if held else ""
    verdict += f" Without any rows all the time: {', '.join(empty)}." if empty else ""
    columns = ("Day", "Stream", "Oldest day with rows", "Age, days", "Limit, days", "Held past it", "Beyond it", "Verdict")
    marked = [number for number, age in enumerate(shown) if age.beyond]
    rows = (
        (age.day.isoformat(), age.stream, age.oldest and age.oldest.isoformat(), age.age if age.oldest else None, age.limit, age.held,
         age.beyond, _verdict(age)) for age in shown
    )  # fmt: skip
    return (
        paragraph(told)
        + paragraph(verdict, "verdict open" if beyond else "verdict")
        + report_charts.ages(report)
        + table("The oldest day that still had rows, at the end of each day", columns, rows, marked)
    )


def _verdict(age: Age) -> str:
    if age.oldest is None:
        return "nothing held"
    if age.limit is None:
        return "no limit"
    return "beyond the limit" if age.beyond else "held" if age.held else "within"


# ------------------------------------------------------------------------------------------------------------------ nights


def _nights(report: Report) -> str:
    told = (
        "A night is run when the job ended between the time at which it was due and the next such time. Times follow from the schedule now."
    )
    rows = []
    for job, nights in report.fold.nights.items():
        judged = [night for night in nights if night.due <= report.span.until]
        missed = [night for night in judged if not night.runs]
        outcomes = {name: sum(night.runs[name] for night in judged) for name in ("done", "nothing due", "failed", "interrupted")}
        newest = to_iso(missed[-1].due) if missed else None
        rows.append((job, len(judged), len(judged) - len(missed), len(missed), *outcomes.values(), newest))
    columns = ("Job", "Due", "Run", "Missed", "Done", "Nothing due", "Failed", "Interrupted", "Missed last")
    marked = [number for number, row in enumerate(rows) if row[3]]
    return paragraph(told) + report_charts.nights(report) + table("Nights by job", columns, rows, marked)


# --------------------------------------------------------------------------------------------------------- purges, requests


def _purges(report: Report) -> str:
    purges = report.fold.purges
    told = (
        f"{sum(purge.rows for purge in purges):,} rows and lines of {len(purges):,} days were destroyed. After each purge the place was"
        " listed; the digest is that of the names found there. A certificate has the number of its event."
    )
    rows = (
        (purge.segment.day.isoformat(), purge.segment.stream, purge.rows, purge.due and to_iso(purge.due), to_iso(purge.at),
         "late" if purge.late else "in time", purge.found, purge.listed, purge.listing, str(purge.seq)) for purge in purges
    )  # fmt: skip
    columns = ("Day", "Stream", "Rows", "Due", "Destroyed", "In time", "Found", "Listed", "Digest of the listing", "Certificate")
    marked = [number for number, purge in enumerate(purges) if purge.late]
    return paragraph(told) + report_charts.flow(report) + table("Days that were destroyed", columns, rows, marked)


def _requests(report: Report) -> str:
    span = report.span
    shown = [each for _, each in sorted(report.fold.requests.items()) if each.done is None or each.done >= span.start]
    columns = ("Request", "Right", "Received", "Deadline", "State", "Rows erased", "Certificate")
    marked = [number for number, each in enumerate(shown) if (each.met or span.until) > each.deadline]
    told = "Requests that were received, open or done in these days. Whom each is about is not told here."
    rows = ((str(each.number), each.right, to_iso(each.received), to_iso(each.deadline), _state(each, span.until), each.rows.total(),
             str(each.certificate or "") or None) for each in shown)  # fmt: skip
    texts = f"{report.fold.texts:,} texts of queries reached their limit and were destroyed." if report.fold.texts else ""
    return paragraph(told) + table("Requests of data subjects", columns, rows, marked) + (paragraph(texts) if texts else "")


def _state(each: Right, now: dt.datetime) -> str:
    if each.met:
        words = f"in force since {to_iso(each.granted)}" if each.granted else f"done on {to_iso(each.met)}"
        over = f", over on {to_iso(each.done)}" if each.granted and each.done else ""
        return words + over + (", late" if each.met > each.deadline else "")
    return "past its deadline" if each.deadline <= now else "open"


# ----------------------------------------------------------------------------------------------------------- holds, queries


def _holds(report: Report) -> str:
    span = report.span
    shown = [each for _, each in sorted(report.fold.holds.items()) if each.ended is None or each.ended >= span.start]
    live = [*report.fold.live]
    columns = ("Hold", "Stream", "From", "To", "Added", "Expires", "State", "Days with rows", "Rows")
    rows = []
    for each in shown:
        covered = [state for state in live if each.hold.covers(state.segment)]
        days = (each.hold.first.isoformat(), each.hold.last.isoformat())
        until = to_iso(each.hold.expires) if each.hold.expires else "never"
        count = (len(covered), sum(state.present for state in covered))
        rows.append((str(each.hold.number), each.hold.stream, *days, to_iso(each.added), until, _held(each, span.until), *count))
    told = "A hold keeps days from being destroyed. Why, and for whom, is kept in the control database alone: auditlake hold list --all."
    return paragraph(told) + table("Holds that stood in these days", columns, rows)


def _held(each: Held, now: dt.datetime) -> str:
    if each.ended:
        return f"{each.how} on {to_iso(each.ended)}"
    return "stands" if each.stops(now) is None else "expired"


def _queries(report: Report) -> str:
    rows = [
        (
            "owner" if user == 0 else str(user),
            role,
            *(each.outcomes[name] for name in ("answered", "refused", "failed")),
            each.rows,
            each.ms / 1000,
        )
        for (user, role), each in sorted(report.fold.queries.items())
    ]
    told = "Every query is an event of the ledger. Users have numbers here, as there; texts of queries are not shown."
    columns = ("User", "Role", "Answered", "Refused", "Failed", "Rows handed over", "Seconds")
    return paragraph(told) + table("Queries by user and role", columns, rows)


# ------------------------------------------------------------------------------------------------------ quarantine, accounts


def _quarantine(report: Report) -> str:
    arrivals = sorted(report.fold.arrivals.items(), key=lambda each: (each[0][1], each[0][0]))
    share = report.facts.limits.quarantine
    names = ("read", "stored", "quarantined", "refused", "barred", "retried")
    rows = (
        (day.isoformat(), stream, *(each.lines[name] for name in names), each.share * 100, _reasons(each.reasons.most_common()))
        for (stream, day), each in arrivals
    )
    columns = ("Day of arrival", "Stream", "Read", "Stored", "Rejected", "Refused", "Of these barred", "Retried", "Rejected, %", "Reasons")
    marked = [number for number, (_, each) in enumerate(arrivals) if each.share > share]
    told = (
        "A rejected line could not be read and waits in quarantine. A refused line was not stored at all: its day was beyond the limit, or"
        " it was of a person who was erased or objects (barred). A retried line left quarantine."
    )
    return paragraph(told) + table("Lines by stream and day of arrival", columns, rows, marked, "none arrived in these days")


def _reasons(reasons: Sequence[tuple[Any, int]]) -> str:
    shown = ", ".join(f"{reason}: {count:,}" for reason, count in reasons[:8])
    return shown + (f", and {len(reasons) - 8} more" if len(reasons) > 8 else "")


def _accounts(report: Report) -> str:
    states = [state for segment, state in sorted(report.fold.states.items()) if state.present or segment in report.fold.touched]
    rows = [(s.segment.day.isoformat(), s.segment.stream, s.stored, s.erased, s.purged, s.hot, s.archived,
             s.stored - s.erased - s.purged - s.present, s.state) for s in states]  # fmt: skip
    columns = ("Day", "Stream", "Stored", "Erased", "Purged", "Hot", "Archived", "Balance", "State")
    total = {name: sum(getattr(s, name) for s in states) for name in ("stored", "erased", "purged", "hot", "archived")}
    told = (
        f"Stored, less erased, less purged, is what is hot and archived: the balance is nought. In all {total['stored']:,} stored,"
        f" {total['erased']:,} erased, {total['purged']:,} purged; {total['hot']:,} hot and {total['archived']:,} archived. The job verify"
        " counts the rows themselves against these figures every night."
    )
    marked = [number for number, row in enumerate(rows) if row[7]]
    return paragraph(told) + table("Days that had rows, or were changed in these days", columns, rows, marked)


# ------------------------------------------------------------------------------------------------------------ posture, origin


def _posture(report: Report) -> str:
    checks = sorted(report.facts.posture or (), key=lambda check: {False: 0, None: 1, True: 2}[check.ok])
    said = {True: "well", False: "not well", None: "not known"}
    rows = ((check.name, said[check.ok], check.detail, check.remedy) for check in checks)
    marked = [number for number, check in enumerate(checks) if check.ok is False]
    told = (
        f"As it is now, {to_iso(report.facts.origin.now)}: what auditlake doctor finds. What could not be looked at does not count as well."
    )
    return paragraph(told) + table(
        "Checks of the archive's place, the machine and the data directory", ("Check", "State", "Found", "Remedy"), rows, marked
    )


def _origin(report: Report, pack: str) -> str:
    chain, origin = report.facts.chain, report.facts.origin
    rows = {
        "Ledger": f"{chain.events:,} events; the chain of hashes is {chain.fault or 'whole'}",
        "Hash of its newest event": chain.hash or "none",
        "Checkpoints": "; ".join(chain.checkpoints) or "agree with the ledger",
        "Newest checkpoint": origin.checkpoint or "none",
        "Newest event in these figures": f"{report.fold.newest:,}",
        "Events of these days": f"{report.fold.events:,}",
        "Made": f"{to_iso(origin.now)}{' by a simulated clock' if origin.simulated else ''}, by auditlake {origin.version}",
        "Evidence": f"{pack}, beside this page: the events of these days with their proofs, and this page, signed"
        if pack
        else "no pack was made",
    }
    told = (
        "Every figure but the checks of the place was added up from the ledger's events, which hold no personal data; no row was read."
        " The pack can be verified without this program."
    )
    return paragraph(told) + table("Sources", ("What", "Which"), rows.items())
