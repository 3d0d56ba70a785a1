"""``auditlake user``: who may reach the server, and their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from auditlake.app import App, Ordered, common, show
from auditlake.console import say, show_json, show_table
from core.policy import Period
from core.roles import TOKEN_ROLES

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from storage.people import Issued, Listed, People

__all__ = ["user"]

_FOR_EVER = "never"
_expires = click.option("--expires", metavar="PERIOD", default="1 year", show_default=True, help=f"End of the token, or '{_FOR_EVER}'.")


@click.group(cls=Ordered)
def user() -> None:
    """Users of the server, and their tokens."""


@user.command("add")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(TOKEN_ROLES), help="What the user may do.")
@_expires
@common
def user_add(app: App, name: str, role: str, expires: str) -> None:
    """Add a user; the token is shown once, now."""
    with app.reading() as lake:
        _show(app, _people(lake).add(name, role, _lasts(expires)))


@user.command("list")
@common
def user_list(app: App) -> None:
    """List every user there ever was: role, tokens that open something, when the last of them ends."""
    with app.reading() as lake:
        listed = [_row(each) for each in _people(lake).every()]
    if app.as_json:
        show_json({"users": listed})
    else:
        show_table(["id", "name", "role", "created", "revoked", "tokens", "expires"], [list(row.values()) for row in listed])


@user.command("revoke")
@click.argument("name")
@common
def user_revoke(app: App, name: str) -> None:
    """End a user and all tokens of theirs, at once."""
    with app.reading() as lake:
        revoked = _people(lake).revoke(name)
    show(app, {"name": revoked.name, "role": revoked.role.name, "revoked": True})


@user.command("rotate")
@click.argument("name")
@click.option("--grace", metavar="PERIOD", help="How long the old token goes on opening (default: it ends at once).")
@_expires
@common
def user_rotate(app: App, name: str, grace: str | None, expires: str) -> None:
    """Give a user a new token in place of the old one; it is shown once, now."""
    with app.reading() as lake:
        _show(app, _people(lake).rotate(name, _lasts(expires), Period.parse(grace) if grace else None))


def _people(lake: Lake) -> People:
    from storage.people import People

    return People(lake.context.control, lake.context.ledger, lake.context.clock)


def _lasts(expires: str) -> Period | None:
    return None if expires == _FOR_EVER else Period.parse(expires)


def _show(app: App, issued: Issued) -> None:
    ends = {"expires": issued.expires} if issued.expires else {}
    show(app, {"name": issued.user.name, "role": issued.user.role.name, "token": issued.token, **ends})
    if not app.as_json:
        say("this token is shown once; only its hash is kept")


def _row(listed: Listed) -> dict[str, Any]:
    who = {"id": listed.user.id, "name": listed.user.name, "role": listed.user.role.name}
    return {**who, "created": listed.created, "revoked": listed.revoked, "tokens": listed.tokens, "expires": listed.expires}
