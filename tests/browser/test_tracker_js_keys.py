"""A page and a collector of different origins: what a write key lets through, and what the visitor has objected to."""

import base64
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from tests.browser.gate import Gate, running_gate
from tests.browser.visits import Events, contexts_of, settled, track, values
from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOP, ELSEWHERE, ANYWHERE, SLOW = (f"{name}-0123456789abcdef" for name in ("shop", "elsewhere", "anywhere", "slow"))
KEYS = """
[[write_keys]]
name = "shop"
key = "{shop}"
workspace_id = "shop"
origins = ["{origin}"]

[[write_keys]]
name = "elsewhere"
key = "{elsewhere}"
workspace_id = "elsewhere"
origins = ["https://elsewhere.example"]

[[write_keys]]
name = "anywhere"
key = "{anywhere}"
workspace_id = "anywhere"
origins = ["*"]

[[write_keys]]
name = "slow"
key = "{slow}"
workspace_id = "slow"
origins = ["{origin}"]
events_per_second = 0.5
"""
PIXEL_PAGE = "https://shop.example/pixel"
NOTE_TIMES = """
    window.times = [];
    document.addEventListener("tracker", ({ detail }) => times.push([detail.status ?? "sent", performance.now()]));
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_gate() -> AsyncIterator[Gate]:
    """Here it only serves pages, of another origin than the collector's."""
    async with running_gate("http://127.0.0.1:1") as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="session")
async def gate(module_gate: Gate) -> Gate:
    """One for all tests, because the keys name its origin."""
    module_gate.reset()
    return module_gate


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def collector(
    kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory, module_gate: Gate
) -> AsyncIterator[CollectorProcess]:
    directory = tmp_path_factory.mktemp("keys")
    keys_file = directory / "keys.toml"
    keys_file.write_text(
        KEYS.format(shop=SHOP, elsewhere=ELSEWHERE, anywhere=ANYWHERE, slow=SLOW, origin=module_gate.url)
    )
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"keys-{clock.new_id()}.",
        partitions=1,
        collect_port=free_port(),
        collect_metrics_port=free_port(),
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=directory,
        keys_file=keys_file,
        dnt_policy="drop",
        gpc_policy="anonymous",
    )
    await create_topics(settings)
    async with running_collector(settings, directory / "collect.log") as running:
        yield running


def place(collector: CollectorProcess, key: str, more: str = "") -> str:
    return f"/page/first?data-endpoint={collector.url}&data-key={key}{more}"


def of_workspace(records: Events, workspace_id: str) -> Events:
    return [record["data"] for record in records if record.get("workspace_id") == workspace_id]


async def test_a_page_of_an_allowed_origin_sends_without_being_asked_first_and_keeps_its_cookie(
    page, context, collector, logged
):
    await page.goto(place(collector, SHOP))
    await track(page, "allowed")
    await settled(page)
    records = await logged(lambda found: "allowed" in values(of_workspace(found, "shop")))
    [record] = [record for record in records if record["data"].get("event_value") == "allowed"]
    assert {cookie["value"] for cookie in await context.cookies()} == {record["session_id"]}
    assert await page.evaluate("tracker.sessionId") == record["session_id"]
    assert record["client_timestamp"]
    preflight = 'status="204"'
    assert preflight not in await collector.until_figures()


async def test_a_page_of_another_origin_is_refused_and_goes_on_undisturbed(page, collector, logged):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(place(collector, ELSEWHERE))
    await page.wait_for_function("shown.some(({ status }) => status === 403)")
    asked = await page.evaluate("shown.length")
    await page.click("#buy")
    await page.evaluate("tracker.flush()")
    assert await page.evaluate("shown.length") == asked
    assert errors == []
    await page.goto(place(collector, SHOP))
    await track(page, "after")
    records = await logged(lambda found: "after" in values(of_workspace(found, "shop")))
    assert of_workspace(records, "elsewhere") == []


async def test_a_key_for_any_origin_takes_events_and_loses_no_answer_to_the_cookies_it_must_not_have(
    page, collector, logged
):
    await page.goto(place(collector, ANYWHERE))
    await track(page, "any")
    await settled(page)
    records = await logged(lambda found: "any" in values(of_workspace(found, "anywhere")))
    session_id = await page.evaluate("tracker.sessionId")
    mine = [record for record in records if record.get("workspace_id") == "anywhere"]
    assert {record["session_id"] for record in mine} == {session_id}
    assert await page.evaluate("shown.filter(({ status }) => status === 0).length") == 0


