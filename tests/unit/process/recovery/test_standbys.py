"""Standbys follow the changelog, and hand their stores over warm."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from tests.sessions_log import Log
from tests.unit.process.one_partition import NUMBER, TP
from tests.unit.process.recovery.one_worker import Worker, gauge, worker_test
from tests.virtual_time import until
from tracker.errors import DiskFullError, StateDamagedError
from tracker.process import metrics


async def standing_by(worker: Worker) -> asyncio.Task:
    worker.standby_numbers = frozenset({NUMBER})
    task = asyncio.ensure_future(worker.recovery.stand_by())
    await until(lambda: worker.recovery.lag_rows(NUMBER) is not None or task.done())
    return task


def someone_writes(worker: Worker, offset: int) -> None:
    """The partition's owner checkpoints a session."""
    log = Log(worker.rules, number=NUMBER)
    log.event(f"s-{offset}")
    log.fold()
    ((key, value),) = log.encoded_table().items()
    worker.others_write([(key, offset, value)])


@worker_test
async def test_a_standby_follows_the_changelog_and_knows_how_far_it_is_behind(worker):
    for offset in range(5):
        someone_writes(worker, offset)
    task = await standing_by(worker)
    assert worker.recovery.lag_rows(0) is None
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert len(list(worker.recovery.store(NUMBER).states())) == 5
    someone_writes(worker, 5)
    await until(lambda: len(list(worker.recovery.store(NUMBER).states())) == 6)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert gauge(metrics.STANDBY_LAG) == 0
    task.cancel()


@worker_test
async def test_the_lag_is_that_of_present_standbys_only(worker):
    someone_writes(worker, 1)
    worker.recovery._note_lag(NUMBER, 7)
    worker.recovery._note_lag(0, 5)
    assert gauge(metrics.STANDBY_LAG) == 12
    worker.standby_numbers = frozenset({0})
    worker.recovery.keep_only({TP})
    assert worker.recovery.lag_rows(NUMBER) is None
    assert gauge(metrics.STANDBY_LAG) == 5


@worker_test
async def test_without_standbys_there_is_nothing_to_follow(worker):
    await worker.recovery.stand_by()
    assert worker.readers == 0


@worker_test
async def test_a_standby_goes_on_after_the_broker_was_away(worker):
    worker.reader_errors.append(KafkaTimeoutError())
    someone_writes(worker, 1)
    task = await standing_by(worker)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert worker.reader_errors == []
    assert worker.readers == 2
    task.cancel()


@worker_test
async def test_a_standby_that_may_not_read_says_so(worker):
    worker.reader_errors.append(TopicAuthorizationFailedError())
    task = await standing_by(worker)
    with pytest.raises(TopicAuthorizationFailedError):
        await task


@pytest.mark.parametrize("error", [StateDamagedError("corruption"), DiskFullError("no space left")])
def test_a_standby_whose_store_fails_opens_it_again(error):
    worker = Worker()

    async def test() -> None:
        worker.reader_errors.append(error)
        someone_writes(worker, 1)
        task = await standing_by(worker)
        first = worker.recovery.store(NUMBER)
        await until(lambda: not worker.reader_errors)
        await until(lambda: worker.recovery.store(NUMBER) not in (None, first))
        await until(lambda: len(list(worker.recovery.store(NUMBER).states())) == 1)
        task.cancel()

    worker.run(test)


@worker_test
async def test_a_standbys_store_is_handed_over_warm_when_its_partition_becomes_ours(worker):
    someone_writes(worker, 1)
    task = await standing_by(worker)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    task.cancel()
    store = worker.recovery.store(NUMBER)
    worker.standby_numbers = frozenset()
    (lease,) = await worker.recover()
    assert lease.store is store
