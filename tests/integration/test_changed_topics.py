"""What administrators do to topics under a running system: deleted and made again, grown, cut off by retention.

What can't be right ends the process with exit code 1 and one line that says what to do. Each test then does that.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.structs import TopicPartition

from tests.patience import PATIENCE_SECONDS
from tests.processors import Processor, click
from tests.source_log import end_offsets
from tests.stages import wait_until
from tests.topic_changes import alter_topic
from topics.catalog import CATALOG, CHANGELOG, SOURCE, Topic
from tracker.kafka.admin import committed_offsets, connect, create_topics, delete_topics, describe_broker
from tracker.kafka.clients import partition_for_key
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK
from tracker.local.stack import wait_until as until
from tracker.settings import Settings


@pytest.fixture
def start(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Callable[..., Processor]]:
    started: list[Processor] = []

    def start_one(**options: str | bool) -> Processor:
        started.append(Processor(kafka_broker.bootstrap, tmp_path, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start_one
    for processor in started:
        processor.stage.end()


def source(processor: Processor) -> str:
    return SOURCE.name(processor.settings.topic_prefix)


def last_log(processor: Processor) -> str:
    return processor.stage.log_file.read_text()


async def make_again(settings: Settings, topic: Topic) -> None:
    """Delete a topic and make it as it was, once it is gone."""
    name = topic.name(settings.topic_prefix)
    await delete_topics(settings, [name])

    async def is_gone() -> bool:
        return name not in await describe_broker(settings)

    await until(f"{name} is gone", PATIENCE_SECONDS, is_gone)
    await create_topics(settings)


def numbers(processor: Processor) -> list[int]:
    return [event["session_event_sequence"] for event in processor.events()]


@pytest.mark.parametrize("new_records", [2, 40])
def test_a_source_that_was_deleted_and_made_again_is_not_folded_onto_the_old_sessions(start, new_records: int) -> None:
    processor = start()
    processor.send(*[click("s") for _ in range(20)])
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 20, "the first log")
    assert processor.stage.stop() == 0
    asyncio.run(make_again(processor.settings, SOURCE))
    processor.send(*[click("s", f"new-{n}") for n in range(new_records)])
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    log = processor.stage.log_file.read_text()
    assert "Traceback" not in log
    assert f"{source(processor)} was deleted and made again, and the sessions are those of the topic before it" in log

    others = [topic.name(processor.settings.topic_prefix) for topic in CATALOG if topic is not SOURCE]
    asyncio.run(delete_topics(processor.settings, others))
    wait_until(lambda: len(asyncio.run(describe_broker(processor.settings))) == 1, "the deletion")
    asyncio.run(create_topics(processor.settings))
    processor.stage.start()
    processor.wait_until(lambda: len(processor.events()) == new_records, "all of the new log")
    assert numbers(processor) == list(range(1, new_records + 1))


def test_a_source_that_is_made_again_under_a_running_worker_ends_it_with_a_line(start) -> None:
    processor = start()
    processor.send(*[click("s") for _ in range(5)])
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 5, "the first log")
    asyncio.run(make_again(processor.settings, SOURCE))
    assert processor.stage.exit_status() == 1
    log = processor.stage.log_file.read_text()
    assert "Traceback" not in log
    assert "was deleted and made again" in log


def test_local_state_of_a_changelog_that_was_made_again_is_not_trusted(start) -> None:
    processor = start()
    processor.send(*[click("s", f"e{n}") for n in range(3)])
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 3, "the checkpoint")
    assert processor.stage.stop() == 0
    asyncio.run(make_again(processor.settings, CHANGELOG))
    processor.stage.start()
    processor.send(click("s", "e3"))
    processor.wait_until(lambda: len({event["event_id"] for event in processor.events()}) == 4, "the fourth event")
    # The whole log is folded again: the same rows at the same source positions, then the new one.
    assert [(e["event_id"], e["session_event_sequence"]) for e in processor.events()] == [
        *((f"e{n}", n + 1) for n in range(3)),
        *((f"e{n}", n + 1) for n in range(4)),
    ]
    assert "of a changelog that was deleted" in processor.stage.log_file.read_text()


def grow(settings: Settings, partitions: int) -> None:
    name = SOURCE.name(settings.topic_prefix)

    async def shows() -> bool:
        return (await describe_broker(settings))[name].partitions == partitions

    async def grow_source() -> None:
        async with connect(settings) as admin:
            await admin.create_partitions({name: NewPartitions(partitions)})
        await until("the new partition", PATIENCE_SECONDS, shows)

    asyncio.run(grow_source())


def tracker(processor: Processor, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command, as an operator runs it who has not looked at TRACKER_PARTITIONS."""
    settings = processor.settings
    address = f"http://{LOOPBACK}:{settings.process_port}"
    environment = {
        **os.environ,
        "NO_COLOR": "1",
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PROCESS_URL": address,
        "TRACKER_DATA_DIR": str(processor.stage.data_dir),
        "TRACKER_PARTITIONS": str(settings.partitions + 1),
        **environment,
    }
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def wait_until_committed(processor: Processor) -> None:
    """Commands learn from the group's commits how the processors spread keys."""
    group = f"{processor.settings.topic_prefix}process"
    processor.wait_until(lambda: bool(asyncio.run(committed_offsets(processor.settings, group))), "a commit")


