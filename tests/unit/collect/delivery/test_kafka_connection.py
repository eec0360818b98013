"""The connection to Kafka: made when Kafka and its topics are there, made again when it breaks, and why it is not."""

import asyncio
import random
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from structlog.testing import capture_logs

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import FaultyKafka, FaultyProducer, until
from tracker.collect.delivery import kafka_connection as connection_module
from tracker.collect.delivery.kafka_connection import KafkaConnection
from tracker.collect.metrics import CollectMetrics
from tracker.local.ports import LOOPBACK, free_port
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

TOPIC, OTHER = "test.events", "test.legacy"


class Kafka(FaultyKafka):
    """The topics that it has, and every producer that was made for it."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self.topics = {TOPIC, OTHER}
        self.made: list[FaultyProducer] = []

    def make_producer(self, *_: Any) -> FaultyProducer:
        producer = FaultyProducer(self)
        producer.topics = lambda: self.topics  # type: ignore[method-assign]
        self.made.append(producer)
        return producer


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "RECONNECT_DELAY_SECONDS", 0.001)


def connection_to(kafka: Kafka) -> KafkaConnection:
    return KafkaConnection(
        Settings(kafka_bootstrap=f"{LOOPBACK}:{free_port()}"),  # nobody is there to ask why
        CollectMetrics().delivery,
        SupervisedTasks(),
        topics=[TOPIC, OTHER],
        on_trouble=lambda _: None,
        make_producer=kafka.make_producer,
    )


async def test_one_sender_is_made_that_knows_every_topic():
    kafka = Kafka()
    connection = connection_to(kafka)
    sender = await connection.sender()
    assert await connection.sender() is sender
    assert (sender.knows(TOPIC), sender.knows(OTHER), len(kafka.made)) == (True, True, 1)
    assert await connection.unready_reason() is None
    await connection.close()


async def test_a_topic_that_is_missing_is_named_once_and_waited_for():
    kafka = Kafka()
    kafka.topics = {TOPIC}
    connection = connection_to(kafka)
    assert await connection.unready_reason() == "not connected to Kafka yet"
    with capture_logs() as logs:
        connecting = asyncio.ensure_future(connection.sender())
        await until(lambda: len(kafka.made) > 3)
        assert connection.reason == f"topic {OTHER} does not exist; run: tracker topics create"
        assert await connection.unready_reason() == connection.reason
        kafka.topics = {TOPIC, OTHER}
        await asyncio.wait_for(connecting, PATIENCE_SECONDS)
    said = [log["reason"] for log in logs if log["event"] == "Kafka is not available"]
    assert said == [f"topic {OTHER} does not exist; run: tracker topics create"]
    assert [producer.is_closed for producer in kafka.made] == [True] * (len(kafka.made) - 1) + [False]
    await connection.close()


async def test_a_sender_that_has_broken_is_closed_before_another_is_made():
    kafka = Kafka()
    connection = connection_to(kafka)
    first = await connection.sender()
    first.broken = MessageSizeTooLargeError()
    await connection.replace()
    assert kafka.made[0].is_closed
    assert await connection.unready_reason() == "reconnecting to Kafka after MessageSizeTooLargeError"
    second = await connection.sender()
    assert second is not first
    assert [producer.is_closed for producer in kafka.made] == [True, False]
    await connection.close()
    assert kafka.made[1].is_closed


async def test_what_was_never_connected_can_be_replaced_and_closed():
    kafka = Kafka()
    connection = connection_to(kafka)
    await connection.replace()
    assert connection.reason == "not connected to Kafka yet"
    await connection.close()
    assert (connection.reason, kafka.made) == ("the collector is stopping", [])


async def test_a_topic_that_goes_away_and_a_broker_that_is_silent_are_reasons():
    kafka = Kafka()
    connection = connection_to(kafka)
    await connection.sender()
    kafka.topics = {TOPIC}
    assert await connection.unready_reason() == f"topic {OTHER} is gone"
    kafka.is_silent = True
    reason = await connection.unready_reason()
    assert reason is not None
    assert reason.endswith("does not answer")
    kafka.is_silent, kafka.topics = False, {TOPIC, OTHER}
    assert await connection.unready_reason() is None
    await connection.close()
