"""How often ``ab_test_conversion`` errs if tests are looked at daily: thousands of tests, drawn at random."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import scipy  # loads its parts when they are used: it would cost each process of the tests a second

from tests.integration.pipes.simulated_tests import DrawnTests, Simulation, drawn_tests

ALPHA = 0.05
#: What is written as a rate is rounded to six digits.
ROUNDED = 1e-6

AA = Simulation({"control": 0.05, "new": 0.05}, visitors_a_day=1_000)
AB = Simulation({"control": 0.05, "new": 0.06}, visitors_a_day=1_400)


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrawnTests]:
    with drawn_tests(tmp_path_factory.mktemp("drawn")) as running:
        yield running


@pytest.mark.parametrize(
    "simulation",
    [
        pytest.param(AA, id="equal shares"),
        pytest.param(
            Simulation({"control": 0.05, "new": 0.05}, visitors_a_day=500, shares={"control": 0.9, "new": 0.1}),
            id="one in ten",
        ),
        pytest.param(Simulation({"control": 0.004, "new": 0.004}, visitors_a_day=2_000), id="rare conversions"),
        pytest.param(
            Simulation(dict.fromkeys(("a", "b", "control", "d"), 0.1), visitors_a_day=1_500), id="four variants"
        ),
    ],
)
def test_of_a_thousand_tests_without_a_difference_at_most_5_percent_ever_claim_one(
    tests: DrawnTests, simulation: Simulation, record_property
):
    split = {} if simulation.shares is None else {"split": json.dumps(simulation.shares)}
    looks = tests.look_daily(simulation, seed=simulation.visitors_a_day, **split)
    claims = np.isin(looks["verdict"], ["better", "worse"])
    assert np.isin(looks["verdict"], ["undecided", "better", "worse"]).any(axis=(1, 2)).mean() > 0.99
    record_property("false alarms", float(claims.any(axis=(1, 2)).mean()))
    assert claims.any(axis=(1, 2)).mean() <= 0.05


def test_an_ordinary_test_looked_at_daily_would_claim_one_in_more_than_a_fifth(tests: DrawnTests, record_property):
    """Else the test above could not fail."""
    looks = tests.look_daily(AA, seed=1)
    n, converted = looks["visitors"], looks["converted_visitors"]
    pooled = converted.sum(axis=2) / n.sum(axis=2)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n[..., 0] + 1 / n[..., 1]))
    claims = np.abs(looks["difference"][..., 1]) / error > scipy.stats.norm.ppf(1 - ALPHA / 2)
    record_property("false alarms at the end, ever", f"{claims[:, -1].mean()}, {claims.any(axis=1).mean()}")
    assert claims[:, -1].mean() < 0.08
    assert claims.any(axis=1).mean() > 0.2


def test_the_interval_covers_a_true_difference_at_every_look_at_once(tests: DrawnTests, record_property):
    looks = tests.look_daily(AB, seed=2)
    low, high = (looks[f"difference_{end}"][..., 1].astype(float) for end in ("low", "high"))
    misses = (low > 0.01 + ROUNDED) | (high < 0.01 - ROUNDED)  # none where there is no interval yet
    record_property("tests with a miss", float(misses.any(axis=1).mean()))
    assert misses.any(axis=1).mean() <= ALPHA


def test_a_planted_lift_is_found(tests: DrawnTests, record_property):
    """5 % against 6 %, 700 visitors a day each: docs/decisions/0042 gives these figures."""
    better = tests.look_daily(AB, seed=3)["verdict"][..., 1] == "better"
    power_by_day = better.cumsum(axis=1).astype(bool).mean(axis=0)
    first_day = better.argmax(axis=1)[better.any(axis=1)] + 1
    record_property("power after 15 and 30 days", f"{power_by_day[14]:.3f}, {power_by_day[29]:.3f}")
    record_property("mean day of the verdict", f"{first_day.mean():.1f}")
    assert power_by_day[14] > 0.55
    assert power_by_day[29] > 0.9


def test_the_spread_is_looked_at_daily_without_harm_and_a_skewed_one_is_found(tests: DrawnTests, record_property):
    fair = tests.look_daily(AA, seed=4)["srm_p_value"][..., 0]
    assert (fair < 0.01).any(axis=1).mean() <= 0.01
    skewed = Simulation(AA.rates, visitors_a_day=1_000, shares={"control": 0.52, "new": 0.48})
    looks = tests.look_daily(skewed, seed=5)
    assert (looks["verdict"][:, -1, 1] == "sample ratio mismatch").mean() > 0.95
    median_day = np.median((looks["srm_p_value"][..., 0] < 0.01).argmax(axis=1)) + 1
    record_property("false mismatches, median day of a true one", f"{(fair < 0.01).any(axis=1).mean()}, {median_day}")
    assert median_day < 15
