"""When dead letters are too many: those of one sender raise an alarm, most of a partition's may stop the process."""

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Gauge

from topics.dead_letter import DeadLetter
from tracker.dead_letters.floods import MAX_FLOODS, FloodLimit, Floods, TooManyDeadLetters

ALARM = FloodLimit(window_records=100, min_letters=10, max_percent=50, stops=False)
STOP = FloodLimit(window_records=100, min_letters=10, max_percent=50, stops=True)


class Watched:
    """Floods, and the gauge that shows them."""

    def __init__(self, limit: FloodLimit) -> None:
        self.registry = CollectorRegistry()
        self.gauge = Gauge("flood", "Dead letters", ["producer", "workspace"], registry=self.registry)
        self.floods = Floods(limit, self.gauge)

    def note(self, offsets: Iterable[int], **about: object) -> int | None:
        """Note letters; return the offset at which the process would have stopped."""
        for offset in offsets:
            try:
                self.floods.note(letter(offset, **about))
            except TooManyDeadLetters:
                return offset
        return None

    @property
    def shown(self) -> dict[tuple[str, str], float]:
        (family,) = self.registry.collect()
        return {(s.labels["producer"], s.labels["workspace"]): s.value for s in family.samples}


def letter(
    offset: int, partition: int = 0, retry_count: int = 0, producer: str | None = "p", workspace: str = "w"
) -> DeadLetter:
    return DeadLetter(
        reason="invalid",
        detail="no\nsuch field",
        stage="process",
        source_topic="tracker.events",
        source_partition=partition,
        source_offset=offset,
        source_timestamp_ms=0,
        first_failed_at_ms=0,
        last_failed_at_ms=0,
        retry_count=retry_count,
        workspace_id=workspace,
        producer_client_id=producer,
        key_base64=None,
        value_base64=None,
    )


def test_one_senders_flood_is_told_and_stops_nothing():
    watched = Watched(ALARM)
    assert watched.note(range(9)) is None
    assert watched.floods.lines == []
    assert watched.note(range(9, 5_000)) is None
    assert watched.shown == {("p", "w"): 100}
    (line,) = watched.floods.lines
    assert "100 of 100 records of producer p in workspace w" in line


def test_senders_are_told_apart_by_producer_and_workspace():
    watched = Watched(ALARM)
    for number in range(9):
        watched.note([10 * number], producer="p", workspace="w")
        watched.note([10 * number + 1], producer="p", workspace="v")
        watched.note([10 * number + 2], producer=None, workspace="w")
    assert watched.shown == {}
    watched.note([95], producer=None, workspace="w")
    assert watched.shown == {("unnamed", "w"): 10}


def test_a_flood_ends_when_few_of_the_records_that_follow_are_bad():
    watched = Watched(ALARM)
    watched.note(range(20))
    watched.floods.passed("tracker.events", 0, 115)
    assert watched.shown == {("p", "w"): 5}, "half of what begins a flood still is one"
    watched.floods.passed("tracker.events", 0, 116)
    assert watched.shown == {}
    assert watched.floods.lines == []


def test_there_are_never_more_floods_than_can_be_shown():
    watched = Watched(ALARM)
    for partition in range(MAX_FLOODS + 10):
        watched.note(range(10), partition=partition, producer=f"p{partition}")
    assert len(watched.shown) == MAX_FLOODS


def test_nothing_stops_unless_the_deployment_says_so():
    assert Watched(ALARM).note(range(10_000)) is None
    assert Watched(STOP).note(range(10_000)) == 9


def test_half_of_the_records_is_taken_and_more_than_half_is_not():
    assert Watched(STOP).note(range(1, 5_000, 2)) is not None  # 1 of 1, 2 of 3, ... 10 of 19
    watched = Watched(FloodLimit(max_percent=50, window_records=100, min_letters=51, stops=True))
    assert watched.note(range(1, 5_000, 2)) is None  # never more than 50 in 100 records
    assert watched.note(range(5_001, 6_000)) is not None


def test_what_lies_before_the_window_is_forgotten():
    watched = Watched(STOP)
    for start in range(0, 10_000, 200):
        assert watched.note(range(start, start + 9)) is None
    assert watched.shown == {}


def test_each_partition_counts_for_itself():
    watched = Watched(STOP)
    for partition in range(20):
        assert watched.note(range(9), partition=partition) is None
    assert watched.shown == {}


def test_a_chunk_that_is_folded_again_is_not_counted_twice():
    watched = Watched(STOP)
    for _ in range(5):
        assert watched.note(range(100, 109)) is None
    assert watched.shown == {}


def test_records_that_an_operator_sent_again_may_fail_again():
    watched = Watched(STOP)
    assert watched.note(range(1_000), retry_count=1) is None
    assert watched.shown == {}


def test_the_error_is_one_line_that_says_what_to_do():
    watched = Watched(STOP)
    assert watched.note(range(9)) is None
    with pytest.raises(TooManyDeadLetters) as raised:
        watched.floods.note(letter(9))
    assert "10 of the last 10 records of tracker.events-0" in str(raised.value)
    assert "TRACKER_DEAD_LETTER_STOP=false" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_letters_that_come_in_another_order_count_the_same() -> None:
    offsets = [1_000 + 10 * tens + one for tens in range(100) for one in reversed(range(10))]
    assert Watched(STOP).note(offsets) is not None
