"""Reading a changelog partition into a store: recovery, standbys and holes all go this way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SOURCE_OFFSET
from tracker.errors import InvariantError
from tracker.table.store import Row, SessionStore, row_of

log = structlog.get_logger()

READ_TIMEOUT_MS: Final = 500
READ_MAX_RECORDS: Final = 20_000
#: A standby shares its process with partitions that are folded: less at once.
FOLLOW_MAX_RECORDS: Final = 2_000

#: Is told, for a partition, which keys a stretch of the changelog changed.
OnMerged = Callable[[int, list[bytes]], None]


async def read_to_end(
    reader: AIOKafkaConsumer,
    topic: str,
    stores: Mapping[int, SessionStore],
    *,
    is_wanted: Callable[[], bool] = lambda: True,
    on_merged: OnMerged = lambda _partition, _keys: None,
) -> AsyncIterator[tuple[int, int]]:
    """Bring stores up to the end that the changelog has now; yield each partition once it is there, and the rows read.

    ``reader`` has no group. The end is fixed at the start: a later write makes a hole, which the next checkpoint finds.
    Stops silently, touching no store, once ``is_wanted`` returns False.
    """
    behind = {TopicPartition(topic, number): store for number, store in stores.items()}
    if not behind:
        return
    ends = await _seek_to_positions(reader, behind, is_wanted)
    rows_read = dict.fromkeys(behind, 0)
    positions = {tp: store.position for tp, store in behind.items()}
    while is_wanted():
        for tp in [tp for tp in behind if positions[tp] >= ends[tp]]:
            behind.pop(tp)
            reader.pause(tp)
            yield tp.partition, rows_read[tp]
        if not behind:
            return
        found = await reader.getmany(*behind, timeout_ms=READ_TIMEOUT_MS, max_records=READ_MAX_RECORDS)
        # Not the last record's offset: compaction leaves holes, also at the end of a batch.
        positions = {tp: await reader.position(tp) for tp in behind}
        if is_wanted():
            for tp, store in behind.items():
                rows = list(map(_row, found.get(tp, ())))
                rows_read[tp] += len(rows)
                on_merged(tp.partition, store.merge(rows, positions[tp]))


async def follow(
    reader: AIOKafkaConsumer,
    topic: str,
    stores: Mapping[int, SessionStore],
    on_lag: Callable[[int, int], None],
) -> NoReturn:
    """Keep stores at the changelog's end until cancelled: standbys. ``on_lag`` is told each partition's rows behind."""
    following = {TopicPartition(topic, number): store for number, store in stores.items()}
    ends = await _seek_to_positions(reader, following)
    for tp, store in following.items():
        on_lag(tp.partition, ends[tp] - store.position)
    while True:
        found = await reader.getmany(*following, timeout_ms=READ_TIMEOUT_MS, max_records=FOLLOW_MAX_RECORDS)
        positions = {tp: await reader.position(tp) for tp in found}
        for tp, records in found.items():
            following[tp].merge(map(_row, records), positions[tp])
        for tp, store in following.items():
            # Before its first records come, a partition has no high watermark; that must not look like no lag.
            on_lag(tp.partition, max(0, (reader.highwater(tp) or ends[tp]) - store.position))
        await asyncio.sleep(0)


async def _seek_to_positions(
    reader: AIOKafkaConsumer,
    stores: Mapping[TopicPartition, SessionStore],
    is_wanted: Callable[[], bool] = lambda: True,
) -> dict[TopicPartition, int]:
    """Put the reader where each store ends, and return where each log ends. Touches no store that is not wanted."""
    reader.assign(list(stores))
    # Read before the request for the ends: a new owner of the store may have moved its position by the response.
    positions = {tp: store.position for tp, store in stores.items()}
    begins = await reader.beginning_offsets(list(stores))
    ends: dict[TopicPartition, int] = await reader.end_offsets(list(stores))
    if not is_wanted():
        return ends
    for tp, store in stores.items():
        if positions[tp] > ends[tp]:
            log.warning("local state is ahead of the changelog; it is rebuilt", partition=tp.partition)
            store.clear()
        reader.seek(tp, max(store.position, begins[tp]))
    return ends


def _row(record: ConsumerRecord) -> Row:
    if record.key is None:
        raise InvariantError(
            f"{record.topic}-{record.partition} offset {record.offset}: a changelog record needs a key"
        )
    headers = record.headers  # of removals only
    return row_of(record.key, record.value, int(dict(headers).get(SOURCE_OFFSET, b"0")) if headers else 0)
