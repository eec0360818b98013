"""Questions about a session are forwarded to the processor, and never wait without end."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.patience import PATIENCE_SECONDS

SESSION = "/api/v1/events/session"


@pytest.fixture
async def processor(collector):
    """Stands where the processor would: what it answers depends on the id."""
    asked = []
    hung = asyncio.Event()

    async def session(request: web.Request) -> web.Response:
        session_id = request.match_info["id"]
        asked.append(session_id)
        if session_id == "hangs":
            await hung.wait()
        if session_id == "recovering":
            return web.json_response({}, status=503, headers={"Retry-After": "9"})
        status = {"unknown": 404, "broken": 500}.get(session_id, 200)
        return web.json_response({"session_id": session_id, "event_sequence": 3}, status=status)

    app = web.Application()
    app.router.add_get("/session/{id}", session)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", URL(collector.settings.process_url).port).start()
    yield asked
    hung.set()
    await runner.cleanup()


async def ask(collector, raw_id: str):
    url = URL(f"{collector.url}{SESSION}/{raw_id}", encoded=True)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_the_owners_answer_is_passed_on(collector, processor):
    status, body, headers = await ask(collector, "s%C3%A9%2F1")
    assert (status, body) == (200, {"session_id": "sé/1", "event_sequence": 3})
    assert headers["Cache-Control"] == "no-store"
    assert processor == ["sé/1"]


async def test_an_unknown_session_is_404(collector, processor):
    status, body, _ = await ask(collector, "unknown")
    assert (status, body["error"]["code"]) == (404, "unknown_session")


async def test_an_owner_that_recovers_is_503_with_its_own_time_to_wait(collector, processor):
    status, body, headers = await ask(collector, "recovering")
    assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "processor_unavailable", "9")


async def test_a_broken_processor_is_503(collector, processor):
    status, _, headers = await ask(collector, "broken")
    assert status == 503
    assert int(headers["Retry-After"]) > 0


async def test_a_processor_that_hangs_is_503_within_the_limit(collector, processor):
    async with asyncio.timeout(PATIENCE_SECONDS):
        status, _, headers = await ask(collector, "hangs")
    assert status == 503
    assert int(headers["Retry-After"]) > 0