def keys_of(partitions: int) -> dict[int, str]:
    """A key for each partition."""
    return {partition_for_key(str(n).encode(), partitions): str(n) for n in range(100)}


def test_partitions_that_are_added_to_the_source_are_forwarded_from_once_all_topics_have_them(start) -> None:
    processor = start(TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    homes = processor.settings.partitions
    keys = keys_of(homes)
    processor.send(*(click(key, f"{key}-0") for key in keys.values()))
    processor.wait_until(lambda: len(processor.events()) == homes, "the first events")
    grow(processor.settings, homes + 1)
    assert processor.stage.exit_status() == 1
    assert "run tracker topics create" in processor.stage.log_file.read_text()
    # As a producer does that has seen the new partition: keys go elsewhere.
    moved = [(*click(key, f"{key}-1")[:2], homes) for key in keys.values()]
    processor.send(*moved)
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    assert "run tracker topics create" in processor.stage.log_file.read_text()

    asyncio.run(create_topics(processor.settings))
    processor.stage.start()
    processor.send(*((*click(key, f"{key}-2")[:2], home) for home, key in keys.items()))
    processor.wait_until(lambda: len(processor.events()) == 3 * homes, "all events")
    for key in keys.values():
        found = [(e["event_id"], e["session_event_sequence"]) for e in processor.events() if e["session_id"] == key]
        assert {event_id for event_id, _ in found} == {f"{key}-{n}" for n in range(3)}
        assert sorted(number for _, number in found) == [1, 2, 3]
    # Commands look for a key where it is, not where the new number of partitions would have it.
    moved_key = next(key for key in keys_of(homes + 1).values() if key in keys.values() and is_moved(key, homes))
    shown = tracker(processor, "session", moved_key, "--json", TRACKER_PARTITIONS=str(homes))
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 1 + 3
    wait_until_committed(processor)
    again = tracker(processor, "session", moved_key, "--json")
    assert again.stdout.splitlines()[1:] == shown.stdout.splitlines()[1:], again.stderr


def is_moved(key: str, homes: int) -> bool:
    """Whether another partition more would have a key in another partition."""
    return partition_for_key(key.encode(), homes) != partition_for_key(key.encode(), homes + 1)


def test_another_number_of_partitions_in_the_settings_is_refused_and_the_one_of_the_line_works(start) -> None:
    processor = start(TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    processor.send(click("s"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 1, "the first event")
    wait_until_committed(processor)
    assert processor.stage.stop() == 0
    homes = processor.settings.partitions
    grow(processor.settings, homes + 1)
    asyncio.run(create_topics(processor.settings))
    processor.stage.set_environment(TRACKER_PARTITIONS=str(homes + 1))
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    line = re.search(r"which would number live sessions from 1 again: set it to (\d+)", last_log(processor))
    assert line is not None
    for command in (["topics", "create"], ["replay", "--name", "again"]):
        refused = tracker(processor, *command)
        assert (refused.returncode, f"set it to {line[1]} " in refused.stderr) == (1, True), refused.stderr
    checked = tracker(processor, "topics", "check", "--json")
    assert (checked.returncode, f'"set TRACKER_PARTITIONS={line[1]}"' in checked.stdout) == (1, True), checked.stdout
    assert tracker(processor, "topics", "check", TRACKER_PARTITIONS=line[1]).returncode == 0
    processor.stage.set_environment(TRACKER_PARTITIONS=line[1])
    processor.stage.start()
    processor.send((*click("s")[:2], partition_for_key(b"s", homes)))
    processor.wait_until(lambda: len(processor.events()) == 2, "the second event")
    assert numbers(processor) == [1, 2]


def test_topics_that_are_all_made_again_may_have_another_number_of_partitions(start) -> None:
    processor = start(TRACKER_GROUP_COMMIT_INTERVAL_MS="100")
    processor.send(click("t"))
    wait_until_committed(processor)
    assert processor.stage.stop() == 0
    asyncio.run(delete_topics(processor.settings, [topic.name(processor.settings.topic_prefix) for topic in CATALOG]))
    wait_until(lambda: not asyncio.run(describe_broker(processor.settings)), "the deletion")
    more = str(processor.settings.partitions + 1)
    created = tracker(processor, "topics", "create", TRACKER_PARTITIONS=more)
    assert created.returncode == 0, created.stderr
    processor.stage.set_environment(TRACKER_PARTITIONS=more)
    processor.stage.start()
    processor.send(click("t"))
    processor.wait_until(lambda: len(processor.events()) == 1, "the event of the new log")
    assert numbers(processor) == [1]


def test_fewer_partitions_than_the_setting_are_refused_and_the_number_of_the_line_works(start) -> None:
    processor = start(create=False)
    asyncio.run(create_topics(processor.settings))
    processor.stage.set_environment(TRACKER_PARTITIONS="5")
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    assert "set it to 2" in last_log(processor)
    processor.stage.set_environment(TRACKER_PARTITIONS="2")
    processor.stage.start()
    processor.send(click("s"))
    processor.wait_until(lambda: len(processor.events()) == 1, "the event")


def test_a_source_whose_producers_clocks_count_is_refused_also_while_the_worker_runs(start) -> None:
    processor = start(create=False)
    name = source(processor)

    async def alter(value: str) -> None:
        await alter_topic(processor.settings, name, {**SOURCE.config, "message.timestamp.type": value})

    async def make_like_a_broker() -> None:
        async with connect(processor.settings) as admin:
            await admin.create_topics([NewTopic(name, 2, 1)])
        await create_topics(processor.settings)

    asyncio.run(make_like_a_broker())
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    assert "--add-config message.timestamp.type=LogAppendTime" in last_log(processor)
    asyncio.run(alter("LogAppendTime"))
    processor.stage.start()
    processor.send(click("s"))
    processor.wait_until(lambda: len(processor.events()) == 1, "the event")
    asyncio.run(alter("CreateTime"))
    assert processor.stage.exit_status() == 1
    assert "--add-config message.timestamp.type=LogAppendTime" in last_log(processor)


def delete_before(settings: Settings, topic: Topic, partition: int, offset: int) -> None:
    """What retention does, at once."""

    async def delete() -> None:
        async with connect(settings) as admin:
            tp = TopicPartition(topic.name(settings.topic_prefix), partition)
            await admin.delete_records({tp: RecordsToDelete(offset)})

    asyncio.run(delete())


def test_what_retention_deletes_before_it_is_processed_is_named_and_counted_and_the_rest_is_numbered(start) -> None:
    processor = start()
    partition = partition_for_key(b"s", processor.settings.partitions)
    processor.send(click("s", "e0"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 1, "the first event")
    processor.stage.kill()
    processor.send(*[click("s", f"e{n}") for n in range(1, 6)])
    delete_before(processor.settings, SOURCE, partition, 3)
    processor.stage.start()
    processor.wait_until(lambda: len(processor.events()) == 4, "what is left")
    assert [event["event_id"] for event in processor.events()] == ["e0", "e3", "e4", "e5"]
    assert numbers(processor) == [1, 2, 3, 4]
    log = last_log(processor)
    assert re.search(r"deleted by retention before they were processed.*first_left=3 first_lost=1", log)
    assert processor.metric("tracker_process_lost_records_total") == 2


def test_a_running_worker_that_retention_overtakes_says_so_and_goes_on(start) -> None:
    processor = start()
    partition = partition_for_key(b"s", processor.settings.partitions)
    processor.send(click("s", "e0"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 1, "the first event")
    processor.stage.freeze()
    processor.send(click("s", "e1"))  # a fetch of the frozen worker may be under way, which takes this, seldom more
    processor.send(*[click("s", f"e{n}") for n in range(2, 6)])
    delete_before(processor.settings, SOURCE, partition, 4)
    processor.stage.wake()
    processor.wait_until(lambda: [event["event_id"] for event in processor.events()][-2:] == ["e4", "e5"], "the rest")
    pattern = r"deleted by retention before they were processed.*first_left=4 first_lost=(\d)"
    line = re.search(pattern, last_log(processor))
    assert line is not None
    left = [f"e{n}" for n in (*range(int(line[1])), 4, 5)]
    assert [event["event_id"] for event in processor.events()] == left
    assert numbers(processor) == list(range(1, len(left) + 1))
    ends = asyncio.run(end_offsets(processor.settings, SOURCE))
    assert ends[TopicPartition(source(processor), partition)] == 6
