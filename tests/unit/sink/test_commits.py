"""One commit at a time, the latest of each lease, tried until Kafka takes it, and never for a lease that is over."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaTimeoutError

from tests.unit.sink.sink_records import lease
from tests.virtual_time import new_environment, run_virtually
from topics.headers import SourcePosition
from tracker.kafka.clients import RETRY_SECONDS
from tracker.sink.batches import Covered
from tracker.sink.commits import Committer

COMMIT_SECONDS = 0.25


class Group:
    """Takes commits, a quarter of a second each; ``errors`` come first."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.commits: list[dict[int, int]] = []
        self.under_way = self.most_under_way = 0

    async def commit(self, covers: Sequence[Covered]) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(COMMIT_SECONDS)
        self.under_way -= 1
        self.commits.append({covered.lease.partition: covered.next_offset for covered in covers})
        if self.errors:
            raise self.errors.pop(0)


def covered(of, offset: int) -> Covered:
    return Covered(of, offset, SourcePosition(offset - 1, 0))


def committing(test):
    """A test that gets a committer at work and its group, in virtual time."""

    async def committing() -> None:
        group = Group()
        committer = Committer(group.commit)
        task = asyncio.ensure_future(committer.run())
        await test(committer, group)
        task.cancel()

    def run() -> None:
        run_virtually(new_environment(), committing)

    run.__name__ = test.__name__
    return run


@committing
async def test_what_is_added_is_committed_and_the_lease_knows_it(committer, group):
    one, other = lease(0), lease(1)
    committer.add([covered(one, 5), covered(other, 7)])
    await committer.wait_until_idle()
    assert group.commits == [{0: 5, 1: 7}]
    assert (one.committed_offset, other.committed_offset) == (5, 7)


@committing
async def test_nothing_to_commit_is_idle_at_once(committer, group):
    await committer.wait_until_idle()
    committer.add([])
    await committer.wait_until_idle()
    assert group.commits == []


@committing
async def test_of_what_comes_meanwhile_only_the_latest_of_each_lease_is_committed_and_one_after_the_other(
    committer, group
):
    of = lease()
    committer.add([covered(of, 1)])
    await asyncio.sleep(COMMIT_SECONDS / 2)
    for offset in (2, 3, 4):
        committer.add([covered(of, offset)])
    await committer.wait_until_idle()
    assert group.commits == [{0: 1}, {0: 4}]
    assert group.most_under_way == 1


@committing
async def test_it_is_not_idle_before_the_last_commit_has_ended(committer, group):
    of = lease()
    committer.add([covered(of, 1)])
    await asyncio.sleep(COMMIT_SECONDS / 2)
    committer.add([covered(of, 2)])
    idle = asyncio.ensure_future(committer.wait_until_idle())
    await asyncio.sleep(COMMIT_SECONDS)
    assert not idle.done()
    await idle
    assert len(group.commits) == 2


@committing
async def test_a_commit_that_fails_is_tried_again_with_what_is_newest_by_then(committer, group):
    one, other = lease(0), lease(1)
    group.errors = [KafkaTimeoutError()]
    committer.add([covered(one, 1), covered(other, 2)])
    await asyncio.sleep(COMMIT_SECONDS + RETRY_SECONDS / 2)
    assert group.commits == [{0: 1, 1: 2}]
    assert (group.errors, one.committed_offset) == ([], 0)
    committer.add([covered(one, 3)])
    idle = asyncio.ensure_future(committer.wait_until_idle())
    await asyncio.sleep(0.01)
    assert not idle.done()
    await idle
    assert group.commits[-1] == {0: 3, 1: 2}
    assert (one.committed_offset, other.committed_offset) == (3, 2)


@committing
async def test_a_commit_that_fails_is_tried_again_although_nothing_new_comes(committer, group):
    of = lease()
    group.errors = [KafkaTimeoutError(), KafkaTimeoutError()]
    committer.add([covered(of, 1)])
    await committer.wait_until_idle()
    assert group.errors == []
    assert group.commits == [{0: 1}] * 3
    assert of.committed_offset == 1


@committing
async def test_a_lease_that_has_ended_is_not_committed_without_a_handing_over(committer, group):
    dead, live = lease(0), lease(1)
    dead.alive = False
    committer.add([covered(dead, 5)])
    await committer.wait_until_idle()
    assert group.commits == []
    committer.add([covered(dead, 5), covered(live, 6)])
    await committer.wait_until_idle()
    assert group.commits == [{1: 6}]
    assert dead.committed_offset == 0


@committing
async def test_what_is_written_between_a_leases_end_and_the_handing_over_is_committed_by_that(committer, group):
    """Leases end in another thread: otherwise the next owner would send these rows once more."""
    dead, live = lease(0), lease(1)
    dead.alive = False
    committer.add([covered(dead, 5), covered(live, 6)])
    await committer.wait_until_idle()
    live.alive = False
    committer.add([covered(live, 7)])
    with committer.handing_over():
        await committer.wait_until_idle()
    assert group.commits == [{1: 6}, {0: 5, 1: 7}]


@committing
async def test_while_partitions_are_handed_over_ended_leases_are_committed_and_after_it_not(committer, group):
    of, back = lease(0), lease(0)
    of.alive = False
    with committer.handing_over():
        committer.add([covered(of, 5)])
        await committer.wait_until_idle()
    committer.add([covered(back, 6)])
    await committer.wait_until_idle()
    assert group.commits == [{0: 5}, {0: 6}]


@committing
async def test_what_is_not_committed_at_the_end_of_a_handing_over_never_will_be(committer, group):
    late, failed, back = lease(0), lease(1), lease(0)
    late.alive = failed.alive = False
    with committer.handing_over():
        await committer.wait_until_idle()  # it is not the first one
    group.errors = [KafkaTimeoutError()]
    with committer.handing_over():
        committer.add([covered(failed, 5)])
        await asyncio.sleep(COMMIT_SECONDS / 2)
        committer.add([covered(late, 6)])
    assert group.under_way == 1
    idle = asyncio.ensure_future(committer.wait_until_idle())
    await asyncio.sleep(0)
    assert idle.done(), "it waits for a commit that counts no more"
    await asyncio.sleep(COMMIT_SECONDS + RETRY_SECONDS)
    assert group.commits == [{1: 5}]
    assert group.errors == []
    with committer.handing_over():
        committer.add([covered(back, 9)])
        await committer.wait_until_idle()
    assert group.commits == [{1: 5}, {0: 9}]


@committing
async def test_a_handing_over_that_fails_is_over_all_the_same(committer, group):
    of = lease()
    of.alive = False
    with pytest.raises(TimeoutError), committer.handing_over():
        raise TimeoutError
    committer.add([covered(of, 6)])
    await committer.wait_until_idle()
    assert group.commits == []
