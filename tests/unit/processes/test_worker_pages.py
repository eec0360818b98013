"""One set of pages for all workers of a parent: ready only if all are; each that is not is named with its reason."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.patience import PATIENCE_SECONDS
from tracker.errors import ConfigurationError
from tracker.local.ports import LOOPBACK, free_port
from tracker.observe.internal_token import InternalToken
from tracker.observe.pages import serving
from tracker.processes import worker_pages
from tracker.processes.worker_pages import PagesAddress, WorkerPages

NONE, TOKEN = InternalToken(""), InternalToken("s3cret-of-all-stages")
FIGURES = '# HELP tracker_x X\n# TYPE tracker_x gauge\ntracker_x{partition="0"} 3.0\n'


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pages, "ANSWER_TIMEOUT_SECONDS", PATIENCE_SECONDS)


class World:
    """A parent's pages over workers that say what they are told to say."""

    def __init__(self, token: InternalToken = NONE, host: str = LOOPBACK) -> None:
        self.token = token
        self.host = host
        self.ports = {name: free_port() for name in ("w", "w.2")}
        self.port = free_port()
        #: What a worker answers on a path instead of what a sound one does.
        self.said: dict[tuple[str, str], web.Response] = {}
        self.asked: list[tuple[str, str]] = []
        self.pages: WorkerPages

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator["World"]:
        address = PagesAddress(self.host, self.port, self.token, "TRACKER_X_PORT", ["/session/{id}"])
        self.pages = WorkerPages(self.ports, address)
        self.pages.running.update(names)
        async with AsyncExitStack() as stack:
            for name in names:
                paths = ("/healthz", "/readyz", "/metrics", "/session/{id}")
                pages = {path: self._page(name) for path in paths}
                worker = serving(
                    {}, LOOPBACK, self.ports[name], token=self.token, port_setting="P", request_pages=pages
                )
                await stack.enter_async_context(worker)
            await stack.enter_async_context(self.pages.serving())
            yield self

    def _page(self, name: str):
        async def page(request: web.Request) -> web.Response:
            self.asked.append((name, request.raw_path))
            if found := self.said.get((name, request.path)):
                return found
            if request.path == "/metrics":
                return web.Response(text=FIGURES)
            return web.json_response({"status": "ok", "problems": [], "notes": [], "partitions": 2, "of": name})

        return page

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        url = f"http://{LOOPBACK}:{self.port}{path}"
        sent = self.token.headers if headers is None else headers
        async with aiohttp.ClientSession() as http, http.get(url, headers=sent) as answer:
            return answer.status, await answer.text()

    async def state(self, path: str) -> tuple[int, dict]:
        url = f"http://{LOOPBACK}:{self.port}{path}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=self.token.headers) as answer:
            return answer.status, await answer.json()


@pytest.mark.parametrize("token", [NONE, TOKEN])
async def test_all_are_ready_when_each_is_and_their_partitions_are_added_up(token: InternalToken) -> None:
    async with World(token).running("w", "w.2") as world:
        status, state = await world.state("/readyz")
        assert (status, state["status"], state["problems"], state["partitions"]) == (200, "ready", [], 4)
        assert {name: one["of"] for name, one in state["workers"].items()} == {"w": "w", "w.2": "w.2"}
        assert await world.state("/healthz") == (200, {"status": "ok", "problems": [], "partitions": 4})


async def test_one_that_is_not_ready_is_named_with_its_reasons_and_all_live() -> None:
    async with World().running("w", "w.2") as world:
        said = {"problems": ["Kafka is away", "the disk is full"], "notes": ["a note"], "partitions": 1}
        world.said["w.2", "/readyz"] = web.json_response(said, status=503)
        status, state = await world.state("/readyz")
        assert (status, state["status"], state["partitions"]) == (503, "unavailable", 3)
        assert state["problems"] == ["w.2: Kafka is away", "w.2: the disk is full"]
        assert state["notes"] == ["w.2: a note"]
        assert (await world.state("/healthz"))[0] == 200


async def test_one_that_has_ended_makes_all_not_ready_and_dead_it_is_not_since_it_is_started_again() -> None:
    async with World().running("w") as world:
        status, state = await world.state("/readyz")
        assert (status, state["problems"]) == (503, ["w.2: does not run; it is started again"])
        assert (await world.state("/healthz"))[0] == 200
        assert not [name for name, _ in world.asked if name == "w.2"]


