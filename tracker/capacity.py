"""How much a deployment needs at a rate of events: a model made of measured figures (docs/performance.md).

The figures are those of one core of the machine that was measured; scale ``core_speed`` to yours after ``make bench``.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: CPU seconds for a million events, measured by ``make bench``.
COLLECT_SINGLE_CPU_SECONDS: Final = 87.0
COLLECT_BATCHED_CPU_SECONDS: Final = 11.4
PROCESS_CPU_SECONDS: Final = 29.0
SINK_CPU_SECONDS: Final = 7.1
#: From this many events a request on, a collector costs as little as it can.
FULL_BATCH_EVENTS: Final = 50

#: Bytes of an event: its record in the source topic, its numbered record, and its row as NDJSON.
SOURCE_RECORD_BYTES: Final = 450
ROW_BYTES: Final = 600
#: Session rows that a session leaves: one when it opens, one when it closes, and those of changes in between.
SESSION_ROWS: Final = 2.5
SESSION_ROW_BYTES: Final = 900
CHANGELOG_RECORD_BYTES: Final = 416
#: zstd or lz4 on batches of JSON.
KAFKA_COMPRESSION: Final = 0.35

PROCESS_BASE_BYTES: Final = 209 * 1_048_576
OPEN_SESSION_BYTES: Final = 782
RECOVERED_SESSIONS_PER_SECOND: Final = 99_000
SOURCE_RETENTION_DAYS: Final = 30
OUTPUT_RETENTION_DAYS: Final = 7
TINYBIRD_BYTES_PER_SECOND: Final = 20_000_000
TINYBIRD_REQUEST_BYTES: Final = 8_000_000
#: A batch goes out at least this often while there are rows.
SINK_WINDOW_SECONDS: Final = 0.3

#: Planned load of a core and of a partition, so that a backlog can be caught up and a worker can fail.
PLANNED_SHARE: Final = 0.6
MIN_PARTITIONS: Final = 16
MAX_PARTITIONS: Final = 4_096
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The events to plan for."""

    events_per_second: float
    events_per_request: float = 1.0
    events_per_session: float = 8.0
    #: Length of a session from its first event to its close, the time-out included.
    session_seconds: float = 2_400.0
    replication: int = 3
    #: The speed of this machine's core, relative to the measured one.
    core_speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Need:
    """What one stage needs."""

    cores: float
    processes: int
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a deployment needs in all."""

    load: Load
    collect: Need
    process: Need
    sink: Need
    partitions: int
    open_sessions: float
    kafka_in_bytes_per_second: float
    kafka_disk_bytes: float
    recovery_seconds: float
    #: Of events_v1, the larger of the two datasources: the limits hold for each.
    events_bytes_per_second: float
    tinybird_bytes_per_second: float
    tinybird_requests_per_second: float

    @property
    def tinybird_bytes_per_million(self) -> float:
        """Bytes of NDJSON that a million events become, session rows included. Tinybird bills by it."""
        return 1_000_000 * self.tinybird_bytes_per_second / self.load.events_per_second

    @property
    def walls(self) -> Iterator[str]:
        """The limits that this rate reaches, the nearest first, and what to do about each."""
        share = self.events_bytes_per_second / TINYBIRD_BYTES_PER_SECOND
        if share > 1:
            yield (
                f"Tinybird's limit of 20 MB/s a datasource: {share:,.1f} times as much is needed; "
                "have it raised, or split workspaces over several Tinybird workspaces and sinks"
            )
        if self.partitions > MAX_PARTITIONS:
            yield (
                f"{self.partitions:,} partitions: more than {MAX_PARTITIONS:,}; run several deployments "
                "(TRACKER_TOPIC_PREFIX), each for a part of the workspaces"
            )
        if self.kafka_in_bytes_per_second > 100_000_000:  # noqa: PLR2004 - one broker's network and disk, roughly
            brokers = math.ceil(self.kafka_in_bytes_per_second * self.load.replication / 100_000_000)
            yield f"one Kafka broker takes about 100 MB/s: plan {max(brokers, self.load.replication)} brokers"
        if self.kafka_disk_bytes > 10e12:  # noqa: PLR2004
            yield "Kafka's disks: shorten retention.ms of the source topic, or use tiered storage"
        yield (
            f"one session is in one partition, so on one core: no session key may get more than "
            f"{_per_core(PROCESS_CPU_SECONDS, self.load):,.0f} events/s"
        )


def capacity(load: Load) -> Capacity:
    """Compute what a load needs."""
    rate = load.events_per_second
    sessions_per_second = rate / load.events_per_session
    open_sessions = sessions_per_second * load.session_seconds
    partitions = _partitions(rate, load)
    workers = min(partitions, max(2, _processes(PROCESS_CPU_SECONDS, load)))
    session_bytes = sessions_per_second * SESSION_ROWS * SESSION_ROW_BYTES
    row_bytes = rate * ROW_BYTES
    # At worst each event touches another session of its chunk.
    changelog_bytes = rate * CHANGELOG_RECORD_BYTES
    kafka_in = KAFKA_COMPRESSION * (rate * SOURCE_RECORD_BYTES + row_bytes + session_bytes + changelog_bytes)
    source_disk = KAFKA_COMPRESSION * rate * SOURCE_RECORD_BYTES * SOURCE_RETENTION_DAYS
    output_disk = KAFKA_COMPRESSION * (row_bytes + session_bytes) * OUTPUT_RETENTION_DAYS
    table_bytes = KAFKA_COMPRESSION * (open_sessions + 7 * DAY_SECONDS * sessions_per_second) * CHANGELOG_RECORD_BYTES
    requests = max(1 / SINK_WINDOW_SECONDS, row_bytes / TINYBIRD_REQUEST_BYTES)
    return Capacity(
        load=load,
        collect=_need(_collect_cpu_seconds(load), load, 256 * 1_048_576),
        process=Need(
            _cores(PROCESS_CPU_SECONDS, load),
            workers,
            max(PROCESS_BASE_BYTES, OPEN_SESSION_BYTES * open_sessions / workers),
        ),
        sink=_need(SINK_CPU_SECONDS, load, 256 * 1_048_576),
        partitions=partitions,
        open_sessions=open_sessions,
        kafka_in_bytes_per_second=kafka_in,
        kafka_disk_bytes=load.replication * ((source_disk + output_disk) * DAY_SECONDS + 2 * table_bytes),
        recovery_seconds=open_sessions / workers / RECOVERED_SESSIONS_PER_SECOND,
        events_bytes_per_second=row_bytes,
        tinybird_bytes_per_second=row_bytes + session_bytes,
        tinybird_requests_per_second=requests,
    )


def _collect_cpu_seconds(load: Load) -> float:
    """The cost of an event, with its share of the cost of its request."""
    per_event = COLLECT_BATCHED_CPU_SECONDS - (COLLECT_SINGLE_CPU_SECONDS - COLLECT_BATCHED_CPU_SECONDS) / (
        FULL_BATCH_EVENTS - 1
    )
    per_request = COLLECT_SINGLE_CPU_SECONDS - per_event
    return per_event + per_request / max(1.0, load.events_per_request)


def _cores(cpu_seconds: float, load: Load) -> float:
    return load.events_per_second * cpu_seconds / 1_000_000 / load.core_speed


def _processes(cpu_seconds: float, load: Load) -> int:
    return math.ceil(_cores(cpu_seconds, load) / PLANNED_SHARE)


def _need(cpu_seconds: float, load: Load, memory_bytes: float) -> Need:
    return Need(_cores(cpu_seconds, load), max(2, _processes(cpu_seconds, load)), memory_bytes)


def _partitions(rate: float, load: Load) -> int:
    """Twice the workers that are needed, as a power of two: a partition can't be given to two workers later."""
    wanted = max(MIN_PARTITIONS, 2 * _processes(PROCESS_CPU_SECONDS, load), rate / 10_000)
    return int(2 ** math.ceil(math.log2(wanted)))


def _per_core(cpu_seconds: float, load: Load) -> float:
    return 1_000_000 / cpu_seconds * load.core_speed
