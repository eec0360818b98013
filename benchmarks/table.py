"""A session table of any size, written straight into the changelog, as if a worker had folded for hours."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from topics.catalog import CHANGELOG, SOURCE
from topics.system.control import TICK_VALUE
from tracker import clock
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.sessions.layouts import WATERMARK_KEY, encode_state, encode_watermark
from tracker.sessions.memory import ENTRY_BYTES, identity_of
from tracker.sessions.rules import SECOND_MS
from tracker.sessions.state import SessionState, Watermark
from tracker.settings import Settings

RECORD_BATCH_MAX_BYTES: Final = 900_000
#: Events that each session has had; it remembers the id of each, as a real one does.
EVENTS_OF_SESSION: Final = 8

_CLICK: Final = b'{"event_type":"click"}'


async def write_table(settings: Settings, sessions: int) -> dict[int, list[bytes]]:
    """Write open sessions and W into the changelog, and the one source record that W names; return the keys.

    The sessions are open, and stay so for the default inactivity gap from now on.
    """
    keys: dict[int, list[bytes]] = defaultdict(list)
    for _ in range(sessions):
        key = clock.new_id().encode()
        keys[partition_for_key(key, settings.partitions)].append(key)
    changelog, source = CHANGELOG.name(settings.topic_prefix), SOURCE.name(settings.topic_prefix)
    async with new_producer(settings, "bench-table", max_batch_size=RECORD_BATCH_MAX_BYTES) as producer:
        for number in range(settings.partitions):
            await producer.send_and_wait(source, TICK_VALUE, partition=number)
            await send_batches(producer, changelog, number, _rows(keys[number]))
    return keys


def _rows(keys: list[bytes]) -> Iterator[ProducerRecord]:
    now = clock.now_ms()
    came = (now // SECOND_MS).to_bytes(ENTRY_BYTES - len(identity_of("", _CLICK)), "big")
    recent = b"".join(identity_of(f"event-{number}", _CLICK) + came for number in range(EVENTS_OF_SESSION))
    for number, key in enumerate(keys):
        state = SessionState(
            session_id=key.decode(),
            ordinal=0,
            created_ms=now,
            last_activity_ms=now,
            timeout_ms=30 * 60_000,
            sequence=EVENTS_OF_SESSION,
            context={
                "user_id": f"user-{number}",
                "campaign_id": f"campaign-{number % 50}",
                "workspace_id": f"workspace-{number % 20}",
                "project_id": f"project-{number % 100}",
                "landing_page_id": f"landing-page-{number % 200}",
                "environment": "production",
            },
            recent=recent,
            remembered_ms=now,
        )
        yield key, encode_state(0, state), []
    yield WATERMARK_KEY, encode_watermark(0, Watermark(stream_time_ms=now)), []
