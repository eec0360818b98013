"""The Python client over Kafka with the network to the broker cut meanwhile: in order, each event once."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from event_tracker_client import Undelivered
from event_tracker_client.kafka import KafkaClient

from tests.fixtures.kafka import kafka_settings
from tests.fixtures.proxy import Proxy
from tests.patience import PATIENCE_MS
from tests.processors import Processor
from tests.stages import wait_until
from topics.catalog import SOURCE
from tracker.local.kafka import LocalKafka
from tracker.local.kafka_config import Node
from tracker.local.kafka_format import new_kafka_id
from tracker.local.ports import LOOPBACK, free_port

SESSIONS = ("s1", "s2", "s3")
EVENTS = 30
#: librdkafka's own waits, so short that a test sees many of them.
IMPATIENT = {"request.timeout.ms": 500, "socket.timeout.ms": 1_000, "reconnect.backoff.max.ms": 200}


@pytest.fixture
def node() -> Node:
    """A broker that tells those who come through the proxy that it is there."""
    return Node(1, new_kafka_id(), {1: free_port()}, proxied_port=free_port(), proxy_port=free_port())


@pytest.fixture
def processor(node: Node, tmp_path: Path) -> Iterator[Processor]:
    with LocalKafka(kafka_settings(tmp_path / "kafka"), node=node) as broker:
        processor = Processor(broker.bootstrap, tmp_path / "process")
        yield processor
        processor.stage.end()


def test_each_event_is_numbered_once_although_the_network_is_cut(
    processor: Processor, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "event_tracker_client")
    failures: list[Undelivered] = []
    told: dict[str, list[str]] = {session_id: [] for session_id in SESSIONS}
    topic = SOURCE.name(processor.settings.topic_prefix)

    def tell() -> None:
        for _ in range(EVENTS):
            for session_id, ids in told.items():
                ids.append(client.track(session_id, "click", metadata={"n": len(ids)}))

    with (
        Proxy(node.proxy_port, node.proxied_port) as network,
        KafkaClient(
            f"{LOOPBACK}:{node.proxy_port}", workspace_id="w1", topic=topic, config=IMPATIENT, on_error=failures.append
        ) as client,
    ):
        tell()
        wait_until(lambda: client.delivered > 0, "a first delivery")
        network.cut()
        tell()
        wait_until(lambda: "Timed out ProduceRequest" in caplog.text, "a request without an answer")
        assert client.waiting > 0
        network.mend()
        assert client.flush(PATIENCE_MS) == 0
    assert (failures, client.delivered) == ([], 2 * EVENTS * len(SESSIONS))
    processor.wait_until(lambda: len(processor.events()) >= client.delivered, "a number for each event")
    numbered = [(row["session_id"], row["session_event_sequence"], row["event_id"]) for row in processor.events()]
    assert sorted(numbered) == sorted(
        (session_id, number, event_id) for session_id, ids in told.items() for number, event_id in enumerate(ids, 1)
    )
