"""Faults on a real Kafka in their short form: one strike each, few workers. The long form is ``make faults``."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.run import run_fault
from tests.faults.world import Size
from tracker.local.kafka import LocalKafka

SIZE = Size(workers=2, partitions=4, events_per_second=1_000)
SHORT_FORM = {
    "kill-after-changelog-1": 1,
    "kill-in-recovery": 1,
    "zombie-before-changelog": 1,
    "joins": 2,
}


@pytest.mark.parametrize("name", SHORT_FORM)
def test_every_event_is_numbered_once_and_every_session_closes_once_through(
    name: str, kafka_broker: LocalKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**16)))
    with capsys.disabled():
        print(f"\n{name}: seed {seed} (again with TRACKER_TEST_SEED={seed})")
    outcome = asyncio.run(run_fault(FAULTS[name], kafka_broker, tmp_path, seed=seed, size=SIZE, times=SHORT_FORM[name]))
    assert outcome.problems == ""
    assert outcome.times_struck >= SHORT_FORM[name]
    assert outcome.least_backlog > 0
