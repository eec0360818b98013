"""Compares both lanes: reads the tracker's and the queue's topic over a time range."""

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
from xxhash import xxh3_64_intdigest

from topics.catalog import LEGACY, SOURCE, Topic
from topics.codec import workspace_of
from tracker.errors import ConfigurationError
from tracker.kafka.access import require_access
from tracker.kafka.log_reader import open_log_reader
from tracker.settings import Settings

#: Ids held at a time; about 200 bytes each.
MAX_IDS: Final = 5_000_000
#: A record at the range's ends may be beyond it in the other lane, by this much at most.
EDGE_MS: Final = 60_000
#: Differences that are shown.
MAX_SHOWN: Final = 20

Lane = Literal["tracker", "legacy"]
What = Literal["missing in tracker", "missing in legacy", "different data"]
LANES: Final[tuple[Lane, Lane]] = ("tracker", "legacy")


@dataclass(frozen=True, slots=True)
class Seen:
    """An event or a session record as a lane has it."""

    type: str
    session_id: str
    workspace_id: str
    event_id: str
    #: A hash of the fields that both lanes have.
    content: int
    is_inside: bool

    @property
    def identity(self) -> tuple[str, str]:
        """What the same record has in the other lane too."""
        return self.session_id, self.event_id


@dataclass(slots=True)
class Side:
    """The records of one lane in the range."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)
    #: Those and the ones near the range's ends.
    near: set[str] = field(default_factory=set)
    repeated: int = 0
    without_id: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One event that the lanes don't agree on."""

    what: What
    session_id: str
    event_id: str
    workspace_id: str


#: Says whether both lanes should have a record of this session, workspace and time (ms).
Compares = Callable[[str, str, int], bool]


class Comparison:
    """Takes records of both lanes in any order and finds those that only one of them has."""

    def __init__(self, since_ms: int, until_ms: int, compares: Compares) -> None:
        self._since_ms = since_ms
        self._until_ms = until_ms
        self._compares = compares
        self._events: dict[Lane, dict[tuple[str, str], Seen]] = {"tracker": {}, "legacy": {}}
        self.sides: dict[Lane, Side] = {"tracker": Side(), "legacy": Side()}
        #: Records that are none of ours, or of sessions that take one lane only.
        self.left_out: Counter[Lane] = Counter()

    def take(self, lane: Lane, value: bytes | None, timestamp_ms: int) -> None:
        """Take one record.

        Raises:
            ConfigurationError: the range holds more than can be compared at once.
        """
        seen = self._read(lane, value, timestamp_ms)
        if seen is None:
            self.left_out[lane] += 1
            return
        side = self.sides[lane]
        side.near.add(seen.session_id)
        if seen.is_inside:
            side.sessions.add(seen.session_id)
        if seen.type == "session" or not seen.event_id:
            side.counts[seen.workspace_id, seen.type] += seen.is_inside
            side.without_id += seen.is_inside and seen.type == "event"
            return
        events = self._events[lane]
        if seen.identity in events:
            side.repeated += seen.is_inside
            return
        side.counts[seen.workspace_id, seen.type] += seen.is_inside
        events[seen.identity] = seen
        if len(events) > MAX_IDS:
            raise ConfigurationError(f"more than {MAX_IDS} events in the range: choose a shorter one")

    def differences(self) -> list[Difference]:
        """Return what the lanes don't agree on, in a stable order."""
        tracker, legacy = self._events["tracker"], self._events["legacy"]
        found = _missing("missing in legacy", tracker, legacy) + _missing("missing in tracker", legacy, tracker)
        found += [
            _difference("different data", seen)
            for key, seen in tracker.items()
            if seen.is_inside and key in legacy and legacy[key].content != seen.content
        ]
        return sorted(found, key=lambda one: (one.what, one.session_id, one.event_id))

    def summary(self) -> dict[str, Any]:
        """Return the whole comparison, for JSON and for the table."""
        differences = self.differences()
        sides = self.sides
        sessions = {lane: sides[lane].sessions for lane in LANES}
        alone = {
            "only_tracker": len(sessions["tracker"] - sides["legacy"].near),
            "only_legacy": len(sessions["legacy"] - sides["tracker"].near),
        }
        keys = sorted(sides["tracker"].counts.keys() | sides["legacy"].counts.keys())
        by_what = Counter(one.what for one in differences)
        return {
            "same": not differences and not any(alone.values()),
            "counts": [
                {"workspace_id": key[0], "type": key[1], **{lane: sides[lane].counts[key] for lane in LANES}}
                for key in keys
                if any(sides[lane].counts[key] for lane in LANES)
            ],
            "sessions": {
                **{lane: len(sessions[lane]) for lane in LANES},
                **alone,
            },
            "repeated": {lane: sides[lane].repeated for lane in LANES},
            "without_event_id": {lane: sides[lane].without_id for lane in LANES},
            "left_out": {lane: self.left_out[lane] for lane in LANES},
            "differences": dict(sorted(by_what.items())),
            "first_differences": [
                {name: getattr(one, name) for name in Difference.__slots__} for one in differences[:MAX_SHOWN]
            ],
        }

    def _read(self, lane: Lane, value: bytes | None, timestamp_ms: int) -> Seen | None:
        try:
            record = orjson.loads(value or b"")
            session_id = record["session_id" if lane == "tracker" else "sessionId"]
            kind, workspace_id = record["type"], workspace_of(record)
            data = {**record["data"], "workspace_id": workspace_id}
            if kind not in {"event", "session"} or not self._compares(session_id, workspace_id, timestamp_ms):
                return None
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None
        is_inside = self._since_ms <= timestamp_ms < self._until_ms
        return Seen(kind, session_id, workspace_id, data.get("event_id") or "", _content(data), is_inside)


async def compare(settings: Settings, since_ms: int, until_ms: int, compares: Compares) -> Comparison:
    """Read both topics over a range of the broker's time, [since, until), and compare them.

    Raises:
        RetryableError: Kafka can't be reached, or stops answering.
        ConfigurationError: a topic is missing, or the range holds too much.
    """
    comparison = Comparison(since_ms, until_ms, compares)
    topics: Mapping[Lane, Topic] = {"tracker": SOURCE, "legacy": LEGACY}
    await require_access(settings, "migration")
    async with open_log_reader(settings, f"{settings.topic_prefix}migration") as reader:
        for lane, topic in topics.items():
            for number, wanted in (await reader.ranges_since(topic, since_ms - EDGE_MS)).items():
                async for records in reader.read(topic.name(settings.topic_prefix), number, wanted):
                    for record in records:
                        if record.timestamp < until_ms + EDGE_MS:
                            comparison.take(lane, record.value, record.timestamp)
    return comparison


def _difference(what: What, seen: Seen) -> Difference:
    return Difference(what, seen.session_id, seen.event_id, seen.workspace_id)


def _missing(what: What, these: Mapping[tuple[str, str], Seen], others: Container[tuple[str, str]]) -> list[Difference]:
    return [_difference(what, seen) for key, seen in these.items() if seen.is_inside and key not in others]


def _content(data: Mapping[str, Any]) -> int:
    """Return a hash of an event's fields that both lanes have. The queue's messages have "" for absent fields."""
    ours = {"id", "timestamp", "session_id", "session_event_sequence"}
    shared = {name: value for name, value in data.items() if name not in ours and value not in ("", None)}
    return xxh3_64_intdigest(orjson.dumps(shared, option=orjson.OPT_SORT_KEYS))
