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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from tests.certificates import Authority
from tests.fixtures.kafka import PROJECT_DIR, kafka_settings
from tests.fixtures.tinybird import LocalTinybird
from tests.integration.gone_at_start import DYING
from tests.patience import PATIENCE_SECONDS
from tests.source_log import event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import SEQUENCED
from tracker.kafka.acls import PROCESSES
from tracker.kafka.admin import connect, create_topics
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.kafka_config import Guard
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

PASSWORD = "correct-horse"
#: Who may log in, and nothing else.
NOBODY = "tracker-nobody"
PREFIX = "secured."

RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10,
    "IdempotentWrite": 12,
}  # fmt: skip
ALLOW = 3


@dataclass(frozen=True)
class World:
    """A broker that is guarded, with topics and ACLs, and who may be asked to do what on it."""

    directory: Path
    bootstrap: str
    ca: Path
    tinybird: LocalTinybird
    broker: LocalKafka
    guard: Guard
    #: A listener without any guard, for the administrator that the test is.
    open_door: Settings
    mutual: str

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

    def restart_without(self, *users: str) -> None:
        """Restart the broker, so that all connections end, and let these users log in no more by PLAIN."""
        left = {name: password for name, password in self.guard.users.items() if name not in users}
        self.broker._guard = replace(self.guard, users=left)
        self.broker.restart()

    async def change_right(self, user: str, topic: str, *, is_given: bool) -> None:
        """Give or take the right to write to a topic."""
        what = RESOURCES["topic"], topic, PATTERNS["literal"], f"User:{user}", "*", OPERATIONS["Write"], ALLOW
        request = (CreateAclsRequest if is_given else DeleteAclsRequest)(*what)
        async with connect(self.open_door, timeout_seconds=60) as admin:
            await admin._send_to_controller(request)
            # The broker, which guards it, hears of it from the controller.
            while bool((await admin._send_request(DescribeAclsRequest(*what))).resources) != is_given:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def by_certificate(self, name: str, **changes: str) -> dict[str, str]:
        """As who a certificate says, without a login."""
        own = {"kafka_ssl_cert_file": str(self.directory / f"{name}.pem")} if name else {}
        own |= {"kafka_ssl_key_file": str(self.directory / f"{name}.key")} if name else {}
        mutual = {
            "kafka_bootstrap": self.mutual, "kafka_security_protocol": "ssl", "kafka_sasl_mechanism": "",
            "kafka_sasl_username": "", "kafka_sasl_password": "", "kafka_ssl_check_hostname": "false",
        }  # fmt: skip
        return self.environment("", **{**mutual, **own, **changes})

    def start(self, command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        ports = {
            f"TRACKER_{stage}_PORT": str(free_port()) for stage in ("COLLECT", "COLLECT_METRICS", "PROCESS", "SINK")
        }
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
    stranger = Authority("stranger")
    stranger.write(directory)
    stranger.issue("unknown").write(directory)
    authority.issue("tracker-topics").write(directory)
    named = "".join(file.read_text() for file in reversed(authority.issue("other", "other.example").write(directory)))
    misnamed = directory / "misnamed.pem"
    misnamed.write_text(named)
    users = dict.fromkeys([*(f"tracker-{process}" for process in PROCESSES), NOBODY], PASSWORD)
    ca = authority.write(directory)
    guard = Guard(keystore, users, free_port(), free_port(), ca, misnamed)
    with LocalKafka(kafka_settings(directory), guard) as broker:
        listed = subprocess.run(
            [sys.executable, "-m", "tracker", "topics", "acls", "--json"],
            env={**os.environ, "TRACKER_TOPIC_PREFIX": PREFIX}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        open_door = Settings(
            kafka_bootstrap=f"{LOOPBACK}:{guard.open_port}", topic_prefix=PREFIX, partitions=2, _env_file=None
        )
        acls = json.loads(listed.stdout)
        by_certificate = [
            {**acl, "principal": "User:CN=tracker-topics"} for acl in acls if acl["principal"] == "User:tracker-topics"
        ]
        asyncio.run(provide(open_door, [*acls, *by_certificate]))
        yield World(
            directory, broker.bootstrap, ca, local_tinybird, broker, guard, open_door, f"{LOOPBACK}:{guard.mutual_port}"
        )


def test_all_work_is_done_under_exactly_the_acls_that_are_listed(world: World, tmp_path: Path) -> None:
    port, process_port = free_port(), free_port()
    stages = [
        Stage("collect", tmp_path / "c", world.environment("tracker-collect", "PLAIN", collect_port=str(port))),
        Stage("process", tmp_path / "p", world.environment("tracker-process", process_port=str(process_port))),
        Stage("sink", tmp_path / "s", world.environment("tracker-sink", "SCRAM-SHA-256")),
    ]
    session = f"guarded-{port}"
    event = {"event_type": "click", "session_id": session, "workspace_id": "w"}
    query = f"SELECT session_event_sequence AS n FROM events_v1 FINAL WHERE session_id LIKE '{session}%'"

    def track() -> bool:
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}/api/v1/events/track", json.dumps(event).encode())
        request.add_header("Content-Type", "application/json")
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).status < 300
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

        wait_until(track, "the collector takes an event")
        wait_until(arrived, "the event is in Tinybird")
        assert world.tinybird.sql(query)[0]["n"] == 1
        commands = {
            "topics check": "topics", "topics create": "topics", "dead-letters list": "dead-letters",
            "replay --name under-acls": "replay", "replay --compare --name held": "replay",
            f"session {session}": "session", f"import --name old {old_events(tmp_path)}": "import",
            # These compare: that they differ is no denial.
            "verify --workspace w": "verify", "migration report --all": "migration",
        }  # fmt: skip
        asked = f"http://{LOOPBACK}:{process_port}"
        running = {
            command: world.start(command, world.environment(f"tracker-{who}", process_url=asked))
            for command, who in commands.items()
        }
        for command, process in running.items():
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
            differing = {"verify": 3, "migration": 1}.get(command.split()[0], 0)
            assert process.returncode in {0, differing}, f"{command}: {out}\n{err}"
            assert "does not let" not in err, f"{command}: {err}"
            assert out, command
        nobody = world.start(f"session {session}", world.environment(NOBODY, process_url=asked))
        _, err = nobody.communicate(timeout=PATIENCE_SECONDS)
        assert nobody.returncode == 1, err
        assert f"does not let '{NOBODY}' Read/Describe secured.events.sequenced" in err
    finally:
        for stage in stages:
            stage.end()


