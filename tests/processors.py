"""The processor as a real process on topics of its own, for tests that feed it and read what it puts out."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE_SECONDS
from tests.source_log import event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

#: Key, value, and partition or None.
Record = tuple[bytes | None, bytes | None, int | None]


class Processor:
    """One processor on topics of its own, with a short inactivity gap."""

    def __init__(self, bootstrap: str, data_dir: Path, *, create: bool = True, **environment: str) -> None:
        self.settings = Settings(
            kafka_bootstrap=bootstrap,
            topic_prefix=f"process-{free_port()}.",
            partitions=2,
            process_port=free_port(),
        )
        self.stage = Stage(
            "process",
            data_dir,
            {
                "TRACKER_KAFKA_BOOTSTRAP": bootstrap,
                "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                "TRACKER_PARTITIONS": str(self.settings.partitions),
                "TRACKER_PROCESS_PORT": str(self.settings.process_port),
                **environment,
            },
        )
        if create:
            asyncio.run(admin.create_topics(self.settings))
            self.stage.start()

    def send(self, *records: Record) -> None:
        """Append records (key, value, partition or None) to the source topic, in order."""

        async def send_all() -> None:
            async with new_producer(self.settings, "test") as producer:
                for key, value, partition in records:
                    await producer.send_and_wait(
                        SOURCE.name(self.settings.topic_prefix), value, key=key, partition=partition
                    )

        asyncio.run(send_all())

    def events(self) -> list[dict]:
        return [json.loads(r.value) for r in asyncio.run(read_all(self.settings, SEQUENCED)) if r.value]

    def sessions(self) -> list[dict]:
        return [json.loads(r.value) for r in asyncio.run(read_all(self.settings, SESSIONS)) if r.value]

    def dead_letters(self) -> list[dict]:
        return [json.loads(r.value) for r in asyncio.run(read_all(self.settings, DEAD_LETTERS))]

    def wait_for_dead_letters(self, count: int) -> list[dict]:
        """Wait for so many letters: a chunk's letters may come after its events."""
        self.wait_until(lambda: len(self.dead_letters()) >= count, f"{count} dead letters")
        return self.dead_letters()

    def get(self, session_id: str) -> tuple[int, dict]:
        url = f"http://{LOOPBACK}:{self.settings.process_port}/session/{session_id}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def readiness(self) -> tuple[int, dict]:
        """What ``/readyz`` says."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self.settings.process_port}/readyz", timeout=PATIENCE_SECONDS
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str) -> float:
        """A metric without labels, as the processor shows it."""
        url = f"http://{LOOPBACK}:{self.settings.process_port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        self.stage.assert_running()
        wait_until(condition, what)


def click(session_id: str, event_id: str | None = None) -> Record:
    return session_id.encode(), event_value(session_id, event_id or clock.new_id()), None
