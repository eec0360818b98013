"""Records as other people's clients write them: every codec, transactions, headers and batches that are odd."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Producer

from tests.patience import PATIENCE_MS, PATIENCE_SECONDS
from tests.processors import Processor
from tests.raw_batches import Raw, produce_raw, raw_batch
from tests.source_log import event_value
from tests.topic_changes import alter_topic
from topics.catalog import SOURCE
from tracker.kafka.clients import new_reader, partition_for_key
from tracker.local.kafka import LocalKafka

CODECS = ("gzip", "snappy", "lz4", "zstd")


@pytest.fixture
def start(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Callable[..., Processor]]:
    started: list[Processor] = []

    def start_one(**environment: str) -> Processor:
        started.append(Processor(kafka_broker.bootstrap, tmp_path, **environment))
        return started[-1]

    yield start_one
    for processor in started:
        processor.stage.end()


def source(processor: Processor) -> str:
    return SOURCE.name(processor.settings.topic_prefix)


def librdkafka(processor: Processor, **options: object) -> Producer:
    return Producer(
        {
            "bootstrap.servers": processor.settings.kafka_bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            **{name.replace("_", "."): value for name, value in options.items()},
        }
    )


def send(producer: Producer, topic: str, session: str, numbers: range, **options: object) -> None:
    for number in numbers:
        producer.produce(topic, event_value(session, f"{session}-{number}"), key=session.encode(), **options)
    assert producer.flush(PATIENCE_SECONDS) == 0


def numbers_of(processor: Processor, session: str) -> list[tuple[str, int]]:
    events = [event for event in processor.events() if event["session_id"] == session]
    return [(event["event_id"], event["session_event_sequence"]) for event in events]


def expected(session: str, count: int) -> list[tuple[str, int]]:
    return [(f"{session}-{number}", number + 1) for number in range(count)]


def lag(processor: Processor, partition: int) -> int:
    """What the group has not committed of the log's readable part: what ``/live`` and lag tools show."""

    async def measure() -> int:
        async with (
            new_reader(processor.settings, "test-lag") as reader,
            new_reader(processor.settings, "test-lag", group_id=processor.settings.topic_prefix + "process") as group,
        ):
            tp = TopicPartition(source(processor), partition)
            end = (await reader.end_offsets([tp]))[tp]
            return end - (await group.committed(tp) or 0)

    return asyncio.run(measure())


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_a_producer_packed_are_numbered(start, codec: str) -> None:
    processor = start()
    send(librdkafka(processor, compression_type=codec), source(processor), codec, range(200))
    processor.wait_until(lambda: len(processor.events()) == 200, "all events")
    assert numbers_of(processor, codec) == expected(codec, 200)


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_the_broker_packs_are_numbered(start, codec: str) -> None:
    processor = start()
    packing = {**SOURCE.config, "compression.type": codec}
    asyncio.run(alter_topic(processor.settings, source(processor), packing))
    send(librdkafka(processor), source(processor), "s", range(200))
    processor.wait_until(lambda: len(processor.events()) == 200, "all events")
    assert numbers_of(processor, "s") == expected("s", 200)


