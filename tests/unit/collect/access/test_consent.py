"""Of two signals of a browser the stricter policy wins."""

import pytest

from tracker.collect.access import consent


@pytest.mark.parametrize(
    ("dnt", "gpc", "expected"),
    [
        (None, None, "ignore"),
        ("0", "0", "ignore"),
        ("1", None, "anonymous"),
        (None, "1", "drop"),
        ("1", "1", "drop"),
    ],
)
def test_the_stricter_policy_wins(dnt, gpc, expected):
    assert consent.asked_for(dnt=dnt, gpc=gpc, dnt_policy="anonymous", gpc_policy="drop")[0] == expected
