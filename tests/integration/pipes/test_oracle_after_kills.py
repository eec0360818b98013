"""The oracle's figures also after kills and a replay: visits through Kafka, processor, sink and pipes."""

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition

from tests.fixtures.tinybird import LocalTinybird, running_tinybird
from tests.integration.pipes.comparison import REPORTS
from tests.integration.pipes.conftest import asking
from tests.integration.pipes.history import OURS, History
from tests.integration.pipes.oracle import Oracle
from tests.integration.pipes.visits import WORKSPACES, Visits, history_of
from tests.integration.replay.replay_stack import ProcessedLog, tinybird_for_replay
from tests.source_log import end_offsets, read_all
from tests.stages import Stage, wait_until
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka

#: About, of both workspaces; ``TRACKER_TEST_ORACLE_EVENTS=100000`` makes it a long run.
EVENTS = int(os.environ.get("TRACKER_TEST_ORACLE_EVENTS", "3000"))
PARTS = 6
#: Kills of each stage that find it at work.
KILLS = 2
#: Of each workspace.
ASKED = ({}, OURS)
AGAIN = ("--name", "again", "--datasource", "events_again,session_again", "--from", "2020-01-01T00:00Z")

pytestmark = pytest.mark.slow


class VisitedLog(ProcessedLog):
    """Visits, with the processor and the sink killed in the middle of a part, again and again."""

    def __init__(self, broker: LocalKafka, data_dir: Path, tinybird: LocalTinybird, rng: random.Random) -> None:
        super().__init__(
            broker,
            data_dir,
            TRACKER_CHUNK_MAX_RECORDS="4",  # so small that a kill finds something left to do
            TRACKER_SESSION_TIMEOUT_SECONDS="1",
            TRACKER_TICK_INTERVAL_MS="100",
            TRACKER_CAMPAIGN_CHANGE="split",
            TRACKER_TINYBIRD_URL=tinybird.url,
            TRACKER_TINYBIRD_TOKEN=tinybird.token,
            TRACKER_SINK_BATCH_MAX_ROWS="50",
        )
        self.settings = self.settings.model_copy(update={"session_timeout_seconds": 1, "campaign_change": "split"})
        self.sink = Stage("sink", data_dir, self.environment)
        self.rng = rng
        self.visits = Visits(rng.randrange(2**32), EVENTS, PARTS)
        #: Kills of the processor with records to number, and of the sink with rows to commit.
        self.struck = {"process": 0, "sink": 0}
        self.disks_lost = 0
        self._sent: set[str] = set()

    def run(self) -> None:
        """Send all visits; return once every session has closed and every row has been written."""
        for stage in (self.processor, self.sink):
            stage.start()
        for _ in range(PARTS):
            before = self._outputs()
            asyncio.run(self.send_part())
            wait_until(lambda before=before: self._outputs() > before, "outputs of what is new")
            if min(self.struck.values()) < KILLS:
                self._kill()
            wait_until(lambda: self._all_closed() and self._all_committed(), "every session closed")
        assert self.processor.stop() == 0
        wait_until(lambda: not self._rows_to_commit(), "every row written")
        assert self.sink.stop() == 0

    async def send_part(self) -> None:
        topic = SOURCE.name(self.settings.topic_prefix)
        async with new_producer(self.settings, "upstream", linger_ms=5) as producer:
            for key, value in self.visits.part(clock.now_ms()):
                await producer.send(topic, value, key=key)
                if event_id := orjson.loads(value)["data"].get("event_id"):
                    self._sent.add(event_id)

    def _kill(self) -> None:
        self.processor.kill()
        self.sink.kill()
        self.struck["process"] += self._numbered() < len(self._sent)
        self.struck["sink"] += self._rows_to_commit() > 0
        if self.rng.random() < 0.5:
            self.processor.lose_disk()
            self.disks_lost += 1
        self.processor.start()
        self.sink.start()

    def _numbered(self) -> int:
        records = asyncio.run(read_all(self.settings, SEQUENCED))
        return len({orjson.loads(record.value)["event_id"] for record in records if record.value})

    def _rows_to_commit(self) -> int:
        """Records of the sink's topics that its group has not committed."""
        committed = asyncio.run(admin.committed_offsets(self.settings, f"{self.settings.topic_prefix}sink"))
        return sum(
            end - committed.get(TopicPartition(*partition), 0)
            for topic in (SEQUENCED, SESSIONS)
            for partition, end in asyncio.run(end_offsets(self.settings, topic)).items()
        )


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    with running_tinybird(tmp_path_factory.mktemp("live")) as tinybird:
        yield tinybird


@pytest.fixture(scope="module")
def log(
    kafka_broker: LocalKafka, live: LocalTinybird, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VisitedLog]:
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**32)))
    print(f"seed {seed} (again with TRACKER_TEST_SEED={seed})")
    log = VisitedLog(kafka_broker, tmp_path_factory.mktemp("visited"), live, random.Random(seed))
    try:
        log.run()
        yield log
    finally:
        log.processor.end()
        log.sink.end()


@pytest.fixture(scope="module")
def histories(log: VisitedLog) -> dict[str, History]:
    """What the written rules make of the log."""
    records = asyncio.run(read_all(log.settings, SOURCE))
    return {workspace: history_of(records, log.settings.session_rules, workspace) for workspace in WORKSPACES}


def assert_pipes_give_the_oracles_figures(tinybird: LocalTinybird, histories: dict[str, History]) -> None:
    for (workspace, history), asked in zip(histories.items(), ASKED, strict=True):
        for check in REPORTS.values():
            check(asking(tinybird, workspace_id=workspace, limit="100000"), Oracle(history, asked))


def test_the_kills_struck_and_the_visits_are_rich(log: VisitedLog, histories: dict[str, History]) -> None:
    assert min(log.struck.values()) >= KILLS, log.struck
    assert asyncio.run(read_all(log.settings, DEAD_LETTERS)) == []
    for history in histories.values():
        reasons = [row["close_reason"] for row in history.sessions]
        renewed = [row for row in history.sessions if row["session_id"] != row["session_key"]]
        assert len(history.events) > EVENTS // 4
        assert len(renewed) > EVENTS // 100
        assert reasons.count("campaign") > EVENTS // 200
        assert any(linked for *_, linked in Oracle(history, {}).users().values())
    first, second = ({row["visitor_id"] for row in history.sessions} - {""} for history in histories.values())
    assert first & second


def test_the_pipes_give_the_oracles_figures_after_kills(live: LocalTinybird, histories: dict[str, History]) -> None:
    assert_pipes_give_the_oracles_figures(live, histories)


def test_the_pipes_give_the_oracles_figures_after_a_replay(
    log: VisitedLog, histories: dict[str, History], tmp_path: Path
) -> None:
    with tinybird_for_replay("again", tmp_path) as tinybird:
        code, _, errors = log.replay(*AGAIN, TRACKER_TINYBIRD_URL=tinybird.url, TRACKER_TINYBIRD_TOKEN=tinybird.token)
        assert code == 0, errors
        assert_pipes_give_the_oracles_figures(tinybird, histories)