def test_what_a_transaction_aborts_is_never_numbered_and_its_end_is_no_lag(start) -> None:
    processor = start(TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    partition = partition_for_key(b"s", processor.settings.partitions)
    producer = librdkafka(processor, transactional_id=f"{processor.settings.topic_prefix}t")
    producer.init_transactions()
    for number in range(6):
        producer.begin_transaction()
        send(producer, source(processor), "s" if number % 2 == 0 else "aborted", range(number * 10, number * 10 + 10))
        (producer.abort_transaction if number % 2 else producer.commit_transaction)()
    processor.wait_until(lambda: len(processor.events()) == 30, "all committed events")
    processor.wait_until(lambda: lag(processor, partition) == 0, "no lag")
    ids = [f"s-{number}" for begin in (0, 20, 40) for number in range(begin, begin + 10)]
    assert numbers_of(processor, "s") == [(event_id, place + 1) for place, event_id in enumerate(ids)]
    assert numbers_of(processor, "aborted") == []
    assert processor.dead_letters() == []


def test_a_long_stretch_of_aborted_records_is_passed_though_none_of_them_is_given(start) -> None:
    processor = start(TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    partition = partition_for_key(b"aborted", processor.settings.partitions)
    processor.stage.kill()
    producer = librdkafka(processor, transactional_id=f"{processor.settings.topic_prefix}t", batch_size=900_000)
    producer.init_transactions()
    producer.begin_transaction()
    for number in range(40_000):
        producer.produce(source(processor), bytes(1_000), partition=partition)
        if number % 5_000 == 0:
            producer.flush(PATIENCE_SECONDS)
    producer.abort_transaction()
    processor.stage.start()
    processor.wait_until(lambda: lag(processor, partition) == 0, "no lag")
    assert processor.events() == processor.dead_letters() == []


def test_an_open_transaction_holds_its_partition_back_and_no_other(start) -> None:
    processor = start()
    key_of = {partition_for_key(b"%d" % n, processor.settings.partitions): str(n) for n in range(10)}
    held, free = key_of[0], key_of[1]
    name = f"{processor.settings.topic_prefix}t"
    producer = librdkafka(processor, transactional_id=name, transaction_timeout_ms=PATIENCE_MS)
    producer.init_transactions()
    producer.begin_transaction()
    send(producer, source(processor), held, range(3))
    send(librdkafka(processor), source(processor), free, range(3))
    send(librdkafka(processor), source(processor), held, range(3, 6))
    processor.wait_until(lambda: len(processor.events()) == 3, "the other partition's events")
    assert numbers_of(processor, free) == expected(free, 3)
    assert numbers_of(processor, held) == []
    # Nobody ends it: the coordinator aborts it for the next producer of its name, as it would after the time-out.
    librdkafka(processor, transactional_id=name).init_transactions()
    processor.wait_until(lambda: len(processor.events()) == 6, "what came after the transaction")
    assert numbers_of(processor, held) == [(f"{held}-{n}", n - 2) for n in range(3, 6)]


def test_a_batch_that_unpacks_to_more_than_the_topic_takes_is_numbered(start) -> None:
    processor = start()
    producer = librdkafka(
        processor, compression_type="zstd", batch_size=20_000_000, message_max_bytes=20_000_000, linger_ms=1_000,
        batch_num_messages=100_000,
    )  # fmt: skip
    send(producer, source(processor), "s", range(20_000))
    processor.wait_until(lambda: len(processor.events()) == 20_000, "all events")
    assert numbers_of(processor, "s") == expected("s", 20_000)


def test_a_bomb_becomes_a_letter_and_its_neighbours_are_numbered(start) -> None:
    processor = start()
    partition = partition_for_key(b"s", processor.settings.partitions)
    send(librdkafka(processor), source(processor), "s", range(2))
    bomb = bytes(400_000_000)
    producer = librdkafka(processor, compression_type="zstd", message_max_bytes=1_000_000_000)
    producer.produce(source(processor), bomb, key=b"s", partition=partition)
    assert producer.flush(PATIENCE_SECONDS) == 0
    send(librdkafka(processor), source(processor), "s", range(2, 4))
    processor.wait_until(lambda: len(processor.events()) == 4, "the good events")
    (letter,) = processor.wait_for_dead_letters(1)
    assert (letter["reason"], letter["source_offset"]) == ("undecodable", 2)
    assert "400000000" in letter["detail"] or "come out" in letter["detail"]


def test_a_header_name_that_is_not_utf8_becomes_a_letter(start) -> None:
    processor = start()
    partition = partition_for_key(b"s", processor.settings.partitions)
    records: list[Raw] = [(b"s", event_value("s", name), [("bad", b"1")]) for name in ("first", "second", "third")]

    def spoil(plain: bytes) -> bytes:
        at = plain.index(b"second")
        return plain[:at] + plain[at:].replace(b"bad", b"\xff\xfed", 1)

    batch = raw_batch(records, spoil=spoil)
    asyncio.run(produce_raw(processor.settings, source(processor), [(partition, batch)]))
    processor.wait_until(lambda: len(processor.events()) == 2, "the good events")
    assert numbers_of(processor, "s") == [("first", 1), ("third", 2)]
    (letter,) = processor.wait_for_dead_letters(1)
    assert (letter["reason"], letter["source_offset"]) == ("undecodable", 1)
    assert letter["detail"] == "the header name '\\\\xff\\\\xfed' is not UTF-8"
