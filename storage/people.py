"""Users with a token, and the tokens, in the control database.

A token is ``al_`` and 256 random bits in base64url (RFC 4648); the database holds its SHA-256 alone, so it can be shown once
and never again. What random bits of that length hash to cannot be guessed, thus needs no slow hash. It opens nothing before
it is issued, from its end on, or once it or its user is revoked; which of these it was is not told. The ledger knows users and
tokens by number, never by name.
"""

import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import Clock, parse_instant, to_iso
from core.errors import UsageError
from core.events import Kind
from core.policy import Period
from core.roles import OWNER, Role, role, role_with_token
from storage import control as db
from storage.ledger import Ledger

__all__ = ["OWNER_USER", "PREFIX", "Issued", "Listed", "People", "User"]

PREFIX = "al_"
"""What every token begins with, so that a scanner for secrets knows one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}\Z")
_TOKEN = re.compile(r"al_[A-Za-z0-9_-]{43}\Z")
_BYTES = 32
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class User:
    """Who asks: number, name and role."""

    id: int
    name: str
    role: Role


OWNER_USER = User(0, OWNER.name, OWNER)
"""The local command line."""


@dataclass(frozen=True)
class Issued:
    """A token just made, the only time that it is seen; ``expires`` is ISO 8601, ``None`` for never."""

    user: User
    token: str
    expires: str | None

    def __repr__(self) -> str:
        return f"Issued({self.user.name})"


@dataclass(frozen=True)
class Listed:
    """A user as listed: how many tokens open something now, and when the last of them ends (``None``: never, or none does)."""

    user: User
    created: str
    revoked: str | None
    tokens: int
    expires: str | None


class People:
    """Users and tokens of one control database.

    :param clock: says which tokens have ended.
    """

    def __init__(self, control: db.Control, ledger: Ledger, clock: Clock) -> None:
        self._control, self._ledger, self._clock = control, ledger, clock

    def add(self, name: str, role_name: str, lasts: Period | None) -> Issued:
        """A new user with one token.

        :param lasts: how long the token opens something; ``None`` for ever.
        :raises UsageError: the name is taken or not allowed, or there is no such role.
        """
        if not _NAME.match(name) or name == OWNER.name:
            raise UsageError(f"user name {name!r} is not allowed", "use up to 63 letters, digits and . _ @ + -")
        chosen = role_with_token(role_name)
        with self._control.write() as connection:
            if _find(connection, name) is not None:
                raise UsageError(f"user {name!r} exists", f"run: auditlake user rotate {name}")
            user = User(_next(connection, db.users), name, chosen)
            row = {"id": user.id, "name": name, "role": chosen.name, "created": to_iso(self._clock.now())}
            connection.execute(db.users.insert().values(**row))
            return self._issue(connection, user, lasts)

    def rotate(self, name: str, lasts: Period | None, grace: Period | None = None) -> Issued:
        """A new token for a user; the old ones end at once, or after ``grace``.

        :raises UsageError: there is no such user.
        """
        now = self._clock.now()
        with self._control.write() as connection:
            user = _get(connection, name)
            self._end_tokens(connection, user, to_iso(grace.after(now)) if grace else None)
            return self._issue(connection, user, lasts)

    def revoke(self, name: str) -> User:
        """End a user and all of their tokens, at once and for ever; another may then have the name.

        :raises UsageError: there is no such user.
        """
        with self._control.write() as connection:
            user = _get(connection, name)
            self._end_tokens(connection, user, None)
            connection.execute(db.users.update().where(db.users.c.id == user.id).values(revoked=to_iso(self._clock.now())))
            return user

    def verify(self, token: str) -> User | None:
        """Whose token it is, when it opens something now; else ``None``.

        What is looked up is a hash of the token, so the time that takes tells nothing of any other; the comparison is constant.
        """
        digest = _digest(token) if _TOKEN.match(token) else _NO_DIGEST
        query = sa.select(db.users.c.name, db.users.c.role, db.users.c.revoked.label("gone"), db.tokens)
        query = query.select_from(db.tokens.join(db.users, db.users.c.id == db.tokens.c.user)).where(db.tokens.c.digest == digest)
        with self._control.read() as connection:
            row = connection.execute(query).first()
        same = hmac.compare_digest(row.digest if row else _NO_DIGEST, digest)
        if row is None or not same or row.gone or not _open(row, self._clock.now()):
            return None
        return User(row.user, row.name, role(row.role))

    def every(self) -> list[Listed]:
        """Every user there ever was, by number."""
        now = self._clock.now()
        with self._control.read() as connection:
            rows = connection.execute(sa.select(db.users).order_by(db.users.c.id)).all()
            held = connection.execute(sa.select(db.tokens)).all()
        return [_listed(row, [token for token in held if token.user == row.id and _open(token, now)]) for row in rows]

    def names(self) -> dict[int, str]:
        """The names by number, the owner's with them."""
        with self._control.read() as connection:
            rows = connection.execute(sa.select(db.users.c.id, db.users.c.name)).all()
        return {OWNER_USER.id: OWNER_USER.name, **{row.id: row.name for row in rows}}

    def _issue(self, connection: sa.Connection, user: User, lasts: Period | None) -> Issued:
        now, number, token = self._clock.now(), _next(connection, db.tokens), PREFIX + secrets.token_urlsafe(_BYTES)
        expires = to_iso(lasts.after(now)) if lasts else None
        row = {"id": number, "user": user.id, "digest": _digest(token), "created": to_iso(now), "expires": expires}
        connection.execute(db.tokens.insert().values(**row))
        ends = {"expires": expires} if expires else {}
        self._ledger.append(connection, Kind.TOKEN_ISSUED, user=user.id, role=user.role.name, token=number, **ends)
        return Issued(user, token, expires)

    def _end_tokens(self, connection: sa.Connection, user: User, ends: str | None) -> None:
        """End what is open: at once, or at ``ends``, unless it ends before."""
        for number in list(self._open_tokens(connection, user, ends)):
            change = {"expires": ends} if ends else {"revoked": to_iso(self._clock.now())}
            connection.execute(db.tokens.update().where(db.tokens.c.id == number).values(**change))
            self._ledger.append(connection, Kind.TOKEN_REVOKED, user=user.id, token=number, **({"ends": ends} if ends else {}))

    def _open_tokens(self, connection: sa.Connection, user: User, until: str | None) -> Iterator[int]:
        now = self._clock.now()
        for row in connection.execute(sa.select(db.tokens).where(db.tokens.c.user == user.id).order_by(db.tokens.c.id)).all():
            if _open(row, now) and (until is None or row.expires is None or parse_instant(row.expires) > parse_instant(until)):
                yield row.id


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _open(row: sa.Row[tuple[object, ...]], now: dt.datetime) -> bool:
    return row.revoked is None and (row.expires is None or now < parse_instant(row.expires))


def _next(connection: sa.Connection, table: sa.Table) -> int:
    """The next number; rows are never deleted, so none is given twice."""
    last: int | None = connection.execute(sa.select(sa.func.max(table.c.id))).scalar()
    return (last or 0) + 1


def _find(connection: sa.Connection, name: str) -> User | None:
    row = connection.execute(sa.select(db.users).where(db.users.c.name == name, db.users.c.revoked.is_(None))).first()
    return User(row.id, row.name, role(row.role)) if row else None


def _get(connection: sa.Connection, name: str) -> User:
    user = _find(connection, name)
    if user is None:
        raise UsageError(f"there is no user {name!r}", "run: auditlake user list")
    return user


def _listed(row: sa.Row[tuple[object, ...]], held: list[sa.Row[tuple[object, ...]]]) -> Listed:
    ends = [token.expires for token in held]
    last = None if not ends or None in ends else max(ends, key=parse_instant)
    return Listed(User(row.id, row.name, role(row.role)), row.created, row.revoked, len(held), last)
