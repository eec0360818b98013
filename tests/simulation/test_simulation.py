"""The whole system in virtual time, thousands of seeds: whatever strikes, every event is there once, with one number.

The seeds run in processes of their own, without coverage's tracing: it would take most of the time.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.simulation.planted import PLANTED
from tests.simulation.run import run_seed

FIXED_SEEDS = 1_700
FRESH_SEEDS = 300
#: Each planted bug is caught within so many seeds.
BUG_SEEDS = 600
#: Only a run that hangs takes longer, on the slowest machine.
TIMEOUT_SECONDS = 7_200

#: Kinds of faults and what they lead to: over the fixed seeds, each of them has to have happened.
HAPPENED = (
    "offsets reset",
    "acks lost: written, but an error reported",
    "batches sent twice",
    "broker away",
    "chunks dropped",
    "clock",
    "disk full",
    "exits after a failed request",
    "forwards that came twice",
    "holes in a changelog",
    "killed at after a commit",
    "killed at after a fetch",
    "killed at before a commit",
    "killed at before a tick or forward",
    "killed at an ack",
    "killed at before outputs",
    "killed at before the changelog",
    "killed at between changelog batches",
    "killed at before the store",
    "killed at after the store",
    "killed at in recovery",
    "killed at recovery begins",
    "killed at before Tinybird has the rows",
    "killed at after Tinybird has the rows",
    "lose disk",
    "lose power",
    "members evicted",
    "rebalances",
    "records compacted away",
    "records forwarded",
    "records that a state had had",
    "sink batches torn",
    "stopped at before outputs",
    "stopped at before the changelog",
    "stopped at before the store",
    "stopped at recovery begins",
    "stopped at between changelog batches",
    "stopped at in recovery",
    "writes lost with the power",
    "writes refused by a full disk",
    "written by a zombie",
)


def simulate(*arguments: object) -> tuple[int, Any]:
    command = [sys.executable, "-m", "tests.simulation", "--json", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        command, cwd=PROJECT_DIR, env=environment, timeout=TIMEOUT_SECONDS, check=False, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def assert_all_hold(first: int, seeds: int) -> dict[str, int]:
    status, result = simulate("--from", first, "--seeds", seeds)
    failed = "\n".join(f"make simulate SEED={seed}: {wrong}" for seed, wrong in result["failures"].items())
    assert not failed, failed
    assert (status, result["seeds"]) == (0, seeds)
    return result["counters"]


def test_all_promises_hold_on_every_seed_and_each_kind_of_fault_struck():
    counters = assert_all_hold(0, FIXED_SEEDS)
    assert [what for what in HAPPENED if not counters.get(what)] == []


def test_all_promises_hold_on_seeds_that_nobody_has_seen():
    first = time.time_ns() // 1_000_000
    print(f"seeds from {first}")
    assert_all_hold(first, FRESH_SEEDS)


@pytest.fixture(scope="module")
def caught() -> dict[str, dict[str, Any] | None]:
    return simulate("--bugs", "--seeds", BUG_SEEDS)[1]


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug, caught):
    assert caught[bug] is not None, f"not within {BUG_SEEDS} seeds"


def test_a_seed_is_one_run_down_to_the_last_step():
    first, second = (run_seed(7, is_traced=True) for _ in range(2))
    assert first.trace == second.trace
    assert first.counters == second.counters
