"""Exports of other tools, imported whole: sessions, campaigns, pages and values as an independent reader finds them."""

from collections import Counter
from pathlib import Path

import pytest

from tests.foreign_exports import ga4, matomo, posthog, segment
from tests.foreign_exports.history import ExpectedSession, new_history, sessions_of
from tests.integration.imports.test_import import Importer, importer

__all__ = ["importer"]

HISTORY = new_history(seed=11, acts=1_500)
NAMES = ExpectedSession._fields
TEXTS = {"key", "utm_source", "utm_medium", "utm_campaign"}
SESSION = (
    "session_key AS key, toUnixTimestamp64Milli(created_at) AS created_ms, event_count, "
    "utm_source, utm_medium, utm_campaign"
)
TOOLS = {"ga4": ga4, "segment": segment, "posthog": posthog, "matomo": matomo}


@pytest.mark.parametrize("name", TOOLS)
def test_an_export_gives_the_sessions_and_campaigns_that_its_events_say(
    name: str, importer: Importer, tmp_path: Path
) -> None:
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
    sessions = importer.tinybird.sql(f"SELECT {SESSION} FROM session_v1 {where}")
    found = [ExpectedSession(*(row[name] if name in TEXTS else int(row[name]) for name in NAMES)) for row in sessions]
    assert sorted(found) == sessions_of(events)
    assert sum(1 for session in found if session.utm_source) > 100
    # The same rows give the same bytes in another process, or the log would be taken for another file's.
    code, out, errors = importer.run("--name", name, "--mapping", "shop.toml", str(path))
    assert code == 0, out + errors
    assert f"{len(events):,} were there already" in out
