"""Faults of the brokers and of the group: killed again and again, gone for long, workers that come and go."""

import asyncio
import time

from tests.faults.world import World

#: Longer than every request time-out on the way.
LONG_OUTAGE_SECONDS = 70.0
UP_BETWEEN_KILLS_SECONDS = (2.0, 5.0)
JOIN_INTERVAL_SECONDS = 6.0


async def broker_killed(world: World, times: int) -> None:
    """SIGKILL of a broker under load; it comes back at once on its data."""
    for _ in range(times):
        await outage(world, [world.rng.choice(list(world.cluster.brokers))], 0.0)
        await world.calm(world.rng.uniform(*UP_BETWEEN_KILLS_SECONDS))


async def brokers_gone(world: World, times: int, seconds: float = LONG_OUTAGE_SECONDS) -> None:
    """SIGKILL of all brokers, which stay away longer than any request waits. No worker may end."""
    for _ in range(times):
        await outage(world, list(world.cluster.brokers), seconds)


async def outage(world: World, numbers: list[int], seconds: float) -> None:
    """Kill brokers, start them again some time later, and wait for the recovery."""
    strike = await world.struck(f"brokers {numbers} killed, back {seconds:.0f} s later")
    await asyncio.to_thread(world.cluster.kill, *numbers)
    await world.calm(seconds)
    await asyncio.to_thread(world.cluster.start, *numbers)
    await world.recovered(strike, since=time.monotonic())


async def joins(world: World, times: int) -> None:
    """Workers join every few seconds, and as many leave, by SIGTERM or by SIGKILL."""
    recoveries = []
    for number in range(times):
        slot_ends = time.monotonic() + JOIN_INTERVAL_SECONDS
        leaver = world.up()[0] if len(world.up()) > world.size.workers else None
        world.new_worker().start()
        strike = await world.struck(f"join {number + 1}")
        recoveries.append(asyncio.create_task(world.recovered(strike)))
        if leaver is not None and number % 2:
            leaver.kill()
        elif leaver is not None:
            await asyncio.to_thread(leaver.stop)
        await world.calm(max(0.0, slot_ends - time.monotonic()))
    await asyncio.gather(*recoveries)
