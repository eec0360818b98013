"""``/live`` beside the demo page, on the whole stack: what is clicked there appears here, with its number."""

from pathlib import Path

from playwright.async_api import expect
from rich.console import Console

from tracker.demo.browser import find_chromium, open_browser
from tracker.demo.check import isolated
from tracker.demo.logs import LogFiles
from tracker.settings import Settings
from tracker.stack import running_stack

WAIT_MS = 40_000
expect.set_options(timeout=WAIT_MS)


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
        await demo.wait_for_function("window.tracker && tracker.pending === 0 && tracker.sessionId")
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
