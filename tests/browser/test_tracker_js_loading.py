"""The ways to load the script: by the snippet, pinned, as a module, by a tag manager, twice, late, or not at all."""

import re
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.gate import WITNESS
from tests.browser.visits import once, settled, steps, values
from tracker.collect.api.script_files import read_build, snippet

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUILD = read_build()
RECIPES = Path(__file__).parents[2] / "docs" / "tracker-js-recipes.md"
DEBUG = "data-debug></script>"


def debugging(html: str) -> str:
    """The same snippet, with requests and answers shown."""
    return html.removesuffix("></script>") + f" {DEBUG}"


@pytest.fixture
def snippet_of(gate):
    """A snippet for the gate's collector."""
    return lambda **how: debugging(snippet(gate.url, **how))


@pytest_asyncio.fixture(loop_scope="session")
async def errors(page):
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if "refused to" in message.text.lower() else None)
    return found


async def test_what_the_snippet_is_told_before_the_script_has_come_is_sent(page, gate, snippet_of, errors):
    gate.pages["/page/early"] = (
        WITNESS
        + "<script>document.title = typeof tracker</script>"
        + snippet_of()
        + """<script>
            tracker.identify("u1");
            tracker.conversion("1", { event_value_type: "EUR" });
            tracker.flush().then(() => tracker.track("click", { event_value: "after" }));
        </script>"""
    )
    await page.goto("/page/early")
    await settled(page)
    await page.evaluate("tracker.flush()")
    assert sorted(steps(once(gate.events))) == [("click", "after"), ("conversion", "1"), ("pageview", None)]
    assert gate.requests[0]["body"] == {"user_id": "u1"}
    assert errors == []


async def test_a_script_that_is_blocked_breaks_nothing(page, gate, snippet_of, errors):
    gate.pages["/page/blocked"] = WITNESS + snippet_of() + "<button onclick='buy()'>Buy</button>"
    await page.route("**/tracker*.js", lambda route: route.abort())
    await page.goto("/page/blocked")
    await page.evaluate("window.buy = () => { tracker.conversion('1'); window.bought = true; }")
    await page.click("button")
    told = await page.evaluate("""async () => {
        for (let n = 0; n < 10000; n++) tracker.track("click");
        for (const name of ["track", "conversion", "session", "identify", "consent", "reset", "stop"]) tracker[name]();
        await tracker.flush();
        return [window.bought, tracker.length];
    }""")
    assert told == [True, 500]
    assert errors == []


async def test_a_second_snippet_is_ignored_and_says_so(page, context, gate, snippet_of, errors):
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if "tracker: two" in message.text else None)
    gate.pages["/page/twice"] = (
        WITNESS
        + snippet_of()
        + snippet_of(is_pinned=False)
        + '<button id="buy">Buy</button><script>tracker.conversion("1")</script>'
        + f"""<script type="module">
            import {{ tracker as another }} from "{BUILD.address("tracker.mjs")}";
            another.conversion("2");
            another.init({{ debug: true }});
            another.conversion("3");
            window.same = another.sessionId === tracker.sessionId && another.pending === tracker.pending;
        </script>"""
    )
    await page.goto("/page/twice")
    await settled(page)
    await page.evaluate("scrollTo(0, 1000)")
    await page.click("#buy")
    await page.wait_for_function("tracker.pending === 0")
    told = steps(once(gate.events))
    assert sorted(told) == [
        ("click", 'button#buy "Buy"'),
        ("conversion", "1"),
        ("conversion", "2"),
        ("conversion", "3"),
        ("pageview", None),
    ]
    assert len(warnings) == 2
    assert await page.evaluate("window.same")
    assert errors == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["loads first", "tells first"])
@pytest.mark.parametrize("has_snippet", [False, True], ids=["alone", "with a snippet"])
async def test_the_documented_tags_of_a_tag_manager_track_once(page, gate, snippet_of, errors, order, has_snippet):  # noqa: PLR0917
    recipe = RECIPES.read_text().partition("## Google Tag Manager")[2].partition("\n## ")[0]
    tags = [
        tag.replace("https://collect.example.com", gate.url)
        .replace('"data-key", "THE-WRITE-KEY"', '"data-debug", ""')
        .replace("{{Order total}}", '"49.90"')
        for tag in re.findall(r"```html\n(.*?)```", recipe, re.DOTALL)
    ]
    assert len(tags) == 2
    gate.pages["/page/tags"] = WITNESS + "<head></head>" + "".join(tags[place] for place in order)
    if has_snippet:
        gate.pages["/page/tags"] += snippet_of()
    await page.goto("/page/tags")
    await gate.until(lambda gate: len(once(gate.events)) >= 2)
    await settled(page)
    assert sorted(steps(once(gate.events))) == [("conversion", "49.90"), ("pageview", None)]
    assert errors == []


