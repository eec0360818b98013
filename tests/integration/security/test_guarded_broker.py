"""Against a broker that wants TLS, logins and ACLs.

Each process does its work under exactly the ACLs that are listed; whoever is not let in says so in a line and ends.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import CreateAclsRequest

from tests.certificates import Authority
from tests.fixtures.kafka import PROJECT_DIR, kafka_settings
from tests.fixtures.tinybird import LocalTinybird
from tests.stages import Stage, wait_until
from tracker.acls import PROCESSES
from tracker.admin import connect, create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.kafka_config import Guard
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

PASSWORD = "correct-horse"
#: Who may log in, and nothing else.
NOBODY = "tracker-nobody"
PREFIX = "secured."
WORK_SECONDS = 90
END_SECONDS = 90

RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12,
}  # fmt: skip
ALLOW = 3


@dataclass(frozen=True)
class World:
    """A broker that is guarded, with topics and ACLs, and who may be asked to do what on it."""

    directory: Path
    bootstrap: str
    ca: Path
    tinybird: LocalTinybird

    def environment(self, user: str, mechanism: str = "SCRAM-SHA-512", **changes: str) -> dict[str, str]:
        return {
            "TRACKER_KAFKA_BOOTSTRAP": self.bootstrap,
            "TRACKER_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "TRACKER_KAFKA_SASL_MECHANISM": mechanism,
            "TRACKER_KAFKA_SASL_USERNAME": user,
            "TRACKER_KAFKA_SASL_PASSWORD": PASSWORD,
            "TRACKER_KAFKA_SSL_CA_FILE": str(self.ca),
            "TRACKER_TOPIC_PREFIX": PREFIX,
            "TRACKER_PARTITIONS": "2",
            "TRACKER_STANDBY_REPLICAS": "0",
            "TRACKER_TINYBIRD_URL": self.tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": self.tinybird.token,
            **{f"TRACKER_{name.upper()}": value for name, value in changes.items()},
        }

    def start(self, command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        ports = {f"TRACKER_{stage}_PORT": str(free_port()) for stage in ("COLLECT", "PROCESS", "SINK")}
        data_dir = self.directory / f"{command.replace(' ', '-')}-{free_port()}"
        given = {**os.environ, "NO_COLOR": "1", "TRACKER_DATA_DIR": str(data_dir), **ports, **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "tracker", *command.split()],
            env=given, cwd=PROJECT_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


async def provide(settings: Settings, acls: list[dict[str, Any]]) -> None:
    """Make topics and ACLs, as the cluster's administrator."""
    await create_topics(settings)
    async with connect(settings, timeout_seconds=60) as admin:
        for acl in acls:
            for operation in acl["operations"]:
                request = CreateAclsRequest(
                    RESOURCES[acl["resource"]], acl["name"], PATTERNS[acl["pattern"]],
                    acl["principal"], "*", OPERATIONS[operation], ALLOW,
                )  # fmt: skip
                answer = (await admin._send_to_controller(request)).to_object()
                assert [result["error_code"] for result in answer["creation_responses"]] == [0], answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, local_tinybird: LocalTinybird) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("guarded")
    authority = Authority("authority")
    certificate, key = authority.issue("broker").write(directory)
    keystore = directory / "keystore.pem"
    keystore.write_text(key.read_text() + certificate.read_text())
    Authority("stranger").write(directory)
    users = dict.fromkeys([*(f"tracker-{process}" for process in PROCESSES), NOBODY], PASSWORD)
    guard = Guard(keystore, users, free_port())
    with LocalKafka(kafka_settings(directory), guard) as broker:
        listed = subprocess.run(
            [sys.executable, "-m", "tracker", "topics", "acls", "--json"],
            env={**os.environ, "TRACKER_TOPIC_PREFIX": PREFIX}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        open_door = Settings(
            kafka_bootstrap=f"{LOOPBACK}:{guard.open_port}", topic_prefix=PREFIX, partitions=2, _env_file=None
        )
        asyncio.run(provide(open_door, json.loads(listed.stdout)))
        yield World(directory, broker.bootstrap, authority.write(directory), local_tinybird)


def test_all_work_is_done_under_exactly_the_acls_that_are_listed(world: World, tmp_path: Path) -> None:
    port = free_port()
    stages = [
        Stage("collect", tmp_path / "c", world.environment("tracker-collect", "PLAIN", collect_port=str(port))),
        Stage("process", tmp_path / "p", world.environment("tracker-process", process_port=str(free_port()))),
        Stage("sink", tmp_path / "s", world.environment("tracker-sink", "SCRAM-SHA-256")),
    ]
    session = f"guarded-{port}"
    event = {"event_type": "click", "session_id": session, "workspace_id": "w"}
    query = f"SELECT session_event_sequence AS n FROM events_v1 FINAL WHERE session_id LIKE '{session}%'"

    def track() -> bool:
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}/api/v1/events/track", json.dumps(event).encode())
        request.add_header("Content-Type", "application/json")
        try:
            return urllib.request.urlopen(request, timeout=10).status < 300
        except urllib.error.HTTPError as refused:
            raise AssertionError(refused.read()) from refused
        except OSError:
            return False

    try:
        for stage in stages:
            stage.start()

        def arrived() -> bool:
            for stage in stages:
                stage.assert_running()
            return bool(world.tinybird.sql(query))

        wait_until(track, "the collector takes an event", WORK_SECONDS)
        wait_until(arrived, "the event is in Tinybird", WORK_SECONDS)
        assert world.tinybird.sql(query)[0]["n"] == 1
        commands = {
            "topics check": "topics", "topics create": "topics", "dead-letters list": "dead-letters",
            "replay --name under-acls": "replay", "replay --compare --name held": "replay",
        }  # fmt: skip
        running = {
            command: world.start(command, world.environment(f"tracker-{who}")) for command, who in commands.items()
        }
        for command, process in running.items():
            out, err = process.communicate(timeout=END_SECONDS)
            assert process.returncode == 0, f"{command}: {out}\n{err}"
    finally:
        for stage in stages:
            stage.end()


