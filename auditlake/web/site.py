"""What the handlers share: who asks, what went wrong, how much may come in."""

import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from auditlake.lake import Lake
from auditlake.writer import Writer
from core.errors import AuditlakeError, LockedError, UsageError
from storage.people import People, User

__all__ = ["ApiError", "Handler", "Rate", "Site", "answer", "answered", "as_api_error", "bearer", "error_response", "user_of"]

Handler = Callable[[Request], Awaitable[Response]]


class ApiError(Exception):
    """A request that is not answered as asked.

    :param status: of HTTP.
    :param problem: what is wrong; :param hint: the way out; :param headers: further ones of the answer.
    """

    def __init__(self, status: int, problem: str, hint: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status, self.problem, self.hint, self.headers = status, problem, hint, headers or {}


@dataclass
class Rate:
    """Requests of each user a second, on average; a second's worth may come at once.

    :param per_second: 0 for as many as come.
    """

    per_second: int
    _left: dict[int, tuple[float, float]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def check(self, user: User) -> None:
        """Count one more request.

        :raises ApiError: it is one too many.
        """
        if not self.per_second:
            return
        now = time.monotonic()
        with self._guard:
            left, when = self._left.get(user.id, (float(self.per_second), now))
            left = min(float(self.per_second), left + (now - when) * self.per_second)
            self._left[user.id] = (max(0.0, left - 1), now)
        if left < 1:
            raise ApiError(429, f"more than {self.per_second} requests a second", "send fewer, larger bodies", {"Retry-After": "1"})


@dataclass
class Site:
    """The open data directory, who may ask, and the thread that stores."""

    lake: Lake
    people: People
    writer: Writer
    rate: Rate
    lost: Callable[[], Mapping[tuple[str, str], int]] = dict
    """What has come to nothing before it could be acknowledged, by source and cause."""


def answer(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON object."""
    return Response(json.dumps(value) + "\n", status, headers, media_type="application/json")


def error_response(error: ApiError) -> Response:
    """``{"error", "hint"}`` with the status."""
    return answer({"error": error.problem, "hint": error.hint}, error.status, error.headers)


def answered(handler: Handler) -> Handler:
    """The handler, whose errors are answers: one line, never a trace."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (ApiError, AuditlakeError) as error:
            return error_response(as_api_error(error))

    return handle


def as_api_error(error: ApiError | AuditlakeError) -> ApiError:
    """An error as the answer to a request that met it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LockedError):
        return ApiError(503, error.problem, error.hint, {"Retry-After": "5"})
    if isinstance(error, UsageError):
        return ApiError(400, error.problem, error.hint)
    return ApiError(503, error.problem, error.hint, {"Retry-After": "30"})


def bearer(header: str) -> str:
    """The token in an ``Authorization`` header of the scheme Bearer (RFC 6750); empty when there is none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def user_of(request: Request, site: Site, token_of: Callable[[str], str] = bearer) -> User:
    """Whose token the request has.

    :param token_of: finds it in the ``Authorization`` header.
    :raises ApiError: it has none that opens something.
    """
    token = token_of(request.headers.get("authorization", ""))
    user = await run_in_threadpool(site.people.verify, token) if token else None
    if user is None:
        hint = "send 'Authorization: Bearer TOKEN'; auditlake user add makes a token"
        raise ApiError(401, "no valid token was sent", hint, {"WWW-Authenticate": "Bearer"})
    return user
