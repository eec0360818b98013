"""Turning a request into offsets: asks the broker for ends, times and what the live processors have done."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from topics.catalog import SOURCE
from tracker.errors import ConfigurationError
from tracker.kafka import admin
from tracker.kafka.log_reader import LogRange, first_record
from tracker.kafka.spread import require_spread
from tracker.replay.plan import PartitionPlan, Plan, Request
from tracker.settings import Settings

EARLIEST: Final = "earliest"
LATEST: Final = "latest"
#: Later than any stream time.
END_OF_TIME_MS: Final = 2**62
#: How far the clocks of the brokers, which stamp the log, may be apart.
BROKERS_APART_MS: Final = 500


async def make_plan(settings: Settings, request: Request, reader: AIOKafkaConsumer) -> Plan:
    """Return the plan of a request, for the log as it is now.

    Raises:
        ConfigurationError: the topic is missing, the range is empty or can't be read, or live spreads keys otherwise.
    """
    topic = SOURCE.name(settings.topic_prefix)
    await require_spread(settings)
    tps = _selected(topic, await _partitions(settings, topic), request.partitions)
    starts: dict[TopicPartition, int] = await reader.beginning_offsets(tps)
    ends: dict[TopicPartition, int] = await reader.end_offsets(tps)
    if request.target == "compare":
        ends = await _processed(settings, tps, ends)
    begins = await _offsets(reader, request.begin, starts, starts, ends)
    untils = await _offsets(reader, request.end, ends, starts, ends)
    warm = await _warm_starts(reader, request, starts, begins, ends)
    whole_sessions = request.target == "datasource"
    return Plan(
        request=request,
        source_topic=topic,
        cluster_id=await admin.cluster_id(settings),
        rules=replace(settings.session_rules, keys_are_used=request.keys_are_used),
        sessions_from_ms=_time_or(request.begin, 0) if whole_sessions else 0,
        sessions_to_ms=_time_or(request.end, END_OF_TIME_MS) if whole_sessions else 0,
        partitions=tuple(
            PartitionPlan(
                partition=tp.partition,
                begin=warm[tp],
                # Whole sessions are picked by when they began, and followed until they end.
                emit_from=warm[tp] if whole_sessions else begins[tp],
                until=ends[tp] if whole_sessions else max(untils[tp], begins[tp]),
            )
            for tp in tps
        ),
        complete_from_ms=await _complete_from(reader, request, starts) if whole_sessions else 0,
        complete_to_ms=await _complete_to(reader, starts, ends) if whole_sessions else 0,
    )


def read_time_ms(word: str) -> int | None:
    """Return an ISO 8601 time in milliseconds since the epoch, UTC where it names no zone; None if it is not a time."""
    try:
        time = datetime.fromisoformat(word)
    except ValueError:
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _time_or(word: str, default_ms: int) -> int:
    if word in {EARLIEST, LATEST}:
        return default_ms
    time_ms = read_time_ms(word)
    if time_ms is None:
        raise ConfigurationError(f"{word!r}: with datasources the range is of times, such as 2026-11-01T00:00Z")
    return time_ms


async def _partitions(settings: Settings, topic: str) -> list[int]:
    found = (await admin.describe_broker(settings)).get(topic)
    if found is None:
        raise ConfigurationError(f"topic {topic} does not exist; is TRACKER_TOPIC_PREFIX right?")
    return list(range(found.partitions))


def _selected(topic: str, existing: list[int], wanted: Iterable[int]) -> list[TopicPartition]:
    wanted = list(wanted) or existing
    unknown = sorted(set(wanted) - set(existing))
    if unknown:
        raise ConfigurationError(f"{topic} has partitions 0 to {existing[-1]}, not {unknown}")
    return [TopicPartition(topic, number) for number in sorted(set(wanted))]


async def _processed(
    settings: Settings, tps: list[TopicPartition], ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return how far the live processors have committed: only up to there are there outputs to compare with."""
    committed = await admin.committed_offsets(settings, f"{settings.topic_prefix}process")
    return {tp: min(ends[tp], committed.get(tp, 0)) for tp in tps}


async def _offsets(
    reader: AIOKafkaConsumer,
    word: str,
    default: dict[TopicPartition, int],
    starts: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Turn a word into an offset of each partition, within what the log has."""
    if word in {EARLIEST, LATEST}:
        return default
    if word.isdecimal():
        found = dict.fromkeys(default, int(word))
    else:
        time_ms = read_time_ms(word)
        if time_ms is None:
            raise ConfigurationError(f"{word!r} is no time (2026-11-01T00:00Z), offset, 'earliest' or 'latest'")
        answer = await reader.offsets_for_times(dict.fromkeys(default, time_ms))
        found = {tp: at.offset if (at := answer.get(tp)) is not None else ends[tp] for tp in default}
    return {tp: min(max(offset, starts[tp]), ends[tp]) for tp, offset in found.items()}


async def _warm_starts(
    reader: AIOKafkaConsumer,
    request: Request,
    starts: dict[TopicPartition, int],
    begins: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Return where folding begins, so that sessions that are open at the range's start are right.

    Without ``warm_up_seconds`` that is the start of the log: only that is right for every key, since the id of a
    renewed session counts the key's sessions.
    """
    if request.warm_up_seconds is None:
        return starts
    warm = {}
    for tp, start in starts.items():
        by_offset = request.begin.isdecimal()
        time_ms = await _time_at(reader, tp, begins[tp]) if by_offset else _time_or(request.begin, 0)
        wanted = {tp: max(0, time_ms - request.warm_up_seconds * 1000)}
        at = (await reader.offsets_for_times(wanted)).get(tp)
        warm[tp] = min(begins[tp], max(start, at.offset if at is not None else ends[tp]))
    return warm


async def _complete_from(reader: AIOKafkaConsumer, request: Request, starts: dict[TopicPartition, int]) -> int:
    """Return since when the fold sees every record: since the warm-up begins, and the log was last cut off."""
    chosen_ms = 0
    if request.warm_up_seconds is not None:
        chosen_ms = max(0, _time_or(request.begin, 0) - request.warm_up_seconds * 1000)
    return max([chosen_ms, *[await _time_at(reader, tp, start) for tp, start in starts.items() if start]])


async def _complete_to(
    reader: AIOKafkaConsumer, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> int:
    """Return the time before which a session must have begun to be within the ends: later records are stamped later."""
    lasts = [await _time_at(reader, tp, end - 1) for tp, end in ends.items() if end > starts[tp]]
    newest_ms = max(lasts, default=0)
    return max(0, newest_ms - BROKERS_APART_MS)


async def _time_at(reader: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> int:
    """Return the log's time of the first record at or after an offset; the end of time if there is no such record."""
    end = (await reader.end_offsets([tp]))[tp]
    record = await first_record(reader, tp, LogRange(offset, end))
    return END_OF_TIME_MS if record is None else int(record.timestamp)
