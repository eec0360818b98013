"""The data behind ``/live``: a reader of the output topics that runs only while the page is open."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any, Final

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from topics.catalog import SEQUENCED, SESSIONS, SOURCE, Topic
from topics.headers import FLUSH
from tracker import clock
from tracker.collect.errors import RequestError
from tracker.collect.live.window import LiveWindow, Progress
from tracker.kafka import admin
from tracker.kafka.clients import is_passing, new_reader
from tracker.kafka.log_reader import whole_ranges
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

#: After this time without a request of the page, the reader ends and its data are forgotten.
WATCHED_SECONDS: Final = 15.0
#: Workspaces that are watched at the same time, each with its own window.
MAX_WATCHED_WORKSPACES: Final = 16
#: Records before the end of each partition that are read first, so that the page does not begin empty.
LOOKBACK_RECORDS: Final = 500
#: Records of one fetch that are shown. If there are more, the others are only counted.
MAX_DETAILED_RECORDS: Final = 2_000
FETCH_WAIT_MS: Final = 200
LAG_INTERVAL_SECONDS: Final = 1.0
#: The processor commits every few seconds; a group with lag that has not committed for longer is stalled.
STALLED_AFTER_MS: Final = 15_000
#: Between two attempts to read: the wait doubles while they fail, as they do for ever without the right to read.
FIRST_RECONNECT_DELAY_SECONDS: Final = 1.0
MAX_RECONNECT_DELAY_SECONDS: Final = 60.0

#: Each group with the topics that it reads.
_GROUPS: Final[dict[str, tuple[Topic, ...]]] = {"process": (SOURCE,), "sink": (SEQUENCED, SESSIONS)}

log = structlog.get_logger()


class LiveFeed:
    """Follows the output topics while it is asked, for each workspace that is asked for; None stands for all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[str | None, LiveWindow] = {}
        self._watched_until: dict[str | None, float] = {}
        #: A new workspace is watched: the reader has to begin again, since older records are missing in its window.
        self._begins_anew = False
        self._progress = {group: Progress() for group in _GROUPS}
        self._problem = "connecting"
        self._lag_problem = ""
        self._tasks: SupervisedTasks
        self._task: asyncio.Task[None] | None = None
        self._reconnect_delay_seconds = FIRST_RECONNECT_DELAY_SECONDS

    def start(self, tasks: SupervisedTasks) -> None:
        """Allow it to read."""
        self._tasks = tasks

    def data(self, workspace: str | None, key: str) -> bytes:
        """Return the data of the page as JSON, with the timeline of one session, and keep the reader running.

        Raises:
            RequestError: ``overloaded``: too many workspaces are watched.
        """
        window = self._watch_workspace(workspace)
        if self._task is None or self._task.done():
            self._task = self._tasks.run("live feed", self._watch())
        now_ms = clock.now_ms()
        groups = {
            name: {"lag": progress.lag, "health": progress.health(now_ms, STALLED_AFTER_MS)}
            for name, progress in self._progress.items()
        }
        problem = self._problem or self._lag_problem
        return orjson.dumps({**window.snapshot(now_ms, key), "groups": groups, "problem": problem})

    async def stop(self) -> None:
        """End the reader."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _watch_workspace(self, workspace: str | None) -> LiveWindow:
        now = time.monotonic()
        if workspace not in self._windows:
            self._windows = {name: kept for name, kept in self._windows.items() if now < self._watched_until[name]}
            if len(self._windows) >= MAX_WATCHED_WORKSPACES:
                raise RequestError("overloaded", "too many workspaces are watched at once")
            self._windows[workspace] = LiveWindow(self._settings.session_timeout_ms)
            self._begins_anew = True
        self._watched_until[workspace] = now + WATCHED_SECONDS
        return self._windows[workspace]

    @property
    def _is_watched(self) -> bool:
        now = time.monotonic()
        return any(now < self._watched_until[name] for name in self._windows)

    async def _watch(self) -> None:
        while self._is_watched:
            self._begins_anew = False
            self._windows = {name: LiveWindow(self._settings.session_timeout_ms) for name in self._windows}
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - a page for operators must not stop the collector
                self._problem = f"can't read from Kafka ({type(error).__name__})"
                wait_seconds = self._reconnect_delay_seconds
                self._reconnect_delay_seconds = min(2 * wait_seconds, MAX_RECONNECT_DELAY_SECONDS)
                log.warning("/live can't read from Kafka", error=repr(error), retry_in_seconds=wait_seconds)
                await asyncio.sleep(wait_seconds)
        self._windows, self._watched_until = {}, {}
        self._problem = "connecting"

    async def _follow(self) -> None:
        reader = new_reader(self._settings, "tracker-live")
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(reader.stop)
            await reader.start()
            client = await stack.enter_async_context(admin.connect(self._settings, timeout_seconds=WATCHED_SECONDS * 4))
            partitions = await self._assign(reader)
            self._lag_problem = ""
            next_lag = 0.0
            while self._is_watched and not self._begins_anew:
                found = await reader.getmany(timeout_ms=FETCH_WAIT_MS, max_records=4 * MAX_DETAILED_RECORDS)
                self._show(record for records in found.values() for record in records)
                if not self._lag_problem and time.monotonic() >= next_lag:
                    await self._note_lag(reader, client)
                    next_lag = time.monotonic() + LAG_INTERVAL_SECONDS
                if all(reader.highwater(partition) is not None for partition in partitions):
                    # Kafka has answered a fetch of each partition: nothing found would not tell that we may read.
                    self._problem = ""
                    self._reconnect_delay_seconds = FIRST_RECONNECT_DELAY_SECONDS

    async def _assign(self, reader: AIOKafkaConsumer) -> list[TopicPartition]:
        partitions = self._partitions((SEQUENCED, SESSIONS))
        reader.assign(partitions)
        for partition, whole in (await whole_ranges(reader, partitions)).items():
            reader.seek(partition, max(whole.begin, whole.end - LOOKBACK_RECORDS))
        return partitions

    def _show(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        for place, record in enumerate(records):
            if record.value is None or any(name == FLUSH for name, _ in record.headers):
                continue
            try:
                self._show_record(record, is_detailed=place < MAX_DETAILED_RECORDS)
            except (ValueError, KeyError, TypeError) as error:  # a foreign producer has written to the topic
                where = f"{record.topic}[{record.partition}]@{record.offset}"
                log.warning("/live can't read a record", where=where, error=type(error).__name__)

    def _show_record(self, record: "ConsumerRecord[bytes, bytes]", *, is_detailed: bool) -> None:
        row: dict[str, Any] = orjson.loads(record.value)
        is_event = record.topic == SEQUENCED.name(self._settings.topic_prefix)
        for window in filter(None, map(self._windows.get, (None, row["workspace_id"]))):
            if is_event:
                window.count(record.timestamp)
            if is_detailed:
                (window.add_event if is_event else window.add_session)(row, record.timestamp)

    async def _note_lag(self, reader: AIOKafkaConsumer, client: AIOKafkaAdminClient) -> None:
        """Ask how far the groups are. If Kafka does not let us ask, the page goes on without their lag."""
        try:
            for name, topics in _GROUPS.items():
                await self._note_lag_of(name, topics, reader, client)
        except KafkaError as error:
            if is_passing(error):
                raise
            self._lag_problem = f"Kafka does not tell the groups' lag ({type(error).__name__})"
            log.warning("/live shows no lag: Kafka does not tell it", error=repr(error))

    async def _note_lag_of(
        self, name: str, topics: tuple[Topic, ...], reader: AIOKafkaConsumer, client: AIOKafkaAdminClient
    ) -> None:
        partitions = self._partitions(topics)
        ends = await reader.end_offsets(partitions)
        group = f"{self._settings.topic_prefix}{name}"
        committed = await client.list_consumer_group_offsets(group, partitions=partitions)
        known = {partition: found.offset for partition, found in committed.items() if found.offset >= 0}
        lag = sum(max(0, ends[partition] - known.get(partition, 0)) for partition in partitions)
        self._progress[name].note(sum(known.values()) if known else -1, lag, clock.now_ms())

    def _partitions(self, topics: Iterable[Topic]) -> list[TopicPartition]:
        prefix = self._settings.topic_prefix
        return [TopicPartition(topic.name(prefix), n) for topic in topics for n in range(self._settings.partitions)]
