"""W + 1 is committed for lag tools, and the gauges say what is held."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata

from tests.sessions_log import START_MS
from tests.unit.process.one_partition import TP, OnePartition
from tracker import clock
from tracker.kafka.spread import decode_spread
from tracker.process import metrics
from tracker.process.assumptions import LogId
from tracker.process.group_commit import commit_forever
from tracker.streaming.lease import Lease

INTERVAL_MS = 1_000


class Committing:
    """A process that commits: ``answers`` says what becomes of each commit, True once they are used up."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.answers: list[bool | Exception] = []
        self.commits: list[dict[TopicPartition, OffsetAndMetadata]] = []
        self.committed_at: list[float] = []
        self.leases_book = SimpleNamespace(live=lambda: self.leases)
        thread = SimpleNamespace(commit_group=self._commit_group)
        self.app = SimpleNamespace(leases=self.leases_book, chunk_consumer=SimpleNamespace(thread=thread))

    async def _commit_group(self, offsets):
        self.commits.append(offsets)
        self.committed_at.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def offsets(self) -> list[int]:
        return [offsets[TP].offset for offsets in self.commits]


@pytest.fixture
def committing(monkeypatch: pytest.MonkeyPatch) -> Committing:
    monkeypatch.setattr(clock, "now_ms", lambda: START_MS + 90_000)
    return Committing()


def run(committing: Committing, steps) -> None:
    """Let it commit in virtual time; each step is done, then an interval passes."""
    partition = OnePartition()

    async def test() -> None:
        await partition.open_lease()
        committing.leases.append(partition.lease)
        task = asyncio.ensure_future(commit_forever(committing.app, INTERVAL_MS))
        await asyncio.sleep(INTERVAL_MS / 2_000)
        for step in steps:
            step(partition)
            await asyncio.sleep(INTERVAL_MS / 1_000)
        task.cancel()

    partition.run(test)


def w(watermark: int):
    def step(partition: OnePartition) -> None:
        partition.lease.watermark = watermark

    return step


def test_the_offset_after_w_is_committed_once_and_again_when_it_has_moved(committing):
    run(committing, [w(4), w(4), w(9)])
    assert committing.offsets == [5, 10]
    assert committing.commits == [{TP: OffsetAndMetadata(5, "")}, {TP: OffsetAndMetadata(10, "")}]
    assert committing.committed_at[1] - committing.committed_at[0] == pytest.approx(2 * INTERVAL_MS / 1_000, abs=1e-6)


def test_a_commit_says_among_how_many_partitions_keys_are_spread(committing):
    def know(partition: OnePartition) -> None:
        partition.lease._log_id = LogId(partitions=12)
        partition.lease.watermark = 4

    run(committing, [know])
    assert [decode_spread(offsets[TP].metadata) for offsets in committing.commits] == [12]


@pytest.mark.parametrize("metadata", ["", "12", "partitions=", "partitions=x", "partitions=-1", "17:3"])
def test_a_commit_that_does_not_say_it_is_passed_over(metadata):
    assert decode_spread(metadata) == 0


@pytest.mark.parametrize("answer", [False, KafkaTimeoutError()])
def test_a_commit_that_was_not_taken_is_tried_again(committing, answer):
    committing.answers = [answer]
    run(committing, [w(4), w(4), w(4)])
    assert committing.offsets == [5, 5]


def test_leases_of_other_stages_are_not_committed(committing):
    committing.leases.append(Lease(TopicPartition("other", 0), 0, 5))
    run(committing, [w(4)])
    assert [set(offsets) for offsets in committing.commits] == [{TP}]


def test_the_gauges_say_what_is_held_and_how_far_the_log_is_behind(committing):
    def hold(partition: OnePartition) -> None:
        partition.lease.open_sessions, partition.lease.known_sessions = 3, 4
        partition.lease.fold.stream_time_ms = START_MS

    run(committing, [hold])
    found = [gauge._value.get() for gauge in (metrics.LEASES, metrics.OPEN_SESSIONS, metrics.KNOWN_SESSIONS)]
    assert found == [1, 3, 4]
    assert metrics.STREAM_TIME_LAG._value.get() == 90.0


def test_the_lag_is_that_of_the_partition_that_is_furthest_behind(committing):
    other = OnePartition()
    other.run(other.open_lease)
    other.lease.tp = TP._replace(partition=0)

    def hold(partition: OnePartition) -> None:
        for lease, behind_ms in ((other.lease, 30_000), (partition.lease, 60_000)):
            lease.open_sessions = 1
            lease.fold.stream_time_ms = START_MS + 90_000 - behind_ms
        committing.leases.append(other.lease)

    run(committing, [hold])
    assert metrics.STREAM_TIME_LAG._value.get() == 60.0
    assert metrics.LEASES._value.get() == 2


def test_a_partition_without_open_sessions_has_no_lag_and_a_clock_that_is_behind_none_either(committing):
    run(committing, [lambda partition: setattr(partition.lease.fold, "stream_time_ms", START_MS)])
    assert metrics.STREAM_TIME_LAG._value.get() == 0

    def ahead(partition: OnePartition) -> None:
        partition.lease.open_sessions = 1
        partition.lease.fold.stream_time_ms = START_MS + 100_000

    run(committing, [ahead])
    assert metrics.STREAM_TIME_LAG._value.get() == 0
