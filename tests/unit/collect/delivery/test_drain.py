"""The drain hands over to the sender when little is left, and not before: what comes meanwhile waits in memory."""

import asyncio

import pytest

from tests.unit.collect.delivery.faulty_kafka import until
from tests.unit.collect.delivery.test_kafka_connection import TOPIC, Kafka, connection_to
from tracker.collect.delivery import drain as drain_module
from tracker.collect.delivery.drain import Drain
from tracker.collect.delivery.handover import Mode
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill import queue as queue_module
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.spills import Spills
from tracker.processes.supervised_tasks import SupervisedTasks


class Owner:
    """Notes how many records were left at each change of the mode."""

    def __init__(self, spills: Spills) -> None:
        self.mode = Mode.SPILLING
        self._spills = spills
        self.left: list[tuple[str, int]] = []

    def contact(self) -> None:
        self.left.append(("contact", self._spills.records))

    def little_left(self, _: BatchSender) -> None:
        self.mode = Mode.HANDING_OVER
        self.left.append(("little", self._spills.records))

    def nothing_left(self) -> None:
        self.mode = Mode.DIRECT
        self.left.append(("nothing", self._spills.records))

    def trouble(self, reason: str) -> None:
        raise AssertionError(reason)


async def test_new_records_may_wait_in_memory_only_for_the_last_few_of_the_spill(tmp_path, monkeypatch):
    monkeypatch.setattr(drain_module, "HANDOVER_RECORDS", 2)
    monkeypatch.setattr(queue_module, "PAGE_MAX_RECORDS", 1)
    metrics, connection = CollectMetrics(), connection_to(Kafka())
    spills = Spills(SpillDirectories(tmp_path), 1_000_000, metrics.spill)
    await spills.open(SupervisedTasks())
    await spills.own.append([(TOPIC, b"key", b"%d" % number) for number in range(5)]).written
    owner = Owner(spills)
    drain = Drain(owner, connection, spills, metrics.spill)
    drain.wanted.set()
    running = asyncio.ensure_future(drain.run())
    await until(lambda: owner.mode is Mode.DIRECT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert owner.left == [("contact", 5), ("little", 2), ("nothing", 0)]
    await connection.close()
    await spills.close()
