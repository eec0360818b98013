"""The load: events of many sessions, as browsers would send them, put into the source topic before anyone reads it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

import orjson

from topics.catalog import SOURCE
from tracker import clock
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.settings import Settings

SESSIONS: Final = 5_000
#: The order in which sessions take turns is the same in every run.
SEED: Final = 1
PRODUCER_BATCH_MAX_BYTES: Final = 500_000
#: Batches under way at once; more would only fill memory.
MAX_UNACKED_BATCHES: Final = 16
STEADY_TURN_SECONDS: Final = 0.01

_EVENT_TYPES: Final = ("pageview", "click", "scroll", "form_submit", "conversion")


@dataclass(frozen=True, slots=True)
class Load:
    """What was loaded: each session's event ids in log order, which is the order they must be numbered in."""

    events: int
    mean_value_bytes: float
    event_ids: dict[str, list[str]]


async def load_events(
    settings: Settings, count: int, session_count: int = SESSIONS, *, has_visitors: bool = False
) -> Load:
    """Put events into the source topic, in whole record batches, and return once all are acked.

    With visitors each event carries a visitor id, the same in all events of a session.
    """
    random = Random(SEED)
    sessions = [clock.new_id() for _ in range(session_count)]
    event_ids: dict[str, list[str]] = defaultdict(list)
    by_partition: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    total_bytes = 0
    for number in range(count):
        session_id = random.choice(sessions)
        event_id = clock.new_id()
        value = _event(session_id, event_id, number, {"visitor_id": session_id} if has_visitors else {})
        key = session_id.encode()
        event_ids[session_id].append(event_id)
        by_partition[partition_for_key(key, settings.partitions)].append((key, value))
        total_bytes += len(value)
    await _produce(settings, by_partition)
    return Load(count, total_bytes / count, dict(event_ids))


async def send_steadily(settings: Settings, sessions: Sequence[str], events_per_second: int) -> None:
    """Send events of these sessions, in turn, at a steady rate until cancelled."""
    topic = SOURCE.name(settings.topic_prefix)
    async with new_producer(settings, "bench-steady", linger_ms=5) as producer:
        began, number = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * events_per_second)
            while number < due:
                session = sessions[number % len(sessions)]
                await producer.send(topic, _event(session, clock.new_id(), number), key=session.encode())
                number += 1
            await asyncio.sleep(STEADY_TURN_SECONDS)


async def load_one_each(settings: Settings, keys: Mapping[int, Sequence[bytes]]) -> None:
    """Put one event of every session into the source topic, partition by partition."""
    for partition, of_partition in keys.items():
        records = [(key, _event(key.decode(), clock.new_id(), number)) for number, key in enumerate(of_partition)]
        await _produce(settings, {partition: records})


async def _produce(settings: Settings, by_partition: dict[int, list[tuple[bytes, bytes]]]) -> None:
    topic = SOURCE.name(settings.topic_prefix)
    room = asyncio.Semaphore(MAX_UNACKED_BATCHES)
    async with new_producer(settings, "bench-load", max_batch_size=PRODUCER_BATCH_MAX_BYTES) as producer:

        async def send_all(partition: int, records: list[tuple[bytes, bytes]]) -> None:
            at = 0
            while at < len(records):
                batch = producer.create_batch()
                while at < len(records) and batch.append(timestamp=None, key=records[at][0], value=records[at][1]):
                    at += 1
                async with room:
                    await (await producer.send_batch(batch, topic, partition=partition))

        await asyncio.gather(*(send_all(partition, records) for partition, records in by_partition.items()))


def _event(session_id: str, event_id: str, number: int, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
    data = {
        "event_id": event_id,
        "event_type": _EVENT_TYPES[number % len(_EVENT_TYPES)],
        "user_id": f"user-{number % 1_000}",
        "clicked_element": "button#buy",
        "scroll_percentage": float(number % 101),
        "viewport_width": 1280,
        "viewport_height": 720,
        "environment": "production",
        "page_url": f"https://shop.example/products/{number % 500}?utm=1",
        "referrer_url": "https://search.example/",
    }
    record = {"type": "event", "session_id": session_id, "timestamp": clock.now_iso(), "retry_count": 0, "data": data}
    return orjson.dumps({**record, **more})
