"""Several processors on one group: take-over by a standby, queries while the owner is gone, and one name used twice."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.source_log import event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import SEQUENCED, SOURCE
from tracker.cli.workers import PORT_STEP
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

pytestmark = pytest.mark.slow

SESSIONS = [f"s-{number}" for number in range(12)]


class Workers:
    """Processors of one deployment, each with a data directory, a port and, unless told otherwise, a name."""

    def __init__(self, broker: LocalKafka, directory: Path) -> None:
        self.directory = directory
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"workers-{free_port()}.", partitions=4)
        asyncio.run(admin.create_topics(self.settings))
        self.stages: dict[str, Stage] = {}
        self.ports: dict[str, int] = {}

    def start(self, name: str, *, worker_id: str = "", data_dir: str = "", **environment: str) -> Stage:
        port = self.ports[name] = free_port()
        self.stages[name] = Stage(
            "process",
            self.directory / (data_dir or name),
            {
                "TRACKER_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
                "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                "TRACKER_PARTITIONS": "4",
                "TRACKER_PROCESS_PORT": str(port),
                "TRACKER_WORKER_ID": worker_id or name,
                "TRACKER_KAFKA_SESSION_TIMEOUT_MS": "6000",
                **environment,
            },
        )
        self.stages[name].log_file = self.directory / f"{name}.log"
        self.stages[name].start()
        return self.stages[name]

    def send(self, event_id: str) -> None:
        """One event in each session."""

        async def send_all() -> None:
            async with new_producer(self.settings, "test") as producer:
                topic = SOURCE.name(self.settings.topic_prefix)
                for session in SESSIONS:
                    await producer.send_and_wait(topic, event_value(session, event_id), key=session.encode())

        asyncio.run(send_all())

    def get(self, name: str, session: str) -> tuple[int, dict]:
        url = f"http://{LOOPBACK}:{self.ports[name]}/session/{session}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def readiness(self, name: str) -> tuple[int, list[str]]:
        """What ``/readyz`` says, and why not."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self.ports[name]}/readyz", timeout=PATIENCE_SECONDS
            ) as answer:
                return answer.status, json.load(answer)["problems"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["problems"]

    def metric(self, name: str, metric: str) -> float | None:
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self.ports[name]}/metrics", timeout=PATIENCE_SECONDS
            ) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        found = [float(line.split()[-1]) for line in lines if line.startswith(metric + " ")]
        return found[0] if found else None

    def numbers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for record in asyncio.run(read_all(self.settings, SEQUENCED)):
            row = json.loads(record.value)
            found.setdefault(row["session_id"], []).append(row["session_event_sequence"])
        return found

    def wait_for_partitions(self, **partitions: int) -> None:
        wait_until(
            lambda: all(self.metric(name, "tracker_process_leases") == count for name, count in partitions.items()),
            f"leases {partitions}",
        )


