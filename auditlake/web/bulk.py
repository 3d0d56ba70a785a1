"""What shippers ask of Elasticsearch, below ``/es``: documents in bulk, and the few questions that come before.

``POST /es/_bulk`` and ``POST /es/<index>/_bulk`` take documents for the stream whose name the index is, else for that of ``?stream=``
(``requests``). A document that holds a line which the shipper has not taken apart (:mod:`ingest.formats.shippers`) is read by that
line, as ``?format=`` says; others by their members. An item is answered with 201 once it is durable, whatever becomes of its line: that
is counted in ``auditlake`` at the end of the answer when it is known in time. Ids of documents are not looked at; a request that is
sent again with the same documents changes nothing.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.17/docs-bulk.html; the questions are those of
https://github.com/elastic/beats (libbeat/esleg, x-pack/libbeat/licenser) and of Vector's and Fluent Bit's outputs.
"""

import asyncio
import base64
import binascii
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from auditlake.intake import format_options
from auditlake.web.ingest import Ingest
from auditlake.web.site import ApiError, Handler, Site, as_api_error, bearer, user_of
from core.errors import AuditlakeError
from ingest.bulk import Action, Bulk, MalformedError, TooManyError, read_bulk
from ingest.formats import get
from ingest.formats.base import begins_with_brace
from ingest.formats.shippers import SHIPPER
from jobs.push import FIGURES, repeated

__all__ = ["VERSION", "Bulks", "elastic", "token_of"]

VERSION = "8.17.0"
"""Of Elasticsearch, as clients are told: they do not talk to one that is older than they are."""

_ABOUT: dict[str, dict[str, Any]] = {
    "": {
        "name": "auditlake",
        "cluster_name": "auditlake",
        "cluster_uuid": "auditlake",
        "version": {"number": VERSION, "build_flavor": "default", "minimum_wire_compatibility_version": "7.17.0"},
        "tagline": "You Know, for Search",
    },
    "_license": {"license": {"status": "active", "type": "basic", "mode": "basic", "uid": "auditlake"}},
    "_xpack": {"license": {"status": "active", "type": "basic", "mode": "basic", "uid": "auditlake"}, "features": {}},
    "_cluster/health": {"cluster_name": "auditlake", "status": "green", "timed_out": False},
}
_TYPES = {400: "illegal_argument_exception", 401: "security_exception", 403: "security_exception", 429: "es_rejected_execution_exception"}
_WITHIN_SECONDS = 5.0
_AT_ONCE = 2  # taken apart, a body of many small items takes much more room


def token_of(header: str) -> str:
    """The token in an ``Authorization`` header: Bearer, ApiKey (the key after the colon, or the token itself), or Basic's password."""
    scheme, _, given = header.partition(" ")
    given = given.strip()
    if scheme.lower() == "apikey":
        return _after_colon(given) or given
    return _after_colon(given) if scheme.lower() == "basic" else bearer(header)


