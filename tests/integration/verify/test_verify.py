"""``tracker verify`` on a real broker and ClickHouse: green on what is right, and each planted fault is found."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner

from tests.fixtures.tinybird import LocalTinybird, running_tinybird
from tests.sessions_log import MINUTE_MS, START_MS, Log, Record
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE, USAGE, Topic
from topics.dead_letter import dead_letter
from topics.headers import Headers
from tracker.cli.app import app
from tracker.clock import new_id
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.local.kafka import LocalKafka
from tracker.sessions.outputs import Output
from tracker.sessions.rules import Rules
from tracker.settings import Settings

#: All of this is done with a token that may only read.
READ_TOKEN = "a-token-that-reads"

Row = dict[str, Any]
Change = Callable[[Row], Row | None]


@pytest.fixture(scope="module")
def tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    with running_tinybird(tmp_path_factory.mktemp("verify"), TRACKER_TINYBIRD_READ_TOKEN=READ_TOKEN) as tinybird:
        yield tinybird


class Deployment:
    """Output topics with what a log gives, and the same rows in Tinybird, but for what a test changes."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird) -> None:
        self.workspace = new_id()
        self.tinybird = tinybird
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"{new_id()}.", partitions=1)
        asyncio.run(admin.create_topics(self.settings))
        source = SOURCE.name(self.settings.topic_prefix)
        log = Log(Rules(usage_interval_ms=MINUTE_MS), number=0, topic=source)
        for number in range(5):
            for _ in range(4):
                log.event(f"{self.workspace}-{number}", workspace_id=self.workspace, page_url="https://ä.example/")
        for number in range(4):
            log.expire(f"{self.workspace}-{number}", START_MS + 1_000)
        log.tick(START_MS + 2 * MINUTE_MS)
        self.result = log.fold()
        self.write(SOURCE, [(record.key, record.value, []) for record in log.records])
        self.write(SEQUENCED, self.result.events)
        self.write(SESSIONS, self.result.sessions)
        self.write(USAGE, self.result.usage)
        self.commit(len(self.result.events), len(self.result.sessions), len(self.result.usage))
        self.folded(len(log.records))

    def write(self, topic: Topic, records: list[Output] | list[ProducerRecord]) -> None:
        async def send() -> None:
            async with new_producer(self.settings, "test") as producer:
                await send_batches(producer, topic.name(self.settings.topic_prefix), 0, records)

        asyncio.run(send())

    def commit(self, events: int, sessions: int, usage: int = 1) -> None:
        """Say how far the sink has come."""
        self._commit("sink", [(SEQUENCED, events), (SESSIONS, sessions), (USAGE, usage)])

    def folded(self, records: int) -> None:
        """Say how far the processor has come."""
        self._commit("process", [(SOURCE, records)])

    def _commit(self, stage: str, offsets: list[tuple[Topic, int]]) -> None:
        prefix = self.settings.topic_prefix

        async def commit() -> None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.settings.kafka_bootstrap, group_id=f"{prefix}{stage}", enable_auto_commit=False
            )
            async with consumer:
                partitions = {TopicPartition(topic.name(prefix), 0): offset for topic, offset in offsets}
                consumer.assign(list(partitions))
                await consumer.commit(partitions)

        asyncio.run(commit())

    def load(self, *, event: Change = dict, session: Change = dict, usage: Change = dict) -> None:
        """Write the rows into Tinybird, changed on the way; None leaves a row out."""
        for datasource, outputs, change in (
            ("events_v1", self.result.events, event),
            ("session_v1", self.result.sessions, session),
            ("usage_v1", self.result.usage, usage),
        ):
            changed = [change(orjson.loads(output.value)) for output in outputs if output.value]
            body = b"\n".join(orjson.dumps(row) for row in changed if row is not None)
            assert self.tinybird.append(datasource, body).status == 200

    def verify(self, *arguments: str) -> tuple[int, dict[str, list[str]]]:
        """The exit code, and the faults by check; checks that hold are left out."""
        env = {
            "TRACKER_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "1",
            "TRACKER_TINYBIRD_URL": self.tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": "append-only",
            "TRACKER_TINYBIRD_READ_TOKEN": READ_TOKEN,
        }
        result = CliRunner(env=env).invoke(app, ["verify", "--json", "--workspace", self.workspace, *arguments])
        assert result.exit_code in {0, 3}, result.output
        found = json.loads(result.stdout)
        assert found["holds"] == (result.exit_code == 0)
        return result.exit_code, {check["name"]: check["faults"] for check in found["checks"] if check["faults"]}

    def is_event(self, row: Row, number: int, sequence: int) -> bool:
        return (row["session_id"], row["session_event_sequence"]) == (f"{self.workspace}-{number}", sequence)


