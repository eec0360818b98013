"""Whose session it is: ``identify``, ``reset`` at logout, and ``stop``."""

import pytest

from tests.browser.visits import contexts_of, of_session, settled, steps, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROWSERS = ("chromium", "firefox")


async def identified(page, logged, call: str) -> list[dict]:
    """The contexts of the session after a call."""
    await page.evaluate(call)
    await page.evaluate('tracker.track("click", { event_value: "after" })')
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "after" in values(of_session(found, session_id)))
    return contexts_of(records, session_id)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ('identify("u-1")', {"user_id": "u-1"}),
        ("identify(12345)", {"user_id": "12345"}),
        ("identify(12345678901234567890n)", {"user_id": "12345678901234567890"}),
        ('identify("u-1", { plan: "pro", seats: 3 })', {"user_id": "u-1", "user_traits": '{"plan":"pro","seats":3}'}),
        ('identify({ plan: "pro" })', {"user_traits": '{"plan":"pro"}'}),
        ('identify(null, { plan: "pro" })', {"user_traits": '{"plan":"pro"}'}),
        ('identify("u-1", "pro")', {"user_id": "u-1"}),
        ("identify(null)", None),
        ("identify()", None),
        ('identify("undefined")', None),
        ("identify(NaN)", None),
        ("identify([])", None),
        ('identify("{{ user.id }}", { plan: "pro" })', {"user_traits": '{"plan":"pro"}'}),
        ('identify(" ")', None),
    ],
)
async def test_any_scalar_is_an_id_and_traits_go_with_it(page, logged, call, told):
    await page.goto("/page/first")
    assert await identified(page, logged, f"tracker.{call}") == ([told] if told else [])


#: As if the collector refused an id that the script takes: on the way it becomes one that is refused.
SPOILED = """() => {
    const { fetch } = window;
    window.fetch = (url, { body, ...rest }) => fetch(url, { ...rest, body: body.replaceAll("u-bad", "undefined") });
}"""


async def test_a_user_that_the_collector_refuses_costs_no_event_and_is_forgotten(page, gate, logged):
    await page.goto("/page/first?data-campaign-id=spring")
    await settled(page)
    await page.evaluate(SPOILED)
    await page.evaluate('tracker.identify("u-bad")')
    await track(page, *"abc")
    await settled(page)
    assert {event.get("user_id") for event in gate.events if event.get("event_value") == "a"} == {"undefined", None}
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: {"a", "b", "c"} <= set(values(of_session(found, session_id))))
    assert values(of_session(records, session_id)) == ["a", "b", "c"]
    assert {event["campaign_id"] for event in of_session(records, session_id)} == {"spring"}
    assert await page.evaluate("tracker.dropped") == 0
    await track(page, "d")
    await settled(page)
    assert [event.get("user_id") for event in gate.events if event.get("event_value") == "d"] == [None]
    assert "u-bad" not in await page.evaluate("JSON.stringify({ ...localStorage })")


async def test_traits_add_up_and_what_does_not_fit_is_left_out(page, logged):
    await page.goto("/page/first")
    await page.evaluate('tracker.identify("u-1", { plan: "free", about: "x".repeat(5000), city: "Hof" })')
    told = await identified(page, logged, 'tracker.identify("u-1", { plan: "pro" })')
    assert told[-1]["user_id"] == "u-1"
    assert '"plan":"pro"' in told[-1]["user_traits"]
    assert '"city":"Hof"' in told[-1]["user_traits"]
    assert len(told[-1]["user_traits"]) <= 1_024


async def test_who_was_identified_is_known_on_later_pages_and_in_later_sessions(page, context, logged):
    await page.goto("/page/first")
    await page.evaluate('tracker.identify("u-1", { plan: "pro" })')
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    await page.goto("/page/second")
    await settled(page)
    await context.clear_cookies()
    await page.evaluate("""() => {
        const session = JSON.parse(localStorage.getItem("tracker..session"));
        localStorage.setItem("tracker..session", JSON.stringify({ ...session, at: session.at - 3600000 }));
    }""")
    told = await identified(page, logged, "tracker.flush()")
    assert await page.evaluate("tracker.sessionId") != before
    assert told == [{"user_id": "u-1", "user_traits": '{"plan":"pro"}'}]


async def test_a_logout_begins_a_session_of_nobody(page, context, logged):
    await page.goto("/page/first?data-campaign-id=spring")
    await page.evaluate('tracker.identify("u-1", { plan: "pro" })')
    await track(page, "mine")
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    await page.evaluate("tracker.reset()")
    told = await identified(page, logged, "tracker.flush()")
    after = await page.evaluate("tracker.sessionId")
    assert after != before
    assert told == [{"campaign_id": "spring"}]
    assert {cookie["value"] for cookie in await context.cookies()} == {after}
    await page.goto("/page/second")
    await track(page, "theirs")
    await settled(page)
    assert await page.evaluate("tracker.sessionId") == after
    records = await logged(lambda found: "theirs" in values(of_session(found, after)))
    assert values(of_session(records, before)) == ["mine"]
    assert all("user_id" not in event for event in of_session(records, after))


async def test_a_logout_while_requests_are_under_way_is_not_undone_by_their_answers(page, gate, logged):
    await page.goto("/page/first")
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    gate.passing.clear()
    await track(page, "mine")
    await gate.until(lambda gate: "mine" in values(gate.events))
    await page.evaluate("tracker.reset()")
    await track(page, "theirs")
    gate.passing.set()
    await settled(page)
    after = await page.evaluate("tracker.sessionId")
    assert after != before
    records = await logged(
        lambda found: {"mine", "theirs"} <= set(values(of_session(found, before) + of_session(found, after)))
    )
    assert values(of_session(records, before)) == ["mine"]


async def test_somebody_else_on_the_same_page_gets_another_session(page, logged):
    await page.goto("/page/first")
    await page.evaluate('tracker.identify("u-1", { plan: "pro" })')
    await settled(page)
    before = await page.evaluate("tracker.sessionId")
    assert await identified(page, logged, 'tracker.identify("u-2")') == [{"user_id": "u-2"}]
    assert await page.evaluate("tracker.sessionId") != before


async def test_a_tracker_that_was_stopped_sends_what_it_has_and_sees_nothing_more(page, gate):
    await page.goto("/page/first")
    await track(page, "a")
    await page.evaluate("tracker.stop()")
    await page.click("#buy")
    await page.evaluate('history.pushState({}, "", "/page/second")')
    assert await page.evaluate('tracker.track("click", { event_value: "b" })') is None
    await page.wait_for_function("tracker.pending === 0")
    assert steps(gate.events)[:2] == [("pageview", None), ("click", "a")]
    assert values(gate.events) == ["a", "page_leave"]
    assert await page.evaluate("tracker.flush()") is False
    await page.evaluate("tracker.init({ debug: true })")
    await page.click("#buy")
    await page.evaluate("tracker.flush()")
    await page.wait_for_function("tracker.pending === 0")
    assert steps(gate.events)[-2:] == [("pageview", None), ("click", 'button#buy "Buy"')]
