"""What ``tracker session`` shows: the state of a session and its events."""

from collections.abc import Mapping
from typing import Any, Final

import typer

from tracker.cli.views.terminal import inert, print_json_line

#: Fields of an event that are shown after its number, time and type, if it has them.
SHOWN_FIELDS: Final = (
    "page_url",
    "clicked_element",
    "form_id",
    "event_value",
    "scroll_percentage",
    "time_on_page",
)
SHOWN_CHARS: Final = 100


class SessionView:
    """A session line by line, as its events are read."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def state(self, state: Mapping[str, Any]) -> None:
        """Show the state."""
        if self._as_json:
            print_json_line("session", state)
            return
        typer.secho(_short(state["session_id"]), bold=True)
        for name, value in state.items():
            if name != "session_id" and value not in ("", None, []):
                typer.echo(f"  {name:<20} {_short(value)}")

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event with its number."""
        if self._as_json:
            print_json_line("event", event)
            return
        fields = "  ".join(f"{name}={_short(event[name])}" for name in SHOWN_FIELDS if event.get(name))
        typer.echo(f"{event['session_event_sequence']:>6}  {event['timestamp']}  {event['event_type']:<11}  {fields}")


def _short(value: object) -> str:
    return inert(str(value)[:SHOWN_CHARS])
