"""Reading a changelog partition into a store: recovery, standbys and holes all go this way."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SOURCE_OFFSET
from tracker.errors import InvariantError
from tracker.table.store import Row, SessionStore, row_of

log = structlog.get_logger()

READ_TIMEOUT_MS: Final = 500
READ_MAX_RECORDS: Final = 20_000


async def read_to_end(
    reader: AIOKafkaConsumer,
    topic: str,
    stores: Mapping[int, SessionStore],
    *,
    is_wanted: Callable[[], bool] = lambda: True,
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Bring stores up to the end that the changelog has now; yield each partition once it is there, and what changed.

    ``reader`` has no group. The end is fixed at the start: whoever writes later makes a hole, which the next
    checkpoint finds. Stops without a word, touching no store, once ``is_wanted`` says no.
    """
    behind = {TopicPartition(topic, number): store for number, store in stores.items()}
    if not behind:
        return
    ends = await _seek_to_positions(reader, behind)
    changed: dict[TopicPartition, list[bytes]] = {tp: [] for tp in behind}
    positions = {tp: store.position for tp, store in behind.items()}
    while is_wanted():
        for tp in [tp for tp in behind if positions[tp] >= ends[tp]]:
            behind.pop(tp)
            reader.pause(tp)
            yield tp.partition, changed[tp]
        if not behind:
            return
        found = await reader.getmany(*behind, timeout_ms=READ_TIMEOUT_MS, max_records=READ_MAX_RECORDS)
        # Not the last record's offset: compaction leaves holes, also at the end of a batch.
        positions = {tp: await reader.position(tp) for tp in behind}
        if is_wanted():
            for tp, store in behind.items():
                changed[tp] += store.merge(map(_row, found.get(tp, ())), positions[tp])


async def _seek_to_positions(
    reader: AIOKafkaConsumer, stores: Mapping[TopicPartition, SessionStore]
) -> dict[TopicPartition, int]:
    """Put the reader where each store ends, and return where each log ends."""
    reader.assign(list(stores))
    begins = await reader.beginning_offsets(list(stores))
    ends: dict[TopicPartition, int] = await reader.end_offsets(list(stores))
    for tp, store in stores.items():
        if store.position > ends[tp]:
            log.warning("local state is ahead of the changelog; it is rebuilt", partition=tp.partition)
            store.clear()
        reader.seek(tp, max(store.position, begins[tp]))
    return ends


def _row(record: ConsumerRecord) -> Row:
    if record.key is None:
        raise InvariantError(
            f"{record.topic}-{record.partition} offset {record.offset}: a changelog record needs a key"
        )
    return row_of(record.key, record.value, int(dict(record.headers).get(SOURCE_OFFSET, b"0")))
