"""What ``ab_test_conversion`` concludes from one look at the counts: as scipy does."""

import json
from collections.abc import Iterator
from math import exp, log, sqrt

import numpy as np
import pytest
import scipy  # loads its parts when they are used: it would cost each process of the tests a second

from tests.integration.pipes.simulated_tests import DrawnTests, drawn_tests

ALPHA = 0.05
PLANNED = 10_000
SRM_CONCENTRATION = 1_000
#: What is written as a rate is rounded to six digits.
ROUNDED = 1e-6


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrawnTests]:
    with drawn_tests(tmp_path_factory.mktemp("drawn")) as running:
        yield running


def interval(
    n: int, converted: int, control_n: int, control_converted: int, alpha: float, *, planned: int = PLANNED
) -> tuple[float, float, float]:
    """Return the difference's interval and its p-value, as docs/decisions/0042 has them."""
    smooth = scipy.stats.beta(converted + 1, n - converted + 1).mean()
    smooth_control = scipy.stats.beta(control_converted + 1, control_n - control_converted + 1).mean()
    variance = scipy.stats.bernoulli(smooth).var() / n + scipy.stats.bernoulli(smooth_control).var() / control_n
    weight = (log(1 - 2 * log(alpha)) - 2 * log(alpha)) / planned
    # The mixture's variance in the units of the estimate's: what a normal prior of the effect has.
    prior = variance * weight * (n + control_n)
    difference = converted / n - control_converted / control_n
    # The likelihood ratio of the mixture against no effect, as of Johari and others: 1 / p.
    mixture, no_effect = scipy.stats.norm(0, sqrt(variance + prior)), scipy.stats.norm(0, sqrt(variance))
    ratio = mixture.pdf(difference) / no_effect.pdf(difference)
    half = sqrt(variance * (variance + prior) / prior * (log((variance + prior) / variance) - 2 * log(alpha)))
    return difference - half, difference + half, min(1.0, 1 / ratio)


def srm_p_value(visitors: list[int], shares: list[float]) -> float:
    """Return 1 / Bayes factor of any shares against the given ones, by scipy's distributions."""
    total = sum(visitors)
    given = scipy.stats.multinomial.logpmf(visitors, total, shares)
    concentrations = [SRM_CONCENTRATION * share for share in shares]
    any_shares = scipy.stats.dirichlet_multinomial.logpmf(visitors, concentrations, total)
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
        chi_square = scipy.stats.chisquare([counts[2], counts[0]])
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
    rows = tests.ask(f"{variants} variants", ab_test_id="t", split=split)
    assert [row["variant_id"] for row in rows] == names
    for row in rows:
        chi_square = scipy.stats.chisquare(visitors, shares * 5_000)
        expected = (1, 0) if variants == 1 else (chi_square.pvalue, chi_square.statistic)
        assert (row["srm_chi_square_p_value"], row["srm_chi_square"]) == pytest.approx(expected, abs=1e-4)
        assert row["srm_p_value"] == pytest.approx(srm_p_value(visitors, list(shares)), abs=ROUNDED)
        assert row["expected_share"] == pytest.approx(shares[names.index(row["variant_id"])], abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "alpha", "planned"),
    [({"confidence_percent": "99"}, 0.01, PLANNED), ({"planned_visitors": "700"}, ALPHA, 700)],
)
def test_an_interval_has_the_confidence_and_the_plan_that_are_asked_for(
    tests: DrawnTests, asked: dict[str, str], alpha: float, planned: int
):
    tests.add(f"asked {asked}", [("t", "control", 1_000, 100), ("t", "new", 1_010, 130)])
    (_, row) = tests.ask(f"asked {asked}", **asked)
    expected = interval(1_010, 130, 1_000, 100, alpha, planned=planned)
    assert expected != pytest.approx(interval(1_010, 130, 1_000, 100, ALPHA), abs=ROUNDED)
    assert (row["difference_low"], row["difference_high"], row["p_value"]) == pytest.approx(expected, abs=ROUNDED)


