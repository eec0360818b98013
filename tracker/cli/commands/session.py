"""``tracker session``: one session's state and its numbered timeline, in the terminal."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.options import command_settings

if TYPE_CHECKING:
    from tracker.cli.views.session import SessionView
    from tracker.settings import Settings


def session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The session's key; with --tinybird also its id.")],
    *,
    workspace: Annotated[
        str | None, typer.Option(help="The session's workspace; default: the first that has used the key.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with events as they are numbered.")] = False,
    tinybird: Annotated[bool, typer.Option("--tinybird", help="As Tinybird has it, instead of live.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line for the state and for each event.")] = False,
) -> None:
    """Show a session: its state, and its events with their numbers.

    Live, the state comes from the processor that owns the session and the events from Kafka. Exit codes: 0, 1 unknown
    or out of reach, 130 after Ctrl-C.

    For example:

      tracker session visitor-1

      tracker session 1001 --workspace w1 --follow

      tracker session 0193b2b4-… --tinybird --json
    """
    from tracker.cli.views.session import SessionView

    view = SessionView(as_json=as_json)
    settings = command_settings()
    if tinybird:
        from tracker.timeline import written

        row, events = asyncio.run(written(settings, session_id, workspace))
        view.state(row)
        for event in events:
            view.event(event)
        return
    asyncio.run(_live(settings, session_id, view, workspace=workspace, follow=follow))


async def _live(settings: "Settings", key: str, view: "SessionView", *, workspace: str | None, follow: bool) -> None:
    from tracker.timeline import live_state, open_live_events

    state = await live_state(settings, key, workspace or "")
    view.state(state)
    async with open_live_events(settings, key, int(state["created_at"])) as events:
        async for event in events.read(follow=follow):
            if event["workspace_id"] != state["workspace_id"]:
                continue
            if follow or event["session_id"] == state["session_id"]:
                view.event(event)
