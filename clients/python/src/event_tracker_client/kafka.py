"""The client over Kafka, for services that speak it: ``pip install event-tracker-client[kafka]``.

confluent-kafka (librdkafka) batches and retries by itself. This adds what the tracker needs of a producer: the session
id as the key, Kafka's own partitioner (librdkafka's default is another one), idempotence, the envelope with the
workspace, and a check of each record: nobody answers a record, and one that can't be taken is a dead letter.
"""

import functools
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from event_tracker_client.api import OnError, TrackerClient, as_json_texts, checked_session_id, log, set_time
from event_tracker_client.checks import faults, own_event_faults
from event_tracker_client.fields import MAX_RECORD_BYTES
from event_tracker_client.items import Code, Item, Kind, encode, iso_time
from event_tracker_client.outbox import Limits
from event_tracker_client.record_rules import (
    ENVELOPE_RULES,
    EVENT_RULES,
    MAX_SESSION_ID_CHARS,
    MAX_WORKSPACE_ID_CHARS,
    SESSION_ID_PATTERN,
    SESSION_RULES,
)

#: Everything of a session has to be in one partition, in order, once: these are not yours to change.
_FIXED: Final[dict[str, object]] = {
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    "acks": "all",
}
_DEFAULTS: Final[dict[str, object]] = {"client.id": "event-tracker-client-py", "compression.type": "lz4"}
#: Made from ``limits``.
_FROM_LIMITS: Final = frozenset(
    {"queue.buffering.max.messages", "queue.buffering.max.kbytes", "message.timeout.ms", "linger.ms"}
)
#: By default a record waits for others for a moment only: Kafka's batches are cheap.
KAFKA_LIMITS: Final = Limits(flush_interval_ms=20)

_SESSION_ID: Final = re.compile(SESSION_ID_PATTERN.removesuffix("$") + r"\Z")
_CODES: Final[Mapping[int, Code]] = {
    KafkaError._MSG_TIMED_OUT: "expired",  # noqa: SLF001 - librdkafka's own codes begin so
    KafkaError._PURGE_QUEUE: "closed",  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT: "closed",  # noqa: SLF001
    KafkaError.MSG_SIZE_TOO_LARGE: "oversized",
}
_POLL_SECONDS: Final = 0.5
_LAST_POLL_SECONDS: Final = 1.0
#: The range of the tracker's times, by the year.
_YEARS: Final = range(2000, 2100)

#: Producers of a parent process. To destroy one here would wait for threads that a fork does not copy.
_left_to_the_parent: list[Producer] = []


