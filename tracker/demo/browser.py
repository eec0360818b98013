"""A visitor: a real headless Chromium visits the demo page as a person would; we note the events that it sends."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, ViewportSize, async_playwright
from playwright.async_api import Error as BrowserError

from tracker.demo.compare import SentEvent, Visit
from tracker.errors import ConfigurationError, RetryableError

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",  # as root, as in most containers, Chromium doesn't start with one
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
)
#: The longest wait for anything on the page.
ACTION_TIMEOUT_MS: Final = 60_000
#: Between two looks at a page.
POLL_SECONDS: Final = 0.05
VIEWPORT: Final = ViewportSize(width=1280, height=800)
#: The actions of the visitor, as the types of the events that they must lead to. Scrolling is not among them: the page
#: decides how many events it makes.
ACTIONS: Final = ("pageview", "click", "click", "conversion", "click", "form_submit", "click", "pageview")

#: Notes what the page hands to the network, at the moment when it does. Chromium's debugging protocol is no
#: witness for that: it does not see a request that a page makes while it is being left.
_WITNESS: Final = """
(() => {
  const note = (url, body) => {
    if (!new URL(url, location.href).pathname.endsWith("/events/track")) return;
    const noted = JSON.parse(localStorage.getItem("witness") || "[]");
    localStorage.setItem("witness", JSON.stringify([...noted, JSON.parse(body)]));
  };
  const { fetch } = window;
  window.fetch = (url, options) => { note(url, options?.body); return fetch(url, options); };
  const sendBeacon = navigator.sendBeacon.bind(navigator);
  navigator.sendBeacon = (url, body) => { note(url, body); return sendBeacon(url, body); };
})();
"""

#: Whether an event of which this holds has been handed to the network.
_SENT: Final = """JSON.parse(localStorage.getItem("witness") || "[]")
    .flatMap((body) => body.batch ?? [body])
    .some((event) => {})"""


def find_chromium(configured: Path | None, names: Sequence[str] = NAMES) -> str:
    """Return the browser's path: the configured one's, or that of the first name which is on the PATH.

    Raises:
        ConfigurationError: no browser is found.
    """
    for name in [str(configured)] if configured else names:
        path = shutil.which(name)
        if path:
            return path
    where = f"at TRACKER_CHROMIUM_PATH={configured}" if configured else "on the PATH"
    raise ConfigurationError(f"no Chromium {where}: apt-get install chromium, or set TRACKER_CHROMIUM_PATH")


@asynccontextmanager
async def open_browser(executable: str) -> AsyncIterator[Browser]:
    """Start the browser, and end it after use."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


async def visit(browser: Browser, origin: str, cookie_name: str, variant: str) -> Visit:
    """Visit the demo page: scroll, click, convert, submit the form, open the page again, and leave.

    Each visit is by another visitor, who is shown this variant of the page's test.

    Raises:
        RetryableError: the page did not behave as it should.
    """
    context = await browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    await context.add_init_script(_WITNESS)
    try:
        page = await context.new_page()
        await _act(page, f"{origin}/demo?variant={variant}")
        cookies = {cookie.get("name"): cookie.get("value") for cookie in await context.cookies(origin)}
        # Leaving is an event too. A page of the same origin, without the tracker, can read the notes.
        await page.goto(f"{origin}/healthz")
        bodies = json.loads(await page.evaluate("localStorage.getItem('witness')") or "[]")
    except BrowserError as error:
        raise RetryableError(f"the browser's visit to {origin} failed: {error.message}") from error
    finally:
        await context.close()
    session_id = cookies.get(cookie_name)
    if not session_id:
        raise RetryableError(f"the collector set no cookie {cookie_name}")
    return Visit(session_id, ACTIONS, sent_events(bodies))


async def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true.

    Playwright's own ``wait_for_function`` evaluates strings inside of the page, which the policy of our pages forbids.

    Raises:
        BrowserError: it has not become true in time, or it can't be evaluated.
    """
    try:
        async with asyncio.timeout(ACTION_TIMEOUT_MS / 1_000):
            while True:
                if await page.evaluate(expression):
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise BrowserError(f"not true after {ACTION_TIMEOUT_MS} ms: {expression}") from None


def sent_events(bodies: Iterable[Mapping[str, Any]]) -> tuple[SentEvent, ...]:
    """Read the events from the bodies of requests; one that was repeated counts once, at its first place."""
    events: dict[str, SentEvent] = {}
    for body in (event for request in bodies for event in request.get("batch", [request])):
        about = str(body.get("clicked_element") or body.get("form_id") or body.get("event_value") or "")
        percentage = body.get("scroll_percentage")
        if percentage is not None:
            about = f"{about} {percentage:g} %".strip()
        event = SentEvent(body["event_id"], body["event_type"], about)
        events.setdefault(event.event_id, event)
    return tuple(events.values())


async def _act(page: Page, url: str) -> None:
    """Do what ``ACTIONS`` says, and scroll."""
    await page.goto(url)
    await _all_answered(page)
    await page.click("#sample")
    await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    # The page scrolls smoothly; its end is the last step that the tracker reports.
    await until(page, _SENT.format("event.scroll_percentage === 100"))
    await page.click("#convert")
    await page.fill("#email", "visitor@example.com")
    await page.click("#signup-send")
    await _all_answered(page)
    await page.click("#again")
    await page.wait_for_url("**/demo?page=2")
    await _all_answered(page)


async def _all_answered(page: Page) -> None:
    """Wait until the page's view and everything after it has been accepted by the collector."""
    await until(page, _SENT.format("event.event_type === 'pageview' && event.page_url === location.href"))
    await until(page, "tracker.pending === 0")
