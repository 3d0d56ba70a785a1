"""``auditlake subject``: what data subjects may ask for, over every tier."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditlake.app import App, Ordered, common
from auditlake.console import progress, say, show_json, show_pairs, show_table
from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError, UsageError
from core.policy import Period

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from core.subject import Subject
    from jobs.erase import Erasure
    from jobs.subjects import Found
    from storage.requests import Request

__all__ = ["subject"]


@click.group(cls=Ordered)
def subject() -> None:
    """What data subjects may ask for, over every tier.

    A subject is named by selectors: --user-name, --account-id, --source-ip (an address may be somebody else's at another time: give
    --from and --to with it) and --email. Several may be given, also one several times: a row belongs to the subject when any of them
    matches, each exactly: 10.0.0.1 is not 10.0.0.10.

    \b
    auditlake subject preview --user-name alice
    auditlake subject access  --user-name alice --email alice@example.org -o alice.zip
    auditlake subject erase   --source-ip 203.0.113.7 --from 2026-03-01 --to 2026-04-01
    auditlake subject requests
    """


def _selectors(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take selectors; it is handed the subject."""

    @click.option("--user-name", "user_names", multiple=True, metavar="X", help="The user the server authenticated.")
    @click.option("--account-id", "--account", "account_ids", multiple=True, metavar="X", help="The account.")
    @click.option("--source-ip", "source_ips", multiple=True, metavar="X", help="The client's address, in any spelling.")
    @click.option("--email", "emails", multiple=True, metavar="X", help="The e-mail address, as user, account, or word of a text.")
    @click.option("--from", "since", metavar="TIME", help="With --source-ip: rows from this time on, like 2026-03-01 (UTC).")
    @click.option("--to", "until", metavar="TIME", help="With --source-ip: rows before this time.")
    @click.option("--mentions", is_flag=True, help="Also rows of others that have a selector's value as a word of any personal text.")
    @functools.wraps(command)
    def wrapped(
        *,
        user_names: tuple[str, ...],
        account_ids: tuple[str, ...],
        source_ips: tuple[str, ...],
        emails: tuple[str, ...],
        since: str | None,
        until: str | None,
        mentions: bool,
        **rest: Any,
    ) -> None:
        values = {"user_name": user_names, "account_id": account_ids, "source_ip": source_ips, "email": emails}
        command(about=functools.partial(_subject, values, since, until, mentions), **rest)

    return wrapped


def _subject(values: dict[str, tuple[str, ...]], since: str | None, until: str | None, mentions: bool) -> Subject:
    from core.subject import Subject, selector

    if (since or until) and not values["source_ip"]:
        raise UsageError("--from and --to go with --source-ip alone", "leave them out, or name an address")
    times = {"since": parse_instant(since) if since else None, "until": parse_instant(until) if until else None}
    found = (selector(kind, value, **(times if kind == "source_ip" else {})) for kind, each in values.items() for value in each)
    return Subject.of(found, mentions)


_About = Callable[[], "Subject"]


@subject.command("preview")
@_selectors
@common
def preview(app: App, about: _About) -> None:
    """Say what is held, by tier and day; change nothing, and remember nothing."""
    from jobs.recovery import recover
    from jobs.subjects import find, held_days

    person = about()
    with progress() as report, app.changing(report) as lake:
        ctx = lake.context
        recover(ctx)
        found, held = find(ctx, person), held_days(ctx)
        known = next((each for right in _RIGHTS if (each := ctx.requests.under_way(right, person))), None)
        deadline = known.deadline if known else to_iso(Period.parse(lake.settings.subjects.deadline).after(ctx.clock.now()))
        result = {"request": known.id if known else None, "deadline": deadline, **_told(found), "conflicts": found.conflicts(held)}
        _show(app, {**result, "state": known.state if known else "preview"})


@subject.command("access")
@_selectors
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The zip file to write.")
@common
def access(app: App, about: _About, output: Path) -> None:
    """Write everything that is held into a zip, for the subject: JSON, CSV and Parquet, and a page that explains it.

    The file can be read by its owner alone, and appears whole or not at all. It may name others: of rejected lines and of texts of the
    query log all that mention the subject are in it. Read it before you hand it out.
    """
    from jobs.access import SECTIONS, Texts, access_pack

    person = about()
    with progress() as report, app.changing(report) as lake:
        ctx = lake.context
        request = ctx.requests.receive("access", person, Period.parse(lake.settings.subjects.deadline))
        limits = [str(policy) for name, policy in ctx.policies.items() if name == policy.name]
        said = {name: lake.settings.privacy.texts(name) for name in SECTIONS}
        pack = access_pack(ctx, request, person, output, Texts(said, tuple(limits)))
        _show(app, {**_named(request), "state": "done", "rows": pack.rows, "output": str(output), "bytes": output.stat().st_size})


@subject.command("erase")
@_selectors
@click.option("--yes", is_flag=True, help="Do it. Without it the request is taken down, and what would go is shown.")
@common
def erase(app: App, about: _About, yes: bool) -> None:
    """Destroy everything that is held on the subject, look through all that is left, and certify it.

    What a hold covers stays until the hold ends; the request stays pending then, and a later purge goes on with it. Rows of the subject
    from before now are refused from now on, should their log be read again.
    """
    from jobs.erase import RIGHT
    from jobs.erase import erase as carry_out
    from jobs.recovery import recover
    from jobs.subjects import find, held_days

    person = about()
    with progress() as report, app.changing(report) as lake:
        ctx = lake.context
        request = ctx.requests.receive(RIGHT, person, Period.parse(lake.settings.subjects.deadline))
        if not yes:
            recover(ctx)
            found = find(ctx, person)
            _show(app, {**_named(request), **_told(found), "conflicts": found.conflicts(held_days(ctx)), "state": request.state})
            say("nothing was destroyed; say --yes to do it")
            return
        done = carry_out(ctx, request, person, functools.partial(_store_waiting, lake))
    _show(app, {**_named(request), **_erased(done)})
    _check(done)


