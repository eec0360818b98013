"""tracker.js in a real browser, against a real collector on a real Kafka.

What the page says it sent is compared, event by event, with what stands in the source topic in log order.
"""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.async_api import Browser, Page, Route, async_playwright

from tests.integration.collect.collector_process import CollectorProcess, read_source, running_collector
from tracker import clock
from tracker.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]


@pytest.fixture
async def collector(kafka_broker: LocalKafka, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"browser-{clock.new_id()}.",
        partitions=4,
        collect_port=free_port(),
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=tmp_path,
    )
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        path = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, collector: CollectorProcess) -> Page:
    context = await browser.new_context(base_url=collector.url, viewport={"width": 1_000, "height": 700})
    return await context.new_page()


async def settled(page: Page, sent: int = 1) -> list[dict[str, Any]]:
    """Wait until the page has sent at least so much and waits for nothing; return what it says it sent."""
    await page.wait_for_function("n => window.tracker && tracker.sent.length >= n && tracker.pending === 0", arg=sent)
    return await page.evaluate("tracker.sent")


async def records(collector: CollectorProcess, count: int) -> list[dict[str, Any]]:
    """Read the topic until it holds so many records; beacons are answered to nobody."""
    while True:
        found = [orjson.loads(record.value) for record in await read_source(collector.settings)]
        if len(found) >= count:
            return found


async def scroll_to(page: Page, percent: int) -> None:
    """Scroll so that the window's lower edge is at this part of the page, and wait for the event."""
    await page.evaluate(
        """percent => new Promise(done => {
            addEventListener("scroll", () => done(), { once: true });
            const lower = document.documentElement.scrollHeight * percent / 100;
            scrollTo({ top: lower - innerHeight, behavior: "instant" });
        })""",
        percent,
    )


def steps(sent: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Each step as its type and what tells it from others of its type."""
    telling = ("event_value", "form_id", "clicked_element", "scroll_percentage")
    bodies = (entry["body"] for entry in sent)
    return [
        (body.get("event_type", "session"), next((body[name] for name in telling if name in body), None))
        for body in bodies
    ]


async def test_a_visit_arrives_event_by_event_in_its_order(page, collector):
    await page.goto("/demo")
    await settled(page, 2)
    await page.click("#sample")
    for percent in (30, 55, 80, 100):
        await scroll_to(page, percent)
    await page.fill("#email", "reader@example.com")
    await page.click("#signup-send")
    await page.click("#convert")
    before = await settled(page, 10)
    await page.click("#again")
    await page.wait_for_url("**/demo?page=2")
    sent = await settled(page, len(before) + 4)

    assert steps(before) == [
        ("session", None),
        ("pageview", None),
        ("click", 'button#sample.second "See a sample"'),
        ("scroll", 25),
        ("scroll", 50),
        ("scroll", 75),
        ("scroll", 100),
        ("click", 'button#signup-send "Send me a letter"'),
        ("form_submit", "signup"),
        ("click", 'button#convert.sun "Subscribe for 24 a year"'),
        ("conversion", "24.00"),
    ]
    assert steps(sent[len(before) :]) == [
        ("click", 'a#again "Open the page again"'),
        ("scroll", "page_leave"),
        ("session", None),
        ("pageview", None),
    ]
    found = await records(collector, len(sent))
    assert [record["data"] for record in found] == [without_time(entry["body"]) for entry in sent]
    assert len({record["session_id"] for record in found}) == 1
    assert "reader@example.com" not in str(found)


def without_time(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "timestamp"}


async def test_a_pageview_knows_the_page_and_its_load_times(page, collector):
    await page.goto("/demo")
    [session, view] = await settled(page, 2)
    assert session["body"]["workspace_id"] == "demo-workspace"
    body = view["body"]
    assert (body["viewport_width"], body["viewport_height"]) == (1_000, 700)
    assert 0 < body["dom_ready_time"] <= body["page_load_time"]
    assert body["page_url"] == f"{collector.url}/demo"
    await page.goto("/demo?page=2", referer=f"{collector.url}/demo")
    assert (await settled(page, 5))[-1]["body"]["referrer_url"] == f"{collector.url}/demo"


async def test_the_last_event_of_a_page_carries_depth_and_time(page, collector):
    await page.goto("/demo")
    await settled(page, 2)
    await scroll_to(page, 60)
    await page.close(run_before_unload=True)
    found = await records(collector, 5)
    last = found[-1]["data"]
    assert (last["event_type"], last["event_value"]) == ("scroll", "page_leave")
    assert 59 <= last["scroll_percentage"] <= 61
    assert last["time_on_page"] > 0


@pytest.mark.parametrize("turn", range(3))
async def test_what_waits_when_the_page_is_left_arrives_in_order(page, collector, turn):
    await page.goto("/demo")
    await settled(page, 2)
    await page.evaluate(
        """() => {
            for (let n = 0; n < 12; n += 1) tracker.track("click", { event_value: `n${n}` });
            location.href = "/demo?page=2";
        }"""
    )
    await page.wait_for_url("**/demo?page=2")
    sent = await settled(page, 17)
    assert "beacon" in {entry["via"] for entry in sent}
    found = await records(collector, len(sent))
    values = [record["data"].get("event_value") for record in found]
    assert [value for value in values if value] == [*(f"n{n}" for n in range(12)), "page_leave"]
    assert len({record["session_id"] for record in found}) == 1


async def test_an_event_that_is_not_accepted_goes_again_before_the_next(page, collector):
    refused: list[str] = []

    async def refuse_first(route: Route) -> None:
        body = orjson.loads(route.request.post_data_buffer or b"{}")
        if body.get("event_value") == "first" and not refused:
            refused.append(body["event_id"])
            await route.fulfill(status=503, headers={"Retry-After": "0"}, body="{}")
        else:
            await route.continue_()

    await page.route("**/api/v1/events/track", refuse_first)
    await page.goto("/demo")
    await settled(page, 2)
    await page.evaluate('["first", "second"].forEach(v => tracker.track("click", { event_value: v }))')
    sent = await settled(page, 4)
    assert [entry["body"]["event_value"] for entry in sent[2:]] == ["first", "second"]
    found = await records(collector, 4)
    assert [record["data"].get("event_value") for record in found[2:]] == ["first", "second"]
    assert found[2]["data"]["event_id"] == refused[0]


async def test_the_page_lives_on_without_a_collector(page, collector):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto("/demo")
    await settled(page, 2)
    collector.terminate()
    await collector.exit_code()
    await page.click("#sample")
    assert await page.inner_text("#sample-text")
    await page.wait_for_function("tracker.pending === 1")
    assert errors == []
