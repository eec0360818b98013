"""What is taken of fetched records at a time."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from tracker.streaming.fetching import first_records

ALL = [TopicPartition("events", number) for number in range(3)]


class Fetcher:
    """aiokafka's fetcher, as far as it hands out what it has: at most ``max_records`` of all partitions together."""

    def __init__(self, *counts: int) -> None:
        self._records = {tp: list(range(count)) for tp, count in zip(ALL, counts, strict=True)}

    async def fetched_records(
        self,
        partitions: Sequence[TopicPartition],
        timeout: float = 0,  # noqa: ASYNC109 - aiokafka's
        max_records: int | None = None,
    ) -> dict[TopicPartition, list[int]]:
        assert max_records is not None
        drained = {}
        for tp in [tp for tp in self._records if tp in partitions]:
            records = self._records[tp]
            if records and max_records:
                drained[tp], self._records[tp] = records[:max_records], records[max_records:]
                max_records -= len(drained[tp])
        if not drained:
            await asyncio.sleep(timeout)
        return drained


async def taken(fetcher: Fetcher, max_records: int = 10) -> dict[int, int]:
    consumer: Any = SimpleNamespace(_fetcher=fetcher)
    records = await first_records(consumer, ALL, 0.01, asyncio.Event(), max_records)
    return {tp.partition: len(found) for tp, found in records.items()}


async def test_a_partition_gives_all_that_it_has_in_one_piece():
    """Of the third partition nothing is taken yet: there is enough at hand."""
    fetcher = Fetcher(7, 8, 9)
    assert await taken(fetcher) == {0: 7, 1: 8}
    assert await taken(fetcher) == {2: 9}


async def test_no_partition_gives_more_than_may_be_taken_at_a_time():
    fetcher = Fetcher(0, 25, 3)
    assert [await taken(fetcher) for _ in range(3)] == [{1: 10}, {1: 10}, {1: 5, 2: 3}]


async def test_where_nothing_has_been_fetched_nothing_is_taken_until_the_time_is_over():
    assert await taken(Fetcher(0, 0, 0)) == {}
