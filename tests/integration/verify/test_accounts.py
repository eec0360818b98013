"""``tracker verify`` accounts for every record of the source, what has neither row nor reason is found."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.structs import OffsetAndMetadata
from typer.testing import CliRunner

from tests.fixtures.tinybird import LocalTinybird, running_tinybird
from tests.patience import PATIENCE_SECONDS
from tests.sessions_log import Log
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE
from tracker.cli.app import app
from tracker.clock import new_id
from tracker.kafka import admin
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.kafka.record_batches import send_batches
from tracker.kafka.spread import encode_spread
from tracker.local.kafka import LocalKafka
from tracker.local.stack import wait_until
from tracker.sessions.outputs import FoldResult, Output
from tracker.settings import Settings

PARTITIONS = 2
#: By the suffixes of their topics.
Outputs = dict[str, list[Output]]


@pytest.fixture(scope="module")
def tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    with running_tinybird(tmp_path_factory.mktemp("accounts")) as tinybird:
        yield tinybird


def key_in(partition: int, name: str) -> str:
    """A session key that belongs to a partition."""
    keys = (f"{name}-{number}" for number in range(100))
    return next(key for key in keys if partition_for_key(key.encode(), PARTITIONS) == partition)


def _outputs_of(result: FoldResult) -> Outputs:
    return {SEQUENCED.suffix: result.events, SESSIONS.suffix: result.sessions, DEAD_LETTERS.suffix: result.dead_letters}


class Deployment:
    """Two partitions as a processor leaves them: the source and what the fold makes of it, but for a test's change."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird) -> None:
        self.tinybird = tinybird
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"{new_id()}.", partitions=PARTITIONS)
        self.workspace = new_id()
        asyncio.run(admin.create_topics(self.settings))
        home_of: Callable[[bytes], int] = lambda key: partition_for_key(key, PARTITIONS)  # noqa: E731
        self.logs = [Log(number=number, partition_of=home_of) for number in range(PARTITIONS)]
        self._write_history()

    def _write_history(self) -> None:
        home, other, named = key_in(0, "home"), key_in(1, "other"), {"workspace_id": self.workspace}
        log = self.logs[0]
        log.session(home, **named)
        for event_id in ("a", "b", "a", "b", "c"):
            log.event(home, event_id=event_id, **named)
        log.event(home, event_id="p", envelope={"passive": True}, workspace_id=new_id())
        log.raw(home.encode(), b"rubbish")
        log.flush(home)
        log.event(other, event_id="misplaced", **named)
        log.expire(home, **named)
        log.tick(at=log.records[-1].timestamp)

    def add_a_partition(self) -> None:
        """As an administrator does it; keys stay where they are."""

        name = SOURCE.name(self.settings.topic_prefix)

        async def shows() -> bool:
            return (await admin.describe_broker(self.settings))[name].partitions > PARTITIONS

        async def add() -> None:
            async with admin.connect(self.settings) as client:
                await client.create_partitions({name: NewPartitions(PARTITIONS + 1)})
            await wait_until("the new partition", PATIENCE_SECONDS, shows)
            await admin.create_topics(self.settings)

        asyncio.run(add())
        self.logs.append(Log(number=PARTITIONS, partition_of=self.logs[0].partition_of))

    def run(self, change: Callable[[int, Outputs], None] = lambda partition, outputs: None) -> None:
        """Fold both logs, put everything on the broker and the rows into Tinybird."""
        # Forwards go to partition 1 only, so it is the last one.
        for log in sorted(self.logs, key=lambda log: log.number == 1):
            result = log.fold()
            self._put(log.number, log, _outputs_of(result), change)
            for forward in result.forwards:
                self.logs[forward.partition].raw(forward.key, forward.value, headers=forward.headers)

    def _put(self, partition: int, log: Log, outputs: Outputs, change: Callable[[int, Outputs], None]) -> None:
        change(partition, outputs)
        source = [(record.key, record.value, list(record.headers)) for record in log.records]
        for topic, records in ((SOURCE.suffix, source), *outputs.items()):
            asyncio.run(self._send(topic, partition, records))
        for datasource, topic in (("events_v1", SEQUENCED), ("session_v1", SESSIONS)):
            body = b"\n".join(output.value for output in outputs[topic.suffix] if output.value)
            if body:
                assert self.tinybird.append(datasource, body).status == 200
        asyncio.run(
            self._commit(
                "sink", {topic: len(outputs[topic]) for topic in (SEQUENCED.suffix, SESSIONS.suffix)}, partition
            )
        )
        asyncio.run(self._commit("process", {SOURCE.suffix: len(log.records)}, partition))

    async def _send(self, topic: str, partition: int, records: list[Any]) -> None:
        async with new_producer(self.settings, "test") as producer:
            await send_batches(producer, self.settings.topic_prefix + topic, partition, records)

    async def _commit(self, stage: str, offsets: dict[str, int], partition: int) -> None:
        prefix = self.settings.topic_prefix
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap, group_id=f"{prefix}{stage}", enable_auto_commit=False
        )
        async with consumer:
            said = encode_spread(PARTITIONS) if stage == "process" else ""
            found = {
                TopicPartition(prefix + topic, partition): OffsetAndMetadata(offset, said)
                for topic, offset in offsets.items()
            }
            consumer.assign(list(found))
            await consumer.commit(found)

    def accounts(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """The check, as ``--json`` shows it."""
        env = {
            "TRACKER_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_TINYBIRD_URL": self.tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": self.tinybird.token,
            **environment,
        }
        result = CliRunner(env=env).invoke(app, ["verify", "--json", *arguments])
        assert result.exit_code in {0, 3}, result.output
        return next(check for check in json.loads(result.stdout)["checks"] if check["name"] == "accounts")


@pytest.fixture
def deployment(kafka_broker: LocalKafka, tinybird: LocalTinybird) -> Deployment:
    return Deployment(kafka_broker, tinybird)


def test_every_record_is_told_by_what_became_of_it(deployment: Deployment) -> None:
    deployment.run()
    check = deployment.accounts()
    assert (check["faults"], check["looked_at"]) == ([], 13)
    assert check["notes"] == [
        "13 source records: 4 event, 1 session, 1 expire, 1 flush, 1 tick, "
        "2 duplicate, 1 passive, 1 forwarded, 1 rejected"
    ]


def test_a_workspace_is_accounted_for_by_the_records_that_name_it(deployment: Deployment) -> None:
    deployment.run()
    check = deployment.accounts("--workspace", deployment.workspace)
    assert check["faults"] == []
    assert check["notes"] == ["9 source records: 4 event, 1 session, 1 expire, 2 duplicate, 1 forwarded"]


def without(topic: str, position: int, partition: int = 0) -> Callable[[int, Outputs], None]:
    """Leave one output of a topic out."""

    def change(number: int, outputs: Outputs) -> None:
        if number == partition:
            del outputs[topic][position]

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without(SEQUENCED.suffix, 2), "an event gave no row, and repeats none within the duplicate window"),
        (without(SEQUENCED.suffix, 0), "an event gave no row, and repeats none within the duplicate window"),
        (without(DEAD_LETTERS.suffix, 0), "rejected (not_json), but there is no letter of it"),
    ],
    ids=["the last event", "the first coming of a duplicate", "the letter"],
)
def test_an_output_that_the_processor_has_left_out_is_found(deployment: Deployment, change, fault: str) -> None:
    deployment.run(change)
    faults = deployment.accounts()["faults"]
    assert faults
    assert all(one.startswith(fault) for one in faults)
    assert f"{SOURCE.name(deployment.settings.topic_prefix)}-0 @ " in faults[0]