def old_events(directory: Path) -> Path:
    file = directory / "old.ndjson"
    event = {"session_id": "old", "timestamp": "2024-05-01T00:00:00Z", "event_type": "click", "event_id": "e-1"}
    file.write_text(json.dumps(event) + "\n")
    return file


def test_a_right_that_is_taken_away_ends_the_process_with_a_line_and_nothing_is_lost(
    world: World, tmp_path: Path
) -> None:
    """Denied in the middle of its work, it stops before it forgets; allowed again, it goes on where it was."""
    session = f"revoked-{free_port()}"
    process = Stage("process", tmp_path / "p", world.environment("tracker-process", process_port=str(free_port())))
    process.start()
    try:
        asyncio.run(send(world, session, "before"))
        wait_until(lambda: numbers(world, session) == [1], "the first number")
        asyncio.run(world.change_right("tracker-process", "secured.events.sequenced", is_given=False))
        asyncio.run(send(world, session, "after"))
        assert process.exit_status() == 1
        log = process.log_file.read_text()
        assert log.count("Kafka denies us access (secured.events.sequenced): see tracker topics acls") == 1
        assert "Traceback" not in log
        assert numbers(world, session) == [1]
        asyncio.run(world.change_right("tracker-process", "secured.events.sequenced", is_given=True))
        process.start()
        wait_until(lambda: numbers(world, session) == [1, 2], "the second number")
    finally:
        process.end()


