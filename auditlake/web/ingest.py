"""``POST /v1/ingest/<stream>``: lines, taken in durably and then stored, each once.

The answer comes when the lines are stored, with what became of them, or, when that takes too long, as a receipt: by then the
body is durable. A request that is sent again, with the same ``Idempotency-Key`` or the same content, changes nothing.
"""

import asyncio
import contextlib
import io
import math
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from auditlake.intake import ingest_options
from auditlake.settings import size_bytes
from auditlake.web.site import ApiError, Site, answer, bearer, user_of
from core.errors import UsageError
from ingest.compression import MAGIC_BYTES, DamageError, kind_of, unpack
from ingest.sources import Reader
from jobs.push import accept, repeated
from storage.people import User
from storage.spool import Receipt

__all__ = ["Ingest", "unpacked"]

_AT_ONCE = 8
_RECEIVE_SECONDS = 60.0
_ENCODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_LONGEST_KEY = 200


class Ingest:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        settings = site.lake.settings.serve
        self._site = site
        self._most = size_bytes(settings.max_body)
        self._spool = size_bytes(settings.spool)
        self._within = settings.answer_within
        self.turn = asyncio.Semaphore(_AT_ONCE)

    async def post(self, request: Request) -> Response:
        """Take lines in."""
        user = await self.sender(request)
        stream, form = request.path_params["stream"], request.query_params.get("format", "auto")
        zone = request.query_params.get("timezone")
        key = request.headers.get("idempotency-key", "")
        if len(key) > _LONGEST_KEY:
            raise ApiError(400, f"an Idempotency-Key of {len(key)} characters is too long", f"send at most {_LONGEST_KEY}")
        async with self.turn:
            body = await self.received(request)
            receipt, known = await self.taken(user, body, stream, form, key, zone)
        return await self.told(receipt, known)

    async def sender(self, request: Request, token_of: Callable[[str], str] = bearer) -> User:
        """Who sends, when they may.

        :param token_of: finds the token in the ``Authorization`` header.
        :raises ApiError: they may not, or too often, or there is no room.
        """
        user = await user_of(request, self._site, token_of)
        if not user.role.may_ingest:
            raise ApiError(403, f"the role {user.role.name} may not send lines", "use a token of the role ingest")
        self._site.rate.check(user)
        if await run_in_threadpool(self._site.lake.context.spool.size) > self._spool:
            raise ApiError(429, "bodies that wait to be stored take all the room they may", "send it again later", {"Retry-After": "10"})
        return user

    async def received(self, request: Request) -> bytes:
        """The body, unpacked.

        :raises ApiError: it is too long, of an unknown encoding, damaged, or does not come.
        """
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise ApiError(415, f"content encoding {encoding[:40]!r} is not known", "send gzip, zstd, or no encoding")
        if int(request.headers.get("content-length") or 0) > self._most:
            raise self._too_long()
        pieces, size = [], 0
        try:
            async with asyncio.timeout(_RECEIVE_SECONDS):
                async for piece in request.stream():
                    size += len(piece)
                    if size > self._most:
                        raise self._too_long()
                    pieces.append(piece)
        except TimeoutError:
            raise ApiError(408, f"the body did not come within {_RECEIVE_SECONDS:g} seconds", "send a shorter one") from None
        except ClientDisconnect:
            raise ApiError(400, "the sender went away", "send it again") from None
        return await run_in_threadpool(unpacked, b"".join(pieces), _ENCODINGS[encoding], self._most)

    async def taken(self, user: User, body: bytes, stream: str, form: str, key: str = "", zone: str | None = None) -> tuple[Receipt, bool]:
        """Take a body in; also whether that was done before.

        :raises UsageError: stream, format or time zone is unknown.
        """
        site = self._site
        options = await run_in_threadpool(ingest_options, site.lake.settings, form, stream, zone)
        return await run_in_threadpool(accept, site.lake.context, body, str(user.id), options, f"http:{user.name}", key, zone)

    async def told(self, receipt: Receipt, known: bool) -> Response:
        """What became of its lines, as soon as they are stored; a receipt when that takes too long."""
        figures = await self.figures(receipt)
        if figures is None:
            place = f"/v1/ingest/receipts/{receipt.id}"
            return answer({"receipt": receipt.id}, 202, {"Location": place})
        return answer(repeated(figures) if known else figures)

    async def figures(self, receipt: Receipt, within: float = math.inf) -> dict[str, int] | None:
        """The figures of its lines once they are stored; ``None`` when that takes too long.

        :param within: seconds that it may take, when fewer than the settings allow.
        """
        future = self._site.writer.stored(receipt.id)
        self._site.writer.wake()
        found = await run_in_threadpool(self._found, receipt.id)
        if found and found.done:
            self._site.writer.forget(receipt.id)
            return dict(found.figures)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._within, within)):
                return await asyncio.shield(asyncio.wrap_future(future))
        self._site.writer.forget(receipt.id)
        return None

    async def receipt(self, request: Request) -> Response:
        """What has become of a body."""
        user = await user_of(request, self._site)
        found = await run_in_threadpool(self._found, request.path_params["receipt"])
        if found is None or found.sender != str(user.id) or not user.role.may_ingest:
            raise ApiError(404, "there is no such receipt", "receipts are kept for 7 days after their lines are stored")
        return answer({"receipt": found.id, "done": found.done, **found.figures})

    def _found(self, receipt: str) -> Receipt | None:
        ctx = self._site.lake.context
        with ctx.control.read() as connection:
            return ctx.spool.find(connection, receipt)

    def _too_long(self) -> ApiError:
        return ApiError(413, f"the body is longer than {self._most} bytes", "send shorter ones, or raise [serve] max_body")


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """The plain bytes of a body, at most so many.

    :param encoding: ``gzip``, ``zstd``, or empty for none; bodies that are gzip or zstd by their first bytes are unpacked all the same.
    :raises ApiError: it is longer, damaged, or of a kind that cannot be read from a request.
    """
    kind = kind_of(body[:MAGIC_BYTES])
    if encoding and kind != encoding:
        raise ApiError(400, f"the body is not {encoding}", "send the encoding that Content-Encoding says")
    if kind in ("gzip", "zstd"):
        body = _unpacked(body, kind, most)
    try:
        packed = Reader("the body", io.BytesIO(body[: 1 << 16]), lines=False).compressed
    except UsageError as error:
        raise ApiError(415, error.problem, error.hint) from None
    if packed:
        raise ApiError(415, "the body is packed twice, or in a way that is not read here", "pack it once, with gzip or zstd")
    return body


def _unpacked(body: bytes, kind: str, most: int) -> bytes:
    pieces, size = [], 0
    try:
        for piece in unpack(kind, body, io.BytesIO()):
            size += len(piece)
            if size > most:
                raise ApiError(413, f"the body is longer than {most} bytes when unpacked", "send shorter ones, or raise [serve] max_body")
            pieces.append(piece)
    except DamageError as error:
        raise ApiError(400, f"the body is damaged: {error}", "send it again") from None
    return b"".join(pieces)
