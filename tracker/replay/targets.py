"""Where a replay's outputs go. Each target returns from ``write`` only when the outputs are safe, or compared."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, USAGE, Topic
from topics.headers import SourcePosition, read_position
from tracker.kafka.log_reader import LogRange, first_record, whole_range
from tracker.kafka.record_batches import send_batches
from tracker.replay.compare import Comparison
from tracker.replay.live_outputs import LiveOutputs
from tracker.sessions.outputs import FoldResult, Output

#: Appends rows to the events datasource and the sessions datasource; returns once both are written.
Ingest = Callable[[Sequence[bytes], Sequence[bytes]], Awaitable[None]]
NewReader = Callable[[], AIOKafkaConsumer]


#: Where a fold's outputs go.
OUTPUT_TOPICS: Final = (SEQUENCED, SESSIONS, DEAD_LETTERS, USAGE)


def outputs_by_topic(result: FoldResult) -> tuple[tuple[Topic, list[Output]], ...]:
    """Return a fold's outputs, each kind with its topic."""
    outputs = result.events, result.sessions, result.dead_letters, result.usage
    return tuple(zip(OUTPUT_TOPICS, outputs, strict=True))


class Target(Protocol):
    """Takes the outputs of one partition, chunk by chunk in log order."""

    async def start(self, notes: bytes | None) -> None:
        """Begin, or go on after an interruption with the notes of the last checkpoint."""

    async def write(self, result: FoldResult, begin: int, end: int) -> None:
        """Take the outputs of source offsets [begin, end). A stretch may come again after an interruption."""

    def is_done(self, stream_time_ms: int) -> bool:
        """Return whether nothing that comes after this stream time concerns it any more."""

    def notes(self) -> bytes:
        """Return what ``start`` wants back; it is kept in the same atomic write as the states."""

    async def close(self) -> None:
        """Let go of clients."""


class TopicTarget:
    """Output topics of the generation's own. What an interrupted run has written already is not written again."""

    def __init__(self, producer: AIOKafkaProducer, new_reader: NewReader, prefix: str, partition: int) -> None:
        self._producer = producer
        self._new_reader = new_reader
        self._prefix = prefix
        self._partition = partition
        self._last: dict[str, SourcePosition] = {}

    async def start(self, notes: bytes | None) -> None:  # noqa: ARG002 - the topics themselves say how far they are
        """Look up the last output of each topic."""
        async with self._new_reader() as reader:
            for topic in OUTPUT_TOPICS:
                last = await _last_position(reader, TopicPartition(topic.name(self._prefix), self._partition))
                if last is not None:
                    self._last[topic.suffix] = last

    async def write(self, result: FoldResult, begin: int, end: int) -> None:  # noqa: ARG002 - Target's signature
        """Send the outputs and wait until all are acked."""
        await asyncio.gather(
            *(
                send_batches(
                    self._producer, topic.name(self._prefix), self._partition, self._unwritten(topic.suffix, outputs)
                )
                for topic, outputs in outputs_by_topic(result)
            )
        )

    def _unwritten(self, suffix: str, outputs: list[Output]) -> list[Output]:
        last = self._last.get(suffix)
        if last is None or not outputs:
            return outputs
        fresh = [output for output in outputs if (read_position(output.headers) or last) > last]
        if fresh:
            del self._last[suffix]  # all that follow are later still
        return fresh

    def is_done(self, stream_time_ms: int) -> bool:  # noqa: ARG002 - Target's signature
        """Return False: every output is written."""
        return False

    def notes(self) -> bytes:
        """Return nothing: the topics say how far they are."""
        return b""

    async def close(self) -> None:
        """Do nothing: the producer is shared."""


async def _last_position(reader: AIOKafkaConsumer, tp: TopicPartition) -> SourcePosition | None:
    """Return the source position of the last record that a partition holds."""
    whole = await whole_range(reader, tp)
    record = await first_record(reader, tp, LogRange(max(whole.begin, whole.end - 1), whole.end))
    return None if record is None else read_position(record.headers)


