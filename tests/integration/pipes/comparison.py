"""Holding what the pipes answer against the oracle: a function for each report."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.integration.pipes.conftest import Ask
from tests.integration.pipes.oracle import Oracle

ROUNDED = 0.006
Rows = list[dict[str, Any]]


def keyed(rows: Rows, key: Callable[[dict[str, Any]], Any], *columns: str) -> dict[Any, Any]:
    found = {key(row): tuple(row[column] for column in columns) for row in rows}
    assert len(found) == len(rows)
    return found


def same(rows: Rows, key: str | tuple[str, ...], expected: dict[Any, tuple[Any, ...]], *columns: str) -> None:
    """Fail unless the rows' columns are what the oracle says about each key."""
    names = (key,) if isinstance(key, str) else key
    found = keyed(rows, lambda row: row[key] if isinstance(key, str) else tuple(row[name] for name in names), *columns)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=ROUNDED), name
    assert found


def overview(ask: Ask, oracle: Oracle) -> None:
    columns = ("sessions", "visitors", "new_visitors", "returning_visitors", "bounced_sessions", "converted_sessions")
    (row,) = ask("overview", **oracle.asked)
    found = [row[column] for column in (*columns, "conversions", "value", "events")]
    assert found == pytest.approx(oracle.overview(), abs=ROUNDED)


def sessions_overview(ask: Ask, oracle: Oracle) -> None:
    columns = ("sessions", "visitors", "open_sessions", "bounced_sessions", "converted_sessions", "events")
    same(ask("sessions_overview", **oracle.asked), "day", oracle.sessions_overview(), *columns)


def campaign_conversion(ask: Ask, oracle: Oracle) -> None:
    columns = ("sessions", "converted_sessions", "conversions", "value")
    expected = oracle.campaign_conversion()
    same(ask("campaign_conversion", **oracle.asked), "campaign_id", expected, *columns)


def landing_pages(ask: Ask, oracle: Oracle) -> None:
    columns = ("sessions", "visitors", "bounced_sessions", "converted_sessions", "conversions", "value")
    expected = oracle.landing_pages()
    same(ask("landing_pages", **oracle.asked), ("landing_page", "landing_page_id"), expected, *columns)


def paths(ask: Ask, oracle: Oracle) -> None:
    for depth in (1, 4):
        expected = oracle.paths(depth)
        same(ask("paths", depth=str(depth), **oracle.asked), "path", expected, "sessions", "converted_sessions")
    for page in ("shop.example/prices", "shop.example/sp%C3%A4ti"):
        begun = ask("paths", landing_page=page, **oracle.asked)
        assert [row["path"] for row in begun] == [
            row["path"] for row in ask("paths", **oracle.asked) if f"{row['path']} → ".startswith(f"{page} → ")
        ]


def funnel(ask: Ask, oracle: Oracle) -> None:
    same(ask("funnel", **oracle.asked), "step", oracle.funnel(), "sessions")
    steps = ("pageview", "pageview", "click", "pageview")
    named = {f"step_{place}": step for place, step in enumerate(steps, start=1)}
    same(ask("funnel", **oracle.asked, **named), "step", oracle.funnel(steps), "sessions")


def visitors(ask: Ask, oracle: Oracle) -> None:
    columns = ("visitors", "new_visitors", "returning_visitors", "sessions")
    same(ask("visitors", **oracle.asked), "day", oracle.visitors(), *columns)


def retention(ask: Ask, oracle: Oracle, period: str) -> None:
    rows = ask("retention", period=period, **oracle.asked)
    same(rows, ("cohort", "period"), oracle.retention(period), "visitors")
    sizes = {row["cohort"]: row["visitors"] for row in rows if row["period"] == 0}
    assert all(row["cohort_visitors"] == sizes[row["cohort"]] for row in rows)


def attribution(ask: Ask, oracle: Oracle, by: str, window_days: int) -> None:
    models = ("first", "last", "last_non_direct", "linear", "position")
    columns = [f"{model}_{what}" for what in ("conversions", "value") for model in models]
    rows = ask("attribution", by=by, window_days=str(window_days), **oracle.asked)
    expected = oracle.attribution(by, window_days)
    same(rows, "touch", expected, "touched_conversions", *columns)
    for what in ("conversions", "value"):  # each model gives away the same
        totals = [sum(row[f"{model}_{what}"] for row in rows) for model in models]
        assert totals == pytest.approx([totals[0]] * len(models), abs=ROUNDED * len(rows))


def profiled(rows: Rows, key: str, *more: str) -> dict[str, tuple[Any, ...]]:
    """Profiles as the oracle has them: their times as rows have them."""
    names = ("first_touch", "last_touch", "sessions", "events", "conversions", "value", *more)
    found = {
        row[key]: (
            *(row[name].replace(" ", "T") + "Z" for name in ("first_seen_at", "last_seen_at")),
            *(pytest.approx(row[name], abs=ROUNDED) if name == "value" else row[name] for name in names),
        )
        for row in rows
    }
    assert len(found) == len(rows)
    return found


def visitor_profiles(ask: Ask, oracle: Oracle) -> None:
    rows = ask("visitor_profiles", **oracle.asked)
    expected = oracle.visitor_profiles()
    assert profiled(rows, "visitor_id", "user_ids") == expected
    assert all(row["users"] == len(row["user_ids"]) for row in rows)
    name = next(iter(expected))
    (row,) = ask("visitor_profiles", visitor_id=name, **oracle.asked)
    assert row["visitor_id"] == name


def users(ask: Ask, oracle: Oracle) -> None:
    rows = ask("users", **oracle.asked)
    expected = oracle.users()
    assert profiled(rows, "user_id", "visitors", "linked_sessions") == expected
    assert sum(row["linked_sessions"] for row in rows) > 0
    name = next(iter(expected))
    (row,) = ask("users", user_id=name, **oracle.asked)
    assert (row["user_id"], row["sessions"]) == (name, expected[name][4])


def ab_tests(ask: Ask, oracle: Oracle) -> None:
    visitors = oracle.ab_test_visitors()
    columns = ("variant_id", "excluded", "conversions")
    rows = ask("ab_test_visitors", **oracle.asked)
    assert keyed(rows, lambda row: row["visitor_id"], *columns) == {name: row[:3] for name, row in visitors.items()}
    same(ask("ab_test_conversion", **oracle.asked), "variant_id", oracle.ab_test_conversion(),
         "visitors", "converted_visitors", "conversions", "value")  # fmt: skip
    named = keyed(ask("ab_test_excluded", **oracle.asked), lambda row: row["visitor_id"], "reason")
    assert named == {name: (row[1],) for name, row in visitors.items() if row[1]}
    assert ("several variants",) in named.values()


#: Each report with the function that fails unless it gives the oracle's figures.
REPORTS: dict[str, Callable[[Ask, Oracle], None]] = {
    **{
        check.__name__: check
        for check in (overview, sessions_overview, campaign_conversion, landing_pages, paths, funnel, visitors)
    },
    **{f"retention by {period}": partial(retention, period=period) for period in ("day", "week", "month")},
    **{
        f"attribution by {by}": partial(attribution, by=by, window_days=window_days)
        for by, window_days in (("campaign", 30), ("source", 7), ("medium", 1))
    },
    **{check.__name__: check for check in (visitor_profiles, users, ab_tests)},
}
