"""Of two signals of a browser the stricter policy wins."""

import pytest

from tracker.collect.access import consent


@pytest.mark.parametrize(
    ("dnt", "gpc", "expected"),
    [
        (False, False, ("ignore", "gpc")),
        (True, False, ("anonymous", "dnt")),
        (False, True, ("drop", "gpc")),
        (True, True, ("drop", "gpc")),
    ],
)
def test_the_stricter_policy_wins_and_is_told_with_its_signal(dnt, gpc, expected):
    assert consent.asked_for(dnt=dnt, gpc=gpc, dnt_policy="anonymous", gpc_policy="drop") == expected


@pytest.mark.parametrize("policy", ["ignore", "anonymous", "drop"])
def test_of_two_signals_with_one_policy_the_newer_one_is_named(policy):
    assert consent.asked_for(dnt=True, gpc=True, dnt_policy=policy, gpc_policy=policy) == (policy, "gpc")
