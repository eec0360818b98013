"""``tracker dead-letters`` on a real broker: what lies in the topic can be seen, and goes back in once."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner, Result

from tests.sessions_log import Record
from tests.source_log import event_value, read_all
from topics.catalog import DEAD_LETTERS, SEQUENCED, SOURCE, USAGE, Topic
from topics.dead_letter import DeadLetter, RetryMark, Stage, dead_letter
from topics.headers import RETRY_COUNT, RETRY_MARK, RETRY_OF, Headers
from tracker.cli.app import app
from tracker.clock import new_id
from tracker.dead_letters.letters import Filter, read_fates
from tracker.dead_letters.retry import Retry
from tracker.errors import RetryableError
from tracker.kafka import admin
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.kafka.log_reader import open_log_reader
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.settings import Settings

FAILED_MS = 1_764_000_000_000  # 2025-11-24T16:00:00Z
BAD = event_value("visitor", "e1", surprise=1, workspace_id="w1")


@pytest.fixture
def settings(kafka_broker: LocalKafka) -> Settings:
    settings = Settings(kafka_bootstrap=kafka_broker.bootstrap, topic_prefix=f"{new_id()}.", partitions=2)
    asyncio.run(admin.create_topics(settings))
    return settings


def letter(settings: Settings, offset: int, key: bytes | None, value: bytes | None, **about: object) -> DeadLetter:
    headers = about.pop("headers", ())
    topic = about.pop("topic", SOURCE)
    return dead_letter(
        Record(offset, FAILED_MS, key, value, headers),  # type: ignore[arg-type]
        **{
            "stage": "process",
            "topic": topic.name(settings.topic_prefix),  # type: ignore[attr-defined]
            "partition": 1,
            "reason": "invalid",
            "detail": "data.surprise: Extra inputs are not permitted",
            "failed_at_ms": FAILED_MS + offset,
            **about,  # type: ignore[arg-type]
        },
    )


def write(settings: Settings, topic: Topic, partition: int, records: Sequence[tuple[bytes, Headers]]) -> None:
    async def send() -> None:
        async with new_producer(settings, "test") as producer:
            named = topic.name(settings.topic_prefix)
            await send_batches(producer, named, partition, [(None, value, headers) for value, headers in records])

    asyncio.run(send())


def put(settings: Settings, *letters: DeadLetter) -> None:
    write(settings, DEAD_LETTERS, 1, [(letter.encode(), []) for letter in letters])


def invoke(settings: Settings, *arguments: str, **environment: str) -> Result:
    env = {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(settings.partitions),
        "COLUMNS": "200",
        **environment,
    }
    return CliRunner(env=env).invoke(app, ["dead-letters", *arguments])


def listed(settings: Settings, *arguments: str) -> list[str]:
    result = invoke(settings, "list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [found["letter"] for found in json.loads(result.stdout)["letters"]]


def sent(settings: Settings, topic: Topic) -> list[tuple[int, bytes, bytes, dict[str, bytes]]]:
    return [(r.partition, r.key, r.value, dict(r.headers)) for r in asyncio.run(read_all(settings, topic))]


def test_letters_are_found_by_reason_stage_workspace_and_time(settings: Settings):
    put(
        settings,
        letter(settings, 0, b"visitor", BAD),
        letter(settings, 1, b"visitor", b"\xff", reason="not_json"),
        letter(settings, 2, b"visitor", b"{}", stage="sink", reason="refused", topic=SEQUENCED),
    )
    assert listed(settings) == ["1:0", "1:1", "1:2"]
    assert listed(settings, "--reason", "invalid", "--reason", "refused") == ["1:0", "1:2"]
    assert listed(settings, "--stage", "sink") == ["1:2"]
    assert listed(settings, "--workspace", "w1") == ["1:0"]
    assert listed(settings, "--from", "2025-11-24T16:00:00.001Z", "--to", "2025-11-24T16:00:00.002Z") == ["1:1"]
    table = invoke(settings, "list").output
    assert "3 in all: 1 invalid, 1 not_json, 1 refused" in table
    assert "2025-11-24T16:00:00.001Z" in table


def test_a_letter_that_was_sent_twice_by_a_killed_stage_is_one(settings: Settings):
    again = letter(settings, 0, b"visitor", BAD)
    put(settings, again, again, letter(settings, 1, b"visitor", BAD))
    assert listed(settings) == ["1:0", "1:2"]


def test_what_else_lies_in_the_topic_is_named_and_left_out(settings: Settings):
    write(settings, DEAD_LETTERS, 1, [(b"no letter", [])])
    put(settings, letter(settings, 0, b"visitor", BAD))
    result = invoke(settings, "list", "--json")
    assert "1:0 is no dead letter" in result.stderr
    assert [found["letter"] for found in json.loads(result.stdout)["letters"]] == ["1:1"]


def test_show_decodes_a_record_and_lets_nothing_in_it_reach_the_terminal(settings: Settings):
    evil = b'\x1b]0;owned\x07\x9b31m {"a": \x00\xff'
    put(settings, letter(settings, 0, b"visitor", BAD), letter(settings, 1, b"k\x1b[2J", evil, detail="[red]\x1b[31m"))
    shown = invoke(settings, "show", "1:0").output
    assert '"surprise": 1' in shown
    assert "data.surprise: Extra inputs are not permitted" in shown
    shown = invoke(settings, "show", "1:1").output
    assert "owned" in shown
    assert "[red]\\x1b[31m" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert all(char.isprintable() or char in "\n\t" for char in invoke(settings, "list").output)
    missing = invoke(settings, "show", "1:9")
    assert (missing.exit_code, "there is no dead letter 1:9" in missing.output) == (1, True)


def test_export_has_every_byte(settings: Settings, tmp_path):
    put(settings, letter(settings, 0, b"\xfe", b"\x00\xff"), letter(settings, 1, None, None, reason="missing_key"))
    file = tmp_path / "letters.ndjson"
    assert invoke(settings, "export", "-o", str(file)).exit_code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["key_base64"], line["value_base64"]) for line in lines] == [("/g==", "AP8="), (None, None)]
    assert invoke(settings, "export", "1:1").stdout.count("\n") == 1


def test_a_retried_record_goes_into_the_source_topic_once_however_often_it_is_run(settings: Settings):
    put(settings, letter(settings, 7, b"visitor", BAD, headers=[("trace", b"t")]))
    assert "1 records would go" in invoke(settings, "retry", "--dry-run").output
    assert sent(settings, SOURCE) == []

    assert "1 records sent again" in invoke(settings, "retry", "--yes").output
    ((partition, key, value, headers),) = sent(settings, SOURCE)
    assert (partition, key) == (partition_for_key(b"visitor", 2), b"visitor")
    assert json.loads(value) == {**json.loads(BAD), "retry_count": 1}
    assert (headers["trace"], headers[RETRY_COUNT], headers[RETRY_OF]) == (b"t", b"1", b"1:0")

    assert "0 records sent again" in invoke(settings, "retry", "--yes").output
    assert "sent again already" in invoke(settings, "retry", "1:0", "--yes").output
    assert len(sent(settings, SOURCE)) == 1
    assert (listed(settings), listed(settings, "--state", "retried")) == ([], ["1:0"])


def test_a_run_that_is_not_confirmed_sends_nothing(settings: Settings):
    put(settings, letter(settings, 7, b"visitor", BAD))
    assert invoke(settings, "retry").exit_code == 1
    assert sent(settings, SOURCE) == []


@pytest.mark.parametrize("topic", [SEQUENCED, USAGE], ids=lambda topic: topic.suffix)
def test_a_row_of_the_sink_goes_back_into_its_own_topic_byte_for_byte(settings: Settings, topic: Topic):
    row, position = b'{"id": "r1",  "x": 1.0}', ("source-offset", b"7")
    put(settings, letter(settings, 3, b"visitor", row, stage="sink", topic=topic, headers=[position]))
    invoke(settings, "retry", "--yes")
    ((partition, key, value, headers),) = sent(settings, topic)
    assert (partition, key, value, headers["source-offset"]) == (1, b"visitor", row, b"7")
    assert sent(settings, SOURCE) == []


def test_an_end_is_put_to_trying(settings: Settings):
    put(settings, letter(settings, 7, b"visitor", BAD, headers=[(RETRY_COUNT, b"5")]))
    assert "tried 6 times" in invoke(settings, "retry", "--yes").output
    assert sent(settings, SOURCE) == []
    assert "1 records sent" in invoke(settings, "retry", "--yes", TRACKER_DEAD_LETTER_MAX_RETRIES="6").output


def test_a_forged_letter_can_not_write_into_other_topics(settings: Settings):
    put(
        settings,
        letter(settings, 0, b"k", b"v", topic=DEAD_LETTERS),
        letter(settings, 1, b"k", b"v", topic=SEQUENCED, stage="process"),
    )
    result = invoke(settings, "retry", "--yes")
    assert result.output.count("takes no records from here") == 2
    assert len(sent(settings, SEQUENCED)) == 0


@pytest.mark.parametrize(("front_door", "stage"), [(SOURCE, "process"), (USAGE, "sink")])
@pytest.mark.parametrize("was_sent", [True, False])
def test_after_a_kill_between_begun_and_done_the_log_says_what_was_sent(
    settings: Settings, was_sent: bool, front_door: Topic, stage: Stage
):
    put(settings, letter(settings, 7, b"visitor", BAD, stage=stage, topic=front_door))
    target = partition_for_key(b"visitor", 2) if front_door is SOURCE else 1
    topic = front_door.name(settings.topic_prefix)
    write(settings, front_door, target, [(b"before", [])])
    mark = RetryMark(letter_offset=0, state="begun", run_id="killed", topic=topic, partition=target, log_end_offset=1)
    write(settings, DEAD_LETTERS, 1, [(mark.model_dump_json().encode(), [(RETRY_MARK, b"1")])])
    if was_sent:
        write(settings, front_door, target, [(b"sent", [(RETRY_OF, b"1:0")])])
    assert listed(settings) == ["1:0"]

    output = invoke(settings, "retry", "--yes").output
    assert ("1 had been sent by a run that was interrupted" in output) == was_sent
    copies = [value for _, _, value, headers in sent(settings, front_door) if RETRY_OF in headers]
    assert len(copies) == 1
    assert listed(settings, "--state", "retried") == ["1:0"]


async def test_a_run_that_sees_another_begin_sends_nothing(settings: Settings):
    await asyncio.to_thread(put, settings, letter(settings, 7, b"visitor", BAD))
    async with (
        open_log_reader(settings, "test") as letters,
        open_log_reader(settings, "test") as logs,
        new_producer(settings, "test") as producer,
    ):
        fates = await read_fates(settings, letters)
        topic = SOURCE.name(settings.topic_prefix)
        mark = RetryMark(letter_offset=0, state="begun", run_id="other", topic=topic, partition=0, log_end_offset=0)
        await asyncio.to_thread(
            write, settings, DEAD_LETTERS, 1, [(mark.model_dump_json().encode(), [(RETRY_MARK, b"1")])]
        )
        work = Retry(settings, letters=letters, logs=logs, producer=producer, fates=fates)
        with pytest.raises(RetryableError, match="another retry"):
            await work.run(Filter(), lambda _: None)
    assert await read_all(settings, SOURCE) == []
