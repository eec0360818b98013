"""``tracker session``: a session's state and numbered events, live, followed, and as Tinybird has them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.kafka import PROJECT_DIR
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


class Sessions:
    """A processor on topics of its own, and the command as a person runs it."""

    def __init__(self, broker: LocalKafka, directory: Path) -> None:
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap,
            topic_prefix=f"session-{free_port()}.",
            partitions=2,
            process_port=free_port(),
        )
        self.directory = directory
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "2",
            "TRACKER_PROCESS_PORT": str(self.settings.process_port),
            "TRACKER_PROCESS_URL": f"http://{LOOPBACK}:{self.settings.process_port}",
        }
        self.processor = Stage("process", directory, self.environment)
        asyncio.run(admin.create_topics(self.settings))
        self.processor.start()

    def send(self, key: str, *event_ids: str, **data: str) -> None:
        async def send_all() -> None:
            async with new_producer(self.settings, "test") as producer:
                for event_id in event_ids:
                    value = event_value(key, event_id, **data)
                    await producer.send_and_wait(SOURCE.name(self.settings.topic_prefix), value, key=key.encode())

        asyncio.run(send_all())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tracker", "session", *arguments],
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), **self.environment, **environment},
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, errors


@pytest.fixture(scope="module")
def sessions(kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    sessions = Sessions(kafka_broker, tmp_path_factory.mktemp("session"))
    yield sessions
    sessions.processor.end()


def test_a_live_session_is_shown_with_its_numbered_events(sessions: Sessions) -> None:
    sessions.send("visitor-1", "a", "b", "c", page_url="https://x/\x1b[31m")
    sessions.send("visitor-2", "z")
    wait_until(lambda: '"event_sequence": 3' in sessions.run("visitor-1", "--json")[1], "three numbers")
    code, out, errors = sessions.run("visitor-1", "--json")
    assert code == 0, errors
    state, *events = [json.loads(line) for line in out.splitlines()]
    assert (state["type"], state["session_id"], state["is_expired"]) == ("session", "visitor-1", False)
    assert [(event["session_event_sequence"], event["event_id"]) for event in events] == [(1, "a"), (2, "b"), (3, "c")]
    code, out, errors = sessions.run("visitor-1")
    assert code == 0, errors
    assert "\x1b" not in out
    assert out.count("page_url=https://x/\\x1b[31m") == 3


def test_each_workspace_is_shown_its_own_session_under_a_key(sessions: Sessions) -> None:
    sessions.send("1001", "a", workspace_id="w1")
    sessions.send("1001", "b", "c", workspace_id="w2")
    wait_until(lambda: '"event_sequence": 2' in sessions.run("1001", "--workspace", "w2", "--json")[1], "both")
    for asked, workspace, events in (([], "w1", ["a"]), (["--workspace", "w2"], "w2", ["b", "c"])):
        code, out, errors = sessions.run("1001", "--json", *asked)
        assert code == 0, errors
        state, *found = [json.loads(line) for line in out.splitlines()]
        assert (state["workspace_id"], [event["event_id"] for event in found]) == (workspace, events)
    assert sessions.run("1001", "--workspace", "w3")[0] == 1


def test_a_session_that_nobody_knows_is_one_clear_line(sessions: Sessions) -> None:
    sessions.send("known", "a")
    wait_until(lambda: sessions.run("known")[0] == 0, "the processor's answer")
    code, _, errors = sessions.run("nobody")
    assert code == 1
    assert errors == "tracker: no session has the key 'nobody'; sessions of old: tracker session --tinybird\n"


def test_followed_events_appear_as_they_are_numbered_until_ctrl_c(sessions: Sessions) -> None:
    sessions.send("followed", "a")
    wait_until(lambda: sessions.run("followed")[0] == 0, "the session")
    process = sessions.start("followed", "--follow", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "session"
    assert json.loads(process.stdout.readline())["event_id"] == "a"
    sessions.send("followed", "b")
    assert json.loads(process.stdout.readline())["session_event_sequence"] == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_written_session_is_shown_from_tinybird(sessions: Sessions, local_tinybird: LocalTinybird) -> None:
    key = f"written-{free_port()}"
    session = {
        "session_id": key,
        "session_key": key,
        "created_at": "2026-11-24T10:00:00Z",
        "last_activity_at": "2026-11-24T10:00:00Z",
        "version": 1,
    }
    columns = {row["name"] for row in local_tinybird.sql("DESCRIBE TABLE session_v1")}
    texts = {row["name"]: "" for row in local_tinybird.sql("DESCRIBE TABLE session_v1") if "String" in row["type"]}
    numbers = dict.fromkeys(columns & {"event_count", "session_timeout_seconds"}, 0)
    row = {**texts, **numbers, "is_expired": False, "is_bot": False, **session}
    assert local_tinybird.append("session_v1", json.dumps(row).encode()).json["quarantined_rows"] == 0
    code, out, errors = sessions.run(
        key, "--tinybird", TRACKER_TINYBIRD_URL=local_tinybird.url, TRACKER_TINYBIRD_TOKEN=local_tinybird.token
    )
    assert code == 0, errors
    assert out.splitlines()[0] == key
