"""Whole record batches on a real broker: what follows a batch that is refused is not written either."""

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tracker.kafka.clients import new_producer, new_reader
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

TOPIC_MAX_BYTES = 20_000
BATCH_MAX_BYTES = 60_000


async def test_nothing_is_written_after_a_batch_that_the_broker_refuses(kafka_broker: LocalKafka):
    settings = Settings(kafka_bootstrap=kafka_broker.bootstrap)
    topic = f"batches-{free_port()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": str(TOPIC_MAX_BYTES)})])
    await admin.close()
    # The first batch is larger than the topic takes, the second would fit; the producer is new to the broker.
    records = [(b"key", b"x" * 10_000, [])] * 6
    async with new_producer(settings, "test", max_batch_size=BATCH_MAX_BYTES) as producer:
        with pytest.raises(KafkaError, match="MessageSizeTooLarge"):
            await send_batches(producer, topic, 0, records)
    tp = TopicPartition(topic, 0)
    async with new_reader(settings, "test") as reader:
        assert await reader.end_offsets([tp]) == {tp: 0}
