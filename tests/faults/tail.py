"""Following the topics while a fault runs: the source log into its reference, the outputs into their filter."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from tests.faults.verdict import OUTPUT_TOPICS, Outputs, Reference, check_accepted, check_promises, compare
from topics.catalog import SEQUENCED, SOURCE
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

READ_TIMEOUT_MS = 100
READ_MAX_RECORDS = 5_000


class Tail:
    """Reads source and outputs as they grow. Everything that the verdict needs is in memory at the end."""

    def __init__(self, settings: Settings) -> None:
        prefix = settings.topic_prefix
        self._source = SOURCE.name(prefix)
        self._settings = settings
        self._suffixes = {topic.name(prefix): topic.suffix for topic in OUTPUT_TOPICS}
        self.partitions = range(settings.partitions)
        self.references = {
            number: Reference(self._source, number, settings.partitions, settings.session_rules)
            for number in self.partitions
        }
        self.outputs: dict[int, dict[str, Outputs]] = {
            number: {suffix: Outputs() for suffix in self._suffixes.values()} for number in self.partitions
        }

    async def run(self) -> None:
        """Follow all topics until cancelled."""
        topics = (self._source, *self._suffixes)
        async with new_reader(self._settings, "faults-tail", fetch_max_wait_ms=READ_TIMEOUT_MS) as reader:
            tps = [TopicPartition(topic, number) for topic in topics for number in self.partitions]
            reader.assign(tps)
            await reader.seek_to_beginning(*tps)
            while True:
                await self._read(reader)

    async def _read(self, reader: AIOKafkaConsumer) -> None:
        try:
            found = await reader.getmany(timeout_ms=READ_TIMEOUT_MS, max_records=READ_MAX_RECORDS)
        except KafkaError:  # the broker is away
            await asyncio.sleep(READ_TIMEOUT_MS / 1000)
            return
        for tp, records in found.items():
            self._take(tp, records)
            await asyncio.sleep(0)

    def _take(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        if tp.topic == self._source:
            self.references[tp.partition].add(records)
            return
        outputs = self.outputs[tp.partition][self._suffixes[tp.topic]]
        for record in records:
            outputs.add(record)

    def done(self, partition: int) -> int:
        """The source offset up to which a partition's records have given what they give."""
        return max(outputs.last.offset for outputs in self.outputs[partition].values())

    def backlog(self) -> int:
        """Source records that were seen, and whose outputs were not."""
        return sum(max(0, reference.last_offset - self.done(number)) for number, reference in self.references.items())

    def has_passed(self, offsets: dict[int, int]) -> bool:
        """Whether every partition has put out something of at least these source offsets."""
        return all(self.done(number) >= offset for number, offset in offsets.items())

    @property
    def is_drained(self) -> bool:
        """Whether all sessions are closed in the log, and all outputs that it gives have come."""
        return all(
            reference.last_output <= self.done(number) and not reference.open_sessions
            for number, reference in self.references.items()
        )

    @property
    def accepted(self) -> int:
        """Events in the source log."""
        return sum(reference.events for reference in self.references.values())

    @property
    def repeats(self) -> int:
        """Outputs that came again and were dropped by the filter."""
        return sum(outputs.repeats for by_topic in self.outputs.values() for outputs in by_topic.values())

    @property
    def closed(self) -> int:
        """Session rows that were put out."""
        return sum(len(by_topic["sessions"].rows) for by_topic in self.outputs.values())

    def problems(self, acked: set[str]) -> list[str]:
        """Everything that does not hold."""
        problems: list[str] = []
        events = []
        for number, reference in self.references.items():
            outputs = self.outputs[number]
            found = compare(reference, outputs) + check_promises(reference, outputs)
            problems += [f"partition {number}: {problem}" for problem in found]
            events += outputs[SEQUENCED.suffix].rows.values()
        return problems + check_accepted(acked, list(self.references.values()), events)
