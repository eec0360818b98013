"""Record batches made byte by byte, as no Kafka client would make them, and a producer that sends them as they are."""

from collections.abc import Callable, Iterable

import zstandard
from aiokafka import AIOKafkaProducer, TopicPartition, errors
from aiokafka import codec as aiokafka_codec
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from tests.patience import PATIENCE_MS
from tracker.kafka.clients import new_producer
from tracker.settings import Settings

HEADER_BYTES = 61
NOT_LEADER = errors.NotLeaderForPartitionError.errno

#: Key, value and headers.
Raw = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def zstd(plain: bytes) -> bytes:
    """As Java packs it: a frame that does not say its size."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(plain) + packer.flush()


#: By Kafka's number of the codec.
PACK: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: aiokafka_codec.gzip_encode,
    2: aiokafka_codec.snappy_encode,
    3: aiokafka_codec.lz4_encode,
    4: zstd,
}


def raw_batch(
    records: Iterable[Raw],
    *,
    codec: int = 0,
    base_offset: int = 0,
    first_ms: int = 1_000,
    step_ms: int = 1,
    spoil: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Return a batch; ``spoil`` may change the records' bytes before they are packed."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for number, (key, value, headers) in enumerate(records):
        at_ms = first_ms + number * step_ms
        assert builder.append(number, timestamp=at_ms, key=key, value=value, headers=headers)
    plain = bytes(builder.build())
    whole = bytearray(plain[:HEADER_BYTES] + PACK[codec](spoil(plain[HEADER_BYTES:])))
    whole[0:8] = base_offset.to_bytes(8, "big")
    whole[8:12] = (len(whole) - 12).to_bytes(4, "big")
    whole[21:23] = codec.to_bytes(2, "big")
    whole[17:21] = calc_crc32c(bytes(whole[21:])).to_bytes(4, "big")
    return bytes(whole)


async def produce_raw(
    settings: Settings,
    topic: str,
    batches: Iterable[tuple[int, bytes]],
    on_refusal: Callable[[errors.KafkaError], None] | None = None,
) -> None:
    """Send batches one after the other, each to its partition.

    Raises:
        KafkaError: the broker refuses one, and there is no ``on_refusal`` to tell.
    """
    async with new_producer(settings, "test-raw", enable_idempotence=False) as producer:
        await producer.partitions_for(topic)
        for partition, raw in batches:
            request = ProduceRequest(
                transactional_id=None,
                required_acks=-1,
                timeout=PATIENCE_MS,
                topics=[(topic, [(partition, raw)])],
            )
            while (code := await _send(producer, topic, partition, request)) == NOT_LEADER:  # a new topic
                await producer.client.force_metadata_update()
            if code and on_refusal is None:
                raise errors.for_code(code)
            if code and on_refusal is not None:
                on_refusal(errors.for_code(code)())


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, request: ProduceRequest) -> int:
    leader = producer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
    answer = await producer.client.send(leader, request)
    ((_, ((_, code, *_),)),) = answer.topics
    return code
