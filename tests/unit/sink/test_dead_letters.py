"""A row that can't be taken becomes a letter that Kafka has before its offset may be committed."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from tests.simulation.broker import PREFIX
from tests.unit.process.one_partition import FLOODS, NO_LETTER_LIMIT, OnePartition, partition_test
from tests.unit.sink.sink_records import TOPIC, rows
from topics.catalog import DEAD_LETTERS
from topics.dead_letter import DeadLetter
from tracker import clock
from tracker.dead_letters.floods import FloodLimit, Floods, TooManyDeadLetters
from tracker.sink.dead_letters import DeadLetters

LETTERS_TOPIC = DEAD_LETTERS.name(PREFIX)
NOW_MS = 1_767_225_600_000


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)


def letters_of(partition: OnePartition, limit: FloodLimit = NO_LETTER_LIMIT) -> DeadLetters:
    return DeadLetters(partition.producer, LETTERS_TOPIC, Floods(limit, FLOODS))


@partition_test()
async def test_the_letter_has_the_row_whole_its_place_and_the_reason(partition):
    record = rows(1, first_offset=8, partition=1)[0]
    await letters_of(partition).send(record, "refused", "too blue")
    (written,) = partition.written(LETTERS_TOPIC)
    letter = DeadLetter.model_validate_json(written.value)
    assert written.key == record.key
    assert (letter.stage, letter.source_topic, letter.source_partition, letter.source_offset) == ("sink", TOPIC, 1, 8)
    assert (letter.reason, letter.detail, letter.value, letter.key) == ("refused", "too blue", record.value, record.key)
    assert letter.first_failed_at_ms == letter.last_failed_at_ms == NOW_MS


@partition_test()
async def test_it_is_sent_before_it_counts_as_sent(partition):
    sending = asyncio.ensure_future(letters_of(partition).send(rows(1, partition=1)[0], "refused", ""))
    await asyncio.sleep(0)
    assert not sending.done()
    await sending
    assert len(partition.written(LETTERS_TOPIC)) == 1


@partition_test()
async def test_a_letter_that_is_not_acked_is_an_error(partition):
    partition.producer.faults[LETTERS_TOPIC] = ["refused"]
    with pytest.raises(KafkaTimeoutError):
        await letters_of(partition).send(rows(1, partition=1)[0], "refused", "")
    assert partition.producer.struck["refused"] == 1


@partition_test()
async def test_too_many_letters_stop_the_sink_before_they_are_sent(partition):
    strict = letters_of(partition, FloodLimit(window_records=10, min_letters=1, max_percent=1, stops=True))
    with pytest.raises(TooManyDeadLetters):
        await strict.send(rows(1, partition=1)[0], "refused", "")
    assert partition.producer.sent_to == []
