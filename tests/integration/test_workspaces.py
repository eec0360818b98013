"""Two workspaces that use the same session ids share nothing, whichever way in they take and whatever they do.

Every operation of another workspace, and of records that name none, is tried on a session of its own; then the
session's owner goes on. What the owner and the other see afterwards, through every way out, must be theirs.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.stages import Stage, wait_until
from topics.catalog import SOURCE
from tracker.clock import new_id
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

OWNER, OTHER = "w1", "w2"
OPERATIONS = ("track", "session", "expire", "flush", "pixel", "same event")
#: Over HTTP a key always names its workspace, so only Kafka has records that name none.
ACTORS = [("http", OWNER), ("http", OTHER), ("kafka", OWNER), ("kafka", OTHER), ("kafka", "")]
INTERNAL_TOKEN = "secret-of-all-stages-of-this-test"
CONTEXT = {"user_id": "alice", "campaign_id": "spring", "attribution_id": "secret-attribution"}


@dataclass(frozen=True)
class Case:
    """One operation by one actor on a session of its own."""

    way: str
    actor: str
    operation: str

    @property
    def key(self) -> str:
        return f"{self.way}-{self.actor or 'none'}-{self.operation.replace(' ', '-')}"


CASES = [
    Case(way, actor, operation)
    for (way, actor), operation in product(ACTORS, OPERATIONS)
    if way == "http" or operation != "pixel"
]


class Tenants:
    """The whole stack with keys of two workspaces."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, directory: Path) -> None:
        self.tinybird = tinybird
        self.directory = directory
        self.secret = {workspace: f"secret-key-of-{workspace}-{new_id()}" for workspace in (OWNER, OTHER)}
        self.read = {workspace: f"read-key-of-{workspace}-{new_id()}" for workspace in (OWNER, OTHER)}
        keys = directory / "keys.json"
        keys.write_bytes(
            orjson.dumps(
                {
                    "write_keys": [{"name": f"s-{w}", "key": key, "workspace_id": w} for w, key in self.secret.items()],
                    "read_keys": [{"name": f"r-{w}", "key": key, "workspace_id": w} for w, key in self.read.items()],
                }
            )
        )
        keys.chmod(0o600)
        self.port, process_port = free_port(), free_port()
        self.process_url = f"http://{LOOPBACK}:{process_port}"
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"tenants-{self.port}.", partitions=2)
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "2",
            "TRACKER_KEYS_FILE": str(keys),
            "TRACKER_COLLECT_PORT": str(self.port),
            "TRACKER_PROCESS_PORT": str(process_port),
            "TRACKER_PROCESS_URL": self.process_url,
            # As on several machines: other machines reach the processor, and only who has the secret is answered.
            "TRACKER_PROCESS_HOST": "0.0.0.0",
            "TRACKER_PROCESS_ADVERTISED_HOST": LOOPBACK,
            "TRACKER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
            "TRACKER_GROUP_COMMIT_INTERVAL_MS": "200",
        }
        self.stages = [Stage(name, directory / name, self.environment) for name in ("collect", "process", "sink")]
        self.live: dict[str, Any] = {}

    def start(self) -> None:
        asyncio.run(admin.create_topics(self.settings))
        for stage in self.stages:
            stage.start()
        wait_until(lambda: self.ask("/readyz", OWNER)[0] == 200, "the collector")

    def end(self) -> None:
        for stage in self.stages:
            stage.end()

    def ask(self, path: str, reader: str) -> tuple[int, dict[str, Any]]:
        return asyncio.run(self._ask(path, {"Authorization": f"Bearer {self.read[reader]}"}))

    def ask_the_processor(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        return asyncio.run(self._ask(self.process_url + path, headers))

    async def _ask(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        url = path if path.startswith("http") else self._url(path)
        try:
            async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)
        except aiohttp.ClientError:
            return 0, {}

    def _url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.port}{path}"

    async def over_http(self, workspace: str, operation: str, key: str, data: dict[str, Any]) -> None:
        """One operation with a workspace's secret key."""
        session = f"/api/v1/events/session/{key}"
        method, path = {
            "track": ("POST", "/api/v1/events/track"),
            "session": ("POST", "/api/v1/events/session"),
            "expire": ("DELETE", session),
            "flush": ("POST", f"{session}/flush"),
            "pixel": ("GET", "/api/v1/events/pixel.gif"),
        }[operation]
        headers = {"X-Write-Key": self.secret[workspace], "Content-Type": "application/json"}
        body = orjson.dumps({"session_id": key, **data}) if method == "POST" and operation != "flush" else None
        params = None
        if operation == "pixel":
            packed = base64.urlsafe_b64encode(orjson.dumps({"session_id": key, **data})).decode().rstrip("=")
            params = {"d": packed}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self._url(path), headers=headers, data=body, params=params) as answer,
        ):
            assert answer.status in (200, 202), (operation, await answer.text())

    async def over_kafka(self, workspace: str, operation: str, key: str, data: dict[str, Any]) -> None:
        """One record, as an upstream service of a workspace, or of one that names none, produces it."""
        kind = {"track": "event"}.get(operation, operation)
        record: dict[str, Any] = {"type": kind, "session_id": key, "timestamp": "2026-01-01T00:00:00Z"}
        if workspace:
            record["workspace_id"] = workspace
        if kind in ("event", "session"):
            record["data"] = data
        async with new_producer(self.settings, "upstream") as producer:
            topic = SOURCE.name(self.settings.topic_prefix)
            await producer.send_and_wait(topic, orjson.dumps(record), key=key.encode())

    async def play(self, case: Case) -> None:
        """The owner opens the session, the actor acts, and the owner goes on."""
        await self.over_http(OWNER, "session", case.key, CONTEXT)
        await self.over_http(OWNER, "track", case.key, _event("owner-1"))
        send = self.over_http if case.way == "http" else self.over_kafka
        match case.operation:
            case "track" | "pixel":
                await send(case.actor, case.operation, case.key, _event("actor-1"))
            case "same event":
                await send(case.actor, "track", case.key, _event("owner-2"))
            case "session":
                await send(case.actor, "session", case.key, {"user_id": "mallory"})
            case _:
                await send(case.actor, case.operation, case.key, {})
        await self.over_http(OWNER, "track", case.key, _event("owner-2"))

    async def play_all(self) -> None:
        for case in CASES:
            await self.play(case)
        await self.over_kafka(OTHER, "nonsense", "letter", {})
        # Behind everything, in every partition: what was sent before is in Tinybird once these are.
        for number in range(8):
            await self.over_http(OWNER, "track", f"last-{number}", _event(f"last-{number}"))

    def rows(self, datasource: str, workspace: str, key: str) -> list[dict[str, Any]]:
        order = "session_event_sequence" if datasource == "events_v1" else "created_at"
        where = f"session_id = '{key}'" if datasource == "events_v1" else f"session_key = '{key}'"
        return self.tinybird.sql(
            f"SELECT * FROM {datasource} FINAL WHERE workspace_id = '{workspace}' AND {where} ORDER BY {order}"
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR), **self.environment}
        return subprocess.run(
            [sys.executable, "-m", "tracker", *arguments],
            env=environment, cwd=self.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip


def _event(event_id: str) -> dict[str, Any]:
    return {"event_type": "conversion", "event_id": event_id, "event_value": "99.00"}


@pytest.fixture(scope="module")
def tenants(kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    directory = tmp_path_factory.mktemp("tenants")
    tinybird = LocalTinybird(directory)
    tinybird.start()
    tenants = Tenants(kafka_broker, tinybird, directory)
    try:
        tenants.start()
        for workspace in (OWNER, OTHER):
            tenants.ask("/live/data", workspace)
        asyncio.run(tenants.play_all())
        arrived = (  # sessions go their own way
            "SELECT (SELECT count() FROM events_v1 FINAL WHERE startsWith(event_id, 'last-')) AS events, "
            "(SELECT count() FROM session_v1 FINAL WHERE startsWith(session_key, 'last-')) AS sessions"
        )
        wait_until(lambda: tinybird.sql(arrived) == [{"events": 8, "sessions": 8}], "the rows")
        tenants.live = {workspace: tenants.ask("/live/data", workspace)[1] for workspace in (OWNER, OTHER)}
        yield tenants
    finally:
        tenants.end()
        tinybird.stop()


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)


def acts_on_the_owners(case: Case) -> bool:
    """Whether the actor's records belong to the owner's session: its own, and those that name nobody."""
    return case.actor != OTHER


@each_case
def test_the_owner_has_its_events_with_its_numbers_and_its_context(tenants: Tenants, case: Case) -> None:
    wanted = ["owner-1", "owner-2"]
    if acts_on_the_owners(case) and case.operation in ("track", "pixel"):
        wanted.insert(1, "actor-1")
    sessions = tenants.rows("session_v1", OWNER, case.key)
    ends = acts_on_the_owners(case) and case.operation == "expire"
    assert [row["close_reason"] for row in sessions] == (["expired", ""] if ends else [""])
    found = [row for session in sessions for row in tenants.rows("events_v1", OWNER, session["session_id"])]
    assert [row["event_id"] for row in found] == wanted
    assert [int(row["session_event_sequence"]) for row in found] == ([1, 1] if ends else [*range(1, len(wanted) + 1)])
    user = "mallory" if acts_on_the_owners(case) and case.operation == "session" else "alice"
    assert {row["campaign_id"] for row in found} == {"spring"}
    assert found[-1]["user_id"] == user


@each_case
def test_the_other_workspace_has_what_it_sent_and_nothing_of_the_owners(tenants: Tenants, case: Case) -> None:
    events, sessions = (tenants.rows(name, OTHER, case.key) for name in ("events_v1", "session_v1"))
    sent = {"track": ["actor-1"], "pixel": ["actor-1"], "same event": ["owner-2"]}.get(case.operation, [])
    is_other = case.actor == OTHER
    assert [row["event_id"] for row in events] == (sent if is_other else [])
    assert [int(row["session_event_sequence"]) for row in events] == [*range(1, len(events) + 1)]
    assert bool(sessions) == (is_other and case.operation not in ("expire", "flush"))
    told = json.dumps([events, sessions])
    assert not [value for value in CONTEXT.values() if value in told]


@each_case
def test_a_read_key_is_shown_the_session_of_its_workspace(tenants: Tenants, case: Case) -> None:
    path = f"/api/v1/events/session/{case.key}"
    status, state = tenants.ask(path, OWNER)
    assert (status, state["workspace_id"], state["campaign_id"]) == (200, OWNER, "spring")
    status, state = tenants.ask(path, OTHER)
    if case.actor == OTHER and case.operation not in ("expire", "flush"):
        assert (status, state["workspace_id"], state["campaign_id"]) == (200, OTHER, "")
        assert state["user_id"] in ("", "mallory")
    else:
        assert (status, state["error"]["code"]) == (404, "unknown_session")


def test_a_processor_shows_a_session_to_who_has_the_secret_only(tenants: Tenants) -> None:
    path = f"/session/{CASES[0].key}"
    status, state = tenants.ask_the_processor(path, {"Authorization": f"Bearer {INTERNAL_TOKEN}"})
    assert (status, state["campaign_id"]) == (200, "spring")
    for headers in ({}, {"Authorization": f"Bearer {tenants.read[OWNER]}"}):
        status, state = tenants.ask_the_processor(path, headers)
        assert (status, state["error"]["code"]) == (401, "unauthorized")
        assert tenants.ask_the_processor("/readyz", headers) == (200, {"status": "ok"})


@each_case
def test_a_pipe_shows_the_timeline_of_its_workspace(tenants: Tenants, case: Case) -> None:
    for workspace in (OWNER, OTHER):
        query = f"/v0/pipes/session_timeline.json?workspace_id={workspace}&session_id={case.key}"
        found = tenants.tinybird.request(query).json["data"]
        stored = tenants.rows("events_v1", workspace, case.key)
        assert [row["event_id"] for row in found] == [row["event_id"] for row in stored]


def test_live_shows_each_workspace_its_own_sessions(tenants: Tenants) -> None:
    for workspace in (OWNER, OTHER):
        sessions = tenants.live[workspace]["sessions"]
        assert {session["workspace_id"] for session in sessions} == {workspace}


@pytest.mark.parametrize("workspace", [OWNER, OTHER, None])
def test_verify_holds_for_each_workspace_and_for_all(tenants: Tenants, workspace: str | None) -> None:
    arguments = ["--workspace", workspace] if workspace else []
    done = tenants.command("verify", "--json", *arguments)
    found = json.loads(done.stdout)
    assert (done.returncode, [check for check in found["checks"] if check["faults"]]) == (0, []), done.stderr
    (accounts,) = [check for check in found["checks"] if check["name"] == "accounts"]
    assert accounts["looked_at"] > 10


def test_quality_is_perfect_in_both_workspaces(tenants: Tenants) -> None:
    for workspace in (OWNER, OTHER):
        (row,) = tenants.tinybird.request(f"/v0/pipes/data_quality.json?workspace_id={workspace}").json["data"]
        held = {"sessions", "closed_sessions", "events", "copies_not_merged"}
        assert {name: value for name, value in row.items() if name not in held and int(value)} == {}


def test_a_dead_letter_belongs_to_the_workspace_that_its_record_names(tenants: Tenants) -> None:
    listed = {
        workspace: json.loads(tenants.command("dead-letters", "list", "--workspace", workspace, "--json").stdout)
        for workspace in (OWNER, OTHER)
    }
    assert {workspace: found["total"] for workspace, found in listed.items()} == {OWNER: 0, OTHER: 1}, listed
