"""The spill as a queue that is written, drained, killed, reopened and filled in any order: a list is its model."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.database_image import copy_image
from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill.queue import Spill, SpillFull, Ticket
from tracker.collect.spill.store import SpilledRecord
from tracker.processes.supervised_tasks import SupervisedTasks

MAX_BYTES = 20_000

Record = tuple[str, bytes, bytes]


class SpillMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.lives = 0
        self.numbered = 0
        self.model: list[Record] = []
        self.tickets: list[tuple[Ticket, list[Record]]] = []
        self.spill = self.runner.run(self.open())

    async def open(self) -> Spill:
        return await Spill.open(
            self.root / str(self.lives) / "spill-0", MAX_BYTES, CollectMetrics().spill, SupervisedTasks()
        )

    @staticmethod
    def size(records: list[Record]) -> int:
        return sum(SpilledRecord(topic, 0, key, value).size_bytes for topic, key, value in records)

    @rule(sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=5))
    def append(self, sizes: list[int]) -> None:
        records = []
        for size in sizes:
            self.numbered += 1
            records.append(("topic", b"%d" % self.numbered, b"v" * size))
        has_room = self.size(self.model) + self.size(records) <= MAX_BYTES

        async def put() -> Ticket:
            ticket = self.spill.append(records)
            await ticket.written
            return ticket

        try:
            ticket = self.runner.run(put())
        except SpillFull:
            assert not has_room
        else:
            assert has_room
            self.model += records
            self.tickets.append((ticket, records))

    @rule(count=st.integers(1, 8))
    def drain(self, count: int) -> None:
        page = self.runner.run(self.spill.page())
        if page is None:
            assert not self.model
            return
        read = [(record.topic, record.key, record.value) for record in page.records]
        assert read == self.model
        sent = page.first(count)
        self.runner.run(self.spill.delete(sent))
        del self.model[: len(sent.records)]

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def arrive_in_another_way(self, data: st.DataObject) -> None:
        ticket, records = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        if any(record not in self.model for record in records):
            return  # drained meanwhile: then nobody waits for its fate any more

        async def arrived() -> None:
            ticket.arrived()
            await self.spill.page()

        self.runner.run(arrived())
        self.model = [record for record in self.model if record not in records]

    @rule()
    def die_and_start_again(self) -> None:
        """What a killed process leaves is what is in its files at that moment."""
        self.lives += 1
        copy_image(self.root / str(self.lives - 1), self.root / str(self.lives))
        self.runner.run(self.spill.close())
        self.tickets.clear()
        self.spill = self.runner.run(self.open())

    @rule()
    def reclaim(self) -> None:
        self.runner.run(self.spill.reclaim())

    @rule()
    def stop_and_start_again(self) -> None:
        self.runner.run(self.spill.close())
        self.tickets.clear()
        self.spill = self.runner.run(self.open())

    @invariant()
    def it_counts_what_it_holds(self) -> None:
        assert self.spill.records == len(self.model)
        assert self.spill.size_bytes == self.size(self.model)
        assert (self.spill.oldest_ms is None) <= (not self.model)

    def teardown(self) -> None:
        self.runner.run(self.spill.close())
        self.runner.close()
        shutil.rmtree(self.root)


SpillMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_spill_is_a_bounded_queue_that_survives = SpillMachine.TestCase
