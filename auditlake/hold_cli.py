"""``auditlake hold``: days that must stay although their limit is reached."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from auditlake.app import App, Ordered, common
from auditlake.console import show_json, show_pairs, show_table
from core.clock import parse_instant, to_iso
from core.errors import UsageError
from core.policy import Hold, Period, purge_due

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from core.segment import SegmentState
    from jobs.context import Context
    from storage.holds import Listed

__all__ = ["hold"]

_FOR_EVER = "never"
_dry_run = click.option("--dry-run", is_flag=True, help="Say what it would cover, and do nothing.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Ordered)
def hold() -> None:
    """Holds: days that must stay, whatever their limit.

    A hold keeps every row and every rejected line of its days from being rolled away, destroyed or erased, and nothing else. It binds
    from the moment it is added, without the data directory's lock, until it is released or expires.
    """


@hold.command("add")
@click.option("--stream", default="requests", show_default=True, help="Stream whose days must stay, and its rejected lines.")
@click.option("--from", "first", required=True, metavar="DAY", help="First day, like 2026-01-31 (UTC).")
@click.option("--to", "last", required=True, metavar="DAY", help="Last day, included.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the control database, not in the ledger.")
@click.option("--owner", required=True, metavar="TEXT", help="Who asked for it; kept in the same place.")
@click.option("--expires", required=True, metavar="TIME", help=f"When it ends: a time, a period like '6 months', or '{_FOR_EVER}'.")
@_dry_run
@_yes
@common
def hold_add(app: App, stream: str, first: str, last: str, reason: str, owner: str, expires: str, dry_run: bool, yes: bool) -> None:
    """Keep the days of a stream.

    A day whose destruction has begun cannot be held any more. Days that are still to come may be named.

    \b
    auditlake hold add --from 2026-01-10 --to 2026-01-12 --reason 'case 12/2026' --owner legal --expires '6 months'
    """
    del yes  # nothing is destroyed, so nothing is asked
    with app.reading() as lake:
        ctx = lake.context
        _check_stream(lake, stream)
        asked = Hold(stream, _day(first), _day(last), reason, expires=_expires(expires, ctx.clock.now()))
        if dry_run:
            _show(app, {"hold": None, **_words(asked, owner), "pending_erasures": _erasures(ctx), "dry_run": True}, ctx, asked)
            return
        added = ctx.hold_book.add(asked, owner)
        _show(app, {**_row(added, ctx.clock.now()), "pending_erasures": _erasures(ctx)}, ctx, added.hold)


@hold.command("list")
@click.option("--all", "ended", is_flag=True, help="Also those that have ended.")
@common
def hold_list(app: App, ended: bool) -> None:
    """List holds: what each covers, why, for whom, until when."""
    with app.reading() as lake:
        ctx, now = lake.context, lake.context.clock.now()
        states = ctx.ledger.states().values()
        listed = ctx.hold_book.every()
        binding = [each.hold for each in listed if not each.ended and each.hold.binds(now)]
        shown = listed if ended else [each for each in listed if each.hold in binding]
        rows = [{**_row(each, now), "covers": _covers(each.hold, states)} for each in shown]
        if app.as_json:
            show_json({"hold": [each.number for each in binding], "holds": rows, "covers": _together(binding, states)})
            return
    columns = ("hold", "stream", "from", "to", "state", "expires", "reason", "owner")
    show_table((*columns, "segments", "rows"), [[*(row[name] for name in columns), *list(row["covers"].values())[:2]] for row in rows])


@hold.command("release")
@click.argument("number", metavar="HOLD", type=click.IntRange(1))
@_dry_run
@_yes
@common
def hold_release(app: App, number: int, dry_run: bool, yes: bool) -> None:
    """End a hold; what is overdue goes with the next purge.

    On a terminal it says what will go, and asks.
    """
    with app.reading() as lake:
        ctx, now = lake.context, lake.context.clock.now()
        found = next((each for each in ctx.hold_book.every() if each.hold.number == number), None)
        overdue = _overdue(ctx, found.hold) if found else 0
        if found and not found.ended and dry_run:
            _show(app, {**_row(found, now), "overdue": overdue, "dry_run": True}, ctx, found.hold)
            return
        if overdue and not yes and sys.stdin.isatty():
            click.confirm(f"{overdue} days of hold {number} are beyond their limit and go with the next purge. Release it?", abort=True)
        released = ctx.hold_book.release(number)
        _show(app, {**_row(released, now), "overdue": overdue}, ctx, released.hold)


def _show(app: App, result: dict[str, Any], ctx: Context, held: Hold) -> None:
    covers = _covers(held, ctx.ledger.states().values())
    if app.as_json:
        show_json({**result, "covers": covers})
    else:
        show_pairs({**{name: value for name, value in result.items() if value not in (None, [])}, **covers})


def _erasures(ctx: Context) -> list[int]:
    """Numbers of the erasures that are not done, which the hold may keep from being done."""
    from jobs.erase import RIGHT
    from storage.requests import DONE

    return [request.id for request in ctx.requests.every() if request.right == RIGHT and request.state != DONE]


def _covers(held: Hold, states: Iterable[SegmentState]) -> dict[str, int]:
    from storage.holds import covered

    return vars(covered(held, states))


def _together(binding: list[Hold], states: Iterable[SegmentState]) -> dict[str, int]:
    live = [state for state in states if state.present and any(each.covers(state.segment) for each in binding)]
    return {"segments": len(live), "rows": sum(state.present for state in live)}


def _overdue(ctx: Context, held: Hold) -> int:
    """Days that nothing but this hold keeps beyond their limit."""
    others = [other for other in ctx.holds if other.number != held.number]
    now, count = ctx.clock.now(), 0
    for state in ctx.ledger.states().values():
        policy = ctx.policies.get(state.segment.stream)
        alone = state.present and held.covers(state.segment) and not any(other.covers(state.segment) for other in others)
        count += bool(alone and policy and purge_due(state.segment, policy) <= now)
    return count


def _row(listed: Listed, now: dt.datetime) -> dict[str, Any]:
    state = listed.how or ("standing" if listed.hold.binds(now) else "expired")
    return {
        "hold": listed.hold.number,
        **_words(listed.hold, listed.owner),
        "added": listed.added,
        "state": state,
        "ended": listed.ended,
    }


def _words(held: Hold, owner: str) -> dict[str, Any]:
    expires = to_iso(held.expires) if held.expires else None
    days = {"from": held.first.isoformat(), "to": held.last.isoformat()}
    return {"stream": held.stream, **days, "reason": held.reason, "owner": owner, "expires": expires}


def _check_stream(lake: Lake, stream: str) -> None:
    known = {*lake.settings.streams, *(segment.stream for segment in lake.context.ledger.states() if not segment.is_quarantine)}
    if stream not in known:
        raise UsageError(f"there is no stream {stream!r}", f"choose one of {', '.join(sorted(known))}")


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a day", "write it like 2026-01-31") from None


def _expires(text: str, now: dt.datetime) -> dt.datetime | None:
    if text == _FOR_EVER:
        return None
    try:
        return parse_instant(text)
    except UsageError:
        return Period.parse(text).after(now)
