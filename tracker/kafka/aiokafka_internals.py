"""Every private name of aiokafka that we lean on, each with the reason. No other module touches one (ruff SLF001).

aiokafka may move any of them in a new version. ``pyproject.toml`` therefore keeps it below the next minor version, and
``tests/unit/kafka/test_aiokafka_internals.py`` names what an upgrade has moved.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import consumer as consumer_module
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NoBrokersAvailable,
    NodeNotReadyError,
    ProducerClosed,
    RequestTimedOutError,
)
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.protocol.api import Request
from aiokafka.structs import OffsetAndMetadata

from tracker.kafka.record_decoding import AnyRecords, Record

#: Sends one heartbeat and returns whether the group accepted it.
Heartbeat = Callable[[], Awaitable[bool]]

#: Which class has each private name that this module reads or writes.
LEANED_ON: Final[tuple[tuple[type, str], ...]] = (
    (AIOKafkaAdminClient, "_client"),
    (AIOKafkaAdminClient, "_send_request"),
    (AIOKafkaClient, "_sync_task"),
    (AIOKafkaConsumer, "_client"),
    (AIOKafkaConsumer, "_coordinator"),
    (AIOKafkaConsumer, "_fetch_max_wait_ms"),
    (AIOKafkaConsumer, "_fetcher"),
    (AIOKafkaConsumer, "_isolation_level"),
    (AIOKafkaConsumer, "_subscription"),
    (AIOKafkaProducer, "_message_accumulator"),
    (AIOKafkaProducer, "_sender"),
    (Fetcher, "_fetch_task"),
    (Fetcher, "_prefetch_backoff"),
    (Fetcher, "_records"),
    (Fetcher, "_set_error"),
    (GroupCoordinator, "_coordination_task"),
    (GroupCoordinator, "_do_heartbeat"),
    (GroupCoordinator, "_group_instance_id"),
    (GroupCoordinator, "_send_req"),
    (MessageAccumulator, "_batch_ttl"),
    (PartitionRecords, "_consumer_record"),
)


#: What a request raises whose broker is away.
NO_ANSWER: Final = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)


class PlacedRecords(PartitionRecords):  # type: ignore[misc] # aiokafka is untyped
    """Gives records as ``Record``, as they are in the log: none of our consumers has deserializers."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Record:
        return Record(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp,
            record.timestamp_type,
            record.key,
            record.value,
            tuple(record.headers),
        )


class SteadyFetcher(Fetcher):  # type: ignore[misc] # aiokafka is untyped
    """Goes on where two brokers are asked for a partition's position, each taken for its leader, and both fail.

    aiokafka's own asserts that there is only one such failure at a time, and its fetching ends for good.
    """

    def _set_error(self, tp: TopicPartition, error: Exception) -> None:
        if tp not in self._records:
            super()._set_error(tp, error)


def adapt_consumers() -> None:
    """Have every consumer of this process fetch by ``SteadyFetcher`` and decode by ``AnyRecords``, into ``Record``.

    aiokafka has no setting for either. Call it before a consumer starts.
    """
    consumer_module.Fetcher = SteadyFetcher
    fetcher.MemoryRecords = AnyRecords
    fetcher.PartitionRecords = PlacedRecords


def read_committed(consumer: AIOKafkaConsumer) -> None:
    """Skip records of aborted transactions. Call it before the start: Faust's default is to read them."""
    consumer._isolation_level = "read_committed"


def never_expire_batches(producer: AIOKafkaProducer) -> None:
    """Let batches wait for the broker without a limit: aiokafka ties the limit to the request time-out."""
    producer._message_accumulator._batch_ttl = math.inf


async def end_sender(producer: AIOKafkaProducer) -> None:
    """End the task that sends: ``stop`` first sends everything, and without a broker that never ends."""
    await producer._sender.close()


