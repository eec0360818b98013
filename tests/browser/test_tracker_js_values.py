"""Whatever a page hands in costs at most itself: a conversion that comes after it is a row."""

import json
import os

import pytest

from tests.browser.gate import SCRIPT, WITNESS
from tests.browser.javascript_values import BEGINNINGS, CALLS, VALUES
from tests.browser.visits import Events, settled, values

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROWSERS = ("chromium", "firefox")

#: Every value in every way, and each of these in its own tab that is closed at once: an hour. Otherwise each value in
#: some of the ways, so that each way gets some of the values, and a few values in tabs that are closed.
IS_WHOLE = os.environ.get("TRACKER_TEST_VALUES") == "all"
SHARE = 1 if IS_WHOLE else 8
CLOSED_AFTER = (
    dict.fromkeys(VALUES, CALLS)
    if IS_WHOLE
    else dict.fromkeys(
        ("half an emoji", "number in text", "null", "object", "circular object", "long in other scripts"),
        ("track('click', { metadata: v, event_value: v, form_id: v })", "identify(v, v)"),
    )
)

PAGE = WITNESS + SCRIPT + '<form><input name="q"></form><iframe src="http://localhost:1/"></iframe>'

#: Hands in a value in each way, and tells of a conversion after each.
MATRIX = """async ([name, expression, ways, isAnew]) => {
    const make = new Function("return " + expression);
    const thrown = [];
    for (const [n, way] of ways) {
        // A refusal removes what has not been sent, as it should.
        if (way.includes("consent")) await tracker.flush();
        try {
            if (isAnew) tracker.stop();
            new Function("v", `return tracker.${way}`)(make());
            if (isAnew) tracker.init({ debug: true });
        } catch (error) {
            thrown.push(`${way}: ${error}`);
        }
        tracker.consent("granted");
        tracker.conversion(`${name} ${n}`);
        if (n % 8 === 0) await tracker.flush();
    }
    await tracker.flush();
    return thrown;
}"""


def conversions(records: Events) -> set[str]:
    return {record["data"].get("event_value", "") for record in records if record["type"] == "event"}


@pytest.fixture
def matrix_page(gate):
    gate.pages["/page/matrix"] = PAGE
    return "/page/matrix"


@pytest.mark.parametrize(("ways", "is_anew"), [(CALLS, False), (BEGINNINGS, True)], ids=["calls", "beginnings"])
async def test_no_value_harms_a_conversion_after_it(page, matrix_page, logged, ways, is_anew):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(matrix_page)
    await settled(page)
    wanted = set()
    for place, (name, expression) in enumerate(VALUES.items()):
        some = list(enumerate(ways))[place % SHARE :: SHARE]
        assert await page.evaluate(MATRIX, [name, expression, some, is_anew]) == []
        wanted |= {f"{name} {n}" for n, _ in some}
    await logged(lambda found: wanted <= conversions(found))
    assert errors == []


async def test_no_value_harms_a_conversion_after_it_in_a_tab_that_is_closed_at_once(browser, gate, matrix_page, logged):
    wanted = set()
    for name, ways in CLOSED_AFTER.items():
        for way in ways:
            # A browser of its own: no page of another value is there to send what this one has left.
            context = await browser.new_context(base_url=gate.url)
            page = await context.new_page()
            await page.goto(matrix_page)
            await page.wait_for_function("window.tracker?.sessionId")
            await page.evaluate(f"""() => {{
                const v = {VALUES[name]};
                tracker.{way};
                tracker.consent("granted");
                tracker.conversion({json.dumps(f"closed after {name} {way}")});
            }}""")
            wanted.add(f"closed after {name} {way}")
            await page.close(run_before_unload=True)
            if browser.browser_type.name == "firefox":
                # Firefox often drops what a tab hands over while it closes, beacons too. The next page sends it.
                await (await context.new_page()).goto(matrix_page)
            await gate.until(lambda gate: wanted <= set(values(gate.events)))
            await context.close()
    await logged(lambda found: wanted <= conversions(found))
