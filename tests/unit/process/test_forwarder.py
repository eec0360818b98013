"""Forwarded records go out partition by partition in their order, and one line now and then names their producers."""

import asyncio

import pytest
import structlog

from tests.simulation.broker import SOURCE_TOPIC
from tests.unit.process.one_partition import OnePartition, partition_test
from topics.headers import PRODUCER_CLIENT_ID
from tracker.process import forwards as forwards_module
from tracker.process.forwards import MAX_NAME_CHARS, MAX_NAMED_PRODUCERS, WARNING_INTERVAL_SECONDS, Forwarder
from tracker.sessions.outputs import Forward


def forward(partition: int, number: int, producer: bytes = b"") -> Forward:
    headers = [(PRODUCER_CLIENT_ID, producer)] if producer else []
    return Forward(partition, b"k-%d" % number, b"v-%d" % number, headers, 1_000 + number)


@partition_test()
async def test_each_goes_to_its_partition_as_it_was_in_order(partition):
    for number in (0, 1):
        partition.broker.log(SOURCE_TOPIC, number).takes_create_time = True
    await Forwarder(partition.producer, SOURCE_TOPIC).send([forward(n % 2, n, b"p") for n in range(6)])
    for number in (0, 1):
        found = partition.broker.log(SOURCE_TOPIC, number).records
        assert [(r.key, r.value, r.timestamp) for r in found] == [
            (b"k-%d" % n, b"v-%d" % n, 1_000 + n) for n in range(number, 6, 2)
        ]
        assert {tuple(r.headers) for r in found} == {((PRODUCER_CLIENT_ID, b"p"),)}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch):
    """What was logged, and the clock by which it is held back."""
    clock = Clock()
    monkeypatch.setattr(forwards_module, "monotonic", clock)
    with structlog.testing.capture_logs() as lines:
        yield lines, clock


def send(*batches: list[Forward], forwarder: Forwarder | None = None, partition: OnePartition | None = None) -> None:
    partition = partition or OnePartition()
    forwarder = forwarder or Forwarder(partition.producer, SOURCE_TOPIC)

    async def test() -> None:
        for batch in batches:
            await forwarder.send(batch)

    partition.run(test)


def test_the_operator_is_told_how_many_and_whose(said):
    lines, _ = said
    send([forward(0, 1, b"checkout"), forward(0, 2, b"checkout"), forward(1, 3)])
    (line,) = lines
    assert (line["records"], line["producers"]) == (3, {"checkout": 2, "unknown": 1})
    assert "murmur2" in line["event"]


def test_nothing_is_said_where_nothing_was_forwarded(said):
    send([])
    assert said[0] == []


def test_it_is_said_once_in_an_interval_with_all_that_came_meanwhile(said):
    lines, clock = said
    partition = OnePartition()
    forwarder = Forwarder(partition.producer, SOURCE_TOPIC)

    async def test() -> None:
        for late in (0.0, 1.0, WARNING_INTERVAL_SECONDS - 0.1, WARNING_INTERVAL_SECONDS, WARNING_INTERVAL_SECONDS + 1):
            clock.now = 100.0 + late
            await forwarder.send([forward(0, 1)])

    partition.run(test)
    assert [line["records"] for line in lines] == [1, 3]


def test_only_the_busiest_producers_are_named_and_no_name_is_long(said):
    lines, _ = said
    names = [b"p-%d" % n for n in range(MAX_NAMED_PRODUCERS + 2)]
    send([forward(0, 1, name) for name in names for _ in range(int(name[2:]) + 1)])
    assert len(lines[0]["producers"]) == MAX_NAMED_PRODUCERS
    assert "p-0" not in lines[0]["producers"]
    send([forward(0, 1, b"\xff" + b"x" * 100)])
    (name,) = lines[1]["producers"]
    assert name == "\N{REPLACEMENT CHARACTER}" + "x" * (MAX_NAME_CHARS - 1)


@partition_test()
async def test_one_partition_that_takes_nothing_does_not_hold_up_the_forward_to_another(partition):
    partition.producer.faults[SOURCE_TOPIC] = ["refused"]
    sending = asyncio.ensure_future(Forwarder(partition.producer, SOURCE_TOPIC).send([forward(0, 1), forward(1, 2)]))
    await asyncio.wait([sending])
    assert sending.exception() is not None
    await asyncio.sleep(1)
    assert sum(len(partition.broker.log(SOURCE_TOPIC, number).records) for number in (0, 1)) == 1
