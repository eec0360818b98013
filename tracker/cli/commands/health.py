"""``tracker health``: how the stages on this machine are, for people, health checks and hooks."""

from typing import Annotated, Literal

import typer

from tracker.cli.options import load_settings

StageName = Literal["collect", "process", "sink"]
STAGES: tuple[StageName, ...] = ("collect", "process", "sink")


def health(
    stage: Annotated[StageName | None, typer.Argument(help="Default: whichever of the three answers here.")] = None,
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it can do its work, not only whether it lives.")
    ] = (False),
    drain_seconds: Annotated[
        int | None, typer.Option(min=0, help="Collector: wait so long until its spill is empty; before a stop.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Ask the stages on this machine how they are. Exit codes: 0 well, 1 not, with the reasons.

    For example:

      tracker health process --ready

      tracker health collect --drain-seconds 300
    """
    from tracker.cli.views.health import HealthView
    from tracker.observe.probe import ask, wait_for_empty_spill

    view = HealthView(as_json=as_json)
    settings = load_settings()
    if drain_seconds is not None:
        left = wait_for_empty_spill(settings, drain_seconds)
        view.drained(left)
        raise typer.Exit(0 if left == 0 else 1)
    page = "/readyz" if ready else "/healthz"
    found = [ask(settings, name, page) for name in ((stage,) if stage else STAGES)]
    if stage is None:
        found = [one for one in found if one.status] or found
    view.health(found)
    if not all(one.is_well for one in found):
        raise typer.Exit(1)
