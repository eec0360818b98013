"""No task of a Kafka consumer ends without being noticed: aiokafka's own only get no records any more."""

import signal
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from tests.integration.ending_tasks import TASKS
from tests.stages import Stage, wait_until
from topics.catalog import SOURCE
from tracker import clock
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import is_passing, new_reader
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings
from tracker.streaming.app import EXIT_BUG


@pytest.fixture
async def settings(kafka_broker: LocalKafka) -> Settings:
    made = Settings(kafka_bootstrap=kafka_broker.bootstrap, partitions=1, topic_prefix=f"ending-{clock.new_id()}.")
    await create_topics(made)
    return made


@pytest.mark.parametrize("task", TASKS)
async def test_a_stage_whose_consumer_has_lost_a_task_ends(settings: Settings, tmp_path: Path, task: str):
    environment = {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": "1",
        "TRACKER_PROCESS_PORT": str(free_port()),
        "ENDED_TASK": task,
    }
    stage = Stage("process", tmp_path, environment, module="tests.integration.ending_tasks")
    stage.start()

    def is_ready() -> bool:
        stage.assert_running()
        return "partition ready" in stage.log_file.read_text()

    try:
        wait_until(is_ready, "it works")
        assert stage._process is not None
        stage._process.send(signal.SIGUSR1)
        assert stage.exit_status() == EXIT_BUG
        log = stage.log_file.read_text()
        assert "a task of the Kafka consumer has ended" in log
        assert TASKS[task] in log
    finally:
        stage.end()


@pytest.mark.parametrize("place", [0, 1], ids=["fetching", "metadata"])
async def test_a_reader_that_has_lost_a_task_says_so_instead_of_finding_nothing(settings: Settings, place: int):
    tp = TopicPartition(SOURCE.name(settings.topic_prefix), 0)
    async with new_reader(settings, "test") as reader:
        reader.assign([tp])
        assert await reader.getmany(tp, timeout_ms=1) == {}
        internals.reading_tasks(reader)[place].cancel()
        with pytest.raises(KafkaConnectionError, match="stopped to fetch") as error:
            await reader.getmany(tp, timeout_ms=1)
    assert is_passing(error.value)
