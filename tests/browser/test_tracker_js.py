"""What tracker.js sees on a page arrives in the source topic, event by event and in order."""

from uuid import uuid4

import pytest

from tests.browser.visits import contexts_of, of_session, scroll_to, settled, steps, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROWSERS = ("chromium", "firefox")

CONTEXT = "data-workspace-id=w1&data-ab-test-id=headline&data-ab-test-variant-id=b"


async def test_a_visit_arrives_event_by_event_in_its_order(page, gate, logged):
    await page.goto(f"/page/first?{CONTEXT}")
    await page.click("#buy")
    for percent in (30, 60, 80, 92, 100):
        await scroll_to(page, percent)
    await page.evaluate("scrollTo(0, 0)")
    await page.evaluate('tracker.conversion(24.5, { event_value_type: "EUR", metadata: { plan: "yearly" } })')
    await page.fill("#email", "reader@example.com")
    await page.click("#send")
    await page.wait_for_url("**/page/thanks**")
    await page.goto(f"/page/first?{CONTEXT}")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: len(of_session(found, session_id)) >= 13)
    assert steps(of_session(records, session_id))[:11] == [
        ("pageview", None),
        ("click", 'button#buy "Buy"'),
        ("scroll", 25),
        ("scroll", 50),
        ("scroll", 75),
        ("scroll", 90),
        ("scroll", 100),
        ("conversion", "24.5"),
        ("click", "input#send"),
        ("form_submit", "letter"),
        ("scroll", "page_leave"),
    ]
    assert "reader@example.com" not in str(records)
    contexts = [r["data"] for r in records if r["session_id"] == session_id and r["type"] == "session"]
    assert contexts[0] == {"workspace_id": "w1", "ab_test_id": "headline", "ab_test_variant_id": "b"}
    assert of_session(records, session_id)[7]["metadata"] == '{"plan":"yearly"}'


async def test_a_pageview_knows_the_page_and_its_load_times(page, gate):
    await page.goto("/page/before")
    await settled(page)
    await page.click("#next")
    await page.wait_for_url("**/page/next**")
    await settled(page)
    view = [event for event in gate.events if event["event_type"] == "pageview"][-1]
    assert (view["viewport_width"], view["viewport_height"]) == (1_000, 700)
    assert 0 < view["dom_ready_time"] <= view["page_load_time"]
    assert view["page_url"] == f"{gate.url}/page/next?"
    assert view["referrer_url"] == f"{gate.url}/page/before"


async def test_leaving_is_an_event_with_the_depth_and_the_time_that_the_page_was_seen(page, gate, logged):
    await page.goto("/page/first")
    await scroll_to(page, 60)
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    await page.goto("about:blank")
    records = await logged(lambda found: "page_leave" in values(of_session(found, session_id)))
    last = of_session(records, session_id)[-1]
    assert (last["event_type"], last["event_value"]) == ("scroll", "page_leave")
    assert 59 <= last["scroll_percentage"] <= 61
    assert last["time_on_page"] > 0


async def test_a_page_that_changes_its_own_address_is_viewed_again(page, gate):
    await page.goto("/page/first")
    await settled(page)
    await page.evaluate('history.pushState({}, "", "/page/second")')
    await page.evaluate('history.replaceState({}, "", "/page/second#a-place-in-it")')
    await page.evaluate('history.replaceState({}, "", "/page/second#/a-path-of-its-own")')
    await page.evaluate("history.back()")
    await page.wait_for_url("**/page/first")
    await gate.until(lambda gate: len(gate.events) >= 7)
    await settled(page)
    seen = [(event["event_type"], event["page_url"].removeprefix(gate.url)) for event in gate.events]
    assert seen == [
        ("pageview", "/page/first"),
        ("scroll", "/page/first"),
        ("pageview", "/page/second"),
        ("scroll", "/page/second"),
        ("pageview", "/page/second#/a-path-of-its-own"),
        ("scroll", "/page/second#/a-path-of-its-own"),
        ("pageview", "/page/first"),
    ]
    assert [event.get("referrer_url", "").removeprefix(gate.url) for event in gate.events[::2]] == [
        "",
        "/page/first",
        "/page/second",
        "/page/second#/a-path-of-its-own",
    ]
    assert all("page_load_time" not in event for event in gate.events[1:])


