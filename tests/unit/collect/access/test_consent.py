"""Of two signals of a browser the stricter policy wins."""

import pytest

from tracker.collect.access import consent


@pytest.mark.parametrize(
    ("dnt", "gpc", "expected"),
    [
        (False, False, "ignore"),
        (True, False, "anonymous"),
        (False, True, "drop"),
        (True, True, "drop"),
    ],
)
def test_the_stricter_policy_wins(dnt, gpc, expected):
    assert consent.asked_for(dnt=dnt, gpc=gpc, dnt_policy="anonymous", gpc_policy="drop")[0] == expected
