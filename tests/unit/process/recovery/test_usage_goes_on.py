"""Usage that is counted and not put out yet goes on with the next lease, and with what another worker has counted."""

from typing import Any

from tests.sessions_log import MINUTE_MS, START_MS, rows
from tests.simulation.broker import PREFIX
from tests.unit.process.recovery.one_worker import Worker
from topics.catalog import USAGE
from tracker.sessions.layouts import USAGE_KEY, encode_usage
from tracker.sessions.state import UsageCount, UsageMark


def counting_test(test: Any) -> Any:
    def run() -> None:
        worker = Worker(usage_interval_ms=MINUTE_MS)
        worker.run(lambda: test(worker))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def put_out(worker: Worker) -> list[tuple[str, int]]:
    return [(row["workspace_id"], row["events"]) for row in rows(worker.written(USAGE.name(PREFIX)))]


@counting_test
async def test_a_minute_that_two_leases_share_is_one_row(worker):
    await worker.recover()
    worker.log.event("a", START_MS, workspace_id="shop")
    await worker.checkpoint_next()
    worker.start_again()
    await worker.recover()
    worker.log.event("b", START_MS + 1, workspace_id="shop")
    await worker.checkpoint_next()
    assert put_out(worker) == []
    worker.log.tick(START_MS + MINUTE_MS)
    await worker.checkpoint_next()
    assert put_out(worker) == [("shop", 2)]


@counting_test
async def test_what_another_worker_has_counted_further_is_what_counts(worker):
    await worker.recover()
    worker.log.event("a", START_MS, workspace_id="shop")
    await worker.checkpoint_next()
    theirs = UsageMark(minute_ms=START_MS, counts={"shop": UsageCount(events=7)})
    worker.others_write([(USAGE_KEY, 50, encode_usage(50, theirs))])
    for late in (1, 2):
        worker.log.event("b", START_MS + late, workspace_id="shop")
        await worker.checkpoint_next()
        assert worker.lease.contested
    worker.log.tick(START_MS + MINUTE_MS)
    await worker.checkpoint_next()
    assert put_out(worker) == [("shop", 7)]
