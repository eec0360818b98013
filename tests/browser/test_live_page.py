"""``/live`` beside the demo page, on the whole stack: what is clicked there appears here, with its number."""

from pathlib import Path

import pytest
from playwright.async_api import expect
from rich.console import Console

from tests.integration.collect.collector_process import running_collector
from tests.integration.collect.test_collect_access import READ, keys_file
from tests.output_rows import write_session
from tracker import clock
from tracker.demo.browser import find_chromium, open_browser, until
from tracker.demo.check import isolated
from tracker.demo.logs import LogFiles
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.local.stack import running_stack
from tracker.settings import Settings


async def test_a_sessions_timeline_grows_as_somebody_clicks(tmp_path: Path) -> None:
    settings = isolated(Settings(), tmp_path)
    logs = LogFiles(settings.data_dir / "logs", Console())
    origin = f"http://localhost:{settings.collect_port}"
    async with (
        running_stack(settings, write_line=logs.write_line, say=lambda _: None),
        open_browser(find_chromium(settings.chromium_path)) as browser,
    ):
        context = await browser.new_context(viewport={"width": 1_400, "height": 900})
        live, demo = await context.new_page(), await context.new_page()
        await live.goto(f"{origin}/live")
        await demo.goto(f"{origin}/demo")
        await until(demo, "window.tracker && tracker.pending === 0 && tracker.sessionId")
        await expect(live.locator("#session")).to_have_text(await demo.evaluate("tracker.sessionId"))
        await expect(live.locator("#timeline li").first).to_have_attribute("data-number", "1")

        await demo.click("#sample")
        newest = live.locator("#timeline li").first
        await expect(newest).to_have_attribute("data-number", "2")
        await expect(newest).to_contain_text("click")
        await demo.click("#convert")
        # What is clicked is scrolled to first, so there are other events between.
        await expect(live.locator("#timeline li", has_text="conversion")).to_have_count(1)
        numbers = await live.locator("#timeline li b").all_inner_texts()
        assert numbers == [f"#{number}" for number in range(len(numbers), 0, -1)]
        # The same numbers stand on the demo page itself.
        await expect(demo.locator("#timeline li", has_text="conversion")).to_have_count(1)

        await expect(live.locator("#open")).to_have_text("1")
        await expect(live.locator("#sink-lag")).to_have_text("0")
        await expect(live.locator("#sink-health")).to_have_text("ok")
        await expect(live.locator("#process-health")).to_have_text("ok")
        assert await live.inner_text("#problem") == ""
    logs.close()


@pytest.fixture
async def guarded_settings(kafka_broker: LocalKafka, tmp_path: Path) -> Settings:
    keys = tmp_path / "keys.json"
    keys.write_bytes(keys_file())
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"live-{clock.new_id()}.",
        partitions=1,
        collect_port=free_port(),
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=tmp_path,
        keys_file=keys,
    )
    await create_topics(settings)
    return settings


async def test_where_there_are_keys_the_page_asks_for_one_and_keeps_it_in_the_tab(guarded_settings, tmp_path) -> None:
    for workspace in ("w1", "w2"):
        await write_session(guarded_settings, f"{workspace}-session", workspace, 2)
    async with (
        running_collector(guarded_settings, tmp_path / "collect.log") as collector,
        open_browser(find_chromium(None)) as browser,
    ):
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{collector.url}/live")
        await expect(page.locator("#key-form")).to_be_visible()
        await expect(page.locator("main")).to_be_hidden()
        await page.fill("#key", "wrong-key-0123456789")
        await page.click("#key-form button")
        await expect(page.locator("#problem")).to_contain_text("not a read key")
        await page.fill("#key", READ["w1"])
        await page.click("#key-form button")
        await expect(page.locator("#sessions tr")).to_have_count(1)
        await expect(page.locator("#session")).to_have_text("w1-session")
        await expect(page.locator("#key-form")).to_be_hidden()
        assert READ["w1"] not in page.url
        await page.reload()
        await expect(page.locator("#session")).to_have_text("w1-session")
    assert READ["w1"] not in (tmp_path / "collect.log").read_text()
