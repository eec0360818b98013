"""The connection to Kafka: made as soon as Kafka can be reached, and made again when it has broken."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import DeliveryMetrics
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.access import refusal
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

CONNECT_TIMEOUT_SECONDS: Final = 15.0
RECONNECT_DELAY_SECONDS: Final = 1.0
#: How long a readiness probe waits for the broker.
PROBE_TIMEOUT_SECONDS: Final = 2.0
#: How long a close waits for Kafka's answers.
FLUSH_TIMEOUT_SECONDS: Final = 10.0
#: How long a close waits for aiokafka's own tasks after they were told to end.
CLOSE_TIMEOUT_SECONDS: Final = 5.0

log = structlog.get_logger()


#: Makes an unstarted producer from the settings and a client id.
ProducerFactory = Callable[[Settings, str], AIOKafkaProducer]


class KafkaConnection:
    """Has a sender while Kafka can be reached.

    ``topics`` must exist before anything is sent: a broker that creates missing topics does not give them the settings
    of the catalog.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: DeliveryMetrics,
        tasks: SupervisedTasks,
        *,
        topics: Sequence[str],
        on_trouble: Callable[[str], None],
        make_producer: ProducerFactory,
    ) -> None:
        self._settings = settings
        self._make_producer = make_producer
        self._metrics = metrics
        self._tasks = tasks
        self._topics = topics
        self._on_trouble = on_trouble
        self._sender: BatchSender | None = None
        #: Why events can't be accepted: there is no sender, or it gets no answers.
        self.reason = "not connected to Kafka yet"

    async def sender(self) -> BatchSender:
        """Return the sender; connect first, for as long as that takes. One caller at a time."""
        while self._sender is None:
            try:
                self._sender = await self._connect()
            except (KafkaError, OSError, TimeoutError, RetryableError) as error:
                # A wrong password looks like a broker that is away. The collector says which it is, and waits.
                refused = await refusal(self._settings) if isinstance(error, KafkaConnectionError) else None
                self._note_unready(refused or error)
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
        return self._sender

    async def learn(self, sender: BatchSender, topic: str) -> None:
        """Tell a sender about one more topic.

        Raises:
            RetryableError: it does not exist.
        """
        sender.learn(topic, await self._count_partitions(sender.producer, topic))

    async def replace(self) -> None:
        """Close a sender that has broken. It must not send anything any more once another one sends."""
        sender, self._sender = self._sender, None
        if sender is not None:
            self.reason = f"reconnecting to Kafka after {type(sender.broken).__name__}"
            log.warning("the producer has broken; another is started", error=repr(sender.broken))
            await self._end(sender)

    async def close(self) -> None:
        """Wait, within a limit, for Kafka's answers, and close the producer."""
        sender, self._sender = self._sender, None
        self.reason = "the collector is stopping"
        if sender is not None:
            await self._end(sender)

    async def unready_reason(self) -> str | None:
        """Ask the broker, within a limit, and return why it takes no records now; None if it takes them."""
        if self._sender is None:
            return self.reason
        client = self._sender.producer.client
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                has_answered = await client.force_metadata_update()
        except TimeoutError:
            has_answered = False
        if not has_answered:
            return await self._refusal() or f"Kafka at {self._settings.kafka_bootstrap} does not answer"
        missing = [topic for topic in self._topics if topic not in client.cluster.topics()]
        return f"topic {missing[0]} is gone" if missing else None

    async def _refusal(self) -> str | None:
        """Return why Kafka refuses us, and log it once; None if it does not refuse us."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                refused = await refusal(self._settings)
        except TimeoutError:
            refused = None
        if refused is None:
            return None
        self._note_unready(refused)
        return self.reason

    async def _connect(self) -> BatchSender:
        producer = self._make_producer(self._settings, "tracker-collect")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await producer.start()
                sender = BatchSender(
                    producer,
                    self._metrics,
                    self._tasks,
                    ack_timeout_seconds=self._settings.collect_ack_timeout_ms / 1000,
                    on_trouble=self._on_trouble,
                )
                for topic in self._topics:
                    await self.learn(sender, topic)
        except BaseException:
            await _end_producer(producer)
            raise
        log.info("Kafka connected", topics=list(self._topics))
        self.reason = "Kafka did not acknowledge in time"
        return sender

    async def _count_partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        cluster = await producer.client.fetch_all_metadata()
        if topic not in cluster.topics():
            raise RetryableError(f"topic {topic} does not exist; run: tracker topics create")
        return len(await producer.partitions_for(topic))

    def _note_unready(self, error: BaseException) -> None:
        where = self._settings.kafka_bootstrap
        known = isinstance(error, RetryableError | ConfigurationError)
        reason = str(error) if known else f"can't reach Kafka at {where} ({type(error).__name__})"
        if reason != self.reason:
            level = logging.ERROR if isinstance(error, ConfigurationError) else logging.WARNING
            log.log(level, "Kafka is not available", reason=reason)
        self.reason = reason

    async def _end(self, sender: BatchSender) -> None:
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await sender.settled()
        except (TimeoutError, KafkaError) as error:
            log.warning("the producer could not be flushed", error=repr(error))
        sender.stop_shipping()
        await _end_producer(sender.producer)


async def _end_producer(producer: AIOKafkaProducer) -> None:
    """Close a producer so that it sends nothing more, even if it still holds batches.

    aiokafka's own ``stop`` first sends everything, which never ends without a broker. If we stop waiting for that, its
    sender task goes on sending. So that task is ended first.
    """
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await internals.end_sender(producer)
    except (TimeoutError, KafkaError) as error:
        log.debug("the producer's sender did not end", error=repr(error))
    internals.fail_unsent(producer)
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError, OSError) as error:
        log.warning("the producer could not be closed", error=repr(error))
