"""Sending records that stood in the wrong partition to the right one, and telling the operator whose they are."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from time import monotonic
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer

from topics.headers import PRODUCER_CLIENT_ID
from tracker.kafka.record_batches import send_batches
from tracker.sessions.outputs import Forward

log = structlog.get_logger()

#: A wrong partitioner is wrong on every record: one line now and then says it.
WARNING_INTERVAL_SECONDS: Final = 10.0
#: Producers that one line names.
MAX_NAMED_PRODUCERS: Final = 5
MAX_NAME_CHARS: Final = 64


class Forwarder:
    """Appends forwarded records to the source topic, those of one partition in their order."""

    def __init__(self, producer: AIOKafkaProducer, source_topic: str) -> None:
        self._producer = producer
        self._source_topic = source_topic
        self._unreported: Counter[str] = Counter()
        self._reported_at: float | None = None

    async def send(self, forwards: Sequence[Forward]) -> None:
        """Send them and wait until all are acked."""
        by_partition: dict[int, list[Forward]] = defaultdict(list)
        for forward in forwards:
            by_partition[forward.partition].append(forward)
            self._unreported[_producer_of(forward)] += 1
        if by_partition:
            await asyncio.gather(*(self._send_to(number, found) for number, found in by_partition.items()))
        self._report()

    async def _send_to(self, number: int, forwards: Sequence[Forward]) -> None:
        records = [(forward.key, forward.value, forward.headers) for forward in forwards]
        timestamps_ms = [forward.timestamp_ms for forward in forwards]
        await send_batches(self._producer, self._source_topic, number, records, timestamps_ms)

    def _report(self) -> None:
        now = monotonic()
        if not self._unreported or (self._reported_at and now - self._reported_at < WARNING_INTERVAL_SECONDS):
            return
        log.warning(
            "records stood in the wrong partition and were forwarded; set the producer's partitioner to murmur2 "
            "(librdkafka: partitioner=murmur2_random)",
            records=self._unreported.total(),
            producers=dict(self._unreported.most_common(MAX_NAMED_PRODUCERS)),
        )
        self._unreported.clear()
        self._reported_at = now


def _producer_of(forward: Forward) -> str:
    name = dict(forward.headers).get(PRODUCER_CLIENT_ID)
    return name.decode(errors="replace")[:MAX_NAME_CHARS] if name else "unknown"
