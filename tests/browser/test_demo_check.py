"""The main job with a real browser: what it did on the demo page is in ``events_v1``, event by event."""

from pathlib import Path

from rich.console import Console

from tracker.demo.check import check, isolated
from tracker.demo.logs import LogFiles
from tracker.settings import Settings


async def test_what_a_browser_did_is_stored_once_numbered_without_a_gap_and_counted_in_the_reports(
    tmp_path: Path,
) -> None:
    settings = isolated(Settings(), tmp_path)
    console = Console()
    logs = LogFiles(settings.data_dir / "logs", console)
    outcome = await check(settings, logs, console)
    logs.close()
    assert outcome.faults == []
    assert len(outcome.visits) == 2
    for compared in outcome.visits:
        events = compared.visit.events
        assert [int(line.sequence) for line in compared.lines] == list(range(1, len(events) + 1))
        assert len(events) > len(compared.visit.actions)
