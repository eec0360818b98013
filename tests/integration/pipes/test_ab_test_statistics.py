"""What ``ab_test_conversion`` concludes: as scipy does on one look; how often it errs if tests are looked at daily."""

import json
from collections.abc import Iterator
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from tests.integration.pipes.simulated_tests import DrawnTests, Simulation, drawn_tests

ALPHA = 0.05
PLANNED = 10_000
SRM_CONCENTRATION = 1_000
#: What is written as a rate is rounded to six digits.
ROUNDED = 1e-6

AA = Simulation({"control": 0.05, "new": 0.05}, visitors_a_day=1_000)
AB = Simulation({"control": 0.05, "new": 0.06}, visitors_a_day=1_400)


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrawnTests]:
    with drawn_tests(tmp_path_factory.mktemp("drawn")) as running:
        yield running


def interval(
    n: int, converted: int, control_n: int, control_converted: int, alpha: float
) -> tuple[float, float, float]:
    """Return the difference's interval and its p-value, as docs/decisions/0042 has them."""
    smooth = stats.beta(converted + 1, n - converted + 1).mean()
    smooth_control = stats.beta(control_converted + 1, control_n - control_converted + 1).mean()
    variance = stats.bernoulli(smooth).var() / n + stats.bernoulli(smooth_control).var() / control_n
    weight = (log(1 - 2 * log(alpha)) - 2 * log(alpha)) / PLANNED
    # The mixture's variance in the units of the estimate's: what a normal prior of the effect has.
    prior = variance * weight * (n + control_n)
    difference = converted / n - control_converted / control_n
    # The likelihood ratio of the mixture against no effect, as of Johari and others: 1 / p.
    ratio = stats.norm(0, sqrt(variance + prior)).pdf(difference) / stats.norm(0, sqrt(variance)).pdf(difference)
    half = sqrt(variance * (variance + prior) / prior * (log((variance + prior) / variance) - 2 * log(alpha)))
    return difference - half, difference + half, min(1.0, 1 / ratio)


def srm_p_value(visitors: list[int], shares: list[float]) -> float:
    """Return 1 / Bayes factor of any shares against the given ones, by scipy's distributions."""
    total = sum(visitors)
    given = stats.multinomial.logpmf(visitors, total, shares)
    any_shares = stats.dirichlet_multinomial.logpmf(visitors, [SRM_CONCENTRATION * share for share in shares], total)
    return min(1.0, exp(given - any_shares))


def test_one_look_is_what_scipy_makes_of_the_same_counts(tests: DrawnTests):
    rng = np.random.default_rng(20)
    looked = {}
    for number in range(200):
        n, control_n = (int(10 ** rng.uniform(2.5, 5.5)) for _ in range(2))
        rate = rng.uniform(0.05, 0.95)
        converted, control_converted = int(rng.binomial(n, rate)), int(rng.binomial(control_n, rate * 0.98))
        looked[f"{number:03}"] = (n, converted, control_n, control_converted)
    counted = [
        row
        for name, (n, converted, control_n, control_converted) in looked.items()
        for row in ((name, "control", control_n, control_converted), (name, "new", n, converted))
    ]
    tests.add("scipy", counted)
    rows = {(row["ab_test_id"], row["variant_id"]): row for row in tests.ask("scipy")}
    for name, counts in looked.items():
        row = rows[name, "new"]
        low, high, p_value = interval(*counts, ALPHA)
        assert row["difference_low"] == pytest.approx(max(low, -1), abs=ROUNDED)
        assert row["difference_high"] == pytest.approx(min(high, 1), abs=ROUNDED)
        assert row["p_value"] == pytest.approx(p_value, abs=ROUNDED)
        chi_square = stats.chisquare([counts[2], counts[0]])
        assert row["srm_chi_square"] == pytest.approx(chi_square.statistic, rel=1e-6, abs=1e-4)
        assert row["srm_chi_square_p_value"] == pytest.approx(chi_square.pvalue, abs=ROUNDED)
        assert row["srm_p_value"] == pytest.approx(srm_p_value([counts[2], counts[0]], [0.5, 0.5]), abs=ROUNDED)