async def test_a_workspace_that_is_not_the_keys_costs_neither_the_context_nor_an_event(page, collector, logged):
    await page.goto(place(collector, SHOP, "&data-workspace-id=other&data-campaign-id=spring"))
    await page.evaluate('tracker.identify("u-1")')
    await track(page, "kept")
    await settled(page)
    assert await page.evaluate("shown.some(({ status }) => status >= 400)")
    assert await page.evaluate("tracker.dropped") == 0
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "kept" in values(of_workspace(found, "shop")))
    assert contexts_of(records, session_id)[-1].items() >= {"campaign_id": "spring", "user_id": "u-1"}.items()


async def test_a_bad_event_costs_its_neighbours_nothing_and_is_warned_of(page, collector, logged):
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if "dropped" in message.text else None)
    await page.goto(place(collector, SHOP))
    await settled(page)
    await page.evaluate("""() => {
        tracker.track("click", { event_value: "before" });
        tracker.track("no such type", { event_value: "bad" });
        tracker.track("none either", { event_value: "worse" });
        tracker.track("click", { event_value: "behind" });
    }""")
    await page.wait_for_function("tracker.pending === 0")
    assert await page.evaluate("tracker.dropped") == 2
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "behind" in values(of_workspace(found, "shop")))
    assert values([record["data"] for record in records if record["session_id"] == session_id]) == ["before", "behind"]
    assert len(warnings) == 2


async def test_what_is_too_much_for_its_key_waits_as_long_as_the_collector_asks(page, collector, logged):
    await page.add_init_script(NOTE_TIMES)
    await page.goto(place(collector, SLOW))
    await settled(page)
    async with page.expect_response(lambda answer: answer.status == 429) as refused:
        await track(page, "a", "b", "c")
    retry_after_seconds = int((await refused.value).headers["retry-after"])
    await page.wait_for_function("tracker.pending === 0")
    times = await page.evaluate("times")
    refused_at = next(n for n, (what, _) in enumerate(times) if what == 429)
    # Longer than the first pause of its own would be; browsers round their clocks.
    assert retry_after_seconds > 1
    assert times[refused_at + 1][1] - times[refused_at][1] > 1_000 * retry_after_seconds - 10
    records = await logged(lambda found: "c" in values(of_workspace(found, "slow")))
    assert values(of_workspace(records, "slow")) == ["a", "b", "c"]


async def test_an_objection_is_dealt_with_by_the_collectors_policy(browser, gate, collector, logged):
    for header, value in (("DNT", "dropped"), ("Sec-GPC", "anonymous")):
        context = await browser.new_context(base_url=gate.url, extra_http_headers={header: "1"})
        page = await context.new_page()
        await page.goto(place(collector, SHOP, "&data-privacy-signals=collector&data-user-id=u1"))
        await track(page, value)
        await settled(page)
        assert await page.evaluate("tracker.dropped") == 0
        assert await context.cookies() == []
        await context.close()
    records = await logged(lambda found: "anonymous" in values(of_workspace(found, "shop")))
    told = of_workspace(records, "shop")
    assert "dropped" not in values(told)
    assert "u1" not in {event.get("user_id") for event in told}


async def test_a_page_without_scripts_is_seen_by_its_pixel(browser, gate, collector, logged):
    event = base64.urlsafe_b64encode(orjson.dumps({"event_type": "pageview", "page_url": PIXEL_PAGE})).decode()
    gate.noscript = f'<img src="{collector.url}/api/v1/events/pixel.gif?key={SHOP}&amp;d={event}" alt="">'
    context = await browser.new_context(base_url=gate.url, java_script_enabled=False)
    page = await context.new_page()
    async with page.expect_response("**/pixel.gif?*") as image:
        await page.goto("/page/noscript")
    assert (await image.value).status == 200
    records = await logged(lambda found: PIXEL_PAGE in {e.get("page_url") for e in of_workspace(found, "shop")})
    pages = [event.get("page_url") for event in of_workspace(records, "shop")]
    assert pages.count(PIXEL_PAGE) == 1
    assert f"{gate.url}/page/noscript" not in pages
    await context.close()
