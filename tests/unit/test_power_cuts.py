"""The machine loses its power, not only the process: what was written and not synced is gone.

On a real file system. The spill loses nothing that it has said is safe. Stores of processors and replays may lose their
last writes, but never a part of one: they go on from where they are, with the changelog or with the source.
"""

import pytest

from tests.fixtures.power_cut import PowerCutDisk
from tests.sessions_log import Log, rows
from tests.unit.replay.one_replay import OneReplay
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.sessions.layouts import WATERMARK_KEY, encode_watermark
from tracker.sessions.state import Watermark
from tracker.table.store import SessionStore

VALUE = b"v" * 300


def records(first: int, count: int) -> list[SpilledRecord]:
    return [SpilledRecord("t", 1, b"k-%d" % n, VALUE) for n in range(first, first + count)]


def test_what_the_spill_has_said_is_safe_is_there_after_a_power_cut(power_cut_disk: PowerCutDisk):
    store = SpillStore(power_cut_disk.path / "spill")
    for first in range(0, 100, 5):
        store.append(records(first, 5))
    path = power_cut_disk.cut_power() / "spill"
    again = SpillStore(path)
    assert [record for _, record in again.read(again.head)] == records(0, 100)
    assert again.records == 100
    again.close()
    store.close()


def test_what_the_spill_has_deleted_stays_deleted_after_a_power_cut(power_cut_disk: PowerCutDisk):
    store = SpillStore(power_cut_disk.path / "spill")
    store.append(records(0, 10))
    store.delete(0, 4, records=4, size_bytes=sum(record.size_bytes for record in records(0, 4)))
    path = power_cut_disk.cut_power() / "spill"
    again = SpillStore(path)
    assert [record for _, record in again.read(again.head)] == records(4, 6)
    assert (again.records, again.head) == (6, 4)
    assert again.append(records(10, 1)) == 10
    again.close()
    store.close()


def versions(number: int, keys: int) -> list:
    """One batch of a store: every key in the same version, and W."""
    log = Log()
    log.event("s")
    log.fold()
    (state,) = log.encoded_table().values()
    value = number.to_bytes(8, "big") + state[8:]
    mark = encode_watermark(number, Watermark(stream_time_ms=number))
    return [*((b"k-%d" % key, number, value) for key in range(keys)), (WATERMARK_KEY, number, mark)]


@pytest.mark.parametrize("synced", [0, 3])
def test_a_store_comes_back_at_an_earlier_position_with_exactly_what_it_had_there(
    power_cut_disk: PowerCutDisk, synced: int
):
    store = SessionStore(power_cut_disk.path / "partition-0")
    for number in range(1, 9):
        store.write(versions(number, keys=20), position=number)
        if number == synced:
            power_cut_disk.sync()
    again = SessionStore(power_cut_disk.cut_power() / "partition-0")
    assert again.position == synced < store.position
    assert {int.from_bytes(raw[:8], "big") for _, raw in again.states()} == ({synced} if synced else set())
    assert again.watermark()[0] == (synced or -1)
    again.close()
    store.close()


def test_a_replay_goes_on_after_a_power_cut_and_has_each_output_once(power_cut_disk: PowerCutDisk):
    replay = OneReplay()
    for number in range(40):
        replay.log.event(f"s-{number % 7}", event_id=f"e-{number}")

    async def test() -> None:
        store = SessionStore(power_cut_disk.path / "replay")
        assert not await replay.run_once(store, stop_after_chunks=2)
        power_cut_disk.sync()
        assert not await replay.run_once(store, stop_after_chunks=3)
        before, _ = store.watermark()
        again = SessionStore(power_cut_disk.cut_power() / "replay")
        assert again.watermark()[0] < before
        assert await replay.run_once(again)
        again.close()
        store.close()

    replay.run(test)
    assert replay.differences() == []
    assert len(rows(replay.outputs["events.sequenced"])) == 40
