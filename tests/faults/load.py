"""The load: a steady producer that knows each event id it has sent, and which of them Kafka has acked.

Sessions of every kind, so that every rule is at work while a fault strikes: some go on all the time, most are visits
that end after a second and close by their time-out, some of those come back under the same key.
"""

import asyncio
import random
import time
from collections import deque
from typing import NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.source_log import event_value
from topics.catalog import SOURCE
from tracker.kafka.clients import client_options
from tracker.settings import Settings

TURN_SECONDS = 0.02
STEADY_SESSIONS = 200
VISITS_AT_ONCE = 150
VISIT_MAX_EVENTS = 12
KEYS_REMEMBERED = 2_000
TIMEOUTS_SECONDS = (1, 2, 3)
#: Longer than any fault lasts: a producer that gives up would only send the same event ids again.
ACK_TIMEOUT_MS = 180_000

STEADY_SHARE = 0.5
#: What a record is, by its share of all.
SHARES = {
    "session": 0.02,
    "expire": 0.01,
    "repeat": 0.01,
    # By clients that send an event again when its session may have ended.
    "late repeat": 0.01,
    "passive": 0.02,
    "flush": 0.005,
    "garbage": 0.002,
    # As a producer with another partitioner would.
    "misrouted": 0.005,
    "event": 0.918,
}
LATE_EVENTS = 4_000
#: Most name one workspace, some another on the same keys, some none.
WORKSPACES, WORKSPACE_WEIGHTS = ("w1", "w2", ""), (0.85, 0.1, 0.05)
RETURN_SHARE = 0.2


class Sent(NamedTuple):
    """A record of the load; ``event_id`` only if it is a valid event, ``partition`` only if it is a wrong one."""

    key: bytes
    value: bytes
    event_id: str | None
    partition: int | None = None


class Load:
    """Produces until it is stopped. ``acked`` are the ids of the events that the broker has confirmed."""

    def __init__(self, settings: Settings, rng: random.Random, events_per_second: int) -> None:
        self.acked: set[str] = set()
        self.events_per_second = events_per_second
        self._settings = settings
        self._rng = rng
        self._unacked: deque[Sent] = deque()
        self._in_flight = 0
        self._stopping = False
        self._number = 0
        self._visits: list[list] = []  # [key, events left, last event]
        self._old_keys: deque[str] = deque(maxlen=KEYS_REMEMBERED)
        self._last_steady: dict[str, Sent] = {}
        #: Events that may be sent again when their session has ended.
        self._sent_long_ago: deque[Sent] = deque(maxlen=LATE_EVENTS)

    def stop(self) -> None:
        """Send nothing new; ``run`` returns once all is acked."""
        self._stopping = True

    async def run(self) -> None:
        """Send at the rate, and again what a broken connection left open, until stopped and all is acked."""
        while not self._stopping or self._unacked or self._in_flight:
            try:
                async with self._producer() as producer:
                    await self._send_until_stopped(producer)
            except KafkaError:
                await asyncio.sleep(TURN_SECONDS)

    def _producer(self) -> AIOKafkaProducer:
        options = client_options(self._settings, "faults-load")
        options |= {"acks": "all", "enable_idempotence": True, "linger_ms": 5, "request_timeout_ms": ACK_TIMEOUT_MS}
        return AIOKafkaProducer(**options)

    async def _send_until_stopped(self, producer: AIOKafkaProducer) -> None:
        topic = SOURCE.name(self._settings.topic_prefix)
        began, sent = time.monotonic(), 0
        while not self._stopping or self._unacked or self._in_flight:
            if not self._stopping:
                due = int((time.monotonic() - began) * self.events_per_second) - sent
                if due > self.events_per_second:  # after an outage: go on at the rate, don't catch up
                    began, sent, due = time.monotonic(), 0, 0
                self._unacked.extend(self._next() for _ in range(due))
                sent += due
            while self._unacked:
                await self._send(producer, topic, self._unacked.popleft())
            await asyncio.sleep(TURN_SECONDS)

    async def _send(self, producer: AIOKafkaProducer, topic: str, record: Sent) -> None:
        self._in_flight += 1
        try:
            ack = await producer.send(topic, record.value, key=record.key, partition=record.partition)
        except BaseException:
            self._in_flight -= 1
            self._unacked.append(record)
            raise
        ack.add_done_callback(lambda ack: self._acked(record, ack))

    def _acked(self, record: Sent, ack: asyncio.Future) -> None:
        self._in_flight -= 1
        if ack.cancelled() or ack.exception() is not None:
            self._unacked.append(record)
        elif record.event_id is not None:
            self.acked.add(record.event_id)

    def _next(self) -> Sent:
        rng = self._rng
        steady = rng.random() < STEADY_SHARE
        if steady:
            key = f"steady-{rng.randrange(STEADY_SESSIONS)}"
            record = self._record(key, self._last_steady.get(key))
            if record.event_id is not None:
                self._last_steady[key] = record
            return record
        if len(self._visits) < VISITS_AT_ONCE:
            self._visits.append([self._new_key(), rng.randint(1, VISIT_MAX_EVENTS), None])
        visit = rng.choice(self._visits)
        record = self._record(visit[0], visit[2])
        visit[1] -= 1
        visit[2] = record if record.event_id is not None else visit[2]
        if visit[1] == 0:
            self._visits.remove(visit)
            self._old_keys.append(visit[0])
        return record

    def _new_key(self) -> str:
        if self._old_keys and self._rng.random() < RETURN_SHARE:
            return self._rng.choice(self._old_keys)
        self._number += 1
        return f"visit-{self._number}"

    def _record(self, key: str, last: Sent | None) -> Sent:
        self._number += 1
        kind = self._rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
        match kind:
            case "garbage":
                return Sent(key.encode(), b"garbage", None)
            case "repeat" if last is not None:
                return last
            case "late repeat" if len(self._sent_long_ago) == LATE_EVENTS:
                return self._sent_long_ago.popleft()
            case "session" | "expire" | "flush":
                return Sent(key.encode(), self._control(kind, key), None)
            case _:
                return self._event(key, kind)

    def _control(self, kind: str, key: str) -> bytes:
        data = {"timeout_seconds": self._rng.choice(TIMEOUTS_SECONDS), "campaign_id": f"c-{self._number % 7}"}
        record = {"type": kind, "session_id": key, "timestamp": "2026-11-24T03:43:00.123Z"}
        return orjson.dumps(record | {"data": data if kind == "session" else {}})

    def _event(self, key: str, kind: str) -> Sent:
        workspace = self._rng.choices(WORKSPACES, WORKSPACE_WEIGHTS)[0]
        event_id = f"event-{self._number}"
        value = event_value(key, event_id, **({"workspace_id": workspace} if workspace else {}))
        if kind == "passive":
            return Sent(key.encode(), value.replace(b'"data"', b'"passive":true,"data"', 1), None)
        partition = self._rng.randrange(self._settings.partitions) if kind == "misrouted" else None
        sent = Sent(key.encode(), value, event_id, partition)
        self._sent_long_ago.append(sent)
        return sent
