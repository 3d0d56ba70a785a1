"""Who is connected over Quack, and what each may have: tokens, purposes, the query log, one answer at a time for each."""

import threading
import time
from dataclasses import dataclass, field

from auditlake.lake import Lake
from auditlake.quack.answers import Answer
from auditlake.quack.workers import Worker, Workers
from auditlake.settings import Settings
from core.errors import AuditlakeError, UsageError
from query.quack_client import purpose_of
from storage.people import People, User
from storage.query_log import Asked

__all__ = ["LEFT_SECONDS", "Desk"]

LEFT_SECONDS = 60.0
"""An answer of which the client takes nothing for so long ends, so that its process can answer another."""

_NEW_SECONDS = 30.0
_FORGOTTEN_SECONDS = 12 * 3600.0
_GRACE_SECONDS = 2.0
_HINT = "write /* purpose: … */ before the statement, or the purpose after the token: TOKEN 'al_… purpose'"


@dataclass
class _Session:
    """A connection: with whose token it came, and for what."""

    user: User
    token: str
    purpose: str
    used: float = field(default_factory=time.monotonic)
    answer: Answer | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __repr__(self) -> str:
        return f"_Session({self.user.name})"


class Desk:
    """A :class:`query.quack.Desk`."""

    def __init__(self, lake: Lake, workers: Workers) -> None:
        ctx = lake.context
        self._people, self._log = People(ctx.control, ctx.ledger, ctx.clock), ctx.query_log
        self._limits, self._workers = lake.settings.roles.limits, workers
        self._sessions: dict[str, _Session] = {}

    def renew(self, settings: Settings) -> None:
        """Answer under other settings from the next statement on."""
        self._limits = settings.roles.limits
        self._workers.renew(settings)

    def enter(self, session: str, token: str) -> bool:
        """Let in whose token opens something, and whose role may query. What follows the token is the purpose of what is asked."""
        token, _, purpose = token.strip().partition(" ")
        user = self._people.verify(token)
        if user is None or not user.role.may_query:
            return False
        self._sessions[session] = _Session(user, token, purpose.strip())
        return True

    def tables(self, session: str) -> frozenset[str]:
        """The tables of the role that the token has now."""
        return self._user(self._session(session)).role.tables

    def ask(self, session: str, sql: str) -> Answer:
        """Begin an answer; one that the connection has still open ends."""
        mine = self._session(session)
        with mine.guard:
            if mine.answer:
                mine.answer.end("the client went on to another statement")
            mine.answer = None
            asked = self._asked(mine, sql)
            limits = self._limits(asked.user.role)
            mine.answer = Answer(self._workers, self._taken(asked), asked, self._log, limits.seconds + _GRACE_SECONDS if limits else None)
            answer = mine.answer
        answer.begin()
        return answer

    def look(self, sessions: frozenset[str]) -> None:
        """End what takes too long, what nobody takes, and what the client has left."""
        for name, mine in list(self._sessions.items()):
            unused = time.monotonic() - mine.used
            gone = unused > (_FORGOTTEN_SECONDS if name in sessions else _NEW_SECONDS)
            if mine.answer and (reason := "the client went away" if gone else mine.answer.overdue(LEFT_SECONDS)):
                mine.answer.end(reason)
            if gone:
                del self._sessions[name]

    def close(self) -> None:
        """End every answer."""
        for mine in list(self._sessions.values()):
            if mine.answer:
                mine.answer.end("the server stopped")

    def _session(self, name: str) -> _Session:
        if name not in self._sessions:
            raise UsageError("this connection is not known", "DETACH, and ATTACH again")
        self._sessions[name].used = time.monotonic()
        return self._sessions[name]

    def _user(self, mine: _Session) -> User:
        user = self._people.verify(mine.token)
        if user is None or user.id != mine.user.id:
            raise UsageError("the token opens nothing any more", "DETACH, and ATTACH again with another")
        return user

    def _asked(self, mine: _Session, sql: str) -> Asked:
        """The question as it is logged, when it may be asked."""
        purpose = purpose_of(sql) or mine.purpose
        asked = Asked(mine.user, sql, purpose[:500])
        try:
            user = self._user(mine)
            said = user.role.check_purpose(purpose)
        except UsageError as error:
            self._log.refused(asked, error.problem)
            raise UsageError(error.problem, _HINT if not purpose else error.hint) from None
        return Asked(user, sql, said)

    def _taken(self, asked: Asked) -> Worker:
        try:
            return self._workers.take()
        except AuditlakeError as error:
            self._log.refused(asked, error.problem)
            raise
