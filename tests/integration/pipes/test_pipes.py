"""Every pipe answers right from rows that were sent twice and not merged, as Tinybird has them for a while."""

import json
import re
import subprocess
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.integration.pipes.conftest import FIXTURES_DIR, Ask
from topics.event import EventData
from topics.session import SessionRow
from topics.system.usage import UsageRow
from tracker.local.tinybird.pipes import read_pipes, whole_template
from tracker.local.tinybird.templates import render

PIPES = read_pipes(PROJECT_DIR / "tinybird")
TINYBIRD_PYTHON = PROJECT_DIR / ".cache" / "tinybird-venv" / "bin" / "python"
NOON = "2026-03-02 12:00:00"

#: For each pipe the parameters with which it is asked here.
ASKED: dict[str, dict[str, str]] = {
    "overview": {"workspace_id": "shop"},
    "sessions_overview": {"workspace_id": "shop"},
    "funnel": {"workspace_id": "shop"},
    "session_timeline": {"workspace_id": "shop", "session_id": "s1"},
    "live_visitors": {"workspace_id": "shop", "as_of": NOON},
    "campaign_conversion": {"workspace_id": "shop"},
    "classified_sessions": {"workspace_id": "shop"},
    "ab_test_visitors": {"workspace_id": "shop"},
    "ab_test_variants": {"workspace_id": "shop"},
    "ab_test_excluded": {"workspace_id": "lab"},
    "ab_test_conversion": {"workspace_id": "shop", "ab_test_id": "headline"},
    "visitors": {"workspace_id": "shop"},
    "retention": {"workspace_id": "lab", "period": "day"},
    "landing_pages": {"workspace_id": "shop"},
    "paths": {"workspace_id": "shop"},
    "attribution": {"workspace_id": "lab"},
    "visitor_touches": {"workspace_id": "shop"},
    "visitor_profiles": {"workspace_id": "shop"},
    "users": {"workspace_id": "lab"},
    "usage": {"workspace_id": "shop"},
    "data_quality": {"workspace_id": "broken"},
    "data_quality_sessions": {"workspace_id": "broken"},
}