def test_a_login_that_is_taken_away_is_told_in_a_line_and_nothing_is_lost(world: World, tmp_path: Path) -> None:
    """Once connections have to be made anew, processor and sink end; the collector, whose clients wait, spills."""
    session = f"locked-out-{free_port()}"
    stages = ("process", "sink", "collect")
    ports = {f"{stage}_port": str(free_port()) for stage in stages}
    process, sink, collect = (
        Stage(stage, tmp_path / stage, world.environment(f"tracker-{stage}", "PLAIN", **ports)) for stage in stages
    )
    collector = f"http://{LOOPBACK}:{ports['collect_port']}"

    def ready() -> str:
        try:
            return str(urllib.request.urlopen(f"{collector}/readyz", timeout=PATIENCE_SECONDS).read().decode())
        except OSError as error:
            return str(error)

    try:
        for stage in (process, sink, collect):
            stage.start()
        asyncio.run(send(world, session, "before"))
        wait_until(lambda: numbers(world, session) == [1], "the first number")
        wait_until(lambda: '"kafka":"ok"' in ready(), "the collector is ready")
        world.restart_without(*(f"tracker-{stage}" for stage in stages))
        asyncio.run(send(world, session, "after"))
        for stage in (process, sink):
            assert stage.exit_status() == 1
            log = stage.log_file.read_text()
            assert log.count(f"refuses the login of 'tracker-{stage.name}': see TRACKER_KAFKA_SASL_USERNAME") == 1
            assert "Traceback" not in log
        wait_until(lambda: "refuses the login of 'tracker-collect'" in ready(), "the collector says it")
        assert collect.log_file.read_text().count("refuses the login of 'tracker-collect'") == 1
        body = json.dumps({"event_type": "click", "session_id": session}).encode()
        event = urllib.request.Request(f"{collector}/api/v1/events/track", body, {"Content-Type": "application/json"})
        assert urllib.request.urlopen(event, timeout=PATIENCE_SECONDS).status == 202
        world.restart_without()
        process.start()
        wait_until(lambda: numbers(world, session) == [1, 2, 3], "the other numbers")
    finally:
        for stage in (process, sink, collect):
            stage.end()


@pytest.mark.parametrize("dies", DYING)
@pytest.mark.parametrize("name", ["process", "sink"])
def test_a_login_that_is_taken_away_in_the_middle_of_a_start_is_told_in_a_line(
    world: World, tmp_path: Path, name: str, dies: str
) -> None:
    ports = {f"{each}_port": str(free_port()) for each in ("process", "sink")}
    environment = world.environment(f"tracker-{name}", "PLAIN", **ports)
    fault = {"BROKER_PID": str(world.broker.pid), "BROKER_DIES": dies}
    stage = Stage(name, tmp_path, {**environment, **fault}, module="tests.integration.gone_at_start")
    try:
        stage.start()
        wait_until(lambda: "the broker is killed" in stage.log_file.read_text(), "the broker was killed")
        world.restart_without(f"tracker-{name}")
        assert stage.exit_status() == 1
        log = stage.log_file.read_text()
        assert log.count(f"refuses the login of 'tracker-{name}': see TRACKER_KAFKA_SASL_USERNAME") == 1
        assert "Traceback" not in log
    finally:
        stage.end()
        world.restart_without()


@pytest.mark.parametrize(
    ("user", "problem", "lines"),
    [
        # It may not read the topics: each try is a new reader, and they become fewer and fewer.
        ("tracker-process", "can't read from Kafka", ["retry_in_seconds=1.0", "retry_in_seconds=2.0"]),
        # It may not ask for the groups: one line, and the page goes on without their lag.
        ("tracker-dead-letters", "does not tell the groups' lag", ["/live shows no lag"]),
    ],
)
def test_the_live_page_without_its_optional_rights_says_so_and_does_not_try_for_ever(
    world: World, tmp_path: Path, user: str, problem: str, lines: list[str]
) -> None:
    port = free_port()
    collect = Stage("collect", tmp_path / "c", world.environment(user, "PLAIN", collect_port=str(port)))

    def page() -> str:
        try:
            return str(
                urllib.request.urlopen(f"http://localhost:{port}/live/data", timeout=PATIENCE_SECONDS).read().decode()
            )
        except OSError as error:
            return str(error)

    try:
        collect.start()
        wait_until(lambda: problem in page(), "the page says it")
        wait_until(lambda: page() and all(collect.log_file.read_text().count(line) for line in lines), "the log")
        assert all(collect.log_file.read_text().count(line) == 1 for line in lines)
    finally:
        collect.end()


