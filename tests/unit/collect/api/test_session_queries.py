"""Questions about sessions: the collector shows the processor the shared secret, and says what is wrong without it."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tracker.collect.api.session_queries import SessionQueries, new_http_session
from tracker.collect.errors import RequestError
from tracker.local.ports import LOOPBACK, free_port
from tracker.observe.internal_token import InternalToken
from tracker.observe.pages import serving
from tracker.settings import Settings

SECRET = "s3cret-of-all-stages"
PORT = free_port()


@pytest.fixture
async def processor() -> AsyncIterator[None]:
    async def session(request: web.Request) -> web.Response:
        return web.json_response({"session_key": request.match_info["id"], "workspace_id": "w1"})

    async with serving(
        {},
        LOOPBACK,
        PORT,
        token=InternalToken(SECRET),
        port_setting="PORT",
        request_pages={"/session/{id}": session},
    ):
        yield


async def state(secret: str) -> bytes:
    settings = Settings(_env_file=None, process_url=f"http://{LOOPBACK}:{PORT}", internal_token=secret)
    async with new_http_session() as http:
        return await SessionQueries(settings, http).state("visitor/1", "w1")


async def test_a_collector_with_the_secret_is_answered(processor):
    assert b'"visitor/1"' in await state(SECRET)


@pytest.mark.parametrize("secret", ["", "another-secret-of-ours"])
async def test_a_collector_without_it_says_which_setting_differs(processor, secret):
    with pytest.raises(RequestError, match="TRACKER_INTERNAL_TOKEN") as caught:
        await state(secret)
    assert caught.value.code == "processor_unavailable"