@pytest.fixture
def deployment(kafka_broker: LocalKafka, tinybird: LocalTinybird) -> Deployment:
    return Deployment(kafka_broker, tinybird)


def test_a_token_that_reads_may_do_nothing_else(tinybird: LocalTinybird):
    assert tinybird.request("/v0/sql?q=SELECT+1", token=READ_TOKEN).status == 200
    assert tinybird.request("/v0/events?name=events_v1", b"{}", token=READ_TOKEN).status == 403
    assert tinybird.request("/v0/datasources/events_v1/delete", b"delete_condition=1", token=READ_TOKEN).status == 403


def test_all_holds_where_all_is_well_though_rows_were_sent_twice(deployment: Deployment):
    deployment.load()
    deployment.load()
    assert deployment.verify() == (0, {})


def test_a_missing_row_is_named_with_its_place_in_the_log(deployment: Deployment):
    deployment.load(event=lambda row: None if deployment.is_event(row, 1, 2) else row)
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"sequence", "session_row", "events_log"})
    (missing,) = faults["events_log"]
    assert "missing in Tinybird" in missing
    assert f"session {deployment.workspace}-1 of workspace '{deployment.workspace}', number 2" in missing
    assert f"{SEQUENCED.name(deployment.settings.topic_prefix)}-0 @ 5" in missing


def test_a_doubled_number_is_found(deployment: Deployment):
    def doubled(row: Row) -> Row:
        return {**row, "session_event_sequence": 3} if deployment.is_event(row, 0, 4) else row

    deployment.load(event=doubled)
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"number", "events_log"})
    assert "checksum differs" in faults["events_log"][0]


def test_an_event_that_is_there_twice_is_found(deployment: Deployment):
    first: list[str] = []

    def repeated(row: Row) -> Row:
        if deployment.is_event(row, 0, 1):
            first.append(row["event_id"])
        return {**row, "event_id": first[0]} if deployment.is_event(row, 0, 2) else row

    deployment.load(event=repeated)
    assert set(deployment.verify()[1]) == {"events_log"}


def test_a_bill_that_is_not_the_logs_is_found(deployment: Deployment):
    deployment.load(usage=lambda row: row | {"events": row["events"] + 1})
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"usage_log"})
    (fault,) = faults["usage_log"]
    assert fault.startswith(f"workspace '{deployment.workspace}', partition 0, hour 2026-01-01T00Z: ")
    assert fault.endswith("1 rows with 21 events instead of 1 rows with 20 events")


def test_usage_that_the_sink_could_not_place_is_no_fault_while_its_letter_lies_there(deployment: Deployment):
    deployment.load(usage=lambda _row: None)
    assert set(deployment.verify()[1]) == {"usage_log"}
    output = deployment.result.usage[0]
    refused = dead_letter(
        Record(0, START_MS, output.key, output.value, tuple(output.headers)),
        stage="sink",
        topic=USAGE.name(deployment.settings.topic_prefix),
        partition=0,
        reason="refused",
        detail="events: too many",
        failed_at_ms=START_MS,
    )
    deployment.write(DEAD_LETTERS, [(refused.key, refused.encode(), [])])
    assert deployment.verify() == (0, {})


