"""What tests do on a page and wait for, and what they compare."""

from typing import Any

from playwright.async_api import Page

Events = list[dict[str, Any]]


async def settled(page: Page) -> None:
    """Wait until the page's view and everything after it has been answered."""
    await page.wait_for_function(
        "window.tracker && tracker.pending === 0 && shown.some(({ status }) => status !== undefined)"
    )


async def track(page: Page, *values: str) -> None:
    """Tell the tracker of clicks, each known by its value."""
    await page.evaluate('values => values.forEach(v => tracker.track("click", { event_value: v }))', list(values))


async def scroll_to(page: Page, percent: int) -> None:
    """Scroll so that the window's lower edge is at this part of the page, and wait until the tracker has looked."""
    await page.evaluate(
        """percent => new Promise(done => {
            addEventListener("scroll", () => requestAnimationFrame(() => setTimeout(done, 0)), { once: true });
            const lower = document.documentElement.scrollHeight * percent / 100;
            scrollTo({ top: lower - innerHeight, behavior: "instant" });
        })""",
        percent,
    )


def steps(events: Events) -> list[tuple[str, Any]]:
    """Each event as its type and what tells it from others of its type."""
    telling = ("event_value", "form_id", "clicked_element", "scroll_percentage")
    return [(event["event_type"], next((event[name] for name in telling if name in event), None)) for event in events]


def values(events: Events) -> list[str]:
    return [event["event_value"] for event in events if "event_value" in event]


def once(events: Events) -> Events:
    """What a session numbers: each event at its first place."""
    first: dict[str, dict[str, Any]] = {}
    for event in events:
        first.setdefault(event["event_id"], event)
    return list(first.values())


def of_session(records: Events, session_id: str | None) -> Events:
    """The events that the log holds of one session, each once, in the order in which they are numbered."""
    mine = [record for record in records if record["session_id"] == session_id and record["type"] == "event"]
    return once([record["data"] for record in mine])


def contexts_of(records: Events, session_id: str | None) -> Events:
    """The contexts that the log holds of one session, in order, without records that the collector sent again."""
    mine = [record for record in records if record["session_id"] == session_id and record["type"] == "session"]
    return [record["data"] for nth, record in enumerate(mine) if record not in mine[:nth]]
