"""What counts as a page, and that only what somebody has seen is one."""

import pytest

from tests.browser.gate import SCRIPT, WITNESS
from tests.browser.visits import once, settled, steps, track, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: A tab in the background, until somebody looks at it.
HIDDEN = """
    let isHidden = true;
    Object.defineProperty(document, "hidden", { get: () => isHidden });
    Object.defineProperty(document, "visibilityState", { get: () => (isHidden ? "hidden" : "visible") });
    window.look = () => { isHidden = false; document.dispatchEvent(new Event("visibilitychange", { bubbles: true })); };
"""
PRERENDERED = (
    HIDDEN
    + """
    let isPrerendering = true;
    Object.defineProperty(document, "prerendering", { get: () => isPrerendering });
    window.activate = () => {
        isPrerendering = false;
        document.dispatchEvent(new Event("prerenderingchange"));
        look();
    };
"""
)
PRERENDERING_PAGE = (
    WITNESS
    + """<script type="speculationrules">{"prerender": [{"urls": ["/page/second"], "eagerness": "immediate"}]}</script>
<a id="go" href="/page/second">Next</a>"""
)


def viewed(gate) -> list[str]:
    """The addresses of all pageviews, in order."""
    return [
        event["page_url"].removeprefix(gate.url) for event in once(gate.events) if event["event_type"] == "pageview"
    ]


async def go(page, *places: str) -> None:
    """Have the page change its own address, and wait until the last change has been noticed."""
    for place in places:
        await page.evaluate('place => history.replaceState({}, "", place)', place)
    await track(page, "gone")
    await page.wait_for_function("tracker.pending === 0")


async def test_another_query_or_place_on_it_is_the_same_page(page, gate):
    await page.goto("/page/first?utm_source=mail&utm_campaign=spring")
    await settled(page)
    await go(page, "/page/first", "/page/first?q=s", "/page/first?q=sh", "?q=sho#results", "#more")
    assert viewed(gate) == ["/page/first?utm_source=mail&utm_campaign=spring"]
    assert "page_leave" not in values(gate.events)
    await go(page, "/page/second?q=s")
    assert viewed(gate)[1:] == ["/page/second?q=s"]


async def test_what_a_router_removes_before_the_page_has_loaded_is_still_in_its_view(page, gate):
    gate.pages["/page/landing"] = WITNESS + SCRIPT + '<script>history.replaceState({}, "", "/page/landing")</script>'
    await page.goto("/page/landing?utm_source=mail")
    await settled(page)
    assert viewed(gate) == ["/page/landing?utm_source=mail"]


@pytest.mark.parametrize(
    ("pages", "seen"),
    [
        ("", ["", "#/a", "#/b"]),
        ("query", ["", "?p=1", "?p=2", "?p=2#/a", "?p=2#/a?x=1", "?p=2#/b"]),
        ("hash", ["", "?p=2#b", "?p=2#/a", "?p=2#/b"]),
        ("query hash", ["", "?p=1", "?p=2", "?p=2#b", "?p=2#/a", "?p=2#/a?x=1", "?p=2#/b"]),
    ],
)
async def test_query_and_hash_make_pages_where_that_is_wanted(page, gate, pages, seen):
    gate.pages["/page/app"] = WITNESS + SCRIPT.replace("data-debug", f'data-debug data-pages="{pages}"')
    await page.goto("/page/app")
    await settled(page)
    await go(page, "?p=1", "?p=2", "?p=2#b", "?p=2#/a", "?p=2#/a?x=1", "?p=2#/b")
    viewed_places = [place.removeprefix("/page/app") for place in viewed(gate)]
    # By the path alone, it is the first address of each page that is told.
    expected = [f"?p=2{place}" if pages == "" and place else place for place in seen]
    assert viewed_places == expected


async def test_a_campaign_behind_a_hash_is_kept_and_other_fragments_are_not(page, gate):
    await page.goto("/page/first#utm_source=mail")
    await settled(page)
    await page.goto("/page/second#access_token=secret")
    await settled(page)
    assert viewed(gate) == ["/page/first#utm_source=mail", "/page/second"]


async def test_a_tab_in_the_background_is_viewed_when_somebody_looks_at_it(page, context, gate):
    await context.add_init_script(HIDDEN)
    await page.goto("/page/first")
    await page.wait_for_load_state()
    await track(page, "told")
    await page.wait_for_function("tracker.pending === 0")
    assert steps(gate.events) == [("click", "told")]
    await page.evaluate("look()")
    await gate.until(lambda gate: len(gate.events) >= 2)
    await page.wait_for_function("tracker.pending === 0")
    assert steps(gate.events) == [("click", "told"), ("pageview", None)]


async def test_a_tab_that_nobody_looked_at_was_not_left_either(page, context, gate):
    await context.add_init_script(HIDDEN)
    await page.goto("/page/first?data-workspace-id=w1")
    await page.evaluate('tracker.identify("u1")')
    await page.evaluate("tracker.flush()")
    assert gate.requests == []
    await page.goto("about:blank")
    await page.goto("/page/second")
    await page.evaluate("look()")
    await settled(page)
    assert [(event["event_type"], event["page_url"].removeprefix(gate.url)) for event in gate.events] == [
        ("pageview", "/page/second")
    ]


async def test_a_page_that_is_only_prerendered_does_nothing_until_it_is_seen(page, context, gate):
    await context.add_init_script(PRERENDERED)
    await page.goto("/page/first?data-workspace-id=w1")
    await page.evaluate('tracker.conversion("1")')
    await page.evaluate("tracker.flush()")
    assert gate.requests == []
    await page.evaluate("activate()")
    await settled(page)
    assert sorted(steps(gate.events)) == [("conversion", "1"), ("pageview", None)]


async def test_a_real_prerender_that_is_never_opened_is_no_view(page, gate):
    gate.pages["/page/first"] = PRERENDERING_PAGE
    await page.goto("/page/first")
    # It has been loaded in the background, as far as this browser does so.
    await page.wait_for_load_state("networkidle")
    assert gate.requests == []
    await page.click("#go")
    await page.wait_for_url("**/page/second")
    await settled(page)
    assert viewed(gate) == ["/page/second"]
