"""One collector on a real Kafka and one real Chromium for all tests of a module; a browser context for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.gate import WAIT_SECONDS, Gate, running_gate
from tests.integration.collect.collector_process import CollectorProcess, read_source, running_collector
from tracker import clock
from tracker.demo.browser import ARGUMENTS
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

Events = list[dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector(
    kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CollectorProcess]:
    directory = tmp_path_factory.mktemp("browser")
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"browser-{clock.new_id()}.",
        partitions=4,
        collect_port=free_port(),
        cookie_foreign_ids=True,  # sessions of a server have ids that it has chosen
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=directory,
    )
    await create_topics(settings)
    async with running_collector(settings, directory / "collect.log") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def gate(collector: CollectorProcess) -> AsyncIterator[Gate]:
    """Each test has a port of its own: what the last test's page sends when it is closed comes late."""
    async with running_gate(collector.url) as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser, gate: Gate) -> AsyncIterator[BrowserContext]:
    """A visitor's browser; each test is a visitor that has never been here."""
    context = await browser.new_context(base_url=gate.url, viewport={"width": 1_000, "height": 700})
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()


@pytest.fixture
def logged(collector: CollectorProcess) -> Callable[[Callable[[Events], bool]], Coroutine[Any, Any, Events]]:
    """Read the source topic until what is asked for is there; the records, partition by partition in log order."""

    async def read_until(is_there: Callable[[Events], bool]) -> Events:
        found: Events = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not (found and is_there(found)):
                    found = [orjson.loads(record.value) for record in await read_source(collector.settings)]
        except TimeoutError:
            pytest.fail(f"it never came; last there was: {found[-10:]}")
        return found

    return read_until
