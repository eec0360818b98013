"""What a page has told the tracker arrives once and in order, whatever happens to network, tab and storage."""

import pytest

from tests.browser.visits import of_session, once, settled, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORED = "Object.entries(localStorage).filter(([name]) => name.startsWith('tracker'))"
BROKEN_STORAGES = {
    "blocked": "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked') } })",
    "full": """try {
        for (let size = 2 ** 22; size; size = size >> 1) {
            for (let n = 0; n < 4; n++) try { localStorage[`other ${size} ${n}`] = "x".repeat(size); } catch {}
        }
    } catch {}""",
}


async def until_refused(page) -> None:
    await page.wait_for_function("shown.some(({ status }) => status !== undefined && !(status >= 200 && status < 300))")


async def test_what_happens_offline_is_sent_when_the_network_is_back(page, context, gate, logged):
    await page.goto("/page/first")
    await settled(page)
    await context.set_offline(True)
    await track(page, "a", "b")
    await until_refused(page)
    await track(page, "c")
    await context.set_offline(False)
    await page.wait_for_function("tracker.pending === 0")
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: len(of_session(found, session_id)) >= 4)
    assert values(of_session(records, session_id)) == ["a", "b", "c"]


async def test_an_answer_that_is_lost_makes_the_same_events_come_again(page, gate, logged):
    await page.goto("/page/first")
    await settled(page)
    gate.is_cutting = True
    await track(page, "a", "b")
    await until_refused(page)
    gate.is_cutting = False
    await track(page, "c")
    await page.wait_for_function("tracker.pending === 0")
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "c" in values(of_session(found, session_id)))
    written = [record["data"] for record in records if record["session_id"] == session_id]
    assert values(written)[:3] == ["a", "b", "a"]
    assert values(once(written)) == ["a", "b", "c"]


async def test_a_tab_that_is_closed_in_mid_flight_overtakes_nothing_and_loses_nothing(page, context, gate, logged):
    await page.goto("/page/first?data-workspace-id=w1")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    gate.passing.clear()
    await track(page, "a")
    await gate.until(lambda gate: "a" in values(gate.events))
    await track(page, "b", "c")
    await page.close(run_before_unload=True)
    await gate.until(lambda gate: "page_leave" in values(gate.events))
    assert values(gate.requests[-1]["body"]["batch"]) == ["a", "b", "c", "page_leave"]
    gate.passing.set()
    other = await context.new_page()
    await other.goto("/page/second")
    await settled(other)
    assert await other.evaluate("tracker.sessionId") == session_id
    records = await logged(lambda found: len(of_session(found, session_id)) >= 6)
    assert values(of_session(records, session_id)) == ["a", "b", "c", "page_leave"]
    assert of_session(records, session_id)[-1]["page_url"].endswith("/page/second")


async def test_a_page_that_is_left_before_its_first_answer_has_one_session_with_its_context(page, gate, logged):
    gate.passing.clear()
    await page.goto("/page/first?data-workspace-id=w1&data-ab-test-variant-id=b")
    await track(page, "a")
    await gate.until(lambda gate: len(gate.requests) == 1)
    session_id = await page.evaluate("tracker.sessionId")
    await page.close(run_before_unload=True)
    await gate.until(lambda gate: "page_leave" in values(gate.events))
    gate.passing.set()
    records = await logged(lambda found: len(of_session(found, session_id)) >= 3)
    assert values(of_session(records, session_id)) == ["a", "page_leave"]
    assert {event["workspace_id"] for event in of_session(records, session_id)} == {"w1"}


