"""A rule that is changed restates the past: a replay under the new rule, looked at beside live, then promoted."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.replay.replay_stack import ProcessedLog, tinybird_for_replay
from tests.source_log import read_all
from topics.catalog import SEQUENCED, SESSIONS, SOURCE
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka

VISITORS = 20
#: The campaigns by which each visitor comes, within one visit; each shows two pages.
CAMPAIGNS = ("mail", "ads", "mail")
EVENTS = VISITORS * len(CAMPAIGNS) * 2
SPLIT = {"TRACKER_CAMPAIGN_CHANGE": "split"}
DATASOURCES = ("--name", "split", "--datasource", "events_split,session_split", "--from", "2020-01-01T00:00Z")


class CampaignLog(ProcessedLog):
    """Visits during which each visitor comes by several campaigns, one after the other."""

    async def write(self, events: int, seed: int = 0) -> None:
        topic = SOURCE.name(self.settings.topic_prefix)
        async with new_producer(self.settings, "upstream", linger_ms=5) as producer:
            for number in range(events):
                turn, visitor = divmod(number, VISITORS)
                await producer.send(topic, _event(f"v-{visitor}", turn), key=f"v-{visitor}".encode())


def _event(session_id: str, turn: int) -> bytes:
    record = {
        "type": "event",
        "session_id": session_id,
        "workspace_id": "w1",
        "timestamp": "2026-11-24T03:43:00.123Z",
        "visitor": {"utm_source": CAMPAIGNS[turn // 2]},
        "data": {"event_type": "pageview", "event_id": f"{session_id}-{turn}"},
    }
    return orjson.dumps(record)


@pytest.fixture(scope="module")
def log(kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CampaignLog]:
    """A log whose sessions have all ended."""
    environment = {"TRACKER_SESSION_TIMEOUT_SECONDS": "3", "TRACKER_TICK_INTERVAL_MS": "100"}
    log = CampaignLog(kafka_broker, tmp_path_factory.mktemp("policy"), **environment)
    try:
        log.process(EVENTS, until_closed=True)
        yield log
    finally:
        log.processor.end()


@pytest.fixture
def tinybird(tmp_path: Path) -> Iterator[LocalTinybird]:
    with tinybird_for_replay("split", tmp_path) as tinybird:
        yield tinybird


def sessions_by_campaign(tinybird: LocalTinybird, name: str) -> dict[str, tuple[int, int]]:
    """Sessions and events of each campaign, as a report counts them."""
    found = tinybird.sql(
        f"SELECT utm_source, count() AS sessions, sum(event_count) AS events FROM {name} FINAL GROUP BY utm_source"
    )
    return {row["utm_source"]: (int(row["sessions"]), int(row["events"])) for row in found}


def rows_of(tinybird: LocalTinybird, datasource: str) -> list[dict]:
    return tinybird.sql(f"SELECT * FROM {datasource} FINAL ORDER BY ALL")


def test_another_policy_for_campaigns_restates_the_past_by_a_replay_and_its_promotion(
    log: CampaignLog, tinybird: LocalTinybird
) -> None:
    for datasource, topic in (("events_v1", SEQUENCED), ("session_v1", SESSIONS)):
        rows = [record.value for record in asyncio.run(read_all(log.settings, topic)) if record.value]
        tinybird.append(datasource, b"\n".join(rows))
    kept = {"mail": (VISITORS, EVENTS)}
    assert sessions_by_campaign(tinybird, "session_v1") == kept
    environment = {"TRACKER_TINYBIRD_URL": tinybird.url, "TRACKER_TINYBIRD_TOKEN": tinybird.token, **SPLIT}

    code, _, errors = log.replay(*DATASOURCES, **environment)
    assert code == 0, errors
    split = {"mail": (2 * VISITORS, 4 * VISITORS), "ads": (VISITORS, 2 * VISITORS)}
    assert sessions_by_campaign(tinybird, "session_split") == split
    assert sessions_by_campaign(tinybird, "session_v1") == kept

    said = log.command("replay", "promote", "split", "--yes", **environment)
    assert said.returncode == 0, said.stderr
    assert sessions_by_campaign(tinybird, "session_v1") == split
    for kind in ("events", "session"):
        assert rows_of(tinybird, f"{kind}_v1") == rows_of(tinybird, f"{kind}_split")
    numbers = tinybird.sql("SELECT session_event_sequence AS n, count() AS events FROM events_v1 FINAL GROUP BY n")
    assert {int(row["n"]): int(row["events"]) for row in numbers} == {1: 3 * VISITORS, 2: 3 * VISITORS}


def test_the_policy_that_a_log_was_not_folded_by_is_told_apart_by_a_comparison(log: CampaignLog) -> None:
    code, _, errors = log.replay("--compare", "--name", "same")
    assert code == 0, errors
    code, lines, _ = log.replay("--compare", "--name", "other", **SPLIT)
    assert code == 3
    assert lines[-1]["differences"] >= VISITORS
