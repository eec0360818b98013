"""The way into Kafka, or, while Kafka is away, onto the disk: ``deliver`` says when records are safe.

``handover.py`` has the table of the modes, and shows why records are never reordered: Kafka gets a session's records in
the order in which they were accepted.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from topics.headers import Headers
from tracker.collect.delivery.drain import Drain
from tracker.collect.delivery.handover import BatchEvent, Mode, ModeAction, ModeEvent, next_mode
from tracker.collect.delivery.kafka_connection import FLUSH_TIMEOUT_SECONDS, KafkaConnection, ProducerFactory
from tracker.collect.delivery.record_batch import NO_HEADERS, PendingBatch
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.source_records import EncodedRecord
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.queue import SpillFull, SpillRefused
from tracker.collect.spill.spills import Spills
from tracker.kafka.clients import new_producer
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

#: What a client is told to wait when the spill is full: Kafka has been away for long.
SPILL_FULL_RETRY_AFTER_SECONDS: Final = 30
#: Between two looks at the metrics, and at spills that other processes have left behind.
WATCH_INTERVAL_SECONDS: Final = 1.0

log = structlog.get_logger()


class Delivery(msgspec.Struct, frozen=True):
    """Records on their way. Requests share the futures, so nobody may cancel them."""

    #: Ends when it is known of all records whether they are safe.
    ended: "asyncio.Future[None]"
    batches: "Sequence[asyncio.Future[None]]"
    producer: "SourceProducer"

    def check(self) -> None:
        """Make sure that all records are safe: in Kafka, or on disk.

        Raises:
            RequestError: they are not safe, or it is unknown: they may still arrive.
        """
        for batch in self.batches:
            error = batch.exception()
            if isinstance(error, SpillFull | SpillRefused):
                raise self.producer.refusal(error)
            if error is not None:
                raise error


class SourceProducer:
    """Takes source records. Call ``start`` in a running loop, and ``stop`` at the end."""

    def __init__(
        self,
        settings: Settings,
        router: TopicRouter,
        metrics: CollectMetrics,
        *,
        make_producer: ProducerFactory = new_producer,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._router = router
        self._make_producer = make_producer
        self._directories = SpillDirectories(settings.data_dir / "collect")
        self._spills = Spills(self._directories, settings.spill_max_bytes, metrics.spill)
        self.mode = Mode.SPILLING
        #: Takes new records, unless the mode is SPILLING.
        self._sender: BatchSender | None = None
        self._was_direct = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._connection: KafkaConnection
        self._drain: Drain

    async def start(self, tasks: SupervisedTasks) -> None:
        """Open the spill and begin to connect; Kafka may be reached later.

        Raises:
            ConfigurationError: the spill's directory can't be used.
        """
        self._connection = KafkaConnection(
            self._settings,
            self._metrics.delivery,
            tasks,
            topics=self._router.topics,
            on_trouble=self.trouble,
            make_producer=self._make_producer,
        )
        self._drain = Drain(self, self._connection, self._spills, self._metrics.spill)
        await self._spills.open(tasks)
        self._drain.wanted.set()
        self._loops = [tasks.loop("drain", self._drain.run), tasks.loop("spill watch", self._watch)]

    async def stop(self) -> None:
        """Flush within a limit, and close. All requests have been answered before."""
        self._drain.stop()
        self.trouble("the collector is stopping")
        await self._drain.last_page(FLUSH_TIMEOUT_SECONDS)  # Kafka may have got that page
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._connection.close()
        await self._spills.close()

    def deliver(self, records: Sequence[EncodedRecord], headers: Headers = NO_HEADERS) -> Delivery:
        """Take records, in their order.

        ``headers`` are for tracing only: records that go through the spill arrive without them.

        Raises:
            RequestError: ``spill_full``: nothing has been taken.
        """
        if self._sender is not None and self._sender.is_full:
            self.trouble("the sender holds as many records as it may")
        routed = self._router.route(records)
        if self._sender is None:
            try:
                batches = [self._spills.own.append(routed).written]
            except SpillFull as error:
                raise self.refusal(error) from None
        else:
            batches = self._sender.add(routed, headers)
        return Delivery(batches[0] if len(batches) == 1 else _all_ended(batches), batches, self)

    def refusal(self, error: SpillFull | SpillRefused) -> RequestError:
        """Return what a client is told when the spill takes nothing, and count it."""
        self._metrics.spill.refusals.inc()
        if isinstance(error, SpillFull) and self._settings.spill_max_bytes:
            wait = SPILL_FULL_RETRY_AFTER_SECONDS
            message = "Kafka is away, and the disk space for waiting events is full; repeat it with the same event_id"
            return RequestError("spill_full", message, retry_after_seconds=wait)
        reason = self._connection.reason
        message = f"can't accept events now: {reason}; it may still arrive, repeat it with the same event_id"
        return RequestError("kafka_unavailable", message)

    async def until_direct(self, limit_seconds: float) -> None:
        """Wait until records go to Kafka directly, but not longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                await self._was_direct.wait()

    async def readiness(self) -> dict[str, Any]:
        """Return where events go now.

        Raises:
            RequestError: they can't be accepted, or Kafka has never been reached from this data directory: then a wrong
                address is more likely than an outage.
        """
        spill = self._spills.own
        reason = await self._connection.unready_reason()
        if reason is not None:
            if not self._directories.knows_kafka(self._settings.kafka_bootstrap):
                raise RequestError("kafka_unavailable", reason)
            if spill.is_refusing or spill.size_bytes >= spill.max_bytes:
                raise RequestError("spill_full", f"{reason}; and the spill takes nothing more")
        return {
            "kafka": reason or "ok",
            "spill": {
                "records": self._spills.records,
                "bytes": spill.size_bytes,
                "max_bytes": spill.max_bytes,
                "oldest_age_seconds": self._spills.oldest_age_seconds,
                "draining": bool(self._spills.records) and reason is None,
            },
        }

    # -- Changes of the mode --------------------------------------------------------------------------------------

    def contact(self) -> None:
        """Note that Kafka has been reached. It is only a hint for ``readiness``, so a full disk does not matter."""
        try:
            self._directories.note_kafka(self._settings.kafka_bootstrap)
        except OSError as error:
            log.warning("could not note on disk that Kafka was reached", error=str(error))

    def little_left(self, sender: BatchSender) -> None:
        """Let new records wait in the sender for the drain's last pages."""
        self._sender = sender
        self._change(ModeEvent.LITTLE_LEFT)

    def nothing_left(self) -> None:
        """Send new records directly."""
        self._change(ModeEvent.NOTHING_LEFT)

    def trouble(self, reason: str) -> None:
        """Send new records to the spill, behind all records that Kafka has not acknowledged."""
        self._change(ModeEvent.TROUBLE, reason)

    def _change(self, event: ModeEvent, reason: str = "") -> None:
        self.mode, action = next_mode(self.mode, event)
        if self._sender is None:
            return
        if action is ModeAction.HOLD:
            self._sender.hold()
        elif action is ModeAction.RELEASE:
            self._sender.release()
            self._drain.wanted.clear()
            self._was_direct.set()
        else:
            sender, self._sender = self._sender, None
            self._drain.wanted.set()
            self._take_back(sender, reason)

    def _take_back(self, sender: BatchSender, reason: str) -> None:
        batches = sender.take_back()
        log.warning("events go to the spill", reason=reason, records=sum(len(batch.records) for batch in batches))
        for batch in batches:
            self._spill(batch)

    def _spill(self, batch: PendingBatch) -> None:
        try:
            ticket = batch.ticket = self._spills.own.append(batch.records)
        except SpillFull as error:
            batch.apply(BatchEvent.NO_ROOM, error)
            return
        batch.apply(BatchEvent.TAKEN_BACK)

        def written(_: "asyncio.Future[None]") -> None:
            error = ticket.written.exception()
            batch.apply(BatchEvent.WRITTEN if error is None else BatchEvent.NOT_WRITTEN, error)

        ticket.written.add_done_callback(written)

    async def _watch(self) -> None:
        """Update the metrics, and take over the spills that other processes have left behind."""
        while True:
            self._spills.update_metrics(is_draining=self.mode is not Mode.DIRECT)
            found = await self._spills.adopt()
            if found is not None:
                self.trouble(f"{found} was left behind by another process")
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)


def _all_ended(futures: "Sequence[asyncio.Future[None]]") -> "asyncio.Future[None]":
    """Return a future that ends when all of these have ended, whatever their results."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    missing = len(futures)

    def one_ended(_: "asyncio.Future[None]") -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            ended.set_result(None)

    for future in futures:
        future.add_done_callback(one_ended)
    return ended
