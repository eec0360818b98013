"""Watching topics from outside the workers: their ends, cheaply, and in the end every record in them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.load import Load
from benchmarks.measure import Worker, WorkerFailedError

POLL_SECONDS: Final = 0.05
#: A worker that adds nothing for this long is stuck.
STALL_TIMEOUT_SECONDS: Final = 120.0
#: How long a worker's topics stand still before its work counts as done, checkpoints and all.
QUIET_SECONDS: Final = 1.0
READ_TIMEOUT_MS: Final = 5_000


class Sample(NamedTuple):
    """How far a worker was at a moment: the CPU time that it had used, and the outputs that it had written."""

    at_seconds: float
    cpu_seconds: float
    events: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast outputs came, from the first ones that were seen to the last."""

    seconds: float
    events: int

    @property
    def events_per_second(self) -> float:
        """The rate between the two; start-up is not in it."""
        return self.events / self.seconds


async def wait_until(
    worker: Worker, holds: Callable[[], Awaitable[bool]], timeout_seconds: float, failure: str
) -> None:
    """Wait until something holds.

    Raises:
        WorkerFailedError: the worker ended, or it did not hold in time; says ``failure`` then.
    """
    deadline = time.monotonic() + timeout_seconds
    while not await holds():
        worker.check_alive()
        if time.monotonic() > deadline:
            raise WorkerFailedError(f"{failure}\n{worker.last_words()}")
        await asyncio.sleep(POLL_SECONDS)


async def wait_for_outputs(reader: AIOKafkaConsumer, worker: Worker, topic: str, partitions: int, count: int) -> Pace:
    """Wait until a topic's ends add up to ``count``. Raises what ``follow_outputs`` raises."""
    samples = await follow_outputs(reader, worker, topic, partitions, count)
    first, last = samples[0], samples[-1]
    return Pace(last.at_seconds - first.at_seconds or POLL_SECONDS, last.events - first.events)


async def follow_outputs(
    reader: AIOKafkaConsumer, worker: Worker, topic: str, partitions: int, count: int, *, has_markers: bool = False
) -> list[Sample]:
    """Wait until a topic's ends add up to ``count``; return a sample each time that there were more outputs.

    ``has_markers``: the ends of transactions are among the offsets, so there may be more, and the last outputs come
    a little later.

    Raises:
        WorkerFailedError: the worker ended or stands still, or there are more records than there should be.
    """
    samples: list[Sample] = []
    seen, since = 0, time.monotonic()
    while seen < count:
        await asyncio.sleep(POLL_SECONDS)
        worker.check_alive()
        now = time.monotonic()
        end = await end_of(reader, [topic], partitions)
        if end > seen:
            seen, since = end, now
            samples.append(Sample(now, worker.cpu_seconds(), end))
        elif now - since > STALL_TIMEOUT_SECONDS:
            raise WorkerFailedError(f"{worker.name} stands still at {seen} of {count}\n{worker.last_words()}")
    if seen > count and not has_markers:
        raise WorkerFailedError(f"{worker.name} wrote {seen} records to {topic} instead of {count}")
    return samples


async def wait_until_quiet(reader: AIOKafkaConsumer, worker: Worker, topics: Sequence[str], partitions: int) -> None:
    """Wait until nothing has been added to the topics for ``QUIET_SECONDS``."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        worker.check_alive()
        end = await end_of(reader, topics, partitions)
        if end != seen:
            seen, since = end, time.monotonic()
        await asyncio.sleep(POLL_SECONDS)


async def end_of(reader: AIOKafkaConsumer, topics: Sequence[str], partitions: int) -> int:
    """Return the sum of the end offsets of all partitions of the topics."""
    ends = await reader.end_offsets([TopicPartition(topic, number) for topic in topics for number in range(partitions)])
    return sum(ends.values())


async def check_outputs(reader: AIOKafkaConsumer, name: str, topic: str, partitions: int, load: Load) -> None:
    """Read all outputs and compare: each session's events, in the order they were loaded, numbered from 1 on.

    Raises:
        WorkerFailedError: an event is missing, doubled, out of order or numbered wrong. A fast wrong result is none.
    """
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    reader.assign(tps)
    await reader.seek_to_beginning(*tps)
    left = load.events
    while left > 0:
        batches = await reader.getmany(timeout_ms=READ_TIMEOUT_MS)
        if not batches:
            raise WorkerFailedError(f"{name}: {left} of {load.events} outputs can't be read back")
        for record in (record for batch in batches.values() for record in batch):
            row = orjson.loads(record.value)
            found[row["session_id"]].append((row["session_event_sequence"], row["event_id"]))
            left -= 1
    expected = {session: list(enumerate(ids, start=1)) for session, ids in load.event_ids.items()}
    wrong = [session for session in expected.keys() | found.keys() if expected.get(session) != found.get(session)]
    if wrong:
        example = wrong[0]
        raise WorkerFailedError(
            f"{name}: {len(wrong)} of {len(expected)} sessions are numbered wrong, such as {example}: "
            f"{found.get(example)} instead of {expected.get(example)}"
        )
