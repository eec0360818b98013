"""Events of the user's own types through the real stages: over HTTP and from Kafka, refused, let in, replayed."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS
from tests.processors import Processor, Record, click
from tests.stages import Stage, wait_until
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port

KEY = "visitor-1"
EXAMPLES = PROJECT_DIR / "examples" / "schemas"
#: What a stage logs.
LEARNT = "a file was loaded again"
AT = "2026-11-28T10:00:00Z"


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    """A folder with the first version of a type."""
    folder = tmp_path / "schemas"
    (folder / "purchase").mkdir(parents=True)
    shutil.copy(EXAMPLES / "purchase" / "1-0-0.json", folder / "purchase")
    return folder


@pytest.fixture
def processor(kafka_broker: LocalKafka, schemas: Path, tmp_path: Path) -> Iterator[Processor]:
    processor = Processor(kafka_broker.bootstrap, tmp_path / "worker", TRACKER_SCHEMAS_DIR=str(schemas))
    yield processor
    processor.stage.end()


def purchase(event_id: str, version: str, **properties: Any) -> Record:
    data = {"event_type": "purchase", "event_id": event_id, "properties": properties}
    record = {"type": "event", "session_id": KEY, "timestamp": AT, "schema": version, "data": data}
    return KEY.encode(), json.dumps(record).encode(), None


def environment(processor: Processor, schemas: Path) -> dict[str, str]:
    return {
        "TRACKER_KAFKA_BOOTSTRAP": processor.settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": processor.settings.topic_prefix,
        "TRACKER_PARTITIONS": str(processor.settings.partitions),
        "TRACKER_DATA_DIR": str(processor.stage.data_dir),
        "TRACKER_SCHEMAS_DIR": str(schemas),
    }


def tracker(processor: Processor, schemas: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_COLOR": "1", **environment(processor, schemas)}
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_a_version_that_comes_too_early_is_a_letter_and_is_let_in_once_its_schema_is_there(
    processor: Processor, schemas: Path
) -> None:
    """The processor learns of the schema while it runs."""
    processor.send(purchase("p1", "1-0-0", order_id="o-1", total=49.9))
    processor.send(purchase("p2", "1-1-0", order_id="o-2", total=7, coupon="SPRING"), click(KEY, "c1"))
    processor.wait_until(lambda: len(processor.events()) == 2, "the events that are known")
    assert [(event["event_type"], event["event_id"]) for event in processor.events()] == [
        ("purchase", "p1"),
        ("click", "c1"),
    ]
    (letter,) = processor.wait_for_dead_letters(1)
    assert letter["reason"] == "unknown_schema"

    shutil.copy(EXAMPLES / "purchase" / "1-1-0.json", schemas / "purchase")
    wait_until(lambda: LEARNT in processor.stage.log_file.read_text(), "the processor to learn of it")
    done = tracker(processor, schemas, "dead-letters", "retry", "--reason", "unknown_schema", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    processor.wait_until(lambda: len(processor.events()) == 3, "the letter, let in")
    last = processor.events()[-1]
    assert (last["event_id"], last["session_event_sequence"]) == ("p2", 3)
    assert last["metadata"] == '{"coupon":"SPRING","order_id":"o-2","total":7}'


def test_a_replay_judges_each_event_as_live_did(processor: Processor, schemas: Path) -> None:
    processor.send(purchase("p1", "1-0-0", order_id="o-1", total=49.9))
    processor.send(purchase("p2", "1-0-0", order_id="o-2", total=7, coupon="SPRING"), click(KEY, "c1"))
    processor.wait_until(lambda: len(processor.events()) == 2, "the events that fit")
    (letter,) = processor.wait_for_dead_letters(1)
    assert letter["reason"] == "invalid"
    assert letter["detail"].startswith("purchase 1-0-0: properties: ")
    shutil.copy(EXAMPLES / "purchase" / "1-1-0.json", schemas / "purchase")
    compared = tracker(processor, schemas, "replay", "--name", "again", "--compare")
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_over_http_it_is_accepted_or_refused_with_the_path_of_each_fault(
    processor: Processor, schemas: Path, tmp_path: Path
) -> None:
    url = f"http://{LOOPBACK}:{(port := free_port())}"
    collector = Stage(
        "collect", tmp_path / "collect", {**environment(processor, schemas), "TRACKER_COLLECT_PORT": str(port)}
    )
    collector.start()
    try:
        wait_until(lambda: ask(f"{url}/readyz")[0] == 200, "the collector")
        event = {"event_type": "purchase", "schema": "1-0-0", "session_id": KEY}
        status, _ = ask(f"{url}/api/v1/events/track", {**event, "properties": {"order_id": "o-1", "total": 5}})
        assert status == 202
        items = [{"sku": "a"}, {"sku": 7}]
        status, answer = ask(f"{url}/api/v1/events/track", {**event, "properties": {"order_id": "o", "items": items}})
        assert status == 400
        reasons = answer["error"]["reasons"]
        assert any(reason.startswith("properties.items.1.sku: ") for reason in reasons)
        assert any('"total" is a required property' in reason for reason in reasons)
        processor.wait_until(lambda: len(processor.events()) == 1, "the accepted event")
        assert processor.events()[0]["metadata"] == '{"order_id":"o-1","total":5}'

        further = {**event, "schema": "1-1-0", "properties": {"order_id": "o-2", "total": 5, "coupon": "SPRING"}}
        status, answer = ask(f"{url}/api/v1/events/track", further)
        assert (status, answer["error"]["reasons"]) == (
            400, ["schema: purchase has no version 1-1-0; there are 1-0-0"]
        )  # fmt: skip
        shutil.copy(EXAMPLES / "purchase" / "1-1-0.json", schemas / "purchase")
        wait_until(lambda: ask(f"{url}/api/v1/events/track", further)[0] == 202, "the collector to learn")
    finally:
        collector.end()


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            content = response.read()
            return response.status, json.loads(content) if body else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, None
