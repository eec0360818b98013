"""One seed, from the first record to rest: starts the processes, writes the traffic, lets the weather strike."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import CRITICAL
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.broker import CHANGELOG_TOPIC, SOURCE_TOPIC, Broker
from tests.simulation.disk import Disk
from tests.simulation.environment import LATENCY_SECONDS, Environment
from tests.simulation.group import Group
from tests.simulation.loop import WORLD, Process
from tests.simulation.parts import Parts
from tests.simulation.plan import Plan, plan_of
from tests.simulation.stages import Stage, World, start_processor, start_sink
from tests.simulation.tinybird import Tinybird
from tests.simulation.traffic import Traffic, traffic_of
from tests.simulation.verdict import verdict
from tracker import clock
from tracker.errors import DiskFullError
from tracker.process import metrics
from tracker.process.lease import SessionLease
from tracker.sessions.layouts import decode_state
from tracker.sink import pipeline
from tracker.sink.main import DATASOURCES
from tracker.streaming import transport
from tracker.table import changelog

#: A process that ends for one of these is started again; any other error is a bug.
EXPECTED_EXITS = (KafkaError, DiskFullError)
#: How long all has to come to rest once nothing strikes any more, in virtual seconds.
REST_TIMEOUT_SECONDS = 300.0
#: What the sinks hold when all has been taken is written within this.
LAST_BATCH_SECONDS = 3.0
#: How many runs end with a changelog of which only the last of each key is left.
COMPACTED_PROBABILITY = 0.5
#: While nothing but time has to pass, all processes sleep so long between two ticks.
LEAP_SECONDS = 10.0
#: Polling without news costs CPU time, and shows nothing.
IDLE_POLL_SECONDS = 30.0
#: What the weather does, and how many times in one run at most.
WEATHER = (
    "kill",
    "lose disk",
    "lose power",
    "stop",
    "broker away",
    "rebalances",
    "all down",
    "disk full",
    "clock",
    "sink killed",
    "compaction",
    "offsets reset",
)
WEATHER_MAX = 14


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class Simulation:
    """One run."""

    def __init__(self, seed: int, build: Callable[[Any], Parts], *, is_traced: bool) -> None:
        self.env = env = Environment(seed, is_traced=is_traced)
        self.plan: Plan = plan_of(env.rng)
        self.traffic: Traffic = traffic_of(self.plan, env.rng)
        self.broker = Broker(self.plan.partitions)
        self.tinybird = Tinybird()
        self.workers = Group(env, self.broker, "workers", [SOURCE_TOPIC])
        self.sinks = Group(env, self.broker, "sinks", [topic.name("tracker.") for topic, _ in DATASOURCES])
        self.world = World(env, self.plan, build(self), self.broker)
        self.disks: dict[str, Disk] = {}
        self.stages: dict[str, Stage] = {}
        self.violations: list[str] = []
        self._outage_until = 0.0

    async def main(self) -> None:
        """Send everything while faults strike, then wait for rest."""
        env, plan = self.env, self.plan
        env.say(f"{plan}")
        for number in range(plan.workers):
            self._start(f"worker-{number}")
        for number in range(plan.sinks):
            self._start(f"sink-{number}")
        env.strike_probability = plan.strike_probability
        for sending in self.traffic.sendings:
            env.loop.call_later(sending.at_seconds, self._send, sending, context=WORLD)
        for _ in range(env.rng.randint(0, WEATHER_MAX)):
            env.loop.call_later(env.rng.random() * plan.duration_seconds, self._strike, context=WORLD)
        await asyncio.sleep(max(plan.duration_seconds, self.traffic.sendings[-1].at_seconds) + 1)
        self._calm()
        await self._rest()
        if env.rng.random() < COMPACTED_PROBABILITY and not self.violations:
            await self._compact_all()

    def _send(self, sending: Any) -> None:
        self.broker.log(SOURCE_TOPIC, sending.partition).append(
            [(sending.key, sending.value, ())], self.env.broker_now_ms
        )

    # Processes

    def _start(self, name: str) -> None:
        env = self.env
        process = Process(name, env.loop)
        disk = self.disks.setdefault(name, Disk())
        group = self.sinks if name.startswith("sink") else self.workers

        def ended() -> None:
            disk.release()
            group.miss(process)
            if process.exit_error is not None and not isinstance(process.exit_error, EXPECTED_EXITS):
                self.violations.append(f"{name} ended with {process.exit_error!r}")
            away = 0.1 + env.rng.random() * env.rng.choice((0.5, 8.0))
            if group is self.workers:
                away = max(away, self._outage_until - env.loop.time())
            env.loop.call_later(away, self._start, name, context=WORLD)

        process.on_end = ended
        process.on_pause = lambda: group.miss(process)
        env.say(f"{name} starts")
        self.stages[name] = process.context.run(self._wire, name, process, disk, group)

    def _wire(self, name: str, process: Process, disk: Disk, group: Group) -> Stage:
        if name.startswith("sink"):
            return start_sink(self.world, group, self.tinybird, process)
        return start_processor(self.world, group, disk, process)

    # Weather

    def _strike(self) -> None:
        kind = self.env.rng.choice(WEATHER)
        if self.env.strike_probability or kind in {"compaction", "clock"}:
            getattr(self, "_" + kind.replace(" ", "_"))(kind)

    def _one(self, prefix: str) -> Stage | None:
        alive = [stage for name, stage in self.stages.items() if name.startswith(prefix) and stage.process.is_running]
        return self.env.rng.choice(alive) if alive else None

    def _kill_one(self, prefix: str, kind: str) -> str | None:
        stage = self._one(prefix)
        if stage is None:
            return None
        self.env.counters[kind] += 1
        self.env.say(f"{stage.process.name}: {kind}")
        stage.process.kill()
        return stage.process.name

    def _kill(self, kind: str) -> None:
        self._kill_one("worker", kind)

    def _all_down(self, kind: str) -> None:
        """Every worker is away for a while; the log goes on, and the next chunk spans more time than usual."""
        self._outage_until = self.env.loop.time() + self.env.rng.choice((10.0, 30.0))
        while self._kill_one("worker", kind) is not None:
            pass

    def _sink_killed(self, kind: str) -> None:
        self._kill_one("sink", kind)

    def _lose_disk(self, kind: str) -> None:
        name = self._kill_one("worker", kind)
        if name is not None:
            self.disks[name].lose()

    def _lose_power(self, kind: str) -> None:
        name = self._kill_one("worker", kind)
        if name is not None and self.disks[name].lose_unsynced(self.env.rng):
            self.env.counters["writes lost with the power"] += 1

    def _disk_full(self, kind: str) -> None:
        disk = self.disks[f"worker-{self.env.rng.randrange(self.plan.workers)}"]
        disk.is_full = True
        self.env.counters[kind] += 1
        self.env.loop.call_later(2.0, setattr, disk, "is_full", False, context=WORLD)

    def _stop(self, kind: str) -> None:
        stage = self._one(self.env.rng.choice(("worker", "worker", "sink")))
        if stage is not None:
            self.env.counters["stopped"] += 1
            self.env.pause(stage.process, self.env.rng.choice((1.0, 5.0, 20.0)), "by the weather")

    def _broker_away(self, kind: str) -> None:
        self.env.counters[kind] += 1
        self.env.say("the broker is away")
        self.broker.is_up = False
        self.env.loop.call_later(self.env.rng.choice((1.0, 8.0, 60.0)), self._broker_back, context=WORLD)

    def _broker_back(self) -> None:
        self.env.say("the broker is back")
        self.broker.come_back()

    def _rebalances(self, kind: str) -> None:
        self.env.counters[kind] += 1
        for _ in range(self.env.rng.randint(1, 4)):
            self.env.loop.call_later(self.env.rng.random() * 3, self.workers.rebalance, "by the weather", context=WORLD)

    def _clock(self, kind: str) -> None:
        skew = self.plan.clock_skew_ms
        self.env.broker_skew_ms = self.env.rng.randint(-skew, skew)
        self.env.counters[kind] += bool(skew)

    def _compaction(self, kind: str) -> None:
        for log in self.broker.logs(CHANGELOG_TOPIC):
            removed = log.compact(self.env.broker_now_ms, self.plan.compaction_lag_ms, self.plan.delete_retention_ms)
            self.env.counters["records compacted away"] += removed

    def _offsets_reset(self, kind: str) -> None:
        """An operator moves the workers' group. Its offsets are for lag tools only: W says where to go on."""
        log = self.env.rng.choice(self.broker.logs(SOURCE_TOPIC))
        self.workers.committed[log.tp] = OffsetAndMetadata(self.env.rng.randint(0, log.end), "")
        self.env.counters[kind] += 1

    # Rest

    def _calm(self) -> None:
        """The faults are over: everything works from here on."""
        env = self.env
        env.say("nothing strikes any more")
        env.strike_probability = 0.0
        env.broker_skew_ms = 0
        self.broker.come_back()
        for disk in self.disks.values():
            disk.is_full = False
        for stage in self.stages.values():
            if stage.process.is_paused:
                stage.process.wake()

    async def _compact_all(self) -> None:
        """Let so much time pass that compaction may take everything but the last, and see what is left."""
        for _ in range(round(1.6 * self.plan.compaction_lag_ms / 1000 / LEAP_SECONDS)):
            self.env.loop.leap(LEAP_SECONDS)
            await asyncio.sleep(LATENCY_SECONDS)
        await self._rest()
        self._compaction("compaction")
        self.env.counters["compacted at the end"] += 1

    async def _rest(self) -> None:
        env = self.env
        deadline = env.loop.time() + REST_TIMEOUT_SECONDS
        while not await self._is_at_rest():
            if self.violations or env.loop.errors:
                return
            if env.loop.time() > deadline:
                self.violations.append(f"not at rest after {REST_TIMEOUT_SECONDS:.0f} s: {self._unfinished()}")
                return
            await asyncio.sleep(0.5)
        env.say("all is at rest")

    async def _is_at_rest(self) -> bool:
        """Whether all is done, and still is once the last batches and what was under way have come.

        What comes meanwhile, such as a late tick, starts a last batch of its own.
        """
        if not (self._is_folded() and self._is_shipped()):
            return False
        before = self._output_ends()
        await asyncio.sleep(LAST_BATCH_SECONDS)
        return self._output_ends() == before and self._is_folded() and self._is_shipped()

    def _leases(self) -> Iterator[SessionLease]:
        for name, stage in self.stages.items():
            if name.startswith("worker") and stage.process.is_running:
                yield from stage.leases()

    def _is_folded(self) -> bool:
        """Whether each partition has one owner, who has folded it to its end and has no open session left."""
        leases = {lease.partition: lease for lease in self._leases()}
        return len(leases) == self.plan.partitions and all(
            lease.watermark == self.broker.log(SOURCE_TOPIC, number).end - 1
            and lease.chunks_in_flight == 0
            and not self._has_open(lease)
            for number, lease in leases.items()
        )

    def _has_open(self, lease: SessionLease) -> bool:
        return any(decode_state(raw).is_open for _, raw in lease.store.states())

    def _is_shipped(self) -> bool:
        """Whether sinks have taken all outputs. A commit that was refused is only tried again with the next rows."""
        taken = {
            lease.tp: lease.next_offset
            for name, stage in self.stages.items()
            if name.startswith("sink") and stage.process.is_running
            for lease in stage.leases()
            if lease.chunks_in_flight == 0
        }
        for tp, end in self._output_ends().items():
            committed = self.sinks.committed.get(tp)
            if max(taken.get(tp, 0), committed.offset if committed else 0) < end:
                return False
        return True

    def _output_ends(self) -> dict[TopicPartition, int]:
        """The ends of all logs that sinks ship."""
        return {log.tp: log.end for topic, _ in DATASOURCES for log in self.broker.logs(topic.name("tracker."))}

    def _unfinished(self) -> str:
        watermarks = {lease.partition: lease.watermark for lease in self._leases()}
        ends = [log.end for log in self.broker.logs(SOURCE_TOPIC)]
        return f"W {watermarks}, log ends {ends}, committed {self.sinks.committed}"


