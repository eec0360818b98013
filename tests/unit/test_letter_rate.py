"""When dead letters are too many: most of a partition's last records, and enough of them to mean something."""

import pytest

from topics.dead_letter import DeadLetter
from tracker.streaming.letter_rate import LetterLimit, LetterRate, TooManyDeadLetters

LIMIT = LetterLimit(max_percent=50, window_records=100, min_letters=10)


def letter(offset: int, partition: int = 0, retry_count: int = 0) -> DeadLetter:
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
        key_base64=None,
        value_base64=None,
    )


def noted(rate: LetterRate, offsets: range, **about: int) -> int | None:
    """The offset at which it was too much."""
    for offset in offsets:
        try:
            rate.note(letter(offset, **about))
        except TooManyDeadLetters:
            return offset
    return None


def test_a_few_letters_stop_nothing_and_the_first_too_many_does():
    assert noted(LetterRate(LIMIT), range(1_000, 1_009)) is None
    assert noted(LetterRate(LIMIT), range(1_000, 2_000)) == 1_009


def test_half_of_the_records_is_taken_and_more_than_half_is_not():
    assert noted(LetterRate(LIMIT), range(1, 5_000, 2)) is not None  # 1 of 1, 2 of 3, ... 10 of 19
    rate = LetterRate(LetterLimit(max_percent=50, window_records=100, min_letters=51))
    assert noted(rate, range(1, 5_000, 2)) is None  # never more than 50 in 100 records
    assert noted(rate, range(5_001, 6_000)) is not None


def test_what_lies_before_the_window_is_forgotten():
    rate = LetterRate(LIMIT)
    for start in range(0, 10_000, 200):
        assert noted(rate, range(start, start + 9)) is None


def test_each_partition_counts_for_itself():
    rate = LetterRate(LIMIT)
    for partition in range(20):
        assert noted(rate, range(9), partition=partition) is None


def test_a_chunk_that_is_folded_again_is_not_counted_twice():
    rate = LetterRate(LIMIT)
    for _ in range(5):
        assert noted(rate, range(100, 109)) is None


def test_records_that_an_operator_sent_again_may_fail_again():
    assert noted(LetterRate(LIMIT), range(1_000), retry_count=1) is None


def test_a_hundred_percent_is_no_limit():
    assert noted(LetterRate(LetterLimit(max_percent=100, window_records=100, min_letters=1)), range(1_000)) is None


def test_the_error_is_one_line_that_says_what_to_do():
    rate = LetterRate(LIMIT)
    assert noted(rate, range(9)) is None
    with pytest.raises(TooManyDeadLetters) as raised:
        rate.note(letter(9))
    assert "10 of the last 10 records of tracker.events-0" in str(raised.value)
    assert "TRACKER_DEAD_LETTER_MAX_PERCENT=100" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_letters_that_come_in_another_order_count_the_same() -> None:
    offsets = [1_000 + 10 * tens + one for tens in range(100) for one in reversed(range(10))]
    assert noted(LetterRate(LIMIT), offsets) is not None