@pytest.mark.parametrize("variants", [1, 2, 3, 4, 5, 8])
def test_the_spread_over_several_variants_is_checked_as_scipy_does(tests: DrawnTests, variants: int):
    rng = np.random.default_rng(variants)
    weights = rng.integers(1, 5, variants)
    shares = weights / weights.sum()
    visitors = [int(count) for count in rng.multinomial(5_000, shares)]
    names = [f"v{number}" for number in range(variants)]
    tests.add(f"{variants} variants", [("t", name, count, 7) for name, count in zip(names, visitors, strict=True)])
    split = json.dumps(dict(zip(names, weights.tolist(), strict=True)))
    for row in tests.ask(f"{variants} variants", ab_test_id="t", split=split):
        chi_square = stats.chisquare(visitors, shares * 5_000)
        expected = (1, 0) if variants == 1 else (chi_square.pvalue, chi_square.statistic)
        assert (row["srm_chi_square_p_value"], row["srm_chi_square"]) == pytest.approx(expected, abs=1e-4)
        assert row["srm_p_value"] == pytest.approx(srm_p_value(visitors, list(shares)), abs=ROUNDED)
        assert row["expected_share"] == pytest.approx(shares[names.index(row["variant_id"])], abs=1e-4)


def test_a_variant_that_nobody_has_seen_and_one_that_nobody_should_see_are_a_mismatch(tests: DrawnTests):
    tests.add("missing", [("t", "control", 500, 50), ("t", "new", 500, 50)])
    rows = tests.ask("missing", ab_test_id="t", split='{"control": 1, "new": 1, "other": 1}')
    assert [(row["variant_id"], row["visitors"], row["verdict"]) for row in rows] == [
        ("control", 500, "control"),
        ("new", 500, "sample ratio mismatch"),
        ("other", 0, "sample ratio mismatch"),
    ]
    rows = tests.ask("missing", ab_test_id="t", split='{"control": 1}')
    assert [(row["verdict"], row["srm_p_value"]) for row in rows] == [("control", 0), ("sample ratio mismatch", 0)]


def test_a_spread_as_it_was_wanted_has_p_1_with_any_number_of_variants(tests: DrawnTests):
    for variants in range(1, 7):
        tests.add(f"even {variants}", [("t", f"v{number}", 500, 50) for number in range(variants)])
        found = {(row["srm_chi_square"], row["srm_chi_square_p_value"]) for row in tests.ask(f"even {variants}")}
        assert found == {(0, 1)}


@pytest.mark.parametrize(
    "split", ["half", "[1, 1]", '{"control": 0, "new": 0}', '{"control": -1, "new": 2}', '{"new": "x"}']
)
def test_shares_that_are_none_are_a_mismatch_rather_than_no_check(tests: DrawnTests, split: str):
    tests.add(f"wrong {split}", [("t", "control", 500, 50), ("t", "new", 500, 150)])
    (control, new) = tests.ask(f"wrong {split}", split=split)
    assert (control["srm_p_value"], new["srm_p_value"], new["verdict"]) == (0, 0, "sample ratio mismatch")


@pytest.mark.parametrize("name", ['it\'s "q"', "50 % off", "{{x}} {% if %}", "back\\slash \\%", "späti ü"])
def test_names_may_be_any_text(tests: DrawnTests, name: str):
    tests.add(
        f"names {name.encode().hex()}",
        [(name, name, 500, 50), (name, "other", 500, 150), ("another test", "a", 500, 150)],
    )
    split = json.dumps({name: 1, "other": 1})
    rows = {
        row["variant_id"]: row
        for row in tests.ask(f"names {name.encode().hex()}", ab_test_id=name, control=name, split=split)
    }
    assert {variant: row["verdict"] for variant, row in rows.items()} == {name: "control", "other": "better"}


@pytest.mark.parametrize(
    ("control", "new", "verdict"),
    [
        ((100, 100), (100, 100), "too few"),  # all convert
        ((100, 0), (100, 0), "too few"),
        ((1, 0), (1, 1), "too few"),
        ((100, 0), (100, 100), "better"),
        ((100, 100), (100, 50), "worse"),
    ],
)
def test_extreme_counts_give_numbers_and_no_hasty_verdict(
    tests: DrawnTests, control: tuple[int, int], new: tuple[int, int], verdict: str
):
    workspace = f"extreme {control} {new}"
    tests.add(workspace, [("t", "control", *control), ("t", "new", *new)])
    (_, row) = tests.ask(workspace)
    assert (row["verdict"], row["difference"]) == (verdict, new[1] / new[0] - control[1] / control[0])
    assert (row["difference_low"] is None) == (verdict == "too few")


def test_a_handful_of_conversions_decides_nothing(tests: DrawnTests):
    tests.add("few", [("t", "control", 90, 0), ("t", "new", 90, 19)])
    tests.add("enough", [("t", "control", 90, 0), ("t", "new", 90, 45)])
    (_, few), (_, enough) = tests.ask("few"), tests.ask("enough")
    assert (few["verdict"], few["difference_low"], few["p_value"]) == ("too few", None, None)
    assert (enough["verdict"], enough["difference_low"] > 0) == ("better", True)


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
    claims = np.abs(looks["difference"][..., 1]) / error > stats.norm.ppf(1 - ALPHA / 2)
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
