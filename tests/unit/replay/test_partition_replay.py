"""One partition of a replay: what the written rules say, once each, wherever it was stopped or killed."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.session_logs import LOGS, RULES, write
from tests.reference.compare import differences
from tests.reference.model import Model
from tests.sessions_log import MINUTE_MS, START_MS, rows
from tests.simulation.broker import PREFIX, SOURCE_TOPIC
from tests.simulation.disk import Disk, MemoryDatabase
from tests.unit.replay.one_replay import CHUNK_RECORDS, OneReplay
from topics.catalog import SEQUENCED
from topics.headers import read_position
from tracker.errors import ConfigurationError
from tracker.replay.targets import CompareTarget, DatasourceTarget
from tracker.table.store import SessionStore

PATH = Path("replay")
PASSIVE_GRACE_MS = 5 * MINUTE_MS


def open_store(disk: Disk) -> SessionStore:
    return SessionStore(PATH, lambda path: MemoryDatabase(path, disk), now_ms=lambda: 0)


def begun(count: int = 12) -> OneReplay:
    replay = OneReplay(timeout_ms=MINUTE_MS)
    for number in range(count):
        replay.log.event(f"s-{number % 3}", START_MS + number * 25_000, event_id=f"e-{number}", workspace_id="w1")
    replay.log.raw(b"s-0", b"rubbish", START_MS + count * 25_000)
    return replay


def source_offsets(records: list[Any]) -> list[int]:
    return [read_position(record.headers).offset for record in records]


@settings(max_examples=30)
@given(LOGS, st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=4))
def test_however_often_it_is_stopped_and_loses_its_last_writes_its_topics_are_what_the_rules_say(steps, ends):
    replay = OneReplay()
    replay.log = write(steps)
    replay.log.partition_of = lambda _: 0
    disk = Disk()

    async def test() -> None:
        for chunks, lost_writes in ends:
            store = open_store(disk)
            await replay.run_once(store, stop_after_chunks=chunks)
            store.close()
            disk.lose_writes(lost_writes)
        assert await replay.run_once(open_store(disk))

    replay.run(test)
    assert differences(Model(RULES).take(replay.log.records), replay.outputs) == []


def test_it_says_after_every_chunk_how_far_it_is_and_what_it_has_put_out():
    replay = begun(12)

    async def test() -> None:
        assert await replay.run_once(open_store(Disk()))

    replay.run(test)
    *chunks, last = replay.told
    assert [progress.next_offset for progress in chunks][-1] == last.next_offset == 13
    assert all(earlier.outputs <= later.outputs for earlier, later in pairwise(chunks))
    assert last.outputs == sum(map(len, replay.outputs.values()))
    assert last.stream_time_ms == START_MS + 12 * 25_000
    assert [progress.finished for progress in replay.told] == [False] * len(chunks) + [True]


def test_one_that_is_stopped_has_not_finished_and_goes_on_where_it_was():
    replay, disk = begun(40), Disk()

    async def test() -> None:
        assert not await replay.run_once(open_store(disk), stop_after_chunks=1)
        stopped_at = replay.told[-1]
        assert (stopped_at.finished, 0 < stopped_at.next_offset <= CHUNK_RECORDS) == (False, True)
        disk.release()
        before = len(replay.outputs["events.sequenced"])
        assert await replay.run_once(open_store(disk))
        assert before < len(replay.outputs["events.sequenced"]) == 40

    replay.run(test)
    assert replay.differences() == []


def test_only_outputs_from_an_offset_on_are_handed_on_though_all_is_folded():
    replay = begun(12)

    async def test() -> None:
        assert await replay.run_once(open_store(Disk()), emit_from=7)

    replay.run(test)
    found = replay.outputs["events.sequenced"]
    assert source_offsets(found) == list(range(7, 12))
    model = Model(replay.log.rules).take(replay.log.records)
    wanted = [made.row for made in model.made if made.topic == SEQUENCED.suffix and made.offset >= 7]
    assert [orjson.loads(record.value) for record in found] == wanted


def test_only_one_workspaces_outputs_are_handed_on():
    replay = begun(6)
    replay.log.event("other", START_MS + 30_000_000, event_id="o", workspace_id="w2")

    async def test() -> None:
        assert await replay.run_once(open_store(Disk()), workspace="w2")

    replay.run(test)
    assert [row["event_id"] for row in rows(replay.outputs["events.sequenced"])] == ["o"]
    assert {row["workspace_id"] for row in rows(replay.outputs["sessions"])} == {"w2"}
    assert replay.outputs["dead-letters"] == []


def test_an_end_before_the_logs_end_is_kept():
    replay = begun(12)

    async def test() -> None:
        assert await replay.run_once(open_store(Disk()), until=4)

    replay.run(test)
    assert source_offsets(replay.outputs["events.sequenced"]) == [0, 1, 2, 3]


def test_what_retention_has_deleted_meanwhile_is_an_error_and_no_gap():
    replay, disk = begun(12), Disk()

    async def test() -> None:
        await replay.run_once(open_store(disk), stop_after_chunks=1)
        disk.release()
        log = replay.broker.log(SOURCE_TOPIC, 0)
        log.records, log._offsets = log.records[9:], log._offsets[9:]
        reader = replay.reader

        def late_reader() -> Any:
            made = reader()

            async def beginning_offsets(partitions: list[Any]) -> dict[Any, int]:
                return dict.fromkeys(partitions, 9)

            made.beginning_offsets = beginning_offsets
            return made

        replay.reader = late_reader
        with pytest.raises(ConfigurationError, match="begins at offset 9 now"):
            await replay.run_once(open_store(disk), target=replay.topic_target())

    replay.run(test)


# Compared with live


def live_of(replay: OneReplay) -> None:
    """Let live's topics hold what a replay gives."""

    async def test() -> None:
        await replay.run_once(open_store(Disk()))

    replay.run(test)
    replay.told.clear()


