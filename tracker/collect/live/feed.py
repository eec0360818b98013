"""The data behind ``/live``: a reader of the output topics that runs only while somebody watches."""

import asyncio
import contextlib
import ipaddress
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
from tracker.collect.http.messages import Request
from tracker.collect.live.window import LiveWindow, Progress
from tracker.errors import RetryableError
from tracker.kafka import admin
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

#: Nobody has asked for so long: the reader ends, and what it knew is forgotten.
WATCHED_SECONDS: Final = 15.0
#: Workspaces that are watched at the same time, each with a window of its own.
MAX_WATCHED_WORKSPACES: Final = 16
#: Records before the end of each partition that are read first, so that the page does not begin empty.
LOOKBACK_RECORDS: Final = 500
#: Records of one fetch that are looked into; of a busier moment the rest is only counted.
MAX_DETAILED_RECORDS: Final = 2_000
FETCH_WAIT_MS: Final = 200
LAG_INTERVAL_SECONDS: Final = 1.0
#: The processor commits every few seconds; a group with work that has not moved for longer is stalled.
STALLED_AFTER_MS: Final = 15_000
RECONNECT_DELAY_SECONDS: Final = 1.0
#: Headers by which a proxy says that the client is somebody else.
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: Each group with the topics that it reads.
_GROUPS: Final[dict[str, tuple[Topic, ...]]] = {"process": (SOURCE,), "sink": (SEQUENCED, SESSIONS)}

_log = structlog.get_logger(__name__)


def check_local(request: Request) -> None:
    """Let only somebody at this machine see what visitors do.

    The name by which we are asked counts too: a page elsewhere may have had its own name resolved to this machine.

    Raises:
        RequestError: ``forbidden``.
    """
    host = request.headers.get("Host", "").rpartition(":")[0] or request.headers.get("Host", "")
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    if is_forwarded or host.lower() not in _LOCAL_NAMES or not _is_loopback(request.peer):
        raise RequestError("forbidden", "live data are shown on the collector's own machine only, at localhost")


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


class LiveFeed:
    """Follows the output topics while it is asked, for each workspace that is asked for; None stands for all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[str | None, LiveWindow] = {}
        self._watched_until: dict[str | None, float] = {}
        #: Somebody has begun to watch another workspace: what was read before has to be read again for them.
        self._begins_anew = False
        self._progress = {group: Progress() for group in _GROUPS}
        self._problem = "connecting"
        self._task: asyncio.Task[None] | None = None

    def data(self, workspace: str | None, key: str) -> bytes:
        """Return what the page shows as JSON, with the timeline of one session, and keep the reader going.

        Raises:
            RequestError: ``overloaded``: too many workspaces are watched.
        """
        window = self._watch_workspace(workspace)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="live-feed")
        now_ms = clock.now_ms()
        groups = {
            name: {"lag": progress.lag, "health": progress.health(now_ms, STALLED_AFTER_MS)}
            for name, progress in self._progress.items()
        }
        return orjson.dumps({**window.snapshot(now_ms, key), "groups": groups, "problem": self._problem})

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
            except (KafkaError, OSError, RetryableError) as error:
                self._problem = f"can't read from Kafka ({type(error).__name__})"
                _log.warning("/live hears nothing from Kafka; trying again", error=repr(error))
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
        self._windows, self._watched_until = {}, {}
        self._problem = "connecting"

    async def _follow(self) -> None:
        reader = new_reader(self._settings, "tracker-live")
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(reader.stop)
            await reader.start()
            client = await stack.enter_async_context(admin.connect(self._settings, timeout_seconds=WATCHED_SECONDS * 4))
            await self._assign(reader)
            next_lag = 0.0
            while self._is_watched and not self._begins_anew:
                found = await reader.getmany(timeout_ms=FETCH_WAIT_MS, max_records=4 * MAX_DETAILED_RECORDS)
                self._take(record for records in found.values() for record in records)
                if time.monotonic() >= next_lag:
                    await self._note_lag(reader, client)
                    next_lag = time.monotonic() + LAG_INTERVAL_SECONDS
                self._problem = ""

    async def _assign(self, reader: AIOKafkaConsumer) -> None:
        partitions = self._partitions((SEQUENCED, SESSIONS))
        reader.assign(partitions)
        begins, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        for partition in partitions:
            reader.seek(partition, max(begins[partition], ends[partition] - LOOKBACK_RECORDS))

    def _take(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        sequenced = SEQUENCED.name(self._settings.topic_prefix)
        for place, record in enumerate(records):
            if record.value is None or any(name == FLUSH for name, _ in record.headers):
                continue
            row: dict[str, Any] = orjson.loads(record.value)
            for window in filter(None, map(self._windows.get, (None, row["workspace_id"]))):
                is_event = record.topic == sequenced
                if is_event:
                    window.count(record.timestamp)
                if place < MAX_DETAILED_RECORDS:
                    (window.add_event if is_event else window.add_session)(row, record.timestamp)

    async def _note_lag(self, reader: AIOKafkaConsumer, client: AIOKafkaAdminClient) -> None:
        for name, topics in _GROUPS.items():
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
