"""A few seeds in a few seconds, for everybody's own machine; ``test_simulation.py`` runs thousands."""

import os

from tests.simulation.run import run_seed

SEEDS = range(int(os.environ.get("FEW_SEEDS", "60")))


def test_all_promises_hold_on_a_few_seeds():
    failed = {seed: wrong for seed in SEEDS if (wrong := run_seed(seed).violations)}
    assert failed == {}, "replay with: make simulate SEED=…"
