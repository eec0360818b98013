"""The demo page and ``/live`` while no processor runs, on a narrow window and in the dark."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tests.integration.collect.collector_process import CollectorProcess
from tests.output_rows import write_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

NARROW_PX = 390
SESSION = "01a21228-5da4-7000-837e-c96fad23c091"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
MIDDLE = 128
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
    await expect(demo.locator("#away")).to_contain_text("events wait in Kafka")
    await expect(live.locator("#problem")).to_contain_text("events wait in Kafka")


async def test_a_narrow_window_shows_an_id_as_a_whole(phone: BrowserContext, collector: CollectorProcess) -> None:
    await write_session(collector.settings, SESSION, "w1", 1)
    live = await phone.new_page()
    await live.goto("/live")
    cell = live.locator("#sessions td", has_text=SESSION[-12:])
    await expect(cell).to_be_visible()
    assert await cell.evaluate("(cell) => cell.scrollWidth - cell.clientWidth") == 0
    assert await live.evaluate(EXCESS_PX) == 0


@pytest.mark.parametrize("path", ["/demo", "/live"])
async def test_a_page_is_dark_for_who_wants_it_dark_and_light_for_the_others(phone: BrowserContext, path: str) -> None:
    page = await phone.new_page()
    await page.goto(path)
    dark = await page.evaluate(BACKGROUND)
    await page.emulate_media(color_scheme="light")
    light = await page.evaluate(BACKGROUND)
    assert brightness(dark) < MIDDLE < brightness(light)
    assert await page.evaluate(EXCESS_PX) == 0


def brightness(color: str) -> float:
    """The mean of red, green and blue, 0 to 255."""
    parts = [int(part) for part in re.findall(r"\d+", color)[:3]]
    return sum(parts) / len(parts)
