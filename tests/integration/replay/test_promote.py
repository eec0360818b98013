"""A replay into datasources of its own, and its promotion: live ends up with exactly what the log says."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.replay.replay_stack import ProcessedLog, kill_under_way, tinybird_for_replay
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from topics.catalog import SEQUENCED, SESSIONS
from tracker.local.kafka import LocalKafka
from tracker.replay import promote as promotion
from tracker.replay.generation import Generation
from tracker.tinybird.admin import DatasourceAdmin
from tracker.tinybird_clients import datasource_admin, query_api

EVENTS = 400
NEVER = 1_000


@pytest.fixture
def log(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[ProcessedLog]:
    """A log whose sessions have all ended: a gap of a second closed them."""
    log = ProcessedLog(kafka_broker, tmp_path, TRACKER_SESSION_TIMEOUT_SECONDS="1", TRACKER_TICK_INTERVAL_MS="100")
    try:
        log.process(EVENTS, until_closed=True)
        yield log
    finally:
        log.processor.end()


@pytest.fixture
def tinybird(tmp_path: Path) -> Iterator[LocalTinybird]:
    with tinybird_for_replay("fix", tmp_path) as tinybird:
        yield tinybird


def rows_of(tinybird: LocalTinybird, datasource: str) -> list[dict]:
    return tinybird.sql(f"SELECT * FROM {datasource} FINAL ORDER BY ALL")


def test_a_promoted_replay_leaves_exactly_what_the_log_says(log: ProcessedLog, tinybird: LocalTinybird) -> None:
    events = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SEQUENCED)) if r.value]
    sessions = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SESSIONS))]
    gone, other = events[0]["session_id"], events[-1]["session_id"]
    # Live as a bug would have left it: a session missing, a number given to another event, a session nobody had.
    wrong = [event for event in events if event["session_id"] != gone]
    wrong = [{**event, "id": "wrong"} if event["session_id"] == other else event for event in wrong]
    # Another has the right ids and a wrong page.
    wrong = [
        {**event, "page_url": "wrong"} if event["session_id"] == sessions[0]["session_id"] else event for event in wrong
    ]
    phantom = {**sessions[-1], "session_id": "phantom", "session_key": "phantom"}
    # What the replay can't know of: what began before the range, and after the log's end.
    unknown = [
        {**sessions[-1], "session_id": name, "session_key": name, "created_at": f"{year}-01-01T00:00:00.000Z"}
        for name, year in (("before", 2019), ("later", 2090))
    ]
    tinybird.append("events_v1", b"\n".join(json.dumps(event).encode() for event in wrong))
    tinybird.append("session_v1", b"\n".join(json.dumps(row).encode() for row in [*sessions, phantom, *unknown]))
    environment = {"TRACKER_TINYBIRD_URL": tinybird.url, "TRACKER_TINYBIRD_TOKEN": tinybird.token}
    datasources = ("--name", "fix", "--datasource", "events_fix,session_fix", "--from", "2020-01-01T00:00Z")

    # Killed on its way, and again between its rows and its progress, and after that.
    process = log.start_replay(*datasources, "--max-rate", "100", **environment)
    kill_under_way(process)
    for step in ("outputs", "progress"):
        doomed = log.start_doomed_worker("fix", step, chunk=1, **environment)
        assert doomed.wait(PATIENCE_SECONDS) == -signal.SIGKILL, doomed.communicate()
    code, _, errors = log.replay(*datasources, **environment)
    assert code == 0, errors
    said = log.command("replay", "promote", "fix", "--yes", **environment)
    assert said.returncode == 0, said.stderr
    assert "delete" in said.stdout
    assert "phantom" not in {row["session_id"] for row in rows_of(tinybird, "session_v1")}
    assert rows_of(tinybird, "events_v1") == rows_of(tinybird, "events_fix")
    kept = [row for row in rows_of(tinybird, "session_v1") if row["session_id"] not in {"before", "later"}]
    assert kept == rows_of(tinybird, "session_fix")
    assert len(rows_of(tinybird, "session_v1")) == len(kept) + len(unknown)
    numbers = tinybird.sql("SELECT id FROM events_v1 FINAL ORDER BY id")
    assert [row["id"] for row in numbers] == sorted(event["id"] for event in events)

    again = log.command("replay", "promote", "fix", "--yes", **environment)
    assert "nothing to do" in again.stdout


class Killed(Exception):  # noqa: N818 - it stands for a SIGKILL
    """The process is gone: whatever was asked of Tinybird has been done, and nothing comes after it."""


class DoomedClients:
    """What a promotion changes Tinybird with; kills it after so many changes."""

    def __init__(self, tinybird: LocalTinybird, admin: DatasourceAdmin, changes_left: int) -> None:
        self._tinybird = tinybird
        self._admin = admin
        self.changes_left = changes_left

    async def append(self, datasource: str, lines: Sequence[bytes]) -> None:
        self._tinybird.append(datasource, b"\n".join(lines))
        self._count()

    async def delete_rows(self, datasource: str, condition: str) -> None:
        await self._admin.delete_rows(datasource, condition)
        self._count()

    def _count(self) -> None:
        self.changes_left -= 1
        if not self.changes_left:
            raise Killed


def test_a_promotion_that_is_killed_after_any_change_loses_nothing_and_is_simply_run_again(
    log: ProcessedLog, tinybird: LocalTinybird, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "COPY_ROWS", EVENTS // 2)  # in two pieces
    sessions = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SESSIONS))]
    events = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SEQUENCED)) if r.value]
    gone, other = events[0]["session_id"], events[-1]["session_id"]
    live = {
        "events_v1": [
            {**e, "id": "wrong"} if e["session_id"] == other else e for e in events if e["session_id"] != gone
        ],
        "session_v1": [*sessions[1:], {**sessions[-1], "session_id": "phantom", "session_key": "phantom"}],
    }
    right = {"events_v1": [row for row in live["events_v1"] if row["id"] != "wrong"], "session_v1": sessions[1:]}
    environment = {"TRACKER_TINYBIRD_URL": tinybird.url, "TRACKER_TINYBIRD_TOKEN": tinybird.token}
    datasources = ("--name", "fix", "--datasource", "events_fix,session_fix", "--from", "2020-01-01T00:00Z")
    code, _, errors = log.replay(*datasources, **environment)
    assert code == 0, errors
    plan = promotion.promotable(Generation(log.settings, "fix"))
    settings = log.settings.model_copy(
        update={"tinybird_url": tinybird.url, "tinybird_token": SecretStr(tinybird.token)}
    )

    async def promote(after_changes: int) -> bool:
        """Promote once; whether it came to its end."""
        async with query_api(settings) as rows, datasource_admin(settings) as admin:
            clients = DoomedClients(tinybird, admin, after_changes)
            found = await promotion.look(rows, plan)
            with contextlib.suppress(Killed):
                await promotion.promote(rows, clients, clients.append, found)
            return clients.changes_left > 0

    async def live_is(rows: dict[str, list[dict]]) -> None:
        async with datasource_admin(settings) as admin:
            for datasource, wanted in rows.items():
                await admin.delete_rows(datasource, "1")
                tinybird.append(datasource, b"\n".join(json.dumps(row).encode() for row in wanted))

    after = 0
    came_to_its_end = False
    while not came_to_its_end:
        after += 1
        asyncio.run(live_is(live))
        came_to_its_end = asyncio.run(promote(after))
        for datasource, key in (("events_v1", "id"), ("session_v1", "session_id")):
            there = {row[key] for row in rows_of(tinybird, datasource)}
            assert {row[key] for row in right[datasource]} <= there, f"{datasource} lost rows after {after} changes"
        asyncio.run(promote(NEVER))
        assert rows_of(tinybird, "events_v1") == rows_of(tinybird, "events_fix"), f"killed after {after} changes"
        assert rows_of(tinybird, "session_v1") == rows_of(tinybird, "session_fix"), f"killed after {after} changes"
    assert after == 2 + 2 + 2 + 1  # pieces of events and of sessions, two deletions, and once to the end


def test_only_a_difference_in_content_is_promoted_too_and_a_session_of_another_time_forbids_it(
    log: ProcessedLog, tinybird: LocalTinybird
) -> None:
    events = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SEQUENCED)) if r.value]
    sessions = [json.loads(r.value) for r in asyncio.run(read_all(log.settings, SESSIONS))]
    wrong = [{**event, "page_url": "wrong"} for event in events]
    tinybird.append("events_v1", b"\n".join(json.dumps(event).encode() for event in wrong))
    tinybird.append("session_v1", b"\n".join(json.dumps(row).encode() for row in sessions))
    environment = {"TRACKER_TINYBIRD_URL": tinybird.url, "TRACKER_TINYBIRD_TOKEN": tinybird.token}
    datasources = ("--datasource", "events_fix,session_fix", "--from", "2020-01-01T00:00Z")
    assert log.replay("--name", "content", *datasources, **environment)[0] == 0
    said = log.command("replay", "promote", "content", "--yes", **environment)
    assert said.returncode == 0, said.stderr
    assert rows_of(tinybird, "events_v1") == rows_of(tinybird, "events_fix")

    old = {**sessions[0], "version": 2**60, "created_at": "2019-01-01T00:00:00.000Z"}
    tinybird.append("session_v1", json.dumps(old).encode())
    said = log.command("replay", "promote", "content", "--yes", **environment)
    assert (said.returncode, said.stdout) == (1, "")
    assert "1 replayed sessions have the ids of live ones" in said.stderr


def test_without_a_yes_nothing_is_changed(log: ProcessedLog, tinybird: LocalTinybird) -> None:
    environment = {"TRACKER_TINYBIRD_URL": tinybird.url, "TRACKER_TINYBIRD_TOKEN": tinybird.token}
    code, _, errors = log.replay("--name", "ask", "--datasource", "events_fix,session_fix", **environment)
    assert code == 0, errors
    said = log.command("replay", "promote", "ask", typed="n\n", **environment)
    assert said.returncode == 1
    assert "1. append" in said.stdout
    assert rows_of(tinybird, "events_v1") == []


def test_a_replay_that_is_not_finished_is_not_promoted(log: ProcessedLog) -> None:
    (log.data_dir / "replay").mkdir(parents=True, exist_ok=True)
    said = log.command("replay", "promote", "nothing", "--yes")
    assert said.returncode == 1
    assert "there is no generation 'nothing'" in said.stderr