@pytest.mark.parametrize(
    "tag",
    [
        '<script async src="{origin}{pinned}" integrity="{integrity}" crossorigin="anonymous" {more}></script>',
        '<script type="module" src="{origin}/tracker.js" {more}></script>',
        '<script src="{origin}/tracker.js" {more}></script>',
    ],
    ids=["integrity", "module", "plain"],
)
@pytest.mark.parametrize("policy", [{}, {"Cross-Origin-Embedder-Policy": "require-corp"}], ids=["", "embedder policy"])
async def test_a_page_of_another_origin_loads_it(page, gate, collector, errors, tag, policy):  # noqa: PLR0917
    gate.headers = policy
    gate.pages["/page/other"] = WITNESS + tag.format(
        origin=collector.url,
        pinned=BUILD.address("tracker.js"),
        integrity=BUILD.integrity["tracker.js"],
        more=f'data-endpoint="{gate.url}" data-debug',
    )
    await page.goto("/page/other")
    await settled(page)
    assert steps(gate.events) == [("pageview", None)]
    assert errors == []


async def test_a_file_that_is_not_what_the_page_has_pinned_is_not_run(page, gate, snippet_of):
    gate.pages["/page/pinned"] = WITNESS + snippet_of().replace(BUILD.integrity["tracker.js"], "sha384-" + "A" * 64)
    await page.goto("/page/pinned")
    assert await page.evaluate("Array.isArray(tracker)")


async def test_a_policy_with_a_nonce_lets_snippet_and_script_run(page, gate, snippet_of, errors):
    gate.headers = {"Content-Security-Policy": "default-src 'none'; script-src 'nonce-n1'; connect-src 'self'"}
    gate.pages["/page/nonce"] = (
        WITNESS.replace("<script", '<script nonce="n1"')
        + snippet_of(nonce="n1")
        + '<script nonce="n1">tracker.conversion("1")</script>'
    )
    await page.goto("/page/nonce")
    # Under this policy Playwright can't wait for what it has to evaluate.
    await gate.until(lambda gate: len(gate.events) >= 2)
    assert sorted(steps(gate.events)) == [("conversion", "1"), ("pageview", None)]
    assert errors == []


async def test_a_module_can_be_imported_and_configured_by_the_page(page, gate, errors):
    gate.pages["/page/module"] = (
        WITNESS
        + """<script type="module">
            import { tracker } from "/tracker.mjs";
            tracker.conversion("before init");
            tracker.init({ debug: true, context: { workspace_id: "w1" }, auto: ["pageview"] });
            tracker.conversion("after");
        </script><button id="buy">Buy</button>"""
    )
    await page.goto("/page/module")
    await page.click("#buy")
    await settled(page)
    assert sorted(steps(once(gate.events))) == [
        ("conversion", "after"),
        ("conversion", "before init"),
        ("pageview", None),
    ]
    assert gate.requests[0]["body"] == {"workspace_id": "w1"}
    assert errors == []


async def test_paths_of_a_proxy_can_be_named(page, gate):
    gate.aliases = {"/a/t": "/api/v1/events/track", "/a/s": "/api/v1/events/session", "/a/x.js": "/tracker.js"}
    gate.pages["/page/proxied"] = (
        WITNESS + '<script src="/a/x.js" data-endpoint="/a/" data-track-path="/t" data-session-path="/s"'
        ' data-workspace-id="w1" data-debug></script>'
    )
    await page.goto("/page/proxied")
    await settled(page)
    assert [request["path"] for request in gate.requests] == ["/a/s", "/a/t"]
    assert await page.evaluate("shown.filter(({ status }) => status === 202).length") == 2


@pytest.mark.parametrize(
    ("before", "is_ours", "told"),
    [
        ('<div id="tracker">An element</div>', True, []),
        ("<script>window.tracker = { theirs: 1 }</script>", False, []),
        ("<script>window.tracker = [null, 7, ['nothing'], ['conversion', '1'], {}]</script>", True, ["1"]),
    ],
    ids=["element", "another maker's", "no calls"],
)
async def test_what_a_page_has_under_that_name_does_no_harm(page, gate, errors, before, is_ours, told):  # noqa: PLR0917
    gate.pages["/page/named"] = WITNESS + before + '<script src="/tracker.js" data-debug></script>'
    await page.goto("/page/named")
    await page.wait_for_function("shown.some(({ status }) => status !== undefined)")
    assert await page.evaluate("typeof tracker.conversion === 'function'") == is_ours
    await gate.until(lambda gate: len(gate.events) > len(told))
    assert {event["event_type"] for event in gate.events} <= {"pageview", "conversion"}
    assert values(gate.events) == told
    assert errors == []
