"""Tinybird's answers about a pipe, and what becomes of each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tracker.collect.errors import RequestError
from tracker.collect.reports import pipes
from tracker.collect.reports.parameters import ReportQuery
from tracker.collect.reports.pipes import MAX_REPORTS_UNDER_WAY, ReportPipes, new_report_session
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

QUERY = ReportQuery("overview", {"goal": "sign up & pay"})
TOKEN = "reads-pipes-0123"


@asynccontextmanager
async def asked(answer: Callable[[web.Request], Awaitable[web.Response]], **given: str) -> AsyncIterator[ReportPipes]:
    """Reports from a Tinybird that answers like this."""
    application = web.Application()
    application.router.add_get("/v0/pipes/{name}.json", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    settings = Settings(_env_file=None, tinybird_url=f"http://{LOOPBACK}:{port}", tinybird_read_token=TOKEN, **given)
    async with new_report_session() as http:
        yield ReportPipes(settings, http)
    await runner.cleanup()


async def test_a_pipe_is_asked_with_the_read_token_the_workspace_and_who_is_ours():
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"data": [{"sessions": 3}]})

    async with asked(answer, reports_internal_users="boss,admin") as reports:
        assert await reports.rows(QUERY, "shop") == [{"sessions": 3}]
    (request,) = seen
    assert request.match_info["name"] == "overview"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert dict(request.query) == {
        "goal": "sign up & pay",
        "internal_networks": "",
        "internal_users": "boss,admin",
        "internal_environments": "",
        "workspace_id": "shop",
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid"), (403, "tinybird_unavailable"), (404, "tinybird_unavailable"), (500, "tinybird_unavailable")],
)
async def test_a_refusal_is_an_error_without_tinybirds_words(status: int, code: str):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="a secret of the workspace")

    async with asked(answer) as reports:
        with pytest.raises(RequestError) as refusal:
            await reports.rows(QUERY, "shop")
    assert refusal.value.code == code
    assert "secret" not in refusal.value.message


async def test_no_answer_and_too_long_an_answer_are_errors(monkeypatch: pytest.MonkeyPatch):
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"data": ["x" * 200]})

    monkeypatch.setattr(pipes, "MAX_REPORT_BYTES", 100)
    async with asked(answer) as reports:
        with pytest.raises(RequestError) as refusal:
            await reports.rows(QUERY, "shop")
        assert refusal.value.code == "tinybird_unavailable"
    async with new_report_session() as http:
        away = ReportPipes(Settings(_env_file=None, tinybird_url=f"http://{LOOPBACK}:{free_port()}"), http)
        with pytest.raises(RequestError) as refusal:
            await away.rows(QUERY, "shop")
        assert refusal.value.message == "Tinybird does not answer"


async def test_reports_at_once_are_limited_and_room_comes_back():
    go_on = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await go_on.wait()
        return web.json_response({"data": []})

    async with asked(answer) as reports:
        waiting = [asyncio.ensure_future(reports.rows(QUERY, "shop")) for _ in range(MAX_REPORTS_UNDER_WAY)]
        await asyncio.sleep(0)  # each has begun
        with pytest.raises(RequestError) as refusal:
            await reports.rows(QUERY, "shop")
        assert refusal.value.code == "overloaded"
        go_on.set()
        assert await asyncio.gather(*waiting) == [[]] * MAX_REPORTS_UNDER_WAY
        assert await reports.rows(QUERY, "shop") == []
