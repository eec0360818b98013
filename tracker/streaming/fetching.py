"""Takes fetched records from aiokafka, of exactly the wanted partitions and offsets. In the consumer's thread."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from tracker.kafka import aiokafka_internals as internals

#: Of each partition, records in order, and the offset after them.
Fetched = dict[TopicPartition, tuple[Sequence[ConsumerRecord], int]]


def put_at(
    consumer: AIOKafkaConsumer, assignment: Any, wanted: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Have exactly these offsets fetched next, and nothing of other partitions; return those that are assigned."""
    for tp in assignment.tps:
        if tp not in wanted:
            consumer.pause(tp)
    at = {tp: offset for tp, offset in wanted.items() if tp in assignment.tps}
    for tp, offset in at.items():
        state = assignment.state_value(tp)
        if not state.has_valid_position or state.position != offset:
            consumer.seek(tp, offset)
        consumer.resume(tp)
    return at


def moved(assignment: Any, at: Mapping[TopicPartition, int], records: Mapping[TopicPartition, Any]) -> Fetched:
    """Return the partitions that have moved, be it only past offsets without a record: the ends of transactions."""
    states = {tp: assignment.state_value(tp) for tp in at}
    positions = {tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position}
    return {tp: (records.get(tp, ()), position) for tp, position in positions.items() if position > at[tp]}


async def first_records(
    consumer: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    timeout_seconds: float,
    over: asyncio.Event,
    max_records: int,
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """Return fetched records of some partitions as soon as there are any; none once the wait is over."""
    if records := await _at_hand(consumer, partitions, max_records):
        return records
    waiting = asyncio.ensure_future(internals.take_fetched(consumer, partitions, timeout_seconds, max_records))
    ending = asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait((waiting, ending), return_when=asyncio.FIRST_COMPLETED)
        # It takes records and returns them in one step, so that none are lost where it is cancelled while it waits.
        return await waiting if waiting.done() else {}
    finally:
        waiting.cancel()
        ending.cancel()


async def _at_hand(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], max_records: int
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """Return fetched records, of each partition at most ``max_records``, until there are that many in all.

    Asked for all partitions at once, aiokafka would cut off what it has of the last one, which then takes two chunks.
    """
    taken: dict[TopicPartition, list[ConsumerRecord]] = {}
    for partition in partitions:
        taken.update(await internals.take_fetched(consumer, [partition], 0, max_records))
        if sum(map(len, taken.values())) >= max_records:
            break
    return taken
