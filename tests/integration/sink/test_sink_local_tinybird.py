"""The client and a pipeline in front of a real ClickHouse: rows are queryable, once, when the commit comes."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest
from aiokafka import ConsumerRecord
from pydantic import SecretStr

from tests.fixtures.tinybird import LocalTinybird
from tests.unit.sink.sink_records import chunk, lease, output
from topics.headers import SourcePosition
from tracker import clock
from tracker.errors import ConfigurationError
from tracker.settings import Settings
from tracker.sink.batches import Covered, Limits
from tracker.sink.pipeline import Bounds, Pipeline
from tracker.tinybird_clients import tinybird_client

EVENTS = 500
BOUNDS = Bounds(max_batches_in_flight=4, max_held_bytes=100_000_000)
TEXT_COLUMNS = (
    "event_value",
    "event_value_type",
    "user_id",
    "campaign_id",
    "attribution_id",
    "workspace_id",
    "project_id",
    "landing_page_id",
    "environment",
    "campaign_environment",
    "page_url",
)


def event_rows(session_id: str) -> list[bytes]:
    return [orjson.dumps({**dict.fromkeys(TEXT_COLUMNS, ""), **numbered(session_id, n)}) for n in range(1, EVENTS + 1)]


def numbered(session_id: str, sequence: int) -> dict[str, object]:
    return {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "id": f"{session_id}-{sequence}",
        "event_id": f"e{sequence}",
        "event_type": "click",
        "session_id": session_id,
        "session_event_sequence": sequence,
    }


def settings(tinybird: LocalTinybird) -> Settings:
    return Settings(tinybird_url=tinybird.url, tinybird_token=SecretStr(tinybird.token))


async def test_committed_rows_can_be_queried_and_repeats_collapse(local_tinybird: LocalTinybird):
    session_id = clock.new_id()
    values = event_rows(session_id)
    records = [output(n, SourcePosition(n, 0), value) for n, value in enumerate(values)]
    query = f"SELECT session_event_sequence AS n FROM events_v1 FINAL WHERE session_id = '{session_id}' ORDER BY n"
    found_at_commit: list[tuple[int, list[int]]] = []

    async def commit(covers: Sequence[Covered]) -> None:
        found = await asyncio.to_thread(local_tinybird.sql, query)
        found_at_commit.append((covers[-1].next_offset, [row["n"] for row in found]))

    async def reject(record: ConsumerRecord, reason: str, detail: str) -> None:
        pytest.fail(f"offset {record.offset} was turned away: {reason} {detail}")

    async with tinybird_client(settings(local_tinybird)) as client:
        limits = Limits(max_rows=200, max_bytes=1_000_000, window_ms=20)
        pipeline = Pipeline("events_v1", limits, BOUNDS, client, reject=reject, commit=commit)
        running = asyncio.create_task(pipeline.run())
        for _ in range(2):  # the second lease has no memory: everything is sent again
            await pipeline.take(chunk(lease(), records))
            await pipeline.flush()
        running.cancel()
    assert found_at_commit[-1] == (EVENTS, list(range(1, EVENTS + 1)))
    for committed, found in found_at_commit:  # of what is under way behind them, some may be there already
        assert found[:committed] == list(range(1, committed + 1))


async def test_a_row_that_does_not_fit_is_reported_as_quarantined(local_tinybird: LocalTinybird):
    good, other = event_rows(clock.new_id())[:2]
    async with tinybird_client(settings(local_tinybird)) as client:
        unfit = other.replace(b'"session_event_sequence":2', b'"session_event_sequence":"two"')
        result = await client.send_rows("events_v1", [good, unfit])
    assert (result.written_rows, result.quarantined_rows) == (1, 1)


async def test_a_wrong_token_and_an_unknown_datasource_say_what_to_fix(local_tinybird: LocalTinybird):
    wrong = settings(local_tinybird).model_copy(update={"tinybird_token": SecretStr("not-the-token")})
    async with tinybird_client(wrong) as client:
        with pytest.raises(ConfigurationError, match="TRACKER_TINYBIRD_TOKEN"):
            await client.send_rows("events_v1", [b"{}"])
    async with tinybird_client(settings(local_tinybird)) as client:
        with pytest.raises(ConfigurationError, match="datasource"):
            await client.send_rows("no_such_datasource", [b"{}"])