async def send(world: World, session: str, event_id: str) -> None:
    async with new_producer(world.open_door, "test") as producer:
        await producer.send_and_wait(f"{PREFIX}events", event_value(session, event_id), key=session.encode())


def numbers(world: World, session: str) -> list[int]:
    rows = [json.loads(record.value) for record in asyncio.run(read_all(world.open_door, SEQUENCED)) if record.value]
    return [row["session_event_sequence"] for row in rows if row["session_id"] == session]


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
            "migration report --all": "secured.events", "replay --name no": "secured.events",
            "topics check": "secured.events",
        }.items()
    },
    "import: denied group": (
        "import --name no OLD", NOBODY, {}, "Read/Describe group secured.import.: see tracker topics acls"
    ),
    "topics create: denied topic": (
        "topics create", NOBODY, {}, "refuses to create secured.events: .*tracker topics acls"
    ),
    "sink: may read but not write": (
        "sink", "tracker-verify", {}, "'tracker-verify' Write secured.dead-letters: see"
    ),
    "sink: denied group": (
        "sink", "tracker-dead-letters", {}, "-letters' Read/Describe group secured.sink: see"
    ),
    "process: untrusted certificate": (
        "process", "tracker-process", {"kafka_ssl_ca_file": "stranger.pem"},
        "certificate that is not trusted .*TRACKER_KAFKA_SSL_CA_FILE",
    ),
    "topics check: contradiction": (
        "topics check", "tracker-topics", {"kafka_sasl_mechanism": "", "kafka_security_protocol": "sasl_ssl"},
        "needs TRACKER_KAFKA_SASL_MECHANISM",
    ),
}  # fmt: skip


def test_who_is_not_let_in_says_why_in_a_line_and_ends(world: World, tmp_path: Path) -> None:
    running = {}
    for what, (command, user, changes, _) in REFUSALS.items():
        given = world.environment(user, **changes)
        if given["TRACKER_KAFKA_SSL_CA_FILE"] == "stranger.pem":
            given["TRACKER_KAFKA_SSL_CA_FILE"] = str(world.directory / "stranger.pem")
        running[what] = world.start(command.replace("OLD", str(old_events(tmp_path))), given)
    try:
        ended = {
            what: (*process.communicate(timeout=PATIENCE_SECONDS), process.returncode)
            for what, process in running.items()
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
    assert not list(PROJECT_DIR.glob("*.rejects.ndjson")), "nothing was rejected, since nothing was read"


CERTIFICATE_REFUSALS = {
    "without one": ("", {}, "refuses our certificate .*TRACKER_KAFKA_SSL_CERT_FILE"),
    "of a stranger": ("unknown", {}, "refuses our certificate .*TRACKER_KAFKA_SSL_CERT_FILE"),
    "for another host": (
        "tracker-topics", {"kafka_ssl_check_hostname": "true"}, "not trusted .*TRACKER_KAFKA_SSL_CHECK_HOSTNAME",
    ),
}  # fmt: skip


def test_a_client_is_known_by_its_certificate_and_a_wrong_one_on_either_side_is_a_line(world: World) -> None:
    running = {
        "let in": world.start("topics check", world.by_certificate("tracker-topics")),
        **{
            what: world.start("topics check", world.by_certificate(name, **changes))
            for what, (name, changes, _) in CERTIFICATE_REFUSALS.items()
        },
    }
    try:
        ended = {what: (process.communicate(timeout=PATIENCE_SECONDS), process) for what, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    (out, err), process = ended.pop("let in")
    assert process.returncode == 0, f"{out}\n{err}"
    for what, ((_, err), process) in ended.items():
        said = [line for line in err.splitlines() if line.startswith("tracker: ")]
        assert (process.returncode, len(said)) == (1, 1), f"{what}: {process.returncode}\n{err}"
        assert "Traceback" not in err, what
        assert re.search(CERTIFICATE_REFUSALS[what][2], said[0]), f"{what}: {said[0]}"
