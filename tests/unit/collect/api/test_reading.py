"""What a read key sees over the API: the sessions and the reports of its own workspace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.unit.collect.api.collector import (
    SERVICE,
    SESSION,
    RunningCollector,
    code_of,
    header,
    running_collector,
    write_keys,
)
from tracker.local.ports import LOOPBACK, free_port

READ = {"Authorization": "Bearer read-key-of-w1-0123"}
WRITE = {"Authorization": f"Bearer {SERVICE['key']}"}
TOKEN = "reads-pipes-0123"
HERE = {"peer": LOOPBACK, "Host": "localhost"}


class Asked:
    """A processor and a Tinybird that answer every question, and the questions."""

    def __init__(self) -> None:
        self.questions: list[web.Request] = []
        self.answer: Any = None

    async def take(self, request: web.Request) -> web.Response:
        self.questions.append(request)
        if isinstance(self.answer, web.Response):
            return self.answer
        named = request.query.get("workspace", "w1")
        return web.json_response({"workspace_id": named, "data": [{"sessions": 3}]})


@asynccontextmanager
async def reading(directory: Path, *, has_keys: bool = True) -> AsyncIterator[tuple[RunningCollector, Asked]]:
    """A collector whose questions are answered."""
    asked, port = Asked(), free_port()
    application = web.Application()
    application.router.add_get("/{path:.*}", asked.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    url = f"http://{LOOPBACK}:{port}"
    more = {"tinybird_read_token": TOKEN}
    if has_keys:
        read = {"name": "reader", "key": "read-key-of-w1-0123"}
        more["keys_file"] = str(write_keys(directory, write_keys=[SERVICE], read_keys=[read]))
    async with running_collector(directory, process_url=url, tinybird_url=url, **more) as running:
        yield running, asked
    await runner.cleanup()


async def test_a_read_key_sees_the_session_of_its_own_workspace(tmp_path):
    async with reading(tmp_path) as (running, asked):
        response = await running.ask("GET", f"{SESSION}/a%2Fb", **READ)
    assert (response.status, orjson.loads(response.body)["workspace_id"]) == (200, "w1")
    assert header(response, "Cache-Control") == "no-store"
    [question] = asked.questions
    assert (question.raw_path, question.query["workspace"]) == ("/session/a%2Fb?workspace=w1", "w1")


async def test_another_workspaces_session_is_answered_as_one_that_is_not_there(tmp_path):
    async with reading(tmp_path) as (running, asked):
        asked.answer = web.json_response({"workspace_id": "w2", "secret": 1})
        response = await running.ask("GET", f"{SESSION}/s1", **READ)
    assert (response.status, code_of(response)) == (404, "unknown_session")
    assert b"secret" not in response.body


async def test_without_keys_the_session_of_the_first_workspace_is_shown(tmp_path):
    async with reading(tmp_path, has_keys=False) as (running, asked):
        response = await running.ask("GET", f"{SESSION}/s1")
    assert response.status == 200
    assert asked.questions[0].raw_path == "/session/s1"


async def test_an_owner_that_can_not_answer_now_says_when_to_come_back(tmp_path):
    async with reading(tmp_path) as (running, asked):
        answers = []
        for retry_after in ("7", "soon"):
            asked.answer = web.Response(status=503, headers={"Retry-After": retry_after})
            answers.append(await running.ask("GET", f"{SESSION}/s1", **READ))
        asked.answer = web.Response(status=302, headers={"Location": "/elsewhere"})
        redirected = await running.ask("GET", f"{SESSION}/s1", **READ)
    assert [(each.status, code_of(each), header(each, "Retry-After")) for each in answers] == [
        (503, "processor_unavailable", "7"),
        (503, "processor_unavailable", "2"),
    ]
    assert redirected.status == 503
    assert len(asked.questions) == 3, "a redirect is not followed: the secret would go along"


@pytest.mark.parametrize("address", [f"{SESSION}/s1", "/reports/data?report=overview", "/live/data"])
@pytest.mark.parametrize(("key", "status"), [({}, 401), (WRITE, 403), ({"Authorization": "Bearer unknown"}, 401)])
async def test_without_a_read_key_nothing_is_shown(tmp_path, address, key, status):
    async with reading(tmp_path) as (running, asked):
        response = await running.ask("GET", address, **key, **HERE)
    assert response.status == status
    assert asked.questions == []


async def test_a_report_is_about_the_workspace_of_the_read_key(tmp_path):
    async with reading(tmp_path) as (running, asked):
        unnamed = await running.ask("GET", "/reports/data?report=overview", **READ)
        named = await running.ask("GET", "/reports/data?report=overview&workspace_id=w1", **READ)
        others = await running.ask("GET", "/reports/data?report=overview&workspace_id=w2", **READ)
    assert orjson.loads(unnamed.body) == {"workspace_id": "w1", "rows": [{"sessions": 3}]}
    assert header(unnamed, "Cache-Control") == "no-store"
    assert named.body == unnamed.body
    assert (others.status, code_of(others)) == (403, "forbidden")
    assert [question.query["workspace_id"] for question in asked.questions] == ["w1", "w1"]


async def test_without_keys_reports_are_shown_on_this_machine_only_and_for_the_workspace_that_is_named(tmp_path):
    async with reading(tmp_path, has_keys=False) as (running, asked):
        named = await running.ask("GET", "/reports/data?report=overview&workspace_id=w2", **HERE)
        unnamed = await running.ask("GET", "/reports/data?report=overview", **HERE)
        elsewhere = await running.ask("GET", "/reports/data?report=overview&workspace_id=w2")
    assert orjson.loads(named.body)["workspace_id"] == "w2"
    assert (unnamed.status, code_of(unnamed)) == (400, "invalid")
    assert (elsewhere.status, code_of(elsewhere)) == (403, "forbidden")
    assert len(asked.questions) == 1


async def test_the_live_page_of_a_read_key_begins_empty_and_is_not_kept(tmp_path):
    async with reading(tmp_path) as (running, _):
        response = await running.ask("GET", "/live/data", **READ)
    assert (response.status, header(response, "Cache-Control")) == (200, "no-store")
    assert orjson.loads(response.body)["problem"] == "connecting"