def no_bug(_: Any) -> Parts:
    """The real parts."""
    return Parts()


def run_seed(seed: int, build: Callable[[Any], Parts] = no_bug, *, is_traced: bool = False) -> Outcome:
    """Run one seed and judge it. ``build`` makes the parts; only planted bugs make others than the real ones."""
    simulation = Simulation(seed, build, is_traced=is_traced)
    env = simulation.env
    before = _metrics()
    with virtual_clocks(env), simulation.world.parts.in_place():
        try:
            env.loop.run(simulation.main())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the seed
            simulation.violations.append(f"the run ended with {error!r}")
    env.counters.update({name: int(value - before[name]) for name, value in _metrics().items()})
    env.counters["writes refused by a full disk"] = sum(disk.refused_writes for disk in simulation.disks.values())
    violations = simulation.violations + [f"uncaught: {error!r}" for error in env.loop.errors]
    if not violations:
        with simulation.world.parts.judged():
            violations = verdict(simulation)
    return Outcome(seed, violations, env.counters, env.trace)


def _metrics() -> dict[str, float]:
    return {
        "holes in a changelog": metrics.CHANGELOG_HOLES._value.get(),
        "chunks dropped": metrics.CHUNKS_DROPPED._value.get(),
        "chunks checkpointed": metrics.CHUNKS._value.get(),
        "records forwarded": metrics.RECORDS.labels("forwarded")._value.get(),
        "forwards that came twice": metrics.RECORDS.labels("forwarded_again")._value.get(),
        "records that a state had had": metrics.RECORDS.labels("already_applied")._value.get(),
    }


@contextmanager
def virtual_clocks(env: Environment) -> Iterator[None]:
    """Let production code read the run's time where it reads a clock."""
    before = (clock.now_ms, pipeline.monotonic, transport.POLL_TIMEOUT_SECONDS, changelog.READ_TIMEOUT_MS)  # type: ignore[attr-defined]
    set_all(lambda: env.now_ms, env.loop.time, IDLE_POLL_SECONDS, int(IDLE_POLL_SECONDS * 1000))
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    try:
        yield
    finally:
        set_all(*before)
        structlog.configure(**logging)


def set_all(now_ms: Any, monotonic: Any, poll_timeout_seconds: float, read_timeout_ms: int) -> None:
    """Put clocks where production code looks for them, and let it poll idle partitions less often."""
    clock.now_ms = now_ms
    pipeline.monotonic = monotonic  # type: ignore[attr-defined]
    changelog.READ_TIMEOUT_MS = read_timeout_ms  # type: ignore[misc]
    transport.POLL_TIMEOUT_SECONDS = poll_timeout_seconds  # type: ignore[misc]
