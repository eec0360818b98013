"""Output records as the processor sends them, and chunks of them, for tests of the sink."""

from collections.abc import Sequence

from aiokafka import ConsumerRecord, TopicPartition

from topics.headers import FLUSH, RETRY_OF, SourcePosition, write_position
from tracker.sink.lease import SinkLease
from tracker.sink.positions import SeenPositions
from tracker.streaming.chunk import Chunk

TOPIC = "tracker.events.sequenced"


def output(
    offset: int,
    position: SourcePosition | None,
    value: bytes | None,
    *,
    partition: int = 0,
    is_flush: bool = False,
    is_retry: bool = False,
) -> ConsumerRecord:
    """One record of an output topic; without a position it is none of ours."""
    headers: list[tuple[str, bytes]] = []
    if position is not None:
        headers = write_position(partition, *position)
    if is_flush:
        headers.append((FLUSH, b"1"))
    if is_retry:
        headers.append((RETRY_OF, b"0:0"))
    return ConsumerRecord(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp=1_760_000_000_000 + offset,
        timestamp_type=0,
        key=b"session",
        value=value,
        checksum=None,
        serialized_key_size=7,
        serialized_value_size=len(value or b""),
        headers=tuple(headers),
    )


def rows(count: int, *, first_offset: int = 0, partition: int = 0) -> list[ConsumerRecord]:
    """Consecutive rows, each with a position of its own."""
    return [
        output(offset, SourcePosition(offset, 0), b'{"row":"%d-%d"}' % (partition, offset), partition=partition)
        for offset in range(first_offset, first_offset + count)
    ]


def lease(partition: int = 0, *, next_offset: int = 0, metadata: str = "") -> SinkLease:
    return SinkLease(TopicPartition(TOPIC, partition), 1, next_offset, SeenPositions(metadata))


def chunk(of: SinkLease, records: Sequence[ConsumerRecord]) -> Chunk:
    """The next chunk of a lease, as the transport cuts it."""
    begin, of.next_offset = of.next_offset, records[-1].offset + 1
    return Chunk(of, records, begin, of.next_offset)
