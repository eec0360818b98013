"""A real broker keeps the contracts that the simulator's doubles keep: what holds there may be built upon here."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.simulation.contracts import CLUSTER_CONTRACTS
from topics.catalog import CHANGELOG
from tracker.kafka import admin
from tracker.kafka.clients import new_producer, new_reader
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings


class RealCluster:
    """Topics of their own on the tests' broker."""

    def __init__(self, broker: LocalKafka) -> None:
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap, topic_prefix=f"contract-{free_port()}.", partitions=1
        )
        self.topic = CHANGELOG.name(self.settings.topic_prefix)
        self._producers = []

    def producer(self, max_batch_bytes: int):
        producer = new_producer(self.settings, "contract", max_batch_size=max_batch_bytes)
        self._producers.append(producer)
        return Started(producer)

    def reader(self):
        return new_reader(self.settings, "contract")

    async def stop(self) -> None:
        for producer in self._producers:
            await producer.stop()


class Started:
    """A producer that starts with its first use."""

    def __init__(self, producer) -> None:
        self._producer = producer
        self._is_started = False
        self.create_batch = producer.create_batch

    async def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            await self._producer.start()

    async def send_batch(self, *args, **options):
        await self._start()
        return await self._producer.send_batch(*args, **options)

    async def send_and_wait(self, *args, **options):
        await self._start()
        return await self._producer.send_and_wait(*args, **options)


@pytest.mark.parametrize("contract", CLUSTER_CONTRACTS, ids=lambda contract: contract.__name__)
def test_a_real_broker(contract, kafka_broker):
    async def run() -> None:
        cluster = RealCluster(kafka_broker)
        await admin.create_topics(cluster.settings)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(cluster.stop)
            await contract(cluster)

    asyncio.run(run())