async def test_one_that_runs_and_does_not_answer_is_neither_ready_nor_alive() -> None:
    async with World().running("w") as world:
        world.pages.running.add("w.2")
        status, state = await world.state("/readyz")
        assert (status, state["problems"]) == (503, ["w.2: does not answer"])
        status, state = await world.state("/healthz")
        assert (status, state["status"], state["problems"]) == (503, "unavailable", ["w.2: does not answer"])


async def test_one_that_hangs_does_not_hold_up_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pages, "ANSWER_TIMEOUT_SECONDS", 0.2)
    heard = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await asyncio.Event().wait()

    world = World()
    async with await asyncio.start_server(hang, LOOPBACK, world.ports["w.2"]), world.running("w"):
        world.pages.running.add("w.2")
        while not heard.is_set():
            status, state = await world.state("/readyz")
            assert status == 503
            assert "w.2: does not answer" in state["problems"]


async def test_what_is_no_state_is_no_answer_that_counts() -> None:
    async with World().running("w", "w.2") as world:
        world.said["w", "/readyz"] = web.json_response([1], status=503)
        world.said["w.2", "/readyz"] = web.Response(text="<html>", status=500)
        status, state = await world.state("/readyz")
        assert (status, state["problems"]) == (503, ["w: does not answer", "w.2: does not answer"])


async def test_figures_of_all_have_their_workers_name_and_one_that_is_missing_is_down() -> None:
    async with World().running("w", "w.2") as world:
        status, text = await world.get("/metrics")
        assert status == 200
        assert 'tracker_x{process="w",partition="0"} 3.0\ntracker_x{process="w.2",partition="0"} 3.0\n' in text
        assert 'tracker_worker_up{process="w"} 1.0\ntracker_worker_up{process="w.2"} 1.0\n' in text
        world.pages.running.discard("w.2")
        _, text = await world.get("/metrics")
        assert 'tracker_worker_up{process="w"} 1.0\ntracker_worker_up{process="w.2"} 0.0\n' in text
        assert 'tracker_x{process="w.2"' not in text


async def test_a_question_about_a_session_goes_to_the_first_that_can_answer_with_its_id_as_it_is() -> None:
    async with World().running("w", "w.2") as world:
        asked = "/session/a%2Fb%20c?workspace=x%26y"
        status, state = await world.state(asked)
        assert (status, state["of"], world.asked) == (200, "w", [("w", asked)])

        world.said["w", "/session/s"] = web.json_response({"error": "recovering"}, status=503)
        status, state = await world.state("/session/s")
        assert (status, state["of"]) == (200, "w.2")

        world.said["w", "/session/gone"] = web.json_response({"error": "unknown"}, status=404)
        assert await world.state("/session/gone") == (404, {"error": "unknown"})


async def test_a_session_that_no_worker_knows_now_is_asked_for_again_later() -> None:
    async with World().running("w") as world:
        later = {"Retry-After": "7"}
        world.said["w", "/session/s"] = web.json_response({"error": "recovering"}, status=503, headers=later)
        world.ports.pop("w.2")
        url = f"http://{LOOPBACK}:{world.port}/session/s"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        world.pages.running.clear()
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert (await answer.json())["error"]["code"] == "recovering"


async def test_strangers_are_told_yes_or_no_and_nothing_else() -> None:
    async with World(TOKEN).running("w") as world:
        assert await world.get("/readyz", {}) == (503, '{"status": "unavailable"}')
        assert await world.get("/healthz", {}) == (200, '{"status": "ok"}')
        for path in ("/metrics", "/session/s"):
            assert (await world.get(path, {}))[0] == 401
        assert ("w", "/session/s") not in world.asked


async def test_an_open_address_without_the_secret_and_a_port_that_is_taken_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="TRACKER_INTERNAL_TOKEN"):
        async with World(host="0.0.0.0").running():
            pass
    async with World().running() as world, AsyncExitStack() as stack:
        with pytest.raises(ConfigurationError, match=f"{world.port}.*TRACKER_X_PORT"):
            await stack.enter_async_context(world.pages.serving())


async def test_workers_that_listen_on_every_address_are_asked_on_this_machine() -> None:
    async with World(TOKEN, host="0.0.0.0").running("w", "w.2") as world:
        assert (await world.state("/readyz"))[0] == 200