def columns(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_every_pipe_is_asked_here():
    assert ASKED.keys() == PIPES.keys()


def test_the_fixtures_are_rows_of_ours():
    for name, kind in (("events_v1", EventData), ("session_v1", SessionRow), ("usage_v1", UsageRow)):
        adapter = TypeAdapter(kind)
        for line in (FIXTURES_DIR / f"{name}.ndjson").read_text().splitlines():
            adapter.validate_json(line)


def test_sessions_overview_counts_sessions_and_events_once_by_day(ask: Ask):
    rows = ask("sessions_overview", **ASKED["sessions_overview"])
    assert columns(rows, "day", "sessions", "open_sessions", "bounced_sessions", "converted_sessions", "events") == [
        ("2026-03-01", 3, 0, 1, 1, 7),
        ("2026-03-02", 3, 2, 0, 1, 7),
    ]
    assert columns(rows, "events_per_session", "seconds_per_closed_session") == [(2.33, 70), (2.33, 60)]


def test_sessions_overview_takes_a_range_a_campaign_and_bots(ask: Ask):
    (day,) = ask("sessions_overview", workspace_id="shop", date_from="2026-03-02 00:00:00", include_bots="1")
    assert (day["day"], day["sessions"], day["events"]) == ("2026-03-02", 4, 8)
    (day,) = ask("sessions_overview", workspace_id="shop", campaign_id="spring", date_to="2026-03-02 00:00:00")
    assert (day["sessions"], day["events"]) == (2, 6)


def test_the_funnel_follows_the_order_of_the_numbers(ask: Ask):
    rows = ask("funnel", **ASKED["funnel"])
    assert columns(rows, "step", "event_type", "sessions", "of_first_step", "of_previous_step") == [
        (1, "pageview", 6, 1, 1),
        (2, "click", 3, 0.5, 0.5),
        (3, "form_submit", 1, 0.1667, 0.3333),
        (4, "conversion", 1, 0.1667, 1),
    ]
    backwards = ask("funnel", workspace_id="shop", step_1="conversion", step_2="pageview")
    assert columns(backwards, "sessions") == [(2,), (0,), (0,), (0,)]


def test_a_timeline_has_each_event_once_in_order_and_page_by_page(ask: Ask):
    rows = ask("session_timeline", **ASKED["session_timeline"])
    assert columns(rows, "session_event_sequence", "event_type", "ms_since_previous") == [
        (1, "pageview", 0),
        (2, "click", 20_000),
        (3, "form_submit", 100_000),
        (4, "conversion", 60_000),
    ]
    page = ask("session_timeline", workspace_id="shop", session_id="s1", after_sequence="1", limit="2")
    assert columns(page, "session_event_sequence") == [(2,), (3,)]
    assert ask("session_timeline", workspace_id="other", session_id="s1") == []


def test_live_visitors_have_an_open_session_and_a_recent_event(ask: Ask):
    (visitor,) = ask("live_visitors", **ASKED["live_visitors"])
    assert (visitor["live_visitors"], visitor["session_id"], visitor["events"]) == (1, "s5", 2)
    assert (visitor["page_url"], visitor["country"]) == ("https://shop.example/prices", "DE")
    longer = ask("live_visitors", workspace_id="shop", as_of=NOON, minutes="200", include_bots="1")
    assert columns(longer, "session_id", "live_visitors") == [("b1", 3), ("s5", 3), ("s6", 3)]
    assert ask("live_visitors", workspace_id="shop") == []  # now is long after


def test_campaigns_are_counted_by_sessions_and_conversions_by_their_value(ask: Ask):
    rows = ask("campaign_conversion", **ASKED["campaign_conversion"])
    assert columns(rows, "campaign_id", "sessions", "converted_sessions", "conversions", "value") == [
        ("spring", 3, 1, 1, 49.9),
        ("autumn", 2, 1, 2, 10),
        ("", 1, 0, 0, 0),
    ]
    dollars = ask("campaign_conversion", workspace_id="shop", campaign_id="autumn", value_type="USD")
    assert columns(dollars, "value", "conversion_rate") == [(5, 0.5)]


def test_data_quality_is_all_zero_where_all_is_well(ask: Ask):
    (row,) = ask("data_quality", workspace_id="shop")
    assert (row.pop("sessions"), row.pop("closed_sessions"), row.pop("events")) == (7, 4, 15)
    assert row.pop("copies_not_merged") == 15  # every row was sent twice
    assert set(row.values()) == {0}


def test_data_quality_counts_each_fault_and_names_its_session(ask: Ask):
    (row,) = ask("data_quality", **ASKED["data_quality"])
    assert row == {
        "sessions": 5,
        "closed_sessions": 5,
        "events": 12,
        "sessions_with_gaps": 1,
        "missing_numbers": 1,
        "doubled_numbers": 1,
        "doubled_events": 1,
        "reused_event_ids": 1,
        "closed_sessions_that_disagree": 3,
        "sessions_without_a_row": 1,
        "copies_not_merged": 12,
    }
    faults = ("missing_numbers", "doubled_numbers", "doubled_events", "reused_event_ids", "row_disagrees", "has_no_row")
    assert columns(ask("data_quality_sessions", **ASKED["data_quality_sessions"]), "session_id", *faults) == [
        ("gap", 1, 0, 0, 0, True, 0),
        ("miscounted", 0, 0, 0, 0, True, 0),
        ("no-row", 0, 0, 0, 0, False, 1),
        ("same-event", 0, 0, 1, 1, False, 0),
        ("twice", 0, 1, 0, 0, True, 0),
    ]


#: They count or share out sessions and visitors: a copy of these rows changes nothing. The oracle's history has older
#: rows that would.
INDIFFERENT = {"funnel", "ab_test_excluded", "retention", "paths", "attribution"}


@pytest.mark.parametrize("pipe", sorted(PIPES.keys() - INDIFFERENT))
def test_read_without_final_the_answer_would_be_another(tinybird: LocalTinybird, ask: Ask, pipe: str):
    """Else the fixtures could not tell a pipe that reads right from one that does not."""
    naive = re.sub(r"\bFINAL\b", "", render(whole_template(pipe, PIPES), ASKED[pipe]))
    assert tinybird.sql(naive) != ask(pipe, **ASKED[pipe])


def test_a_workspace_is_a_value_and_never_sql(ask: Ask):
    evil = "shop' OR workspace_id != '"
    assert ask("campaign_conversion", workspace_id=evil) == []
    assert ask("session_timeline", workspace_id=evil, session_id="s1' OR '1'='1") == []


def test_what_is_missing_or_does_not_fit_is_a_400_that_names_it(tinybird: LocalTinybird):
    def fault(path: str) -> tuple[int, str]:
        answer = tinybird.request(f"/v0/pipes/{path}")
        return answer.status, answer.json["error"]

    assert fault("funnel.json") == (400, "the parameter workspace_id is required")
    status, error = fault("sessions_overview.json?workspace_id=shop&limit=many")
    assert (status, "limit is no Int32" in error) == (400, True)
    assert fault("nothing.json?workspace_id=shop")[0] == 404
    assert tinybird.request("/v0/pipes/funnel.json?workspace_id=shop", token=None).status == 403


def test_the_local_templates_give_what_tinybirds_own_library_gives():
    assert TINYBIRD_PYTHON.exists(), "make test installs Tinybird's own tools"
    quoted = "a'b\"c\\d\n%`"
    flags = {"include_bots": "1", "include_internal": "1"}
    extra = {**flags, "campaign_id": quoted, "date_from": NOON, "limit": "7", "minutes": "-3"}
    cases = [
        (PIPES[name].template, parameters)
        for name, asked in ASKED.items()
        for parameters in (asked, {key: value for key, value in asked.items() if key != "as_of"}, {**asked, **extra})
    ]
    program = (
        "import json, sys; from tinybird.sql_template import render_sql_template as render;"
        "print(json.dumps([render(sql.removeprefix('%\\n'), given)[0] for sql, given in json.load(sys.stdin)]))"
    )
    theirs = subprocess.run(
        [TINYBIRD_PYTHON, "-c", program], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    assert json.loads(theirs.stdout.splitlines()[-1]) == [render(sql, given) for sql, given in cases]
