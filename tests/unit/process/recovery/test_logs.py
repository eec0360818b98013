"""What is recovered belongs to one log, in one layout; what the log has lost meanwhile is counted."""

import pytest
from structlog.testing import capture_logs

from tests.sessions_log import START_MS
from tests.simulation.broker import SOURCE_TOPIC
from tests.unit.process.one_partition import TP
from tests.unit.process.recovery.one_worker import Worker, gauge, worker_test
from tracker.errors import ConfigurationError
from tracker.process import metrics
from tracker.process.assumptions import LogId
from tracker.sessions.layouts import LAYOUT, READABLE, layout_of


@worker_test
async def test_records_that_retention_has_deleted_are_skipped(worker):
    await worker.work()
    worker.log_starts[TP] = 10
    (lease,) = await worker.recover()
    assert (lease.watermark, lease.next_offset) == (9, 10)


@pytest.mark.parametrize(("begins_at", "lost"), [(0, 0), (3, 0), (4, 1), (10, 7)])
def test_records_that_were_deleted_before_they_were_processed_are_counted(begins_at, lost):
    worker = Worker()

    async def test() -> None:
        await worker.work()
        worker.log_starts[TP] = begins_at
        before = gauge(metrics.LOST_RECORDS)
        with capture_logs() as logs:
            await worker.recover()
        assert gauge(metrics.LOST_RECORDS) - before == lost
        assert any(line["log_level"] == "error" for line in logs) == (lost > 0)

    worker.run(test)


@worker_test
async def test_after_the_first_record_alone_a_late_log_has_lost_the_others(worker):
    await worker.recover()
    worker.log.event("a", START_MS)
    await worker.checkpoint_next()
    worker.log_starts[TP] = 2
    before = gauge(metrics.LOST_RECORDS)
    await worker.recover()
    assert gauge(metrics.LOST_RECORDS) - before == 1


@worker_test
async def test_a_partition_that_was_never_folded_has_lost_nothing(worker):
    worker.log_starts[TP] = 10
    before = gauge(metrics.LOST_RECORDS)
    await worker.recover()
    assert gauge(metrics.LOST_RECORDS) == before


@worker_test
async def test_what_is_written_says_of_which_log_it_is(worker):
    worker.log_id = LogId(source="T1", partitions=2)
    worker.start_again()
    await worker.work()
    _, mark = worker.lease.store.watermark()
    assert (mark.topic_id, mark.partitions) == ("T1", 2)


@pytest.mark.parametrize("other", [LogId(source="T2", partitions=2), LogId(source="T1", partitions=3)])
def test_states_of_another_log_end_the_recovery(other):
    worker = Worker()

    async def test() -> None:
        worker.log_id = LogId(source="T1", partitions=2)
        worker.start_again()
        await worker.work()
        worker.log_id = other
        worker.start_again()
        with pytest.raises(ConfigurationError, match=SOURCE_TOPIC):
            await worker.recover()

    worker.run(test)


@worker_test
async def test_what_was_written_in_a_newer_layout_stays_in_it_whoever_takes_over(worker):
    await worker.work()
    assert layout_of(worker.changelog[-1].value) == LAYOUT
    worker.start_again(layout=min(READABLE))
    (lease,) = await worker.recover()
    worker.log.event("a", START_MS + 5)
    await worker.checkpoint_next()
    assert lease.rules.layout == LAYOUT
    assert {layout_of(record.value) for record in worker.changelog if record.value} == {LAYOUT}


@worker_test
async def test_a_new_partition_is_written_in_the_layout_that_its_worker_is_told(worker):
    worker.start_again(layout=min(READABLE))
    await worker.work()
    assert {layout_of(record.value) for record in worker.changelog if record.value} == {min(READABLE)}


@worker_test
async def test_a_new_partition_of_a_log_that_begins_late_begins_there(worker):
    worker.log_starts[TP] = 10
    (lease,) = await worker.recover()
    assert (lease.watermark, lease.next_offset) == (9, 10)
