"""The HTTP server: its routes, and the thread it runs in."""

import asyncio
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auditlake.lake import Lake
from auditlake.vitals import Cached, gather
from auditlake.web.bulk import Bulks, elastic
from auditlake.web.health import Health
from auditlake.web.ingest import Ingest
from auditlake.web.metrics import Answers, Metrics
from auditlake.web.otlp import Otlp
from auditlake.web.query import Query
from auditlake.web.site import ApiError, Handler, Rate, Site, answered, error_response
from auditlake.web.workers import Pool
from core.errors import AuditlakeError

__all__ = ["HttpServer", "make_app"]

_START_SECONDS = 15.0
_STOP_SECONDS = 5


def make_app(site: Site, pool: Pool, answers: dict[int, int] | None = None) -> Starlette:
    """The application, for the settings of this moment.

    :param answers: counts of its answers by status, which :class:`auditlake.web.metrics.Answers` keeps.
    """
    vitals = Cached(lambda: gather(site.lake))
    ingest, query = Ingest(site), Query(site, pool)
    health, metrics = Health(site, vitals), Metrics(site, pool, vitals, {} if answers is None else answers)
    return Starlette(
        routes=[
            _route("/v1/ingest/receipts/{receipt}", ingest.receipt, "GET"),
            _route("/v1/ingest/{stream}", ingest.post, "POST"),
            _route("/v1/logs", Otlp(ingest).post, "POST"),
            _route("/v1/query", query.post, "POST"),
            _route("/v1/status", health.status, "GET"),
            _route("/healthz", health.healthz, "GET"),
            _route("/readyz", health.readyz, "GET"),
            _route("/metrics", metrics.get, "GET"),
            *_elastic_routes(Bulks(site, ingest)),
        ],
        exception_handlers={404: _unknown, 405: _wrong_method, 500: _failed},
    )


def _route(path: str, handler: Handler, *methods: str) -> Route:
    return Route(path, answered(handler), methods=list(methods))


def _elastic_routes(bulks: Bulks) -> list[Route]:
    take, about = elastic(bulks.post), elastic(bulks.about)
    return [
        Route("/es/_bulk", take, methods=["POST", "PUT"]),
        Route("/es/{index}/_bulk", take, methods=["POST", "PUT"]),
        Route("/es", about, methods=["GET"]),
        Route("/es/{about:path}", about, methods=["GET"]),
    ]


async def _unknown(request: Request, _error: Exception) -> Response:
    return error_response(ApiError(404, f"there is nothing at {request.url.path[:200]}", "see docs/serve.md for what there is"))


async def _wrong_method(request: Request, _error: Exception) -> Response:
    return error_response(ApiError(405, f"{request.method[:20]} is not for {request.url.path[:200]}", "see docs/serve.md"))


async def _failed(_request: Request, error: Exception) -> Response:
    return error_response(ApiError(500, f"the server met {type(error).__name__}", "see its messages"))


class HttpServer:
    """uvicorn in a thread of its own: signals are the main thread's.

    :param place: ``host:port``.
    """

    def __init__(self, site: Site, place: str) -> None:
        host, _, port = place.rpartition(":")
        self._site = site
        self._pool = Pool(site.lake.context.data_dir, site.lake.settings, site.lake.settings.serve.queries)
        self._answers = Answers()
        self._answers.app = make_app(site, self._pool, self._answers.counts)
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            self._answers,
            host.strip("[]"),
            int(port),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_SECONDS,
            limit_concurrency=500,
        )
        self._place = place
        self._server = uvicorn.Server(config)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="http")

    def start(self) -> None:
        """Begin, and return when it listens.

        :raises AuditlakeError: it cannot listen there.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                why = self._failure or "another process may be listening there"
                raise AuditlakeError(f"cannot listen on {self._place}: {why}", "set [serve] http to another place")
            time.sleep(0.01)

    def renew(self, lake: Lake) -> None:
        """Answer under other settings from the next request on.

        :param lake: the same directory under these.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._renew, lake)

    def _renew(self, lake: Lake) -> None:
        self._site.lake, self._site.rate = lake, Rate(lake.settings.serve.requests_per_second)
        self._pool.renew(lake.settings)
        self._answers.app = make_app(self._site, self._pool, self._answers.counts)

    def stop(self) -> None:
        """Answer what is under way, and end."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # uvicorn leaves with SystemExit when it cannot listen
            self._failure = error

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        warming = asyncio.ensure_future(self._pool.warm())
        try:
            await self._server.serve()
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await self._pool.close()
