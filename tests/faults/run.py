"""Running one fault from start to verdict."""

import asyncio
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.faults.catalogue import Fault
from tests.faults.verdict import summary
from tests.faults.world import FaultFailedError, Size, World, new_world
from tests.fixtures.cluster import KafkaCluster

STOP_STATUS = 0


@dataclass(frozen=True, slots=True)
class FaultResult:
    """What became of one fault; ``problems`` is empty if all held."""

    fault: str
    seed: int
    times_struck: int
    least_backlog: int
    recovery_median_seconds: float
    recovery_max_seconds: float
    events: int
    session_rows: int
    repeats: int
    seconds: float
    problems: str

    @property
    def held(self) -> bool:
        return not self.problems

    def as_json(self) -> dict:
        return {**asdict(self), "held": self.held}


async def run_fault(
    fault: Fault, cluster: KafkaCluster, data_dir: Path, *, seed: int, size: Size, times: int
) -> FaultResult:
    """Strike running workers with a fault, and check all that came out."""
    began = time.monotonic()
    prefix = f"faults-{fault.name}-{seed}."
    async with new_world(cluster, data_dir, prefix, size, random.Random(f"{fault.name} {seed}")) as world:
        try:
            await world.start_workers([world.new_worker() for _ in range(size.workers)])
            await fault.strike(world, times)
            await world.drain()
            stopping = await _stop(world)
            problems = summary([*world.tail.problems(world.load.acked), *stopping])
        except (FaultFailedError, AssertionError) as error:
            problems = str(error)
        return _outcome(fault, seed, world, time.monotonic() - began, problems)


async def _stop(world: World) -> list[str]:
    """Stop all workers cleanly, and see whether they put out any more while they did; return who did not."""
    problems = []
    for worker in world.up():
        try:
            status = await asyncio.to_thread(worker.stop)
        except AssertionError as error:
            problems.append(str(error))
            continue
        if status != STOP_STATUS:
            problems.append(f"{worker.worker_id} stopped with status {status}\n{worker.last_words()}")
    await world.until(lambda: world.tail.is_drained, "all outputs there after the stop")
    return problems


def _outcome(fault: Fault, seed: int, world: World, seconds: float, problems: str) -> FaultResult:
    recoveries = [strike.recovered_seconds for strike in world.strikes if strike.recovered_seconds] or [0.0]
    return FaultResult(
        fault=fault.name,
        seed=seed,
        times_struck=len(world.strikes),
        least_backlog=min((strike.backlog for strike in world.strikes), default=0),
        recovery_median_seconds=round(median(recoveries), 2),
        recovery_max_seconds=round(max(recoveries), 2),
        events=world.tail.accepted,
        session_rows=world.tail.closed,
        repeats=world.tail.repeats,
        seconds=round(seconds, 1),
        problems=problems,
    )
