"""Which session an event belongs to: the cookie's, one for all tabs, a new one after silence, none without consent."""

import asyncio

import pytest

from tests.browser.visits import of_session, settled, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTEXT = "data-workspace-id=w1"
#: As if the visitor had been silent for an hour.
SILENT = """() => {
    const session = JSON.parse(localStorage.getItem("tracker..session"));
    localStorage.setItem("tracker..session", JSON.stringify({ ...session, at: session.at - 3600000 }));
}"""


async def test_two_tabs_share_one_session_and_nothing_is_lost_or_doubled(context, gate, logged):
    tabs = [await context.new_page(), await context.new_page()]
    for n, tab in enumerate(tabs):
        await tab.goto(f"/page/{n}?{CONTEXT}")
        await settled(tab)
    for n in range(10):
        await asyncio.gather(*(track(tab, f"{name}{n}") for name, tab in zip("ab", tabs, strict=True)))
    # Either may send for both.
    await asyncio.gather(*(tab.wait_for_function("tracker.pending === 0") for tab in tabs))
    [session_id] = {await tab.evaluate("tracker.sessionId") for tab in tabs}
    await asyncio.gather(*(tab.close(run_before_unload=True) for tab in tabs))
    records = await logged(lambda found: len(of_session(found, session_id)) >= 24)
    told = values(of_session(records, session_id))
    assert [value for value in told if value[0] == "a"] == [f"a{n}" for n in range(10)]
    assert [value for value in told if value[0] == "b"] == [f"b{n}" for n in range(10)]
    assert len(of_session(records, session_id)) == 24


async def test_a_tab_that_opens_before_the_first_answer_shares_the_session_and_overtakes_nothing(context, gate, logged):
    first, second = await context.new_page(), await context.new_page()
    gate.passing.clear()
    await first.goto("/page/first")
    await gate.until(lambda gate: len(gate.requests) == 1)
    await second.goto("/page/second")
    await track(second, "b")
    await gate.until(lambda gate: len(gate.requests) == 2)
    gate.passing.set()
    await asyncio.gather(settled(first), second.wait_for_function("tracker.pending === 0"))
    session_id = await first.evaluate("tracker.sessionId")
    assert await second.evaluate("tracker.sessionId") == session_id
    records = await logged(lambda found: "b" in values(of_session(found, session_id)))
    pages = [event["page_url"].removeprefix(gate.url) for event in of_session(records, session_id)]
    assert pages == ["/page/first", "/page/second", "/page/second"]


async def test_what_a_closed_tab_left_is_sent_by_the_tab_that_stays(context, gate):
    first, second = await context.new_page(), await context.new_page()
    for page in (first, second):
        await page.goto("/page/first")
        await settled(page)
    await context.set_offline(True)
    await track(first, "a")
    await first.wait_for_function("shown.some(({ status }) => status === 0)")
    async with first.expect_event("close"):
        await first.close(run_before_unload=True)  # returns before the page has gone
    await context.set_offline(False)
    await track(second, "b")
    await second.wait_for_function("tracker.pending === 0")
    assert values(gate.events) == ["a", "page_leave", "b"]


async def test_a_session_that_the_server_opened_goes_on(page, context, gate, logged):
    await context.add_cookies(
        [{"name": "tracker_session", "value": "opened-upstream", "url": gate.url, "httpOnly": True}]
    )
    await page.goto(f"/page/first?{CONTEXT}")
    await track(page, "a")
    await settled(page)
    assert await page.evaluate("tracker.sessionId") == "opened-upstream"
    records = await logged(lambda found: len(of_session(found, "opened-upstream")) >= 2)
    contexts = [r["data"] for r in records if r["session_id"] == "opened-upstream" and r["type"] == "session"]
    assert {"workspace_id": "w1"} in contexts
    assert all(context == {"workspace_id": "w1"} for context in contexts)


async def test_a_session_that_the_server_opens_later_is_told_the_context(page, context, gate, logged):
    await page.goto(f"/page/first?{CONTEXT}")
    await settled(page)
    await context.clear_cookies()
    await context.add_cookies([{"name": "tracker_session", "value": "opened-later", "url": gate.url, "httpOnly": True}])
    await track(page, "a")
    await page.wait_for_function("tracker.sessionId === 'opened-later' && tracker.pending === 0")
    records = await logged(
        lambda found: [r for r in found if r["session_id"] == "opened-later" and r["type"] == "session"]
    )
    assert values(of_session(records, "opened-later")) == ["a"]


async def test_blocked_cookies_still_make_one_session_of_a_visit(page, context, gate, logged):
    gate.is_cookieless = True
    await page.goto(f"/page/first?{CONTEXT}")
    await track(page, "a")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    await page.goto("/page/second")
    await track(page, "b")
    await settled(page)
    records = await logged(lambda found: len(of_session(found, session_id)) >= 5)
    assert values(of_session(records, session_id)) == ["a", "page_leave", "b"]


async def test_after_silence_a_new_session_begins_and_knows_its_context(page, context, gate, logged):
    await page.goto(f"/page/first?{CONTEXT}")
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    await context.clear_cookies()
    await page.evaluate(SILENT)
    await track(page, "back")
    await page.wait_for_function("tracker.pending === 0")
    after = await page.evaluate("tracker.sessionId")
    assert after != before
    records = await logged(lambda found: len(of_session(found, after)) >= 1)
    assert values(of_session(records, after)) == ["back"]
    assert [r["data"] for r in records if r["session_id"] == after and r["type"] == "session"] == [
        {"workspace_id": "w1"}
    ]


async def test_an_idle_tab_that_is_closed_opens_no_session(page, context, gate, logged):
    await page.goto(f"/page/first?{CONTEXT}")
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    await context.clear_cookies()
    await page.evaluate(SILENT)
    await page.goto("about:blank")
    records = await logged(lambda found: "page_leave" in values(of_session(found, before)))
    here = [record for record in records if record["data"].get("page_url", "").startswith(gate.url)]
    [leave] = [record for record in here if record["data"].get("event_value") == "page_leave"]
    assert (leave["session_id"], leave["passive"]) == (before, True)


async def test_what_an_earlier_session_left_behind_stays_its_own(page, context, gate, logged):
    await page.goto("/page/first")
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    gate.status, gate.retry_after = 503, "2"
    await track(page, "yesterday")
    await page.wait_for_function("shown.some(({ status }) => status === 503)")
    await page.evaluate(SILENT)
    await context.clear_cookies()
    gate.reset()
    await page.goto("/page/second")
    await settled(page)
    after = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: of_session(found, after) and "yesterday" in values(of_session(found, before)))
    assert "yesterday" not in values(of_session(records, after))
