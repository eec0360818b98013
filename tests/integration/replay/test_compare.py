"""A replay's outputs held against a live partition: every way in which live can be wrong is found, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from topics.catalog import SEQUENCED
from topics.headers import SOURCE_TIME_MS, SourcePosition, write_position
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_producer, new_reader
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.replay.compare import Comparison
from tracker.replay.live_outputs import LiveOutputs
from tracker.sessions.outputs import Output
from tracker.settings import Settings

SOURCE_RECORDS = 30
OUTPUTS_A_RECORD = 2
OUTPUTS = SOURCE_RECORDS * OUTPUTS_A_RECORD
CHUNK_RECORDS = 10
#: The output that is wrong: the second of its source record, in the middle of the second chunk.
VICTIM = 31
VICTIM_POSITION = SourcePosition(15, 1)

Edit = Callable[[list[Output]], None]


def output(offset: int, nth: int, value: bytes | None = None) -> Output:
    content = b"%d:%d" % (offset, nth) if value is None else value
    return Output(b"key-%d" % offset, content, write_position(0, offset, nth))


def right_outputs() -> list[Output]:
    return [output(offset, nth) for offset in range(SOURCE_RECORDS) for nth in range(OUTPUTS_A_RECORD)]


def change_value(live: list[Output]) -> None:
    live[VICTIM] = live[VICTIM]._replace(value=b"another")


def change_key(live: list[Output]) -> None:
    live[VICTIM] = live[VICTIM]._replace(key=b"another")


def move(live: list[Output]) -> None:
    live[VICTIM] = output(VICTIM_POSITION.offset, 7, live[VICTIM].value)


def drop(live: list[Output]) -> None:
    del live[VICTIM]


def add(live: list[Output]) -> None:
    live.insert(VICTIM + 1, output(VICTIM_POSITION.offset, 7))


def add_at_the_end(live: list[Output]) -> None:
    live.append(output(SOURCE_RECORDS - 1, 7))


def repeat_some(live: list[Output]) -> None:
    live[VICTIM:VICTIM] = live[VICTIM - 7 : VICTIM]


def repeat_some_with_other_bytes(live: list[Output]) -> None:
    """Nobody takes a repeat, whatever is in it."""
    live.insert(VICTIM + 3, live[VICTIM]._replace(value=b"another"))


def be_right_only_when_repeated(live: list[Output]) -> None:
    right = live[VICTIM]
    change_value(live)
    live.insert(VICTIM + 1, right)


def begin_a_chunk(live: list[Output]) -> None:
    """What follows the position says how the live processor cut its chunks, and that may differ."""
    live[VICTIM].headers.append((SOURCE_TIME_MS, b"1764000000000"))


def lose_the_oldest(live: list[Output]) -> None:
    del live[: VICTIM + 1]


def leave(live: list[Output]) -> None:
    assert len(live) == OUTPUTS


async def compared(broker: LocalKafka, live: list[Output], data_dir: Path) -> Comparison:
    """Write live outputs, and hold the right ones against them chunk by chunk."""
    prefix = f"compare-{free_port()}."
    settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=prefix, partitions=1, data_dir=data_dir)
    await create_topics(settings, [SEQUENCED])
    topic = SEQUENCED.name(prefix)
    async with new_producer(settings, "test") as producer:
        await send_batches(producer, topic, 0, live)
    comparison = Comparison(topic=topic, partition=0)
    right = right_outputs()
    async with new_reader(settings, "test") as reader:
        outputs = LiveOutputs(reader, TopicPartition(topic, 0))
        await outputs.start()
        for begin in range(0, SOURCE_RECORDS, CHUNK_RECORDS):
            end = begin + CHUNK_RECORDS
            chunk = right[begin * OUTPUTS_A_RECORD : end * OUTPUTS_A_RECORD]
            await outputs.hold(comparison, chunk, begin, end)
    return comparison


@pytest.mark.parametrize(
    ("edit", "identical", "kinds"),
    [
        (leave, OUTPUTS, []),
        (begin_a_chunk, OUTPUTS, []),
        (repeat_some, OUTPUTS, []),
        (repeat_some_with_other_bytes, OUTPUTS, []),
        (change_value, OUTPUTS - 1, ["differs"]),
        (change_key, OUTPUTS - 1, ["differs"]),
        (be_right_only_when_repeated, OUTPUTS - 1, ["differs"]),
        (drop, OUTPUTS - 1, ["missing"]),
        (move, OUTPUTS - 1, ["missing", "extra"]),
        (add, OUTPUTS, ["extra"]),
        (add_at_the_end, OUTPUTS, ["extra"]),
        (lose_the_oldest, OUTPUTS - VICTIM - 1, []),
    ],
)
async def test_what_is_wrong_with_live_is_found_and_nothing_else(
    kafka_broker: LocalKafka, tmp_path: Path, edit: Edit, identical: int, kinds: list[str]
) -> None:
    live = right_outputs()
    edit(live)
    comparison = await compared(kafka_broker, live, tmp_path)
    assert (comparison.identical, comparison.differences) == (identical, len(kinds))
    assert comparison.before_retention == (OUTPUTS - identical if edit is lose_the_oldest else 0)
    if kinds:
        assert comparison.first is not None
        assert comparison.first.kind == kinds[0]
        wrong_offset = SOURCE_RECORDS - 1 if edit is add_at_the_end else VICTIM_POSITION.offset
        assert comparison.first.source_offset == wrong_offset
