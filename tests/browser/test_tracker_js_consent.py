"""What is kept and sent before a visitor has been asked, after each answer, and in the tabs next to it."""

import json

import pytest

from tests.browser.visits import contexts_of, of_session, settled, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROWSERS = ("chromium", "firefox")

CONTEXT = "data-workspace-id=w1"
STORED = "Object.keys(localStorage).filter(name => name.startsWith('tracker'))"
ANSWER = "localStorage.getItem('tracker..consent')"


async def test_before_an_answer_nothing_is_stored_or_sent_and_afterwards_everything(page, context, gate, logged):
    await page.goto(f"/page/first?data-consent=pending&{CONTEXT}")
    await page.click("#buy")
    await track(page, "a")
    await page.evaluate("tracker.flush()")
    assert (await page.evaluate("tracker.pending"), gate.requests) == (3, [])
    assert (await page.evaluate(STORED), await context.cookies()) == ([], [])
    await page.evaluate('tracker.consent("granted")')
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: len(of_session(found, session_id)) >= 3)
    assert [event["event_type"] for event in of_session(records, session_id)] == ["pageview", "click", "click"]
    assert {event["workspace_id"] for event in of_session(records, session_id)} == {"w1"}


async def test_an_answer_is_kept_for_the_browser_and_told_to_the_session(page, logged):
    await page.goto(f"/page/first?data-consent=pending&{CONTEXT}")
    await page.evaluate("tracker.consent({ analytics: true, marketing: false })")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    told = {"workspace_id": "w1", "consent_analytics": "granted", "consent_marketing": "denied"}
    records = await logged(lambda found: contexts_of(found, session_id))
    assert contexts_of(records, session_id) == [told]
    await page.goto("/page/second?data-consent=pending")
    await track(page, "later")
    await settled(page)
    await logged(lambda found: "later" in values(of_session(found, session_id)))


async def test_a_visitor_who_agrees_is_known_again_in_the_next_session(page, context, logged):
    await page.goto(f"/page/first?data-consent=pending&{CONTEXT}")
    await page.evaluate('tracker.consent("granted")')
    await settled(page)
    sessions = [await page.evaluate("tracker.sessionId")]
    await page.evaluate("tracker.reset()")
    await track(page, "later")
    await settled(page)
    sessions.append(await page.evaluate("tracker.sessionId"))
    records = await logged(  # the two may be in different partitions
        lambda found: contexts_of(found, sessions[0]) and "later" in values(of_session(found, sessions[1]))
    )
    cookies = {cookie["name"]: cookie for cookie in await context.cookies()}
    visitor = cookies["tracker_visitor"]
    first, second = ([r.get("visitor_id") for r in records if r["session_id"] == session] for session in sessions)
    assert visitor["value"] in first
    assert set(second) == {visitor["value"]}
    assert visitor["httpOnly"]


async def test_a_visitor_who_takes_consent_back_is_known_no_more_and_the_session_says_so(page, context, gate, logged):
    await page.goto(f"/page/first?data-consent=pending&{CONTEXT}")
    await page.evaluate('tracker.consent("granted")')
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    assert "tracker_visitor" in {cookie["name"] for cookie in await context.cookies()}
    async with page.expect_response(lambda answer: "/session" in answer.url):
        await page.evaluate('tracker.consent("denied")')
    assert "tracker_visitor" not in {cookie["name"] for cookie in await context.cookies()}
    records = await logged(lambda found: any("denied" in each.values() for each in contexts_of(found, session_id)))
    (last,) = [r for r in records if r["session_id"] == session_id and r["data"].get("consent_analytics") == "denied"]
    assert "visitor_id" not in last
    asked = len(gate.requests)
    await page.evaluate('tracker.consent("denied")')
    await track(page, "after")
    await page.goto("/page/second")
    await page.evaluate("tracker.flush()")
    assert len(gate.requests) == asked


@pytest.mark.parametrize("told", ["data-consent=pending", "data-consent=denied"])
async def test_a_no_that_takes_nothing_back_sends_nothing(page, gate, told):
    await page.goto(f"/page/first?{told}")
    await page.evaluate('tracker.consent("denied")')
    await page.evaluate("tracker.flush()")
    assert gate.requests == []


