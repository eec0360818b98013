"""Which record is sent again for a letter, and into which topic."""

import pytest

from tests.sessions_log import Record
from topics.catalog import CHANGELOG, DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE, USAGE, Topic
from topics.dead_letter import Stage, dead_letter
from topics.headers import RETRY_COUNT, RETRY_OF, write_position
from tracker.dead_letters.letters import Place, StoredLetter
from tracker.dead_letters.resend import Resend, Skipped, plan
from tracker.settings import Settings

SETTINGS = Settings(topic_prefix="shop.", partitions=4)


def stored(topic: Topic, stage: Stage) -> StoredLetter:
    record = Record(7, 1, b"shop", b'{"workspace_id":"shop"}', tuple(write_position(3, 5, 0)))
    letter = dead_letter(
        record,
        stage=stage,
        topic=topic.name("shop."),
        partition=3,
        reason="refused",
        detail="minute: not a time",
        failed_at_ms=2,
    )
    return StoredLetter(Place(3, 11), letter, "open")


@pytest.mark.parametrize("topic", [SEQUENCED, SESSIONS, USAGE], ids=lambda topic: topic.suffix)
def test_a_row_goes_back_into_the_output_topic_and_partition_it_came_from(topic: Topic) -> None:
    sent = plan(stored(topic, "sink"), SETTINGS, 4)
    assert isinstance(sent, Resend)
    assert (sent.topic, sent.partition) == (topic.name("shop."), 3)
    assert (sent.key, sent.value) == (b"shop", b'{"workspace_id":"shop"}')
    assert dict(sent.headers).items() >= {(RETRY_COUNT, b"1"), (RETRY_OF, b"3:11"), *write_position(3, 5, 0)}


@pytest.mark.parametrize(
    ("topic", "stage"),
    [(CHANGELOG, "sink"), (DEAD_LETTERS, "sink"), (SOURCE, "sink"), (USAGE, "process"), (SESSIONS, "process")],
    ids=lambda what: getattr(what, "suffix", what),
)
def test_no_letter_makes_us_write_to_another_topic(topic: Topic, stage: Stage) -> None:
    skipped = plan(stored(topic, stage), SETTINGS, 4)
    assert skipped == Skipped(Place(3, 11), f"{topic.name('shop.')} takes no records from here")
