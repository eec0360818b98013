"""Faults on a real Kafka in their short form: one strike each, few workers. The long form is ``make faults``."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.run import run_fault
from tests.faults.world import Size
from tests.fixtures.cluster import KafkaCluster
from tracker.local.kafka import LocalKafka

SIZE = Size(workers=2, partitions=4, events_per_second=1_000)
SHORT_FORM = {
    "kill-after-changelog-1": 1,
    "kill-in-recovery": 1,
    "zombie-before-changelog": 1,
    "joins": 2,
}
#: On three brokers.
SHORT_FORM_ON_THREE = ("leader-killed", "one-down-at-start")


@pytest.mark.parametrize("name", SHORT_FORM)
def test_every_event_is_numbered_once_and_every_session_closes_once_through(
    name: str, kafka_broker: LocalKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_holds(name, KafkaCluster.of_one(kafka_broker), tmp_path, SHORT_FORM[name], capsys)


@pytest.mark.parametrize("name", SHORT_FORM_ON_THREE)
def test_on_three_brokers_every_event_is_numbered_once_and_every_session_closes_once_through(
    name: str, kafka_cluster: KafkaCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_holds(name, kafka_cluster, tmp_path, 1, capsys)


def assert_holds(
    name: str, cluster: KafkaCluster, tmp_path: Path, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run a fault, and say first which seed runs it again."""
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**16)))
    with capsys.disabled():
        print(f"\n{name}: seed {seed} (again with TRACKER_TEST_SEED={seed})")
    outcome = asyncio.run(run_fault(FAULTS[name], cluster, tmp_path, seed=seed, size=SIZE, times=times))
    assert outcome.problems == ""
    assert outcome.times_struck >= times
    assert outcome.least_backlog > 0
