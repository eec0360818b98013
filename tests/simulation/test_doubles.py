"""The simulator's doubles keep the contracts that the real things keep (``contracts.py``)."""

from functools import partial

import pytest
from aiokafka.errors import KafkaTimeoutError

from tests.simulation.broker import CHANGELOG_TOPIC, Broker
from tests.simulation.contracts import CLUSTER_CONTRACTS, DATABASE_CONTRACTS
from tests.simulation.disk import Disk, MemoryDatabase
from tests.simulation.environment import Environment
from tests.simulation.producer import Producer
from tests.simulation.reader import Reader
from tracker.kafka.record_batches import send_batches
from tracker.table.database import RocksDatabase


class SimulatedCluster:
    topic = CHANGELOG_TOPIC

    def __init__(self, seed: int) -> None:
        self.env = Environment(seed)
        self.broker = Broker(partitions=1)

    def producer(self, max_batch_bytes: int, lost_ack_probability: float = 0.0) -> Producer:
        return Producer(self.env, self.broker, max_batch_bytes, lost_ack_probability)

    def reader(self) -> Reader:
        return Reader(self.env, self.broker)


@pytest.mark.parametrize("contract", CLUSTER_CONTRACTS, ids=lambda contract: contract.__name__)
def test_the_simulated_cluster(contract):
    for seed in range(5):
        cluster = SimulatedCluster(seed)
        cluster.env.loop.run(contract(cluster))


@pytest.mark.parametrize("contract", DATABASE_CONTRACTS, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize("kind", ["in memory", "RocksDB"])
def test_a_database(kind, contract, tmp_path):
    contract(partial(MemoryDatabase, disk=Disk()) if kind == "in memory" else RocksDatabase, tmp_path / "database")


def test_an_ack_that_is_lost_is_an_error_though_the_records_are_there():
    cluster = SimulatedCluster(0)

    async def send() -> None:
        cluster.env.strike_probability = 1e-9
        with pytest.raises(KafkaTimeoutError):
            await send_batches(cluster.producer(1_000, 1.0), cluster.topic, 0, [(b"k", b"v", [])])

    cluster.env.loop.run(send())
    assert cluster.broker.log(cluster.topic, 0).end == 1


def test_compaction_keeps_the_last_of_each_key_among_the_old_ones_only():
    log = Broker(partitions=1).log(CHANGELOG_TOPIC, 0)
    for at, key, value in [(0, b"a", b"1"), (1, b"b", b"1"), (2, b"a", b"2"), (3, b"b", None), (90, b"a", b"3")]:
        log.append([(key, value, ())], at)
    log.append([(b"c", b"1", ())], 95)
    log.compact(now_ms=100, lag_ms=50, delete_retention_ms=1_000)
    assert [record.offset for record in log.records] == [2, 3, 4, 5]
    log.compact(now_ms=100, lag_ms=50, delete_retention_ms=10)
    assert [record.offset for record in log.records] == [2, 4, 5]
    assert log.read(0, 10) == (log.records, 6)
