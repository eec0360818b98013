"""The part ``takeover``: the owner of partitions is killed under load; how long until their events come out again.

SESSIONS open sessions lie in the table. Warm, another worker has followed the changelog as a standby; cold, it has
never had the partitions. Either way nobody knows of the kill before the group's session time-out, so the goal stands
on top of that.

When the group notices depends on where between two heartbeats the kill fell, by more than a second. So each kill waits
for another part of the time between two, and what happens after the group has noticed is a figure of its own.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.bench import Bench, Figure, at_most, compared, figure
from benchmarks.load import send_steadily
from benchmarks.measure import WorkerFailedError
from benchmarks.processor import Processor
from benchmarks.table import write_table
from benchmarks.watch import POLL_SECONDS, wait_until
from topics.catalog import SEQUENCED
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader
from tracker.settings import Settings
from tracker.streaming.app import HEARTBEATS_PER_SESSION

SESSIONS: Final = 200_000
ACTIVE_SESSIONS: Final = 2_000
EVENTS_PER_SECOND: Final = 1_000
GROUP_SESSION_TIMEOUT_MS: Final = 6_000
GOAL_BEYOND_TIMEOUT_SECONDS: Final = 5.0
FLOW_TIMEOUT_SECONDS: Final = 180.0
#: What the victim had sent may still be written just after it was killed.
LAST_WRITES_SECONDS: Final = 0.5
STANDBY_LAG: Final = "tracker_process_standby_lag_rows"
CAUGHT_UP_ROWS: Final = 2_000
#: Standbys begin a moment after the leases; until then they lag nothing.
SHARED_SECONDS: Final = 3.0


class Takeover(NamedTuple):
    """How long after the kill the group had given the partitions away, and after that events came out again."""

    noticed_seconds: float
    opened_seconds: float

    @property
    def seconds(self) -> float:
        """From the kill until an event of each partition came out."""
        return self.noticed_seconds + self.opened_seconds


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure warm and cold takeovers in pairs.

    Raises:
        WorkerFailedError: a worker ended, or the events of a partition never came out again.
    """
    warm, cold = [], []
    for number in range(1, bench.runs + 1):
        warm.append(await _takeover(bench.settings(f"bench-warm-{number}."), standbys=1))
        cold.append(await _takeover(bench.settings(f"bench-cold-{number}."), standbys=0))
        of_run = f"warm {warm[-1].seconds:.1f} s, cold {cold[-1].seconds:.1f} s"
        bench.say(f"takeover: run {number} of {bench.runs}: {of_run}")
    timeout = GROUP_SESSION_TIMEOUT_MS / 1000
    slow = figure("takeover.cold", "s", [run.seconds for run in cold])
    opened_cold = figure("takeover.cold_once_noticed", "s", [run.opened_seconds for run in cold])
    return [
        compared("takeover.warm", "s", [run.seconds for run in warm], slow, less_is_better=True),
        at_most(
            "takeover.warm_beyond_session_timeout",
            "s",
            [run.seconds - timeout for run in warm],
            GOAL_BEYOND_TIMEOUT_SECONDS,
        ),
        slow,
        compared(
            "takeover.warm_once_noticed", "s", [run.opened_seconds for run in warm], opened_cold, less_is_better=True
        ),
        opened_cold,
    ]


async def _takeover(settings: Settings, *, standbys: int) -> Takeover:
    await create_topics(settings)
    keys = await write_table(settings, SESSIONS)
    active = [key.decode() for of_partition in keys.values() for key in of_partition[: ACTIVE_SESSIONS // len(keys)]]
    environment = {
        "TRACKER_STANDBY_REPLICAS": str(standbys),
        "TRACKER_KAFKA_SESSION_TIMEOUT_MS": str(GROUP_SESSION_TIMEOUT_MS),
    }
    victim, survivor = (Processor(settings, name, **environment) for name in ("worker-1", "worker-2"))
    sending = asyncio.create_task(send_steadily(settings, active, EVENTS_PER_SECOND))
    try:
        async with new_reader(settings, "bench-watch") as reader:
            # One after the other, so that the survivor has never had the victim's partitions.
            with victim:
                await victim.wait_until_ready(settings.partitions)
                with survivor:
                    takeover = await _kill(reader, settings, victim, survivor, with_standbys=bool(standbys))
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
    return takeover


async def _kill(
    reader: AIOKafkaConsumer, settings: Settings, victim: Processor, survivor: Processor, *, with_standbys: bool
) -> Takeover:
    await _wait_until_shared([victim, survivor], settings.partitions, with_standbys=with_standbys)
    await asyncio.sleep(random.uniform(0, GROUP_SESSION_TIMEOUT_MS / 1000 / HEARTBEATS_PER_SESSION))
    await _wait_for_flow(reader, settings, await _ends(reader, settings), survivor)
    shared = await survivor.leases()
    victim.kill()
    began = time.monotonic()
    await asyncio.sleep(LAST_WRITES_SECONDS)
    ends = await _ends(reader, settings)
    await _wait_until_noticed(survivor, shared)
    noticed = time.monotonic()
    await _wait_for_flow(reader, settings, ends, survivor)
    flowing = time.monotonic()
    survivor.kill()
    return Takeover(noticed - began, flowing - noticed)


async def _wait_until_noticed(survivor: Processor, shared: int) -> None:
    """Wait until a worker has other partitions than the ones that it shared, or none for a moment."""

    async def has_others() -> bool:
        return await survivor.leases() != shared

    await wait_until(survivor, has_others, FLOW_TIMEOUT_SECONDS, "the group did not notice the kill")


async def _wait_until_shared(workers: Sequence[Processor], partitions: int, *, with_standbys: bool) -> None:
    """Wait until both have partitions to fold, and follow the other's."""
    deadline = time.monotonic() + FLOW_TIMEOUT_SECONDS
    since = time.monotonic()
    while time.monotonic() < deadline:
        leases = [await worker.leases() for worker in workers]
        lags = [await worker.metric(STANDBY_LAG) for worker in workers] if with_standbys else []
        is_shared = sum(leases) == partitions and all(leases)
        if not is_shared or any(lag is None or lag > CAUGHT_UP_ROWS for lag in lags):
            since = time.monotonic()
        elif time.monotonic() - since > SHARED_SECONDS:
            return
        for worker in workers:
            worker.check_alive()
        await asyncio.sleep(POLL_SECONDS)
    raise WorkerFailedError(f"the workers did not share the partitions\n{workers[0].last_words()}")


async def _wait_for_flow(
    reader: AIOKafkaConsumer, settings: Settings, ends: Mapping[TopicPartition, int], worker: Processor
) -> None:
    """Wait until every partition has put out more than it had."""

    async def all_flow() -> bool:
        return all(end > ends[tp] for tp, end in (await _ends(reader, settings)).items())

    await wait_until(worker, all_flow, FLOW_TIMEOUT_SECONDS, "the events of a partition did not come out again")


async def _ends(reader: AIOKafkaConsumer, settings: Settings) -> dict[TopicPartition, int]:
    topic = SEQUENCED.name(settings.topic_prefix)
    ends: dict[TopicPartition, int] = await reader.end_offsets(
        [TopicPartition(topic, number) for number in range(settings.partitions)]
    )
    return ends
