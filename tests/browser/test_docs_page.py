"""``/docs`` in a real browser: every operation is there, and what it says to type works."""

import asyncio
import re
import shlex
from pathlib import Path

import orjson
from playwright.async_api import expect

from tests.integration.collect.collector_process import running_collector
from tracker import clock
from tracker.collect.api.openapi.document import document
from tracker.demo.browser import find_chromium, open_browser
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

DOCUMENT = document(max_body_bytes=262_144, default_timeout_seconds=1_800)


async def test_the_docs_show_every_operation_and_their_commands_work(kafka_broker: LocalKafka, tmp_path: Path) -> None:
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"docs-{clock.new_id()}.",
        partitions=2,
        collect_port=free_port(),
        data_dir=tmp_path,
    )
    await create_topics(settings)
    async with (
        running_collector(settings, tmp_path / "collect.log") as collector,
        open_browser(find_chromium(settings.chromium_path)) as browser,
    ):
        page = await browser.new_page()
        elsewhere = []
        page.on("request", lambda request: request.url.startswith(collector.url) or elsewhere.append(request.url))
        broken = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        await page.goto(f"{collector.url}/docs")
        names = [
            one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values() if "operationId" in one
        ]
        await expect(page.locator("main section")).to_have_count(len(names))
        assert sorted(await page.locator("main section").evaluate_all("all => all.map(one => one.id)")) == sorted(names)
        assert await page.locator("#errors + p + table tbody tr").count() >= 15
        commands = await page.locator("#trackEvents pre").all_text_contents()
        assert len(commands) == 2
        for command in [*commands, await page.locator("#openSession pre").text_content()]:
            status, body = await run(command)
            assert (status, "session_id" in str(orjson.loads(body))) == (202, True), body
        assert await run(await page.locator("#trackByPixel pre").text_content()) == (200, None)
        assert elsewhere == []
        assert broken == []


async def run(command: str) -> tuple[int, bytes | None]:
    """Run a curl command as it stands on the page; the body only where it is JSON."""
    words = shlex.split(command.replace("\\\n", " "))
    process = await asyncio.create_subprocess_exec(
        *words, "--silent", "--max-time", "30", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    head, _, body = output.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1.1 (\d+)", head)
    assert status is not None, output
    return int(status[1]), body if b"application/json" in head else None
