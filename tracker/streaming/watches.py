"""Checks that a stage runs while it works: its rights, its lag, and whether all partitions are assigned."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Final, TypeVar

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from tracker.errors import RetryableError
from tracker.kafka.access import refusal
from tracker.kafka.admin import assigned_partitions
from tracker.settings import Settings
from tracker.streaming.app import ChunkApp
from tracker.streaming.lease import Lease

log = structlog.get_logger()

ACCESS_LOOK_SECONDS: Final = 5.0
#: A broker that starts may not know its users yet. A refusal counts once it has lasted this long.
REFUSED_SECONDS: Final = 10.0
LAG_LOOK_SECONDS: Final = 5.0
ASSIGNMENT_LOOK_SECONDS: Final = 5.0

AnyLease = TypeVar("AnyLease", bound=Lease)


async def watch_access(app: ChunkApp, settings: Settings, producer: AIOKafkaProducer) -> None:
    """Ask now and then whether the brokers still answer, and where they don't, whether it is us whom they refuse.

    Both the consumer and the stage's producer are asked: either may have lost its connections while the other works.
    While the stage starts, neither can be asked, and both wait for a broker for ever: each look makes a connection.

    Connections that work are left alone: a password that was changed does no harm until they break. A broker that is
    away is waited for (docs/decisions/0009).

    Raises:
        ConfigurationError: they have refused us for REFUSED_SECONDS; says which setting is wrong.
    """
    since: float | None = None
    while True:
        await asyncio.sleep(ACCESS_LOOK_SECONDS)
        refused = None if await _is_answered(app, producer) else await refusal(settings)
        if refused is None:
            since = None
        elif since is None:
            since = monotonic()
        elif monotonic() - since >= REFUSED_SECONDS:
            raise refused


async def _is_answered(app: ChunkApp, producer: AIOKafkaProducer) -> bool:
    if not app.has_started:
        return False
    return await app.chunk_consumer.thread.is_answered() and bool(await producer.client.force_metadata_update())


async def watch_lag(
    app: ChunkApp,
    kind: type[AnyLease],
    next_offset: Callable[[AnyLease], int],
    show: Callable[[Sequence[tuple[AnyLease, int]]], None],
) -> None:
    """Show now and then how many records each leased partition holds from ``next_offset`` of its lease on."""
    while True:
        leases = [lease for lease in app.leases.live() if isinstance(lease, kind)]
        try:
            ends = await app.chunk_consumer.thread.log_ends([lease.tp for lease in leases]) if leases else {}
        except KafkaError as error:
            log.warning("the lag could not be asked for", error=repr(error))
        else:
            show([(lease, max(0, ends[lease.tp] - next_offset(lease))) for lease in leases])
        await asyncio.sleep(LAG_LOOK_SECONDS)


async def watch_assignment(app: ChunkApp, settings: Settings, partitions: Mapping[str, int]) -> None:
    """Join again while the group has a partition that nobody is assigned.

    A static member that comes back within the session time-out gets its old partitions again. If partitions were added
    meanwhile, the group's leader does not notice them.

    Args:
        app: The stage's app.
        settings: How Kafka is reached.
        partitions: How many partitions each topic has that the group consumes.
    """
    expected = {TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)}
    before: Iterable[TopicPartition] = ()
    while True:
        await asyncio.sleep(ASSIGNMENT_LOOK_SECONDS)
        try:
            assigned = await assigned_partitions(settings, str(app.conf.id))
        except RetryableError:
            continue  # Kafka is away: the membership tells
        unassigned = expected - assigned if assigned is not None else set()
        if unassigned & set(before):  # twice: a rebalance may have begun since
            log.warning("partitions are assigned to nobody; joining again", partitions=sorted(map(str, unassigned)))
            app.chunk_consumer.thread.join_again_soon()
        before = unassigned
