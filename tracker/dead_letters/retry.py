"""Sending records of dead letters again, each once, however often this is run or killed (docs/decisions/0025).

For each batch: 1. ``begun`` marks next to the letters, acked; 2. a look at whether another run began too; 3. the
records, acked; 4. ``done`` marks. Killed between 1 and 4, the next run finds ``begun`` alone and asks the log itself
whether the record is there: it carries its letter's place.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aiokafka import AIOKafkaProducer

from topics.catalog import DEAD_LETTERS, FRONT_DOORS, SOURCE
from topics.dead_letter import RetryMark
from topics.headers import RETRY_MARK, RETRY_OF
from tracker import clock
from tracker.dead_letters.letters import Fates, Filter, Place, read_letters, read_mark
from tracker.dead_letters.resend import Resend, Skipped, plan
from tracker.errors import RetryableError
from tracker.kafka.log_reader import LogRange, LogReader
from tracker.kafka.record_batches import send_batches
from tracker.settings import Settings

#: Letters between two looks at whether another retry is under way.
BATCH_LETTERS: Final = 500


class Log(NamedTuple):
    """One partition of a topic that records are sent to."""

    topic: str
    partition: int


@dataclass(slots=True)
class RetrySummary:
    """What a run has done."""

    sent: int = 0
    skipped: list[Skipped] = field(default_factory=list)


class Retry:
    """One run. ``letters`` reads the letters while ``logs`` looks things up in between, so they are two readers."""

    def __init__(
        self, settings: Settings, *, letters: LogReader, logs: LogReader, producer: AIOKafkaProducer, fates: Fates
    ) -> None:
        self._settings = settings
        self._letters = letters
        self._logs = logs
        self._producer = producer
        self._fates = fates
        self._letters_topic = DEAD_LETTERS.name(settings.topic_prefix)
        self._looked_upto = {number: found.end for number, found in fates.ranges.items()}
        self._unknown: set[Place] = set()
        self._run_id = clock.new_id()

    async def preview(self, meant: Filter) -> tuple[Counter[str], RetrySummary]:
        """Count the records that would be sent, by topic, and say which letters would be left. Writes nothing."""
        summary = RetrySummary()
        topics = Counter([resend.topic async for resend in self._plans(meant, summary)])
        return topics, summary

    async def settle(self) -> int:
        """Find out which records of an interrupted run were sent, and mark their letters; returns how many.

        Letters whose records are not in the log count as not begun.
        """
        by_log: dict[Log, dict[Place, RetryMark]] = defaultdict(dict)
        for place, mark in self._fates.begun.items():
            if place not in self._fates.done:
                by_log[Log(mark.topic, mark.partition)][place] = mark
        found: dict[Place, RetryMark] = {}
        ends = await self._ends()
        for log, marks in by_log.items():
            found |= await self._found_in(log, ends.get(log), marks)
        await self._mark("done", found.items())
        self._fates.done |= found.keys()
        self._fates.begun.clear()
        return len(found)

    async def run(self, meant: Filter, report: Callable[[int], None]) -> RetrySummary:
        """Send the records of the letters that are meant.

        Raises:
            RetryableError: another retry is under way; the next run settles what this one began.
        """
        summary = RetrySummary()
        batch: list[Resend] = []
        async for resend in self._plans(meant, summary):
            batch.append(resend)
            if len(batch) == BATCH_LETTERS:
                await self._send(batch, summary, report)
                batch = []
        if batch:
            await self._send(batch, summary, report)
        return summary

    async def _plans(self, meant: Filter, summary: RetrySummary) -> AsyncIterator[Resend]:
        async for stored in read_letters(self._settings, self._letters, self._fates, meant):
            planned = plan(stored, self._settings, self._logs.partitions(SOURCE))
            if stored.place in self._unknown:
                planned = Skipped(stored.place, "an interrupted run may have sent it, and the log no longer says")
            if isinstance(planned, Skipped):
                summary.skipped.append(planned)
            else:
                yield planned

    async def _send(self, batch: Sequence[Resend], summary: RetrySummary, report: Callable[[int], None]) -> None:
        ends = await self._ends()
        marks = [(resend.place, self._mark_of(resend, ends)) for resend in batch]
        await self._mark("begun", marks)
        await self._require_nobody_else()
        by_log: dict[Log, list[Resend]] = defaultdict(list)
        for resend in batch:
            by_log[Log(resend.topic, resend.partition)].append(resend)
        for (topic, partition), resends in by_log.items():
            records = [(resend.key, resend.value, resend.headers) for resend in resends]
            await send_batches(self._producer, topic, partition, records)
        await self._mark("done", marks)
        summary.sent += len(batch)
        report(len(batch))

    def _mark_of(self, resend: Resend, ends: Mapping[Log, LogRange]) -> RetryMark:
        return RetryMark(
            letter_offset=resend.place.offset,
            state="begun",
            run_id=self._run_id,
            topic=resend.topic,
            partition=resend.partition,
            log_end_offset=ends[Log(resend.topic, resend.partition)].end,
        )

    async def _mark(self, state: Literal["begun", "done"], marks: Iterable[tuple[Place, RetryMark]]) -> None:
        by_partition: dict[int, list[RetryMark]] = defaultdict(list)
        for place, mark in marks:
            by_partition[place.partition].append(mark.model_copy(update={"state": state}))
        for partition, written in by_partition.items():
            records = [(None, mark.model_dump_json().encode(), [(RETRY_MARK, b"1")]) for mark in written]
            await send_batches(self._producer, self._letters_topic, partition, records)

    async def _require_nobody_else(self) -> None:
        """Both of two runs write before they look, so at least one of them sees the other."""
        for partition, now in (await self._logs.ranges(DEAD_LETTERS)).items():
            wanted = LogRange(self._looked_upto[partition], now.end)
            async for records in self._logs.read(self._letters_topic, partition, wanted):
                for mark in filter(None, map(read_mark, records)):
                    if mark.state == "begun" and mark.run_id != self._run_id:
                        raise RetryableError("another retry of dead letters is under way; try again when it has ended")
            self._looked_upto[partition] = now.end

    async def _ends(self) -> Mapping[Log, LogRange]:
        return {
            Log(topic.name(self._settings.topic_prefix), number): found
            for topic in FRONT_DOORS
            for number, found in (await self._logs.ranges(topic)).items()
        }

    async def _found_in(
        self, log: Log, now: LogRange | None, marks: Mapping[Place, RetryMark]
    ) -> dict[Place, RetryMark]:
        """Return the marks whose records lie in the log."""
        begin = min(mark.log_end_offset for mark in marks.values())
        if now is None or now.begin > begin:
            self._unknown |= marks.keys()
            return {}
        names = {str(place).encode(): place for place in marks}
        found = set()
        async for records in self._logs.read(log.topic, log.partition, LogRange(begin, now.end)):
            for record in records:
                found |= {names[value] for name, value in record.headers if name == RETRY_OF and value in names}
        return {place: marks[place] for place in found}