async def test_what_is_told_before_the_script_has_come_is_sent_after_the_pageview(page, gate):
    await page.add_init_script('window.tracker = [["conversion", "1"], ["identify", "u1"]]')
    await page.goto("/page/first")
    await settled(page)
    assert steps(gate.events) == [("pageview", None), ("conversion", "1")]
    assert [r["body"]["user_id"] for r in gate.requests if r["path"].endswith("session")] == ["u1"]


async def test_a_session_can_be_named_by_the_page_and_its_context_grows(page, gate, logged):
    session_id = f"from-the-server-{uuid4()}"  # the log is that of all browsers
    await page.goto(f"/page/first?data-session-id={session_id}&data-session-timeout-seconds=600")
    await page.evaluate('tracker.session({ campaign_id: "spring" })')
    await settled(page)
    records = await logged(lambda found: len([r for r in found if r["session_id"] == session_id]) >= 3)
    assert contexts_of(records, session_id) == [
        {"timeout_seconds": 600},
        {"timeout_seconds": 600, "campaign_id": "spring"},
    ]


async def test_only_what_the_page_wants_is_tracked(page, gate):
    await page.goto("/page/first?data-auto=form")
    await page.click("#buy")
    await scroll_to(page, 100)
    await page.evaluate("scrollTo(0, 0)")
    await page.click("#send")
    await page.wait_for_url("**/page/thanks**")
    await page.wait_for_function("window.tracker")
    await track(page, "done")
    await settled(page)
    assert "form_submit" in {event["event_type"] for event in gate.events}
    assert {event["event_type"] for event in gate.events} <= {"form_submit", "click", "pageview"}
    assert values(gate.events) == ["done"]


async def test_the_tracker_breaks_no_page_whatever_the_page_does_to_it(page, gate):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto("/page/first")
    await page.evaluate("""() => {
        tracker.init(); tracker.init(null); tracker.track(); tracker.track("click", 7); tracker.push(["nothing"]);
        tracker.conversion(undefined, null); tracker.identify(); tracker.consent("granted");
        const circle = {}; circle.circle = circle;
        tracker.track("click", { metadata: circle });
        tracker.track("click", { event_value: 10n });
        document.body.dispatchEvent(new Event("submit", { bubbles: true }));
        document.dispatchEvent(new Event("click"));
    }""")
    await track(page, "after all")
    await page.wait_for_function("tracker.pending === 0")
    assert errors == []
    assert values(gate.events)[-1] == "after all"


async def test_an_event_of_an_own_type_takes_its_properties_along_as_data(page, gate, logged):
    await page.goto("/page/first")
    await page.evaluate("""() => {
        const items = [{ sku: "a", quantity: 2 }, { sku: "b" }];
        const properties = { order_id: "o-1042", total: 49.9, items };
        tracker.track("purchase", { schema: "1-0-0", properties, user_id: "u1", colour: "red", metadata: { plan: 1 } });
        tracker.track("purchase", { schema: "1-0-0", properties: { order_id: "o-1043" } });
        tracker.track("click", { event_value: "a click", properties: { plan: "pro" } });
        tracker.conversion("after");
    }""")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "after" in values(of_session(found, session_id)))
    assert steps(of_session(records, session_id))[1:] == [
        ("purchase", None),
        ("click", "a click"),
        ("conversion", "after"),
    ]
    _, purchase, click, _ = of_session(records, session_id)
    assert purchase["properties"] == {
        "order_id": "o-1042",
        "total": 49.9,
        "items": [{"sku": "a", "quantity": 2}, {"sku": "b"}],
    }
    assert (purchase["user_id"], "metadata" in purchase, "colour" in purchase) == ("u1", False, False)
    assert click["metadata"] == '{"properties":{"plan":"pro"}}'
    assert await page.evaluate("tracker.dropped") == 1
    assert {r["schema"] for r in records if r["data"].get("event_type") == "purchase"} == {"1-0-0"}
