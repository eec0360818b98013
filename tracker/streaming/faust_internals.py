"""Every private name of Faust that we lean on, each with the reason. No other module touches or overrides one.

The classes here give Faust's private hooks public names, which the other modules of this folder fill in. Faust may move
any of them in a new version. ``pyproject.toml`` therefore keeps it below the next minor version, and
``tests/unit/streaming/test_faust_internals.py`` names what an upgrade has moved.
"""

from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faust.assignor.partition_assignor import PartitionAssignor
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from mode import Service

#: Which class has each private name that this module reads, writes or overrides.
LEANED_ON: Final[tuple[tuple[type, str], ...]] = (
    (PartitionAssignor, "_compress"),
    (PartitionAssignor, "_decompress"),
    (PartitionAssignor, "_url"),
    (TableManager, "_recovery"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    (driver.Consumer, "_drain_messages"),
    (driver.Consumer, "_new_consumer_thread"),
    (driver.Consumer, "_thread"),
    (driver.ConsumerRebalanceListener, "_thread"),
    (driver.Producer, "_producer"),
    (faust.App, "_crash"),
    (faust.App, "_fetcher"),
    (faust.App, "_new_transport"),
)


class App(faust.App):
    """An app that makes its own transport, and decides itself what to do when a part of it crashes."""

    def new_transport(self) -> driver.Transport:
        """Return the transport: the ``transport`` option takes only an address."""
        raise NotImplementedError

    def part_crashed(self, reason: BaseException) -> None:
        """A service of the app has crashed: Faust would stop slowly, and may commit meanwhile."""
        raise NotImplementedError

    def _new_transport(self) -> driver.Transport:
        return self.new_transport()

    def _crash(self, reason: BaseException) -> None:
        self.part_crashed(reason)


async def start_fetcher(app: Any) -> None:
    """Start the service that calls the consumer's fetch loop, as Faust's own recovery does."""
    await app._fetcher.maybe_start()


def use_recovery(app: faust.App, recovery: Service) -> None:
    """Let a service of ours stand in for Faust's recovery: Faust has no setting for it."""
    cast("TableManager", app.tables)._recovery = cast("Any", recovery)


def client_of(producer: Any) -> AIOKafkaProducer:
    """Return the client that Faust's producer wraps: Faust has no way to ask for a topic's partitions."""
    return producer._producer


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the Kafka consumer."""

    @property
    def consumer_client(self) -> AIOKafkaConsumer:
        """The consumer: everything that we do in its thread begins with it.

        Raises:
            ConsumerNotStarted: the thread has not started yet.
        """
        return self._ensure_consumer()

    def configure(self, client: AIOKafkaConsumer) -> None:
        """Change a consumer that was just made: Faust fixes some of its options."""
        raise NotImplementedError

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        client = super()._create_worker_consumer(transport)
        self.configure(client)
        return client


class Consumer(driver.Consumer):
    """A consumer with a thread and a fetch loop of ours: Faust's own loop yields one record at a time."""

    def new_thread(self) -> ConsumerThread:
        """Return the thread that is to own the Kafka consumer."""
        raise NotImplementedError

    async def feed_agents(self, fetcher: Any) -> None:
        """Hand messages to the agents until the consumer or ``fetcher`` stops."""
        raise NotImplementedError

    @property
    def own_thread(self) -> ConsumerThread:
        """What ``new_thread`` returned."""
        return cast("ConsumerThread", self._thread)

    def _new_consumer_thread(self) -> ConsumerThread:
        return self.new_thread()

    async def _drain_messages(self, fetcher: Any) -> None:
        await self.feed_agents(fetcher)


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Is told of each rebalance, in the consumer's thread."""

    @property
    def thread(self) -> ConsumerThread:
        """The thread whose consumer is in the group."""
        return cast("ConsumerThread", self._thread)


class Assignor(PartitionAssignor):
    """Faust's assignor, with what an assignment holds: only its private methods read and write that."""

    @property
    def own_url(self) -> str:
        """The address by which the other members reach this one."""
        return str(self._url)

    def unpack(self, user_data: bytes) -> bytes:
        """Return the metadata of an assignment."""
        return self._decompress(user_data)

    def pack(self, metadata: bytes) -> bytes:
        """Return metadata as it travels in an assignment."""
        return self._compress(metadata)
