"""Who takes part in an A/B test, what counts as converted, who is left out: the workspace ``lab`` of the fixtures."""

from typing import Any

import pytest

from tests.integration.pipes.conftest import Ask

OURS = {
    "internal_networks": "198.51.100.7, 203.0.113.0/24",
    "internal_users": "u-tester",
    "internal_environments": "staging,preview",
}


def by_visitor(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    return {row["visitor_id"]: row[column] for row in rows}


def test_a_conversion_counts_from_the_first_sight_of_the_test_on_in_any_session_of_the_visitor(ask: Ask):
    rows = ask("ab_test_visitors", workspace_id="lab", ab_test_id="price", **OURS)
    converted = by_visitor(rows, "conversions")
    assert (converted["a"], converted["b"], converted["h"]) == (1, 0, 0)
    assert by_visitor(rows, "value")["a"] == 30
    assert by_visitor(rows, "first_seen_at")["a"] == "2026-03-03 10:00:00.000"


def test_who_has_seen_several_variants_is_left_out_and_named(ask: Ask):
    named = ask("ab_test_excluded", workspace_id="lab", ab_test_id="price", **OURS)
    assert [(row["reason"], row["visitors"], row["visitor_id"], row["variants"]) for row in named] == [
        ("bot", 1, "g", "control"),
        ("internal", 3, "d", "new"),
        ("internal", 3, "e", "new"),
        ("internal", 3, "f", "control"),
        ("several variants", 1, "c", "control, new"),
    ]
    first = ask("ab_test_excluded", workspace_id="lab", ab_test_id="price", limit="1", **OURS)
    assert [(row["reason"], row["visitors"]) for row in first] == [("bot", 1), ("internal", 3), ("several variants", 1)]


@pytest.mark.parametrize(
    ("parameters", "visitors"),
    [
        (OURS, (1, 2)),
        ({}, (2, 4)),
        ({**OURS, "include_internal": "1"}, (2, 4)),
        ({**OURS, "include_bots": "1"}, (2, 2)),
        ({"internal_networks": " 203.0.113.0 ,2001:db8::/32"}, (2, 3)),
        ({"internal_networks": "203.0.0.0/16", "internal_environments": "preview"}, (1, 3)),
    ],
)
def test_bots_and_internal_traffic_are_left_out_by_the_rules_that_are_given(
    ask: Ask, parameters: dict[str, str], visitors: tuple[int, int]
):
    rows = ask("ab_test_conversion", workspace_id="lab", ab_test_id="price", **parameters)
    assert [(row["variant_id"], row["visitors"]) for row in rows] == [("control", visitors[0]), ("new", visitors[1])]


def test_an_internal_network_may_be_of_version_6(ask: Ask):
    (internal,) = ask("ab_test_excluded", workspace_id="lab", ab_test_id="font", internal_networks="2001:db8:7::/48")
    assert (internal["visitor_id"], internal["reason"]) == ("i", "internal")


def test_all_tests_are_listed_where_none_is_named(ask: Ask):
    rows = ask("ab_test_conversion", workspace_id="lab", **OURS)
    assert [(row["ab_test_id"], row["variant_id"], row["visitors"], row["verdict"]) for row in rows] == [
        ("font", "serif", 1, "control"),
        ("price", "control", 1, "control"),
        ("price", "new", 2, "too few"),
    ]


def test_a_visitor_belongs_to_the_range_in_which_the_test_was_first_seen(ask: Ask):
    late = ask("ab_test_visitors", workspace_id="lab", ab_test_id="price", date_from="2026-03-03 10:15:00")
    assert by_visitor(late, "variant_id").keys() == {"d", "e", "f", "g", "h"}  # c saw it before
    early = ask("ab_test_visitors", workspace_id="lab", ab_test_id="price", date_to="2026-03-03 10:15:00")
    assert by_visitor(early, "conversions") == {"a": 0, "b": 0, "c": 1}  # nobody knows yet what comes later
    assert by_visitor(early, "excluded")["c"] == ""


def test_variants_are_compared_with_the_control_that_is_named(ask: Ask):
    rows = ask("ab_test_conversion", workspace_id="shop", ab_test_id="headline")
    named = ("variant_id", "verdict", "visitors", "converted_visitors", "conversions", "value", "lift")
    assert [tuple(row[name] for name in named) for row in rows] == [
        ("control", "control", 2, 1, 1, 49.9, 0),
        ("new", "too few", 3, 1, 2, 10, -0.3333),
    ]
    swapped = ask("ab_test_conversion", workspace_id="shop", ab_test_id="headline", control="new")
    assert [(row["variant_id"], row["verdict"], row["lift"]) for row in swapped] == [
        ("control", "too few", 0.5),
        ("new", "control", 0),
    ]


def test_a_test_or_workspace_without_visitors_has_no_rows(ask: Ask):
    assert ask("ab_test_conversion", workspace_id="nothing") == []
    assert ask("ab_test_conversion", workspace_id="lab", ab_test_id="nothing", split='{"a": 1}') == []
