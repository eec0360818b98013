"""The figures that the demo's reports must have, and that a wrong one is found."""

from typing import Any

import pytest

from tracker.demo.compare import SentEvent, Visit
from tracker.demo.figures import ASKED, VARIANTS, expected_figures, wrong_figures


def visited(*types: str) -> Visit:
    return Visit("s", types, tuple(SentEvent(str(place), each, "") for place, each in enumerate(types)))


VISITS = {
    VARIANTS[0]: visited("pageview", "click", "scroll", "form_submit", "conversion", "conversion"),
    VARIANTS[1]: visited("click", "pageview", "conversion"),
}


def test_the_figures_are_counted_from_what_was_sent() -> None:
    figures = expected_figures(VISITS)
    assert figures.keys() == ASKED.keys()
    counts = {"sessions": 2, "converted_sessions": 2, "conversions": 3}
    assert figures["overview"] == [{**counts, "visitors": 2, "new_visitors": 2, "events": 9}]
    assert figures["campaign_conversion"] == [{**counts, "campaign_id": "demo-campaign"}]
    assert [step["sessions"] for step in figures["funnel"]] == [2, 1, 1, 1]
    assert [(row["variant_id"], row["conversions"], row["verdict"]) for row in figures["ab_test_conversion"]] == [
        ("bold-words", 1, "too few"),
        ("plain-words", 2, "control"),
    ]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "overview has 0 rows instead of 1"),
        ([{"sessions": 1, "more": 7}], "overview, row 1: sessions is 1 instead of 2"),
        ([{"more": 7}], "overview, row 1: sessions is None instead of 2"),
    ],
)
def test_a_wrong_figure_is_named(rows: list[dict[str, Any]], fault: str) -> None:
    assert wrong_figures("overview", [{"sessions": 2}], rows) == [fault]
    assert wrong_figures("overview", [{"sessions": 2}], [{"sessions": 2, "more": 7}]) == []
