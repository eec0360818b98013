"""``tracker capacity``: what a deployment needs at a rate of events."""

from typing import Annotated

import typer

Rate = Annotated[float, typer.Option(min=1, max=1e9, help="Events a second at the busiest time.")]


def capacity(
    *,
    events_per_second: Rate,
    events_per_request: Annotated[float, typer.Option(min=1, help="Events in a request; pages send 1 to 5.")] = 1.0,
    events_per_session: Annotated[float, typer.Option(min=1, help="Events in a session.")] = 8.0,
    session_minutes: Annotated[float, typer.Option(min=1, help="A session's length, its time-out included.")] = 40.0,
    replication: Annotated[int, typer.Option(min=1, max=9, help="Replicas of each topic.")] = 3,
    core_speed: Annotated[float, typer.Option(min=0.01, help="Your core beside the measured one (make bench).")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Compute cores, partitions, disks, recovery and Tinybird's part for a load, and what limits it first.

    The model is made of the figures of docs/performance.md; docs/capacity.md says how. It asks nothing of Kafka.

    Example: tracker capacity --events-per-second 100000 --events-per-request 5
    """
    from tracker.capacity import Load
    from tracker.capacity import capacity as compute
    from tracker.cli.views.capacity import CapacityView

    load = Load(
        events_per_second=events_per_second,
        events_per_request=events_per_request,
        events_per_session=events_per_session,
        session_seconds=60 * session_minutes,
        replication=replication,
        core_speed=core_speed,
    )
    CapacityView(as_json=as_json).capacity(compute(load))