@pytest.fixture
def workers(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(kafka_broker, tmp_path)
    yield workers
    for stage in workers.stages.values():
        stage.end()


def test_a_standby_answers_while_the_owner_is_stopped_and_takes_over_warm(workers: Workers) -> None:
    first = workers.start("one")
    workers.start("two")
    workers.wait_for_partitions(one=2, two=2)
    workers.send("a")
    wait_until(lambda: workers.numbers() == {key: [1] for key in SESSIONS}, "the first events")

    answers: dict[str, tuple[int, dict]] = {}

    def all_owners_answer() -> bool:  # a standby answers for one that takes more than a second
        answers.update({session: workers.get("two", session) for session in SESSIONS})
        found = [(status, state.get("from"), state.get("event_sequence")) for status, state in answers.values()]
        return set(found) == {(200, "owner", 1)}

    wait_until(all_owners_answer, "the owners' answers")
    owned_by_one = [s for s, (_, state) in answers.items() if state["partition"] not in _partitions(workers, "two")]
    assert owned_by_one

    # Its figure of rows behind is 0 also before it has looked.
    known = [f"{session}?asked=standby" for session in owned_by_one]
    wait_until(lambda: {workers.get("two", one)[1].get("event_sequence") for one in known} == {1}, "the standby")
    first.freeze()
    try:
        status, state = workers.get("two", owned_by_one[0])
        assert (status, state["from"], state["event_sequence"]) == (200, "standby", 1)
        assert state["rows_behind"] == 0
        assert state["staleness_ms"] >= 0
        workers.wait_for_partitions(two=4)
        workers.send("b")
        wait_until(lambda: workers.numbers() == {key: [1, 2] for key in SESSIONS}, "the second events")
    finally:
        first.wake()
    taken_over = [
        line for line in workers.stages["two"].log_file.read_text().splitlines() if "partition ready" in line
    ][-4:]
    assert all("rows_read=0" in line for line in taken_over), taken_over
    workers.wait_for_partitions(one=2, two=2)
    workers.send("c")
    wait_until(lambda: workers.numbers() == {key: [1, 2, 3] for key in SESSIONS}, "the third events")


def _partitions(workers: Workers, name: str) -> set[int]:
    """The partitions that a worker owns: those of the sessions that it answers by itself."""
    answers = (workers.get(name, f"{session}?asked=owner") for session in SESSIONS)
    return {state["partition"] for status, state in answers if status == 200}


def test_of_two_workers_with_one_name_the_older_one_ends_and_says_why(workers: Workers) -> None:
    older = workers.start("older", worker_id="same")
    workers.wait_for_partitions(older=4)
    workers.start("newer", worker_id="same")
    assert older._process is not None
    assert older._process.wait(PATIENCE_SECONDS) == 1
    assert "give each worker its own TRACKER_WORKER_ID" in older.log_file.read_text()
    workers.wait_for_partitions(newer=4)
    workers.send("a")
    wait_until(lambda: workers.numbers() == {key: [1] for key in SESSIONS}, "the events")
    workers.stages["newer"].assert_running()


def test_a_second_worker_on_the_same_directory_ends_before_it_disturbs_the_first(workers: Workers) -> None:
    first = workers.start("first", worker_id="same", data_dir="shared")
    workers.wait_for_partitions(first=4)
    second = workers.start("second", worker_id="same", data_dir="shared")
    assert second._process is not None
    assert second._process.wait(PATIENCE_SECONDS) == 1
    assert "another processor runs with TRACKER_WORKER_ID=same" in second.log_file.read_text()
    first.assert_running()
    workers.send("a")
    wait_until(lambda: workers.numbers() == {key: [1] for key in SESSIONS}, "the events")


def test_two_processes_of_one_command_share_the_partitions_and_one_that_is_killed_comes_back(workers: Workers) -> None:
    both = workers.start("both", TRACKER_PROCESS_PROCESSES="2")
    workers.ports["first"] = workers.ports["both"] + PORT_STEP
    workers.ports["second"] = workers.ports["first"] + PORT_STEP
    workers.wait_for_partitions(first=2, second=2)
    wait_until(lambda: workers.readiness("both") == (200, []), "both are ready")
    assert both._process is not None
    parent = psutil.Process(both._process.pid)
    (other,) = (child for child in parent.children() if child.environ()["TRACKER_WORKER_ID"] == "both")

    def is_killed_and_named() -> bool:
        for child in set(parent.children()) - {other}:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                child.kill()
        status, problems = workers.readiness("both")
        return status == 503 and any(line.startswith("both.2: ") for line in problems)

    wait_until(is_killed_and_named, "the parent's page says that a worker is missing")
    workers.send("a")
    wait_until(lambda: workers.numbers() == {key: [1] for key in SESSIONS}, "the events")
    workers.wait_for_partitions(first=2, second=2)
    wait_until(lambda: workers.readiness("both") == (200, []), "all are ready again")
    assert other in parent.children()
    figures = [f'tracker_process_leases{{process="{worker}"}}' for worker in ("both", "both.2")]
    wait_until(lambda: [workers.metric("both", one) for one in figures] == [2, 2], "figures of both")
    wait_until(lambda: {workers.get("both", one)[0] for one in SESSIONS} == {200}, "every session's state")

    newcomer = workers.start("newcomer", worker_id="both.2", data_dir="both")
    assert newcomer.exit_status() == 1
    assert "another processor runs with TRACKER_WORKER_ID=both.2" in newcomer.log_file.read_text()
    assert len(psutil.Process(both._process.pid).children()) == 2
    assert both.stop() == 0


def test_partitions_are_checkpointed_before_a_join_takes_them_away(workers: Workers) -> None:
    """A stream of events, and a second worker that joins meanwhile: no chunk is folded twice."""
    workers.start("one")
    workers.wait_for_partitions(one=4)
    workers.start("two")
    deadline = time.monotonic() + PATIENCE_SECONDS
    sent = 0
    while workers.metric("two", "tracker_process_leases") != 2:
        assert time.monotonic() < deadline
        workers.send(f"e{sent}")
        sent += 1
    assert sent > 1, "the second worker had joined before anything was under way"
    expected = {key: list(range(1, sent + 1)) for key in SESSIONS}
    wait_until(lambda: workers.numbers() == expected, f"{sent} events in each session, once")
    assert workers.metric("one", "tracker_process_chunks_dropped_total") == 0
