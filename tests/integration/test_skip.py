"""``tracker skip``: a record that no processor gets past is passed over, live and in every replay."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from tests.fixtures.kafka import kafka_settings
from tests.patience import PATIENCE_SECONDS
from tests.processors import Processor, click
from topics.catalog import SOURCE
from tracker.kafka.admin import committed_offsets
from tracker.kafka.clients import partition_for_key
from tracker.local.kafka import LocalKafka

KEY = "s"


@contextmanager
def running_processor(broker: LocalKafka, tmp_path: Path) -> Iterator[Processor]:
    processor = Processor(broker.bootstrap, tmp_path / "worker", TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    yield processor
    processor.stage.end()


@pytest.fixture
def processor(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Processor]:
    with running_processor(kafka_broker, tmp_path) as processor:
        yield processor


@pytest.fixture
def bad_broker(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker whose disk is damaged, so no other test may use it."""
    with LocalKafka(kafka_settings(tmp_path)) as broker:
        yield broker


@pytest.fixture
def processor_on_it(bad_broker: LocalKafka, tmp_path: Path) -> Iterator[Processor]:
    with running_processor(bad_broker, tmp_path) as processor:
        yield processor


def tracker(processor: Processor, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "NO_COLOR": "1",
        "TRACKER_KAFKA_BOOTSTRAP": processor.settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": processor.settings.topic_prefix,
        "TRACKER_PARTITIONS": str(processor.settings.partitions),
        "TRACKER_DATA_DIR": str(processor.stage.data_dir),
    }
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def partition(processor: Processor) -> int:
    return partition_for_key(KEY.encode(), processor.settings.partitions)


def committed(processor: Processor) -> int:
    group = f"{processor.settings.topic_prefix}process"
    found = asyncio.run(committed_offsets(processor.settings, group))
    return found.get(TopicPartition(SOURCE.name(processor.settings.topic_prefix), partition(processor)), 0)


def damage(broker: LocalKafka, processor: Processor, words: bytes) -> None:
    """Change a byte of a record on the broker's disk, as a bad disk does: its batch's checksum is wrong then."""
    broker.stop()
    directory = broker.data_dir / "data" / f"{SOURCE.name(processor.settings.topic_prefix)}-{partition(processor)}"
    (segment,) = directory.glob("*.log")
    content = segment.read_bytes()
    assert content.count(words) == 1
    segment.write_bytes(content.replace(words, words[:-1] + b"!"))
    broker.start()


def test_a_record_that_the_broker_damaged_is_named_and_skipped_and_its_neighbours_are_numbered(
    bad_broker: LocalKafka, processor_on_it: Processor
) -> None:
    processor = processor_on_it
    processor.send(click(KEY, "first"))
    processor.wait_until(lambda: processor.get(KEY)[1].get("event_sequence") == 1, "the first event")
    assert processor.stage.stop() == 0
    for name in ("second", "damaged", "fourth"):
        processor.send(click(KEY, name))
    damage(bad_broker, processor, b'"event_id":"damaged"')
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    log = processor.stage.log_file.read_text()
    assert "Traceback" not in log
    line = re.search(r"copy of \S+-(\d+) at offset (\d+) is damaged", log)
    assert line is not None
    assert line.groups() == (str(partition(processor)), "2")

    done = tracker(processor, "skip", "--partition", line[1], "--offset", line[2], "--reason", "bad disk", "--yes")
    assert done.returncode == 0, done.stderr
    processor.stage.start()
    processor.wait_until(lambda: processor.events()[-1]["event_id"] == "fourth", "the rest")
    # It may have put the second one out before it met the damage, and does again: the same, at the same position.
    found = {(event["event_id"], event["session_event_sequence"]) for event in processor.events()}
    assert found == {("first", 1), ("second", 2), ("fourth", 3)}
    (letter,) = processor.wait_for_dead_letters(1)
    assert (letter["reason"], letter["detail"], letter["source_offset"]) == ("skipped", "bad disk", 2)


def test_a_replay_skips_what_live_has_skipped(processor: Processor) -> None:
    processor.stage.kill()
    processor.send(*(click(KEY, f"e{number}") for number in range(5)))
    done = tracker(
        processor, "skip", "--partition", str(partition(processor)), "--offset", "1", "--count", "2", "--yes"
    )
    assert done.returncode == 0, done.stderr
    processor.stage.start()
    processor.wait_until(lambda: len(processor.events()) == 3, "what is left")
    assert [event["event_id"] for event in processor.events()] == ["e0", "e3", "e4"]
    assert [letter["source_offset"] for letter in processor.wait_for_dead_letters(2)] == [1, 2]
    compared = tracker(processor, "replay", "--name", "again", "--compare")
    assert compared.returncode == 0, compared.stdout + compared.stderr


@pytest.mark.parametrize(
    ("partition_number", "offset", "why"),
    [
        (7, 0, "no such partition"),
        (None, 99, "its offsets are 0 to 0"),
        (None, 0, "is processed up to offset 0"),
    ],
)
def test_what_can_not_be_skipped_is_refused(
    processor: Processor, partition_number: int | None, offset: int, why: str
) -> None:
    processor.send(click(KEY))
    processor.wait_until(lambda: committed(processor) == 1, "the commit")
    assert processor.stage.stop() == 0
    number = partition(processor) if partition_number is None else partition_number
    done = tracker(processor, "skip", "--partition", str(number), "--offset", str(offset), "--yes")
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr
