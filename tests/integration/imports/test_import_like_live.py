"""The same events, once live and once from a Parquet file: the same sessions, and the same numbers in them."""

import asyncio
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow
import pytest
from pyarrow import parquet

from tests.integration.imports.test_import import Importer
from tests.source_log import read_all
from tests.stages import Stage, wait_until
from topics.catalog import SEQUENCED, SESSIONS, SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

KEYS = 30
EVENTS_A_VISIT = 300
TIMEOUT_SECONDS = 2

#: For each key, its sessions in order, and for each the ids of its events by their numbers.
Sessions = dict[str, list[list[str]]]


def grouped(rows: list[dict[str, Any]], sessions: list[dict[str, Any]]) -> Sessions:
    """What a table of events and a table of closed sessions say."""
    numbered: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        numbered[row["session_id"]].append((int(row["session_event_sequence"]), row["event_id"]))
    found: Sessions = defaultdict(list)
    for session in sorted(sessions, key=lambda session: session["created_at"]):
        events = sorted(numbered[session["session_id"]])
        assert [number for number, _ in events] == list(range(1, int(session["event_count"]) + 1))
        found[session["session_key"]].append([event_id for _, event_id in events])
    return found


class Live:
    """A processor, fed as an upstream service would feed it."""

    def __init__(self, broker: LocalKafka, directory: Path) -> None:
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"live-{free_port()}.", partitions=4)
        self.stage = Stage(
            "process",
            directory / "live",
            {
                "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
                "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                "TRACKER_PARTITIONS": "4",
                "TRACKER_PROCESS_PORT": str(free_port()),
                "TRACKER_SESSION_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
                "TRACKER_TICK_INTERVAL_MS": "200",
            },
        )
        asyncio.run(admin.create_topics(self.settings))

    def visit(self, workspace: str, visit: int) -> list[dict[str, Any]]:
        """Send a visit's worth of events of all keys, and return them as a file has them."""
        rng, events = Random(visit), []
        for number in range(EVENTS_A_VISIT):
            key = f"{workspace}-{number if number < KEYS else rng.randrange(KEYS)}"
            events.append(
                {
                    "session_id": key,
                    "timestamp": clock.now_iso(),
                    "event_type": "click",
                    "event_id": f"{visit}-{number}",
                    "workspace_id": workspace,
                }
            )
        asyncio.run(self._send(events))
        return events

    async def _send(self, events: list[dict[str, Any]]) -> None:
        by_partition: dict[int, list] = defaultdict(list)
        for event in events:
            data = {name: event[name] for name in ("event_type", "event_id", "workspace_id")}
            record = {"type": "event", **{name: event[name] for name in ("session_id", "timestamp")}, "data": data}
            key = event["session_id"].encode()
            by_partition[partition_for_key(key, 4)].append((key, orjson.dumps(record), []))
        async with new_producer(self.settings, "test") as producer:
            for partition, records in by_partition.items():
                await send_batches(producer, SOURCE.name(self.settings.topic_prefix), partition, records)

    def rows(self, topic) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in asyncio.run(read_all(self.settings, topic)) if record.value]

    def closed(self) -> list[dict[str, Any]]:
        return [row for row in self.rows(SESSIONS) if row["is_expired"]]


@pytest.fixture
def live(kafka_broker: LocalKafka, tmp_path: Path):
    live = Live(kafka_broker, tmp_path)
    live.stage.start()
    yield live
    live.stage.end()


def test_a_parquet_file_gives_the_sessions_and_numbers_that_live_gave(live, kafka_broker, local_tinybird, tmp_path):
    importer = Importer(kafka_broker, local_tinybird, tmp_path)
    importer.set_environment(TRACKER_SESSION_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS))
    events: list[dict[str, Any]] = []
    for visit in (1, 2):
        events += live.visit(importer.workspace, visit)
        wait_until(lambda: len(live.closed()) == KEYS * visit, f"the end of visit {visit}")  # noqa: B023
    wanted = grouped(live.rows(SEQUENCED), live.closed())
    assert [len(sessions) for sessions in wanted.values()] == [2] * KEYS

    times = [{**event, "timestamp": datetime.fromisoformat(event["timestamp"])} for event in events]
    parquet.write_table(pyarrow.Table.from_pylist(times), tmp_path / "events.parquet")
    code, out, errors = importer.run("--name", "parquet", "events.parquet")
    assert code == 0, out + errors
    where = f"FINAL WHERE workspace_id = '{importer.workspace}'"
    rows = local_tinybird.sql(f"SELECT session_id, session_event_sequence, event_id FROM events_v1 {where}")
    sessions = local_tinybird.sql(f"SELECT session_key, session_id, event_count, created_at FROM session_v1 {where}")
    assert grouped(rows, sessions) == wanted
