"""The local broker: it comes up, keeps its data, says what is wrong, and never stays behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.fixtures.kafka import PROJECT_DIR, kafka_settings
from tests.patience import PATIENCE_SECONDS
from tracker.errors import ConfigurationError, RetryableError
from tracker.local.kafka import LocalKafka
from tracker.local.kafka_probe import serves
from tracker.local.ports import LOOPBACK
from tracker.settings import Settings

FOREGROUND = "from tracker.local.kafka import run; from tracker.settings import Settings; run(Settings())"


async def create_topic(bootstrap: str) -> str:
    topic = f"launcher-{uuid.uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    return topic


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value)


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


@pytest.fixture
def foreground(tmp_path: Path) -> Iterator[tuple[Settings, subprocess.Popen[bytes], Path]]:
    """``tracker local kafka`` as a process of its own, once it serves."""
    settings = kafka_settings(tmp_path / "data")
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT_DIR),
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_DATA_DIR": str(settings.data_dir),
        "TRACKER_CACHE_DIR": str(settings.cache_dir),
    }
    port = LocalKafka(settings).port
    with (
        (tmp_path / "output").open("wb") as output,
        subprocess.Popen([sys.executable, "-c", FOREGROUND], env=environment, stdout=output, stderr=output) as process,
    ):
        wait_until(lambda: serves(port) or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "output").read_text()
        yield settings, process, tmp_path / "output"
        process.kill()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_records_survive_a_clean_stop_and_a_crash(tmp_path: Path):
    broker = LocalKafka(kafka_settings(tmp_path))
    try:
        broker.start()
        topic = await create_topic(broker.bootstrap)
        await produce(broker.bootstrap, topic, b"first")
        broker.restart()
        await produce(broker.bootstrap, topic, b"second")
        broker.kill()
        assert broker.pid is None
        broker.start()
        assert await consume(broker.bootstrap, topic, 2) == [b"first", b"second"]
    finally:
        broker.stop()


async def test_a_topic_that_was_not_created_is_not_made_up(kafka_broker: LocalKafka):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    try:
        # Asked for its topics, a broker that makes them up does so some time after its answer.
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        ((_, _, _, _, entries),) = answer.resources
        assert ("auto.create.topics.enable", "false") in [entry[:2] for entry in entries]
    finally:
        await admin.close()


def test_it_listens_to_this_machine_only(kafka_broker: LocalKafka):
    config = (kafka_broker.data_dir / "server.properties").read_text()
    listeners = next(line for line in config.splitlines() if line.startswith("listeners=")).partition("=")[2]

    assert all(listener.split("://")[1].startswith(f"{LOOPBACK}:") for listener in listeners.split(","))


def test_a_taken_port_is_named_with_its_setting_before_anything_starts(tmp_path: Path):
    broker = LocalKafka(kafka_settings(tmp_path))
    with (
        socket.create_server((LOOPBACK, broker.port)),
        pytest.raises(ConfigurationError, match=f"port {broker.port} is taken.*TRACKER_KAFKA_BOOTSTRAP"),
    ):
        broker.start()
    assert list(tmp_path.iterdir()) == []


def test_a_second_broker_on_the_same_data_is_refused(kafka_broker: LocalKafka):
    second = LocalKafka(kafka_settings(kafka_broker.data_dir.parent))

    with pytest.raises(ConfigurationError, match="in use by another run"):
        second.start()


def test_a_broker_that_can_not_start_shows_its_last_words(tmp_path: Path):
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=77\n")

    with pytest.raises(RetryableError, match=r"ended with status 1(.|\n)*Stored node id 77"):
        LocalKafka(kafka_settings(tmp_path)).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_the_broker_cleanly(
    foreground: tuple[Settings, subprocess.Popen[bytes], Path], number: signal.Signals
):
    settings, process, output = foreground

    process.send_signal(number)

    assert process.wait(PATIENCE_SECONDS) == 0, output.read_text()
    broker = LocalKafka(settings)
    assert not serves(broker.port)
    assert (broker.data_dir / "data" / ".kafka_cleanshutdown").exists()
    assert "shut down completed" in broker.log_file.read_text()


def test_a_killed_command_takes_its_broker_with_it(
    foreground: tuple[Settings, subprocess.Popen[bytes], Path],
):
    settings, process, _ = foreground
    broker = LocalKafka(settings)

    process.kill()
    process.wait(PATIENCE_SECONDS)

    wait_until(lambda: not serves(broker.port))
    with broker:
        assert serves(broker.port)