async def test_of_all_tabs_the_one_that_was_answered_says_so(page, context, gate):
    await page.goto("/page/first")
    await settled(page)
    other = await context.new_page()
    await other.goto("/page/second")
    await settled(other)
    asked = len(gate.requests)
    await other.evaluate("tracker.consent('denied')")
    await page.wait_for_function("!tracker.track('click', { event_value: 'after the answer' })")
    await gate.until(lambda gate: len(gate.requests) > asked)
    assert [request["body"].get("consent_analytics") for request in gate.requests[asked:]] == ["denied"]


async def test_an_answer_may_change_one_purpose_and_leave_the_other(page, logged):
    await page.goto(f"/page/first?data-consent=pending&{CONTEXT}")
    await page.evaluate("tracker.consent({ marketing: true })")
    assert await page.evaluate(STORED) == []
    await page.evaluate("tracker.consent({ analytics: 'granted' })")
    await page.evaluate("tracker.consent({ marketing: false, nonsense: true })")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(
        lambda found: any("denied" in context.values() for context in contexts_of(found, session_id))
    )
    last = contexts_of(records, session_id)[-1]
    assert (last["consent_analytics"], last["consent_marketing"]) == ("granted", "denied")


async def test_without_an_answer_a_session_says_none(page, logged):
    await page.goto(f"/page/first?{CONTEXT}")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: contexts_of(found, session_id))
    assert contexts_of(records, session_id) == [{"workspace_id": "w1"}]


async def test_a_refusal_removes_what_was_stored_and_holds_for_later_pages(page, gate):
    gate.status, gate.retry_after = 503, "60"
    await page.goto("/page/first")
    await page.evaluate("tracker.identify('u1')")
    await track(page, "a")
    await page.wait_for_function("shown.length >= 2")
    assert len(await page.evaluate(STORED)) > 2
    await page.evaluate("tracker.consent({ analytics: false, marketing: false })")
    await track(page, "b")
    assert (await page.evaluate(STORED), await page.evaluate("tracker.pending")) == (["tracker..consent"], 0)
    await gate.until(lambda gate: gate.requests[-1]["body"].get("consent_analytics") == "denied")
    gate.reset()
    await page.goto("/page/second")
    await page.click("#buy")
    await page.evaluate("tracker.flush()")
    assert (await page.evaluate(STORED), gate.requests) == (["tracker..consent"], [])


async def test_an_answer_in_one_tab_holds_in_the_others(page, context, gate):
    await page.goto("/page/first")
    await settled(page)
    other = await context.new_page()
    await other.goto("/page/second")
    await settled(other)
    await other.evaluate("tracker.consent('denied')")
    # The event of a tab's storage comes by itself.
    await page.wait_for_function(
        "!tracker.track('click', { event_value: 'after the answer' }) && tracker.pending === 0"
    )
    assert json.loads(await page.evaluate(ANSWER))["consent_analytics"] == "denied"


async def test_an_answer_can_be_taken_back(page, gate):
    await page.goto("/page/first?data-consent=pending")
    await page.evaluate("tracker.consent('granted')")
    await settled(page)
    asked = len(gate.requests)
    await page.evaluate("tracker.consent('pending')")
    await track(page, "a")
    await page.evaluate("tracker.flush()")
    assert (await page.evaluate("tracker.pending"), len(gate.requests)) == (1, asked)
    assert await page.evaluate("tracker.consent({}) ?? tracker.consent('of course') ?? tracker.pending") == 1


@pytest.mark.parametrize("signal", ["globalPrivacyControl: { value: true }", "doNotTrack: { value: '1' }"])
async def test_a_browser_that_asks_not_to_be_tracked_is_not(page, context, gate, signal):
    await context.add_init_script(f"Object.defineProperties(navigator, {{ {signal} }})")
    await page.goto("/page/first")
    await page.evaluate('tracker.consent("granted")')
    await page.click("#buy")
    await page.evaluate("tracker.flush()")
    assert (await page.evaluate(STORED), gate.requests) == ([], [])
    await page.goto("/page/first?data-privacy-signals=collector")
    await settled(page)
    assert json.dumps(gate.events).count('"pageview"') == 1
