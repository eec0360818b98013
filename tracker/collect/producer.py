"""The way into Kafka: a producer that connects when it can, is replaced when broken, and never hangs.

aiokafka's idempotent producer retries a batch for as long as it takes, so a record whose request was answered
503 may still arrive. That is harmless: the client's retry carries the same ``event_id`` and is dropped as a
duplicate. But it also means that memory must be bounded by what is unsettled in the producer, not by the
requests that still wait.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from topics.catalog import SOURCE
from tracker.collect.batches import BatchSender
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.requests import Outgoing
from tracker.errors import RetryableError
from tracker.kafka import new_producer
from tracker.settings import Settings

CONNECT_TIMEOUT_SECONDS: Final = 15.0
RECONNECT_DELAY_SECONDS: Final = 1.0
#: How long a readiness probe waits for the broker.
PROBE_TIMEOUT_SECONDS: Final = 2.0
#: How long a stop waits for what is unsettled.
FLUSH_TIMEOUT_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


class SourceProducer:
    """Sends source records and waits for their acks.

    Call ``start`` in a running loop and ``stop`` at the end; ``deliver`` in between, whatever Kafka's state.
    """

    def __init__(self, settings: Settings, metrics: CollectMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._topic = SOURCE.name(settings.topic_prefix)
        self._sender: BatchSender | None = None
        self._reason = "not connected to Kafka yet"
        self._connecting: asyncio.Task[None] | None = None
        self._discarding: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to connect, and go on until it works: Kafka may come later than the collector."""
        self._connecting = asyncio.create_task(self._connect(), name="collect-connect")

    async def stop(self) -> None:
        """Flush what is unsettled, within a limit, and close. Whoever waited has been answered before."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        sender, self._sender = self._sender, None
        self._reason = "the collector is stopping"
        if sender is not None:
            await self._discard(sender.producer, sender)
        if self._discarding:
            await asyncio.wait(self._discarding)

    async def readiness(self) -> dict[str, str]:
        """Say that events can be accepted now.

        Raises:
            RequestError: ``kafka_unavailable``, with the reason why they can't.
        """
        reason = await self._unready_reason()
        if reason is not None:
            raise RequestError("kafka_unavailable", reason)
        return {"status": "ready"}

    async def _unready_reason(self) -> str | None:
        """Ask the broker, within a limit, and return why it can't take records now, or None if it can."""
        if self._sender is None:
            return self._reason
        client = self._sender.producer.client
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                answered = await client.force_metadata_update()
        except TimeoutError:
            answered = False
        if not answered:
            return f"Kafka at {self._settings.kafka_bootstrap} does not answer"
        return None if self._topic in client.cluster.topics() else f"topic {self._topic} is gone"

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Send records in order and return when the broker has acknowledged all of them.

        Raises:
            RequestError: ``overloaded`` or ``kafka_unavailable``. In the latter case some may still arrive.
        """
        sender = self._sender
        if sender is None:
            raise RequestError("kafka_unavailable", f"can't accept events now: {self._reason}")
        if sender.is_full:
            raise RequestError("overloaded", "too many events wait for Kafka's acknowledgement")
        try:
            # Batches share a future, so a request that comes to harm must not cancel it for the others.
            for acked in [sender.add(record) for record in records]:
                await asyncio.shield(acked)
        except KafkaTimeoutError:
            message = "Kafka did not acknowledge in time; it may still arrive, repeat it with the same event_id"
            raise RequestError("kafka_unavailable", message) from None
        except KafkaError:
            self._replace(sender)
            message = "Kafka refused; repeat it with the same event_id"
            raise RequestError("kafka_unavailable", message) from None

    def _replace(self, sender: BatchSender) -> None:
        """Connect anew after a failure that the producer did not retry."""
        if sender is not self._sender:
            return
        _log.warning("producer_replaced", error=repr(sender.broken))
        self._sender = None
        self._reason = f"reconnecting to Kafka after {type(sender.broken).__name__}"
        task = asyncio.create_task(self._discard(sender.producer, sender), name="collect-discard")
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)
        self.start()

    async def _connect(self) -> None:
        while True:
            producer = new_producer(self._settings, "tracker-collect")
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await producer.start()
                    partitions = await self._find_topic(producer)
            except (KafkaError, OSError, TimeoutError, RetryableError) as error:
                self._note_unready(error)
                await self._discard(producer)
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
            except asyncio.CancelledError:
                await self._discard(producer)
                raise
            else:
                timeout_seconds = self._settings.collect_ack_timeout_ms / 1000
                self._sender = BatchSender(
                    producer, self._topic, partitions, self._metrics, ack_timeout_seconds=timeout_seconds
                )
                _log.info("kafka_connected", topic=self._topic, partitions=partitions)
                return

    async def _find_topic(self, producer: AIOKafkaProducer) -> int:
        """Check that the topic exists before its name is sent to the broker, and count its partitions.

        A broker that creates topics on its own would otherwise make it, but not with the catalog's settings.
        """
        cluster = await producer.client.fetch_all_metadata()
        if self._topic not in cluster.topics():
            raise RetryableError(f"topic {self._topic} does not exist; run: tracker topics create")
        return len(await producer.partitions_for(self._topic))

    def _note_unready(self, error: BaseException) -> None:
        where = self._settings.kafka_bootstrap
        known = isinstance(error, RetryableError)
        reason = str(error) if known else f"can't reach Kafka at {where} ({type(error).__name__})"
        if reason != self._reason:
            _log.warning("kafka_unavailable", reason=reason)
        self._reason = reason

    async def _discard(self, producer: AIOKafkaProducer, sender: BatchSender | None = None) -> None:
        """Flush and close a producer; within a limit, because without a broker a flush has no end."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                if sender is not None:
                    await sender.drain()
                await producer.stop()
        except (TimeoutError, KafkaError, OSError) as error:
            _log.warning("producer_not_flushed", error=repr(error))