def test_a_forward_without_its_copy_is_found(deployment: Deployment) -> None:
    deployment.logs[1].raw = lambda *_, **__: None  # type: ignore[method-assign]
    deployment.run()
    assert deployment.accounts()["faults"] == [
        "an event gave no row, and repeats none within the duplicate window: "
        f"{SOURCE.name(deployment.settings.topic_prefix)}-0 @ 9"
    ]


def test_what_the_processor_has_not_come_to_yet_waits(deployment: Deployment) -> None:
    deployment.run()
    asyncio.run(deployment._send(SOURCE.suffix, 0, [(b"k", orjson.dumps({"type": "nonsense"}), [])]))
    check = deployment.accounts()
    assert check["faults"] == []
    assert check["notes"][0].endswith("1 waiting")


@pytest.mark.parametrize("partitions", ["2", "3"])
def test_records_in_an_added_partition_are_accounted_for_whatever_the_setting_is(deployment: Deployment, partitions):
    deployment.add_a_partition()
    names = (f"moved-{number}" for number in range(100))
    keys = [key_in(1, name) for name in names]
    moved = next(key for key in keys if partition_for_key(key.encode(), PARTITIONS + 1) == PARTITIONS)
    for event_id in ("m", "n", "m"):
        deployment.logs[PARTITIONS].event(moved, event_id=event_id, workspace_id=deployment.workspace)
    deployment.run()
    check = deployment.accounts(TRACKER_PARTITIONS=partitions)
    assert check["faults"] == []
    assert "4 forwarded" in check["notes"][0]
