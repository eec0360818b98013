"""``tracker dev`` and ``tracker demo``: everything on this machine."""

from typing import Annotated

import typer

from tracker.cli.options import DataDir, command_settings

CollectPort = Annotated[
    int | None,
    typer.Option("--port", help="The collector's port. \\[TRACKER_COLLECT_PORT]", min=1, max=65535),
]


def dev(port: CollectPort = None, data_dir: DataDir = None) -> None:
    """Run all stages on this machine, with a local Kafka and Tinybird unless some already answer.

    Example: tracker dev --port 8080
    """
    from tracker.local.dev import run

    raise typer.Exit(run(command_settings(collect_port=port, data_dir=data_dir)))


def demo(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Unattended: a real browser visits, then its rows are compared.")
    ] = False,
    port: CollectPort = None,
    data_dir: DataDir = None,
) -> None:
    """Run everything and show live what arrives in events_v1.

    For example:

      tracker demo               click around on the demo page and watch the rows

      tracker demo --check       own ports and data, headless Chromium, exit code 0 if every event is there and counted
    """
    settings = command_settings(collect_port=port, data_dir=data_dir)
    if check:
        from tracker.demo.check import run as run_check

        raise typer.Exit(run_check(settings))
    from tracker.demo.live import run as run_live

    raise typer.Exit(run_live(settings))
