"""The drain: sends the records of the spills to Kafka, oldest first, until new records can go there directly."""

import asyncio
import contextlib
from typing import Final, Protocol

import structlog
from aiokafka.errors import KafkaError

from tracker.collect.delivery.handover import Mode
from tracker.collect.delivery.kafka_connection import KafkaConnection
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import SpillMetrics
from tracker.collect.spill.queue import Spill
from tracker.collect.spill.spills import Spills
from tracker.errors import RetryableError

#: With no more records than this left, new records wait in memory for the drain's last pages.
HANDOVER_RECORDS: Final = 4_000
#: The wait after an error of the disk or of a topic.
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger()


class DrainOwner(Protocol):
    """The producer, as the drain sees it: it is told what changes the mode (``handover.py``)."""

    mode: Mode

    def contact(self) -> None:
        """Kafka has been reached."""

    def little_left(self, sender: BatchSender) -> None:
        """All but the last few records have been sent."""

    def nothing_left(self) -> None:
        """All records have been sent."""

    def trouble(self, reason: str) -> None:
        """The sender has broken."""


class Drain:
    """Empties the spills whenever ``wanted`` is set."""

    def __init__(self, owner: DrainOwner, connection: KafkaConnection, spills: Spills, metrics: SpillMetrics) -> None:
        self._owner = owner
        self._connection = connection
        self._spills = spills
        self._metrics = metrics
        self._page_done = asyncio.Lock()
        self._is_stopping = False
        #: Set while records have to go through the spills.
        self.wanted = asyncio.Event()

    async def run(self) -> None:
        """Drain whenever it is wanted, until cancelled.

        Raises:
            OSError: the disk can't be read.
        """
        while True:
            await self.wanted.wait()
            sender = await self._connection.sender()
            self._owner.contact()
            try:
                await sender.settled()
                await self._empty(sender)
            except KafkaError as error:
                self._owner.trouble(f"Kafka refuses: {type(error).__name__}")
                await self._connection.replace()
            except RetryableError as error:
                log.error("the spill could not be drained; trying again", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """Send no further page."""
        self._is_stopping = True

    async def last_page(self, limit_seconds: float) -> None:
        """Wait, within a limit, for Kafka's answer to the page that is under way."""
        if self._page_done.locked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_seconds), self._page_done:
                    pass

    async def _empty(self, sender: BatchSender) -> None:
        """Send page after page until nothing is left and new records go to Kafka directly.

        The mode may fall back to SPILLING meanwhile, so it is asked for in each turn.
        """
        drained = 0
        while True:
            if self._owner.mode is Mode.SPILLING and self._spills.records <= HANDOVER_RECORDS:
                self._owner.little_left(sender)
            spill = self._spills.oldest
            async with self._page_done:
                count = await self._send_page(sender, spill)
            drained += count
            if self._is_stopping:
                return
            if count:
                continue
            if spill is not self._spills.own:
                await self._spills.remove(spill)
            elif self._owner.mode is Mode.HANDING_OVER:
                self._owner.nothing_left()
                if drained:
                    log.info("the spill is drained", records=drained)
                    await self._spills.own.reclaim()
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
        # The store logs an error of the disk, and deletes these records with the next ones.
        with contextlib.suppress(OSError):
            await spill.delete(sent)
        return len(sent.records)
