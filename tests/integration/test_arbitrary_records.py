"""Whatever records lie in the source topic: the worker lives, what is good is numbered, all else is a letter.

The short form runs with the other tests. The long one: ``make arbitrary RECORDS=100000``.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer
from confluent_kafka import TopicPartition as ConfluentPartition

from tests.arbitrary_records import Arbitrary
from tests.faults.verdict import OUTPUT_TOPICS, Outputs, compare
from tests.faults.verdict import Reference as LogReference
from tests.patience import PATIENCE_SECONDS
from tests.processors import Processor
from tests.raw_batches import produce_raw
from tests.source_log import event_value, read_all
from tests.stages import wait_until
from topics.catalog import DEAD_LETTERS, SEQUENCED, SOURCE
from topics.dead_letter import DeadLetter
from tracker.kafka.clients import new_reader
from tracker.local.kafka import LocalKafka

RECORDS = int(os.environ.get("ARBITRARY_RECORDS", "3000"))
SEED = int(os.environ.get("ARBITRARY_SEED", "20261128"))
TRANSACTIONS = 12
EVENTS_A_TRANSACTION = 5
WORK_SECONDS = PATIENCE_SECONDS + RECORDS / 100


@pytest.fixture
def processor(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Processor]:
    processor = Processor(kafka_broker.bootstrap, tmp_path, TRACKER_GROUP_COMMIT_INTERVAL_MS="200")
    yield processor
    processor.stage.end()


def source(processor: Processor) -> str:
    return SOURCE.name(processor.settings.topic_prefix)


def send_transactions(processor: Processor, committed: list[str]) -> None:
    """Committed and aborted transactions, between the other batches."""
    producer = Producer(
        {
            "bootstrap.servers": processor.settings.kafka_bootstrap,
            "transactional.id": f"{processor.settings.topic_prefix}arbitrary",
            "partitioner": "murmur2_random",
        }
    )
    producer.init_transactions()
    for number in range(TRANSACTIONS):
        producer.begin_transaction()
        for event in range(EVENTS_A_TRANSACTION):
            event_id = f"transaction-{number}-{event}"
            producer.produce(source(processor), event_value("transactions", event_id), key=b"transactions")
            if number % 3:
                committed.append(event_id)
        assert producer.flush(PATIENCE_SECONDS) == 0
        (producer.commit_transaction if number % 3 else producer.abort_transaction)()


async def send_arbitrary(processor: Processor, refused: Counter[str]) -> None:
    def note(error: Exception) -> None:
        refused[type(error).__name__] += 1

    made = Arbitrary(SEED, processor.settings.partitions).batches(RECORDS)
    await produce_raw(processor.settings, source(processor), ((batch.partition, batch.raw) for batch in made), note)


def is_done(processor: Processor) -> bool:
    """Whether the worker has folded the whole log: nothing is left to commit."""

    async def look() -> bool:
        name = processor.settings.topic_prefix + "process"
        async with new_reader(processor.settings, "test", group_id=name) as group:
            tps = [TopicPartition(source(processor), number) for number in range(processor.settings.partitions)]
            ends = await group.end_offsets(tps)
            return all([(await group.committed(tp) or 0) == ends[tp] for tp in tps])

    processor.stage.assert_running()
    return asyncio.run(look())


def offsets_by_another_client(processor: Processor) -> dict[int, list[int]]:
    """The offsets of all records that are not aborted, as librdkafka sees them."""
    consumer = Consumer(
        {
            "bootstrap.servers": processor.settings.kafka_bootstrap,
            "group.id": f"{processor.settings.topic_prefix}another",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: dict[int, list[int]] = {number: [] for number in range(processor.settings.partitions)}
    consumer.assign([ConfluentPartition(source(processor), number, OFFSET_BEGINNING) for number in found])
    ended: set[int] = set()
    while len(ended) < len(found):
        for message in consumer.consume(1_000, timeout=5):
            if message.error() is None:
                found[message.partition()].append(message.offset())
            else:
                ended.add(message.partition())
    consumer.close()
    return found


def by_partition(records: list[ConsumerRecord]) -> dict[int, list[ConsumerRecord]]:
    found: dict[int, list[ConsumerRecord]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return found


def test_whatever_the_records_are_the_worker_lives_and_each_is_a_row_or_a_letter(processor: Processor) -> None:
    committed: list[str] = []
    refused: Counter[str] = Counter()
    with ThreadPoolExecutor(1) as pool:
        transactions = pool.submit(send_transactions, processor, committed)
        asyncio.run(send_arbitrary(processor, refused))
    transactions.result()
    wait_until(partial(is_done, processor), "the whole log", WORK_SECONDS)

    records = by_partition(asyncio.run(read_all(processor.settings, SOURCE)))
    others = offsets_by_another_client(processor)
    sent = asyncio.run(read_all(processor.settings, DEAD_LETTERS))
    letters = Counter(DeadLetter.model_validate_json(record.value or b"").reason for record in sent)
    outputs = {number: {topic.suffix: Outputs() for topic in OUTPUT_TOPICS} for number in others}
    for topic in OUTPUT_TOPICS:
        for record in asyncio.run(read_all(processor.settings, topic)):
            outputs[record.partition][topic.suffix].add(record)
    for number, found in records.items():
        assert [record.offset for record in found] == others[number], "another client sees other records"
        reference = LogReference(
            source(processor), number, processor.settings.partitions, processor.settings.session_rules, has_holes=True
        )
        reference.add(found)
        assert compare(reference, outputs[number]) == []
    rows = [orjson.loads(r.value) for r in asyncio.run(read_all(processor.settings, SEQUENCED)) if r.value]
    of_transactions = [row for row in rows if row["session_id"] == "transactions"]
    assert [row["event_id"] for row in of_transactions] == committed
    print(
        f"{sum(map(len, records.values()))} records, {len(rows)} numbered, letters {letters}, batches refused {refused}"
    )
    assert letters.keys() >= {"undecodable", "not_json", "missing_key", "oversized"}
    assert len(rows) > RECORDS / 3
    assert refused.total() < RECORDS / 100, "the broker refuses too much to prove anything"


def test_a_replay_of_whatever_records_gives_what_live_gave(processor: Processor) -> None:
    asyncio.run(send_arbitrary(processor, Counter()))
    wait_until(partial(is_done, processor), "the whole log", WORK_SECONDS)
    assert processor.stage.stop() == 0
    environment = {
        **os.environ,
        "TRACKER_KAFKA_BOOTSTRAP": processor.settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": processor.settings.topic_prefix,
        "TRACKER_PARTITIONS": str(processor.settings.partitions),
        "TRACKER_DATA_DIR": str(processor.stage.data_dir),
    }
    command = [sys.executable, "-m", "tracker", "replay", "--name", "same", "--compare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WORK_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