@subject.command("restrict")
@_selectors
@click.option("--lift", "ends", is_flag=True, help="End it: the rows are seen again.")
@click.option("--yes", is_flag=True, help="Do it. Without it, what would be unseen is shown.")
@common
def restrict(app: App, about: _About, ends: bool, yes: bool) -> None:
    """Keep what is held on the subject, unseen by every query and export until it is lifted.

    Rows that come in later are unseen too. Limits go on: what is due is destroyed.
    """
    _grant(app, about(), "restrict", ends, yes)


@subject.command("object")
@_selectors
@click.option("--lift", "ends", is_flag=True, help="End it: rows come in again.")
@click.option("--yes", is_flag=True, help="Do it. Without it, what is held now is shown.")
@common
def object_(app: App, about: _About, ends: bool, yes: bool) -> None:
    """Refuse rows of the subject from now on, and count them; what is held of before stays.

    Rejected lines that mention the subject are refused too, unless an address is named with times.
    """
    _grant(app, about(), "object", ends, yes)


def _grant(app: App, person: Subject, right: str, ends: bool, yes: bool) -> None:
    from jobs.granted import grant, lift
    from jobs.recovery import recover
    from jobs.subjects import find

    with progress() as report, app.changing(report) as lake:
        ctx, within = lake.context, Period.parse(lake.settings.subjects.deadline)
        recover(ctx)
        told = _told(find(ctx, person))
        if not yes:
            request = ctx.requests.under_way(right, person) if ends else ctx.requests.receive(right, person, within)
        else:
            request = lift(ctx, right, person) if ends else grant(ctx, right, person, within)
        if request is None:
            raise UsageError(f"nothing is in force for the right {right} of this subject", "give the same selectors as before")
        _show(app, {**_named(request), **told, "state": request.state})
        if not yes:
            say("nothing was changed; say --yes to do it")


@subject.command("requests")
@click.option("--all", "ended", is_flag=True, help="Also those that are over.")
@common
def requests(app: App, ended: bool) -> None:
    """List requests: what each is for, how far it is, until when it must be done."""
    from storage.requests import DONE

    with app.reading() as lake:
        listed = [each for each in lake.context.requests.every() if ended or app.as_json or each.state != DONE]
    rows = [{"request": r.id, "right": r.right, "state": r.state, "received": r.received, "deadline": r.deadline} for r in listed]
    if app.as_json:
        show_json({"requests": [{**row, "finished": r.finished, "result": r.result} for row, r in zip(rows, listed, strict=True)]})
    else:
        show_table(["request", "right", "state", "received", "deadline"], [list(row.values()) for row in rows])


_RIGHTS = ("erase", "restrict", "object", "access")


def _named(request: Request) -> dict[str, Any]:
    return {"request": request.id, "right": request.right, "received": request.received, "deadline": request.deadline}


def _told(found: Found) -> dict[str, Any]:
    return {"rows": found.rows, "days": found.days}


def _erased(done: Erasure) -> dict[str, Any]:
    return {
        "state": done.state,
        "rows": done.rows,
        "rewritten": {"files": done.files, "bytes": done.bytes},
        "rescan": {"bytes": done.rescan.bytes, "found": done.rescan.found, "mentions": done.rescan.mentions},
        "conflicts": done.conflicts,
        "problems": list(done.problems),
        "certificate": done.certificate,
    }


def _check(done: Erasure) -> None:
    """Nothing, when it is over.

    :raises AuditlakeError: something stood in the way, or a hold keeps a part.
    """
    if done.problems:
        first = done.problems[0]
        raise AuditlakeError(f"the erasure is not over: {first}", "mend the cause and say the same again")
    if done.conflicts:
        days = f"{len(done.conflicts)} days, first {done.conflicts[0]['day']} by hold {done.conflicts[0]['hold']}"
        raise AuditlakeError(f"a hold keeps rows of {days}", "the rest is erased; a purge after the end of the hold goes on")


def _store_waiting(lake: Lake) -> list[str]:
    """Store the bodies that wait in the spool; says which could not be."""
    from auditlake.intake import ingest_options
    from jobs.push import store_body
    from transforms.pipeline import build

    ctx, problems = lake.context, []
    with ctx.control.read() as connection:
        waiting = ctx.spool.waiting(connection, 1_000_000)
    pipeline = build(ingest_options(lake.settings, "auto", "requests").transforms) if waiting else None
    for receipt in waiting:
        try:
            if pipeline is not None:
                store_body(ctx, receipt, ingest_options(lake.settings, receipt.format, receipt.stream, receipt.zone), pipeline)
        except AuditlakeError as error:
            problems.append(f"body {receipt.id} waits and cannot be stored: {error.problem}")
    return problems


def _show(app: App, result: dict[str, Any]) -> None:
    """A result, for a machine or for eyes."""
    if app.as_json:
        show_json(result)
        return
    lists = {name: value for name, value in result.items() if isinstance(value, list)}
    flat: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            flat |= {f"{name}: {key}": each for key, each in value.items()}
        elif name not in lists:
            flat[name] = value
    show_pairs(flat)
    for name, rows in lists.items():
        if rows and isinstance(rows[0], dict):
            show_table(list(rows[0]), [list(row.values()) for row in rows], name)
        elif rows:
            show_table((name,), [(row,) for row in rows])
