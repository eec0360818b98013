"""What ``tracker health`` shows."""

from collections.abc import Sequence

import typer

from tracker.cli.views.terminal import inert, print_json
from tracker.observe.probe import Health


class HealthView:
    """The health of stages for a person, or for a machine."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def health(self, found: Sequence[Health]) -> None:
        """Show each stage, with one reason a line."""
        if self._as_json:
            print_json({one.stage: {"well": one.is_well, "reasons": one.reasons, **one.state} for one in found})
            return
        for one in found:
            typer.echo(f"{one.stage}: {'well' if one.is_well else 'not well'}")
            for reason in one.reasons:
                typer.echo(f"  {inert(reason)}")

    def drained(self, records_left: int | None) -> None:
        """Say whether the spill is empty; None: the collector did not say."""
        if records_left is None:
            typer.echo("the collector's metrics page does not say what the spill holds (TRACKER_COLLECT_METRICS_PORT)")
        else:
            typer.echo(f"the spill still holds {records_left} records" if records_left else "the spill is empty")
