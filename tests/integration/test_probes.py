"""Probes tell why a worker can't work, one reason a line, and never that a worker which only waits is dead."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.kafka import kafka_settings
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.source_log import event_value
from tests.stages import Stage, wait_until
from topics.catalog import SOURCE
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings


class Worker:
    """One stage and what its probes say."""

    def __init__(self, stage: str, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        port = {f"TRACKER_{stage.upper()}_PORT": str(self.port), "TRACKER_WORKER_ID": name}
        self.stage = Stage(stage, directory / name, {**environment, **port})
        self.stage.start()

    def probe(self, page: str) -> tuple[int, dict]:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/{page}", timeout=PATIENCE_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def wait_for(self, status: int, said: str = "") -> None:
        """Wait until the worker is ready, or is not and says why; it is alive all the time."""

        def holds() -> bool:
            self.stage.assert_running()
            found, state = self.probe("readyz")
            return found == status and said in " ".join([*state["problems"], *state["notes"]])

        wait_until(holds, f"{self.stage.name}: {status} {said!r}; {self.probe('readyz')}")
        assert self.probe("healthz")[0] == 200


class Deployment:
    """A broker that comes and goes, and the workers on it."""

    def __init__(self, directory: Path, tinybird: LocalTinybird) -> None:
        self.directory = directory
        self.broker = LocalKafka(kafka_settings(directory / "kafka"))
        self.settings = Settings(kafka_bootstrap=self.broker.bootstrap, partitions=1, topic_prefix="probes.")
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": self.broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": "probes.",
            "TRACKER_PARTITIONS": "1",
            "TRACKER_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
        }
        self.workers: list[Worker] = []

    def start(self, stage: str, name: str) -> Worker:
        self.workers.append(Worker(stage, name, self.directory, self.environment))
        return self.workers[-1]

    def send(self) -> None:
        async def send_one() -> None:
            async with new_producer(self.settings, "test") as producer:
                topic = SOURCE.name(self.settings.topic_prefix)
                await producer.send_and_wait(topic, event_value("probed", "e1"), key=b"probed")

        asyncio.run(send_one())

    def end(self) -> None:
        for worker in self.workers:
            worker.stage.end()
        self.broker.stop()


@pytest.fixture
def tinybird(tmp_path: Path) -> Iterator[LocalTinybird]:
    (tmp_path / "tinybird").mkdir()
    local = LocalTinybird(tmp_path / "tinybird")
    local.start()
    yield local
    local.process.kill()


@pytest.fixture
def deployment(tmp_path: Path, tinybird: LocalTinybird) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, tinybird)
    yield deployment
    deployment.end()


def test_a_worker_says_what_it_waits_for_and_is_alive_all_the_time(
    deployment: Deployment, tinybird: LocalTinybird
) -> None:
    process, sink = deployment.start("process", "process-1"), deployment.start("sink", "sink-1")
    both = (process, sink)
    for worker in both:
        worker.wait_for(503, "Kafka has not answered yet")

    deployment.broker.start()
    for worker in both:
        worker.wait_for(503, "topics are missing: probes.events")
    asyncio.run(admin.create_topics(deployment.settings))
    for worker in both:
        worker.wait_for(200)
    assert process.probe("readyz")[1]["partitions"] == 1

    second = deployment.start("process", "process-2")
    wait_until(lambda: "notes" in second.probe("readyz")[1], "the second worker listens")
    wait_until(
        lambda: sorted(worker.probe("readyz")[1].get("partitions") for worker in (process, second)) == [0, 1],
        "one has the partition",
    )
    (idle,) = (worker for worker in (process, second) if worker.probe("readyz")[1]["partitions"] == 0)
    idle.wait_for(200, "there are more workers than partitions")

    tinybird.kill()
    deployment.send()
    sink.wait_for(503, "Tinybird fails for")
    tinybird.start()
    sink.wait_for(200)

    deployment.broker.stop()
    for worker in (*both, second):
        worker.wait_for(503, "the consumer group has not given partitions, or has evicted this worker")
    deployment.broker.start()
    for worker in (*both, second):
        worker.wait_for(200)
