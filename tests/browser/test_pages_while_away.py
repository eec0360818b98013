"""The demo page and ``/live`` while no processor runs, on a narrow window and in the dark."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tests.integration.collect.collector_process import CollectorProcess
from tests.output_rows import write_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_MS = 40_000
NARROW_PX = 390
SESSION = "01a21228-5da4-7000-837e-c96fad23c091"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
EXCESS_PX = "document.documentElement.scrollWidth - innerWidth"


@pytest_asyncio.fixture(loop_scope="session")
async def phone(browser: Browser, collector: CollectorProcess) -> AsyncIterator[BrowserContext]:
    size = {"width": NARROW_PX, "height": 844}
    context = await browser.new_context(base_url=collector.url, viewport=size, color_scheme="dark")
    yield context
    await context.close()


async def test_both_pages_say_that_events_wait_for_the_processor(phone: BrowserContext) -> None:
    demo, live = await phone.new_page(), await phone.new_page()
    await demo.goto("/demo")
    await live.goto("/live")
    await expect(demo.locator("#away")).to_contain_text("events wait in Kafka", timeout=WAIT_MS)
    await expect(live.locator("#problem")).to_contain_text("events wait in Kafka", timeout=WAIT_MS)


async def test_a_narrow_window_shows_an_id_as_a_whole(phone: BrowserContext, collector: CollectorProcess) -> None:
    await write_session(collector.settings, SESSION, "w1", 1)
    live = await phone.new_page()
    await live.goto("/live")
    cell = live.locator("#sessions td", has_text=SESSION[-12:])
    await expect(cell).to_be_visible(timeout=WAIT_MS)
    assert await cell.evaluate("(cell) => cell.scrollWidth - cell.clientWidth") == 0
    assert await live.evaluate(EXCESS_PX) == 0


async def test_the_demo_page_is_dark_for_who_wants_it_dark(phone: BrowserContext) -> None:
    demo = await phone.new_page()
    await demo.goto("/demo")
    dark = await demo.evaluate(BACKGROUND)
    await demo.emulate_media(color_scheme="light")
    assert await demo.evaluate(BACKGROUND) != dark
    assert await demo.evaluate(EXCESS_PX) == 0
