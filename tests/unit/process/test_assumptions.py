"""A processor ends where its log or its topics are not those that it takes them for, and says what to do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from topics.catalog import CHANGELOG, SOURCE, TIMESTAMP_TYPE
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.admin import BrokerTopic
from tracker.process import assumptions
from tracker.process.assumptions import LogId, check_topics
from tracker.sessions.state import Watermark
from tracker.settings import Settings

OURS = LogId(cluster="c", source="id-1", changelog="id-2", partitions=4)


def mark(topic_id: str = "", partitions: int = 0) -> Watermark:
    return Watermark(stream_time_ms=1, topic_id=topic_id, partitions=partitions)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (OURS, mark("id-1", 4)),
        (OURS, mark()),  # written by a release that did not note it
        (LogId(), mark("id-9", 9)),  # a broker that has no ids
        (OURS, mark("id-1", 0)),
        (OURS, mark("", 4)),
    ],
)
def test_states_of_the_same_log_or_of_one_that_is_not_known_are_taken_over(ours: LogId, theirs: Watermark):
    ours.require_same(theirs, "tracker.events")


def test_states_of_a_topic_of_the_same_name_are_not_taken_for_this_ones():
    with pytest.raises(ConfigurationError, match=r"tracker\.events was deleted and made again"):
        OURS.require_same(mark("id-9", 4), "tracker.events")


def test_states_that_are_spread_otherwise_are_not_numbered_anew():
    with pytest.raises(ConfigurationError, match=r"among 8 partitions, TRACKER_PARTITIONS is 4.*set it to 8"):
        OURS.require_same(mark("id-1", 8), "tracker.events")


class Cluster:
    """Topics as the broker has them; ``denies`` makes it refuse to show their configuration."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings(_env_file=None, partitions=2)
        self.error: Exception | None = None
        self.timestamp_type = "LogAppendTime"
        self.asked: list[dict[str, list[str]]] = []
        monkeypatch.setattr(assumptions, "connect", self._connect)
        monkeypatch.setattr(assumptions, "describe_configs", self._describe)

    @asynccontextmanager
    async def _connect(self, settings: Settings) -> AsyncIterator[str]:
        assert settings is self.settings
        yield "the client"

    async def _describe(self, admin: str, wanted: dict[str, list[str]]) -> dict[str, dict[str, str]]:
        assert admin == "the client"
        self.asked.append(wanted)
        if self.error is not None:
            raise self.error
        return {name: {TIMESTAMP_TYPE: self.timestamp_type} for name in wanted}

    async def check(self, partitions: int = 2, *, others: int = 2) -> None:
        names = {SOURCE.name("tracker."): partitions, CHANGELOG.name("tracker."): others}
        found = {name: BrokerTopic(name, count, 1, count) for name, count in names.items() if count}
        await check_topics(self.settings, found)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


async def test_topics_as_they_should_be_are_looked_at_once(cluster: Cluster):
    await cluster.check()
    assert cluster.asked == [{"tracker.events": [TIMESTAMP_TYPE]}]


@pytest.mark.parametrize(("partitions", "others", "why"), [(1, 2, "TRACKER_PARTITIONS is 2"), (4, 2, "topics create")])
async def test_too_few_partitions_end_it(cluster: Cluster, partitions: int, others: int, why: str):
    with pytest.raises(ConfigurationError, match=why):
        await cluster.check(partitions, others=others)


async def test_a_source_that_the_broker_does_not_stamp_ends_it(cluster: Cluster):
    cluster.timestamp_type = "CreateTime"
    with pytest.raises(ConfigurationError, match="CreateTime"):
        await cluster.check()


async def test_without_the_right_to_look_it_goes_on_and_without_an_answer_it_does_not(cluster: Cluster):
    cluster.timestamp_type = "CreateTime"
    cluster.error = ConfigurationError("denied")
    await cluster.check()
    cluster.error = RetryableError("no answer")
    with pytest.raises(RetryableError):
        await cluster.check()


async def test_a_topic_that_is_not_there_yet_is_for_others_to_wait_for(cluster: Cluster):
    await cluster.check(0, others=0)
    assert cluster.asked == []
