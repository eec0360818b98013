"""``/live`` behind read keys: each sees its own workspace, whoever else watches."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tests.integration.collect.test_collect_access import READ, WRITE, keys_file, with_changes
from tests.output_rows import write_session
from tests.patience import PATIENCE_SECONDS
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

EVENTS = {"w1": 3, "w2": 5, "w3": 1}


@pytest.fixture
async def guarded(collect_settings: Settings, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    path = tmp_path / "keys.json"
    path.write_bytes(keys_file())
    settings = with_changes(collect_settings, keys_file=path)
    await create_topics(settings)
    for workspace, events in EVENTS.items():
        await write_session(settings, f"{workspace}-session", workspace, events)
    async with running_collector(settings, tmp_path / "collect.log") as running:
        yield running


async def ask(collector: CollectorProcess, key: str | None, session: str = "") -> tuple[int, dict[str, Any], str]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with collector.http.get("/live/data", params={"session": session}, headers=headers) as answer:
        return answer.status, await answer.json(), await answer.text()


async def until_seen(collector: CollectorProcess, workspace: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            _, shown, _ = await ask(collector, READ[workspace])
            if any(session["events"] == EVENTS[workspace] for session in shown["sessions"]):
                return
            await asyncio.sleep(0.1)


async def test_each_key_sees_its_own_workspace_and_nothing_of_any_other(guarded: CollectorProcess):
    for workspace in EVENTS:
        await until_seen(guarded, workspace)  # the others are watched meanwhile
    for workspace, events in EVENTS.items():
        for asked in EVENTS:
            status, shown, text = await ask(guarded, READ[workspace], f"{asked}-session")
            assert status == 200
            assert [session["session_id"] for session in shown["sessions"]] == [f"{workspace}-session"]
            assert shown["open_sessions"] == 1
            assert sum(shown["traffic"]) <= events
            timeline = [] if shown["session"] is None else shown["session"]["timeline"]
            assert [event["n"] for event in timeline] == (list(range(1, events + 1)) if asked == workspace else [])
            assert not [other for other in EVENTS if other != workspace and f"{other}-session" in text]
            assert set(shown["groups"]) == {"process", "sink"}


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong-key-0123456789", 401), (WRITE["w1"], 403)])
async def test_without_a_read_key_there_is_nothing_to_see_on_the_machine_itself_either(guarded, key, status):
    got, answer, _ = await ask(guarded, key)
    assert got == status
    assert set(answer) == {"error"}


async def test_a_read_key_in_the_address_is_no_key(guarded: CollectorProcess):
    async with guarded.http.get("/live/data", params={"key": READ["w1"]}) as answer:
        assert answer.status == 401
