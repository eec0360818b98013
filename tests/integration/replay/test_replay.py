"""Replays of a log that a killed processor numbered: the same bytes again, resumed wherever they were stopped."""

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.replay.doomed_worker import STEPS
from tests.integration.replay.replay_stack import ProcessedLog, kill_under_way, until_line
from tests.patience import PATIENCE_SECONDS
from tests.reference.compare import differences
from tests.reference.model import Model
from tests.source_log import end_offsets, read_all
from topics.catalog import CATALOG, DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE
from topics.headers import SourcePosition, read_position, write_position
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.local.kafka import LocalKafka
from tracker.settings import Settings
from tracker.sink.positions import SeenPositions

EVENTS = 6_000
OUTPUT_TOPICS = (SEQUENCED, SESSIONS, DEAD_LETTERS)


@pytest.fixture(scope="module")
def log(kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessedLog]:
    log = ProcessedLog(kafka_broker, tmp_path_factory.mktemp("replay"))
    try:
        log.process(EVENTS, kills=2)
        yield log
    finally:
        log.processor.end()


def in_order(settings: Settings, topic) -> dict[int, list]:
    """A topic's outputs by partition, each once, as its consumers take them."""
    seen: dict[int, SeenPositions] = defaultdict(SeenPositions)
    found: dict[int, list] = defaultdict(list)
    for record in asyncio.run(read_all(settings, topic)):
        if seen[record.partition].is_new(read_position(record.headers)):
            found[record.partition].append(record)
    return found


def once(settings: Settings, topic) -> list[tuple[int, SourcePosition, bytes | None, bytes | None]]:
    """The same by partition and source position: both, key, value."""
    return [
        (partition, read_position(record.headers), record.key, record.value)
        for partition, records in sorted(in_order(settings, topic).items())
        for record in records
    ]


def own(log: ProcessedLog, name: str) -> Settings:
    """The settings by which a generation's topics are read."""
    return log.settings.model_copy(update={"topic_prefix": f"{log.settings.topic_prefix}replay.{name}."})


def summary_of(lines: list[dict]) -> dict:
    assert lines[-1]["type"] == "summary"
    return lines[-1]


def test_the_outputs_of_a_killed_processor_are_byte_identical_with_a_replay(log: ProcessedLog) -> None:
    code, lines, errors = log.replay("--compare", "--name", "proof")
    assert code == 0, errors
    summary = summary_of(lines)
    assert summary["differences"] == 0
    assert sum(each["identical"] for each in summary["comparisons"]) > EVENTS


def test_processor_and_replay_do_what_the_written_rules_say(log: ProcessedLog) -> None:
    code, _, errors = log.replay("--name", "rules")
    assert code == 0, errors
    source: dict[int, list] = defaultdict(list)
    for record in asyncio.run(read_all(log.settings, SOURCE)):
        source[record.partition].append(record)
    home_of = partial(partition_for_key, partitions=log.settings.partitions)
    for settings in (log.settings, own(log, "rules")):
        outputs = {topic.suffix: in_order(settings, topic) for topic in OUTPUT_TOPICS}
        for number in range(log.settings.partitions):
            model = Model(log.settings.session_rules, number, home_of).take(source[number])
            assert differences(model, {suffix: found[number] for suffix, found in outputs.items()}) == []
            assert len(model.made) > EVENTS / log.settings.partitions / 2


def test_a_replay_never_touches_the_live_topics(log: ProcessedLog) -> None:
    before = {topic.suffix: asyncio.run(end_offsets(log.settings, topic)) for topic in CATALOG}
    code, _, errors = log.replay("--name", "aside")
    assert code == 0, errors
    assert {topic.suffix: asyncio.run(end_offsets(log.settings, topic)) for topic in CATALOG} == before
    for topic in OUTPUT_TOPICS:
        assert once(own(log, "aside"), topic) == once(log.settings, topic)


