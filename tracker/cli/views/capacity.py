"""What ``tracker capacity`` shows."""

import math
from dataclasses import asdict
from typing import Final

import typer

from tracker.capacity import Capacity, Need
from tracker.cli.views.terminal import print_json

_STEPS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


class CapacityView:
    """The needs of a deployment for a person, or for a machine."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    def capacity(self, found: Capacity) -> None:
        """Show what a load needs, and what limits it first."""
        if self._as_json:
            print_json({**asdict(found), "walls": list(found.walls)})
            return
        for line in lines(found):
            typer.echo(line)


def lines(found: Capacity) -> list[str]:
    """Return the page's lines."""
    load = found.load
    per_million = found.tinybird_bytes_per_million
    shown = [
        f"{load.events_per_second:,.0f} events/s, {load.events_per_request:g} a request, "
        f"{load.events_per_session:g} a session",
        f"  collect     {_stage(found.collect)}",
        f"  process     {_stage(found.process)}",
        f"  sink        {_stage(found.sink)}",
        f"  partitions  {found.partitions:,}; {found.open_sessions:,.0f} open sessions",
        f"  recovery    {found.recovery_seconds:,.1f} s, if a worker and its disk are lost and no standby is warm",
        f"  Kafka       {size(found.kafka_in_bytes_per_second)}/s in, {size(found.kafka_disk_bytes)} of disk "
        f"with {load.replication} replicas",
        f"  Tinybird    {size(found.tinybird_bytes_per_second)}/s in {found.tinybird_requests_per_second:,.1f} "
        f"requests/s a datasource; {size(per_million)} for a million events",
    ]
    return [*shown, *(f"  limit       {wall}" for wall in found.walls)]


def size(count: float) -> str:
    """Return bytes in a unit that is read easily."""
    step = min(len(_STEPS) - 1, int(math.log10(max(1, count))) // 3)
    scaled = count / 1_000**step
    return f"{scaled:,.0f} {_STEPS[step]}" if scaled >= 1_000 else f"{scaled:.3g} {_STEPS[step]}"  # noqa: PLR2004


def _stage(need: Need) -> str:
    cores = f"{need.cores:,.1f}" if need.cores >= 0.1 else f"{need.cores:.2f}"  # noqa: PLR2004
    return f"{cores} cores busy: {need.processes:,} processes of one core, {size(need.memory_bytes)} each"
