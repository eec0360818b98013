"""A group of 0.1.0 is upgraded under load, worker by worker, and back by a step: nothing is lost or numbered twice.

The workers of 0.1.0 are what was released: a wheel of that commit.
"""

import asyncio
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS
from tests.source_log import event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import CHANGELOG, DEAD_LETTERS, SEQUENCED, SOURCE
from topics.headers import read_position
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.sessions.layouts import WATERMARK_KEY, decode_watermark
from tracker.settings import Settings
from tracker.sink.positions import SeenPositions

pytestmark = pytest.mark.slow

#: The commit that CHANGELOG.md names as 0.1.0.
RELEASE_0_1_0 = "7de345f"
PARTITIONS = 4
SESSIONS = 60
EVENTS_PER_SECOND = 400
#: Events that are sent again, as a client does whose answer was lost: among the last that 0.1.0 remembers.
REPEAT_SHARE, REPEATED_AMONG = 0.1, 200


@pytest.fixture(scope="module")
def old_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of 0.1.0, installed from a wheel of its commit."""
    archive = subprocess.run(["git", "archive", RELEASE_0_1_0], cwd=PROJECT_DIR, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this checkout has no history back to {RELEASE_0_1_0}: {archive.stderr.decode().strip()}")
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "release"))
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(source, filter="data")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", wheels, source], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "-qq", "--no-deps", "--target", target, wheel], check=True)
    return target


class Group:
    """Two workers, each of some release, and a producer that never pauses."""

    def __init__(self, broker: LocalKafka, old_release: Path, directory: Path) -> None:
        self._old_release = old_release
        self._directory = directory
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap, topic_prefix=f"upgrade-{free_port()}.", partitions=PARTITIONS
        )
        self.sent: set[str] = set()
        self.workers: dict[str, Stage] = {}
        self._ports: dict[str, int] = {}
        self._rng = Random(1)
        self._stopping = False

    async def produce(self) -> None:
        """Send events of all sessions at a steady rate, some of them twice, until told to stop."""
        topic, recent = SOURCE.name(self.settings.topic_prefix), []
        began, number = time.monotonic(), 0
        async with new_producer(self.settings, "load", linger_ms=5) as producer:
            while not self._stopping:
                due, acks = int((time.monotonic() - began) * EVENTS_PER_SECOND), []
                while number < due:
                    number += 1
                    if recent and self._rng.random() < REPEAT_SHARE:
                        key, value = self._rng.choice(recent[-REPEATED_AMONG:])
                    else:
                        key, event_id = f"session-{self._rng.randrange(SESSIONS)}", f"event-{number}"
                        value = event_value(key, event_id, workspace_id="w1")
                        self.sent.add(event_id)
                        recent.append((key, value))
                    acks.append(await producer.send(topic, value, key=key.encode()))
                await asyncio.gather(*acks)
                await asyncio.sleep(0.02)

    def stop_load(self) -> None:
        self._stopping = True

    def start(self, name: str, release: str) -> None:
        """Start a worker of a release: ``old``, ``new``, or ``both`` for the new one that writes for the old one."""
        worker = self.workers.get(name)
        if worker is None:
            port = self._ports[name] = free_port()
            worker = self.workers[name] = Stage(
                "process",
                self._directory / name,
                {
                    "TRACKER_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
                    "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                    "TRACKER_PARTITIONS": str(PARTITIONS),
                    "TRACKER_PROCESS_PORT": str(port),
                    "TRACKER_WORKER_ID": name,
                    "TRACKER_KAFKA_SESSION_TIMEOUT_MS": "6000",
                    "TRACKER_GROUP_COMMIT_INTERVAL_MS": "500",
                },
            )
        path = self._old_release if release == "old" else PROJECT_DIR
        upgrade_from = "0.1.0" if release == "both" else ""
        # Without the safe path, Python would look into the current directory first: the checkout.
        worker.set_environment(PYTHONPATH=str(path), PYTHONSAFEPATH="1", TRACKER_UPGRADE_FROM=upgrade_from)
        worker.log_file = self._directory / name / "process.log"
        worker.start()

    async def replace(self, name: str, release: str) -> set[int]:
        """Replace a worker, wait until the group has caught up, and return the layouts that are written then."""
        worker = self.workers[name]
        status = await asyncio.to_thread(worker.stop)
        assert status == 0, f"{name} ended with {status}:\n{worker.log_file.read_text()[-8_000:]}"
        self.start(name, release)
        await self.caught_up(f"{name} is {release}")
        return await asyncio.to_thread(self.layouts)

    async def caught_up(self, what: str) -> None:
        """Wait until everything that has been sent by now is numbered."""
        wanted = set(self.sent)

        def is_numbered() -> bool:
            for worker in self.workers.values():
                worker.assert_running()
            return wanted <= {row["event_id"] for row in self.rows()}

        def all_work() -> bool:
            leases = [self._leases(name) for name in self.workers]
            return min(leases) > 0 and sum(leases) == PARTITIONS

        await asyncio.to_thread(wait_until, all_work, f"partitions for every worker: {what}", PATIENCE_SECONDS)
        await asyncio.to_thread(wait_until, is_numbered, f"all numbered: {what}", PATIENCE_SECONDS)

    def _leases(self, name: str) -> int:
        """The partitions that a worker may fold; 0 while it can't be asked."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self._ports[name]}/metrics", timeout=PATIENCE_SECONDS
            ) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("tracker_process_leases "))

    def rows(self) -> list[dict[str, Any]]:
        """Numbered events, each once, as every consumer filters them."""
        seen: dict[int, SeenPositions] = defaultdict(SeenPositions)
        found = []
        for record in asyncio.run(read_all(self.settings, SEQUENCED)):
            position = read_position(record.headers)
            assert position is not None
            if record.value and seen[record.partition].is_new(position):
                found.append(orjson.loads(record.value))
        return found

    def layouts(self) -> set[int]:
        """The layouts that the partitions are written in now."""
        latest: dict[int, bytes] = {}
        for record in asyncio.run(read_all(self.settings, CHANGELOG)):
            if record.key == WATERMARK_KEY:
                latest[record.partition] = record.value
        return {decode_watermark(raw).layout for raw in latest.values()}


@pytest.fixture
def group(kafka_broker: LocalKafka, old_release: Path, tmp_path: Path) -> Iterator[Group]:
    group = Group(kafka_broker, old_release, tmp_path)
    yield group
    for worker in group.workers.values():
        worker.end()


async def test_a_group_is_upgraded_and_taken_back_a_step_under_load(group: Group) -> None:
    await admin.create_topics(group.settings)
    load = asyncio.create_task(group.produce())
    for name in ("one", "two"):
        group.start(name, "old")
    await group.caught_up("0.1.0")
    # First the new release writes what the old one reads, and may be taken back.
    for name, release in (("one", "both"), ("two", "both"), ("one", "old"), ("one", "both")):
        assert await group.replace(name, release) == {2}
    # Then it writes its own layout, partition by partition, and a worker that was not told so yet goes on in it.
    assert 3 in await group.replace("one", "new")
    assert await group.replace("two", "new") == {3}
    assert await group.replace("one", "both") == {3}
    group.stop_load()
    await load
    await group.caught_up("the end")
    numbers = defaultdict(list)
    for row in await asyncio.to_thread(group.rows):
        numbers[row["session_id"]].append(row["session_event_sequence"])
    assert len(numbers) == SESSIONS
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert sum(map(len, numbers.values())) == len(group.sent)
    assert await read_all(group.settings, DEAD_LETTERS) == []
