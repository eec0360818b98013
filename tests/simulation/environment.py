"""What every double of one run shares: virtual time, the seed's random numbers, the trace, and where faults strike."""

import asyncio
from collections import Counter
from random import Random

from tests.simulation.loop import MAX_HANDLES, PROCESS, WORLD, Killed, Process, VirtualLoop

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z

LATENCY_SECONDS = 0.02
SLOW_PROBABILITY = 0.02
SLOW_SECONDS = 3.0

#: How much likelier than others a process is struck at these points: where what it leaves behind is odd.
WEIGHTS = {
    "before the changelog": 4.0,
    "between changelog batches": 6.0,
    "before the store": 2.0,
    "in recovery": 3.0,
    "after a fetch": 0.3,
    "an ack": 0.5,
    "before a commit": 0.3,
    "after a commit": 0.3,
    "before Tinybird has the rows": 0.5,
    "after Tinybird has the rows": 0.5,
}
#: How long a process is stopped, in seconds; the group's session time-out is 3.
STOP_SECONDS = (0.05, 0.5, 4.0, 6.0, 15.0)


class Environment:
    """One run's world, without the things in it."""

    def __init__(self, seed: int, *, is_traced: bool = False, max_handles: int = MAX_HANDLES) -> None:
        self.rng = Random(seed)
        self._random = self.rng.random
        self.loop = VirtualLoop(max_handles)
        self.counters: Counter[str] = Counter()
        self.is_traced = is_traced
        self.trace: list[str] = []
        #: How likely a process is struck at each effect; 0 while the run settles down.
        self.strike_probability = 0.0
        #: How far the broker's clock is off.
        self.broker_skew_ms = 0

    @property
    def now_ms(self) -> int:
        """True time, in milliseconds since the epoch."""
        return START_MS + int(self.loop.time() * 1000)

    @property
    def broker_now_ms(self) -> int:
        return self.now_ms + self.broker_skew_ms

    def say(self, what: str) -> None:
        """Add a line to the trace."""
        if self.is_traced:
            process = PROCESS.get()
            self.trace.append(f"{self.loop.time():9.3f}  {process.name if process else '-':<11} {what}")

    def latency(self) -> float:
        """How long the next message takes, in seconds."""
        seconds = self._random() * LATENCY_SECONDS
        if self.strike_probability and self._random() < SLOW_PROBABILITY:
            seconds += self.rng.random() * SLOW_SECONDS
        return seconds

    def strike(self, point: str) -> None:
        """Perhaps kill or stop the process that has come to this point."""
        if not self.strike_probability:
            return
        process = PROCESS.get()
        if (
            process is None
            or not process.is_running
            or self._random() >= self.strike_probability * WEIGHTS.get(point, 1.0)
        ):
            return
        if self.rng.random() < 0.5:
            self.counters[f"killed at {point}"] += 1
            self.say(f"KILLED at: {point}")
            process.kill()
        else:
            seconds = self.rng.choice(STOP_SECONDS) * (0.5 + self.rng.random())
            self.counters[f"stopped at {point}"] += 1
            self.pause(process, seconds, f"at: {point}")

    def pause(self, process: Process, seconds: float, why: str) -> None:
        """SIGSTOP now, SIGCONT later."""
        self.say(f"STOPPED for {seconds:.3f} s {why}")
        process.pause()

        def wake() -> None:
            if process.is_paused:
                self.say(f"{process.name} woken")
                process.wake()

        self.loop.call_later(seconds, wake, context=WORLD)

    async def point(self, name: str) -> None:
        """An effect between two awaits: here a process may end, or be stopped before it goes on."""
        self.strike(name)
        process = PROCESS.get()
        if process is not None and not process.is_running:
            await asyncio.sleep(0)  # never comes back, or only once woken

    def sync_point(self, name: str) -> None:
        """The same where code can't be stopped: it ends at once, or with the next await."""
        self.strike(name)
        process = PROCESS.get()
        if process is not None and process.is_dead:
            raise Killed
