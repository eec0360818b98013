"""The way into Kafka, or, while Kafka is away, onto the disk: ``take`` says when a record is safe.

There are two modes. *Direct*: records go to Kafka. *Spilling*: all records go to the spill, behind what is there, and a
drain sends the oldest to Kafka. The change from direct to spilling takes everything along that Kafka has not
acknowledged, in order; the change back happens when little is left: new records then gather behind the drain's last
pages. So nothing overtakes anything, and the order of a session is the order in which its records were accepted.

A record may be in both: handed to the producer, without an answer so far, and in the spill. The drain waits until the
producer knows what became of it; if it has arrived, the spill forgets it. Only if the process or the producer dies
before that, it is sent a second time, with the same ``event_id``, and the processor drops it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from topics.headers import Headers
from tracker import clock
from tracker.collect.delivery.batch import NO_HEADERS, Batch
from tracker.collect.delivery.connection import FLUSH_TIMEOUT_SECONDS, Connection, ProducerFactory
from tracker.collect.delivery.lanes import Lanes
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.build import Outgoing
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.queue import Spill, SpillFull, SpillRefused, Ticket
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.clients import new_producer
from tracker.settings import Settings

#: With no more than this in the spill, new records wait in memory for the drain's last pages.
HANDOVER_RECORDS: Final = 4_000
#: What a client is told to wait when the spill is full: Kafka has been away for long, and comes back for all at once.
SPILL_FULL_RETRY_AFTER_SECONDS: Final = 30
#: Between two looks at the figures, and at spills that other processes have left behind.
WATCH_INTERVAL_SECONDS: Final = 1.0
#: The drain waits so long after an error of the disk or of a topic.
DRAIN_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class SourceProducer:
    """Takes source records and returns when they are safe.

    Call ``start`` in a running loop and ``stop`` at the end; ``take`` in between, whatever Kafka's state.
    """

    def __init__(
        self, settings: Settings, metrics: CollectMetrics, *, make_producer: ProducerFactory = new_producer
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._lanes = Lanes(settings)
        self._connection = Connection(
            settings, metrics, topics=self._lanes.topics, on_trouble=self._divert, make_producer=make_producer
        )
        self._directories = SpillDirectories(settings.data_dir / "collect")
        #: Where new records go while spilling.
        self._spill: Spill
        #: What other processes have left behind: older, so it is drained first.
        self._orphans: list[Spill] = []
        #: Where records go; None while spilling.
        self._direct: BatchSender | None = None
        self._spilling = asyncio.Event()
        self._page_done = asyncio.Lock()
        self._was_direct = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the spill and begin to connect; Kafka may come later than the collector.

        Raises:
            ConfigurationError: the spill's directory can't be used.
        """
        self._spill = await self._open(self._directories.claim())
        await self._adopt()
        self._spilling.set()
        self._tasks = [
            asyncio.create_task(self._drain_for_ever(), name="collect-drain"),
            asyncio.create_task(self._watch(), name="collect-watch"),
        ]

    async def stop(self) -> None:
        """Flush what is unsettled, within a limit, and close. Whoever waited has been answered before."""
        self._stopping = True
        self._divert("the collector is stopping")
        if self._page_done.locked():  # Kafka may have got that page: wait a little for its word
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS), self._page_done:
                    pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()
        for spill in [*self._orphans, self._spill]:
            if spill.records:
                _log.warning(
                    "records stay in the spill until the next start",
                    path=str(spill.path),
                    records=spill.records,
                    bytes=spill.size_bytes,
                )
            await spill.close()
        self._directories.release()

    def take(self, records: Sequence[Outgoing], headers: Headers = NO_HEADERS) -> "list[asyncio.Future[None]]":
        """Take records in order; once each of the futures has ended well, all are safe: in Kafka, or on disk.

        Requests share these futures, so nobody may cancel them; what they fail with is for ``refusal``. ``headers``
        are for tracing only: what goes through the spill arrives without them.

        Raises:
            RequestError: ``spill_full``: nothing has been taken.
        """
        if self._direct is not None and self._direct.is_full:
            self._divert("more is under way than may be")
        routed = self._lanes.route(records)
        if self._direct is not None:
            return self._direct.add(routed, headers)
        try:
            return [self._spill.append(routed).written]
        except SpillFull as error:
            raise self.refusal(error) from None

    def require_safe(self, taken: "asyncio.Future[None]") -> None:
        """Make sure that what was taken is safe, once its future has ended.

        Raises:
            RequestError: it is not, or nobody knows: it may arrive all the same.
        """
        error = taken.exception()
        if isinstance(error, SpillFull | SpillRefused):
            raise self.refusal(error)
        if error is not None:
            raise error

    async def until_direct(self, limit_seconds: float) -> None:
        """Wait until records go to Kafka directly, but not longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                await self._was_direct.wait()

    async def readiness(self) -> dict[str, Any]:
        """Say that events can be accepted now, and where they go.

        Raises:
            RequestError: why they can't, or that Kafka has never been reached from this data directory: then the
                settings are more likely wrong than Kafka away.
        """
        reason = await self._connection.unready_reason()
        if reason is not None:
            if not self._directories.knows_kafka(self._settings.kafka_bootstrap):
                raise RequestError("kafka_unavailable", reason)
            if self._spill.is_refusing or self._spill.size_bytes >= self._spill.max_bytes:
                raise RequestError("spill_full", f"{reason}; and the spill takes nothing more")
        migration = {} if self._lanes.problem is None else {"migration": self._lanes.problem}
        spill = {
            "records": self._spilled_records,
            "bytes": self._spill.size_bytes,
            "max_bytes": self._spill.max_bytes,
            "oldest_age_seconds": self._oldest_age_seconds,
            "draining": bool(self._spilled_records) and reason is None,
        }
        return {"status": "ready", "kafka": reason or "ok", **migration, "spill": spill}

    @property
    def _spilled_records(self) -> int:
        return self._spill.records + sum(spill.records for spill in self._orphans)

    @property
    def _oldest_age_seconds(self) -> float:
        accepted = [spill.oldest_ms for spill in (*self._orphans, self._spill) if spill.oldest_ms is not None]
        return max(0, clock.now_ms() - min(accepted)) / 1_000 if accepted else 0.0

    def refusal(self, error: SpillFull | SpillRefused) -> RequestError:
        """Return what a client is told when the spill takes nothing, and count it."""
        self._metrics.spill_refusals.inc()
        if isinstance(error, SpillFull) and self._spill.max_bytes:
            wait = SPILL_FULL_RETRY_AFTER_SECONDS
            message = "Kafka is away, and there is no room for what waits for it; repeat it with the same event_id"
            return RequestError("spill_full", message, retry_after_seconds=wait)
        reason = self._connection.reason if self._direct is None else "Kafka did not acknowledge in time"
        message = f"can't accept events now: {reason}; it may still arrive, repeat it with the same event_id"
        return RequestError("kafka_unavailable", message)

    def _divert(self, reason: str) -> None:
        """Change to spilling, and take along what Kafka has not acknowledged."""
        sender, self._direct = self._direct, None
        if sender is None:
            return
        self._spilling.set()
        batches = sender.take_unsettled()
        _log.warning("events go to the spill", reason=reason, records=sum(len(batch.records) for batch in batches))
        for batch in batches:
            self._put(batch)

    def _put(self, batch: Batch) -> None:
        def written(_: asyncio.Future[None]) -> None:
            error = ticket.written.exception()
            if error is None:
                batch.accept()
            else:
                batch.ticket = None
                batch.fail(error)

        try:
            ticket: Ticket = self._spill.append(batch.records)
        except SpillFull as error:
            batch.fail(error)
            return
        batch.ticket = ticket
        ticket.written.add_done_callback(written)

    async def _drain_for_ever(self) -> None:
        while True:
            await self._spilling.wait()
            sender = await self._connection.sender()
            self._directories.note_kafka(self._settings.kafka_bootstrap)
            try:
                await sender.settled()
                await self._drain(sender)
            except KafkaError as error:
                self._divert(f"Kafka refuses: {type(error).__name__}")
                await self._connection.replace()
            except RetryableError as error:
                _log.error("the spill could not be drained; trying again", reason=str(error))
                await asyncio.sleep(DRAIN_RETRY_SECONDS)

    async def _drain(self, sender: BatchSender) -> None:
        """Send what is spilled, oldest first, until nothing is left and records go to Kafka directly."""
        drained = 0
        while True:
            if self._direct is None and self._spilled_records <= HANDOVER_RECORDS:
                sender.hold()
                self._direct = sender
            spill = self._orphans[0] if self._orphans else self._spill
            async with self._page_done:
                count = await self._send_page(sender, spill)
            drained += count
            if self._stopping:
                return
            if not count and spill is not self._spill:
                await self._bury(self._orphans.pop(0))
            elif not count and self._direct is not None:
                sender.release()
                self._spilling.clear()
                self._was_direct.set()
                if drained:
                    _log.info("the spill is drained", records=drained)
                    await self._spill.reclaim()
                return

    async def _send_page(self, sender: BatchSender, spill: Spill) -> int:
        page = await spill.page()
        if page is None:
            return 0
        for topic in {record.topic for record in page.records}:
            if not sender.knows(topic):
                await self._connection.learn(sender, topic)
        sent = page.first(await sender.send(page.records))
        self._metrics.records_drained.inc(len(sent.records))
        with contextlib.suppress(OSError):  # said by the store; it deletes them with the next ones
            await spill.delete(sent)
        return len(sent.records)

    async def _watch(self) -> None:
        """Keep the figures, and take over what other processes have left."""
        self._metrics.spill_max_bytes.set(self._settings.spill_max_bytes)
        while True:
            self._metrics.spill_records.set(self._spilled_records)
            self._metrics.spill_bytes.set(self._spill.size_bytes + sum(spill.size_bytes for spill in self._orphans))
            self._metrics.spill_oldest_age_seconds.set(self._oldest_age_seconds)
            self._metrics.spill_draining.set(self._spilling.is_set() and self._spilled_records > 0)
            await self._adopt()
            self._lanes.reload()
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)

    async def _adopt(self) -> None:
        for path in self._directories.claim_orphans():
            try:
                spill = await self._open(path)
            except ConfigurationError as error:
                _log.error("another process's spill could not be taken over", path=str(path), reason=str(error))
                continue
            if spill.records:
                self._orphans.append(spill)
                self._divert(f"{path.name} was left behind by another process")
            else:
                await self._bury(spill)

    async def _open(self, path: Path) -> Spill:
        return await Spill.open(path, self._settings.spill_max_bytes, self._metrics)

    async def _bury(self, spill: Spill) -> None:
        await spill.close()
        await asyncio.to_thread(self._directories.remove, spill.path)
