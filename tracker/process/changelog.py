"""Reading a changelog partition into a store: recovery, standbys and holes all go this way."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SOURCE_OFFSET
from tracker.errors import InvariantError
from tracker.process.store import Row, SessionStore, row_of

log = structlog.get_logger()

READ_TIMEOUT_MS: Final = 500
READ_MAX_RECORDS: Final = 20_000


async def read_to_end(
    reader: AIOKafkaConsumer, topic: str, stores: Mapping[int, SessionStore]
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Bring stores up to the end that the changelog has now; yield each partition once it is there, and what changed.

    ``reader`` has no group. The end is fixed at the start: whoever writes later makes a hole, which the next
    checkpoint finds.
    """
    partitions = {TopicPartition(topic, number): number for number in stores}
    if not partitions:
        return
    reader.assign(list(partitions))
    begins = await reader.beginning_offsets(list(partitions))
    ends = await reader.end_offsets(list(partitions))
    changed: dict[int, list[bytes]] = {number: [] for number in stores}
    for tp, number in partitions.items():
        store = stores[number]
        if store.position > ends[tp]:
            log.warning("local state is ahead of the changelog; it is rebuilt", partition=number)
            store.clear()
        reader.seek(tp, max(store.position, begins[tp]))
    behind = set(partitions)
    while behind:
        for tp in list(behind):
            position = await reader.position(tp)
            if position >= ends[tp]:
                stores[partitions[tp]].merge([], position)
                behind.discard(tp)
                reader.pause(tp)
                yield partitions[tp], changed[partitions[tp]]
        if behind:
            found = await reader.getmany(*behind, timeout_ms=READ_TIMEOUT_MS, max_records=READ_MAX_RECORDS)
            for tp, records in found.items():
                number = partitions[tp]
                changed[number] += stores[number].merge(map(_row, records), await reader.position(tp))


def _row(record: ConsumerRecord) -> Row:
    if record.key is None:
        raise InvariantError(
            f"{record.topic}-{record.partition} offset {record.offset}: a changelog record needs a key"
        )
    return row_of(record.key, record.value, int(dict(record.headers).get(SOURCE_OFFSET, b"0")))
