"""Faults of one worker: killed at each step, for good, with its disk, while it recovers; stopped and woken."""

import asyncio
import signal
import time

from tests.faults.worker import Worker
from tests.faults.world import GROUP_SESSION_TIMEOUT_SECONDS, FaultFailedError, Strike, World

#: Its last heartbeat may have been a quarter of the time-out ago when it was stopped.
EARLIEST_EVICTION_SECONDS = 0.75 * GROUP_SESSION_TIMEOUT_SECONDS
#: Chunks that a doomed worker may finish first: enough to be in the middle of things.
DOOMED_AFTER_CHUNKS = (3, 25)


async def kill_at(world: World, step: str, times: int) -> None:
    """SIGKILL at a step of the checkpoint; the worker comes back on its disk."""
    for _ in range(times):
        victim = await world.victim()
        await asyncio.to_thread(victim.stop)
        victim.start_doomed(step, world.rng.randint(*DOOMED_AFTER_CHUNKS))
        note = await asyncio.to_thread(victim.wait_for_note)
        status = await asyncio.to_thread(victim.wait_for_end)
        _require(status == -signal.SIGKILL, f"{victim.worker_id} ended with {status}, not by SIGKILL")
        strike = await world.struck(f"{victim.worker_id} killed in partition {note['partition']}", note=note)
        victim.start()
        await world.recovered(strike)


async def kill_moves(world: World, times: int) -> None:
    """SIGKILL, and the worker does not come back: its partitions move to another."""
    for _ in range(times):
        victim = await world.victim()
        strike = await world.struck(f"{victim.worker_id} killed for good")
        victim.kill()
        await world.recovered(strike)
        world.new_worker().start()
        await world.calm(1.0)


async def lost_disk(world: World, times: int) -> None:
    """SIGKILL and an empty disk: the worker comes back and rebuilds its table from the changelog."""
    for _ in range(times):
        victim = await world.victim()
        strike = await world.struck(f"{victim.worker_id} killed, disk lost")
        victim.kill()
        victim.lose_disk()
        victim.start()
        await world.recovered(strike)


async def kill_in_recovery(world: World, times: int) -> None:
    """SIGKILL with a lost disk, and again in the middle of the recovery that follows."""
    for _ in range(times):
        victim = await world.victim()
        await world.struck(f"{victim.worker_id} killed, disk lost")
        victim.kill()
        victim.lose_disk()
        victim.start_doomed("recovery", world.rng.randint(1, 4))
        # Partitions that are ready are folded while others still recover, so there may have been chunks.
        note = await asyncio.to_thread(victim.wait_for_note)
        status = await asyncio.to_thread(victim.wait_for_end)
        _require(status == -signal.SIGKILL, f"{victim.worker_id} ended with {status}, not by SIGKILL")
        strike = await world.struck(f"{victim.worker_id} killed in the recovery of partition {note['partition']}")
        victim.start()
        await world.recovered(strike)


async def zombie(world: World, times: int) -> None:
    """SIGSTOP beyond the group's session time-out; others take over; SIGCONT."""
    for _ in range(times):
        victim = await world.victim()
        strike = await world.struck(f"{victim.worker_id} stopped")
        victim.freeze()
        await _taken_over_then_woken(world, victim, strike)


async def zombie_in_chunk(world: World, step: str, times: int) -> None:
    """The same, stopped in the middle of a chunk: woken, it goes on to write what others have overtaken."""
    for _ in range(times):
        victim = await world.victim()
        await asyncio.to_thread(victim.stop)
        victim.start_doomed(step, world.rng.randint(*DOOMED_AFTER_CHUNKS), signal.SIGSTOP)
        note = await asyncio.to_thread(victim.wait_for_note)
        strike = await world.struck(f"{victim.worker_id} stopped in partition {note['partition']}", note=note)
        await _taken_over_then_woken(world, victim, strike)


async def _taken_over_then_woken(world: World, victim: Worker, strike: Strike) -> None:
    await world.recovered(strike)
    silent = time.monotonic() - strike.began
    _require(silent > EARLIEST_EVICTION_SECONDS, f"others had its partitions after {silent:.1f} s already")
    victim.wake()
    await world.calm(1.0)
    await world.until_leased(victim)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FaultFailedError(otherwise)
