"""What a replay does when the log gives it less than it is to read: it says so, and goes on from nothing else."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from tests.integration.replay.replay_stack import ProcessedLog, kill_under_way
from tests.source_log import end_offsets
from topics.catalog import SOURCE
from tracker.errors import RetryableError
from tracker.kafka import admin, log_reader
from tracker.kafka.clients import new_reader
from tracker.kafka.log_reader import LogRange, read_range
from tracker.local.kafka import LocalKafka

EVENTS = 2_000


@pytest.fixture
def log(kafka_broker: LocalKafka, tmp_path: Path) -> ProcessedLog:
    """A log that nobody has processed yet."""
    log = ProcessedLog(kafka_broker, tmp_path)
    asyncio.run(log.write(EVENTS))
    return log


async def delete_all_records(log: ProcessedLog) -> None:
    """What retention does, at once."""
    ends = await end_offsets(log.settings, SOURCE)
    async with admin.connect(log.settings) as client:
        await client.delete_records({tp: RecordsToDelete(end) for tp, end in ends.items()})


def test_a_replay_is_not_resumed_over_what_retention_has_deleted_meanwhile(log: ProcessedLog) -> None:
    process = log.start_replay("--name", "late", "--max-rate", "400")
    kill_under_way(process)
    asyncio.run(delete_all_records(log))
    code, _, errors = log.replay("--name", "late")
    assert code == 1
    assert "retention has deleted what this replay was still to read" in errors
    assert "Traceback" not in errors


async def test_a_log_that_gives_nothing_any_more_is_an_error_that_passes(
    log: ProcessedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "STALLED_AFTER_SECONDS", 1.0)
    tp = TopicPartition(SOURCE.name(log.settings.topic_prefix), 0)
    async with new_reader(log.settings, "test") as reader:
        end = (await reader.end_offsets([tp]))[tp]
        found = []

        async def read() -> None:
            async for run in read_range(reader, tp, LogRange(0, end + 1)):
                found.extend(record.offset for record in run.records)

        with pytest.raises(RetryableError, match=f"nothing after offset {end} for 1 s"):
            await read()
        assert found == list(range(end))
