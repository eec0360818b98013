"""One collector on a real Kafka and one browser of each kind for all tests; a browser context for each test.

A module that names its ``BROWSERS`` runs in each of them, the others in Chromium only.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright, expect

from tests.browser.firefox import write_starter
from tests.browser.gate import Gate, running_gate
from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tests.patience import PATIENCE_MS, PATIENCE_SECONDS
from topics.catalog import SOURCE
from tracker import clock
from tracker.demo.browser import ARGUMENTS, NAMES, find_chromium
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

expect.set_options(timeout=PATIENCE_MS)

Events = list[dict[str, Any]]

#: Chromium without the desktop's windows and services. Pages run as in the other one, for a third of the CPU time.
HEADLESS_SHELL: Final = "chromium-headless-shell"
READ_MS: Final = 50
VIEWPORT: Final = {"width": 1_000, "height": 700}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "browser" in metafunc.fixturenames:
        names = getattr(metafunc.module, "BROWSERS", ("chromium",))
        metafunc.parametrize("browser", names, indirect=True, scope="session", ids=names if len(names) > 1 else [""])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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
        visitor_cookie_name="tracker_visitor",
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=directory,
        schemas_dir=Path(__file__).parents[2] / "examples/schemas",
    )
    await create_topics(settings)
    async with running_collector(settings, directory / "collect.log") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(
    request: pytest.FixtureRequest, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    start = {"chromium": start_chromium, "firefox": start_firefox}[request.param]
    browser = await start(playwright, tmp_path_factory.mktemp(request.param))
    yield browser
    await browser.close()


async def start_chromium(playwright: Playwright, _: Path) -> Browser:
    configured = os.environ.get("TRACKER_CHROMIUM_PATH")
    executable = find_chromium(Path(configured) if configured else None, (HEADLESS_SHELL, *NAMES))
    return await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))


async def start_firefox(playwright: Playwright, directory: Path) -> Browser:
    try:
        starter = write_starter(directory, os.environ.get("TRACKER_TEST_FIREFOX_PATH"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return await playwright.firefox.launch(executable_path=starter, channel="moz-firefox")


@pytest_asyncio.fixture(loop_scope="session")
async def gate(collector: CollectorProcess) -> AsyncIterator[Gate]:
    """Each test has a port of its own: what the last test's page sends when it is closed comes late."""
    async with running_gate(collector.url) as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, gate: Gate) -> AsyncIterator[BrowserContext]:
    """A visitor's browser; each test is a visitor that has never been here."""
    context = await browser.new_context(base_url=gate.url, viewport=VIEWPORT)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()


class SourceLog:
    """The records of a source topic, read as they come; partition by partition in log order."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = [
            TopicPartition(SOURCE.name(settings.topic_prefix), number) for number in range(settings.partitions)
        ]
        self._reader = new_reader(settings, "browser-test")
        self._found: dict[TopicPartition, Events] = {partition: [] for partition in self._partitions}

    async def start(self) -> None:
        await self._reader.start()
        self._reader.assign(self._partitions)

    async def stop(self) -> None:
        await self._reader.stop()

    async def read(self) -> Events:
        for partition, records in (await self._reader.getmany(timeout_ms=READ_MS)).items():
            self._found[partition] += [orjson.loads(record.value) for record in records]
        return [record for partition in self._partitions for record in self._found[partition]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def source_log(collector: CollectorProcess) -> AsyncIterator[SourceLog]:
    log = SourceLog(collector.settings)
    await log.start()
    yield log
    await log.stop()


@pytest.fixture
def logged(source_log: SourceLog) -> Callable[[Callable[[Events], bool]], Coroutine[Any, Any, Events]]:
    """Read the source topic until what is asked for is there; the records, partition by partition in log order."""

    async def read_until(is_there: Callable[[Events], bool]) -> Events:
        found: Events = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found and is_there(found)):
                    found = await source_log.read()
        except TimeoutError:
            pytest.fail(f"it never came; last there was: {found[-10:]}")
        return found

    return read_until
