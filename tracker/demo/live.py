"""``tracker demo``: the stack, quietly, and each row of ``events_v1`` as it arrives."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from tracker.demo.logs import LogFiles
from tracker.errors import RetryableError
from tracker.local.dev import run_until_signalled
from tracker.local.stack import addresses, running_stack
from tracker.processes.supervisor import ChildExited
from tracker.settings import Settings
from tracker.tinybird.sql import QueryApi
from tracker.tinybird_clients import query_api

POLL_SECONDS: Final = 0.4
#: Rows that are looked at in each poll: the newest ones by the client's time.
WINDOW_ROWS: Final = 500
#: Of a burst only so many rows are shown.
SHOWN_ROWS: Final = 50

_EVENTS: Final = f"""
SELECT id, timestamp, session_id, session_event_sequence, event_type, page_url, clicked_element, form_id,
       scroll_percentage, event_value
FROM events_v1 FINAL ORDER BY timestamp DESC, session_event_sequence DESC LIMIT {WINDOW_ROWS}
"""  # noqa: S608 - a constant
_CLOSED: Final = f"""
SELECT session_id AS id, session_id, close_reason, event_count, closed_at
FROM session_v1 FINAL WHERE is_expired ORDER BY closed_at DESC LIMIT {WINDOW_ROWS}
"""  # noqa: S608 - a constant

Row = Mapping[str, Any]


def run(settings: Settings) -> int:
    """Run everything and show what arrives until Ctrl-C, SIGTERM, or until a process ends by itself.

    Returns:
        The exit code, as of ``tracker.local.dev.run``.
    """
    return run_until_signalled(_live(settings, Console()))


async def _live(settings: Settings, console: Console) -> int:
    with contextlib.closing(LogFiles(settings.data_dir / "logs", console)) as logs:

        def say(line: str) -> None:
            console.print(line, style="dim", markup=False, highlight=False)

        try:
            async with (
                running_stack(settings, write_line=logs.write_line, say=say) as stack,
                query_api(settings) as rows,
            ):
                logs.is_showing_errors = True
                _show_addresses(settings, console)
                await stack.guard(_show_arrivals(rows, console))
        except ChildExited as exited:
            logs.show_end(exited)
            raise
    return 0


def _show_addresses(settings: Settings, console: Console) -> None:
    console.rule("ready; Ctrl-C stops everything")
    for what, address in addresses(settings).items():
        # Not wrapped, so that it can be copied.
        console.print(f"{what:<12} {address}", markup=False, highlight=False, soft_wrap=True)
    console.rule("what arrives in events_v1")
    console.print(f"{'time':<12}  {'session':<12}  {'#':>3}  {'event':<12} what", style="bold")


async def _show_arrivals(rows: QueryApi, console: Console) -> None:
    """Print rows that were not there before, oldest first, for ever."""
    events, closed = Arrivals(), Arrivals()
    events.take(await rows.select(_EVENTS))
    closed.take(await rows.select(_CLOSED))
    while True:
        await asyncio.sleep(POLL_SECONDS)
        # A query that fails is asked again; if Tinybird is gone, its process ending says so.
        with contextlib.suppress(RetryableError):
            new = events.take(await rows.select(_EVENTS))
            for row in new[:SHOWN_ROWS]:
                console.print(event_line(row), no_wrap=True, overflow="ellipsis")
            if len(new) > SHOWN_ROWS:
                console.print(f"… and {len(new) - SHOWN_ROWS} more", style="dim")
            for row in closed.take(await rows.select(_CLOSED)):
                console.print(closed_line(row))


class Arrivals:
    """Tells the rows of a window that are new since it was looked at last. Remembers one window, no more."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def take(self, window: list[Row]) -> list[Row]:
        """Return the new rows of a window that is ordered newest first; they come out oldest first."""
        new = [row for row in window if row["id"] not in self._seen]
        self._seen = {row["id"] for row in window}
        return new[::-1]


def event_line(row: Row) -> Text:
    """Return an event as a line: time, session, sequence, type, and its subject."""
    about = [row[name] for name in ("clicked_element", "form_id", "event_value") if row[name]]
    if row["scroll_percentage"] is not None:
        about.append(f"{row['scroll_percentage']:g} %")
    return Text.assemble(
        (f"{_time(row['timestamp'])}  ", "dim"),
        (f"{_short(row['session_id'])}  ", "cyan"),
        (f"{row['session_event_sequence']:>3}  ", "bold"),
        (f"{row['event_type']:<12} ", "green"),
        " ".join(map(str, [*about, row["page_url"]])),
    )


def closed_line(row: Row) -> Text:
    """Return the end of a session as a line."""
    end = f"session closed ({row['close_reason']}) after {row['event_count']} events"
    time, session = f"{_time(row['closed_at'])}  ", f"{_short(row['session_id'])}  "
    return Text.assemble((time, "dim"), (session, "cyan"), (f"     {end}", "yellow"))


def _time(timestamp: str) -> str:
    return timestamp.partition(" ")[2][:12].ljust(12)


def _short(session_id: str) -> str:
    # The end of a UUIDv7 is its random part; the beginning is the same for all sessions of the hour.
    return session_id[-12:].ljust(12)
