"""What the reports must say after the demo's visits, counted from what the browsers sent. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tracker.demo.compare import Visit

WORKSPACE: Final = "demo-workspace"
CAMPAIGN: Final = "demo-campaign"
TEST: Final = "headline"
#: The variants of the demo page's test; a visitor of each comes. The first is the control.
VARIANTS: Final = ("plain-words", "bold-words")
STEPS: Final = ("pageview", "click", "form_submit", "conversion")
GOAL: Final = "conversion"

#: How the reports are asked: the browser that visits is headless, which counts as a bot.
PARAMETERS: Final = {"workspace_id": WORKSPACE, "include_bots": "1"}
#: The reports that are compared, each with its own parameters.
ASKED: Final[Mapping[str, Mapping[str, str]]] = {
    "overview": {},
    "campaign_conversion": {"campaign_id": CAMPAIGN},
    "funnel": {},
    "ab_test_conversion": {"ab_test_id": TEST, "control": VARIANTS[0]},
}

Rows = Sequence[Mapping[str, Any]]


def expected_figures(visits: Mapping[str, Visit]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each report, with the columns that are compared. ``visits``: one of each variant."""
    types = {variant: [event.event_type for event in visit.events] for variant, visit in visits.items()}
    conversions = {variant: each.count(GOAL) for variant, each in types.items()}
    converted = sum(count > 0 for count in conversions.values())
    together = {"sessions": len(visits), "converted_sessions": converted, "conversions": sum(conversions.values())}
    levels = [_steps_taken(each) for each in types.values()]
    return {
        "overview": [
            {**together, "visitors": len(visits), "new_visitors": len(visits), "events": sum(map(len, types.values()))}
        ],
        "campaign_conversion": [{"campaign_id": CAMPAIGN, **together}],
        "funnel": [
            {"step": step, "event_type": name, "sessions": sum(level >= step for level in levels)}
            for step, name in enumerate(STEPS, start=1)
        ],
        "ab_test_conversion": [
            {
                "variant_id": variant,
                "visitors": 1,
                "conversions": conversions[variant],
                # Two visitors decide nothing, and the report has to say so.
                "verdict": "control" if variant == VARIANTS[0] else "too few",
            }
            for variant in sorted(visits)
        ],
    }


def wrong_figures(report: str, expected: Rows, rows: Rows) -> list[str]:
    """Return the figures of a report that are not as expected, in words."""
    if len(rows) != len(expected):
        return [f"{report} has {len(rows)} rows instead of {len(expected)}"]
    return [
        f"{report}, row {place}: {column} is {row.get(column)} instead of {value}"
        for place, (should, row) in enumerate(zip(expected, rows, strict=True), start=1)
        for column, value in should.items()
        if row.get(column) != value
    ]


def _steps_taken(types: Sequence[str]) -> int:
    level = 0
    for each in types:
        if level < len(STEPS) and each == STEPS[level]:
            level += 1
    return level
