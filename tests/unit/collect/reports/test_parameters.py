"""What may be asked of the reports: known names, values that look right, and nothing else."""

from urllib.parse import urlencode

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tracker.collect.errors import RequestError
from tracker.collect.reports.parameters import (
    MAX_FIELDS,
    MAX_TEXT_CHARS,
    PATTERNS,
    REPORTS,
    described_parameters,
    parse_report_query,
)
from tracker.local.tinybird.pipes import read_pipes

GOOD = {
    "workspace_id": "a&b='c",
    "date_from": "2026-03-01 00:00:00",
    "date_to": "2026-03-02 00:00:00",
    "include_bots": "1",
    "limit": "1000",
    "by": "medium",
    "period": "month",
    "window_days": "999",
    "depth": "10",
    "step_4": "ß" * MAX_TEXT_CHARS,
}


def refused(query: str) -> tuple[str, ...]:
    with pytest.raises(RequestError) as refusal:
        parse_report_query(query)
    assert refusal.value.code == "invalid"
    return tuple(refusal.value.reasons)


def test_a_report_is_asked_for_by_its_name_with_its_parameters():
    asked = parse_report_query(urlencode({"report": "overview", **GOOD}))
    assert asked == ("overview", GOOD)


def test_every_report_is_a_pipe_of_this_project():
    assert set(REPORTS) <= read_pipes(PROJECT_DIR / "tinybird").keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date_from", "2026-03-01"),
        ("date_from", "2026-03-01 00:00:00' OR 1"),
        ("date_to", "2026-03-01 00:00:00\n"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", ""),
        ("by", "session_id"),
        ("period", "year"),
        ("depth", "11"),
        ("include_bots", "true"),
        ("campaign_id", ""),
        ("campaign_id", "a\x00"),
        ("goal", "x" * (MAX_TEXT_CHARS + 1)),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_not_repeated(name: str, value: str):
    (reason,) = refused(urlencode({"report": "funnel", name: value}))
    assert reason == f"{name}: must be {PATTERNS[name]}"


def test_another_name_another_report_or_a_name_given_twice_is_refused():
    assert refused("report=overview&internal_users=me") == (f"the parameters are {', '.join(PATTERNS)}",)
    for query in ("", "report=", "report=live_visitors", "report=overview.json%3Fq%3D1"):
        assert refused(query)[0].startswith("report: must be one of overview, ")
    assert refused("report=overview&goal=a&goal=b") == ("a parameter may be given once",)
    assert refused("report=overview&report=overview") == ("a parameter may be given once",)
    assert refused("&".join(f"f{n}=1" for n in range(MAX_FIELDS + 1))) == ()


def test_the_document_describes_each_field():
    assert [field["name"] for field in described_parameters()] == ["report", *PATTERNS]
