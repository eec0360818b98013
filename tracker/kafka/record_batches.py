"""Producing whole record batches: one call a batch instead of one a record."""

import asyncio
from collections.abc import Iterable
from itertools import repeat

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from topics.headers import Headers
from tracker.kafka.clients import RETRY_SECONDS

log = structlog.get_logger()

#: Key, value and headers of a record that is to be written (Kafka's own name for it).
ProducerRecord = tuple[bytes | None, bytes | None, Headers]


async def send_batches(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Iterable[ProducerRecord],
    timestamps_ms: Iterable[int | None] = repeat(None),
) -> list[tuple[int, int]]:
    """Send records to one partition in order and wait until all are acked. About 1 us a record.

    A batch goes only once the one before it is acked, as on the wire: after a batch that is refused nothing is written.
    The broker would accept later batches, from a producer that is new to it, and readers would miss the refused one.

    Returns:
        The base offset and the number of records of each batch.

    Raises:
        KafkaError: a batch was not acked; it may or may not have been written.
    """
    written: list[tuple[int, int]] = []
    batch, count = producer.create_batch(), 0
    for (key, value, headers), timestamp_ms in zip(records, timestamps_ms, strict=False):
        if batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers) is None:
            written.append((await _send(producer, batch, topic, partition), count))
            batch, count = producer.create_batch(), 0
            batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers)
        count += 1
    if count:
        written.append((await _send(producer, batch, topic, partition), count))
    return written


async def _send(producer: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int) -> int:
    """Hand a batch to the producer, however long the broker is away; return its offset once it is acked."""
    batch.close()  # a single record that is sent to the same partition must not slip in
    while True:
        try:
            ack: asyncio.Future[RecordMetadata] = await producer.send_batch(batch, topic, partition=partition)
        except (KafkaTimeoutError, UnknownTopicOrPartitionError) as error:
            # Raised before the producer has taken the batch, so taking it again doubles nothing.
            log.warning("the broker takes nothing; waiting", topic=topic, partition=partition, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return int((await ack).offset)