def fail_unsent(producer: AIOKafkaProducer) -> None:
    """Fail all batches that were not sent, so that ``stop`` has nothing to wait for."""
    producer._message_accumulator.fail_all(ProducerClosed())


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc] # aiokafka is untyped
    """An admin client that asks another broker where one does not answer: aiokafka's asks one, drawn by lot."""

    async def ask(self, request: "Request[Any]") -> Any:
        """Send a request that aiokafka does not know, to any broker.

        Raises:
            KafkaError: no broker answers.
        """
        return await self._send_request(request)

    async def ask_each(self, request: "Request[Any]") -> list[Any]:
        """Send a request that aiokafka does not know to every broker, and return the answers of those that answer.

        Raises:
            KafkaError: no broker answers.
        """
        brokers = [broker.nodeId for broker in self._client.cluster.brokers()]
        asked = (super(AdminClient, self)._send_request(request, broker) for broker in brokers)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NO_ANSWER):
                raise answer
        answered = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not answered:
            raise NoBrokersAvailable()
        return answered

    async def _send_request(self, request: "Request[Any]", node_id: int | None = None) -> Any:
        if node_id is not None:
            return await super()._send_request(request, node_id)
        failed: KafkaError = NoBrokersAvailable()
        first = self._client.get_random_node()
        brokers = {broker.nodeId for broker in self._client.cluster.brokers()}
        for broker in (first, *(brokers - {first})):
            try:
                return await super()._send_request(request, broker)
            except NO_ANSWER as error:
                failed = error
        raise failed


def set_fetch_max_wait_ms(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Set how long a broker may hold a fetch open. Call it before the start: Faust fixes it at 1.5 s."""
    consumer._fetch_max_wait_ms = wait_ms


def set_prefetch_backoff(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Set how long fetched records may keep other partitions from being fetched: aiokafka has no setting for it."""
    consumer._fetcher._prefetch_backoff = seconds


async def is_answered(consumer: AIOKafkaConsumer) -> bool:
    """Return whether a broker answers now: a consumer has no public way to ask."""
    return bool(await consumer._client.force_metadata_update())


def active_assignment(consumer: AIOKafkaConsumer) -> Any:
    """Return the assignment with the state of each partition; None before the first. aiokafka keeps it private."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    return assignment if assignment is not None and assignment.active else None


def poll(consumer: AIOKafkaConsumer) -> AbstractContextManager[None]:
    """Count as a poll, without ``getmany``: that one raises where a rebalance only means that there is nothing."""
    return cast("AbstractContextManager[None]", consumer._subscription.fetch_context())


async def take_fetched(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], timeout_seconds: float, max_records: int
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """Return the records that have been fetched, after a wait if there are none. For the same reason as ``poll``."""
    return cast(
        "dict[TopicPartition, list[ConsumerRecord]]",
        await consumer._fetcher.fetched_records(partitions, timeout=timeout_seconds, max_records=max_records),
    )


def coordinator_of(consumer: AIOKafkaConsumer) -> Any:
    """Return the object that talks to the group's coordinator: only it can read and change the membership."""
    return consumer._coordinator


async def committed_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return what the group has committed, with its metadata: aiokafka's own ``committed`` leaves that out."""
    return cast(
        "dict[TopicPartition, OffsetAndMetadata]",
        await consumer._coordinator.fetch_committed_offsets(partitions),
    )


def when_a_task_ends(consumer: AIOKafkaConsumer, done: Callable[["asyncio.Task[None]"], None]) -> None:
    """Have ``done`` called when the task that coordinates, fetches or keeps the metadata ends.

    aiokafka tells of an end of the first at the next poll, and of the others never: the consumer just gets no records.
    """
    for task in (consumer._coordinator._coordination_task, *reading_tasks(consumer)):
        task.add_done_callback(done)


def reading_tasks(consumer: AIOKafkaConsumer) -> Sequence["asyncio.Task[None]"]:
    """Return the tasks that fetch and keep the metadata; none of them ends before the consumer is closed."""
    # A client that is closed has none.
    return [task for task in (consumer._fetcher._fetch_task, consumer._client._sync_task) if task is not None]


def replace_heartbeat(coordinator: Any, heartbeat: Heartbeat) -> Heartbeat:
    """Replace aiokafka's heartbeat by ``heartbeat`` and return the old one, which leaves the instance id out."""
    replaced: Heartbeat = coordinator._do_heartbeat
    coordinator._do_heartbeat = heartbeat
    return replaced


def instance_id(coordinator: Any) -> str:
    """Return the static member's name: it is not public."""
    return str(coordinator._group_instance_id)


async def ask_coordinator(coordinator: Any, request: "Request[Any]") -> Any:
    """Send a request to the group's coordinator: there is no public way to send one."""
    return await coordinator._send_req(request)
