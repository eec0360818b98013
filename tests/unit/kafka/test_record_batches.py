"""Records go out in batches, one after the other, and a broker that is away is waited for."""

from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from tests.simulation.broker import CHANGELOG_TOPIC, Broker
from tests.simulation.producer import Producer
from tests.virtual_time import new_environment, run_virtually
from tracker.kafka.record_batches import send_batches


class Watched(Producer):
    """Refuses to take as many batches as there are errors, and notes how many are under way at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.errors: list[Exception] = []
        self.under_way = self.most_under_way = self.asked = 0
        self.closed: list[bool] = []

    def create_batch(self) -> Any:
        batch = super().create_batch()
        batch.is_closed = False
        batch.close = lambda: setattr(batch, "is_closed", True)
        return batch

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        self.asked += 1
        self.closed.append(batch.is_closed)
        if self.errors:
            raise self.errors.pop(0)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        ack = await super().send_batch(batch, topic, partition=partition)
        ack.add_done_callback(self._has_ended)
        return ack

    def _has_ended(self, _: Any) -> None:
        self.under_way -= 1


def run(test: Any, max_batch_bytes: int = 200) -> Watched:
    environment = new_environment()
    broker = Broker(1)
    producer = Watched(environment, broker, max_batch_bytes)
    run_virtually(environment, lambda: test(producer, broker.log(CHANGELOG_TOPIC, 0)))
    return producer


def records(count: int) -> list:
    return [(b"k%d" % n, b"v" * 40, [("n", b"%d" % n)]) for n in range(count)]


def test_nothing_is_sent_for_no_records():
    async def test(producer: Watched, log: Any) -> None:
        assert await send_batches(producer, CHANGELOG_TOPIC, 0, []) == []

    assert run(test).asked == 0


def test_records_keep_their_order_and_times_over_all_batches():
    async def test(producer: Watched, log: Any) -> None:
        written = await send_batches(producer, CHANGELOG_TOPIC, 0, records(7), iter(range(100, 107)))
        assert sum(count for _, count in written) == 7
        assert [base for base, _ in written] == [sum(c for _, c in written[:n]) for n in range(len(written))]
        assert [(r.key, r.value, r.headers, r.timestamp) for r in log.records] == [
            (key, value, tuple(headers), 100 + n) for n, (key, value, headers) in enumerate(records(7))
        ]

    producer = run(test)
    assert producer.asked > 2
    assert producer.most_under_way == 1
    assert all(producer.closed)


@pytest.mark.parametrize("error", [KafkaTimeoutError(), UnknownTopicOrPartitionError()])
def test_a_broker_that_takes_nothing_is_waited_for(error):
    async def test(producer: Watched, log: Any) -> None:
        producer.errors = [error, error]
        began = producer._env.loop.time()
        assert await send_batches(producer, CHANGELOG_TOPIC, 0, records(1)) == [(0, 1)]
        assert producer.errors == []
        assert 2 <= producer._env.loop.time() - began < 3

    run(test)


def test_what_the_broker_refuses_ends_it_and_nothing_follows():
    async def test(producer: Watched, log: Any) -> None:
        producer.errors = [MessageSizeTooLargeError()]
        with pytest.raises(MessageSizeTooLargeError):
            await send_batches(producer, CHANGELOG_TOPIC, 0, records(7))
        assert producer.asked == 1
        assert log.records == []

    run(test)
