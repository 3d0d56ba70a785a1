"""Users and tokens: shown once, kept as a hash, ending when they should."""

import datetime as dt
import hashlib
import re

import pytest

from core.errors import UsageError
from core.policy import Period
from core.roles import TOKEN_ROLES
from storage.people import PREFIX, User
from tests.unit.storage.conftest import Desk

MONTH = Period(months=1)


def test_a_token_opens_and_tells_whose_it_is(desk: Desk) -> None:
    issued = desk.people.add("ann", "analyst", MONTH)
    assert re.fullmatch(r"al_[A-Za-z0-9_-]{43}", issued.token)
    assert (issued.user.id, issued.user.name, issued.user.role.name, issued.expires) == (1, "ann", "analyst", "2026-02-28T12:00:00Z")
    assert desk.people.verify(issued.token) == issued.user
    assert issued.token not in repr(issued)


def test_only_the_hash_is_kept_and_the_ledger_knows_numbers(desk: Desk) -> None:
    token = desk.people.add("ann", "auditor", MONTH).token
    held = desk.bytes()
    assert token.encode() not in held
    assert token.removeprefix(PREFIX).encode() not in held
    assert hashlib.sha256(token.encode()).hexdigest().encode() in held
    assert desk.bodies() == [{"user": 1, "role": "auditor", "token": 1, "expires": "2026-02-28T12:00:00Z"}]


@pytest.mark.parametrize(
    "token", ["", "al_", "al_" + "A" * 43, "A" * 46, "al_" + "é" * 43, "al_" + "A" * 1000, "\ud800", "al_\0" + "A" * 42]
)
def test_what_is_no_token_opens_nothing(desk: Desk, token: str) -> None:
    desk.people.add("ann", "analyst", None)
    assert desk.people.verify(token) is None


def test_a_token_that_differs_in_one_letter_opens_nothing(desk: Desk) -> None:
    token = desk.people.add("ann", "analyst", None).token
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert desk.people.verify(other) is None
    assert desk.people.verify(f"{token}\n") is None
    assert desk.people.verify(token) is not None


def test_a_token_ends_at_its_very_instant(desk: Desk) -> None:
    token = desk.people.add("ann", "analyst", Period(days=1)).token
    desk.clock.instant += dt.timedelta(days=1, microseconds=-1)
    assert desk.people.verify(token) is not None
    desk.clock.instant += dt.timedelta(microseconds=1)
    assert desk.people.verify(token) is None


def test_revoking_ends_every_token_and_frees_the_name(desk: Desk) -> None:
    first = desk.people.add("ann", "analyst", MONTH).token
    second = desk.people.rotate("ann", MONTH, grace=Period(days=7)).token
    assert desk.people.revoke("ann").id == 1
    assert [desk.people.verify(token) for token in (first, second)] == [None, None]
    with pytest.raises(UsageError, match="there is no user 'ann'; run: auditlake user list"):
        desk.people.revoke("ann")
    again = desk.people.add("ann", "auditor", MONTH)
    assert again.user.id == 2
    assert desk.people.names() == {0: "owner", 1: "ann", 2: "ann"}
    assert desk.bodies("TokenRevoked") == [
        {"user": 1, "token": 1, "ends": "2026-02-07T12:00:00Z"},
        {"user": 1, "token": 1},
        {"user": 1, "token": 2},
    ]


def test_rotating_ends_the_old_token_at_once_or_after_grace(desk: Desk) -> None:
    first = desk.people.add("ann", "analyst", None)
    second = desk.people.rotate("ann", MONTH)
    assert desk.people.verify(first.token) is None
    third = desk.people.rotate("ann", MONTH, grace=Period(days=2))
    assert desk.people.verify(second.token) == desk.people.verify(third.token) == first.user
    desk.clock.instant += dt.timedelta(days=2)
    assert desk.people.verify(second.token) is None
    assert desk.people.verify(third.token) == first.user


def test_grace_never_makes_a_token_last_longer(desk: Desk) -> None:
    first = desk.people.add("ann", "analyst", Period(days=1)).token
    desk.people.rotate("ann", None, grace=Period(days=30))
    desk.clock.instant += dt.timedelta(days=1)
    assert desk.people.verify(first) is None


def test_users_are_listed_with_what_is_open(desk: Desk) -> None:
    desk.people.add("ann", "analyst", MONTH)
    desk.people.add("feed-1", "ingest", None)
    desk.people.add("bob", "admin", Period(days=1))
    desk.people.revoke("ann")
    desk.clock.instant += dt.timedelta(days=1)
    listed = [(each.user.id, each.user.name, each.tokens, each.expires, each.revoked) for each in desk.people.every()]
    assert listed == [(1, "ann", 0, None, "2026-01-31T12:00:00Z"), (2, "feed-1", 1, None, None), (3, "bob", 0, None, None)]


@pytest.mark.parametrize("name", ["", "owner", "-x", "a b", "a\n", "a" * 64, "é", "../x", "a'b"])
def test_names_are_plain(desk: Desk, name: str) -> None:
    with pytest.raises(UsageError, match="is not allowed"):
        desk.people.add(name, "analyst", None)
    assert desk.bodies() == []


def test_a_name_is_given_once_and_roles_are_known(desk: Desk) -> None:
    desk.people.add("ann", "analyst", None)
    with pytest.raises(UsageError, match="user 'ann' exists; run: auditlake user rotate ann"):
        desk.people.add("ann", "admin", None)
    for unknown in ("owner", "root", ""):
        with pytest.raises(UsageError, match="is not a role for a user"):
            desk.people.add("bob", unknown, None)
    with pytest.raises(UsageError, match="there is no user 'bob'"):
        desk.people.rotate("bob", None)


@pytest.mark.parametrize("name", TOKEN_ROLES)
def test_every_role_can_be_given(desk: Desk, name: str) -> None:
    user = desk.people.verify(desk.people.add("x", name, None).token)
    assert isinstance(user, User)
    assert user.role.name == name
