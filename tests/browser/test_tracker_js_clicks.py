"""Clicks and forms as the browser has them, and what an element exempts from being told."""

import pytest

from tests.browser.gate import SCRIPT, WITNESS
from tests.browser.visits import once, settled, steps

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROWSERS = ("chromium", "firefox")

#: Defines the element x-TAG, whose shadow root is what its template says.
DEFINE = """
function define(tag, inside, mode = "open") {
    customElements.define(tag, class extends HTMLElement {
        constructor() { super(); this.attachShadow({ mode }).innerHTML = inside; }
    });
}
"""
CLICKS = (
    WITNESS
    + SCRIPT
    + """
<script>"""
    + DEFINE
    + """
define("x-icon", "<svg width=20 height=20><circle r=10 cx=10 cy=10 /></svg>");
define("x-button", "<button class=inner><slot></slot></button>");
define("x-card", "<section data-no-track><slot></slot></section>");
define("x-closed", "<button>Hidden</button>", "closed");
define("x-row", "<div><slot name=label>Nothing</slot></div>");
addEventListener("click", (event) => event.preventDefault());
addEventListener("auxclick", (event) => event.preventDefault());
</script>
<p><a id="icon" href="/page/icon"><x-icon></x-icon></a></p>
<p><button id="row"><x-row><b slot="label">Order</b></x-row> now</button></p>
<p><x-button id="component">Buy</x-button></p>
<p data-no-track><x-button id="exempt">Show card number</x-button></p>
<p><x-card><button id="slotted">Secret</button></x-card></p>
<p><x-closed id="closed" role="button" aria-label="Closed"></x-closed></p>
<p><button id="partly">Card <span data-no-track>4111 1111</span> ending <span contenteditable>typed</span></button></p>
<p><svg width="100" height="30"><a id="svg" href="/page/svg"><text y="20">SVG</text></a></svg></p>
<p><svg width="100" height="30"><a id="xlink" xlink:href="/page/xlink"><text y="20">Old</text></a></svg></p>
<p><map name="m"><area id="area" href="/page/area" shape="rect" coords="0,0,50,50" alt="Area"></map>
<img usemap="#m" width="50" height="50" id="image"
  src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"></p>
<p><a id="next" href="/page/next">Next</a>
<a id="file" href="data:text/csv,a-secret" download="report.csv">Report</a></p>
<p><a id="nested" href="/page/nested"><button id="inside" type="button">In a link</button></a></p>
<p><span id="nothing">No button</span></p>
"""
)
FORMS = (
    WITNESS
    + SCRIPT
    + """
<script>"""
    + DEFINE
    + """
define("x-form", '<form id="shadowed" action="/page/thanks" target="frame"><input name="q"><button>Go</button></form>');
define("x-closed-form", '<form id="closed" action="/page/thanks" target="frame"><button>Go</button></form>', "closed");
</script>
<iframe name="frame"></iframe>
<form id="plain" action="/page/thanks" target="frame"><input name="email" value="reader@example.com"></form>
<form name="named" action="/page/thanks?token=secret" target="frame"></form>
<form action="/page/thanks?token=secret" target="frame" class="unnamed"></form>
<form id="clobbered" target="frame">
<input name="submit"><input name="id"><input name="action"><input name="name"></form>
<form id="ajax" target="frame"></form>
<form id="exempt" data-no-track target="frame"></form>
<form id="invalid" target="frame"><input required></form>
<x-form></x-form>
<div data-no-track><x-form></x-form></div>
<script>
ajax.addEventListener("submit", (event) => { event.preventDefault(); queueMicrotask(() => ajax.submit()); });
</script>
"""
)


async def told(page, gate) -> list[dict]:
    """What was told of clicks and forms, once all of it has been answered."""
    await page.evaluate('tracker.track("conversion", { event_value: "end" })')
    await page.wait_for_function("tracker.pending === 0")
    return [event for event in once(gate.events) if event["event_type"] in ("click", "form_submit")]


@pytest.fixture
def clicks(gate):
    gate.pages["/page/clicks"] = CLICKS
    return "/page/clicks"


@pytest.fixture
def forms(gate):
    gate.pages["/page/forms"] = FORMS
    return "/page/forms"


