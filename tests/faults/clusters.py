"""Faults of a cluster of three brokers: one, two or the right one taken away, slow, or out of reach."""

import asyncio
import time

from tests.faults.brokers import outage
from tests.faults.world import GROUP_SESSION_TIMEOUT_SECONDS, FaultFailedError, World
from topics.catalog import CATALOG, SOURCE
from tracker.kafka.admin import connect

DOWN_SECONDS = 5.0
BELOW_SESSION_SECONDS = 0.5 * GROUP_SESSION_TIMEOUT_SECONDS
#: Above the session time-outs of the group's members and of brokers.
ABOVE_SESSION_SECONDS = 3 * GROUP_SESSION_TIMEOUT_SECONDS
TWO_DOWN_SECONDS = 15.0
#: What was on its way when two brokers went may still be acknowledged in this time.
SETTLED_SECONDS = 5.0


async def leader_killed(world: World, times: int) -> None:
    """SIGKILL of the broker that leads a partition of the source."""
    topic = SOURCE.name(world.settings.topic_prefix)
    for _ in range(times):
        partition = world.rng.choice(world.tail.partitions)
        leader = await asyncio.to_thread(world.cluster.leader, topic, partition)
        await outage(world, [leader], DOWN_SECONDS)
        await _in_sync(world)


async def controller_killed(world: World, times: int) -> None:
    """SIGKILL of the active controller."""
    for _ in range(times):
        controller = await asyncio.to_thread(world.cluster.controller)
        await outage(world, [controller], DOWN_SECONDS)
        await _in_sync(world)


async def rolling_restart(world: World, times: int) -> None:
    """All brokers are stopped and started one after the other, as an upgrade does it."""
    for _ in range(times):
        for number in world.cluster.brokers:
            strike = await world.struck(f"broker {number} restarted")
            await asyncio.to_thread(world.cluster.stop, number)
            await asyncio.to_thread(world.cluster.start, number)
            await world.recovered(strike, since=time.monotonic())
            await _in_sync(world)


async def one_down_at_start(world: World, times: int) -> None:
    """A broker is killed and stays away; right then a worker is started, and must get its partitions."""
    for _ in range(times):
        victim = await world.victim()
        number = world.rng.choice(list(world.cluster.brokers))
        strike = await world.struck(f"broker {number} killed while {victim.worker_id} starts")
        victim.kill()
        await asyncio.to_thread(world.cluster.kill, number)
        victim.start()
        await world.until_leased(victim)
        await world.recovered(strike)
        if "no Kafka answers" in victim.words():
            raise FaultFailedError(f"two brokers answer, but {victim.worker_id} says that none does")
        await asyncio.to_thread(world.cluster.start, number)
        await _in_sync(world)


async def broker_slow(world: World, times: int) -> None:
    """SIGSTOP of a broker for less than any session time-out."""
    for _ in range(times):
        await _frozen(world, BELOW_SESSION_SECONDS)


async def broker_frozen(world: World, times: int) -> None:
    """SIGSTOP of a broker for longer than the session time-outs: its connections stay, and nothing is answered."""
    for _ in range(times):
        await _frozen(world, ABOVE_SESSION_SECONDS)


async def _frozen(world: World, seconds: float) -> None:
    number = world.rng.choice(list(world.cluster.brokers))
    strike = await world.struck(f"broker {number} stopped for {seconds:.0f} s")
    world.cluster.freeze(number)
    await world.calm(seconds)
    world.cluster.wake(number)
    await world.recovered(strike, since=time.monotonic())
    await _in_sync(world)


async def two_down(world: World, times: int) -> None:
    """SIGKILL of two brokers: nothing is acknowledged until one is back, and nothing that was is lost."""
    for _ in range(times):
        numbers = world.rng.sample(list(world.cluster.brokers), 2)
        strike = await world.struck(f"brokers {numbers} killed, back {TWO_DOWN_SECONDS:.0f} s later")
        await asyncio.to_thread(world.cluster.kill, *numbers)
        await world.calm(SETTLED_SECONDS)
        acked = len(world.load.acked)
        await world.calm(TWO_DOWN_SECONDS)
        if len(world.load.acked) != acked:
            raise FaultFailedError(f"{len(world.load.acked) - acked} events were acknowledged by one broker of three")
        await asyncio.to_thread(world.cluster.start, *numbers)
        await world.recovered(strike, since=time.monotonic())
        await _in_sync(world)


async def coordinator_cut(world: World, times: int) -> None:
    """The network between all workers and their group's coordinator is cut, for longer than the session time-out."""
    group = f"{world.settings.topic_prefix}process"
    for _ in range(times):
        async with connect(world.settings) as admin:
            coordinator = await admin.find_coordinator(group)
        strike = await world.struck(f"workers cut off from the coordinator, broker {coordinator}")
        proxy, held_bytes = world.cluster.proxies[coordinator], world.cluster.proxies[coordinator].held_bytes
        proxy.cut()
        await world.calm(ABOVE_SESSION_SECONDS)
        if proxy.held_bytes == held_bytes:
            raise FaultFailedError(f"nothing was said to broker {coordinator} while it was cut off")
        proxy.mend()
        await world.recovered(strike, since=time.monotonic())


async def _in_sync(world: World) -> None:
    """Wait until another broker may be taken away."""
    topics = [topic.name(world.settings.topic_prefix) for topic in CATALOG]
    waiting = asyncio.create_task(asyncio.to_thread(world.cluster.wait_until_in_sync, *topics))
    await world.until(waiting.done, "all replicas in sync")
    await waiting
