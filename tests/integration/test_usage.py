"""Usage from end to end: what two workspaces send is counted once, billed, checked, and bounded at the edge."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage, wait_until
from tracker.cli.app import app
from tracker.clock import new_id
from tracker.kafka import admin
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

pytestmark = pytest.mark.slow

QUOTA = 10
PAUSE_SECONDS = 0.25
#: Between two looks at what takes a minute and costs some CPU time to look at.
POLL_SECONDS = 1.0
KEYS = {"shop": "a-service-key-of-shop", "lab": "a-service-key-of-lab"}


class Deployment:
    """A collector with a quota, a processor that counts, and a sink."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, directory: Path) -> None:
        self.tinybird = tinybird
        self.names = {name: f"{name}-{new_id()}" for name in KEYS}
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"{new_id()}.", partitions=1)
        asyncio.run(admin.create_topics(self.settings))
        keys = [{"name": name, "key": key, "workspace_id": self.names[name]} for name, key in KEYS.items()]
        quotas = [{"workspace_id": self.names["shop"], "events_per_day": QUOTA}]
        (directory / "keys.json").write_text(json.dumps({"write_keys": keys, "quotas": quotas}))
        self.port = free_port()
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "1",
            "TRACKER_KEYS_FILE": str(directory / "keys.json"),
            "TRACKER_COLLECT_PORT": str(self.port),
            "TRACKER_PROCESS_PORT": str(free_port()),
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
            "TRACKER_USAGE_COUNTED": "true",
        }
        self.stages = [Stage(name, directory / name, self.environment) for name in ("collect", "process", "sink")]
        #: Events that were taken, and the last answer's headers, by workspace.
        self.taken: Counter[str] = Counter()
        self.headers: dict[str, dict[str, str]] = {}

    def start(self) -> None:
        for stage in self.stages:
            stage.start()
        wait_until(lambda: self.ask("GET", "/readyz")[0] == 200, "the collector is ready")

    def ask(self, method: str, path: str, key: str = "", body: dict[str, str] | None = None) -> tuple[int, str]:
        for stage in self.stages:
            stage.assert_running()
        headers = {"X-Write-Key": key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                self.headers[key] = dict(answer.headers)
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            self.headers[key] = dict(error.headers)
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def send(self, name: str) -> tuple[int, str]:
        event = {"session_id": f"{self.names[name]}-1", "event_type": "click", "page_url": "https://a.example/"}
        status, body = self.ask("POST", "/api/v1/events/track", KEYS[name], event)
        self.taken[name] += status == 202
        return status, body

    def send_until_refused(self) -> dict[str, str]:
        """Both workspaces send until one is refused; returns the error that it is told."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.send("lab")[0] == 202
            status, body = self.send("shop")
            if status == 429:
                return json.loads(body)["error"]
            assert status == 202, body
            assert time.monotonic() < deadline, "the workspace was never refused"
            time.sleep(PAUSE_SECONDS)

    def billed(self, name: str) -> int:
        query = "SELECT sum(usage_v1.events) AS n FROM usage_v1 FINAL WHERE workspace_id = '{}' FORMAT JSON"
        return int(self.tinybird.sql(query.format(self.names[name]))[0]["n"])

    def verify(self) -> dict[str, dict]:
        """What each check of ``tracker verify`` found."""
        result = CliRunner(env=self.environment).invoke(app, ["verify", "--json"])
        assert result.exit_code in {0, 3}, result.output
        return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


@pytest.fixture
def deployment(
    kafka_broker: LocalKafka, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    tinybird = LocalTinybird(tmp_path_factory.mktemp("usage"))
    tinybird.start()
    deployment = Deployment(kafka_broker, tinybird, tmp_path)
    yield deployment
    for stage in deployment.stages:
        stage.end()
    tinybird.stop()


def test_a_workspace_is_billed_what_was_taken_and_stops_at_its_quota(deployment: Deployment) -> None:
    deployment.start()
    refused = deployment.send_until_refused()
    assert refused["code"] == "quota_exceeded"
    assert 0 < int(deployment.headers[KEYS["shop"]]["Retry-After"]) <= 86_400
    assert deployment.send("lab")[0] == 202

    session = f"/api/v1/events/session/{deployment.names['shop']}-1"
    assert deployment.ask("DELETE", session, KEYS["shop"])[0] == 202

    collect = deployment.stages[0]
    assert collect.stop() == 0
    collect.start()
    wait_until(lambda: deployment.send("shop")[0] == 429, "a new collector knows it, too")

    # The records that came after the full minute are counted in the next one, which goes out with a later record.
    def shop_is_billed() -> bool:
        assert deployment.send("lab")[0] == 202
        return deployment.billed("shop") == deployment.taken["shop"]

    wait_until(shop_is_billed, f"the bill is {deployment.taken['shop']} events", poll_seconds=POLL_SECONDS)
    assert deployment.taken["shop"] >= QUOTA
    assert deployment.taken["lab"] > deployment.taken["shop"]

    def all_is_written() -> bool:
        found = deployment.verify()
        return found["usage_log"]["looked_at"] >= 2 and not found["usage_log"]["notes"]

    wait_until(all_is_written, "the rows of usage are committed", poll_seconds=POLL_SECONDS)
    assert {name: check["faults"] for name, check in deployment.verify().items() if check["faults"]} == {}