class CompareTarget:
    """Holds every output against the live one. Writes nothing anywhere."""

    def __init__(self, new_reader: NewReader, live_prefix: str, partition: int) -> None:
        self._new_reader = new_reader
        names = {topic.suffix: topic.name(live_prefix) for topic in OUTPUT_TOPICS}
        self._readers = {suffix: new_reader() for suffix in names}
        self._live = {
            suffix: LiveOutputs(self._readers[suffix], TopicPartition(name, partition))
            for suffix, name in names.items()
        }
        self.comparisons = {suffix: Comparison(topic=name, partition=partition) for suffix, name in names.items()}

    async def start(self, notes: bytes | None) -> None:
        """Go to the start of the live outputs, with the counts of an interrupted run."""
        if notes:
            found = msgspec.json.decode(notes, type=dict[str, Comparison])
            self.comparisons.update(found)
        for suffix, live in self._live.items():
            await self._readers[suffix].start()
            await live.start()

    async def write(self, result: FoldResult, begin: int, end: int) -> None:
        """Compare the outputs with the live ones of the same stretch of the source."""
        for topic, outputs in outputs_by_topic(result):
            await self._live[topic.suffix].hold(self.comparisons[topic.suffix], outputs, begin, end)

    def is_done(self, stream_time_ms: int) -> bool:  # noqa: ARG002 - Target's signature
        """Return False: every output is compared."""
        return False

    def notes(self) -> bytes:
        """Return the counts so far."""
        return msgspec.json.encode(self.comparisons)

    async def close(self) -> None:
        """Stop the readers."""
        for reader in self._readers.values():
            await reader.stop()


class DatasourceTarget:
    """Tinybird datasources of choice: whole sessions that began in a stretch of stream time, all their rows."""

    def __init__(self, ingest: Ingest, sessions_from_ms: int, sessions_to_ms: int, passive_grace_ms: int) -> None:
        self._ingest = ingest
        self._range_ms = range(sessions_from_ms, sessions_to_ms)
        #: How long after its end a session takes passive events.
        self._passive_grace_ms = passive_grace_ms
        #: Sessions of the range that are open.
        self._open: set[tuple[str, str]] = set()
        #: When the last of those that have closed did.
        self._closed_ms = 0

    async def start(self, notes: bytes | None) -> None:
        """Take up the sessions that were open at the last checkpoint."""
        if notes:
            self._open, self._closed_ms = msgspec.json.decode(notes, type=tuple[set[tuple[str, str]], int])

    async def write(self, result: FoldResult, begin: int, end: int) -> None:  # noqa: ARG002 - Target's signature
        """Append the rows and wait until they are written. A row that is sent twice collapses."""
        rows = [(output.value, orjson.loads(output.value)) for output in result.sessions if output.value]
        rows = [(value, row) for value, row in rows if self._takes(row)]
        # A session that has closed takes passive events, too; each gives its row once more.
        ours = self._open | {_session(row) for _, row in rows}
        sessions = [value for value, _ in rows]
        events = [
            output.value for output in result.events if output.value and _session(orjson.loads(output.value)) in ours
        ]
        for _, row in rows:
            if row["is_expired"]:
                self._open.discard(_session(row))
                self._closed_ms = max(self._closed_ms, _milliseconds(str(row["closed_at"])))
            else:
                self._open.add(_session(row))
        if events or sessions:
            await self._ingest(events, sessions)

    def _takes(self, session_row: dict[str, object]) -> bool:
        return _milliseconds(str(session_row["created_at"])) in self._range_ms

    def is_done(self, stream_time_ms: int) -> bool:
        """Return whether all sessions that began in the range have ended and take nothing more."""
        end_ms = max(self._range_ms.stop, self._closed_ms + self._passive_grace_ms + 1)
        return stream_time_ms >= end_ms and not self._open

    def notes(self) -> bytes:
        """Return the sessions of the range that are open, and when the last has closed."""
        return msgspec.json.encode((sorted(self._open), self._closed_ms))

    async def close(self) -> None:
        """Do nothing: the client is shared."""


def _session(row: dict[str, object]) -> tuple[str, str]:
    return str(row["workspace_id"]), str(row["session_id"])


def _milliseconds(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)
