"""The pages of all workers under one parent, on one port: each worker is asked at its own port when the parent is.

Figures are asked for, too: the files by which a collector's processes share theirs can't take a label away, so a worker
would show the lag of partitions that it no longer has (docs/decisions/0050).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from yarl import URL

from tracker.observe.exposition import with_label
from tracker.observe.internal_token import InternalToken, own_address
from tracker.observe.pages import RequestPage, serving

#: How long a worker may take to answer. Prometheus and ``tracker health`` wait longer.
ANSWER_TIMEOUT_SECONDS: Final = 2.0
#: Connections to workers at most; further questions wait for one, within the time.
MAX_CONNECTIONS: Final = 128
RETRY_AFTER_SECONDS: Final = 2

#: The parent's own figures. A worker's are in its process.
REGISTRY: Final = CollectorRegistry()
UP: Final = Gauge("tracker_worker_up", "1 if a worker of this parent runs and answers", ["process"], registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class PagesAddress:
    """Where the parent listens; requests for ``passed_on`` go to any worker that can answer."""

    host: str
    port: int
    token: InternalToken
    port_setting: str
    passed_on: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a worker said; status 0: it does not answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class WorkerPages:
    """``/healthz``, ``/readyz`` and ``/metrics`` for all workers of a parent."""

    def __init__(self, ports: Mapping[str, int], address: PagesAddress) -> None:
        """Set up pages for workers by their name, with the port of each."""
        self._ports = ports
        self._address = address
        self._http: aiohttp.ClientSession
        #: Workers that run now. The parent keeps it up to date.
        self.running: set[str] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while the block runs.

        Raises:
            ConfigurationError: the port can't be listened on, or must not be without a secret.
        """
        own = self._address
        pages: dict[str, RequestPage] = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        pages.update(dict.fromkeys(own.passed_on, self._passed_on))
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, force_close=True)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=own.token.headers) as self._http,
            serving({}, own.host, own.port, token=own.token, port_setting=own.port_setting, request_pages=pages),
        ):
            yield

    async def _healthz(self, _: web.Request) -> web.Response:
        """Say that all live; one that has ended does not count, since the parent starts it again."""
        answers = await self._ask_all("/healthz")
        silent = [name for name, answer in answers.items() if name in self.running and answer.status != HTTPStatus.OK]
        state = {
            "status": "unavailable" if silent else "ok",
            "problems": [f"{name}: does not answer" for name in silent],
            "partitions": _partitions(answers),
        }
        return web.json_response(state, status=503 if silent else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        """Say that all are ready, or which are not and why."""
        answers = await self._ask_all("/readyz")
        problems = [f"{name}: {line}" for name, answer in answers.items() for line in self._problems(name, answer)]
        state = {
            "status": "unavailable" if problems else "ready",
            "problems": problems,
            "notes": [f"{name}: {line}" for name, answer in answers.items() for line in answer.state.get("notes", [])],
            "partitions": _partitions(answers),
            "workers": {name: answer.state for name, answer in answers.items()},
        }
        return web.json_response(state, status=503 if problems else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        """Show the figures of all, each with the name of its worker as the label ``process``."""
        answers = await self._ask_all("/metrics")
        texts = {name: answer.body.decode() for name, answer in answers.items() if answer.status == HTTPStatus.OK}
        for name in answers:
            UP.labels(name).set(name in texts)
        body = generate_latest(REGISTRY) + with_label("process", texts).encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _passed_on(self, request: web.Request) -> web.Response:
        """Ask one worker after the other until one knows the answer."""
        answer = _Answer(0)
        for name in self._ports:
            answer = await self._ask(name, request.rel_url.raw_path, request.rel_url.raw_query_string)
            if 0 < answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        if not answer.status:
            error = {"code": "recovering", "message": "no worker answers; try again"}
            return web.json_response({"error": error}, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        kept = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
        return web.Response(body=answer.body, status=answer.status, headers=kept)

    async def _ask_all(self, path: str) -> dict[str, _Answer]:
        answers = await asyncio.gather(*(self._ask(name, path) for name in self._ports))
        return dict(zip(self._ports, answers, strict=True))

    async def _ask(self, name: str, path: str, query: str = "") -> _Answer:
        if name not in self.running:
            return _Answer(0)
        host, port = own_address(self._address.host), self._ports[name]
        url = URL.build(scheme="http", host=host, port=port, path=path, query_string=query, encoded=True)
        try:
            async with self._http.get(url, allow_redirects=False) as answer:
                return _Answer(answer.status, await answer.read(), answer.headers)
        except (aiohttp.ClientError, TimeoutError):
            return _Answer(0)

    def _problems(self, name: str, answer: _Answer) -> Sequence[str]:
        if name not in self.running:
            return ["does not run; it is started again"]
        if answer.status == HTTPStatus.OK:
            return []
        said: list[str] = answer.state.get("problems", [])
        return said or ["does not answer"]


def _partitions(answers: Mapping[str, _Answer]) -> int:
    return sum(answer.state.get("partitions", 0) for answer in answers.values())
