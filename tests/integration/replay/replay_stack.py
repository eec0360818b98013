"""A processed log to replay: a source topic, and the outputs that a real processor made of it, killed on the way."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import TopicPartition

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.source_log import end_offsets, event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import DEAD_LETTERS, SEQUENCED, SOURCE
from topics.catalog import SESSIONS as SESSION_ROWS
from topics.headers import read_position
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

PARTITIONS = 4
SESSIONS = 60
#: What is written before each kill.
KILL_EVENTS = 1_000


class ProcessedLog:
    """Events of many sessions, some bad records among them, numbered by a processor that is killed twice."""

    def __init__(self, broker: LocalKafka, data_dir: Path, **environment: str) -> None:
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap,
            topic_prefix=f"replay-{free_port()}.",
            partitions=PARTITIONS,
            data_dir=data_dir,
        )
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_PROCESS_PORT": str(free_port()),
            "TRACKER_GROUP_COMMIT_INTERVAL_MS": "100",
            # So small that a kill finds some of what was written done, and some not.
            "TRACKER_CHUNK_MAX_RECORDS": "10",
            **environment,
        }
        self.data_dir = data_dir
        #: Times that the processor was killed with something left to do.
        self.kills_under_way = 0
        asyncio.run(admin.create_topics(self.settings))
        self.processor = Stage("process", data_dir, self.environment)

    def process(self, events: int, *, kills: int = 0, until_closed: bool = False) -> None:
        """Write events and let the processor number them all; what it is killed for, it does again."""
        self.processor.start()
        written = 0
        while self.kills_under_way < kills:
            assert written + KILL_EVENTS < events, "the processor was always done before it was killed"
            before = self._outputs()
            asyncio.run(self.write(KILL_EVENTS, seed=written))
            written += KILL_EVENTS
            wait_until(lambda before=before: self._outputs() > before, "outputs of what is new")
            self.processor.kill()
            self.kills_under_way += self._answered_records() < written
            self.processor.start()
        asyncio.run(self.write(events - written, seed=written))
        wait_until(self._all_committed, "everything processed and committed")
        if until_closed:
            wait_until(lambda: self._all_closed() and self._all_committed(), "every session closed")
        assert self.processor.stop() == 0

    async def write(self, events: int, seed: int = 0) -> None:
        """Write events of many sessions, some bad records among them."""
        rng = random.Random(seed)
        topic = SOURCE.name(self.settings.topic_prefix)
        async with new_producer(self.settings, "upstream", linger_ms=5) as producer:
            for number in range(events):
                session = f"s-{rng.randrange(SESSIONS)}"
                workspace = f"w{int(session[2:]) % 2}"
                value = event_value(session, clock.new_id(), workspace_id=workspace)
                await producer.send(topic, b"{broken" if number % 97 == 0 else value, key=session.encode())

    def _outputs(self) -> int:
        return sum(asyncio.run(end_offsets(self.settings, SEQUENCED)).values())

    def _answered_records(self) -> int:
        """Source records that have given an event or a letter."""
        return len(
            {
                (record.partition, position.offset)
                for topic in (SEQUENCED, DEAD_LETTERS)
                for record in asyncio.run(read_all(self.settings, topic))
                if (position := read_position(record.headers)) is not None
            }
        )

    def _all_closed(self) -> bool:
        """Whether every session that has opened has closed."""
        rows = [json.loads(record.value) for record in asyncio.run(read_all(self.settings, SESSION_ROWS))]
        closed = {row["session_id"] for row in rows if row["is_expired"]}
        return bool(closed) and closed == {row["session_id"] for row in rows}

    def _all_committed(self) -> bool:
        ends = asyncio.run(end_offsets(self.settings, SOURCE))
        committed = asyncio.run(admin.committed_offsets(self.settings, f"{self.settings.topic_prefix}process"))
        return all(committed.get(TopicPartition(*tp), 0) == end for tp, end in ends.items() if end)

    def start_replay(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """``tracker replay`` as a person runs it, with JSON lines on stdout."""
        return subprocess.Popen(
            [sys.executable, "-m", "tracker", "replay", "--json", "--processes", "2", *arguments],
            env=self._environment(environment),
            cwd=self.data_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_doomed_worker(self, name: str, step: str, *, chunk: int, **environment: str) -> subprocess.Popen[str]:
        """One process of a replay that has begun, which will be killed at a step of one of its chunks."""
        numbers = ",".join(map(str, range(PARTITIONS)))
        module = "tests.integration.replay.doomed_worker"
        return subprocess.Popen(
            [sys.executable, "-m", module, "replay-worker", name, "--partitions", numbers],
            env=self._environment({**environment, "DOOM_STEP": step, "DOOM_CHUNK": str(chunk)}),
            cwd=self.data_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Any other command, as a person runs it."""
        return subprocess.run(
            [sys.executable, "-m", "tracker", *arguments],
            env=self._environment(environment),
            cwd=self.data_dir,
            input=typed,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def _environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECT_DIR),
            **self.environment,
            "TRACKER_DATA_DIR": str(self.data_dir),
            **environment,
        }

    def replay(self, *arguments: str, **environment: str) -> tuple[int, list[dict], str]:
        """Run a replay to its end: exit code, what it said, and its stderr."""
        process = self.start_replay(*arguments, **environment)
        out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, [json.loads(line) for line in out.splitlines()], errors


@contextmanager
def tinybird_for_replay(name: str, directory: Path) -> Iterator[LocalTinybird]:
    """A local Tinybird that also has a replay's ``events_NAME`` and ``session_NAME``, which its pipes read."""
    project = directory / "project"
    shutil.copytree(PROJECT_DIR / "tinybird", project)
    for kind in ("events", "session"):
        file = project / "datasources" / f"{kind}_v1.datasource"
        shutil.copy(file, file.with_name(f"{kind}_{name}.datasource"))
    for pipe in (project / "pipes").glob("*.pipe"):
        pipe.write_text(re.sub(r"\b(events|session)_v1\b", rf"\1_{name}", pipe.read_text()))
    tinybird = LocalTinybird(directory / "tinybird", TRACKER_TINYBIRD_PROJECT_DIR=str(directory / "project"))
    tinybird.data_dir.mkdir()
    tinybird.start()
    try:
        yield tinybird
    finally:
        tinybird.kill()


def kill_under_way(process: subprocess.Popen[str]) -> None:
    """Kill a replay once it has told of its progress, before it is done."""
    until_line(process, lambda said: said["type"] == "progress" and not said["finished"])
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"


def until_line(process: subprocess.Popen[str], is_it: Callable[[dict], bool]) -> dict:
    """Read what a replay says until a line is the one waited for."""
    assert process.stdout is not None
    for line in process.stdout:
        said: dict = json.loads(line)
        if is_it(said):
            return said
    raise AssertionError("the replay ended before it said that")
