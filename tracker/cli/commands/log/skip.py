"""``tracker skip``: have a record of the source log passed over, by every fold of it."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.options import command_settings

if TYPE_CHECKING:
    from tracker.settings import Settings


def skip(
    *,
    partition: Annotated[int, typer.Option(help="The partition that is stuck.", min=0)],
    offset: Annotated[int, typer.Option(help="The offset that it is stuck at, as its log says.", min=0)],
    count: Annotated[int, typer.Option(help="How many offsets from there on.", min=1, max=10_000)] = 1,
    reason: Annotated[str, typer.Option(help="Why; it stands in the dead letters.")] = "skipped by an operator",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Skip records that no processor gets past. Dead letters stand for them, live and in every replay.

    The decision is written to the log's history. It takes effect when the partition is next taken over: start its
    processor again, if it has not ended by itself.

    Example: tracker skip --partition 3 --offset 4711 --reason "see incident 12"
    """
    settings = command_settings()
    if not yes:
        which = f"offset {offset}" if count == 1 else f"offsets {offset} to {offset + count - 1}"
        typer.confirm(f"Skip {which} of partition {partition} for good?", abort=True)
    asyncio.run(_skip(settings, partition, range(offset, offset + count), reason))
    typer.echo(f"partition {partition}: {count} skipped; start its processor again")


async def _skip(settings: "Settings", partition: int, offsets: range, reason: str) -> None:
    from tracker.history.skip import skip_records
    from tracker.kafka.access import require_access

    await require_access(settings, "skip")
    await skip_records(settings, partition, offsets, reason)