@pytest.mark.parametrize(
    ("selector", "element", "place"),
    [
        ("#icon circle", "a#icon", "/page/icon"),
        ("#row b", 'button#row "Order now"', None),
        ("#component", 'button.inner "Buy"', None),
        ("#closed", 'x-closed#closed "Closed"', None),
        ("#svg text", 'a#svg "SVG"', "/page/svg"),
        ("#xlink text", 'a#xlink "Old"', "/page/xlink"),
        ("#image", "area#area", "/page/area"),
        ("#inside", 'button#inside "In a link"', "/page/nested"),
        ("#file", 'a#file "Report"', "data:"),
    ],
)
async def test_a_click_is_told_of_what_was_meant(page, gate, clicks, selector, element, place):  # noqa: PLR0917
    await page.goto(clicks)
    await settled(page)
    await page.click(selector)
    [click] = await told(page, gate)
    assert click["clicked_element"] == element
    assert click.get("clicked_url", "").removeprefix(gate.url) == (place or "")


async def test_a_label_has_neither_what_is_exempt_nor_what_somebody_typed(page, gate, clicks):
    await page.goto(clicks)
    await settled(page)
    await page.click("#partly", position={"x": 8, "y": 8})
    [click] = await told(page, gate)
    assert click["clicked_element"] == 'button#partly "Card ending"'


@pytest.mark.parametrize("selector", ["#exempt", "#slotted", "#partly span", "#nothing"])
async def test_what_is_exempt_is_not_told_through_shadow_roots_either(page, gate, clicks, selector):
    await page.goto(clicks)
    await settled(page)
    await page.click(selector)
    assert await told(page, gate) == []
    assert "card number" not in str(gate.requests)


async def test_a_download_is_told_with_its_name_and_without_its_content(page, gate, clicks):
    await page.goto(clicks)
    await settled(page)
    await page.click("#file")
    [click] = await told(page, gate)
    assert click["metadata"] == '{"download":"report.csv"}'
    assert "a-secret" not in str(gate.requests)


async def test_a_link_counts_with_each_button_that_opens_it_and_by_keyboard(page, gate, clicks):
    await page.goto(clicks)
    await settled(page)
    for button in ("left", "middle", "right"):
        await page.click("#next", button=button)
    await page.focus("#next")
    await page.keyboard.press("Enter")
    assert [click["clicked_element"] for click in await told(page, gate)] == ['a#next "Next"'] * 3


@pytest.mark.parametrize(
    ("call", "form_id"),
    [
        ("document.querySelector('#plain').submit()", "plain"),
        ("document.querySelector('#plain').requestSubmit()", "plain"),
        ("document.forms.named.submit()", "named"),
        ("document.querySelector('.unnamed').submit()", "/page/thanks"),
        ("HTMLFormElement.prototype.submit.call(document.querySelector('#clobbered'))", "clobbered"),
        ("document.querySelector('#ajax').requestSubmit()", "ajax"),
        ("document.querySelector('x-form').shadowRoot.querySelector('form').submit()", "shadowed"),
    ],
)
async def test_a_form_that_a_script_sends_is_told_once(page, gate, forms, call, form_id):
    await page.goto(forms)
    await settled(page)
    await page.evaluate(call)
    assert steps(await told(page, gate)) == [("form_submit", form_id)]


async def test_a_form_in_a_shadow_root_is_told_by_button_and_by_key(page, gate, forms):
    await page.goto(forms)
    await settled(page)
    await page.locator("x-form").first.locator("button").click()
    await page.locator("x-form").first.locator("input").press("Enter")
    submits = [event for event in await told(page, gate) if event["event_type"] == "form_submit"]
    assert steps(submits) == [("form_submit", "shadowed")] * 2


@pytest.mark.parametrize(
    "call",
    [
        "document.querySelector('#exempt').submit()",
        "document.querySelector('#exempt').requestSubmit()",
        "document.querySelector('[data-no-track] x-form').shadowRoot.querySelector('form').submit()",
        "document.querySelector('[data-no-track] x-form').shadowRoot.querySelector('button').click()",
        "document.querySelector('#invalid').requestSubmit()",
    ],
)
async def test_a_form_that_is_exempt_or_not_sent_is_not_told(page, gate, forms, call):
    await page.goto(forms)
    await settled(page)
    await page.evaluate(call)
    assert await told(page, gate) == []
    assert "reader@example.com" not in str(gate.requests)