async def test_after_a_crash_the_next_page_sends_what_was_left_before_its_own(page, context, gate, logged):
    gate.status = 503
    await page.goto("/page/first")
    await track(page, "a", "b")
    await until_refused(page)
    session_id = await page.evaluate("tracker.sessionId")
    with pytest.raises(Exception, match="crash"):
        await page.goto("chrome://crash")
    gate.reset()
    other = await context.new_page()
    await other.goto("/page/second")
    await settled(other)
    records = await logged(lambda found: len(of_session(found, session_id)) >= 4)
    pages = [event["page_url"].removeprefix(gate.url) for event in of_session(records, session_id)]
    assert pages == ["/page/first"] * 3 + ["/page/second"]
    assert values(of_session(records, session_id)) == ["a", "b"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_collector_that_names_a_time_is_left_alone_for_so_long_over_page_loads_too(page, gate, status):
    gate.status, gate.retry_after = status, "3"
    await page.goto("/page/first")
    await track(page, "a")
    await until_refused(page)
    gate.status = 0
    await page.goto("/page/second")
    await settled(page)
    refused, *later = gate.requests
    assert later[0]["at"] - refused["at"] >= 3
    assert values(gate.events) == ["a", "a", "page_leave"] or values(gate.events) == ["a", "page_leave"]


async def test_an_unwanted_tracker_stops_and_keeps_what_it_has_for_the_next_page(page, gate):
    gate.status = 401
    await page.goto("/page/first")
    await until_refused(page)
    await track(page, "a")
    await page.evaluate("tracker.flush()")
    assert len(gate.requests) == 1
    gate.status = 0
    await page.goto("/page/second")
    await settled(page)
    assert values(gate.events)[0] == "a"


async def test_a_batch_that_is_too_large_is_sent_in_parts(page, gate):
    gate.max_items = 2
    await page.goto("/page/first")
    await track(page, *"abcde")
    await settled(page)
    assert values(once(gate.events)) == list("abcde")
    sizes = [len(request["body"].get("batch", ())) for request in gate.requests]
    assert (max(sizes) > 2, sizes[-1] <= 2) == (True, True), sizes
    assert await page.evaluate("tracker.dropped") == 0


async def test_the_queue_keeps_the_newest_within_its_limits(page, gate):
    gate.status, gate.retry_after = 503, "60"
    await page.goto("/page/first")
    await until_refused(page)
    await track(page, *(f"n{n}" for n in range(600)))
    assert await page.evaluate("[tracker.pending, tracker.dropped]") == [500, 101]
    assert "n599" in str(await page.evaluate(STORED))
    await page.evaluate('for (let n = 0; n < 40; n++) tracker.track("click", { metadata: "x".repeat(16000) })')
    stored = await page.evaluate(STORED)
    assert 200_000 < sum(len(value) for _, value in stored) < 260_000


async def test_what_is_a_day_old_is_given_up(page, gate):
    gate.status, gate.retry_after = 503, "60"
    await page.goto("/page/first")
    await track(page, "old")
    await page.evaluate("""() => {
        const [name, value] = Object.entries(localStorage).find(([, value]) => value.includes('"old"'));
        const born = (Date.now() - 25 * 3600000).toString(16).padStart(12, "0");
        localStorage.removeItem(name);
        const id = name.split("item.")[1];
        localStorage.setItem(`tracker..item.${born.slice(0, 8)}-${born.slice(8)}${id.slice(13)}`, value);
    }""")
    await track(page, "new")
    assert "old" not in str(await page.evaluate(STORED))
    assert await page.evaluate("tracker.dropped") == 1


@pytest.mark.parametrize("how", BROKEN_STORAGES)
async def test_without_storage_a_page_still_sends_all_it_has(page, context, gate, logged, how):
    await context.add_init_script(BROKEN_STORAGES[how])
    await page.goto("/page/first?data-workspace-id=w1")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    await track(page, *(f"n{n}" for n in range(120)))
    await page.close(run_before_unload=True)
    records = await logged(lambda found: "page_leave" in values(of_session(found, session_id)))
    assert sorted(values(of_session(records, session_id))) == sorted([*(f"n{n}" for n in range(120)), "page_leave"])


async def test_an_old_browser_that_lacks_what_is_new_is_served_all_the_same(page, context, gate, logged):
    await context.add_init_script("""
        delete Navigator.prototype.locks; delete AbortSignal.timeout; delete Crypto.prototype.randomUUID;
        const { fetch } = window;
        window.fetch = (url, { keepalive, ...rest }) => fetch(url, rest);
    """)
    await page.goto("/page/first")
    await track(page, "a")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    await page.goto("/page/second")
    await settled(page)
    records = await logged(lambda found: len(of_session(found, session_id)) >= 4)
    assert values(of_session(records, session_id)) == ["a", "page_leave"]


async def test_a_strict_content_security_policy_suffices(page, gate):
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if "tracker.js" in message.text else None)
    await page.goto("/page/strict")
    await page.click("#buy")
    await gate.until(lambda gate: "click" in {event["event_type"] for event in gate.events})
    assert errors == []


