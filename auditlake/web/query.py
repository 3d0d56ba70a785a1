"""``POST /v1/query``: one SELECT, by the gate, run in a process of its own, streamed; every question is in the query log."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from auditlake.web.site import ApiError, Site, user_of
from auditlake.web.workers import FailedError, Pool, Running
from core.errors import UsageError
from query.gate import LONGEST
from storage.query_log import Asked

__all__ = ["MEDIA_TYPES", "Query"]

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
"""The forms of an answer, and what they are called."""

_MOST = 8 * LONGEST
_KEYS = {"sql", "purpose", "format", "stream"}
_LOOK_SECONDS = 0.25
_GONE = "the client went away"


@dataclass
class _Told:
    """What the log will say of a question, once."""

    site: Site
    asked: Asked
    began: float = field(default_factory=time.perf_counter)
    done: bool = False

    async def answered(self, rows: int) -> None:
        await self._note(self.site.lake.context.query_log.answered, rows, time.perf_counter() - self.began)

    async def refused(self, reason: str) -> None:
        await self._note(self.site.lake.context.query_log.refused, reason)

    async def failed(self, rows: int, reason: str) -> None:
        await self._note(self.site.lake.context.query_log.failed, rows, time.perf_counter() - self.began, reason)

    async def _note(self, write: Any, *values: Any) -> None:
        if not self.done:
            self.done = True
            await asyncio.shield(run_in_threadpool(write, self.asked, *values))


class Query:
    """The handler."""

    def __init__(self, site: Site, pool: Pool) -> None:
        self._site = site
        self._pool = pool

    async def post(self, request: Request) -> Response:
        """Answer a statement."""
        user = await user_of(request, self._site)
        self._site.rate.check(user)
        asked = await _question(request)
        told = _Told(self._site, Asked(user, asked["sql"], asked["purpose"][:500]))
        try:
            if not user.role.may_query:
                raise ApiError(403, f"the role {user.role.name} may not query", "use a token of another role")
            user.role.check_purpose(asked["purpose"])
        except (ApiError, UsageError) as error:
            await told.refused(error.problem)
            raise
        stack = AsyncExitStack()
        try:
            running = await stack.enter_async_context(
                self._pool.query({"sql": asked["sql"], "role": user.role.name, "form": asked["format"], "stream": asked["stream"]})
            )
            pieces = running.pieces()
            first = await _first(request, pieces)
        except FailedError as error:
            await stack.aclose()
            await _note_failure(told, error)
            raise ApiError(error.told["status"], error.told["error"], error.told["hint"]) from None
        except BaseException:
            await stack.aclose()
            await told.failed(0, _GONE)
            raise
        return StreamingResponse(_rest(stack, running, pieces, first, told), media_type=MEDIA_TYPES[asked["format"]])


async def _first(request: Request, pieces: AsyncIterator[bytes]) -> bytes | None:
    """The first piece; the wait for it ends when the client has gone."""
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        while not (await asyncio.wait({coming}, timeout=_LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                raise ApiError(499, _GONE)
        return coming.result()
    finally:
        coming.cancel()


async def _rest(
    stack: AsyncExitStack, running: Running, pieces: AsyncIterator[bytes], first: bytes | None, told: _Told
) -> AsyncIterator[bytes]:
    """The answer, piece by piece; what ends it early breaks the connection off, so that nobody takes it for whole."""
    try:
        if first is not None:
            yield first
            async for piece in pieces:
                yield piece
        await told.answered(running.rows)
    except FailedError as error:
        await _note_failure(told, error)
        raise
    finally:
        await asyncio.shield(stack.aclose())
        await told.failed(running.rows, _GONE)


async def _note_failure(told: _Told, error: FailedError) -> None:
    if error.told["refused"]:
        await told.refused(error.told["error"])
    else:
        await told.failed(error.told["rows"], error.told["error"])


async def _question(request: Request) -> dict[str, str]:
    """The body's keys, checked.

    :raises ApiError: it is none of a query.
    """
    hint = 'send {"sql": "SELECT …", "purpose": "…", "format": "json"}'
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST:
            raise ApiError(413, f"the question is longer than {_MOST} bytes", "write a shorter statement")
    try:
        given = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise ApiError(400, "the question is not JSON", hint) from None
    if not isinstance(given, dict) or not isinstance(given.get("sql"), str):
        raise ApiError(400, "the question has no sql", hint)
    for key, value in given.items():
        if key not in _KEYS:
            raise ApiError(400, f"unknown key {key[:40]!r}", hint)
        if not isinstance(value, str):
            raise ApiError(400, f"{key} is not a text", hint)
    asked = {"purpose": "", "format": "json", "stream": "requests", **given}
    if asked["format"] not in MEDIA_TYPES:
        raise ApiError(400, f"{asked['format'][:40]!r} is not a format", f"use one of {', '.join(MEDIA_TYPES)}")
    return asked
