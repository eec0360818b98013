"""The drain hands over to the sender when little is left, and not before: what comes meanwhile waits in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import until
from tests.unit.collect.delivery.test_kafka_connection import OTHER, TOPIC, Kafka, connection_to
from tests.unit.collect.spill.refusing_disk import RefusingDisk, disk  # noqa: F401 - a fixture
from tracker.collect.delivery import drain as drain_module
from tracker.collect.delivery.drain import Drain
from tracker.collect.delivery.handover import Mode
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill import queue as queue_module
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.spills import Spills
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.processes.supervised_tasks import SupervisedTasks


class Owner:
    """Notes how many records were left at each change of the mode."""

    def __init__(self, spills: Spills) -> None:
        self.mode = Mode.SPILLING
        self._spills = spills
        self.left: list[tuple[str, int]] = []
        self.on_trouble: Callable[[], None] = lambda: None

    def contact(self) -> None:
        self.left.append(("contact", self._spills.records))

    def little_left(self, _: BatchSender) -> None:
        self.mode = Mode.HANDING_OVER
        self.left.append(("little", self._spills.records))

    def nothing_left(self) -> None:
        self.mode = Mode.DIRECT
        self.left.append(("nothing", self._spills.records))

    def trouble(self, reason: str) -> None:
        self.mode = Mode.SPILLING
        self.left.append((reason, self._spills.records))
        self.on_trouble()


class Setup:
    """A drain of the spills below a directory, on a broker that answers."""

    def __init__(self, root: Path) -> None:
        metrics = CollectMetrics().spill
        self.kafka = Kafka()
        self.connection = connection_to(self.kafka)
        self.spills = Spills(SpillDirectories(root), 1_000_000, metrics)
        self.owner = Owner(self.spills)
        self.drain = Drain(self.owner, self.connection, self.spills, metrics)

    @asynccontextmanager
    async def running(self, *values: bytes) -> AsyncIterator[Owner]:
        await self.spills.open(SupervisedTasks())
        if values:
            await self.spills.own.append([(TOPIC, b"key", value) for value in values]).written
        self.drain.wanted.set()
        running = asyncio.ensure_future(self.drain.run())
        self.task = running
        yield self.owner
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await self.connection.close()
        await self.spills.close()

    async def direct(self) -> None:
        """Wait until new records go to Kafka directly."""
        await until(lambda: self.owner.mode is Mode.DIRECT or self.task.done())
        assert self.owner.mode is Mode.DIRECT
        self.drain.wanted.clear()

    @property
    def values(self) -> list[bytes]:
        return [value for log in self.kafka.log for _, value in log]


async def test_new_records_may_wait_in_memory_only_for_the_last_few_of_the_spill(tmp_path, monkeypatch):
    monkeypatch.setattr(drain_module, "HANDOVER_RECORDS", 2)
    monkeypatch.setattr(queue_module, "PAGE_MAX_RECORDS", 1)
    setup = Setup(tmp_path)
    with capture_logs() as logs:
        async with setup.running(b"0", b"1", b"2", b"3", b"4") as owner:
            await setup.direct()
    assert owner.left == [("contact", 5), ("little", 2), ("nothing", 0)]
    assert setup.values == [b"0", b"1", b"2", b"3", b"4"]
    assert [log["records"] for log in logs if log["event"] == "the spill is drained"] == [5]


async def test_what_another_process_has_left_is_sent_first_and_its_directory_goes(tmp_path):
    directories = SpillDirectories(tmp_path)
    left = [directories.claim() for _ in range(2)][1]
    store = SpillStore(left)
    store.append([SpilledRecord(TOPIC, 1, b"key", value) for value in (b"older", b"old")])
    store.close()
    directories.release()
    setup = Setup(tmp_path)
    async with setup.running(b"new"):
        await setup.direct()
        assert setup.spills.oldest is setup.spills.own
    assert setup.values == [b"older", b"old", b"new"]
    assert not left.exists()


async def test_once_it_is_told_to_stop_new_records_never_go_to_kafka_directly(tmp_path):
    setup = Setup(tmp_path)
    setup.drain.stop()
    async with setup.running() as owner:
        await until(lambda: owner.left.count(("contact", 0)) > 3)
    assert owner.mode is Mode.HANDING_OVER
    assert ("nothing", 0) not in owner.left


async def test_after_a_refusal_another_producer_goes_on_and_the_first_is_closed_after_everything_was_taken_back(
    tmp_path,
):
    setup = Setup(tmp_path)
    setup.kafka.refusals_left = 1
    closed_at_trouble: list[bool] = []
    setup.owner.on_trouble = lambda: closed_at_trouble.append(setup.kafka.made[0].is_closed)
    async with setup.running(b"a") as owner:
        await setup.direct()
        assert [producer.is_closed for producer in setup.kafka.made] == [True, False]
    assert closed_at_trouble == [False]
    refused = "Kafka refuses: MessageSizeTooLargeError"
    assert owner.left == [("contact", 1), ("little", 1), (refused, 1), ("contact", 1), ("little", 1), ("nothing", 0)]
    assert setup.values == [b"a"]


async def test_a_topic_that_the_sender_does_not_know_is_learned_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(drain_module, "RETRY_SECONDS", 0.05)
    setup = Setup(tmp_path)
    with capture_logs() as logs:
        async with setup.running(b"a") as owner:
            await setup.direct()
            sender = await setup.connection.sender()
            known = len(sender._all)
            await setup.spills.own.append([("test.new", b"key", b"b"), (OTHER, b"key", b"c")]).written
            owner.mode, began = Mode.SPILLING, time.monotonic()
            setup.drain.wanted.set()
            await until(lambda: sum("does not exist" in log.get("reason", "") for log in logs) > 1)
            assert time.monotonic() - began >= 0.05
            setup.kafka.topics |= {"test.new"}
            await setup.direct()
            assert sender.knows("test.new")
            assert len(sender._all) == known * 3 // 2, "what it knew it was not told again"
    assert sorted(setup.values) == [b"a", b"b", b"c"]


async def test_who_stops_waits_for_the_answer_to_the_last_page_but_not_for_ever(tmp_path):
    setup = Setup(tmp_path)
    await setup.drain.last_page(PATIENCE_SECONDS)  # there is none
    await setup.connection.sender()
    setup.kafka.is_silent = True
    async with setup.running(b"a"):
        await until(lambda: len(setup.kafka.pending) == 1)
        await asyncio.wait_for(setup.drain.last_page(0.01), PATIENCE_SECONDS)
        setup.drain.stop()
        waiting = asyncio.ensure_future(setup.drain.last_page(PATIENCE_SECONDS))
        await asyncio.sleep(0)
        assert not waiting.done()
        setup.kafka.wake()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert setup.spills.records == 0
    assert setup.values == [b"a"]


async def test_a_disk_that_does_not_delete_what_was_sent_holds_nothing_up(tmp_path, disk: RefusingDisk):  # noqa: F811
    setup = Setup(tmp_path)
    await setup.connection.sender()
    setup.kafka.is_silent = True
    async with setup.running(b"a"):
        await until(lambda: len(setup.kafka.pending) == 1)
        disk.refuses = True
        setup.kafka.wake()
        await setup.direct()
        assert disk.refused_writes == 1
    assert setup.values == [b"a"]


async def test_the_disk_space_of_what_was_sent_is_given_back(tmp_path):
    first = Setup(tmp_path)
    await first.spills.open(SupervisedTasks())
    await first.spills.own.append([(TOPIC, b"key", b"a" * 1_000)]).written
    await first.spills.close()
    setup = Setup(tmp_path)

    def table_bytes() -> int:
        return sum(file["size"] for file in setup.spills.own._store._db.live_files())

    async with setup.running():
        assert table_bytes() > 0
        await setup.direct()
        await until(lambda: table_bytes() == 0)
