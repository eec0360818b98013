"""The HTTP server of the local Tinybird. It answers with Tinybird's own statuses."""

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from tracker import clock
from tracker.local.tinybird.body import BadEncodingError, BodyTooLargeError, read_body
from tracker.local.tinybird.database import Database, QueryError, UnknownDatasourceError
from tracker.local.tinybird.pipes import Pipe, whole_template
from tracker.local.tinybird.rate_limit import TokenBucket
from tracker.local.tinybird.rows import NotNdjsonError
from tracker.local.tinybird.templates import TemplateError, render
from tracker.settings import Settings

MAX_QUERY_BYTES: Final = 262_144
#: Jobs whose state can be asked for; older ones are forgotten.
MAX_KNOWN_JOBS: Final = 100

log = structlog.get_logger()

#: One table from fault to status; every other error is a 500.
_STATUS: Final[dict[type[Exception], int]] = {
    NotNdjsonError: 400,
    BadEncodingError: 400,
    QueryError: 400,
    TemplateError: 400,
    UnknownDatasourceError: 404,
    BodyTooLargeError: 413,
}


class Server:
    """Answers requests from one database. ClickHouse's calls block, so each kind has a separate thread."""

    def __init__(self, settings: Settings, database: Database, pipes: Mapping[str, Pipe]) -> None:
        self._database = database
        self._templates = {name: whole_template(name, pipes) for name in pipes}
        self._token = settings.tinybird_token.get_secret_value().encode()
        self._read_token = settings.tinybird_reader.get_secret_value().encode()
        self._max_body_bytes = settings.local_tinybird_max_body_bytes
        self._requests_per_second = settings.local_tinybird_requests_per_second
        self._buckets: dict[str, TokenBucket] = {}
        self._jobs: deque[str] = deque(maxlen=MAX_KNOWN_JOBS)
        self._appends = ThreadPoolExecutor(1, "chdb-append")
        self._queries = ThreadPoolExecutor(1, "chdb-query")

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(middlewares=[_answer_faults])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/v0/events", self._events)
        app.router.add_get("/v0/sql", self._sql)
        app.router.add_post("/v0/sql", self._sql)
        app.router.add_get("/v0/pipes/{name}.json", self._pipe)
        app.router.add_post("/v0/datasources/{name}/delete", self._delete)
        app.router.add_get("/v0/jobs/{id}", self._job)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        """Wait for the rows that are being written, then close the tables."""
        await asyncio.to_thread(self._appends.shutdown)
        await asyncio.to_thread(self._queries.shutdown)
        self._database.close()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def _events(self, request: web.Request) -> web.Response:
        self._authorize(request)
        name = request.query.get("name")
        if not name:
            raise web.HTTPBadRequest(text="the query needs name=DATASOURCE")
        if not self._database.has(name):
            raise UnknownDatasourceError(f"there is no datasource {name}")
        now = time.monotonic()
        bucket = self._buckets.setdefault(name, TokenBucket.full(self._requests_per_second, now))
        verdict = bucket.take(now)
        if not verdict.allowed:
            return _json(429, {"error": f"more than {verdict.limit} requests a second"}, verdict.headers)
        body = await read_body(request, self._max_body_bytes)
        append = asyncio.get_running_loop().run_in_executor(self._appends, self._database.append, name, body)
        result = await append
        if result.quarantined_rows:
            log.warning("rows quarantined", datasource=name, rows=result.quarantined_rows)
        # Without wait=true Tinybird answers before it has written: a sender may not rely on our order.
        status = 200 if request.query.get("wait") == "true" else 202
        counts = {"successful_rows": result.successful_rows, "quarantined_rows": result.quarantined_rows}
        return _json(status, counts, verdict.headers)

    async def _delete(self, request: web.Request) -> web.Response:
        """Start a job that deletes rows, as Tinybird does; it is done at once, but only ``/v0/jobs`` says so."""
        self._authorize(request)
        name = request.match_info["name"]
        condition = str((await request.post()).get("delete_condition", "")).strip()
        if not condition:
            raise web.HTTPBadRequest(text="the form needs delete_condition=CONDITION")
        if not self._database.has(name):
            raise UnknownDatasourceError(f"there is no datasource {name}")
        delete = asyncio.get_running_loop().run_in_executor(self._appends, self._database.delete, name, condition)
        await delete
        job_id = clock.new_id()
        self._jobs.append(job_id)
        return _json(200, {"id": job_id, "job_id": job_id, "status": "waiting"})

    async def _job(self, request: web.Request) -> web.Response:
        self._authorize(request)
        job_id = request.match_info["id"]
        if job_id not in self._jobs:
            raise web.HTTPNotFound(text="there is no such job")
        return _json(200, {"id": job_id, "kind": "delete_data", "status": "done"})

    async def _sql(self, request: web.Request) -> web.Response:
        self._authorize(request, self._read_token)
        query = request.query.get("q") or (await read_body(request, MAX_QUERY_BYTES)).decode(errors="replace")
        if not query.strip():
            raise web.HTTPBadRequest(text="give the query as q=..., or as the body of a POST")
        return await self._answer(query)

    async def _pipe(self, request: web.Request) -> web.Response:
        self._authorize(request, self._read_token)
        template = self._templates.get(request.match_info["name"])
        if template is None:
            raise web.HTTPNotFound(text=f"there is no pipe {request.match_info['name']}")
        return await self._answer(render(template, request.query))

    async def _answer(self, query: str) -> web.Response:
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._queries, self._database.query, query)
        kind = "application/json" if result.format.startswith("JSON") else "text/plain"
        return web.Response(body=result.body, content_type=kind, charset="utf-8")

    def _authorize(self, request: web.Request, *others: bytes) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme != "Bearer" or not any([hmac.compare_digest(given, known) for known in (self._token, *others)]):  # noqa: C419 - compare all: time tells nothing
            raise web.HTTPForbidden(text="invalid authentication token")


@web.middleware
async def _answer_faults(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as fault:
        return _json(fault.status, {"error": fault.text or fault.reason})
    except tuple(_STATUS) as fault:
        return _json(_STATUS[type(fault)], {"error": str(fault)})
    except Exception:  # the connection must get its answer; the log gets the reason
        log.exception("a request failed", path=request.path)
        return _json(500, {"error": "internal error; the local Tinybird's log says more"})


def _json(status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers
    )
