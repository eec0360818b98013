"""``tracker session``: one session's state and its numbered timeline, in the terminal."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli.options import command_settings

if TYPE_CHECKING:
    from tracker.settings import Settings

#: What is said of an event beside its number, time and type, where it has it.
SHOWN_FIELDS = ("page_url", "clicked_element", "form_id", "event_value", "scroll_percentage", "time_on_page")
SHOWN_CHARS = 100


def session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The session's key; with --tinybird also its id.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with events as they are numbered.")] = False,
    tinybird: Annotated[bool, typer.Option("--tinybird", help="As Tinybird has it, instead of live.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line for the state and for each event.")] = False,
) -> None:
    """Show a session: its state, and its events with their numbers.

    Live, the state comes from the processor that owns the session and the events from Kafka. Exit codes: 0, 1 unknown
    or out of reach, 130 after Ctrl-C.

    For example:

      tracker session visitor-1

      tracker session visitor-1 --follow

      tracker session 0193b2b4-… --tinybird --json
    """
    show = _JsonShow() if as_json else _PersonShow()
    settings = command_settings()
    if tinybird:
        from tracker.timeline import written

        row, events = asyncio.run(written(settings, session_id))
        show.state(row)
        for event in events:
            show.event(event)
        return
    asyncio.run(_live(settings, session_id, show, follow=follow))


async def _live(settings: "Settings", key: str, show: "_PersonShow | _JsonShow", *, follow: bool) -> None:
    from tracker.timeline import live_state, open_live_events

    state = await live_state(settings, key)
    show.state(state)
    async with open_live_events(settings, key, int(state["created_at"])) as events:
        async for event in events.read(follow=follow):
            if follow or event["session_id"] == state["session_id"]:
                show.event(event)


class _JsonShow:
    def state(self, state: Mapping[str, Any]) -> None:
        typer.echo(json.dumps({"type": "session", **state}))

    def event(self, event: Mapping[str, Any]) -> None:
        typer.echo(json.dumps({"type": "event", **event}))


class _PersonShow:
    def state(self, state: Mapping[str, Any]) -> None:
        typer.secho(_inert(str(state["session_id"])), bold=True)
        for name, value in state.items():
            if name != "session_id" and value not in ("", None, []):
                typer.echo(f"  {name:<20} {_inert(str(value))}")

    def event(self, event: Mapping[str, Any]) -> None:
        said = "  ".join(f"{name}={_inert(str(event[name]))}" for name in SHOWN_FIELDS if event.get(name))
        typer.echo(f"{event['session_event_sequence']:>6}  {event['timestamp']}  {event['event_type']:<11}  {said}")


def _inert(text: str) -> str:
    """Events come from outside: what would move the cursor or colour the terminal is shown as it is written."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:SHOWN_CHARS])
