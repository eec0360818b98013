"""``tracker demo --check``: two visitors come, then their events and the reports' figures are looked up."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracker.demo.browser import find_chromium, open_browser, visit
from tracker.demo.compare import Line, Visit, compare_events, find_faults
from tracker.demo.figures import ASKED, PARAMETERS, VARIANTS, expected_figures, wrong_figures
from tracker.demo.logs import LogFiles
from tracker.local.dev import run_until_signalled
from tracker.local.ports import free_port
from tracker.local.stack import running_stack
from tracker.processes.supervisor import ChildExited
from tracker.settings import Settings
from tracker.tinybird.sql import QueryApi, quoted
from tracker.tinybird_clients import query_api

#: From the browser's last request to the last row.
ARRIVAL_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2
#: Enough for one visitor, and a start with few is faster.
PARTITIONS: Final = 4
#: What the check takes over from the settings around it.
_KEPT_SETTINGS: Final = {
    "cache_dir",
    "tinybird_project_dir",
    "tinybird_token",
    "chromium_path",
    "kafka_local_heap_mb",
    "log_level",
}

_EVENTS: Final = "SELECT event_id, event_type, session_event_sequence FROM events_v1 FINAL WHERE session_id = {}"
_SESSIONS: Final = "SELECT session_id, session_key FROM session_v1 FINAL WHERE session_id = {}"


@dataclass(frozen=True, slots=True)
class ComparedVisit:
    """A visit and the comparison with its rows, line by line."""

    visit: Visit
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The comparison of each visit, and the differences found in the rows and in the reports."""

    visits: Sequence[ComparedVisit]
    faults: Sequence[str]


def run(settings: Settings) -> int:
    """Run the check in a separate stack: free ports, and data that is thrown away if all is well.

    Returns:
        0 if every event of the browser is a row with its number, the session rows are there and the reports count
        them right, 1 otherwise.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="tracker-demo-check-"))
    console = Console()
    code = 1
    try:
        code = run_until_signalled(_check_and_report(isolated(settings, data_dir), console))
    finally:
        if code:
            console.print(f"data and logs are kept in {data_dir}", markup=False)
        else:
            shutil.rmtree(data_dir, ignore_errors=True)
    return code


def isolated(settings: Settings, data_dir: Path) -> Settings:
    """Return settings for a stack that shares nothing with another one on this machine but the downloads."""
    return Settings(
        **settings.model_dump(include=_KEPT_SETTINGS),
        data_dir=data_dir,
        kafka_bootstrap=f"localhost:{free_port()}",
        tinybird_url=f"http://localhost:{free_port()}",
        collect_port=free_port(),
        collect_metrics_port=free_port(),
        process_port=free_port(),
        sink_port=free_port(),
        partitions=PARTITIONS,
    )


async def _check_and_report(settings: Settings, console: Console) -> int:
    started = time.monotonic()
    with contextlib.closing(LogFiles(settings.data_dir / "logs", console)) as logs:
        try:
            outcome = await check(settings, logs, console)
        except ChildExited as exited:
            logs.show_end(exited)
            raise
    for compared in outcome.visits:
        console.print(_table(compared.lines))
    for fault in outcome.faults:
        console.print(f"fault: {fault}", style="red", markup=False)
    verdict = "not as it happened" if outcome.faults else "each one stored once, numbered and reported as it happened"
    seconds = time.monotonic() - started
    events = sum(len(compared.visit.events) for compared in outcome.visits)
    console.print(f"{events} events sent, {verdict} ({seconds:.1f} s)", highlight=False)
    return 1 if outcome.faults else 0


async def check(settings: Settings, logs: LogFiles, console: Console) -> CheckResult:
    """Start the stack, let a browser visit, and compare.

    Raises:
        TrackerError: the stack or the browser could not do its part.
    """

    def say(line: str) -> None:
        console.print(line, style="dim", markup=False, highlight=False)

    executable = find_chromium(settings.chromium_path)
    async with (
        running_stack(settings, write_line=logs.write_line, say=say) as stack,
        query_api(settings) as rows,
    ):
        logs.is_showing_errors = True
        return await stack.guard(_visit_and_compare(settings, executable, rows))


async def _visit_and_compare(settings: Settings, executable: str, rows: QueryApi) -> CheckResult:
    origin = f"http://localhost:{settings.collect_port}"
    async with open_browser(executable) as browser:
        visits = {variant: await visit(browser, origin, settings.cookie_name, variant) for variant in VARIANTS}
    compared: list[ComparedVisit] = []
    faults: list[str] = []
    for variant, visited in visits.items():
        stored, sessions = await _arrived(rows, visited)
        lines = compare_events(visited.events, stored)
        compared.append(ComparedVisit(visited, lines))
        faults += [f"{variant}: {fault}" for fault in find_faults(visited, lines, sessions)]
    return CheckResult(compared, [*faults, *await _wrong_reports(origin, visits)])


async def _wrong_reports(origin: str, visits: Mapping[str, Visit]) -> list[str]:
    """Return the figures behind ``/reports`` that are not those of the visits."""
    faults: list[str] = []
    timeout = aiohttp.ClientTimeout(total=ARRIVAL_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as http:
        for report, expected in expected_figures(visits).items():
            parameters = {"report": report, **PARAMETERS, **ASKED[report]}
            async with http.get(f"{origin}/reports/data", params=parameters) as answer:
                faults += wrong_figures(report, expected, (await answer.json())["rows"])
    return faults


async def _arrived(rows: QueryApi, visited: Visit) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the session's rows once as many are there as were sent, or those that made it in time."""
    session = quoted(visited.session_id)
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        events = await rows.select(_EVENTS.format(session))
        sessions = await rows.select(_SESSIONS.format(session))
        if (len(events) >= len(visited.events) and sessions) or time.monotonic() > deadline:
            return events, sessions
        await asyncio.sleep(POLL_SECONDS)


def _table(lines: Sequence[Line]) -> Table:
    table = Table("#", "the browser sent", "about", "events_v1", "sequence", "verdict")
    for line in lines:
        style = "green" if line.is_ok else "red"
        cells = (str(line.place), line.sent, line.about, line.stored, line.sequence)
        table.add_row(*map(Text, cells), Text(line.verdict, style=style))
    return table
