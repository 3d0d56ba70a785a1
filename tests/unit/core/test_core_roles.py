"""Roles: what each may do."""

import pytest

from core.errors import UsageError
from core.roles import OWNER, ROLES, TABLES, TOKEN_ROLES, role, role_with_token


def test_what_each_may_read() -> None:
    assert {each.name: sorted(each.tables) for each in ROLES} == {
        "analyst": ["requests"],
        "investigator": ["requests"],
        "auditor": ["ledger", "query_log"],
        "admin": sorted(TABLES),
        "ingest": [],
        "owner": sorted(TABLES),
    }
    assert [each.name for each in ROLES if each.masked] == ["analyst"]
    assert [each.name for each in ROLES if each.may_ingest] == ["admin", "ingest", "owner"]
    assert [each.name for each in ROLES if each.may_manage] == ["admin", "owner"]
    assert [each.name for each in ROLES if not each.may_query] == ["ingest"]


def test_whoever_sees_rows_as_they_are_over_the_network_says_what_for() -> None:
    seeing = {name for name in TOKEN_ROLES if "requests" in role(name).tables and not role(name).masked}
    assert seeing == {name for name in TOKEN_ROLES if role(name).needs_purpose} == {"investigator", "admin"}


@pytest.mark.parametrize("name", TOKEN_ROLES)
def test_who_queries_has_limits(name: str) -> None:
    found = role(name)
    assert (found.limits is not None) == found.may_query


def test_a_purpose_is_asked_for() -> None:
    with pytest.raises(UsageError, match="the role investigator must say what a query is for; give a purpose"):
        role("investigator").check_purpose(" \n ")
    assert role("investigator").check_purpose(" case\n 1 ") == "case 1"
    assert role("analyst").check_purpose("") == ""
    with pytest.raises(UsageError, match="a purpose of 501 characters is too long"):
        OWNER.check_purpose("x" * 501)


def test_the_owners_role_is_for_nobody_else() -> None:
    assert role("owner") is OWNER
    for name in ("owner", "root"):
        with pytest.raises(UsageError, match="is not a role for a user"):
            role_with_token(name)
    with pytest.raises(UsageError, match="'root' is not a role; choose one of analyst"):
        role("root")
