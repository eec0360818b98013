"""docs/own-events.md as a story: a type is begun, sent from everywhere, seen as columns, extended, replayed, let in."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from event_tracker_client import Client, TrackerClient
from event_tracker_client.kafka import KafkaClient

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.integration.test_own_events import ask
from tests.patience import PATIENCE_MS, PATIENCE_SECONDS
from tests.processors import Processor
from tests.stages import Stage, wait_until
from tracker.demo.browser import open_browser, until
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port

#: That of the demo page.
WORKSPACE = "demo-workspace"
TYPES = {"order_id": "String", "total": "Float64", "currency": "String"}


class Shop:
    """The whole stack of a user, with a folder of schemas that is in a repository."""

    def __init__(self, broker: LocalKafka, directory: Path) -> None:
        self.directory, self.project = directory, directory / "tinybird"
        #: In the repository, and as the stages have it.
        self.schemas, self.live_schemas = directory / "schemas", directory / "live" / "schemas"
        self.live_schemas.mkdir(parents=True)
        shutil.copytree(PROJECT_DIR / "tinybird", self.project)
        self.tinybird = LocalTinybird(directory, TRACKER_TINYBIRD_PROJECT_DIR=str(self.project))
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self.processor = Processor(broker.bootstrap, directory / "process", TRACKER_SCHEMAS_DIR=str(self.live_schemas))
        settings = self.processor.settings
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
            "TRACKER_PARTITIONS": str(settings.partitions),
            "TRACKER_SCHEMAS_DIR": str(self.live_schemas),
            "TRACKER_GROUP_COMMIT_INTERVAL_MS": "200",
            "TRACKER_COLLECT_PORT": str(port),
            "TRACKER_TINYBIRD_URL": self.tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": self.tinybird.token,
            "TRACKER_DATA_DIR": str(directory / "process"),
        }
        self.collector = Stage(
            "collect", directory / "collect", {**self.environment, "TRACKER_DATA_DIR": str(directory)}
        )
        self.sink = Stage("sink", directory / "sink", {**self.environment, "TRACKER_DATA_DIR": str(directory / "sink")})
        self.stages = [self.processor.stage, self.collector, self.sink]

    def start(self) -> None:
        self.tinybird.start()
        self.collector.start()
        self.sink.start()
        wait_until(lambda: ask(f"{self.url}/readyz")[0] == 200, "the collector")

    def end(self) -> None:
        for stage in self.stages:
            stage.end()
        if self.tinybird.process is not None:
            self.tinybird.stop()

    def tracker(self, *arguments: str) -> tuple[int, str]:
        env = {**os.environ, "NO_COLOR": "1", **self.environment}
        command = [sys.executable, "-m", "tracker", *arguments]
        done = subprocess.run(
            command, cwd=self.directory, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def build(self) -> ModuleType:
        """Make pipe and types anew; return the Python types."""
        code, output = self.tracker("schemas", "build", "--dir", "schemas", "--out", str(self.project))
        assert code == 0, output
        spec = importlib.util.spec_from_file_location("own_events", self.project / "own_events.py")
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
        return module

    def deploy(self, schema: str) -> None:
        """Give the stages the folder, and wait until those that judge have learnt of a schema."""
        shutil.copytree(self.schemas, self.live_schemas, dirs_exist_ok=True)
        for stage in (self.processor.stage, self.collector):
            said = lambda stage=stage: schema in stage.log_file.read_text()  # noqa: E731
            wait_until(said, f"{stage.name} to learn of {schema}")

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t.example")
        subprocess.run(["git", *identity, *arguments], cwd=self.directory, check=True, capture_output=True)

    def columns(self) -> dict[str, Any]:
        """What the type's pipe shows, by order: its total, currency and coupon, as far as there is such a column."""
        query = urllib.parse.urlencode({"workspace_id": WORKSPACE})
        answer = self.tinybird.request(f"/v0/pipes/event_purchase.json?{query}")
        assert answer.status == 200, answer.body.decode()
        types = {column["name"]: column["type"] for column in answer.json["meta"]}
        assert {name: types[name] for name in TYPES} == {name: f"Nullable({type_})" for name, type_ in TYPES.items()}
        rows = answer.json["data"]
        found = {row["order_id"]: tuple(row.get(name) for name in ("total", "currency", "coupon")) for row in rows}
        assert len(found) == len(rows)
        return found

    def until_columns(self, expected: dict[str, Any]) -> None:
        wait_until(lambda: len(self.columns()) >= len(expected), f"{len(expected)} events in the pipe")
        assert self.columns() == expected


@pytest.fixture
def shop(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, tmp_path)
    yield shop
    shop.end()


