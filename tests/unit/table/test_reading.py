"""Reading a changelog partition into a store: to its end, or for ever."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from tests.simulation.broker import CHANGELOG_TOPIC, Broker
from tests.simulation.disk import Disk, MemoryDatabase
from tests.simulation.reader import Reader
from tests.virtual_time import new_environment, run_virtually, until
from topics.headers import SOURCE_OFFSET
from tracker.errors import InvariantError
from tracker.sessions.layouts import LAYOUT, OFFSET_BYTES
from tracker.table.changelog import FOLLOW_MAX_RECORDS, READ_MAX_RECORDS, READ_TIMEOUT_MS, follow, read_to_end
from tracker.table.store import SessionStore


def value(offset: int) -> bytes:
    return offset.to_bytes(OFFSET_BYTES, "big") + bytes([LAYOUT]) + b"state"


class World:
    """Two partitions of a changelog, and a store of each."""

    def __init__(self) -> None:
        self.env = new_environment()
        self.broker = Broker(2)
        self.disk = Disk()
        self.stores = {number: self.open(number) for number in (0, 1)}
        self.seeks: list[tuple[int, int]] = []

    def open(self, number: int) -> SessionStore:
        return SessionStore(Path(f"partition-{number}"), lambda path: MemoryDatabase(path, self.disk), now_ms=lambda: 0)

    def write(self, number: int, *rows: tuple[bytes, int, bytes | None]) -> None:
        self.broker.log(CHANGELOG_TOPIC, number).append(
            [(key, raw, ((SOURCE_OFFSET, b"%d" % offset),) if raw is None else ()) for key, offset, raw in rows], 0
        )

    def reader(self) -> Any:
        world = self

        class Noting(Reader):
            def seek(self, partition: TopicPartition, offset: int) -> None:
                world.seeks.append((partition.partition, offset))
                super().seek(partition, offset)

        return Noting(self.env, self.broker)

    def run(self, test: Any) -> None:
        run_virtually(self.env, lambda: test(self))


def world_test(test: Any) -> Any:
    def run() -> None:
        World().run(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def read(world: World, **options: Any) -> list[tuple[int, int]]:
    return [done async for done in read_to_end(world.reader(), CHANGELOG_TOPIC, world.stores, **options)]


def contents(world: World, number: int) -> dict[bytes, bytes]:
    return dict(world.stores[number].states())


@world_test
async def test_every_partition_is_brought_to_its_end_and_the_rows_that_were_read_are_counted(world):
    world.write(0, (b"a", 1, value(1)), (b"b", 2, value(2)))
    world.write(1, (b"c", 3, value(3)))
    assert sorted(await read(world)) == [(0, 2), (1, 1)]
    assert contents(world, 0) == {b"a": value(1), b"b": value(2)}
    assert contents(world, 1) == {b"c": value(3)}
    assert [world.stores[number].position for number in (0, 1)] == [2, 1]


@world_test
async def test_only_what_a_store_does_not_have_is_read(world):
    world.write(0, (b"a", 1, value(1)))
    await read(world)
    world.write(0, (b"b", 2, value(2)))
    world.seeks.clear()
    assert sorted(await read(world)) == [(0, 1), (1, 0)]
    assert (0, 1) in world.seeks


@world_test
async def test_what_retention_or_compaction_took_away_is_not_asked_for(world):
    log = world.broker.log(CHANGELOG_TOPIC, 0)
    world.write(0, *((b"a", n, value(n)) for n in range(5)))
    log.records, log._offsets = log.records[3:], log._offsets[3:]
    reader = world.reader()

    async def beginning_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: 3 if tp.partition == 0 else 0 for tp in partitions}

    reader.beginning_offsets = beginning_offsets
    found = [done async for done in read_to_end(reader, CHANGELOG_TOPIC, world.stores)]
    assert sorted(found) == [(0, 2), (1, 0)]
    assert (0, 3) in world.seeks


@world_test
async def test_a_log_whose_last_records_were_compacted_away_has_an_end_all_the_same(world):
    log = world.broker.log(CHANGELOG_TOPIC, 0)
    world.write(0, *((b"a", n, value(n)) for n in range(5)))
    log.records, log._offsets = log.records[:2], log._offsets[:2]
    assert sorted(await read(world)) == [(0, 2), (1, 0)]
    assert world.stores[0].position == 5


@world_test
async def test_no_store_is_no_question(world):
    world.stores = {}
    assert [done async for done in read_to_end(None, CHANGELOG_TOPIC, world.stores)] == []


@world_test
async def test_rows_are_counted_over_all_that_was_read_and_asked_for_in_bounded_amounts(world):
    world.write(0, *((b"a", n, value(n)) for n in range(300)))
    reader = Asked(world.reader())
    found = [done async for done in read_to_end(reader, CHANGELOG_TOPIC, world.stores)]
    assert sorted(found) == [(0, 300), (1, 0)]
    assert len(reader.questions) > 2
    for _, options in reader.questions:
        assert options == {"timeout_ms": READ_TIMEOUT_MS, "max_records": READ_MAX_RECORDS}


@world_test
async def test_a_partition_that_is_at_its_end_is_not_fetched_any_more(world):
    world.write(0, *((b"a", n, value(n)) for n in range(300)))
    reader = Asked(world.reader())
    async for number, _ in read_to_end(reader, CHANGELOG_TOPIC, world.stores):
        assert TopicPartition(CHANGELOG_TOPIC, number) in reader.reader._paused
    assert {partitions for partitions, _ in reader.questions} == {(TopicPartition(CHANGELOG_TOPIC, 0),)}


@world_test
async def test_the_end_is_that_of_the_beginning_whoever_writes_meanwhile(world):
    world.write(0, (b"a", 1, value(1)))
    del world.stores[1]
    reader, log = world.reader(), world.broker.log(CHANGELOG_TOPIC, 0)
    getmany = reader.getmany

    async def writing_getmany(*tps: TopicPartition, **options: Any) -> Any:
        found = await getmany(*tps, **options)
        world.write(0, (b"new", 9, value(9)))
        return found

    reader.getmany = writing_getmany
    assert [done async for done in read_to_end(reader, CHANGELOG_TOPIC, world.stores)] == [(0, 1)]
    assert 1 == world.stores[0].position < log.end


@world_test
async def test_who_asks_is_told_which_keys_have_changed(world):
    world.stores[0].write([(b"a", 5, value(5))], 0)
    world.write(0, (b"a", 1, value(1)), (b"b", 2, value(2)))
    told: list[tuple[int, bytes]] = []
    await read(world, on_merged=lambda number, keys: told.extend((number, key) for key in keys))
    assert told == [(0, b"b")]
    assert contents(world, 0)[b"a"] == value(5)


@world_test
async def test_a_removal_carries_its_source_offset_in_its_headers(world):
    world.write(0, (b"a", 5, value(5)), (b"a", 4, None), (b"b", 1, value(1)), (b"b", 2, None))
    await read(world)
    assert contents(world, 0) == {b"a": value(5)}


@world_test
async def test_a_removal_without_a_source_offset_removes_nothing_that_came_later(world):
    world.broker.log(CHANGELOG_TOPIC, 0).append([(b"a", value(0), ()), (b"b", value(1), ())], 0)
    world.broker.log(CHANGELOG_TOPIC, 0).append([(b"a", None, ()), (b"b", None, ())], 0)
    await read(world)
    assert contents(world, 0) == {b"b": value(1)}


@world_test
async def test_headers_of_others_say_nothing_about_where_a_removal_came_from(world):
    world.broker.log(CHANGELOG_TOPIC, 0).append([(b"a", value(0), ()), (b"b", value(1), ())], 0)
    headers = (("traceparent", b"00-1"),)
    world.broker.log(CHANGELOG_TOPIC, 0).append([(b"a", None, headers), (b"b", None, headers)], 0)
    await read(world)
    assert contents(world, 0) == {b"b": value(1)}


@world_test
async def test_a_record_without_a_key_is_a_bug(world):
    world.broker.log(CHANGELOG_TOPIC, 0).append([(None, b"x", ())], 0)
    with pytest.raises(InvariantError, match="offset 0: a changelog record needs a key"):
        await read(world)


@pytest.mark.parametrize("answers", [[False], [True, False], [True, True, False]])
def test_once_nobody_wants_it_any_more_no_store_is_touched(answers: list[bool]):
    """Its lease may have died at any time: the store is somebody else's from then on."""

    async def test(world: World) -> None:
        world.write(0, (b"a", 1, value(1)))
        store = world.stores.pop(1)
        left = list(answers)
        asked = []

        def is_wanted() -> bool:
            asked.append(1)
            return left.pop(0) if left else False

        assert await read(world, is_wanted=is_wanted) == []
        assert len(asked) >= len(answers)
        assert contents(world, 0) == {}
        assert (world.stores[0].position, store.position) == (0, 0)

    World().run(test)


