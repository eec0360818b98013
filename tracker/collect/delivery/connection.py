"""The connection to Kafka: made when it can be, made anew when it is broken, and ended for certain."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import CollectMetrics
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.access import refusal
from tracker.settings import Settings

CONNECT_TIMEOUT_SECONDS: Final = 15.0
#: Records of one session in a batch at most.
MAX_KEY_RECORDS: Final = 10_000
RECONNECT_DELAY_SECONDS: Final = 1.0
#: How long a readiness probe waits for the broker.
PROBE_TIMEOUT_SECONDS: Final = 2.0
#: How long an end waits for what the producer was handed.
FLUSH_TIMEOUT_SECONDS: Final = 10.0
#: How long an end waits for aiokafka's own tasks, once it has been told to give up.
CLOSE_TIMEOUT_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


#: Makes an unstarted producer from the settings and a client id.
ProducerFactory = Callable[[Settings, str], AIOKafkaProducer]


class Connection:
    """Holds the sender of the moment, if Kafka can be reached.

    ``topics`` must exist before anything is sent: a broker that creates topics on its own would make them, but not with
    the catalog's settings.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: CollectMetrics,
        *,
        topics: Sequence[str],
        on_trouble: Callable[[str], None],
        make_producer: ProducerFactory,
    ) -> None:
        self._settings = settings
        self._make_producer = make_producer
        self._metrics = metrics
        self._topics = topics
        self._on_trouble = on_trouble
        self._sender: BatchSender | None = None
        #: Why there is no sender.
        self.reason = "not connected to Kafka yet"

    async def sender(self) -> BatchSender:
        """Return the sender; connect first, for as long as that takes. One caller at a time."""
        while self._sender is None:
            try:
                self._sender = await self._connect()
            except (KafkaError, OSError, TimeoutError, RetryableError) as error:
                # A password that was changed looks like a broker that is away; but we run, so we wait and say it.
                refused = await refusal(self._settings) if isinstance(error, KafkaConnectionError) else None
                self._note_unready(refused or error)
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
        return self._sender

    async def learn(self, sender: BatchSender, topic: str) -> None:
        """Have a sender know one more topic.

        Raises:
            RetryableError: it does not exist.
        """
        sender.learn(topic, await self._count_partitions(sender.producer, topic))

    async def replace(self) -> None:
        """End a sender that has broken, for certain: nothing may be sent by it after what others send."""
        sender, self._sender = self._sender, None
        if sender is not None:
            self.reason = f"reconnecting to Kafka after {type(sender.broken).__name__}"
            _log.warning("the producer has broken; another is started", error=repr(sender.broken))
            await self._end(sender)

    async def close(self) -> None:
        """Wait, within a limit, for what the producer was handed, and end it."""
        sender, self._sender = self._sender, None
        self.reason = "the collector is stopping"
        if sender is not None:
            await self._end(sender)

    async def unready_reason(self) -> str | None:
        """Ask the broker, within a limit, and return why it can't take records now, or None if it can."""
        if self._sender is None:
            return self.reason
        client = self._sender.producer.client
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                answered = await client.force_metadata_update()
        except TimeoutError:
            answered = False
        if not answered:
            return await self._refusal() or f"Kafka at {self._settings.kafka_bootstrap} does not answer"
        missing = [topic for topic in self._topics if topic not in client.cluster.topics()]
        return f"topic {missing[0]} is gone" if missing else None

    async def _refusal(self) -> str | None:
        """Return why Kafka does not let us in, and say it once in the log; None if that is not the reason."""
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
                    ack_timeout_seconds=self._settings.collect_ack_timeout_ms / 1000,
                    max_key_records=MAX_KEY_RECORDS,
                    on_trouble=self._on_trouble,
                )
                for topic in self._topics:
                    await self.learn(sender, topic)
        except BaseException:
            await _end_producer(producer)
            raise
        _log.info("Kafka connected", topics=list(self._topics))
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
            _log.log(level, "kafka_unavailable", reason=reason)
        self.reason = reason

    async def _end(self, sender: BatchSender) -> None:
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await sender.settled()
        except (TimeoutError, KafkaError) as error:
            _log.warning("the producer could not be flushed", error=repr(error))
        sender.stop_shipping()
        await _end_producer(sender.producer)


async def _end_producer(producer: AIOKafkaProducer) -> None:
    """Close a producer so that it sends nothing more, whatever it still holds.

    aiokafka's own ``stop`` first sends everything, and without a broker that has no end. Its sender task goes on
    sending if the wait for that is given up, so the task is ended first.
    """
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await internals.end_sender(producer)
    except (TimeoutError, KafkaError) as error:
        _log.debug("the producer's sender did not end", error=repr(error))
    internals.fail_unsent(producer)
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError, OSError) as error:
        _log.warning("the producer could not be closed", error=repr(error))