WRONG_PASSWORD = {"kafka_sasl_password": "wrong"}
REFUSALS = {
    **{
        f"{command}: wrong password": (command, user, WRONG_PASSWORD, "refuses the login of .*TRACKER_KAFKA_SASL_PASSW")
        for command, user in {
            "collect": "tracker-collect", "process": "tracker-process", "sink": "tracker-sink",
            "topics check": "tracker-topics",
        }.items()
    },
    **{
        f"{command}: denied topic": (command, NOBODY, {}, rf"does not let '{NOBODY}' .*{topic}.*tracker topics acls")
        for command, topic in {
            "collect": "secured.events", "process": "secured.events", "sink": "secured.events.sequenced",
            "verify": "secured.sessions", "dead-letters list": "secured.dead-letters",
        }.items()
    },
    "sink: may read but not write": ("sink", "tracker-verify", {}, "'tracker-verify' Write secured.dead-letters: see"),
    "sink: denied group": ("sink", "tracker-dead-letters", {}, "-letters' Read/Describe group secured.sink: see"),
    "process: untrusted certificate": (
        "process", "tracker-process", {"kafka_ssl_ca_file": "stranger.pem"},
        "certificate that is not trusted .*TRACKER_KAFKA_SSL_CA_FILE",
    ),
    "topics check: contradiction": (
        "topics check", "tracker-topics", {"kafka_sasl_mechanism": "", "kafka_security_protocol": "sasl_ssl"},
        "needs TRACKER_KAFKA_SASL_MECHANISM",
    ),
}  # fmt: skip


def test_who_is_not_let_in_says_why_in_a_line_and_ends(world: World) -> None:
    running = {}
    for what, (command, user, changes, _) in REFUSALS.items():
        given = world.environment(user, **changes)
        if given["TRACKER_KAFKA_SSL_CA_FILE"] == "stranger.pem":
            given["TRACKER_KAFKA_SSL_CA_FILE"] = str(world.directory / "stranger.pem")
        running[what] = world.start(command, given)
    try:
        ended = {
            what: (*process.communicate(timeout=END_SECONDS), process.returncode) for what, process in running.items()
        }
    finally:
        for process in running.values():
            process.kill()
    for what, (_, err, code) in ended.items():
        said = [line for line in err.splitlines() if line.startswith("tracker: ")]
        assert (code, len(said)) == (1, 1), f"{what}: {code}\n{err}"
        assert "Traceback" not in err, what
        assert "wrong" not in said[0].split("TRACKER_")[0].split(), what
        assert re.search(REFUSALS[what][3], said[0]), f"{what}: {said[0]}"