@world_test
async def test_a_store_that_is_ahead_of_the_changelog_is_emptied_and_read_from_the_beginning(world):
    world.write(0, (b"a", 1, value(1)))
    world.stores[0].write([(b"other", 7, value(7))], 9)
    await read(world)
    assert contents(world, 0) == {b"a": value(1)}
    assert world.stores[0].position == 1


@world_test
async def test_a_store_that_is_ahead_and_not_ours_any_more_is_left_alone(world):
    world.stores[0].write([(b"other", 7, value(7))], 9)
    await read(world, is_wanted=lambda: False)
    assert contents(world, 0) == {b"other": value(7)}


@world_test
async def test_a_store_at_the_end_is_not_ahead(world):
    world.write(0, (b"a", 1, value(1)))
    world.stores[0].write([(b"other", 7, value(7))], 1)
    await read(world)
    assert contents(world, 0) == {b"other": value(7)}


class Asked:
    """A reader that notes what it is asked for."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.questions: list[tuple[tuple[TopicPartition, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> Any:
        self.questions.append((partitions, options))
        return await self.reader.getmany(*partitions, **options)


# Standbys


@world_test
async def test_a_follower_keeps_up_and_tells_how_far_it_is_behind(world):
    world.write(0, *((b"a", n, value(n)) for n in range(3)))
    lags: list[tuple[int, int]] = []
    task = asyncio.ensure_future(
        follow(world.reader(), CHANGELOG_TOPIC, world.stores, lambda number, rows: lags.append((number, rows)))
    )
    await until(lambda: lags[-2:] == [(0, 0), (1, 0)] and len(lags) > 2)
    assert lags[:2] == [(0, 3), (1, 0)]
    assert contents(world, 0) == {b"a": value(2)}
    world.write(1, (b"b", 5, value(5)))
    await until(lambda: contents(world, 1) == {b"b": value(5)})
    assert world.stores[1].position == 1
    task.cancel()


@world_test
async def test_a_follower_begins_with_what_its_store_has_and_asks_in_bounded_amounts(world):
    world.write(0, *((b"a", n, value(n)) for n in range(7)))
    world.stores[0].write([(b"a", 4, value(4))], 5)
    reader, lags = Asked(world.reader()), []
    task = asyncio.ensure_future(follow(reader, CHANGELOG_TOPIC, world.stores, lambda *lag: lags.append(lag)))
    await until(lambda: world.stores[0].position == 7)
    assert lags[0] == (0, 2)
    tps = tuple(TopicPartition(CHANGELOG_TOPIC, number) for number in (0, 1))
    wanted = {"timeout_ms": READ_TIMEOUT_MS, "max_records": FOLLOW_MAX_RECORDS}
    assert all(question == (tps, wanted) for question in reader.questions)
    task.cancel()


@world_test
async def test_a_follower_whose_reader_is_always_full_lets_others_have_a_turn_and_waits_for_nothing(world):
    reader, rounds, turns = world.reader(), [], []

    gate = asyncio.Event()

    async def full(*_: Any, **__: Any) -> dict:
        rounds.append(1)
        await gate.wait()
        return {}

    reader.getmany = full
    task = asyncio.ensure_future(follow(reader, CHANGELOG_TOPIC, world.stores, lambda *_: None))
    await until(lambda: bool(rounds))
    gate.set()
    await asyncio.sleep(0)
    began = world.env.loop.time()
    for _ in range(10):
        turns.append(len(rounds))
        await asyncio.sleep(0)
    assert turns == list(range(turns[0], turns[0] + 10))
    assert world.env.loop.time() == began
    task.cancel()


@world_test
async def test_before_its_first_records_come_a_partition_is_as_far_behind_as_its_log_is_long(world):
    world.write(0, *((b"a", n, value(n)) for n in range(3)))
    reader = world.reader()
    reader.highwater = lambda _: None
    lags: dict[int, list[int]] = {0: [], 1: []}

    async def nothing(*_: Any, **__: Any) -> dict:
        await asyncio.sleep(0.1)
        return {}

    reader.getmany = nothing
    task = asyncio.ensure_future(
        follow(reader, CHANGELOG_TOPIC, world.stores, lambda number, rows: lags[number].append(rows))
    )
    await until(lambda: len(lags[0]) > 3)
    assert set(lags[0]) == {3}
    assert set(lags[1]) == {0}
    task.cancel()


@world_test
async def test_a_follower_that_is_past_the_high_watermark_it_knows_is_not_behind(world):
    reader = world.reader()
    reader.highwater = lambda _: 1
    world.write(0, *((b"a", n, value(n)) for n in range(3)))
    lags: list[tuple[int, int]] = []
    task = asyncio.ensure_future(follow(reader, CHANGELOG_TOPIC, world.stores, lambda *lag: lags.append(lag)))
    await until(lambda: world.stores[0].position == 3)
    await until(lambda: lags[-2:] == [(0, 0), (1, 1)])
    task.cancel()
