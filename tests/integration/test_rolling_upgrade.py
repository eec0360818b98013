"""A rolling upgrade, as the chart would do it: each process is replaced when the one before it is ready, under load."""

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fixtures.tinybird import LocalTinybird, running_tinybird
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage, wait_until
from tracker.kafka import admin
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

pytestmark = pytest.mark.slow

SESSIONS = 12
#: Events a second; what counts is that some are under way at every step.
RATE = 60


class Load:
    """A sender that does what clients do: it sends each event until it is taken, with the same id."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.accepted: dict[str, list[str]] = {}
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._sending: Future[None]

    def __enter__(self) -> "Load":
        self._sending = self._thread.submit(self._send)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()
        self._sending.result()

    @property
    def count(self) -> int:
        return sum(map(len, self.accepted.values()))

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(1 / RATE):
            session, event_id = f"rolling-{number % SESSIONS}", f"event-{number}"
            self._until_taken(session, event_id)
            self.accepted.setdefault(session, []).append(event_id)
            number += 1

    def _until_taken(self, session: str, event_id: str) -> None:
        event = {
            "session_id": session, "event_id": event_id, "event_type": "click",
            "page_url": "https://a.example/", "workspace_id": "w1",
        }  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        for url in self._round():
            request = urllib.request.Request(url, json.dumps(event).encode(), {"Content-Type": "application/json"})
            try:
                if urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).status == 202:
                    return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, f"{event_id} was not taken"

    def _round(self) -> Iterator[str]:
        while True:
            yield from self.urls


class Deployment:
    """Two of each stage, with what a rolling update changes: their environment."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, directory: Path) -> None:
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"rolling-{free_port()}.", partitions=4)
        asyncio.run(admin.create_topics(self.settings))
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "4",
            "TRACKER_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
        }
        self.stages: dict[str, tuple[Stage, int]] = {}
        self.directory = directory

    def start_all(self) -> None:
        for stage in ("collect", "process", "sink"):
            for number in (1, 2):
                name, port = f"{stage}-{number}", free_port()
                own = {f"TRACKER_{stage.upper()}_PORT": str(port), "TRACKER_WORKER_ID": name}
                self.stages[name] = Stage(stage, self.directory / name, {**self.environment, **own}), port
                self.stages[name][0].start()
        for name in self.stages:
            self.wait_until_ready(name)

    def wait_until_ready(self, name: str) -> None:
        stage, port = self.stages[name]

        def is_ready() -> bool:
            stage.assert_running()
            try:
                return (
                    urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=PATIENCE_SECONDS).status == 200
                )
            except OSError:
                return False

        wait_until(is_ready, f"{name} is ready")

    def roll(self) -> None:
        """Replace one process after the other; the new one differs in a setting, as a new version would."""
        for name, (stage, _) in self.stages.items():
            assert stage.stop() == 0, f"{name} did not stop cleanly"
            stage.set_environment(TRACKER_LOG_JSON="true")
            stage.start()
            self.wait_until_ready(name)

    def collector_urls(self) -> list[str]:
        ports = [port for name, (_, port) in self.stages.items() if name.startswith("collect")]
        return [f"http://{LOOPBACK}:{port}/api/v1/events/track" for port in ports]

    def end(self) -> None:
        for stage, _ in self.stages.values():
            stage.end()


@pytest.fixture
def tinybird(tmp_path: Path) -> Iterator[LocalTinybird]:
    """One that has no other test's rows: verify looks at all of them."""
    (tmp_path / "tinybird").mkdir()
    with running_tinybird(tmp_path / "tinybird") as local:
        yield local


def test_all_stages_are_rolled_one_by_one_under_load_and_verify_holds(
    kafka_broker: LocalKafka, tinybird: LocalTinybird, tmp_path: Path
) -> None:
    deployment = Deployment(kafka_broker, tinybird, tmp_path)
    try:
        deployment.start_all()
        with Load(deployment.collector_urls()) as load:
            wait_until(lambda: load.count > RATE, "events are under way")
            before = load.count
            deployment.roll()
            assert load.count > before + RATE, "there was load while the processes were rolled"
        accepted = load.count

        def rows() -> int:
            return int(tinybird.sql("SELECT count() AS n FROM events_v1 FINAL FORMAT JSON")[0]["n"])

        wait_until(lambda: rows() == accepted, f"{accepted} rows")
        numbers = tinybird.sql(
            "SELECT session_id, groupArray(event_id) AS ids FROM "
            "(SELECT * FROM events_v1 FINAL ORDER BY session_event_sequence) GROUP BY session_id FORMAT JSON"
        )
        assert {row["session_id"]: row["ids"] for row in numbers} == load.accepted

        verified = subprocess.run(
            [sys.executable, "-m", "tracker", "verify", "--json"],
            env=deployment.stages["sink-1"][0]._environment,
            check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        deployment.end()
