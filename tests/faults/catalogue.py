"""Every fault by name: what is done, and how often in the long form. One place."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.faults import brokers, clusters, disks, kills
from tests.faults.world import World

Strike = Callable[[World, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``strike(world, times)`` does it that often, and waits for each recovery."""

    name: str
    what: str
    strike: Strike
    times: int
    #: How many brokers there have to be.
    brokers: int = 1


_KILL_STEPS = {
    "fold": "SIGKILL after the fold, before any output",
    "some-outputs": "SIGKILL after the first batch of outputs",
    "outputs": "SIGKILL after all outputs, before the changelog",
    "changelog-1": "SIGKILL between the first and the second changelog batch",
    "changelog-2": "SIGKILL between the second and the third changelog batch",
    "changelog": "SIGKILL after the changelog, before the store",
    "store": "SIGKILL after the store",
}


def _killed_at(step: str) -> Strike:
    return lambda world, times: kills.kill_at(world, step, times)


def _stopped_at(step: str) -> Strike:
    return lambda world, times: kills.zombie_in_chunk(world, step, times)


_ALL = (
    *(Fault(f"kill-after-{step}", what, _killed_at(step), 3) for step, what in _KILL_STEPS.items()),
    Fault("kill-moves", "SIGKILL, the worker does not come back", kills.kill_moves, 3),
    Fault("lost-disk", "SIGKILL and an empty disk", kills.lost_disk, 3),
    Fault("kill-in-recovery", "SIGKILL in the middle of a recovery", kills.kill_in_recovery, 3),
    Fault("zombie", "SIGSTOP, takeover by others, SIGCONT", kills.zombie, 3),
    Fault("zombie-before-outputs", "the same, stopped before a chunk's outputs", _stopped_at("fold"), 2),
    Fault("zombie-before-changelog", "the same, stopped before its changelog", _stopped_at("outputs"), 2),
    Fault("zombie-in-changelog", "the same, stopped between changelog batches", _stopped_at("changelog-1"), 2),
    Fault("zombie-before-store", "the same, stopped before its store", _stopped_at("changelog"), 2),
    Fault("broker-killed", "SIGKILL of a broker, back at once", brokers.broker_killed, 5),
    Fault("brokers-gone", "all brokers are gone for 70 s", brokers.brokers_gone, 1),
    Fault("joins", "20 joins and as many leaves in two minutes", brokers.joins, 20),
    Fault("truncated-files", "SIGKILL and RocksDB files cut short", disks.truncated_files, 5),
    Fault("disk-full", "no space left; stop, space, start", disks.disk_full, 3),
    Fault("leader-killed", "SIGKILL of a source partition's leader", clusters.leader_killed, 3, 3),
    Fault("controller-killed", "SIGKILL of the active controller", clusters.controller_killed, 2, 3),
    Fault("rolling-restart", "all brokers restarted one by one", clusters.rolling_restart, 1, 3),
    Fault("one-down-at-start", "a worker starts while a broker is down", clusters.one_down_at_start, 2, 3),
    Fault("broker-slow", "SIGSTOP of a broker, below session time-outs", clusters.broker_slow, 3, 3),
    Fault("broker-frozen", "SIGSTOP of a broker, above session time-outs", clusters.broker_frozen, 2, 3),
    Fault("two-down", "SIGKILL of two brokers of three, for 20 s", clusters.two_down, 1, 3),
    Fault("coordinator-cut", "workers cut off from the coordinator", clusters.coordinator_cut, 2, 3),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
