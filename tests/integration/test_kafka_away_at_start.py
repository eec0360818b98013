"""A stage whose Kafka is away when it starts waits for it, also where it goes away in the middle of the start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.kafka import kafka_settings
from tests.integration.gone_at_start import DYING
from tests.stages import Stage, wait_until
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

WAITING_LINE = "no Kafka answers; waiting for it"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalKafka]:
    broker = LocalKafka(kafka_settings(tmp_path))
    yield broker
    broker.stop()


def stage_of(name: str, broker: LocalKafka, tmp_path: Path, module: str, **environment: str) -> Stage:
    return Stage(
        name,
        tmp_path,
        {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_PARTITIONS": "1",
            "TRACKER_PROCESS_PORT": str(free_port()),
            **environment,
        },
        module=module,
    )


@pytest.mark.parametrize("dies", DYING)
@pytest.mark.parametrize(("name", "started"), [("process", "partition ready"), ("sink", "partitions assigned")])
async def test_a_stage_waits_where_kafka_dies_in_the_middle_of_its_start(
    broker: LocalKafka, tmp_path: Path, name: str, started: str, dies: str
):
    broker.start()
    await create_topics(Settings(kafka_bootstrap=broker.bootstrap, partitions=1))
    environment = {"BROKER_PID": str(broker.pid), "BROKER_DIES": dies}
    stage = stage_of(name, broker, tmp_path, "tests.integration.gone_at_start", **environment)
    stage.start()

    def says(words: str) -> bool:
        stage.assert_running()
        return words in stage.log_file.read_text()

    try:
        wait_until(lambda: says("the broker is killed"), "the broker was killed")
        wait_until(lambda: says(WAITING_LINE), "it waits")
        broker.restart()
        wait_until(lambda: says(started), "it works")
        assert "Traceback" not in stage.log_file.read_text()
        assert stage.stop() == 0
    finally:
        stage.end()


@pytest.mark.parametrize("name", ["process", "sink"])
async def test_a_stage_that_waits_for_kafka_can_be_stopped(broker: LocalKafka, tmp_path: Path, name: str):
    broker.start()
    await create_topics(Settings(kafka_bootstrap=broker.bootstrap, partitions=1))
    environment = {"BROKER_PID": str(broker.pid), "BROKER_DIES": "before faust"}
    stage = stage_of(name, broker, tmp_path, "tests.integration.gone_at_start", **environment)
    stage.start()
    try:
        wait_until(lambda: WAITING_LINE in stage.log_file.read_text(), "it waits")
        assert stage.stop() == 0
    finally:
        stage.end()


@pytest.mark.parametrize(("name", "started"), [("process", "partition ready"), ("sink", "partitions assigned")])
async def test_a_stage_waits_for_a_kafka_that_is_not_there_yet(
    broker: LocalKafka, tmp_path: Path, name: str, started: str
):
    stage = stage_of(name, broker, tmp_path, "tracker")
    stage.start()
    try:
        wait_until(lambda: WAITING_LINE in stage.log_file.read_text(), "it waits")
        broker.start()
        await create_topics(Settings(kafka_bootstrap=broker.bootstrap, partitions=1))
        wait_until(lambda: started in stage.log_file.read_text(), "it works")
        assert stage.stop() == 0
    finally:
        stage.end()