def compared(replay: OneReplay, disk: Disk, **options: Any) -> CompareTarget:
    target = CompareTarget(replay.reader, PREFIX, 0)

    async def test() -> None:
        store = open_store(disk)
        await replay.run_once(store, target=target, **options)
        await target.close()
        store.close()

    replay.run(test)
    return target


def test_every_output_of_live_is_held_against_the_replays_over_any_interruption():
    replay = begun(40)
    live_of(replay)
    live = replay.broker.log("tracker.sessions", 0)
    live.records[3] = live.records[3]._replace(value=b"{}")
    disk = Disk()
    compared(replay, disk, stop_after_chunks=2)
    comparisons = compared(replay, disk).comparisons
    found = {suffix: (each.identical, each.differences) for suffix, each in comparisons.items()}
    assert found == {
        "events.sequenced": (40, 0),
        "sessions": (len(live.records) - 1, 1),
        "dead-letters": (1, 0),
        "usage": (0, 0),
    }
    first = comparisons["sessions"].first
    assert first is not None
    assert (first.kind, first.live) == ("differs", "{}")


# Into datasources


class Ingested:
    """Takes rows; ``errors`` come first."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.errors: list[Exception] = []

    async def __call__(self, events: Any, sessions: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.events += map(orjson.loads, events)
        self.sessions += map(orjson.loads, sessions)


def ingest(replay: OneReplay, ingested: Ingested, disk: Disk, from_ms: int, to_ms: int, **options: Any) -> bool:
    finished = []

    async def test() -> None:
        store = open_store(disk)
        target = DatasourceTarget(ingested, from_ms, to_ms, PASSIVE_GRACE_MS)
        try:
            finished.append(await replay.run_once(store, target=target, **options))
        finally:
            store.close()

    replay.run(test)
    return finished[0]


def test_sessions_that_began_in_the_range_are_there_whole_and_no_others():
    replay, ingested = OneReplay(timeout_ms=MINUTE_MS), Ingested()
    for name, at in (("early", 0), ("in", 10_000), ("early", 15_000), ("in", 40_000), ("late", 60_000)):
        replay.log.event(name, START_MS + at)
    replay.log.tick(START_MS + 10 * MINUTE_MS)
    for minute in range(11, 40):
        replay.log.event("in", START_MS + minute * 2 * MINUTE_MS)
    assert ingest(replay, ingested, Disk(), START_MS + 10_000, START_MS + 20_000)
    assert [row["session_id"] for row in ingested.events] == ["in", "in"]
    assert [(row["session_id"], row["is_expired"]) for row in ingested.sessions] == [("in", False), ("in", True)]
    assert replay.told[-1].next_offset < len(replay.log.records)


@pytest.mark.parametrize("interrupted", [False, True])
def test_passive_events_of_sessions_that_have_closed_are_there(interrupted):
    replay, ingested, disk = OneReplay(timeout_ms=MINUTE_MS), Ingested(), Disk()
    replay.log.event("in", START_MS + 10_000)
    for _ in range(CHUNK_RECORDS):
        replay.log.tick(START_MS + 2 * MINUTE_MS)
    replay.log.event("in", START_MS + 4 * MINUTE_MS, envelope={"passive": True})
    for minute in range(10, 40):
        replay.log.event("later", START_MS + minute * MINUTE_MS)
    if interrupted:
        assert not ingest(replay, ingested, disk, START_MS, START_MS + 20_000, stop_after_chunks=1)
    assert ingest(replay, ingested, disk, START_MS, START_MS + 20_000)
    assert [(row["session_id"], row["session_event_sequence"]) for row in ingested.events] == [("in", 1), ("in", 2)]
    assert [row["event_count"] for row in ingested.sessions if row["is_expired"]] == [1, 2]
    assert replay.told[-1].next_offset < len(replay.log.records)


def test_the_range_begins_inclusive_and_ends_exclusive():
    replay, ingested = OneReplay(timeout_ms=MINUTE_MS), Ingested()
    for number, name in enumerate("abc"):
        replay.log.event(name, START_MS + number)
    replay.log.tick(START_MS + 10 * MINUTE_MS)
    assert ingest(replay, ingested, Disk(), START_MS + 1, START_MS + 2)
    assert {row["session_id"] for row in ingested.sessions} == {"b"}


@pytest.mark.parametrize("lost_writes", [0, 1])
def test_open_sessions_are_remembered_over_an_interruption(lost_writes):
    replay, ingested, disk = begun(20), Ingested(), Disk()
    whole = Ingested()
    ingest(replay, whole, Disk(), 0, 2**62)
    assert not ingest(replay, ingested, disk, 0, 2**62, stop_after_chunks=2)
    assert disk.lose_writes(lost_writes) == lost_writes
    ingest(replay, ingested, disk, 0, 2**62)
    assert {row["id"]: row for row in ingested.events} == {row["id"]: row for row in whole.events}
    assert len(whole.events) == 20
    assert len(ingested.events) == 20 if not lost_writes else len(ingested.events) > 20


def test_rows_that_are_not_taken_end_the_replay_with_nothing_of_the_chunk_noted():
    replay, ingested, disk = begun(20), Ingested(), Disk()
    ingested.errors.append(KafkaTimeoutError())
    with pytest.raises(KafkaTimeoutError):
        ingest(replay, ingested, disk, 0, 2**62)
    store = open_store(disk)
    assert store.watermark()[0] == -1
