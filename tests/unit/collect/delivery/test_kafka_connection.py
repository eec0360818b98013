"""The connection to Kafka: made when Kafka and its topics are there, made again when it breaks, and why it is not."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from structlog.testing import capture_logs

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import FaultyKafka, FaultyProducer, until
from tracker.collect.delivery import kafka_connection as connection_module
from tracker.collect.delivery.kafka_connection import KafkaConnection
from tracker.collect.delivery.record_batch import NO_HEADERS
from tracker.collect.metrics import CollectMetrics
from tracker.kafka import access
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
        self.made_with: list[tuple[Any, ...]] = []
        self.troubles: list[str] = []
        #: It takes questions and never answers.
        self.hangs = False

    async def force_metadata_update(self) -> bool:
        await self.answer()
        return not self.is_silent

    async def answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()

    def make_producer(self, *made_with: Any) -> FaultyProducer:
        producer = _Producer(self)
        self.made_with.append(made_with)
        producer.topics = lambda: self.topics  # type: ignore[method-assign]
        producer.force_metadata_update = self.force_metadata_update  # type: ignore[method-assign]
        self.made.append(producer)
        return producer


class _Producer(FaultyProducer):
    """Hangs while its Kafka does."""

    kafka: Kafka

    async def start(self) -> None:
        await self.kafka.answer()
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        await self.kafka.answer()

    async def close(self) -> None:
        await super().close()
        await self.kafka.answer()


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "RECONNECT_DELAY_SECONDS", 0.001)


def connection_to(kafka: Kafka, port: int | None = None, **settings: Any) -> KafkaConnection:
    return KafkaConnection(
        Settings(kafka_bootstrap=f"{LOOPBACK}:{port or free_port()}", **settings),  # nobody is there to ask why
        CollectMetrics().delivery,
        SupervisedTasks(),
        topics=[TOPIC, OTHER],
        on_trouble=kafka.troubles.append,
        make_producer=kafka.make_producer,
    )


async def test_one_sender_is_made_that_knows_every_topic():
    kafka = Kafka()
    connection = connection_to(kafka)
    sender = await connection.sender()
    assert await connection.sender() is sender
    assert (sender.knows(TOPIC), sender.knows(OTHER), len(kafka.made)) == (True, True, 1)
    assert kafka.made_with == [(connection._settings, "tracker-collect")]
    assert sender._ack_timeout_seconds * 1_000 == connection._settings.collect_ack_timeout_ms
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
    assert {log["log_level"] for log in logs if log["event"] == "Kafka is not available"} == {"warning"}
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


async def unanswered(connection: KafkaConnection, kafka: Kafka) -> None:
    """Send a record that is not answered."""
    sender = await connection.sender()
    kafka.is_silent = True
    sender.add([(TOPIC, b"key", b"value")], NO_HEADERS)
    await until(lambda: len(kafka.pending) == 1)


async def test_a_close_waits_for_kafkas_answers():
    kafka = Kafka()
    connection = connection_to(kafka)
    await unanswered(connection, kafka)
    closing = asyncio.ensure_future(connection.close())
    await until(lambda: connection.reason == "the collector is stopping")
    assert not kafka.made[0].is_closed
    kafka.wake()
    await asyncio.wait_for(closing, PATIENCE_SECONDS)
    assert (kafka.made[0].is_closed, [value for log in kafka.log for _, value in log]) == (True, [b"value"])


async def test_a_close_does_not_wait_for_ever_and_what_is_not_answered_then_is_no_trouble(monkeypatch):
    monkeypatch.setattr(connection_module, "FLUSH_TIMEOUT_SECONDS", 0.01)
    kafka = Kafka()
    connection = connection_to(kafka)
    await unanswered(connection, kafka)
    with capture_logs() as logs:
        await asyncio.wait_for(connection.close(), PATIENCE_SECONDS)
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["the producer could not be flushed"]
    await asyncio.sleep(0)  # the sender's tasks have had their turn
    assert (kafka.made[0].is_closed, kafka.troubles) == (True, [])


async def test_between_two_attempts_to_connect_there_is_a_pause_and_the_reason_is_known_meanwhile(monkeypatch):
    monkeypatch.setattr(connection_module, "RECONNECT_DELAY_SECONDS", PATIENCE_SECONDS)
    kafka = Kafka()
    kafka.topics = set()
    connection = connection_to(kafka)
    connecting = asyncio.ensure_future(connection.sender())
    await until(lambda: TOPIC in connection.reason)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(kafka.made), connecting.done()) == (1, False)
    connecting.cancel()


async def test_a_broker_that_does_not_let_us_in_is_told_at_the_first_attempt():
    kafka = Kafka()
    kafka.is_silent = True
    async with server_that_says(b"HTTP/1.1 400 Bad Request") as port:
        connection = connection_to(kafka, port, kafka_security_protocol="SSL")
        connecting = asyncio.ensure_future(connection.sender())
        await until(lambda: f"Kafka at {LOOPBACK}:{port} does not speak TLS" in connection.reason)
        connecting.cancel()


async def test_neither_a_start_nor_an_end_waits_for_ever_for_a_broker_that_hangs(monkeypatch):
    for name in ("CONNECT_TIMEOUT_SECONDS", "CLOSE_TIMEOUT_SECONDS"):
        monkeypatch.setattr(connection_module, name, 0.01)
    kafka = Kafka()
    kafka.hangs = True
    connection = connection_to(kafka)
    connecting = asyncio.ensure_future(connection.sender())
    await until(lambda: "(TimeoutError)" in connection.reason)
    kafka.hangs = False
    await asyncio.wait_for(connecting, PATIENCE_SECONDS)
    kafka.hangs = True
    await asyncio.wait_for(connection.close(), PATIENCE_SECONDS)
    steps = ["end the sender", "fail what was not sent", "stop"]
    assert [producer.steps for producer in kafka.made] == [steps] * len(kafka.made)


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


@asynccontextmanager
async def server_that_says(words: bytes) -> AsyncIterator[int]:
    """A server that speaks no TLS; without words it never says anything. Yields its port."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_broker_that_refuses_us_is_a_reason_that_is_told_each_time_and_logged_once():
    kafka = Kafka()
    async with server_that_says(b"HTTP/1.1 400 Bad Request") as port:
        connection = connection_to(kafka, port, kafka_security_protocol="SSL")
        await connection.sender()
        kafka.is_silent = True
        with capture_logs() as logs:
            reasons = [await connection.unready_reason() for _ in range(2)]
        await connection.close()
    assert reasons[0] == reasons[1]
    assert f"Kafka at {LOOPBACK}:{port} does not speak TLS" in reasons[0]
    said = [(log["log_level"], log["reason"]) for log in logs if log["event"] == "Kafka is not available"]
    assert said == [("error", reasons[0])]


async def test_a_broker_that_is_away_is_named_with_what_happened():
    kafka = Kafka()
    kafka.is_silent = True
    connection = connection_to(kafka)
    connecting = asyncio.ensure_future(connection.sender())
    await until(lambda: connection.reason.startswith("can't reach Kafka"))
    where = connection._settings.kafka_bootstrap
    assert connection.reason == f"can't reach Kafka at {where} (KafkaConnectionError)"
    kafka.is_silent = False
    await asyncio.wait_for(connecting, PATIENCE_SECONDS)
    await connection.close()


async def test_a_probe_waits_only_so_long_for_the_broker_and_for_why_it_does_not_answer(monkeypatch):
    monkeypatch.setattr(connection_module, "PROBE_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(access, "LOOK_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    kafka = Kafka()
    async with server_that_says(b"") as port:
        connection = connection_to(kafka, port, kafka_security_protocol="SSL")
        await connection.sender()
        kafka.hangs = True
        reason = await asyncio.wait_for(connection.unready_reason(), PATIENCE_SECONDS)
        kafka.hangs = False
        await connection.close()
    assert reason == f"Kafka at {LOOPBACK}:{port} does not answer"
