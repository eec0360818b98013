"""Waits for a stage's topics at its start, and compares them with the stage's assumptions as long as it runs.

An operator may delete a topic and create it again, add partitions, or change its configuration, and no client library
reports that. If a stage can't work with the change, it stops with one line: at its start before it does harm, later
within seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from topics.catalog import Topic
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import admin
from tracker.kafka.admin import BrokerTopic
from tracker.kafka.clients import RETRY_SECONDS, until_answered
from tracker.settings import Settings
from tracker.streaming.readiness import Readiness

#: Between two looks at the topics.
LOOK_SECONDS: Final = 5.0

log = structlog.get_logger()

Found = Mapping[str, BrokerTopic]


class TopicWatch:
    """Looks at topics. ``check`` raises ConfigurationError if its stage can't work with them."""

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[Topic],
        readiness: Readiness,
        check: Callable[[Found], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._names = [topic.name(settings.topic_prefix) for topic in topics]
        self._readiness = readiness
        self._check = check
        #: The topics as they were when the stage began to work on them.
        self.found: Found = {}

    async def wait(self) -> Found:
        """Return the topics once all exist. Faust would subscribe to a missing one and sit idle without a word.

        Raises:
            ConfigurationError: they are not as the stage needs them; says what to do.
        """
        waited = False
        while True:
            found = await until_answered(self._settings.kafka_bootstrap, self._look)
            missing = self._missing(found)
            if not missing:
                break
            if missing != self._readiness.missing_topics:
                log.error("topics are missing; waiting for them: run tracker topics create", topics=missing)
            self._readiness.missing_topics = missing
            waited = True
            await asyncio.sleep(RETRY_SECONDS)
        self._readiness.missing_topics = ()
        if waited:
            log.info("the topics are there")
        await self._check(found)
        self.found = found
        return found

    async def watch(self) -> None:
        """Look again and again, for ever.

        Raises:
            ConfigurationError: a topic is not any more as the stage needs it; says what to do.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                found = await self._look()
            except (RetryableError, ConfigurationError):
                continue  # Kafka is away, which the leases tell, or refuses us, which ``watch_access`` tells
            with suppress(RetryableError):
                await self._compare(found)

    async def _compare(self, found: Found) -> None:
        missing = self._missing(found)
        if missing and missing != self._readiness.missing_topics:
            log.error("topics are missing", topics=missing)
        self._readiness.missing_topics = missing
        self._require_same(found)
        await self._check(found)

    async def _look(self) -> Found:
        found = await admin.describe_broker(self._settings)
        return {name: topic for name, topic in found.items() if name in self._names}

    def _missing(self, found: Found) -> Sequence[str]:
        return tuple(name for name in self._names if name not in found)

    def _require_same(self, found: Found) -> None:
        for name, topic in found.items():
            first = self.found[name]
            if topic.topic_id != first.topic_id:
                raise ConfigurationError(f"{name} was deleted and made again while this process ran; start it again")
            if topic.partitions != first.partitions:
                raise ConfigurationError(
                    f"{name} had {first.partitions} partitions and has {topic.partitions} now: run tracker topics "
                    "create, which gives all topics as many, and start this process again"
                )
