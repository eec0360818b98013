"""One session as an operator sees it: its state and its numbered events, live or as Tinybird has them."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from yarl import URL

from topics.catalog import SEQUENCED
from topics.headers import SourcePosition, read_position
from tracker.errors import ConfigurationError, NotFoundError, RetryableError
from tracker.kafka import admin
from tracker.kafka.access import require_access
from tracker.kafka.clients import new_reader, partition_for_key
from tracker.kafka.log_reader import LogRange, read_range
from tracker.kafka.spread import spread_of
from tracker.observe.internal_token import InternalToken
from tracker.settings import Settings
from tracker.tinybird.sql import quoted
from tracker.tinybird_clients import query_api

REQUEST_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_MS: Final = 300
#: Outputs carry their producer's time, the state the broker's: clocks may differ by this.
CLOCK_MARGIN_MS: Final = 60_000
#: Events of one session that are taken from Tinybird.
MAX_EVENTS: Final = 10_000

Event = Mapping[str, Any]


async def live_state(settings: Settings, key: str, workspace_id: str = "") -> Mapping[str, Any]:
    """Return a session's state from the worker that owns it; without a workspace, of the first that has used the key.

    Raises:
        ConfigurationError: the processor has another secret.
        NotFoundError: no session has this key.
        RetryableError: no processor answers, or the owner is recovering.
    """
    url = URL(f"{settings.processor_url}/session/{quote(key, safe='')}", encoded=True).with_query(
        workspace=workspace_id
    )
    client = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS), headers=InternalToken.of(settings).headers
    )
    try:
        async with client as http, http.get(url, allow_redirects=False) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise NotFoundError(f"no session has the key {key!r}; sessions of old: tracker session --tinybird")
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise ConfigurationError("the processor has another secret: set its TRACKER_INTERNAL_TOKEN here, too")
            if answer.status != HTTPStatus.OK:
                raise RetryableError(f"the session's owner can't answer now (status {answer.status}); try again")
            state: Mapping[str, Any] = orjson.loads(await answer.read())
            return state
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RetryableError(
            f"no processor answers at {settings.processor_url} (TRACKER_PROCESS_URL); or ask --tinybird"
        ) from error


@asynccontextmanager
async def open_live_events(settings: Settings, key: str, since_ms: int) -> AsyncIterator["LiveEvents"]:
    """Yield a reader of a key's numbered events from a time on.

    Raises:
        ConfigurationError: there is no topic of numbered events.
        RetryableError: Kafka can't be reached.
    """
    await require_access(settings, "session")
    topic = SEQUENCED.name(settings.topic_prefix)
    if topic not in await admin.describe_broker(settings):
        raise ConfigurationError(f"topic {topic} does not exist; is TRACKER_TOPIC_PREFIX right?")
    tp = TopicPartition(topic, partition_for_key(key.encode(), await spread_of(settings)))
    async with new_reader(settings, "tracker-session") as reader:
        reader.assign([tp])
        at = (await reader.offsets_for_times({tp: max(0, since_ms - CLOCK_MARGIN_MS)})).get(tp)
        end = (await reader.end_offsets([tp]))[tp]
        yield LiveEvents(reader, tp, key.encode(), LogRange(at.offset if at is not None else end, end))


class LiveEvents:
    """Reads one key's events, each once."""

    def __init__(self, reader: AIOKafkaConsumer, tp: TopicPartition, key: bytes, wanted: LogRange) -> None:
        self._reader = reader
        self._tp = tp
        self._key = key
        self._range = wanted
        self._last = SourcePosition(-1, -1)

    async def read(self, *, follow: bool) -> AsyncIterator[Event]:
        """Yield the events that there are, and with ``follow`` also those that come later, without end.

        Raises:
            RetryableError: the broker gives nothing any more.
        """
        async for run in read_range(self._reader, self._tp, self._range):
            for event in self._new(run.records):
                yield event
        self._reader.seek(self._tp, self._range.end)
        while follow:
            found = await self._reader.getmany(self._tp, timeout_ms=READ_TIMEOUT_MS)
            for event in self._new(found.get(self._tp, ())):
                yield event

    def _new(self, records: Iterable[ConsumerRecord]) -> Iterator[Event]:
        for record in records:
            position = read_position(record.headers)
            if position is None or position <= self._last:  # a repeat, after a crash
                continue
            self._last = position
            if record.key == self._key and record.value:
                yield orjson.loads(record.value)


async def written(
    settings: Settings, session: str, workspace_id: str | None = None
) -> tuple[Mapping[str, Any], list[Event]]:
    """Return a session's row and events from Tinybird; the last one, if several have this id or key.

    Raises:
        NotFoundError: Tinybird knows none.
        QueryRefused: the token may not read there.
        RetryableError: Tinybird can't be reached, or not now.
    """
    name = quoted(session)
    of_workspace = "1" if workspace_id is None else f"workspace_id = {quoted(workspace_id)}"
    async with query_api(settings) as rows:
        found = await rows.select(
            f"SELECT * FROM session_v1 FINAL WHERE (session_id = {name} OR session_key = {name}) AND {of_workspace} "
            "ORDER BY created_at DESC LIMIT 1"
        )
        if not found:
            raise NotFoundError(f"Tinybird has no session {session!r}")
        row = found[0]
        events = await rows.select(
            f"SELECT * FROM events_v1 FINAL WHERE session_id = {quoted(str(row['session_id']))} "
            f"AND workspace_id = {quoted(str(row['workspace_id']))} "
            f"ORDER BY session_event_sequence LIMIT {MAX_EVENTS}"
        )
        return row, events
