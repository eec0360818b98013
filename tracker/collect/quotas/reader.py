"""Reads the topic of usage again and again, so that the quotas know what each workspace has sent today.

Read is what the processors have counted, so all collectors and all their processes know the same, duplicates and
rejected events cost a workspace nothing, and a restart forgets nothing. Without Kafka, the quotas stay as they are and
events go on to be taken.
"""

import asyncio
from typing import Final

import structlog

from topics.catalog import USAGE
from tracker import clock
from tracker.collect.metrics import AccessMetrics
from tracker.collect.quotas.quotas import Quotas, begin_ms, day_of
from tracker.collect.quotas.tally import DayTally
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.log_reader import LogRange, LogReader, open_log_reader
from tracker.settings import Settings

#: How often it reads. A row comes a minute after its events at the earliest.
READ_SECONDS: Final = 15.0

log = structlog.get_logger()


class QuotaReader:
    """Holds the tally of today and how far each partition of the topic was read."""

    def __init__(self, settings: Settings, quotas: Quotas, metrics: AccessMetrics) -> None:
        self._settings = settings
        self._quotas = quotas
        self._metrics = metrics
        self._tally = DayTally("", ())
        self._of = quotas.by_workspace
        self._next: dict[int, int] = {}

    async def run(self) -> None:
        """Read every few seconds while there are quotas, until cancelled."""
        while True:
            if self._quotas.by_workspace:
                await self._try()
            await asyncio.sleep(READ_SECONDS)

    async def _try(self) -> None:
        try:
            async with open_log_reader(self._settings, "tracker-quotas") as reader:
                await self.read(reader)
        except (RetryableError, ConfigurationError) as error:
            self._metrics.quota_read_failures.inc()
            log.warning("the quotas can't be brought up to date; events go on to be taken", reason=str(error))

    async def read(self, reader: LogReader) -> None:
        """Read new rows of usage, and pass them to the quotas.

        Raises:
            ConfigurationError: there is no topic of usage, or we may not read it.
            RetryableError: Kafka can't be reached.
        """
        day, of = day_of(clock.now_ms()), self._quotas.by_workspace
        if (day, of) != (self._tally.day, self._of):
            self._tally, self._of, self._next = DayTally(day, {name.encode() for name in of}), of, {}
        name = USAGE.name(self._settings.topic_prefix)
        for partition, today in (await reader.ranges_since(USAGE, begin_ms(day))).items():
            begin = self._next.get(partition, today.begin)
            if begin > today.end:  # the topic was made anew
                begin = today.begin
            async for records in reader.read(name, partition, LogRange(begin, today.end)):
                for record in records:
                    try:
                        self._tally.take(record)
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        where = f"{name}[{partition}]@{record.offset}"
                        log.warning("not a row of usage", where=where, error=type(error).__name__)
            self._next[partition] = today.end
        if of is self._quotas.by_workspace:
            self._quotas.note(self._tally.events, day)