class KafkaClient(TrackerClient):
    """Writes events to the tracker's source topic, in batches and in the background.

    >>> with KafkaClient("kafka:9092", workspace_id="w1") as client:
    ...     client.track(session_id, "conversion", event_value="49.90", event_value_type="EUR")
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        workspace_id: str,
        topic: str = "tracker.events",
        config: Mapping[str, object] | None = None,
        on_error: OnError | None = None,
        limits: Limits = KAFKA_LIMITS,
        exit_timeout_ms: int = 5_000,
    ) -> None:
        """Connect to nothing yet: a process that forks its workers afterwards is no problem.

        Args:
            bootstrap_servers: Brokers, as ``host:port``, separated by commas.
            workspace_id: Whose events these are, unless an event says otherwise.
            topic: ``TRACKER_TOPIC_PREFIX`` + ``events``.
            config: Further properties of librdkafka, such as ``security.protocol`` or ``client.id``, which names you in
                dead letters.
            on_error: Hears of each item that is given up.
            limits: ``max_batch_events``, ``max_batch_bytes`` and ``max_retry_wait_ms`` have no meaning here.
            exit_timeout_ms: How long ``close`` waits by default, also at the end of the process.

        Raises:
            ValueError: a property is fixed, or made from an argument.
        """
        given = dict(config or {})
        taken = given.keys() & (_FIXED.keys() | _FROM_LIMITS | {"bootstrap.servers"})
        if taken:
            raise ValueError(f"config: {', '.join(sorted(taken))} can't be changed here")
        self._topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._config = {
            **_DEFAULTS,
            **given,
            **_FIXED,
            "bootstrap.servers": bootstrap_servers,
            "queue.buffering.max.messages": limits.max_queue_items,
            "queue.buffering.max.kbytes": max(1, limits.max_queue_bytes // 1024),
            "message.timeout.ms": max(1, limits.retry_budget_ms),
            "linger.ms": limits.flush_interval_ms,
        }
        self._headers: dict[str, str | bytes | None] = {"producer-client-id": str(self._config["client.id"])}
        self._producer: Producer | None = None
        self._stopping = threading.Event()
        self._delivered = 0
        super().__init__(workspace_id=workspace_id, on_error=on_error, exit_timeout_ms=exit_timeout_ms)

    def __repr__(self) -> str:
        return f"KafkaClient({self._bootstrap_servers!r}, topic={self._topic!r}, waiting={self.waiting})"

    def flush(self, timeout_ms: int | None = None) -> int:
        """Send what waits, and wait until it is delivered or given up; return how many items still wait."""
        producer = self._producer
        if producer is None:
            return 0
        return producer.flush() if timeout_ms is None else producer.flush(timeout_ms / 1_000)

    @property
    def waiting(self) -> int:
        """Items that have no answer yet."""
        return 0 if self._producer is None else len(self._producer)

    @property
    def delivered(self) -> int:
        """Items that were taken."""
        return self._delivered

    def _accept(self, kind: Kind, session_id: str, event_id: str | None, fields: dict[str, Any]) -> None:
        try:
            session_id = checked_session_id(session_id)
            value = self._value(kind, session_id, fields)
        except (ValueError, TypeError) as error:
            reasons = str(error).split("; ")
            self._report([Item(kind, session_id, event_id, b"", 0).undelivered("rejected", *reasons)])
            return
        item = Item(kind, session_id, event_id, value, 0)
        if len(value) > MAX_RECORD_BYTES:
            self._report([item.undelivered("oversized", f"{len(value)} bytes; the limit is {MAX_RECORD_BYTES}")])
        elif self._stopping.is_set():
            self._report([item.undelivered("closed", "the client is closed")])
        else:
            self._produce(item)

    def _value(self, kind: Kind, session_id: str, fields: dict[str, Any]) -> bytes:
        """Return the value of a record.

        Raises:
            ValueError: the processor would not take it; the text says why.
            TypeError: JSON has no form for it.
        """
        as_json_texts(fields)
        workspace_id = fields.pop("workspace_id", None) or self._workspace_id
        envelope = {"type": kind, "session_id": session_id, "workspace_id": workspace_id, "timestamp": _time(fields)}
        beside = {name: fields.pop(name) for name in ENVELOPE_RULES if name in fields}
        found = _envelope_faults(session_id, workspace_id) + faults(beside, ENVELOPE_RULES)
        if kind == "event":
            if "passive" in fields:
                envelope["passive"] = fields.pop("passive")
                found += [] if isinstance(envelope["passive"], bool) else ["passive: must be true or false"]
            if "schema" in fields:
                envelope["schema"] = fields.pop("schema")
                found += own_event_faults(envelope["schema"], fields, EVENT_RULES)
            else:
                found += faults(fields, EVENT_RULES)
        elif kind == "session":
            found += faults(fields, SESSION_RULES)
        if found:
            raise ValueError("; ".join(found))
        return encode({**envelope, **beside, "data": fields} if kind in {"event", "session"} else envelope)

    def _produce(self, item: Item) -> None:
        on_delivery = functools.partial(self._note_delivery, item)
        try:
            self._running_producer().produce(
                self._topic, item.body, key=item.session_id.encode(), headers=self._headers, on_delivery=on_delivery
            )
        except BufferError:
            self._report([item.undelivered("queue_full", f"{self.waiting} items wait")])
        except KafkaException as error:
            self._report([item.undelivered("rejected", str(error))])

    def _running_producer(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._config, logger=log)
                threading.Thread(
                    target=self._poll, args=(self._producer,), name="event-tracker-client", daemon=True
                ).start()
            return self._producer

    def _poll(self, producer: Producer) -> None:
        """Have the callbacks called, until the client is closed."""
        while not self._stopping.is_set():
            producer.poll(_POLL_SECONDS)

    def _note_delivery(self, item: Item, error: KafkaError | None, _: Message) -> None:
        if error is None:
            with self._lock:
                self._delivered += 1
            return
        code = _CODES.get(error.code(), "rejected")
        # Which of those that ran out of time had been sent, librdkafka does not tell.
        maybe = error.code() in {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001
        self._report([item.undelivered(code, error.str(), may_have_arrived=maybe)])

    def _end(self, timeout_ms: int) -> int:
        rest = self.flush(timeout_ms)
        self._stopping.set()
        if self._producer is not None and rest:
            self._producer.purge()
            self._producer.flush(_LAST_POLL_SECONDS)  # has the callbacks called
        return rest

    def _begin_anew(self) -> None:
        if self._producer is not None:
            _left_to_the_parent.append(self._producer)
            self._producer = None


def _envelope_faults(session_id: str, workspace_id: Any) -> list[str]:
    found = []
    if len(session_id) > MAX_SESSION_ID_CHARS or not _SESSION_ID.match(session_id):
        found.append(f"session_id: must be 1 to {MAX_SESSION_ID_CHARS} characters without white space")
    if not isinstance(workspace_id, str) or len(workspace_id) > MAX_WORKSPACE_ID_CHARS:
        found.append(f"workspace_id: must be a text of at most {MAX_WORKSPACE_ID_CHARS} characters")
    return found


def _time(fields: dict[str, Any]) -> str:
    """Take the time out of the fields and return it.

    Raises:
        ValueError: it is not a time.
    """
    set_time(fields)
    given = fields.pop("timestamp")
    try:
        time = datetime.fromisoformat(given)
        time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if time.astimezone(UTC).year in _YEARS:
            return iso_time(time)
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError("timestamp: must be an ISO 8601 time of this century")