async def test_a_full_storage_is_full_in_this_test(page, context):
    await context.add_init_script(BROKEN_STORAGES["full"])
    await page.goto("/page/first")
    await settled(page)
    assert await page.evaluate("(() => { try { localStorage.one = 'more'; } catch (error) { return error.name; } })()")
    assert await page.evaluate(STORED) == []


@pytest.mark.parametrize("status", [400, 422, 403])
async def test_what_somebody_on_the_way_refuses_without_a_verdict_costs_one_event_and_no_other(
    page, gate, logged, status
):
    await page.goto("/page/first")
    await settled(page)
    gate.poison, gate.poison_status = "' OR 1=1", status
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if "dropped" in message.text else None)
    await track(page, *"abcd", gate.poison, *"efgh")
    await page.wait_for_function("tracker.pending === 0")
    session_id = await page.evaluate("tracker.sessionId")
    records = await logged(lambda found: "h" in values(of_session(found, session_id)))
    assert values(of_session(records, session_id)) == list("abcdefgh")
    assert (await page.evaluate("tracker.dropped"), len(warnings)) == (1, 1)
    # A later batch is whole again.
    await track(page, *"ijkl")
    await page.wait_for_function("tracker.pending === 0")
    assert values(gate.requests[-1]["body"]["batch"]) == list("ijkl")


async def test_a_collector_that_refuses_everything_is_asked_less_and_less(page, gate):
    gate.poison, gate.poison_status = "", 400
    await page.goto("/page/first")
    await track(page, *"abcdefgh")
    await page.wait_for_function("tracker.dropped >= 2")
    times = [request["at"] for request in gate.requests if len(request["body"].get("batch", [])) == 1]
    # Waits of a second and more come between, apart from what the browser rounds.
    assert times[-1] - times[0] > 0.4


async def test_items_that_something_else_has_written_are_dropped(page, gate, logged):
    await page.goto("/page/first")
    await settled(page)
    await page.evaluate("""() => {
        const texts = ["", "{", "null", "7", "[]", "{}", '{"event":null}',
            '{"event":{"event_type":"click","metadata":"\\ud83d"}}'];
        texts.forEach((text, n) => { localStorage[`tracker..item.00000000-000${n}`] = text; });
        texts.forEach((text, n) => {
            const now = "0" + Date.now().toString(16);
            localStorage[`tracker..item.${now.slice(0, 8)}-${now.slice(8)}-7000-8000-00000000000${n}`] = text;
        });
        localStorage["tracker..pause"] = '{"at":"soon"}';
        localStorage["tracker..session"] = "{";
        localStorage["tracker..user"] = "[1]";
    }""")
    await track(page, "after")
    await page.wait_for_function("tracker.pending === 0")
    session_id = await page.evaluate("tracker.sessionId")
    await logged(lambda found: "after" in values(of_session(found, session_id)))


PATCHED = """
    Array.prototype.toJSON = function () { return String(this); };
    Object.prototype.toJSON = function () { return "patched"; };
    String.prototype.toJSON = Number.prototype.toJSON = Date.prototype.toJSON = () => "patched";
    Object.prototype.extend = Array.prototype.each = Array.prototype.clone = function () {};
    Array.from = (list) => Array.prototype.slice.call(list);
    Function.prototype.name = "patched";
"""


async def test_a_page_that_patches_prototypes_loses_nothing(page, context, gate, logged):
    await context.add_init_script(PATCHED)
    await page.goto("/page/first?data-workspace-id=w1")
    await page.evaluate("""() => {
        tracker.identify("u1", { plan: "pro" });
        tracker.conversion("1", { metadata: { list: [1, { a: "b" }] } });
    }""")
    await settled(page)
    session_id = await page.evaluate("tracker.sessionId")
    await page.close(run_before_unload=True)
    records = await logged(lambda found: "page_leave" in values(of_session(found, session_id)))
    [conversion] = [event for event in of_session(records, session_id) if event["event_type"] == "conversion"]
    assert conversion["metadata"] == '{"list":[1,{"a":"b"}]}'
    assert conversion["user_id"] == "u1"