def test_a_wrong_session_count_is_found(deployment: Deployment):
    deployment.load(session=lambda row: {**row, "event_count": row["event_count"] + 1})
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"session_row", "sessions_log"})
    assert any("says 5 events, there are 4" in fault for fault in faults["session_row"])


def test_a_row_of_another_session_is_found(deployment: Deployment):
    def moved(row: Row) -> Row:
        return {**row, "session_id": f"{deployment.workspace}-2"} if deployment.is_event(row, 1, 4) else row

    deployment.load(event=moved)
    code, faults = deployment.verify()
    assert (code, {"number", "events_log", "session_row"} <= set(faults)) == (3, True)


@pytest.mark.parametrize("change", [{"page_url": "https://b.example/"}, {"timestamp": "2026-01-01T00:00:00.001Z"}])
def test_a_row_with_other_content_differs_in_its_checksum(deployment: Deployment, change: Row):
    deployment.load(event=lambda row: {**row, **change} if deployment.is_event(row, 3, 1) else row)
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"events_log"})
    assert "checksum differs" in faults["events_log"][0]


def test_a_row_that_the_log_does_not_have_is_found(deployment: Deployment):
    deployment.load()
    stray = orjson.loads(deployment.result.events[0].value or b"")
    stray |= {
        "id": "stray",
        "session_event_sequence": 5,
        "event_id": "stray",
        "session_id": f"{deployment.workspace}-4",
    }
    deployment.tinybird.append("events_v1", orjson.dumps(stray))
    assert deployment.verify()[1]["events_log"] == ["not in the log: stray"]


def test_a_stale_session_row_is_found(deployment: Deployment):
    deployment.load(session=lambda row: None if row["is_expired"] else row)
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"sessions_log"})
    assert len(faults["sessions_log"]) == 4


def letter(deployment: Deployment, value: bytes, **about: Any) -> bytes:
    return dead_letter(
        Record(0, START_MS, b"k", value),
        **{
            "stage": "sink",
            "topic": SEQUENCED.name(deployment.settings.topic_prefix),
            "partition": 0,
            "reason": "refused",
            "detail": "why",
            "failed_at_ms": START_MS,
            **about,
        },
    ).encode()


def test_a_dead_letter_without_a_reason_is_found(deployment: Deployment):
    deployment.load()
    good = letter(deployment, b"{}")
    headers: Headers = []
    bad = [good.replace(b'"refused"', b'""'), good.replace(b'"why"', b'" "'), b"{}"]
    deployment.write(DEAD_LETTERS, [(None, value, headers) for value in (good, *bad)])
    code, faults = deployment.verify()
    assert (code, set(faults)) == (3, {"dead_letter"})
    assert [fault.split(":")[0:2] for fault in faults["dead_letter"]] == [
        ["dead letter 0", str(offset)] for offset in (1, 2, 3)
    ]


def test_what_the_sink_could_not_place_is_in_the_dead_letters_and_not_missing(deployment: Deployment):
    deployment.load(event=lambda row: None if deployment.is_event(row, 4, 2) else row)
    values = [output.value for output in deployment.result.events if output.value]
    (refused,) = (value for value in values if deployment.is_event(orjson.loads(value), 4, 2))
    deployment.write(DEAD_LETTERS, [(None, letter(deployment, refused), [])])
    assert deployment.verify() == (0, {})


def test_what_is_on_its_way_is_no_fault(deployment: Deployment):
    deployment.commit(6, 3)
    deployment.load(
        event=lambda row: row if int(row["session_id"][-1]) == 0 or deployment.is_event(row, 1, 1) else None,
        session=lambda row: None if row["is_expired"] or row["session_id"][-1] > "2" else row,
    )
    deployment.tinybird.append("events_v1", deployment.result.events[5].value or b"")
    code, faults = deployment.verify()
    assert (code, faults) == (0, {})
