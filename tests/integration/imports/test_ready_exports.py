"""Exports of other tools, imported whole: sessions, pages and values as an independent reader finds them."""

from collections import Counter
from pathlib import Path

import pytest

from tests.foreign_exports import ga4, matomo, posthog, segment
from tests.foreign_exports.history import new_history, sessions_of
from tests.integration.imports.test_import import Importer, importer

__all__ = ["importer"]

HISTORY = new_history(seed=11, acts=1_500)
TOOLS = {"ga4": ga4, "segment": segment, "posthog": posthog, "matomo": matomo}


@pytest.mark.parametrize("name", TOOLS)
def test_an_export_gives_the_sessions_that_its_events_say(name: str, importer: Importer, tmp_path: Path) -> None:
    path = TOOLS[name].write(HISTORY, tmp_path)
    mapping = f'extends = "{name}"\n[constants]\nworkspace_id = "{importer.workspace}"\n'
    (importer.directory / "shop.toml").write_text(mapping)
    code, out, errors = importer.run("--name", name, "--mapping", "shop.toml", str(path))
    assert code == 0, out + errors
    events = TOOLS[name].read(path)
    where = f"FINAL WHERE workspace_id = '{importer.workspace}'"
    rows = importer.tinybird.sql(f"SELECT page_url, toFloat64OrZero(event_value) AS value FROM events_v1 {where}")
    assert len(rows) == len(events) > 1_200
    assert Counter(row["page_url"] for row in rows) == Counter(event.page_url for event in events)
    assert sum(float(row["value"]) for row in rows) == pytest.approx(sum(event.value for event in events))
    found = [(row["session_key"], int(row["created"]), int(row["event_count"])) for row in importer.sessions()]
    assert sorted(found) == [session[:3] for session in sessions_of(events)]