def test_a_replay_that_is_killed_again_and_again_goes_on_without_loss_or_doubling(
    log: ProcessedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**32)))
    with capsys.disabled():
        print(f"\nseed {seed} (again with TRACKER_TEST_SEED={seed})")
    rng = random.Random(seed)
    process = log.start_replay("--name", "killed", "--max-rate", "1000")
    kill_under_way(process)
    for step in rng.sample(STEPS * 2, 2 * len(STEPS)):
        doomed = log.start_doomed_worker("killed", step, chunk=rng.randint(1, 3))
        assert doomed.wait(PATIENCE_SECONDS) == -signal.SIGKILL, doomed.communicate()
    code, lines, errors = log.replay("--name", "killed")
    assert code == 0, errors
    assert lines[0]["resumed"]
    for topic in OUTPUT_TOPICS:
        written = [(r.partition, read_position(r.headers)) for r in asyncio.run(read_all(own(log, "killed"), topic))]
        assert len(written) == len(set(written))
        assert once(own(log, "killed"), topic) == once(log.settings, topic)


def test_ctrl_c_leaves_a_state_that_the_same_command_goes_on_from(log: ProcessedLog) -> None:
    arguments = ("--compare", "--name", "interrupted", "--max-rate", "2000")
    process = log.start_replay(*arguments)
    until_line(process, lambda said: said["type"] == "progress" and not said["finished"])
    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    code, lines, errors = log.replay("--compare", "--name", "interrupted")
    assert code == 0, errors
    assert summary_of(lines)["records"] > 0
    assert sum(each["identical"] for each in summary_of(lines)["comparisons"]) > EVENTS


def test_a_workspace_gets_its_own_outputs_only(log: ProcessedLog) -> None:
    code, _, errors = log.replay("--name", "one", "--workspace", "w1")
    assert code == 0, errors
    rows = [json.loads(value) for *_, value in once(own(log, "one"), SEQUENCED) if value]
    live = [json.loads(value) for *_, value in once(log.settings, SEQUENCED) if value]
    assert rows == [row for row in live if row["workspace_id"] == "w1"]
    assert rows


def test_a_range_by_offsets_gives_the_live_outputs_of_that_range(log: ProcessedLog) -> None:
    code, _, errors = log.replay("--name", "range", "--from", "300", "--to", "500", "--partitions", "1,2")
    assert code == 0, errors
    for topic in OUTPUT_TOPICS:
        wanted = [
            output for output in once(log.settings, topic) if output[0] in {1, 2} and 300 <= output[1].offset < 500
        ]
        assert once(own(log, "range"), topic) == wanted
        assert wanted or topic is SESSIONS  # all of them have opened before


def test_a_warm_up_that_covers_the_sessions_gives_the_same_outputs(log: ProcessedLog) -> None:
    code, lines, errors = log.replay("--compare", "--name", "warm", "--from", "700", "--warm-up-seconds", "86400")
    assert code == 0, errors
    assert summary_of(lines)["differences"] == 0
    assert sum(each["identical"] for each in summary_of(lines)["comparisons"]) > EVENTS / 2


def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(log: ProcessedLog) -> None:
    code, lines, errors = log.replay("--name", "dry", "--dry-run")
    assert code == 0, errors
    assert [line["type"] for line in lines] == ["plan"]
    assert lines[0]["writes"] == f"topics {log.settings.topic_prefix}replay.dry.*"
    assert not (log.data_dir / "replay" / "dry").exists()


def test_a_generation_is_not_resumed_with_other_options(log: ProcessedLog) -> None:
    assert log.replay("--name", "fixed", "--partitions", "0")[0] == 0
    code, _, errors = log.replay("--name", "fixed", "--partitions", "1")
    assert code == 1
    assert "tracker replay discard fixed" in errors


def test_a_live_output_that_is_wrong_is_found_and_shown(kafka_broker: LocalKafka, tmp_path: Path) -> None:
    log = ProcessedLog(kafka_broker, tmp_path)
    try:
        log.process(400)
    finally:
        log.processor.end()
    topic = SEQUENCED.name(log.settings.topic_prefix)
    victim = max(asyncio.run(read_all(log.settings, SEQUENCED)), key=lambda record: record.offset)
    wrong = own(log, "wrong")
    assert wrong is not None

    async def plant() -> None:
        position = read_position(victim.headers)
        assert position is not None
        headers = write_position(victim.partition, position.offset, position.nth + 7)
        async with new_producer(log.settings, "test") as producer:
            await producer.send_and_wait(topic, b"{}", key=victim.key, headers=headers, partition=victim.partition)

    asyncio.run(plant())
    code, lines, _ = log.replay("--compare", "--name", "wrong")
    assert code == 3
    firsts = [each["first"] for each in summary_of(lines)["comparisons"] if each["first"]]
    assert [(first["kind"], first["partition"]) for first in firsts] == [("extra", victim.partition)]