def _after_colon(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


class Bulks:
    """The handlers."""

    def __init__(self, site: Site, ingest: Ingest) -> None:
        self._site = site
        self._ingest = ingest
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def about(self, request: Request) -> Response:
        """What a client asks before it sends."""
        user = await user_of(request, self._site, token_of)
        if not user.role.may_ingest:
            raise ApiError(403, f"the role {user.role.name} may not send lines", "use a token of the role ingest")
        asked = request.path_params.get("about", "")
        if asked not in _ABOUT:
            raise ApiError(
                404, f"there is nothing at {request.url.path[:200]}", "only bulk is taken; switch templates, ILM and pipelines off"
            )
        return _response(_ABOUT[asked])

    async def post(self, request: Request) -> Response:
        """Take documents in."""
        began = time.perf_counter()
        user = await self._ingest.sender(request, token_of)
        async with self._ingest.turn:
            body = await self._ingest.received(request)
            try:
                async with self._reading:
                    bulk = await run_in_threadpool(read_bulk, body)
            except TooManyError as error:
                raise ApiError(413, str(error), "send fewer at once") from None
            except MalformedError as error:
                raise ApiError(400, f"the body is none of the bulk API: {error}", "send actions and documents, a line each") from None
            bodies = await run_in_threadpool(self._bodies, bulk, request)
            receipts = [await self._ingest.taken(user, lines, stream, form) for stream, form, lines in bodies]
        figures: Counter[str] = Counter()
        for receipt, known in receipts:
            found = await self._ingest.figures(receipt, _WITHIN_SECONDS)
            if found is None:
                return _told(bulk, _index(request), began, None)
            figures.update(repeated(found) if known else found)
        return _told(bulk, _index(request), began, {name: figures[name] for name in FIGURES})

    def _bodies(self, bulk: Bulk, request: Request) -> list[tuple[str, str, bytes]]:
        """What is to be stored: stream, format, and lines.

        :raises UsageError: the stream or format is unknown.
        """
        form = request.query_params.get("format", "auto")
        forms = ("auto", "auto") if form == "auto" else (self._plain(form), f"{SHIPPER.name}+{form}")
        parts: dict[tuple[str, str, bool], list[bytes]] = {}
        for number in np.flatnonzero(bulk.good).tolist():
            lines = bool(bulk.lines[number])
            place = (self._stream(bulk.actions[number].index or _index(request), request), forms[lines], lines)
            parts.setdefault(place, []).append(bulk.documents[number])
        return [(stream, form, b"\n".join(documents)) for (stream, form, _), documents in sorted(parts.items())]

    def _plain(self, name: str) -> str:
        """The format of documents without a line: the one that is named, when its lines are JSON."""
        form = get(name, format_options(self._site.lake.settings))
        return name if begins_with_brace(form) else "json"

    def _stream(self, index: str, request: Request) -> str:
        return index if index in self._site.lake.settings.streams else request.query_params.get("stream", "requests")


def elastic(handler: Handler) -> Handler:
    """The handler, whose errors are answers as Elasticsearch gives them."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (ApiError, AuditlakeError) as error:
            found = as_api_error(error)
            kind = _TYPES.get(found.status, "status_exception")
            cause = {"type": kind, "reason": f"{found.problem}; {found.hint}"}
            return _response({"error": {"root_cause": [cause], **cause}, "status": found.status}, found.status, found.headers)

    return handle


def _told(bulk: Bulk, index: str, began: float, figures: Mapping[str, int] | None) -> Response:
    """What has become of each item.

    :param figures: of all lines; ``None`` when they are durable, and not stored yet.
    """
    known: dict[tuple[Action, bool], str] = {}
    items = []
    for action, good in zip(bulk.actions, bulk.good.tolist(), strict=True):
        item = known.get((action, good))
        if item is None:
            item = known[action, good] = json.dumps(_item(action, good, index))
        items.append(item)
    head = json.dumps({"took": int(1000 * (time.perf_counter() - began)), "errors": not bulk.good.all()})
    tail = json.dumps({"auditlake": figures})
    return _sent(f'{head[:-1]}, "items": [{",".join(items)}], {tail[1:]}')


def _item(action: Action, good: bool, index: str) -> dict[str, Any]:
    about = {"_index": action.index or index, **({"_id": action.id} if action.id else {})}
    if good:
        return {action.kind: {**about, "result": "created", "status": 201}}
    kind, reason = ("document_parsing_exception", "the document is not a JSON object")
    if not action.taken:
        kind, reason = ("illegal_argument_exception", "only create and index are taken here")
    return {action.kind: {**about, "status": 400, "error": {"type": kind, "reason": reason}}}


def _index(request: Request) -> str:
    return str(request.path_params.get("index", ""))


def _response(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return _sent(json.dumps(value), status, headers)


def _sent(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text + "\n", status, {"X-Elastic-Product": "Elasticsearch", **(headers or {})}, media_type="application/json")
