"""The quotas' reader on a real topic of usage: today's rows, each once, whatever has changed since it read last."""

import asyncio
import re
from collections.abc import Iterable

import orjson
import pytest

from tests.patience import PATIENCE_SECONDS
from topics.catalog import DAY_MS, USAGE
from topics.headers import write_position
from tracker import clock
from tracker.collect.access.keys import Quota, WriteKey
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.quotas.quotas import Quotas, begin_ms, day_of
from tracker.collect.quotas.reader import QuotaReader
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.kafka.log_reader import open_log_reader
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

KEYS = {name: WriteKey(name=name, key_sha256="0" * 64, workspace_id=name) for name in ("shop", "lab")}


class Usage:
    """A topic of usage, and a reader that has been started once."""

    def __init__(self, broker: LocalKafka) -> None:
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"{clock.new_id()}.", partitions=2)
        self.metrics = CollectMetrics()
        self.quotas = Quotas(self.metrics.access)
        self.limit("shop")
        self.reader = QuotaReader(self.settings, self.quotas, self.metrics.access)

    def limit(self, *workspaces: str) -> None:
        self.quotas.use({name: Quota(workspace_id=name, events_per_day=10) for name in workspaces})

    async def write(self, partition: int, rows: Iterable[tuple[int, str, int]], day: str | None = None) -> None:
        """Write rows of (source offset, workspace, events)."""
        minute = f"{day or day_of(clock.now_ms())}T00:00:00Z"
        records = [
            (
                workspace.encode(),
                orjson.dumps({"workspace_id": workspace, "minute": minute, "events": events}),
                write_position(partition, offset, 0),
            )
            for offset, workspace, events in rows
        ]
        async with new_producer(self.settings, "test") as producer:
            await send_batches(producer, USAGE.name(self.settings.topic_prefix), partition, records)

    async def refused(self) -> set[str]:
        """Read, and return the workspaces that are refused then."""
        async with open_log_reader(self.settings, "test") as reader:
            await self.reader.read(reader)
        return {name for name in KEYS if self._is_refused(name)}

    def _is_refused(self, name: str) -> bool:
        try:
            self.quotas.check(KEYS[name], clock.now_ms())
        except RequestError:
            return True
        return False


@pytest.fixture
async def usage(kafka_broker: LocalKafka) -> Usage:
    usage = Usage(kafka_broker)
    await admin.create_topics(usage.settings)
    return usage


async def test_the_rows_of_all_partitions_are_added_up_as_they_come(usage: Usage) -> None:
    assert await usage.refused() == set()
    await usage.write(0, [(1, "shop", 4), (2, "lab", 100)])
    await usage.write(1, [(1, "shop", 4)])
    assert await usage.refused() == set()
    await usage.write(1, [(2, "shop", 2)])
    assert await usage.refused() == {"shop"}


async def test_what_a_killed_processor_sends_again_and_other_days_count_for_nothing(usage: Usage) -> None:
    yesterday = day_of(begin_ms(day_of(clock.now_ms())) - DAY_MS)
    await usage.write(0, [(1, "shop", 100)], day=yesterday)
    await usage.write(0, [(2, "shop", 4)])
    assert await usage.refused() == set()
    await usage.write(0, [(2, "shop", 4), (2, "shop", 4)])
    assert await usage.refused() == set()


async def test_a_new_quota_counts_from_the_days_beginning(usage: Usage) -> None:
    await usage.write(0, [(1, "shop", 10), (2, "lab", 10)])
    assert await usage.refused() == {"shop"}
    usage.limit("lab")
    assert await usage.refused() == {"lab"}


async def test_a_stranger_in_the_topic_stops_nothing(usage: Usage) -> None:
    async with new_producer(usage.settings, "stranger") as producer:
        name = USAGE.name(usage.settings.topic_prefix)
        for value in (b"no JSON", b"[]", b"{}"):
            await producer.send_and_wait(name, value, key=b"shop", partition=0, headers=write_position(0, 1, 0))
    await usage.write(0, [(2, "shop", 10)])
    assert await usage.refused() == {"shop"}


async def test_a_topic_that_is_made_anew_is_read_from_its_beginning(usage: Usage) -> None:
    await usage.write(0, [(1, "shop", 4), (2, "shop", 4)])
    assert await usage.refused() == set()
    name = USAGE.name(usage.settings.topic_prefix)
    await admin.delete_topics(usage.settings, [name])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while name in await admin.describe_broker(usage.settings):
            pass
    await admin.create_topics(usage.settings)
    await usage.write(0, [(3, "shop", 2)])
    assert await usage.refused() == {"shop"}


async def test_without_kafka_nothing_changes_and_the_failure_is_counted(usage: Usage) -> None:
    await usage.write(0, [(1, "shop", 10)])
    assert await usage.refused() == {"shop"}
    away = usage.settings.model_copy(update={"kafka_bootstrap": f"localhost:{free_port()}"})
    running = asyncio.ensure_future(QuotaReader(away, usage.quotas, usage.metrics.access).run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not re.search(rb"_quota_read_failures_total [1-9]", usage.metrics.exposition()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    running.cancel()
    assert usage._is_refused("shop")