def test_with_several_variants_the_intervals_share_the_error_that_may_be_made(tests: DrawnTests):
    counts = {"a": (2_000, 150), "b": (2_050, 101), "control": (2_010, 100), "d": (1_990, 180)}
    tests.add("several", [("t", name, *counted) for name, counted in counts.items()])
    rows = {row["variant_id"]: row for row in tests.ask("several")}
    control = rows.pop("control")
    assert (control["verdict"], control["p_value"], control["difference_low"]) == ("control", None, None)
    for name, row in rows.items():
        low, high, p_value = interval(*counts[name], *counts["control"], ALPHA / 3)
        found = (row["difference_low"], row["difference_high"], row["p_value"])
        assert found == pytest.approx((low, high, min(1, 3 * p_value)), abs=ROUNDED)
        assert row["verdict"] == ("better" if low > 0 else "undecided")
    assert {row["verdict"] for row in rows.values()} == {"better", "undecided"}


def test_the_figures_of_each_variant_are_those_of_its_visitors_and_none_where_there_are_none(tests: DrawnTests):
    tests.add(
        "figures", [("t", "control", 400, 100), ("t", "new", 600, 60), ("none", "b", 400, 0), ("none", "c", 9, 3)]
    )
    split = {"split": '{"control": 1, "new": 2, "unseen": 1}'}
    named = ("visitors", "converted_visitors", "conversion_rate", "difference", "lift", "share", "expected_share")
    found = [tuple(row[name] for name in named) for row in tests.ask("figures", ab_test_id="t", **split)]
    assert found == [
        (400, 100, 0.25, 0, 0, 0.4, 0.25),
        (600, 60, 0.1, -0.15, -0.6, 0.6, 0.5),
        (0, 0, None, None, None, 0, 0.25),
    ]
    found = [tuple(row[name] for name in named[2:5]) for row in tests.ask("figures", ab_test_id="none")]
    assert found == [(0, 0, None), (0.333333, 0.333333, None)]
    assert [row["variant_id"] for row in tests.ask("figures", limit="3")] == ["b", "c", "control"]


def test_without_a_control_of_that_name_the_first_variant_is_compared_with(tests: DrawnTests):
    tests.add("first", [("t", name, 500, 50) for name in ("c", "b", "d")])
    for asked, control in (({}, "b"), ({"control": "nothing"}, "b"), ({"control": "d"}, "d")):
        rows = tests.ask("first", **asked)
        assert [row["variant_id"] for row in rows if row["verdict"] == "control"] == [control]


def test_the_spread_is_a_mismatch_below_one_percent(tests: DrawnTests):
    spreads = {f"{skew:02}": [500 + skew, 500 - skew] for skew in range(0, 99, 3)}
    tests.add(
        "skewed",
        [
            (name, variant, count, 50)
            for name, counts in spreads.items()
            for variant, count in zip(("control", "new"), counts, strict=True)
        ],
    )
    verdicts = {row["ab_test_id"]: row["verdict"] for row in tests.ask("skewed") if row["variant_id"] == "new"}
    expected = {
        name: "sample ratio mismatch" if srm_p_value(counts, [0.5, 0.5]) < 0.01 else "undecided"
        for name, counts in spreads.items()
    }
    assert verdicts == expected
    assert 5 < list(expected.values()).count("undecided") < len(expected) - 5


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


@pytest.mark.parametrize(
    ("control", "new", "is_enough"),
    [
        ((100, 10), (100, 10), True),
        ((100, 10), (100, 9), False),
        ((100, 89), (100, 89), True),
        ((100, 91), (100, 90), False),
        ((1_000, 100), (90, 9), False),  # the smaller group decides
        ((1_000, 100), (110, 11), True),
        ((90, 9), (1_000, 100), False),
    ],
)
def test_ten_visitors_of_the_smaller_group_have_to_be_expected_to_convert_and_ten_not_to(
    tests: DrawnTests, control: tuple[int, int], new: tuple[int, int], is_enough: bool
):
    tests.add(f"ten {control} {new}", [("t", "control", *control), ("t", "new", *new)])
    split = {"split": json.dumps({"control": control[0], "new": new[0]})}
    (_, row) = tests.ask(f"ten {control} {new}", **split)
    assert row["verdict"] == ("undecided" if is_enough else "too few")
    assert (row["p_value"] is not None, row["difference_high"] is not None) == (is_enough, is_enough)


def test_a_handful_of_conversions_decides_nothing(tests: DrawnTests):
    tests.add("few", [("t", "control", 90, 0), ("t", "new", 90, 19)])
    tests.add("enough", [("t", "control", 90, 0), ("t", "new", 90, 45)])
    (_, few), (_, enough) = tests.ask("few"), tests.ask("enough")
    assert (few["verdict"], few["difference_low"], few["p_value"]) == ("too few", None, None)
    assert (enough["verdict"], enough["difference_low"] > 0) == ("better", True)