async def track_from_page(shop: Shop, schema: str, purchase: dict[str, Any]) -> int:
    """Tell of a purchase from a page in Chromium by its tracker.js; return how many events the script had to drop."""
    async with open_browser(str(shutil.which("chromium"))) as browser:
        page = await browser.new_page()
        await page.goto(f"{shop.url}/demo")
        await page.evaluate('(event) => tracker.track("purchase", event)', {"schema": schema, "properties": purchase})
        await until(page, "tracker.pending === 0")
        dropped: int = await page.evaluate("tracker.dropped")
        return dropped


def tell(client: TrackerClient, event: Any) -> None:
    with client:
        client.track("python", **event)
        assert client.flush(PATIENCE_MS) == 0
        assert client.given_up == {}


def over_kafka(shop: Shop) -> KafkaClient:
    settings = shop.processor.settings
    return KafkaClient(settings.kafka_bootstrap, workspace_id=WORKSPACE, topic=f"{settings.topic_prefix}events")


def produce(shop: Shop, version: str, **properties: Any) -> None:
    """As a producer that knows the topic and nothing of us."""
    data = {"event_type": "purchase", "event_id": properties["order_id"], "properties": properties}
    envelope = {"type": "event", "session_id": "upstream", "workspace_id": WORKSPACE, "schema": version}
    record = {**envelope, "timestamp": "2026-11-28T10:00:00Z", "data": data}
    shop.processor.send((b"upstream", json.dumps(record).encode(), None))


def extend(shop: Shop, version: str, **properties: Any) -> Path:
    """Write a version with these properties beside those of the first."""
    first = json.loads((shop.schemas / "purchase" / "1-0-0.json").read_text())
    path = shop.schemas / "purchase" / f"{version}.json"
    path.write_text(json.dumps({**first, "properties": {**first["properties"], **properties}}, indent=2))
    return path


def test_a_user_adds_a_type_sends_it_from_everywhere_and_extends_it(shop: Shop) -> None:
    # A type is begun from an example, and released.
    (shop.directory / "purchase.json").write_text('{"order_id": "o-1", "total": 49.9, "currency": "EUR"}')
    code, output = shop.tracker("schemas", "new", "purchase", "--from", "purchase.json", "--dir", "schemas")
    assert code == 0, output
    shop.git("init", "-q")
    shop.git("add", "schemas")
    shop.git("commit", "-qm", "purchase")
    types = shop.build()
    shop.start()
    shop.deploy("purchase/1-0-0")

    # It is sent from a page, from Python over HTTP and Kafka, and by a producer that knows only the topic.
    expected = {f"o-{n}": (n + 0.5, "EUR", None) for n in range(1, 5)}

    def properties(number: int) -> dict[str, Any]:
        return {"order_id": f"o-{number}", "total": number + 0.5, "currency": "EUR"}

    assert asyncio.run(track_from_page(shop, "1-0-0", properties(1))) == 0
    tell(Client(shop.url, workspace_id=WORKSPACE), types.purchase_event(properties(2)))
    tell(over_kafka(shop), types.purchase_event(properties(3)))
    produce(shop, "1-0-0", **properties(4))
    shop.until_columns(expected)

    # A change that breaks is refused with its line; one that adds is a minor version.
    path = extend(shop, "1-1-0", total={"type": "string"})
    line = path.read_text().splitlines().index('    "total": {') + 2
    code, output = shop.tracker("schemas", "check", "--dir", "schemas", "--against", "HEAD")
    assert code == 1
    assert f"1-1-0.json:{line}: properties.total.type: was number, is string: " in output
    assert asyncio.run(track_from_page(shop, "1-1-0", properties(1))) == 1
    extend(shop, "1-1-0", coupon={"type": "string"})
    code, output = shop.tracker("schemas", "check", "--dir", "schemas", "--against", "HEAD")
    assert code == 0, output
    types = shop.build()
    shop.tinybird.stop()
    shop.tinybird.start()
    shop.deploy("purchase/1-1-0")
    tell(Client(shop.url, workspace_id=WORKSPACE), types.purchase_event({**properties(5), "coupon": "SPRING"}))
    produce(shop, "1-0-0", **properties(6))
    expected |= {"o-5": (5.5, "EUR", "SPRING"), "o-6": (6.5, "EUR", None)}
    shop.until_columns(expected)

    # All of it agrees: the log folded again, and the rows.
    code, output = shop.tracker("replay", "--name", "again", "--compare")
    assert code == 0, output
    wait_until(lambda: shop.tracker("verify")[0] == 0, "verify to be content")

    # An event that came before its version is let in once that is there.
    produce(shop, "1-2-0", **properties(7), gift=True)
    (letter,) = shop.processor.wait_for_dead_letters(1)
    assert letter["reason"] == "unknown_schema"
    extend(shop, "1-2-0", coupon={"type": "string"}, gift={"type": "boolean"})
    shop.deploy("purchase/1-2-0")
    code, output = shop.tracker("dead-letters", "retry", "--reason", "unknown_schema", "--yes")
    assert code == 0, output
    shop.until_columns(expected | {"o-7": (7.5, "EUR", None)})
