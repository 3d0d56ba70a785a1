"""Roles: what each may ask for, and how much of the machine one question may take. Pure.

``requests`` are the rows, ``ledger`` the events, ``query_log`` who asked what. An analyst sees personal columns masked
(``core.schema.Column.mask``); who sees them as they are must say for what. The owner is whoever may open the data directory's
files: needs no token, and is logged like everybody else.
"""

from dataclasses import dataclass

from core.errors import UsageError

__all__ = ["LEDGER", "OWNER", "QUERY_LOG", "REQUESTS", "ROLES", "TABLES", "TOKEN_ROLES", "Limits", "Role", "role", "role_with_token"]

REQUESTS, LEDGER, QUERY_LOG = "requests", "ledger", "query_log"

TABLES = frozenset({REQUESTS, LEDGER, QUERY_LOG})
"""Every view there is for somebody."""


@dataclass(frozen=True)
class Limits:
    """What one query may take.

    :param memory: DuckDB's buffers, such as ``1GB``.
    :param threads: 0 for one per core.
    :param seconds: how long it may run.
    :param rows: how many rows its answer may have.
    """

    memory: str
    threads: int
    seconds: int
    rows: int


@dataclass(frozen=True)
class Role:
    """What a role may do.

    :param tables: the views that its statements may read.
    :param masked: whether personal columns are masked.
    :param needs_purpose: whether a query must say what it is for.
    :param may_ingest: whether it may send rows.
    :param may_manage: whether it may manage users and see the state of the server.
    :param limits: of a query, unless the settings say otherwise; ``None`` where no limits of a role apply.
    """

    name: str
    tables: frozenset[str] = frozenset()
    masked: bool = False
    needs_purpose: bool = False
    may_ingest: bool = False
    may_manage: bool = False
    limits: Limits | None = None

    @property
    def may_query(self) -> bool:
        """Whether it may ask anything."""
        return bool(self.tables)

    def check_purpose(self, purpose: str) -> str:
        """The purpose without blanks around it.

        :raises UsageError: the role must give one and did not, or it is too long.
        """
        said = " ".join(purpose.split())
        if self.needs_purpose and not said:
            raise UsageError(f"the role {self.name} must say what a query is for", "give a purpose")
        if len(said) > LONGEST_PURPOSE:
            raise UsageError(f"a purpose of {len(said)} characters is too long", f"write at most {LONGEST_PURPOSE}")
        return said


LONGEST_PURPOSE = 500
"""Longest purpose, in characters."""

OWNER = Role("owner", TABLES, may_ingest=True, may_manage=True)
"""The local command line."""

ROLES = (
    Role("analyst", frozenset({REQUESTS}), masked=True, limits=Limits("1GB", 1, 300, 1_000_000)),
    Role("investigator", frozenset({REQUESTS}), needs_purpose=True, limits=Limits("2GB", 2, 600, 1_000_000)),
    Role("auditor", frozenset({LEDGER, QUERY_LOG}), limits=Limits("512MB", 1, 300, 1_000_000)),
    Role("admin", TABLES, needs_purpose=True, may_ingest=True, may_manage=True, limits=Limits("2GB", 0, 3600, 10_000_000)),
    Role("ingest", may_ingest=True),
    OWNER,
)
"""Every role, the owner last."""

TOKEN_ROLES = tuple(each.name for each in ROLES if each is not OWNER)
"""The roles that a token may have."""

_BY_NAME = {each.name: each for each in ROLES}


def role(name: str) -> Role:
    """The role of that name.

    :raises UsageError: there is none.
    """
    if name not in _BY_NAME:
        raise UsageError(f"{name!r} is not a role", f"choose one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def role_with_token(name: str) -> Role:
    """The same, of those that a user with a token may have.

    :raises UsageError: there is none, or it is the owner's.
    """
    if name not in TOKEN_ROLES:
        raise UsageError(f"{name!r} is not a role for a user", f"choose one of {', '.join(TOKEN_ROLES)}")
    return _BY_NAME[name]
