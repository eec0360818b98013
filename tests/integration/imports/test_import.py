"""Files of old events into Tinybird: the sessions that they would have been live, once, however often it is run."""

import asyncio
import csv
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pytest
import zstandard
from aiokafka.errors import UnknownTopicOrPartitionError
from pyarrow import parquet

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.source_log import end_offsets, read_all
from tests.stages import wait_until
from topics.catalog import SOURCE
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

START = datetime(2024, 5, 1, tzinfo=UTC)
JUNE_MS = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp() * 1000)
PARTITIONS = 4
#: Several record batches in each partition.
MANY_EVENTS = 30_000


class Importer:
    """``tracker import`` as a person runs it, on a topic prefix and a workspace of its own."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, directory: Path) -> None:
        self.tinybird = tinybird
        self.directory = directory
        self.workspace = f"import-{free_port()}"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT_DIR),
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": f"{self.workspace}.",
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_DATA_DIR": str(directory / "data"),
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
        }

    def set_environment(self, **environment: str) -> None:
        self._environment.update(environment)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tracker", "import", *arguments],
            env=self._environment,
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, errors = process.communicate(typed, timeout=PATIENCE_SECONDS)
        return process.returncode, out, errors

    def log_settings(self, name: str) -> Settings:
        """The settings by which the log of an import is read."""
        return Settings(
            kafka_bootstrap=self._environment["TRACKER_KAFKA_BOOTSTRAP"],
            topic_prefix=f"{self.workspace}.import.{name}.",
            partitions=PARTITIONS,
        )

    def log_records(self) -> int:
        """How many records the log of the import named "again" holds."""
        try:
            return sum(asyncio.run(end_offsets(self.log_settings("again"), SOURCE)).values())
        except UnknownTopicOrPartitionError:
            return 0

    def log_events(self, name: str) -> list[tuple[int, bytes]]:
        """Time and value of each event in the log of an import, by the session and its time."""
        records = [record for record in asyncio.run(read_all(self.log_settings(name), SOURCE)) if record.key]
        found = sorted(records, key=lambda record: (record.key, record.timestamp))
        return [(record.timestamp, record.value) for record in found]

    def written(self) -> int:
        """How many rows there are."""
        query = f"SELECT count() AS n FROM events_v1 FINAL WHERE workspace_id = '{self.workspace}'"
        return int(self.tinybird.sql(query)[0]["n"])

    def create_topics(self) -> None:
        """The live topics, empty."""
        subprocess.run([sys.executable, "-m", "tracker", "topics", "create"], env=self._environment, check=True)

    def verify(self) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and the checks of ``tracker verify``."""
        command = [sys.executable, "-m", "tracker", "verify", "--json", "--workspace", self.workspace]
        done = subprocess.run(
            command, env=self._environment, cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 3}, done.stderr
        return done.returncode, json.loads(done.stdout)["checks"]

    def delete(self, condition: str) -> None:
        """Delete rows of events behind everybody's back."""
        body = f"delete_condition=workspace_id = '{self.workspace}' AND {condition}".encode()
        assert self.tinybird.request("/v0/datasources/events_v1/delete", body).status < 300

    def rows(self) -> list[tuple[str, int, str]]:
        """Session, number and event id of each row. Copies of a row are one; an event that has two rows is seen."""
        found = self.tinybird.sql(
            "SELECT session_id, session_event_sequence AS n, event_id FROM events_v1 FINAL "
            f"WHERE workspace_id = '{self.workspace}' ORDER BY session_id, n"
        )
        return [(row["session_id"], int(row["n"]), row["event_id"]) for row in found]

    def sessions(self) -> list[dict[str, Any]]:
        return self.tinybird.sql(
            "SELECT session_key, event_count, close_reason, is_expired, toUnixTimestamp64Milli(created_at) AS created, "
            "toUnixTimestamp64Milli(closed_at) AS closed FROM session_v1 FINAL "
            f"WHERE workspace_id = '{self.workspace}' ORDER BY session_key, created"
        )

    def events(self, count: int) -> list[dict[str, Any]]:
        """Visits of 20 sessions, with a pause in the middle that is longer than the inactivity gap."""
        rng = Random(count)
        pause = timedelta(hours=2)
        return [
            {
                "session_id": f"{self.workspace}-{rng.randrange(20)}",
                "timestamp": (START + timedelta(seconds=number) + (pause if number > count // 2 else timedelta()))
                .isoformat(timespec="milliseconds")
                .replace("+00:00", "Z"),
                "event_type": "pageview",
                "event_id": f"e-{number}",
                "workspace_id": self.workspace,
                "viewport_width": 1280,
            }
            for number in range(count)
        ]


@pytest.fixture
def importer(kafka_broker: LocalKafka, local_tinybird: LocalTinybird, tmp_path: Path) -> Importer:
    return Importer(kafka_broker, local_tinybird, tmp_path)


def expected_rows(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The event ids of each key in the order of their time."""
    found: dict[str, list[str]] = {}
    for event in sorted(events, key=lambda event: (event["timestamp"], int(event["event_id"][2:]))):
        found.setdefault(event["session_id"], []).append(event["event_id"])
    return found


def ndjson(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_an_import_gives_the_sessions_that_live_would_have_given(importer: Importer) -> None:
    events = importer.events(400)
    shuffled = events[:]
    Random(1).shuffle(shuffled)
    (importer.directory / "old.ndjson.gz").write_bytes(gzip.compress(ndjson(shuffled)))
    code, out, errors = importer.run("--name", "old", "old.ndjson.gz")
    assert code == 0, out + errors
    first, second = events[:201], events[201:]
    sessions = importer.sessions()
    wanted = {key: [len(ids)] for key, ids in expected_rows(first).items()}
    for key, ids in expected_rows(second).items():
        wanted.setdefault(key, []).append(len(ids))
    found: dict[str, list[int]] = {}
    for row in sessions:
        found.setdefault(row["session_key"], []).append(int(row["event_count"]))
    assert found == wanted
    assert {row["close_reason"] for row in sessions} == {"timeout"}
    assert all(int(row["created"]) < int(row["closed"]) < int(row["created"]) + 3_600_000 for row in sessions)
    numbers: dict[str, list[int]] = {}
    for session_id, number, _ in importer.rows():
        numbers.setdefault(session_id, []).append(number)
    assert all(each == list(range(1, len(each) + 1)) for each in numbers.values())


def test_every_format_gives_the_same_rows(importer: Importer) -> None:
    events = importer.events(60)
    directory = importer.directory
    (directory / "a.ndjson.zst").write_bytes(zstandard.compress(ndjson(events[:20])))
    with (directory / "b.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sid", "at", "kind", "id", "shop", "width", "unused"])
        for event in events[20:40]:
            fields = ("session_id", "timestamp", "event_type", "event_id", "workspace_id", "viewport_width")
            writer.writerow([*(event[field] for field in fields), "x"])
    table = pyarrow.Table.from_pylist(
        [{**event, "timestamp": datetime.fromisoformat(event["timestamp"])} for event in events[40:]]
    )
    parquet.write_table(table, directory / "c.parquet")
    (directory / "map.toml").write_text(
        "ignore_other_columns = true\n[columns]\n"
        'session_id = "sid"\ntimestamp = "at"\nevent_type = "kind"\nevent_id = "id"\n'
        'workspace_id = "shop"\nviewport_width = "width"\n'
    )
    (directory / "all.ndjson").write_bytes(ndjson(events))
    code, out, errors = importer.run("--name", "all", "--log-only", "all.ndjson")
    assert code == 0, out + errors
    found = []
    for name, arguments in {
        "a": ["a.ndjson.zst"],
        "b": ["--mapping", "map.toml", "b.csv"],
        "c": ["c.parquet"],
    }.items():
        code, out, errors = importer.run("--name", name, "--log-only", *arguments)
        assert code == 0, out + errors
        assert "20 events written" in out
        found += importer.log_events(name)
    assert sorted(found) == sorted(importer.log_events("all"))
    assert len(found) == len(events)
    code, out, errors = importer.run("--name", "typed", "--dry-run", "-", typed=ndjson(events).decode())
    assert code == 0, out + errors
    assert "60 events could be imported" in out


def test_bad_rows_go_to_the_reject_file_and_cost_nothing_else(importer: Importer) -> None:
    good = importer.events(10)
    bad = [b"{broken\n", b"[1]\n", json.dumps({**good[0], "event_type": "dance"}).encode() + b"\n"]
    (importer.directory / "mixed.ndjson").write_bytes(ndjson(good[:5]) + b"".join(bad) + ndjson(good[5:]))
    code, out, errors = importer.run("--name", "mixed", "mixed.ndjson")
    assert code == 3, out + errors
    assert "3 rows rejected" in out
    rejects = [json.loads(line) for line in (importer.directory / "mixed.rejects.ndjson").read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejects] == [("mixed.ndjson", line) for line in (6, 7, 8)]
    assert "event_type" in rejects[2]["reason"]
    assert len(importer.rows()) == 10


def test_a_row_that_comes_too_late_for_the_window_is_rejected_not_misplaced(importer: Importer) -> None:
    events = importer.events(10)
    (importer.directory / "late.ndjson").write_bytes(ndjson([*events[1:], events[0]]))
    code, out, _ = importer.run("--name", "late", "--window-rows", "3", "late.ndjson")
    assert code == 3
    assert "late.ndjson:10: out of order by" in out


def test_an_import_that_is_killed_or_repeated_doubles_nothing(importer: Importer) -> None:
    events = importer.events(MANY_EVENTS)
    (importer.directory / "many.ndjson").write_bytes(ndjson(events))
    run = ("--name", "again", "many.ndjson")
    # Killed while it writes its log, and again while its rows go into Tinybird.
    for is_under_way in (lambda: importer.log_records() > 0, lambda: importer.written() > 0):
        killed = importer.start(*run)
        wait_until(is_under_way, "something to interrupt")
        assert killed.poll() is None
        killed.kill()
        killed.communicate()
    written = importer.log_records()
    for _ in range(2):
        code, out, errors = importer.run(*run)
        assert code == 0, out + errors
    assert f"{MANY_EVENTS:,} were there already" in out
    assert importer.log_records() == MANY_EVENTS + PARTITIONS >= written  # and a closing tick each
    assert sorted(event_id for *_, event_id in importer.rows()) == sorted(event["event_id"] for event in events)


def test_other_files_under_the_same_name_are_refused(importer: Importer) -> None:
    (importer.directory / "one.ndjson").write_bytes(ndjson(importer.events(20)))
    (importer.directory / "other.ndjson").write_bytes(ndjson(importer.events(30)))
    assert importer.run("--name", "same", "--log-only", "one.ndjson")[0] == 0
    code, _, errors = importer.run("--name", "same", "--log-only", "other.ndjson")
    assert code == 1
    assert "other events than these files give" in errors
    assert len(errors.splitlines()) == 1


def test_a_file_that_is_not_there_is_one_clear_line(importer: Importer) -> None:
    code, _, errors = importer.run("--name", "none", "none.ndjson")
    assert code == 1
    assert errors == "tracker: none.ndjson: No such file or directory\n"


def test_a_mapping_with_a_typing_error_is_one_clear_line_and_nothing_is_written(importer: Importer) -> None:
    (importer.directory / "old.ndjson").write_bytes(ndjson(importer.events(20)))
    (importer.directory / "map.toml").write_text('ignore_other_columns = true\n[columns]\npage_url = "page.ulr"\n')
    for dry_run in ([], ["--dry-run"]):
        code, out, errors = importer.run("--name", "again", "--mapping", "map.toml", *dry_run, "old.ndjson")
        assert (code, out) == (1, "")
        assert errors.startswith(
            "tracker: no row has anything in the column page.ulr: correct the mapping, or write a ?"
        )
        assert len(errors.splitlines()) == 1
    assert importer.log_records() == 0
    (importer.directory / "map.toml").write_text("ignore_other_columns = true\n")
    assert importer.run("--name", "again", "--mapping", "map.toml", "old.ndjson")[0] == 0


def test_verify_knows_the_rows_of_imports_and_misses_one_that_is_gone(importer: Importer) -> None:
    (importer.directory / "old.ndjson").write_bytes(ndjson(importer.events(120)))
    code, out, errors = importer.run("--name", "old", "old.ndjson")
    assert code == 0, out + errors
    importer.create_topics()
    code, checks = importer.verify()
    assert (code, [check["name"] for check in checks if check["faults"]]) == (0, [])
    (events,) = [check for check in checks if check["name"] == "events_log"]
    assert (events["looked_at"], events["notes"]) == (120, ["import old: its rows are held against its log"])
    gone = importer.rows()[3]
    importer.delete(f"session_id = '{gone[0]}' AND session_event_sequence = {gone[1]}")
    code, checks = importer.verify()
    (events,) = [check for check in checks if check["name"] == "events_log"]
    assert code == 3
    assert "missing in Tinybird" in events["faults"][0]
    assert "import.old.events-" in events["faults"][0]


def test_two_imports_of_the_same_visitors_keep_all_sessions_of_both(importer: Importer) -> None:
    events = importer.events(60)
    later = [
        {
            **event,
            "timestamp": event["timestamp"].replace("2024-05", "2024-06"),
            "event_id": f"{event['event_id']}-later",
        }
        for event in events
    ]
    for name, rows in (("may", events), ("june", later)):
        (importer.directory / f"{name}.ndjson").write_bytes(ndjson(rows))
        code, out, errors = importer.run("--name", name, f"{name}.ndjson")
        assert code == 0, out + errors
    sessions = importer.sessions()
    assert sum(int(row["event_count"]) for row in sessions) == len(importer.rows()) == 120
    by_month = [[row for row in sessions if (int(row["created"]) >= JUNE_MS) == is_june] for is_june in (False, True)]
    assert len(by_month[0]) == len(by_month[1]) > 20
    importer.create_topics()
    assert importer.verify()[0] == 0
