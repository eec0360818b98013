"""How every Kafka client of ours is made: one place for addresses, durability and limits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from aiokafka.partitioner import murmur2

from tracker.errors import RetryableError
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.security import security_options
from tracker.settings import Settings

log = structlog.get_logger()

Answer = TypeVar("Answer")

#: Memory that a producer may hold for one batch; a record batch on the broker is limited to 1 MiB by default.
PRODUCER_BATCH_MAX_BYTES: Final = 262_144
#: The largest produce request; the broker's default message.max.bytes is 1,048,588.
PRODUCER_REQUEST_MAX_BYTES: Final = 1_000_000
REQUEST_TIMEOUT_MS: Final = 40_000
METADATA_MAX_AGE_MS: Final = 30_000
#: Between two tries of something that the broker could not do.
RETRY_SECONDS: Final = 1.0


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Return the options that every client needs to reach the cluster and to log in.

    Raises:
        ConfigurationError: the settings contradict each other, or a certificate can't be read.
    """
    return {
        "bootstrap_servers": settings.kafka_bootstrap,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        **security_options(settings),
    }


def new_producer(settings: Settings, client_id: str, **options: Any) -> AIOKafkaProducer:
    """Return an unstarted producer that is idempotent and waits for all replicas. aiokafka's defaults are neither."""
    return AIOKafkaProducer(
        **{
            **client_options(settings, client_id),
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": PRODUCER_BATCH_MAX_BYTES,
            "max_request_size": PRODUCER_REQUEST_MAX_BYTES,
            **options,
        },
    )


def never_give_up(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """Let batches wait for the broker as long as it takes, instead of 40 seconds (docs/decisions/0009).

    The idempotent producer sends the same batch with the same number again, so a late ack doubles nothing.
    """
    internals.never_expire_batches(producer)
    return producer


async def until_answered(bootstrap: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask Kafka for something until it answers, however long it is away; says so in the log.

    Raises:
        KafkaError: an error that does not pass.
    """
    while True:
        try:
            return await ask()
        except (RetryableError, KafkaError) as error:
            if isinstance(error, KafkaError) and not is_passing(error):
                raise
            log.warning("no Kafka answers; waiting for it", bootstrap=bootstrap, error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


def is_passing(error: KafkaError) -> bool:
    """Return whether an error is the broker being away, slow or in transition, so that trying again makes sense."""
    return bool(error.retriable) or isinstance(error, KafkaConnectionError | KafkaTimeoutError)


class Reader(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka is untyped
    """A consumer that closes also where it is given up while it starts, as a recovery is by the next rebalance."""

    async def __aenter__(self) -> Self:
        """Start it."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def getmany(self, *partitions: TopicPartition, **limits: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return records as aiokafka does.

        Raises:
            KafkaConnectionError: it has stopped to fetch for good; another reader may go on.
        """
        found: dict[TopicPartition, list[ConsumerRecord]] = await super().getmany(*partitions, **limits)
        if not found and any(task.done() for task in internals.reading_tasks(self)):
            raise KafkaConnectionError("the reader has stopped to fetch")
        return found

    async def stop(self) -> None:
        """Close it, also right after its start."""
        # aiokafka cancels a task that it has made. If that task has never run, the cancellation would reach our caller.
        await asyncio.sleep(0)
        await super().stop()


def new_reader(settings: Settings, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """Return an unstarted consumer without a group: the caller assigns partitions and seeks.

    It reads every record that a transaction has not aborted. Where a transaction is open, the log ends there.
    """
    internals.adapt_consumers()
    return Reader(
        **client_options(settings, client_id),
        **{
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            **options,
        },
    )


def partition_for_key(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own default partitioner (murmur2) gives a key."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
