"""The spill in front of its store: what shares a write, what is refused, and what a ticket and a page stand for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.spill.refusing_disk import RefusingDisk, disk  # noqa: F401 - a fixture
from tracker.collect.metrics import CollectMetrics, SpillMetrics
from tracker.collect.spill import queue as queue_module
from tracker.collect.spill.queue import Page, Spill, SpillFull, SpillRefused, Ticket
from tracker.collect.spill.store import REOPEN_INTERVAL_MS, SpilledRecord
from tracker.errors import ConfigurationError
from tracker.processes.supervised_tasks import SupervisedTasks

ROOM_BYTES = 1_000_000
RECORD_BYTES = SpilledRecord("topic", 0, b"0", b"value").size_bytes


@pytest.fixture
def metrics() -> SpillMetrics:
    return CollectMetrics().spill


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spill-0"


@pytest.fixture
async def tasks() -> SupervisedTasks:
    return SupervisedTasks()


@pytest.fixture
async def spill(path: Path, metrics: SpillMetrics, tasks: SupervisedTasks, disk: RefusingDisk) -> AsyncIterator[Spill]:  # noqa: F811
    spill = await Spill.open(path, ROOM_BYTES, metrics, tasks)
    yield spill
    await spill.close()
    assert not tasks.failed.done()


def append(spill: Spill, *numbers: int) -> Ticket:
    return spill.append([("topic", b"%d" % number, b"value") for number in numbers])


@contextmanager
def busy_disk(spill: Spill) -> Iterator[None]:
    """Meanwhile the disk is busy with something else, so that all that is asked for waits."""
    may_go_on = threading.Event()
    held = spill._executor.submit(may_go_on.wait, PATIENCE_SECONDS)
    try:
        yield
    finally:
        may_go_on.set()
    assert held.result()


async def left(spill: Spill) -> list[int]:
    page = await spill.page()
    return [] if page is None else [int(record.key) for record in page.records]


# Appending


async def test_what_waits_together_shares_one_write_and_each_ticket_has_its_own_records(spill, disk, metrics):  # noqa: F811
    tickets = [append(spill, 0, 1), append(spill, 2), append(spill, 3, 4)]
    await asyncio.gather(*(ticket.written for ticket in tickets))
    assert disk.synced == [True]
    assert metrics.records_spilled._value.get() == 5
    tickets[1].arrived()
    assert await left(spill) == [0, 1, 3, 4]
    tickets[2].arrived()
    assert await left(spill) == [0, 1]
    assert (spill.records, spill.size_bytes) == (2, 2 * RECORD_BYTES)


@pytest.mark.parametrize(("write_max_bytes", "writes"), [(3, 1), (2, 2), (1, 3), (0, 3)])
async def test_one_write_has_at_most_so_many_bytes_but_at_least_one_ticket(
    spill,
    disk,  # noqa: F811
    monkeypatch,
    write_max_bytes: int,
    writes: int,
):
    monkeypatch.setattr(queue_module, "WRITE_MAX_BYTES", write_max_bytes * RECORD_BYTES)
    tickets = [append(spill, number) for number in range(3)]
    await asyncio.gather(*(ticket.written for ticket in tickets))
    assert len(disk.synced) == writes
    assert await left(spill) == [0, 1, 2]


async def test_operations_take_place_in_the_order_in_which_they_were_asked_for(spill):
    first = append(spill, 0)
    page = asyncio.ensure_future(spill.page())
    await asyncio.sleep(0)  # the page has been asked for
    second = append(spill, 1)
    found = await page
    assert [int(record.key) for record in found.records] == [0]
    await asyncio.gather(first.written, second.written)
    assert await left(spill) == [0, 1]


async def test_it_takes_records_up_to_its_limit_to_the_byte_all_of_them_or_none(path, metrics, tasks):
    spill = await Spill.open(path, 3 * RECORD_BYTES, metrics, tasks)
    await append(spill, 0).written
    with pytest.raises(SpillFull, match="TRACKER_SPILL_MAX_BYTES"):
        append(spill, 1, 2, 3)
    assert (spill.records, spill.size_bytes) == (1, RECORD_BYTES)
    await append(spill, 1, 2).written
    with pytest.raises(SpillFull, match=f"holds {3 * RECORD_BYTES} bytes of {3 * RECORD_BYTES} "):
        append(spill, 3)
    assert await left(spill) == [0, 1, 2]
    await spill.delete((await spill.page()).first(1))
    await append(spill, 3).written
    assert await left(spill) == [1, 2, 3]
    await spill.close()


async def test_only_so_many_bytes_wait_for_the_disk_and_what_was_written_waits_no_more(spill, monkeypatch):
    monkeypatch.setattr(queue_module, "MAX_QUEUED_BYTES", 2 * RECORD_BYTES)
    with busy_disk(spill):
        waiting = [append(spill, 0), append(spill, 1)]
        with pytest.raises(SpillFull, match="wait for the disk"):
            append(spill, 2)
    await asyncio.gather(*(ticket.written for ticket in waiting))
    await append(spill, 2, 3).written
    assert await left(spill) == [0, 1, 2, 3]


async def test_a_refused_write_is_told_to_each_of_its_tickets_and_takes_up_no_room(spill, disk, metrics):  # noqa: F811
    disk.refuses = True
    tickets = [append(spill, 0), append(spill, 1)]
    for ticket in tickets:
        with pytest.raises(SpillRefused, match=r"the disk refuses: .*No space"):
            await ticket.written
    assert disk.refused_writes == 1
    assert (spill.records, spill.size_bytes, spill.is_refusing) == (0, 0, True)
    assert metrics.records_spilled._value.get() == 0
    disk.refuses = False
    disk.now_ms += REOPEN_INTERVAL_MS
    await append(spill, 2).written
    assert not spill.is_refusing
    for ticket in tickets:
        ticket.arrived()  # there is nothing to delete
    assert await left(spill) == [2]
    assert spill.records == 1


async def test_somebody_who_has_stopped_waiting_holds_up_nobody(spill):
    with busy_disk(spill):
        gone, there = append(spill, 0), append(spill, 1)
        gone.written.cancel()
        page = asyncio.ensure_future(spill.page())
        await asyncio.sleep(0)  # the page has been asked for
        page.cancel()
    await there.written
    assert await left(spill) == [0, 1]
    assert spill.records == 2


async def test_records_that_arrive_before_they_are_written_are_not_seen_by_what_comes_later(spill):
    with busy_disk(spill):
        append(spill, 0).arrived()
        kept = append(spill, 1)
    await kept.written
    assert await left(spill) == [1]
    assert spill.records == 1


# Pages


async def test_a_page_has_at_most_so_many_records(spill, monkeypatch):
    monkeypatch.setattr(queue_module, "PAGE_MAX_RECORDS", 2)
    await append(spill, 0, 1, 2).written
    assert await left(spill) == [0, 1]


@pytest.mark.parametrize(
    ("page_max_bytes", "found"),
    [(2 * RECORD_BYTES, [0, 1]), (2 * RECORD_BYTES - 1, [0]), (1, [0]), (3 * RECORD_BYTES, [0, 1, 2])],
)
async def test_a_page_has_at_most_so_many_bytes_and_at_least_one_record(
    spill, monkeypatch, page_max_bytes: int, found: list[int]
):
    monkeypatch.setattr(queue_module, "PAGE_MAX_BYTES", page_max_bytes)
    await append(spill, 0, 1, 2).written
    assert await left(spill) == found


async def test_deleting_a_part_of_a_page_leaves_the_rest(spill):
    await append(spill, 0, 1, 2).written
    page = await spill.page()
    assert isinstance(page, Page)
    assert (page.begin, list(page.numbers), page.end, page.size_bytes) == (0, [0, 1, 2], 3, 3 * RECORD_BYTES)
    part = page.first(2)
    assert (part.begin, part.end, part.size_bytes) == (0, 2, 2 * RECORD_BYTES)
    await spill.delete(part)
    assert (await left(spill), spill.records, spill.size_bytes) == ([2], 1, RECORD_BYTES)


async def test_a_deletion_that_the_disk_refuses_is_told_to_its_caller_and_to_nobody_else(spill, disk):  # noqa: F811
    await append(spill, 0, 1).written
    page = await spill.page()
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        await spill.delete(page.first(1))
    assert disk.refused_writes == 1
    assert await left(spill) == [1]


async def test_a_deletion_that_is_refused_when_nobody_waits_for_it_is_no_bug(spill, disk):  # noqa: F811
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: said.append(about))
    ticket = append(spill, 0)
    await ticket.written
    disk.refuses = True
    ticket.arrived()
    assert await left(spill) == []
    assert disk.refused_writes == 1
    await asyncio.sleep(0)
    assert said == []


# The age of the oldest


async def test_the_oldest_record_is_known_from_its_acceptance_until_it_is_gone(spill, disk, path, metrics, tasks):  # noqa: F811
    assert spill.oldest_ms is None
    first = disk.now_ms
    await append(spill, 0).written
    disk.now_ms += 500
    await append(spill, 1).written
    assert spill.oldest_ms == first
    await spill.delete((await spill.page()).first(1))
    assert await left(spill) == [1]
    assert spill.oldest_ms == first + 500
    await spill.delete(await spill.page())
    assert await left(spill) == []
    assert spill.oldest_ms is None


async def test_a_record_that_waits_for_the_disk_has_an_age_although_nothing_is_on_it(spill, disk):  # noqa: F811
    with busy_disk(spill):
        page = asyncio.ensure_future(spill.page())
        await asyncio.sleep(0)  # the page has been asked for
        ticket = append(spill, 0)
    assert await page is None
    assert spill.oldest_ms == disk.now_ms
    await ticket.written


async def test_what_an_earlier_process_has_left_keeps_its_age(path, metrics, tasks, disk):  # noqa: F811
    spill = await Spill.open(path, ROOM_BYTES, metrics, tasks)
    first = disk.now_ms
    await append(spill, 0).written
    disk.now_ms += 500
    await append(spill, 1).written
    await spill.close()
    again = await Spill.open(path, ROOM_BYTES, metrics, tasks)
    assert (again.oldest_ms, again.records, again.size_bytes) == (first, 2, 2 * RECORD_BYTES)
    assert (again.path, again.max_bytes) == (path, ROOM_BYTES)
    await again.close()


# Its thread


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("spill")}


async def test_its_thread_ends_with_it(path, metrics, tasks):
    before = threads()
    spill = await Spill.open(path, ROOM_BYTES, metrics, tasks)
    (own,) = threads() - before
    await spill.close()
    own.join(PATIENCE_SECONDS)
    assert not own.is_alive()


async def test_a_spill_that_can_not_be_opened_leaves_no_thread_behind(path, metrics, tasks, disk):  # noqa: F811
    before = threads()
    disk.refuses_opening = True
    with pytest.raises(ConfigurationError):
        await Spill.open(path, ROOM_BYTES, metrics, tasks)
    assert disk.refused_openings == 1
    for thread in threads() - before:
        thread.join(PATIENCE_SECONDS)
    assert threads() <= before
